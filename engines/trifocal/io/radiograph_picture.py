"""X-ray films as pictures: PNG, TIFF, JPEG, BMP in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from trifocal.files import sha256_file
from trifocal.image import ImageError
from trifocal.io.checks import check_memory
from trifocal.io.pictures import MOST_PIXELS
from trifocal.io.radiograph_write import FilmMark
from trifocal.radiograph import Radiograph

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PICTURE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")

_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
_GREY_WITHIN = 6
"""Of 255: the difference between channels that the losses of a JPEG leave in grey."""

_DESCRIPTION, _WHITE_IS_ZERO, _X_RESOLUTION, _Y_RESOLUTION = 270, 262, 282, 283


def read_film_picture(path: Path) -> Radiograph:
    """Read a picture of a film, bone white; see `trifocal.io.radiograph.read_radiograph`.

    The resolution that pictures carry says how to print them, and is not taken for the detector's.

    Raises:
        ImageError: If it cannot be decoded, has colours, or more than one page.
    """
    Image.init()
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check(image, path.name)
            tags = dict(getattr(image, "tag_v2", {}))
            notes: dict[str, Any] = {"source": path.name, "format": f"{image.format}, {image.mode}"}
            pixels = _grey(image, path.name, notes)
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise whatever the bytes make them
        reason = " ".join(str(error).split()).replace(str(path), path.name)
        msg = (
            f"{path.name} cannot be decoded as a picture ({reason or type(error).__name__}): it is damaged or"
            " not what its name says; copy or export it again"
        )
        raise ImageError(msg) from error
    scale, spacing = "display", None
    mark = FilmMark.parse(str(tags.get(_DESCRIPTION, "")))
    if mark is not None:
        pixels = pixels * np.float32(mark.per_count) + np.float32(mark.at_zero)
        notes["expected_error"] = mark.expected_error
        scale, spacing = "line integral", _spacing(tags)
    elif tags.get(_WHITE_IS_ZERO) == 0 and notes["format"].endswith("16"):  # Pillow turns over 8 bits only
        np.subtract(np.float32(65535), pixels, out=pixels)
        notes["inverted"] = {"value": "65535 - stored", "top": 65535.0}
    return Radiograph(
        pixels,
        scale,  # type: ignore[arg-type]
        path.name,
        spacing,
        notes={**notes, "pixel_mm": "as projected" if spacing else "unknown: a picture does not say"},
        sha256=sha256_file(path),
    )


def _check(image: Image.Image, name: str) -> None:
    columns, rows = image.size
    if columns * rows > MOST_PIXELS:
        msg = f"{name} must have at most {MOST_PIXELS:,} pixels, got {columns} x {rows}: crop or shrink it"
        raise ImageError(msg)
    check_memory(name, 16 * columns * rows)
    pages = 1 if image.format != "TIFF" else int(getattr(image, "n_frames", 1))
    if pages > 1:
        msg = f"{name} has {pages} pages where one film was expected: save the page that you need"
        raise ImageError(msg)


def _grey(image: Image.Image, name: str, notes: dict[str, Any]) -> NDArray[np.float32]:
    """(rows, columns) of the picture, turned as its EXIF says."""
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    if turn != 1 and image.format == "TIFF":
        msg = f"{name} is stored turned (TIFF orientation {turn}), which is not read: save it upright"
        raise ImageError(msg)
    if turn != 1:
        image = ImageOps.exif_transpose(image)
        notes["orientation"] = "turned upright as its EXIF orientation says"
    if image.mode == "1":
        msg = f"{name} is black and white without grey: export the film with 8 or 16 bits"
        raise ImageError(msg)
    if image.mode in _DEEP or (image.mode == "L" and "transparency" not in image.info):
        return np.asarray(image).astype(np.float32)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            msg = f"{name} is transparent in places, where a film has a value everywhere: save it without"
            raise ImageError(msg)
    return _reduced(np.asarray(image.convert("RGB")), name, notes)


def _reduced(colours: NDArray[np.uint8], name: str, notes: dict[str, Any]) -> NDArray[np.float32]:
    """Grey of (rows, columns, 3) of which all channels say the same."""
    out = np.empty(colours.shape[:2], np.float32)
    for start in range(0, len(out), 256):  # a large film's differences need not be in memory at once
        part = colours[start : start + 256]
        if int(np.ptp(part, axis=-1).max()) > _GREY_WITHIN:
            msg = (
                f"{name} is a picture with colours, where a film is grey: export the film itself (DICOM, or"
                " grey PNG or TIFF) instead of a photograph or a marked screenshot of it"
            )
            raise ImageError(msg)
        out[start : start + 256] = part.mean(axis=-1)
    notes["colour"] = "three equal channels were reduced to grey"
    return out


def _spacing(tags: dict[int, Any]) -> tuple[float, float] | None:
    """(row, column) mm from the resolutions per centimetre that `trifocal project` writes."""
    per_cm = [float(tags.get(tag, 0)) for tag in (_Y_RESOLUTION, _X_RESOLUTION)]
    return (10 / per_cm[0], 10 / per_cm[1]) if min(per_cm) > 0 else None
