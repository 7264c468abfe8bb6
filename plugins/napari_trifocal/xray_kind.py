"""Whether a file is an X-ray film, by a look at its header. No GUI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
from PIL import Image as Picture
from pydicom.uid import DeflatedExplicitVRLittleEndian

from trifocal.io import looks_like_dicom
from trifocal.io.quiet import quiet_pydicom

if TYPE_CHECKING:
    from pathlib import Path

MODALITIES = ("CR", "DX", "XA", "RF", "RG", "PX")
PICTURES = (".tif", ".tiff", ".png")
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")  # more than 8 bits of grey: no ultrasound is stored so
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def is_film(path: Path) -> bool:
    """Whether a file is a DICOM radiograph of one frame, or a grey picture of more than 8 bits.

    The pixels are not read. One that cannot be parsed is none.
    """
    if not path.is_file():
        return False
    try:
        return _is_deep_picture(path) if path.suffix.lower() in PICTURES else _is_dicom_film(path)
    except Exception:  # noqa: BLE001 - the libraries raise whatever damaged bytes make them
        return False


def _is_deep_picture(path: Path) -> bool:
    with Picture.open(path) as picture:
        return picture.mode in DEEP and getattr(picture, "n_frames", 1) == 1


def _is_dicom_film(path: Path) -> bool:
    if not looks_like_dicom(path):
        return False
    with quiet_pydicom(), path.open("rb") as file:
        if _DEFLATED in file.read(2048):  # would be inflated without bounds
            return False
        file.seek(0)
        tags = ["Modality", "NumberOfFrames"]
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
    frames = int(header.get("NumberOfFrames") or 1)
    return str(header.get("Modality") or "").strip().upper() in MODALITIES and frames == 1
