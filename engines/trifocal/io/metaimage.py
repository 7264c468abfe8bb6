"""MetaImage (.mha, .mhd): a text header, then raw or zlib voxels, in the header's own file or beside it."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import Image, ImageError
from trifocal.io.checks import DEFLATE_RATIO, LPS_TO_RAS, check_claim, read_voxels, to_volume
from trifocal.io.nrrd import beside

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_HEADER_LIMIT = 65536  # bytes


def read_metaimage(path: Path) -> Image:
    """Read a .mha, or a .mhd whose data file lies in the same folder.

    Raises:
        ImageError: If it is truncated, not a volume of real numbers, or does not say where it lies.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_LIMIT)
    header, start = _parse(path.name, head)
    return _read(path, header, start)


def _parse(name: str, head: bytes) -> tuple[dict[str, str], int]:
    """Read "Key = value" lines up to ElementDataFile, which is the last; return them and where they end."""
    header: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in header:
        end = head.find(b"\n", position)
        key, equals, value = head[position:end].decode("latin-1").partition("=")
        if end < 0 or not equals:
            msg = f"{name} has no MetaImage header (Key = value lines up to ElementDataFile): export it again"
            raise ImageError(msg)
        header[key.strip()] = value.strip()
        position = end + 1
    return header, position


def _read(path: Path, header: dict[str, str], start: int) -> Image:
    name = path.name
    shape = tuple(int(n) for n in header["DimSize"].split())
    if len(shape) != 3 or min(shape) < 1 or int(header.get("ElementNumberOfChannels", "1")) != 1:
        channels = header.get("ElementNumberOfChannels", "1")
        msg = (
            f"{name} has DimSize {shape} and {channels} channels: one 3-D volume with one number per voxel"
            " was expected; save the volume that you need on its own"
        )
        raise ImageError(msg)
    if header["ElementType"] not in _TYPES:
        kind = header["ElementType"]
        msg = f"{name} has voxels of type {kind}: one of {sorted(_TYPES)} was expected; convert it"
        raise ImageError(msg)
    big = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = np.dtype((">" if big else "<") + _TYPES[header["ElementType"]])
    affine = _affine(name, header)
    data = _voxels(path, header, start, int(np.prod(shape, dtype=object)) * dtype.itemsize)
    array = np.frombuffer(data, dtype).reshape(shape, order="F").astype(dtype.newbyteorder("="))
    notes = {"source": name, "format": "MetaImage", "unit": "none in the file, taken as HU"}
    return to_volume(array, affine, "HU", notes, name)


def _voxels(path: Path, header: dict[str, str], start: int, claimed: int) -> bytes:
    where = header["ElementDataFile"]
    if where.upper() != "LOCAL":
        path = beside(path, where)
        start = int(header.get("HeaderSize", "0"))
    stored = path.stat().st_size
    compressed = header.get("CompressedData", "False").lower() == "true"
    if start == -1 and not compressed:  # "the data are the last bytes of the file"
        start = max(stored - claimed, 0)
    if start < 0 or header.get("BinaryData", "True").lower() != "true":
        msg = f"{path.name} stores its voxels as text or at an unknown place: save it with BinaryData = True"
        raise ImageError(msg)
    check_claim(path.name, claimed, stored - start, ratio=DEFLATE_RATIO if compressed else 1)
    with path.open("rb") as file:
        file.seek(start)
        if not compressed:
            return read_voxels(file, path.name, claimed)
        packed = file.read()
    return read_voxels(io.BytesIO(zlib.decompressobj().decompress(packed, claimed)), path.name, claimed)


def _affine(name: str, header: dict[str, str]) -> NDArray[np.float64]:
    """(4, 4) index -> RAS mm. MetaImage writes LPS, and one array axis per row of the matrix."""
    keys = {
        "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
        "Offset": ("Offset", "Position", "Origin"),
        "ElementSpacing": ("ElementSpacing",),
    }
    found = {}
    for key, names in keys.items():
        value = next((header[n] for n in names if n in header), None)
        figures = np.array(value.split() if value else [], float)
        if figures.size != (9 if key == "TransformMatrix" else 3):
            msg = (
                f"{name} has no usable {key}: how it lies in the patient is unknown; export it again with it"
            )
            raise ImageError(msg)
        found[key] = figures
    if any(float(x) for x in header.get("CenterOfRotation", "0").split()):
        msg = f"{name} turns about a CenterOfRotation other than 0, which is not read here: export it again"
        raise ImageError(msg)
    affine: Any = np.eye(4)
    affine[:3, :3] = found["TransformMatrix"].reshape(3, 3).T * found["ElementSpacing"]
    affine[:3, 3] = found["Offset"]
    ras: NDArray[np.float64] = LPS_TO_RAS @ affine
    return ras
