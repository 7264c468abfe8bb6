"""Into napari: volumes in RAS millimetres, X-ray films, and ultrasound pictures and cines on pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_trifocal.keypoints_layers import to_layers
from napari_trifocal.reel import DICOM, PICTURES, open_reel, shows_frames
from napari_trifocal.xray_kind import is_film

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.types import LayerDataTuple

    Read = Callable[[str | list[str]], list[LayerDataTuple]]

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".zip")


def get_reader(path: str | list[str]) -> Read | None:
    """Return a reader if the paths look like volumes, X-ray films or ultrasound, else None."""
    paths = [Path(p) for p in ([path] if isinstance(path, str | Path) else path)]
    if not paths:
        return None
    if all(p.name.lower().endswith(PICTURES) for p in paths):
        return read_either if any(map(is_film, paths)) else read_frames
    if all(p.name.lower().endswith(SUFFIXES) and p.suffix.lower() not in DICOM for p in paths):
        return read_volumes
    fits = all(p.is_dir() or p.name.lower().endswith(SUFFIXES + PICTURES + DICOM) for p in paths)
    return read_either if fits else None


def read_either(path: str | list[str]) -> list[LayerDataTuple]:
    """Read what may be ultrasound, X-ray films or volumes: ultrasound as one layer, the others one by one.

    Raises:
        ImageError: If it is none of them; one sentence says why.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    films = [p for p in paths if is_film(Path(p))]
    frames = [p for p in paths if p not in films and shows_frames(Path(p))]
    layers = read_volumes([p for p in paths if p not in frames and p not in films])
    layers += read_films(films)
    return layers + (read_frames(frames) if frames else [])


def read_films(path: str | list[str]) -> list[LayerDataTuple]:
    """Read each file as an X-ray film, bone white, with what its file says in the layer's metadata.

    Raises:
        ImageError: If one cannot be read; one sentence says why.
    """
    from napari_trifocal import xray_layers  # noqa: F401 - says how a film becomes a layer
    from trifocal import io

    layers: list[LayerDataTuple] = []
    for p in [path] if isinstance(path, str | Path) else path:
        layers += to_layers(io.read_radiograph(p), name=Path(p).name)
    return layers


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
