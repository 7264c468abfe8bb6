"""Volumes into napari, in RAS millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_trifocal.layers import to_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.types import LayerDataTuple

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".zip")


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerDataTuple]] | None:
    """Return `read_volumes` if the paths look like volumes, else None."""
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    fits = all(p.is_dir() or p.name.lower().endswith(SUFFIXES) for p in paths)
    return read_volumes if paths and fits else None


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
