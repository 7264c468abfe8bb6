"""The arrays of one TFUScapes file, mapped into memory where they lie as they are, and checked."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

KEYS = {"ct": ("float32", 3), "pmap": ("float32", 3), "tr_coords": ("int64", 2)}
LOCAL_HEADER = 30  # bytes of a zip member's header before its name (APPNOTE 4.3.7)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read and check the three arrays of a file.

    Members that numpy.savez wrote are mapped copy-on-write: only what is looked at is read, and writing to
    the array does not change the file. Compressed members are read.

    Returns:
        ct (n, n, n) float32 HU, pmap (n, n, n) float32 Pa, tr_coords (m, 3) int64 voxel indices.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is damaged or holds something else; the message says what is wrong.
    """
    if not path.is_file():
        msg = f"there is no file {path}: the data set is incomplete, fetch or export it again"
        raise FileNotFoundError(msg)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name: _member(archive, path, name) for name in _names(archive, path)}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        msg = f"{path} must be a .npz file and is none, or was cut short ({error}): fetch or export it again"
        raise ValueError(msg) from error
    for name, array in found.items():
        _check_kind(path, name, array)
    _check_volumes(path, found["ct"], found["pmap"])
    _check_coordinates(path, found["tr_coords"], found["ct"].shape)
    return found


def _names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    stored = {name.removesuffix(".npy") for name in archive.namelist()}
    missing = [name for name in KEYS if name not in stored]
    if missing:
        msg = f"{path} must hold the arrays {list(KEYS)}, got {sorted(stored)}: {missing[0]} is missing"
        raise ValueError(msg)
    return list(KEYS)


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        shape, fortran, dtype = _header(cast("BinaryIO", member), path, name)
        start = member.tell()
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if min(shape, default=0) < 0 or start + size != info.file_size:
            msg = (
                f"{name} in {path} must hold {abs(size)} bytes for a {dtype} array of shape {shape}, got "
                f"{info.file_size - start}: the file is damaged, fetch or export it again"
            )
            raise ValueError(msg)
        order: Literal["C", "F"] = "F" if fortran else "C"
        if info.compress_type != zipfile.ZIP_STORED or not size:
            values = np.frombuffer(bytearray(member.read()), dtype)
            return values.reshape(shape, order=order)
    offset = _data_offset(path, info) + start
    if offset + size > path.stat().st_size:
        msg = f"{path} was cut short inside {name}: fetch or export it again"
        raise ValueError(msg)
    mapped: NDArray[Any] = np.memmap(path, dtype, "c", offset, shape, order)
    return mapped


def _header(member: BinaryIO, path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran order, and dtype; pickled objects are refused, never loaded."""
    try:
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(member)
    except (ValueError, SyntaxError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{name} in {path} has a damaged header ({reason}): fetch or export the file again"
        raise ValueError(msg) from error
    if dtype.hasobject:
        msg = f"{name} in {path} must be an array of numbers, got pickled objects, which are never loaded"
        raise ValueError(msg)
    return shape, fortran, dtype


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: its local header may be longer than the directory says."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + LOCAL_HEADER + name + extra


def _check_kind(path: Path, name: str, array: NDArray[Any]) -> None:
    dtype, ndim = KEYS[name]
    if array.ndim != ndim or 0 in array.shape:
        shape = "(n, n, n)" if ndim == 3 else "(m, 3), m at least 1"
        msg = f"{name} in {path} must have shape {shape}, got {array.shape}"
        raise ValueError(msg)
    if array.dtype != np.dtype(dtype):
        msg = f"{name} in {path} must be {dtype}, got {array.dtype}: convert it with astype and save it again"
        raise ValueError(msg)


def _check_volumes(path: Path, ct: NDArray[Any], pressure: NDArray[Any]) -> None:
    if len(set(ct.shape)) != 1:
        msg = f"ct in {path} must be a cube (n, n, n), got shape {ct.shape}"
        raise ValueError(msg)
    if ct.shape != pressure.shape:
        msg = f"ct and pmap in {path} must have the same shape, got {ct.shape} and {pressure.shape}"
        raise ValueError(msg)
    low, high = float(pressure.min()), float(pressure.max())
    if not np.isfinite([low, high]).all():
        msg = f"pmap in {path} must hold finite pressures in Pa, got NaN or infinity"
        raise ValueError(msg)
    if low < 0:
        msg = f"pmap in {path} must hold amplitudes of 0 Pa or more, got {low:g} Pa"
        raise ValueError(msg)
    if high == 0:
        msg = f"pmap in {path} is 0 everywhere: the sample has no field, leave it out of the splits"
        raise ValueError(msg)
    if not np.isfinite([ct.min(), ct.max()]).all():
        msg = f"ct in {path} must hold finite Hounsfield units, got NaN or infinity"
        raise ValueError(msg)


def _check_coordinates(path: Path, points: NDArray[Any], shape: tuple[int, ...]) -> None:
    if points.shape[1] != 3:
        msg = f"tr_coords in {path} must have shape (m, 3), got {points.shape}"
        raise ValueError(msg)
    outside = ((points < 0) | (points >= shape)).any(1)
    if outside.any():
        first = points[outside][0].tolist()
        msg = (
            f"tr_coords in {path} must be voxel indices from 0 to {shape[0] - 1}, got {first} and "
            f"{int(outside.sum()) - 1} more outside: are they in mm?"
        )
        raise ValueError(msg)
