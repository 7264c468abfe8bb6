"""NIfTI in and out. The header is nibabel's; its claims are compared with the file before voxels are read."""

from __future__ import annotations

import gzip
import io
import json
from typing import IO, TYPE_CHECKING, Any, cast

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

from trifocal import RESEARCH_USE_ONLY
from trifocal.files import atomic_file
from trifocal.image import Image, ImageError
from trifocal.io.checks import DEFLATE_RATIO, check_claim, read_voxels, to_volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units & 7: unknown, metre, millimetre, micron
_HEADERS: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_KEPT = {np.dtype(t) for t in ("int16", "uint8", "int32", "float32")}


def read_nifti(path: Path) -> Image:
    """Read a .nii or .nii.gz.

    The unit is what `write_nifti` left in the file; a file without one is taken to be a CT in HU, and the
    notes say so.

    Raises:
        ImageError: If the file is truncated, not one volume of real numbers, or does not say where it lies.
    """
    with _open(path) as file:
        return _read(path, file)


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _read(path: Path, file: IO[bytes]) -> Image:
    name = path.name
    header = _header(name, file.read(540))
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    start = header.get_data_offset()
    claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if min(shape, default=0) < 1 or dtype.names is not None:
        what = "colour (RGB) voxels" if dtype.names is not None else f"shape {tuple(map(int, shape))}"
        msg = f"{name} has {what}: a 3-D volume with one number per voxel was expected; convert it"
        raise ImageError(msg)
    packed = path.name.lower().endswith(".gz")
    check_claim(name, start + claimed, path.stat().st_size, ratio=DEFLATE_RATIO if packed else 1)
    notes = {"source": name, "format": f"NIfTI-{1 if isinstance(header, nib.Nifti1Header) else 2}"}
    affine = _affine(name, header, notes)
    file.seek(0)
    data = read_voxels(file, name, start + claimed)
    left = _left_by_write(header, data[:start])
    if left is not None and np.array_equal(np.float32(left["affine"]), np.float32(affine)):
        affine = np.array(left["affine"])  # the header itself holds 32-bit figures only
    unit = left["unit"] if left is not None else "HU"
    if left is None:
        notes["unit"] = "none in the file, taken as HU"
    array = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F")
    return to_volume(_scaled(array, header), affine, unit, notes, name)


def _header(name: str, head: bytes) -> Any:
    size = {int.from_bytes(head[:4], order) for order in ("little", "big")} & set(_HEADERS)
    if not size or len(head) < min(size):
        msg = f"{name} does not begin with a NIfTI header: it is truncated or another kind of file"
        raise ImageError(msg)
    kind = _HEADERS[size.pop()]
    return kind(head[: kind.template_dtype.itemsize], check=True)


def _affine(name: str, header: Any, notes: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) index -> RAS mm from the sform, or from the qform where there is no sform."""
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if not sform and not qform:
        msg = (
            f"{name} does not say how it lies in the patient (sform_code and qform_code are 0):"
            " left and right cannot be told apart; export it again with its orientation"
        )
        raise ImageError(msg)
    affine = np.array(header.get_sform() if sform else header.get_qform(), dtype=np.float64)
    units = int(header["xyzt_units"]) & 7
    if units not in _MILLIMETRES or not np.isfinite(affine).all():
        what = (
            f"an unknown length unit (code {units})"
            if units not in _MILLIMETRES
            else "an affine with NaN in it"
        )
        msg = f"{name} has {what}: where its voxels lie is unknown; export it again"
        raise ImageError(msg)
    affine[:3] *= _MILLIMETRES[units]
    notes["orientation"] = "sform" if sform else "qform"
    if _MILLIMETRES[units] != 1.0:
        notes["length_unit"] = f"{header.get_xyzt_units()[0]} converted to mm"
    return affine


def _scaled(array: NDArray[Any], header: Any) -> NDArray[Any]:
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept) == (1.0, 0.0):
        return array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float32) * np.float32(slope) + np.float32(intercept or 0.0)


def _left_by_write(header: Any, head: bytes) -> dict[str, Any] | None:
    """Find what `write_nifti` left in a header extension: the unit and the affine in 64 bits."""
    for extension in type(header).from_fileobj(io.BytesIO(head)).extensions:
        try:
            left = json.loads(extension.content)["trifocal"]
            affine = np.array(left["affine"], float)
        except (ValueError, KeyError, TypeError):
            continue  # somebody else's extension
        if affine.shape == (4, 4) and isinstance(left.get("unit"), str):
            return dict(left)
    return None


def write_nifti(image: Image, path: Path) -> None:
    """Write a .nii or .nii.gz (reproducible: equal images give equal files).

    The sform is always set, the qform where the axes are orthogonal (it cannot express a shear). int16,
    uint8, int32 and float32 are kept, other types become float32. A header extension holds the unit and the
    affine in 64 bits.

    Raises:
        OSError: If it cannot be written, in one sentence; nothing is left behind.
    """
    array = image.array if image.array.dtype in _KEPT else image.array.astype(np.float32)
    nifti = nib.Nifti1Image(array, image.affine)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(image.affine, code=1)
    directions = image.affine[:3, :3] / image.spacing_mm
    orthogonal = np.allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    nifti.set_qform(image.affine if orthogonal else None, code=int(orthogonal))
    nifti.header["descrip"] = RESEARCH_USE_ONLY.encode()
    left = {"unit": image.unit, "affine": image.affine.tolist()}
    nifti.header.extensions.append(Nifti1Extension("comment", json.dumps({"trifocal": left}).encode()))
    with atomic_file(path) as part, part.open("xb") as file:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                nifti.to_stream(stream)
        else:
            nifti.to_stream(file)
