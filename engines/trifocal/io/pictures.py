"""PNG, JPEG, TIFF, BMP and GIF in, one page or many."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from trifocal.cine import Cine
from trifocal.files import sha256_file
from trifocal.image import ImageError
from trifocal.io.checks import check_memory
from trifocal.io.frames import LazyFrames, display_range, to_grey8

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MOST_PIXELS = 2**26
"""Of one picture; an ultrasound screen has a hundredth of it."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_NUMBERS = ("I;16", "I;16B", "I;16L", "I", "F")
_AS_THEY_ARE = ("L", "RGB")
_CONVERTED = {
    "1": "L",
    "P": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBX": "RGB",
    "LA": "L",
    "La": "L",
    "PA": "RGB",
    "RGBA": "RGB",
    "RGBa": "RGB",
}
"""Pillow's modes, and what they become; transparency shows black."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (EXIF 2.32, 4.6.4)."""


def read_picture(path: Path) -> Cine:
    """Read a picture; the pages of a TIFF and the frames of a GIF are a cine.

    Palettes are applied, CMYK becomes RGB by Pillow's simple rule (no ink profiles), transparency shows
    black, EXIF orientation is applied, and values of more than 8 bits are mapped from 0 and the highest value
    of the first page to 0..255; what was done is noted.

    Raises:
        ImageError: If it cannot be decoded, or its pages differ in size; one sentence says why.
    """
    pages = _Pages(path)
    frames = LazyFrames(pages.count, pages.load)
    rows, columns = frames[0].shape[:2]
    if pages.count > 1 and pages.sizes != {pages.first_size}:
        msg = f"the {pages.count} pages of {path.name} differ in size: save those of one size"
        raise ImageError(msg)
    return Cine(
        frames=frames,
        size=(columns, rows),
        name=path.name,
        times_s=pages.times_s,
        notes={"source": path.name, "format": pages.format, **pages.notes},
        sha256=sha256_file(path),
    )


class _Pages:
    """An open picture file. Pillow decodes in this process: few formats, of bounded size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.notes: dict[str, Any] = {}
        self._range: tuple[float, float] | None = None
        self._image = self._open()
        self._closer = weakref.finalize(self, self._image.close)
        try:
            self._survey()
        except BaseException:
            self._closer()
            raise

    def _open(self) -> ImageFile.ImageFile:
        try:
            image = Image.open(self._path, formats=_FORMATS)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._damaged(error) from error
        columns, rows = image.size
        if columns * rows > MOST_PIXELS:
            image.close()
            got = f"{columns} x {rows}"
            msg = f"{self._path.name} must have at most {MOST_PIXELS:,} pixels, got {got}: crop it"
            raise ImageError(msg)
        check_memory(self._path.name, 16 * columns * rows)
        return image

    def _survey(self) -> None:
        """Visit every page once: its size, and in a GIF how long it is shown."""
        self.format = str(self._image.format)
        self.first_size = self._image.size
        try:
            # the further pictures of an MPO are previews or other eyes
            self.count = 1 if self.format == "MPO" else int(getattr(self._image, "n_frames", 1))
            self.sizes, shown = set(), []
            for page in range(self.count):
                self._image.seek(page)
                self.sizes.add(self._image.size)
                shown.append(self._image.info.get("duration"))
        except Exception as error:  # Pillow's readers raise whatever the bytes make them
            raise self._damaged(error) from error
        self.times_s: NDArray[np.float64] | None = None
        if self.count > 1 and all(isinstance(t, int | float) and t >= 0 for t in shown) and any(shown):
            self.times_s = np.cumsum([0, *shown[:-1]]) / 1e3

    def load(self, index: int) -> NDArray[np.uint8]:
        """Decode one page: (rows, columns) or (rows, columns, 3)."""
        with self._lock:
            try:
                self._image.seek(index)
                turn = self._image.getexif().get(ExifTags.Base.Orientation, 1)
                deep = _is_deep(self._image)
                page = self._image.copy()  # decodes
            except Exception as error:
                raise self._damaged(error) from error
        if page.size[0] * page.size[1] > MOST_PIXELS:
            msg = f"page {index} of {self._path.name} has {page.size} pixels: too many; crop it"
            raise ImageError(msg)
        if deep:
            self.notes["scaled_to_8_bits"] = "the higher 8 of 16 bits were kept"
        if turn in _TURNS:
            page = self._upright(page, turn)
            self.notes["orientation"] = "turned upright as its EXIF orientation says"
        return self._to_frame(page)

    def _upright(self, page: Image.Image, turn: int) -> Image.Image:
        if self.format != "TIFF":
            return page.transpose(_TURNS[turn])
        if turn > 4:  # Pillow 13 turns TIFFs as it decodes them, and garbles those that lie on their side
            msg = f"{self._path.name} lies on its side (TIFF orientation {turn}), which is not read: turn it"
            raise ImageError(msg)
        return page

    def _to_frame(self, page: Image.Image) -> NDArray[np.uint8]:
        mode = page.mode
        if mode in _NUMBERS:
            return self._scaled(np.asarray(page))
        if mode in _AS_THEY_ARE and "transparency" not in page.info:
            return np.array(page)
        if mode not in _CONVERTED and mode not in _AS_THEY_ARE:
            msg = (
                f"{self._path.name} has pixels of the kind {mode}, which are not read: save it as RGB or grey"
            )
            raise ImageError(msg)
        target = _CONVERTED.get(mode, mode)
        if page.has_transparency_data:
            layers = page.convert("RGBA")
            if layers.getchannel("A").getextrema() != (255, 255):
                self.notes["transparency"] = "transparent pixels were put on black"
            black = Image.new("RGBA", page.size, (0, 0, 0, 255))
            page = Image.alpha_composite(black, layers).convert("RGB")
        if mode == "CMYK":
            self.notes["colours"] = "CMYK became RGB without its ink profile"
        return np.array(page.convert(target))

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if not np.isfinite(values).all():
            msg = f"{self._path.name} has pixels that are not finite: replace them by 0"
            raise ImageError(msg)
        if self._range is None:
            self._range = display_range(values)
            low, high = self._range
            self.notes["scaled_to_8_bits"] = (
                f"{low:g} to {high:g} became 0 to 255 (0 and the highest value of the first page)"
            )
        return to_grey8(values, *self._range)

    def _damaged(self, error: Exception) -> ImageError:
        reason = " ".join(str(error).split()).replace(str(self._path), self._path.name)
        return ImageError(
            f"{self._path.name} cannot be decoded as a picture ({reason or type(error).__name__}): it is"
            " damaged or not what its name says; copy or export it again"
        )


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow cuts colour or grey of 16 bits down to 8 as it decodes: its raw mode says so."""
    return image.mode in _AS_THEY_ARE and any("16" in str(tile[3]) for tile in image.tile)
