"""X-rays from files, with the geometry that lies beside them. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_trifocal.xray_slot import Slot
from trifocal import io
from trifocal.predictor import Progress, silent
from trifocal.xray.films.inputs import find_geometry, load_geometry, with_meaning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.xray.geometry import Geometry


@dataclass(frozen=True, eq=False)
class FilmFiles:
    """What was read.

    Attributes:
        slots: The X-rays.
        geometry: Of the file beside them, if there is one.
        problems: Sentences about what could not be read.
    """

    slots: tuple[Slot, ...]
    geometry: Geometry | None = None
    problems: tuple[str, ...] = ()


def read_films(paths: Sequence[Path], progress: Progress = silent) -> FilmFiles:
    """Read one or two X-rays, and the geometry beside them where `trifocal project` has written one.

    Raises:
        ImageError: If one cannot be read; one sentence says why.
        FileNotFoundError: If there is nothing at a path.
    """
    slots: list[Slot] = []
    for number, path in enumerate(paths):
        progress(number / len(paths), f"reading {path.name}")
        slots.append(Slot(io.read_radiograph(path), folder=path.absolute().parent))
    try:
        beside = find_geometry(paths)
        if beside is None:
            return FilmFiles(tuple(slots))
        slots = [replace(slot, radiograph=with_meaning(slot.radiograph, beside)) for slot in slots]
        return FilmFiles(tuple(slots), load_geometry(beside))
    except (ValueError, OSError) as error:
        return FilmFiles(tuple(slots), problems=(f"the geometry beside it cannot be used: {error}",))
