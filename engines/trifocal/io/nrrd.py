"""NRRD: the header is pynrrd's, the voxels are read here, bounded by what the header claims."""

from __future__ import annotations

import gzip
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, cast

import nrrd
import numpy as np
from nrrd.errors import NRRDError

from trifocal.image import Image, ImageError
from trifocal.io.checks import DEFLATE_RATIO, LPS_TO_RAS, check_claim, read_voxels, to_volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TO_RAS = {
    "right-anterior-superior": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-posterior-superior": LPS_TO_RAS,
}
_SHORT = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
_MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "m": 1000.0, "meter": 1000.0, "um": 0.001, "cm": 10.0}
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "f4": ("float",),
    "f8": ("double",),
}


def read_nrrd(path: Path) -> Image:
    """Read a .nrrd, or a .nhdr whose data file lies in the same folder; raw and gzip encodings.

    Raises:
        ImageError: If it is truncated, not a volume of real numbers, or does not say where it lies.
    """
    with path.open("rb") as file:
        try:
            header = nrrd.read_header(file)
        except NRRDError as error:
            msg = f"{path.name} has no NRRD header that can be read ({error}): export it again"
            raise ImageError(msg) from error
        return _read(path, header, file)


def _read(path: Path, header: Any, file: IO[bytes]) -> Image:
    name = path.name
    affine = _affine(name, header)
    dtype = _dtype(name, header)
    shape = tuple(int(n) for n in header["sizes"])
    if min(shape) < 1 or len(shape) != 3:
        msg = (
            f"{name} has sizes {shape}: one 3-D volume was expected; save the volume that you need on its own"
        )
        raise ImageError(msg)
    if header.get("line skip", header.get("lineskip", 0)) or header.get(
        "byte skip", header.get("byteskip", 0)
    ):
        msg = f"{name} skips lines or bytes of its data file, which is not read here: save it as one .nrrd"
        raise ImageError(msg)
    detached = header.get("data file", header.get("datafile"))
    if detached is None:
        data = _voxels(name, header, file, path.stat().st_size - file.tell(), shape, dtype)
    else:
        data_path = beside(path, detached)
        with data_path.open("rb") as data_file:
            data = _voxels(data_path.name, header, data_file, data_path.stat().st_size, shape, dtype)
    array = np.frombuffer(data, dtype).reshape(shape, order="F").astype(dtype.newbyteorder("="))
    notes = {"source": name, "format": "NRRD", "unit": "none in the file, taken as HU"}
    return to_volume(array, affine, "HU", notes, name)


def _voxels(
    name: str, header: Any, file: IO[bytes], stored: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> bytes:
    encoding = str(header["encoding"]).lower()
    if encoding not in ("raw", "gz", "gzip"):
        msg = f"{name} has the encoding {encoding!r}: raw or gzip was expected; save it as one of these"
        raise ImageError(msg)
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    check_claim(name, claimed, stored, ratio=1 if encoding == "raw" else DEFLATE_RATIO)
    if encoding == "raw":
        return read_voxels(file, name, claimed)
    with gzip.GzipFile(fileobj=file) as stream:
        return read_voxels(cast("IO[bytes]", stream), name, claimed)


def beside(path: Path, data_file: object) -> Path:
    """Find a header's data file, which must lie in the header's own folder.

    Raises:
        ImageError: If it is named by a list, a pattern or a path that leaves the folder, or is not there.
    """
    plain = isinstance(data_file, str) and PurePath(data_file.replace("\\", "/")).name == data_file
    if not plain or not (found := path.with_name(str(data_file))).is_file():
        msg = (
            f"{path.name} takes its voxels from {data_file!r}: one file in the same folder was expected;"
            " put it there, or save the image as one file"
        )
        raise ImageError(msg)
    return found


def _dtype(name: str, header: Any) -> np.dtype[Any]:
    code = next((code for code, names in _TYPES.items() if header["type"] in names), None)
    if code is None:
        msg = (
            f"{name} has voxels of type {header['type']!r}: numbers of 8 to 32 bits were expected; convert it"
        )
        raise ImageError(msg)
    order = {"little": "<", "big": ">"}.get(header.get("endian", "little" if code[1] == "1" else ""))
    if order is None:
        msg = f"{name} does not say its byte order (endian: little or big): export it again"
        raise ImageError(msg)
    return np.dtype(order + code)


def _affine(name: str, header: Any) -> NDArray[np.float64]:
    """(4, 4) index -> RAS mm."""
    space = str(header.get("space", "")).lower()
    to_ras = _TO_RAS.get(_SHORT.get(space, space))
    directions = np.array(header.get("space directions", np.full((3, 3), np.nan)), float)
    origin = np.array(header.get("space origin", np.full(3, np.nan)), float)
    if to_ras is None or directions.shape != (3, 3) or not np.isfinite([*directions, origin]).all():
        msg = (
            f"{name} does not say how it lies in the patient (space {space!r}; RAS, LAS or LPS with space"
            " directions and space origin was expected): export it again with its orientation"
        )
        raise ImageError(msg)
    units = {str(unit).strip('"').lower() for unit in header.get("space units", ["mm"])}
    if len(units) != 1 or not units <= set(_MILLIMETRES):
        known = sorted(_MILLIMETRES)
        msg = f"{name} has the space units {sorted(units)}: one of {known} was expected; export it again"
        raise ImageError(msg)
    affine = np.eye(4)
    affine[:3, :3] = directions.T  # pynrrd gives one row per array axis
    affine[:3, 3] = origin
    affine[:3] *= _MILLIMETRES[units.pop()]
    ras: NDArray[np.float64] = to_ras @ affine
    return ras
