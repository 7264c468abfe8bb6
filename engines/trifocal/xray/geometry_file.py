"""The JSON file that says how a set of X-rays was taken."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from trifocal.files import atomic_file
from trifocal.radiograph import Scale
from trifocal.xray.geometry import Geometry

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
"""A reader refuses a higher one."""

_ABOUT = (
    "World: RAS millimetres (x to the patient's right, y forward, z up). origin_mm: centre of the pixel in"
    " row 0, column 0; u_mm: to the next column; v_mm: to the next row; shape: rows, columns. pixels: scale"
    " 'line integral' means -ln(I/I0) = pixel value * per_count + at_zero."
)


@dataclass(frozen=True)
class PixelMeaning:
    """What the numbers of the films beside a geometry file are.

    Attributes:
        scale: As in `Radiograph`.
        per_count: Line integral for each step of a pixel's value, where the scale is "line integral".
        at_zero: Line integral of a pixel of value 0.
    """

    scale: Scale = "line integral"
    per_count: float = 1.0
    at_zero: float = 0.0

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            msg = f"the scale of the pixels must be one of {', '.join(get_args(Scale))}, got {self.scale!r}"
            raise ValueError(msg)
        if not (np.isfinite([self.per_count, self.at_zero]).all() and self.per_count > 0):
            msg = f"per_count must be a positive number and at_zero finite, got {self}"
            raise ValueError(msg)


def write_geometry(path: Path, geometry: Geometry, pixels: PixelMeaning | None = None) -> None:
    """Write a geometry as JSON, at once or not at all; without `pixels`, they are line integrals."""
    meaning = asdict(pixels or PixelMeaning())
    record = {"format": FORMAT, "about": _ABOUT, "pixels": meaning, **geometry.record()}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_geometry(path: Path) -> Geometry:
    """Read a geometry that `write_geometry` wrote, or that someone wrote in the same keys.

    Raises:
        ValueError: If the file is no JSON, or something in it is missing, no number, or impossible; the
            message begins with the file's name.
    """
    record = _read(path)
    try:
        return Geometry.from_record(record)
    except ValueError as error:
        msg = f"{path.name}: {error}"
        raise ValueError(msg) from error


def read_pixel_meaning(path: Path) -> PixelMeaning:
    """What a geometry file says about the pixels of its films; line integrals if it says nothing.

    Raises:
        ValueError: If the file is no JSON, or what it says is impossible.
    """
    record = _read(path).get("pixels", {})
    try:
        return PixelMeaning(**record)
    except (TypeError, ValueError) as error:
        msg = f"{path.name}: pixels must have scale, per_count and at_zero: {error}"
        raise ValueError(msg) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        msg = f"{path.name} must be a JSON file that says the geometry: {error}"
        raise ValueError(msg) from error
    if not isinstance(record, dict):
        msg = f"{path.name} must hold an object with views and grid, got a {type(record).__name__}"
        raise ValueError(msg)
    if not isinstance(record.get("format", FORMAT), int) or record.get("format", FORMAT) > FORMAT:
        msg = f"{path.name} has format {record['format']}, this trifocal reads up to {FORMAT}: update it"
        raise ValueError(msg)
    return record
