"""The pixels of a DICOM CT: stored integers, decoded in a child process where compressed, to HU."""

from __future__ import annotations

import io
from collections import defaultdict
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from trifocal.image import ImageError
from trifocal.io.checks import AIR_HU, check_memory
from trifocal.io.decode import DecodeError, Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from trifocal.io.geometry import Stack
    from trifocal.io.sources import Source

_LOWEST_HU, _HIGHEST_HU = -1024.0, 3071.0
"""What a 12-bit CT can hold: a padding value beyond it means "nothing was measured here"."""


def parse_dicom(name: str, file: IO[bytes], *, pixels: bool) -> Dataset:
    """Parse a DICOM file, with or without the part-10 preamble.

    Raises:
        ImageError: If it cannot be parsed.
    """
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    except Exception as error:  # a damaged file may raise anything
        msg = f"{name} cannot be parsed as DICOM ({error}): it is damaged; export it again"
        raise ImageError(msg) from error
    return dataset


def load_pixels(stack: Stack, sources: list[Source], name: str) -> tuple[NDArray[Any], int]:
    """Read the pixels of a checked stack.

    Args:
        stack: The sorted slices; the first part of each key is an index into `sources`.
        sources: The files.
        name: The series' name, for messages.

    Returns:
        (slice, row, column) HU, int16 where the values allow it, else float32; how many voxels were padding.

    Raises:
        ImageError: If pixels are missing or cannot be decoded, or the volume does not fit the memory.
    """
    columns, rows = stack.planes[0].size
    slope, intercept = stack.planes[0].rescale
    whole = slope.is_integer() and intercept.is_integer()
    check_memory(name, len(stack.planes) * rows * columns * (2 if whole else 4))
    volume: NDArray[Any] = np.empty((len(stack.planes), rows, columns), np.int16 if whole else np.float32)
    slots: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for slot, plane in enumerate(stack.planes):
        slots[plane.key[0]].append((slot, plane.key[1]))
    padded = 0
    with Decoder() as decoder:
        for number, wanted in slots.items():
            frames, padding = read_stored(sources[number], (len(wanted), rows, columns), decoder)
            for slot, frame in wanted:
                hu, empty = _to_hu(frames[frame], padding, slope, intercept)
                padded += int(np.count_nonzero(empty))
                if volume.dtype == np.int16 and hu.max() > np.iinfo(np.int16).max:
                    volume = volume.astype(np.float32)
                volume[slot] = hu
    return volume, padded


def _to_hu(
    stored: NDArray[Any], padding: float | None, slope: float, intercept: float
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Rescale one slice; what no CT can have measured becomes air. Returns HU and where that was."""
    whole = slope.is_integer() and intercept.is_integer() and stored.itemsize < 4
    hu: NDArray[Any] = stored.astype(np.int32) if whole else stored.astype(np.float64)
    hu = hu * (int(slope) if whole else slope) + (int(intercept) if whole else intercept)
    empty = hu < _LOWEST_HU
    if padding is not None and padding * slope + intercept > _HIGHEST_HU:
        empty |= stored == padding
    hu[empty] = AIR_HU
    return hu, empty


def read_stored(
    source: Source, shape: tuple[int, int, int], decoder: Decoder
) -> tuple[NDArray[Any], float | None]:
    """Read the stored integers (frames, rows, columns) of one file, and its padding value.

    Raises:
        ImageError: If there are too few of them, or they cannot be decoded.
    """
    with source.open() as file:
        data = file.read()
    dataset = parse_dicom(source.name, io.BytesIO(data), pixels=True)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if "PixelData" not in dataset:
        msg = f"{source.name} holds no pixel data: it is truncated; copy it again"
        raise ImageError(msg)
    if syntax.is_encapsulated:
        stored = _decompressed(source.name, data, shape, syntax, decoder)
    else:
        stored = _uncompressed(source.name, dataset, shape, big=syntax == ExplicitVRBigEndian)
    value = dataset.get("PixelPaddingValue")
    return _signed(stored, dataset), float(value) if isinstance(value, int) else None


def _decompressed(
    name: str, data: bytes, shape: tuple[int, int, int], syntax: UID, decoder: Decoder
) -> NDArray[Any]:
    try:
        if not get_decoder(syntax).is_available:
            raise DecodeError("there is no decoder for it here")
        return decoder.decode(data, shape)
    except (DecodeError, NotImplementedError) as error:
        msg = f"{name} is compressed ({syntax.name}) and cannot be decoded ({error}): save it uncompressed"
        raise ImageError(msg) from error


def _uncompressed(name: str, dataset: Dataset, shape: tuple[int, int, int], *, big: bool) -> NDArray[Any]:
    bits = int(dataset.get("BitsAllocated", 0))
    if bits not in (8, 16, 32):
        msg = f"{name} allocates {bits} bits for a pixel: 8, 16 or 32 were expected; export it again"
        raise ImageError(msg)
    kind = "i" if dataset.get("PixelRepresentation") == 1 else "u"
    dtype = np.dtype(f"{'>' if big else '<'}{kind}{bits // 8}")
    size = int(np.prod(shape)) * dtype.itemsize
    if len(dataset.PixelData) < size:
        msg = (
            f"{name} is truncated: {size:,} bytes of pixel data were expected, got"
            f" {len(dataset.PixelData):,}; copy it again"
        )
        raise ImageError(msg)
    stored = np.frombuffer(dataset.PixelData, dtype, size // dtype.itemsize).reshape(shape)
    return stored.astype(dtype.newbyteorder("="), copy=False)


def _signed(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Keep the stored bits only: old scanners put overlays into the others, or leave the sign unextended."""
    spare = 8 * stored.itemsize - int(dataset.get("BitsStored", 8 * stored.itemsize))
    if spare <= 0:
        return stored
    return (stored << spare) >> spare
