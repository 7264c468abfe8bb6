"""Images in and out: the only place that knows DICOM, NIfTI, NRRD and MetaImage, RAS and LPS."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

from nibabel.spatialimages import HeaderDataError

from trifocal.image import Image, ImageError
from trifocal.io.cines import ULTRASOUND_SUFFIXES, looks_like_dicom, read_cine, ultrasound_files
from trifocal.io.dicom import read_dicom
from trifocal.io.metaimage import read_metaimage
from trifocal.io.nifti import read_nifti, write_nifti
from trifocal.io.nrrd import read_nrrd
from trifocal.io.radiograph import RADIOGRAPH_SUFFIXES, read_radiograph, write_film

__all__ = [
    "RADIOGRAPH_SUFFIXES",
    "ULTRASOUND_SUFFIXES",
    "looks_like_dicom",
    "read",
    "read_cine",
    "read_radiograph",
    "ultrasound_files",
    "write",
    "write_film",
]

_READERS = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}
_DAMAGED = (
    HeaderDataError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    gzip.BadGzipFile,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the libraries raise on bytes that they do not expect (seen by changing bytes at random)."""

_DICOM = (".dcm", ".dicom", ".ima", ".zip")


def read(path: Path | str, *, resample: bool = False) -> Image:
    """Read a volume into RAS millimetres.

    A NIfTI, a NRRD, a MetaImage, a DICOM folder, a zip of one, or one multi-frame DICOM file (with any
    suffix or none). A format that does not name its unit is taken to hold HU; what was assumed or changed is
    in `Image.notes`.

    Args:
        path: The file or folder.
        resample: Interpolate a DICOM series with a gantry tilt or uneven gaps onto a regular grid (see
            `trifocal.io.regrid`); without it such a series is refused. Other files are not changed by it.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImageError: If it cannot be read as one volume whose place is known; one sentence says why and what
            to do.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file or folder {path}: check the path"
        raise FileNotFoundError(msg)
    suffix = _suffix(path)
    if path.is_file() and path.stat().st_size == 0:
        msg = f"{path.name} is an empty file: copy or export it again"
        raise ImageError(msg)
    try:
        if path.is_file() and suffix in _READERS:
            return _READERS[suffix](path)
        if path.is_dir() or suffix in _DICOM or _looks_like_dicom(path):
            return read_dicom(path.resolve(), resample=resample)
    except ImageError:
        raise
    except _DAMAGED as error:
        msg = f"{path.name} is damaged or not what its name says ({error}): copy or export it again"
        raise ImageError(msg) from error
    msg = (
        f"{path.name} is of an unknown kind: a DICOM folder, file or zip, or one of {', '.join(_READERS)}"
        " was expected; convert it to one of these"
    )
    raise ImageError(msg)


def write(image: Image, path: Path | str) -> None:
    """Write a volume as NIfTI, whole or not at all.

    Args:
        image: int16 and float32 voxels and the affine come back as they were.
        path: Ends in .nii or .nii.gz.

    Raises:
        ImageError: If the suffix is another.
        OSError: If it cannot be written; nothing is left behind.
    """
    path = Path(path)
    if _suffix(path) not in (".nii", ".nii.gz"):
        msg = f"volumes are written as .nii or .nii.gz, got {path.name}: choose one of these suffixes"
        raise ImageError(msg)
    write_nifti(image, path)


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return ".nii.gz" if suffixes[-2:] == [".nii", ".gz"] else (suffixes or [""])[-1]


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head[:2] == b"\x08\x00"
