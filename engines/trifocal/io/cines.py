"""Which reader an ultrasound file needs, and which files of a folder are ultrasound."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trifocal.image import ImageError
from trifocal.io import video
from trifocal.io.pictures import read_picture
from trifocal.io.ultrasound import read_ultrasound
from trifocal.io.video import read_video

if TYPE_CHECKING:
    from trifocal.cine import Cine

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
_DICOM = (".dcm", ".dicom", ".ima")
ULTRASOUND_SUFFIXES = (*_PICTURES, *_DICOM, *video.FORMATS)
"""What `read_cine` reads by its suffix; DICOM is also known by its first bytes."""

_OLD_DICOM = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")
"""First tags of files from before DICOM part 10: group length, character set, image type."""


def read_cine(path: Path | str) -> Cine:
    """Read an ultrasound image or cine.

    PNG, JPEG, BMP, GIF, TIFF of one page or more, DICOM (single, multi-frame, cine; any suffix or none), AVI,
    MP4, MOV and WMV. Frames are decoded when they are asked for and come as they are in the file: nothing is
    cropped, scaled or mirrored. What had to be done to the values is in `Cine.notes`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImageError: If it cannot be read; one sentence says why and what to do, and nothing about the patient.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file {path}: check the path"
        raise FileNotFoundError(msg)
    if path.is_dir():
        msg = f"{path.name} is a folder: an ultrasound image or cine was expected; give its files"
        raise ImageError(msg)
    if path.stat().st_size == 0:
        msg = f"{path.name} is an empty file: copy or export it again"
        raise ImageError(msg)
    suffix = path.suffix.lower()
    if suffix in _DICOM or looks_like_dicom(path):
        return read_ultrasound(path)
    if suffix in _PICTURES:
        return read_picture(path)
    if suffix in video.FORMATS:
        return read_video(path)
    known = ", ".join(ULTRASOUND_SUFFIXES)
    msg = f"{path.name} is of an unknown kind: DICOM or one of {known} was expected; convert it"
    raise ImageError(msg)


def ultrasound_files(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders that may be ultrasound, by suffix or as DICOM.

    Hidden ones are left out. Sorted by name, a folder's files before those of its subfolders.

    Raises:
        OSError: If the folder cannot be read.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            known = path.suffix.lower() in ULTRASOUND_SUFFIXES
            if not name.startswith(".") and path.is_file() and (known or looks_like_dicom(path)):
                found.append(path)
    return found


def looks_like_dicom(path: Path) -> bool:
    """By the preamble of DICOM part 10, or by the group that files from before it begin with."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head[:4] in _OLD_DICOM
