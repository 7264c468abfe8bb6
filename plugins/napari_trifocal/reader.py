"""Volumes into napari, in RAS millimetres, and ultrasound pictures and cines, on pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_trifocal.keypoints_layers import to_layers
from napari_trifocal.reel import DICOM, PICTURES, open_reel, shows_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.types import LayerDataTuple

    Read = Callable[[str | list[str]], list[LayerDataTuple]]

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".zip")


def get_reader(path: str | list[str]) -> Read | None:
    """Return a reader if the paths look like volumes or ultrasound, else None."""
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    if not paths:
        return None
    if all(p.name.lower().endswith(PICTURES) for p in paths):
        return read_frames
    if all(p.name.lower().endswith(SUFFIXES) and p.suffix.lower() not in DICOM for p in paths):
        return read_volumes
    fits = all(p.is_dir() or p.name.lower().endswith(SUFFIXES + PICTURES + DICOM) for p in paths)
    return read_either if fits else None


def read_either(path: str | list[str]) -> list[LayerDataTuple]:
    """Read what may be ultrasound or a volume: all that is ultrasound as one layer, each volume as another.

    Raises:
        ImageError: If it is neither; one sentence says why.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    frames = [p for p in paths if shows_frames(Path(p))]
    layers = read_volumes([p for p in paths if p not in frames])
    return layers + (read_frames(frames) if frames else [])


def read_frames(path: str | list[str]) -> list[LayerDataTuple]:
    """Read pictures, films and DICOM ultrasound as one layer; several are stepped through by its slider.

    Raises:
        ImageError: If none can be read; one sentence says why.
    """
    return to_layers(open_reel([path] if isinstance(path, str | Path) else path))


def read_volumes(path: str | list[str]) -> list[LayerDataTuple]:
    """Read each file or folder as one volume.

    Raises:
        ImageError: If it is not a volume whose place is known; one sentence says why.
    """
    from trifocal import io

    layers: list[LayerDataTuple] = []
    for p in [path] if isinstance(path, str | Path) else path:
        layers += to_layers(io.read(p), name=volume_name(p))
    return layers


def volume_name(path: str | Path) -> str:
    """Name of a volume: the file's or folder's own name without the suffixes that say its kind."""
    name = Path(path).name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name
