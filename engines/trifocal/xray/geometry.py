"""Where the sources and the detectors of a set of X-rays stood, and the usual arrangements."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.xray.attenuation import mu_water
from trifocal.xray.grid import Grid
from trifocal.xray.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Geometry", "View", "c_arm", "frontal_and_lateral"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """One or two views and the box that they look at.

    Attributes:
        views: AP or PA first, then lateral; or one alone.
        grid: Where the volume is reconstructed.
        energy_kev: Effective energy at which HU become attenuation.

    Raises:
        ValueError: If there is no view, a source stands inside the box, or the energy is outside the tables.
    """

    views: tuple[View, ...]
    grid: Grid
    energy_kev: float = 70.0

    def __post_init__(self) -> None:
        mu_water(self.energy_kev)
        if not self.views:
            msg = "a geometry must have at least one view, got none"
            raise ValueError(msg)
        for view in self.views:
            _check_outside(view, self.grid)

    def record(self) -> dict[str, Any]:
        """What is written to JSON."""
        return {
            "views": [view.record() for view in self.views],
            "grid": self.grid.record(),
            "energy_kev": float(self.energy_kev),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Geometry:
        """Read what `record` gave.

        Raises:
            ValueError: If something is missing, not a number, or impossible.
        """
        try:
            views, grid = list(record["views"]), dict(record["grid"])
            energy = float(record.get("energy_kev", cls.energy_kev))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"a geometry must have views (a list), grid and energy_kev, got {_keys(record)}"
            raise ValueError(msg) from error
        return cls(tuple(View.from_record(view) for view in views), Grid.from_record(grid), energy)


def frontal_and_lateral(
    grid: Grid,
    *,
    frontal: str = "AP",
    source_to_detector_mm: float = 1800.0,
    center_to_detector_mm: float = 250.0,
    pixels: int = 128,
    parallel: bool = False,
    energy_kev: float = 70.0,
) -> Geometry:
    """The usual pair around a box: a frontal view and a left lateral one, both central and upright.

    A frontal film is shown as if one faced the patient: the patient's right on the left of the picture. AP:
    source in front of the patient, detector behind; PA the other way round; both are stored in the same
    orientation. The lateral film has the patient's left side at the detector and is shown with the patient
    facing left. Rows run down in all of them. The detector is a square that the whole box is projected into.

    Args:
        grid: The box.
        frontal: "AP" or "PA".
        source_to_detector_mm: SID.
        center_to_detector_mm: From the middle of the box to the detector's plane.
        pixels: Rows and columns of each detector.
        parallel: Parallel rays instead of a cone.
        energy_kev: See `Geometry`.

    Raises:
        ValueError: If the frontal view is neither AP nor PA, or the source would stand inside the box.
    """
    if frontal not in ("AP", "PA"):
        msg = f'the frontal view must be "AP" or "PA", got {frontal!r}'
        raise ValueError(msg)
    distances = (source_to_detector_mm, source_to_detector_mm - center_to_detector_mm)
    angles = {frontal: (180.0 if frontal == "AP" else 0.0, 0.0), "LATERAL": (90.0, 0.0)}
    views = [
        around(grid, name, angle, *distances, pixels=pixels, parallel=parallel)
        for name, angle in angles.items()
    ]
    return Geometry(tuple(views), grid, energy_kev)


def c_arm(
    grid: Grid,
    angles_deg: Sequence[tuple[float, float]] = ((0.0, 0.0), (90.0, 0.0)),
    *,
    source_to_detector_mm: float = 1200.0,
    source_to_isocenter_mm: float = 785.0,
    pixels: int = 128,
    energy_kev: float = 70.0,
) -> Geometry:
    """Views of a C-arm that turns about the middle of a box.

    Args:
        grid: The box; its middle is the isocentre.
        angles_deg: (primary, secondary) angle of each view as DICOM counts them (0018,1510 and 0018,1511):
            0, 0 has the detector in front of the patient and the source behind; the primary angle grows
            towards LAO (detector to the patient's left), the secondary towards CRA (detector to the head).
        source_to_detector_mm: SID.
        source_to_isocenter_mm: SOD.
        pixels: Rows and columns of each detector.
        energy_kev: See `Geometry`.

    Raises:
        ValueError: If a source would stand inside the box.
    """
    distances = (source_to_detector_mm, source_to_isocenter_mm)
    views = [around(grid, angle_name(a), a, *distances, pixels=pixels) for a in angles_deg]
    return Geometry(tuple(views), grid, energy_kev)


def angle_name(angles_deg: tuple[float, float]) -> str:
    """Name of a C-arm view as it is spoken: "LAO 30 CRA 20"."""
    primary, secondary = angles_deg
    words = [("LAO" if primary > 0 else "RAO", primary), ("CRA" if secondary > 0 else "CAU", secondary)]
    return " ".join(f"{word} {abs(angle):g}" for word, angle in words if angle) or "PA"


def around(
    grid: Grid,
    name: str,
    angles_deg: tuple[float, float],
    source_to_detector_mm: float,
    source_to_center_mm: float,
    *,
    pixels: int = 128,
    parallel: bool = False,
) -> View:
    """A view at positioner angles (see `c_arm`) whose square detector holds the shadow of the whole box.

    The picture is stored as if one stood in front of the patient: past 90 degrees (the detector is behind
    the patient, as in AP) the columns still run from the patient's right to the left.
    """
    ahead, right, down = directions(angles_deg)
    center = np.asarray(grid.center_mm)
    source = center - ahead * source_to_center_mm
    middle = source + ahead * source_to_detector_mm
    corners = center + np.array(list(product((-0.5, 0.5), repeat=3))) * grid.extent_mm
    depth = (corners - source) @ ahead
    if depth.min() <= 0 and not parallel:
        msg = (
            f"the source must stand outside the volume, got {source.round(1).tolist()} mm: choose a longer"
            " source-to-detector distance"
        )
        raise ValueError(msg)
    magnification = np.ones(8) if parallel else source_to_detector_mm / depth
    shadow = (corners - center) @ np.stack([right, down], axis=1) * magnification[:, None]
    step = float(2 * np.abs(shadow).max()) / pixels
    u, v = right * step, down * step
    return View(name, source, middle - (pixels - 1) / 2 * (u + v), u, v, (pixels, pixels), parallel)


def directions(angles_deg: tuple[float, float]) -> NDArray[np.float64]:
    """(3, 3) unit vectors of a view at positioner angles: towards the detector, the columns, the rows."""
    (sin_a, sin_b), (cos_a, cos_b) = np.sin(np.radians(angles_deg)), np.cos(np.radians(angles_deg))
    ahead = np.array([-sin_a * cos_b, cos_a * cos_b, sin_b])
    right = np.array([-cos_a, -sin_a, 0.0])
    down = np.array([-sin_a * sin_b, cos_a * sin_b, -cos_b])
    if cos_a < -1e-9:
        right = -right
    axes = np.stack([ahead, right, down])
    return np.where(
        np.abs(axes) < 1e-12, 0.0, axes
    )  # right angles exactly, so that the fast projector serves


def _check_outside(view: View, grid: Grid) -> None:
    offset = np.abs(view.source_mm - np.asarray(grid.center_mm))
    if not view.parallel and (offset <= grid.extent_mm / 2).all():
        msg = (
            f"the source of the {view.name} view must stand outside the volume, got"
            f" {view.source_mm.round(1).tolist()} mm in a box of {grid.extent_mm.round(1).tolist()} mm about"
            f" {list(grid.center_mm)}"
        )
        raise ValueError(msg)


def _keys(record: object) -> str:
    return f"the keys {sorted(record)}" if isinstance(record, dict) else repr(record)
