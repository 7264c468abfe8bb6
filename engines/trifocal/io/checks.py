"""What every reader asks of a file: its world, the size that it claims, the values that it holds."""

from __future__ import annotations

import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import psutil

from trifocal.image import Image, ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""(4, 4) LPS mm -> RAS mm. DICOM, MetaImage and most NRRD count x toward the patient's Left and y toward the
Posterior; NIfTI and this project toward the Right and the Anterior; z is Superior in both. The world's axes
turn, the voxels stay where they are: only an affine is ever multiplied by this, from the left."""

DEFLATE_RATIO = 1032
"""Most bytes that deflate makes of one byte (https://zlib.net/zlib_tech.html)."""

AIR_HU = -1000.0


def check_claim(name: str, claimed: int, stored: int, *, ratio: int = 1) -> None:
    """Refuse a header that claims more than its file can hold or than the memory takes, before allocating.

    Args:
        name: The file's name, for the message.
        claimed: Bytes of voxels that the header claims.
        stored: Bytes of voxels in the file, compressed or not.
        ratio: Most bytes that one stored byte can become (1 where not compressed).

    Raises:
        ImageError: If the claim is impossible, or larger than the memory that is free.
    """
    if claimed > stored * ratio:
        packed = " compressed" if ratio > 1 else ""
        msg = (
            f"the header of {name} claims {claimed:,} bytes of voxels but the file holds only"
            f" {stored:,}{packed} bytes: it is truncated or its header is wrong; copy or export it again"
        )
        raise ImageError(msg)
    check_memory(name, claimed)


def check_memory(name: str, needed: int) -> None:
    """Refuse what does not fit the memory.

    Raises:
        ImageError: If `needed` bytes are more than what is free.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"{name} needs {needed / 2**30:.1f} GiB of memory but {free / 2**30:.1f} GiB are free:"
            " close other programs or crop the image"
        )
        raise ImageError(msg)


def read_voxels(file: IO[bytes], name: str, size: int) -> bytes:
    """Read `size` bytes of voxels and no more, however much a compressed stream would give.

    Raises:
        ImageError: If there are fewer bytes, or the compressed stream is damaged.
    """
    try:
        data = file.read(size)
        file.read(1)  # gzip compares the checksum only when the end is reached
    except (EOFError, zlib.error, OSError) as error:
        msg = f"{name} is truncated or damaged ({error}): copy or export it again"
        raise ImageError(msg) from error
    if len(data) < size:
        msg = f"{name} is truncated: {size:,} bytes were expected, got {len(data):,}; copy or export it again"
        raise ImageError(msg)
    return data


def to_volume(
    array: NDArray[Any], affine: NDArray[np.float64], unit: str, notes: dict[str, Any], name: str
) -> Image:
    """Make the Image: trailing axes of one squeezed, int16 or float32, finite where it is a CT.

    Integers that fit become int16, everything else float32.

    Args:
        array: (i, j, k) or (i, j, k, 1, ...) values in `unit`.
        affine: (4, 4) index -> RAS mm.
        unit: See `Image.unit`.
        notes: What was done on the way in.
        name: The file's name, for the messages.

    Raises:
        ImageError: If it is not one volume of real numbers, or a CT with voxels that are not finite.
    """
    if array.dtype.kind not in "biuf":
        msg = f"{name} has voxels of type {array.dtype}: one real number per voxel was expected; convert it"
        raise ImageError(msg)
    shape = array.shape
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        msg = (
            f"{name} has shape {shape}: one 3-D volume was expected; save the volume that you need on its own"
        )
        raise ImageError(msg)
    array = _narrow(array)
    if (
        unit == "HU"
        and array.dtype.kind == "f"
        and (bad := array.size - np.count_nonzero(np.isfinite(array)))
    ):
        msg = (
            f"{name} has {bad} voxels that are not finite (NaN or infinite): a CT needs a number in every"
            " voxel; replace them, for example by -1000 HU (air)"
        )
        raise ImageError(msg)
    return Image(array, affine, unit, notes)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(np.float32, copy=False)
    if array.dtype.kind == "b" or array.dtype.itemsize == 1:
        return array.astype(np.int16)
    if array.min() >= -(2**15) and array.max() < 2**15:
        return array.astype(np.int16, copy=False)
    return array.astype(np.float32)
