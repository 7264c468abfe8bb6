"""The frames of a DICOM ultrasound file, one at a time: found, decoded, brought to grey or RGB."""

from __future__ import annotations

import io
import os
import struct
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from trifocal.image import ImageError
from trifocal.io.checks import check_memory
from trifocal.io.decode import DecodeError, pixels
from trifocal.io.fragments import Span, find_frames
from trifocal.io.frames import display_range, to_grey8
from trifocal.io.palette import palette
from trifocal.io.shared_decoder import decode_frame

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_KEYWORDS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
)  # fmt: skip
"""What is needed to decode a frame; nothing about the patient goes to the child."""

_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


class DicomPixels:
    """Where the frames of one file lie, and how they become grey or RGB.

    Args:
        path: Of the file; opened anew for each frame.
        file: The same, open, standing where the header's parser stopped: at the Pixel Data element.
        header: The data set without its pixels.

    Attributes:
        count: Whole frames.
        notes: What is done to them, for the record.

    Raises:
        ImageError: If there is no whole frame, or its kind of pixels is not known.
    """

    def __init__(self, path: Path, file: IO[bytes], header: Dataset) -> None:
        self.path, self.notes = path, dict[str, Any]()
        self.syntax = UID(header.file_meta.TransferSyntaxUID)
        self._form = Dataset()
        for keyword in _KEYWORDS:
            if (value := header.get(keyword)) is not None:
                setattr(self._form, keyword, value)
        self._form.NumberOfFrames = 1
        self._check(path.name)
        self._colour = int(self._form.SamplesPerPixel) == 3
        self._signed = bool(self._form.get("PixelRepresentation", 0))
        claimed = max(int(header.get("NumberOfFrames") or 1), 1)
        self._spans = self._find(file, header, claimed)
        self._count(claimed)
        self._palette = palette(header, path.name) if self.photometric == "PALETTE COLOR" else None
        self._range: tuple[float, float] | None = None
        self._set_range(header)

    @property
    def size(self) -> tuple[int, int]:
        """(columns, rows)."""
        return int(self._form.Columns), int(self._form.Rows)

    def load(self, index: int) -> NDArray[np.uint8]:
        """Decode one frame: (rows, columns) or (rows, columns, 3).

        Raises:
            ImageError: If it cannot be decoded.
        """
        stored = self._stored(index)
        bits = int(self._form.BitsStored)
        if self._palette is not None:
            first, table = self._palette
            return table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)]
        if self._colour:
            return (stored >> max(bits - 8, 0)).astype(np.uint8) if stored.itemsize > 1 else stored
        if self._range is not None:
            grey = to_grey8(stored, *self._range)
        else:
            grey = stored if stored.itemsize == 1 else np.clip(stored, 0, 255).astype(np.uint8)
        return 255 - grey if self.photometric == "MONOCHROME1" else grey

    @property
    def photometric(self) -> str:
        """Photometric Interpretation."""
        return str(self._form.PhotometricInterpretation)

    def _check(self, name: str) -> None:
        form = self._form
        numbers = [form.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored")]
        if not all(isinstance(n, int) and n > 0 for n in numbers) or "PhotometricInterpretation" not in form:
            msg = f"{name} does not say how its pixels are stored: it is damaged or no image; export it again"
            raise ImageError(msg)
        rows, columns, samples, bits, _ = (int(n) for n in numbers)
        if (self.photometric, samples) not in [*((p, 1) for p in _GREY), *((p, 3) for p in _COLOUR)]:
            msg = (
                f"{name} has {samples} samples of {self.photometric[:20]!r} for a pixel: one of"
                f" {', '.join(_GREY)}, or three of {', '.join(_COLOUR)} were expected; convert it"
            )
            raise ImageError(msg)
        if bits not in (8, 16):
            msg = f"{name} allocates {bits} bits for a sample: 8 or 16 were expected; convert it"
            raise ImageError(msg)
        check_memory(name, 8 * rows * columns * samples)

    def _find(self, file: IO[bytes], header: Dataset, claimed: int) -> list[tuple[Span, ...]]:
        """Where the whole frames are; `file` stands at the Pixel Data element."""
        name = self.path.name
        implicit, little = header.original_encoding
        tag = file.read(4)
        if tag not in _PIXEL_DATA:
            msg = f"{name} holds no pixel data: it is truncated or no image; copy it again"
            raise ImageError(msg)
        vr = b"" if implicit else file.read(4)[:2]
        self._form_vr = vr.decode("ascii", "replace") or "OW"
        length = struct.unpack("<I" if little else ">I", file.read(4))[0]
        if self.syntax.is_encapsulated:
            return find_frames(file, name, claimed, bytes(header.get("ExtendedOffsetTable", b"")))
        start = file.tell()
        stored = min(length, os.fstat(file.fileno()).st_size - start)
        size = self._frame_bytes(stored, claimed)
        return [((start + i * size, size),) for i in range(min(stored // size, claimed))]

    def _frame_bytes(self, stored: int, claimed: int) -> int:
        columns, rows = self.size
        full = rows * columns * int(self._form.SamplesPerPixel) * int(self._form.BitsAllocated) // 8
        if self.photometric != "YBR_FULL_422":
            return full
        if stored >= full * claimed or columns % 2:  # named so by mistake: every pixel has its own colour
            self._form.PhotometricInterpretation = "YBR_FULL"
            self.notes["photometric_assumed"] = "YBR_FULL, since the pixels are not subsampled"
            return full
        return full // 3 * 2

    def _count(self, claimed: int) -> None:
        name, found = self.path.name, len(self._spans)
        if not found:
            msg = f"{name} is truncated: not one of its {claimed} frames is whole; copy it again"
            raise ImageError(msg)
        if found < claimed:
            self.notes["truncated"] = (
                f"{name} is truncated: {found} of its {claimed} frames are whole, and only these are used"
            )
        self.count = min(found, claimed)
        self._spans = self._spans[: self.count]

    def _set_range(self, header: Dataset) -> None:
        """How values that do not fit 8 bits become grey: by the file's window, else by the first frame."""
        if self._colour or self._palette is not None:
            return
        if int(self._form.BitsStored) <= 8 and not self._signed:
            return
        window = [_first_number(header.get(k)) for k in ("WindowCenter", "WindowWidth")]
        slope, shift = (_first_number(header.get(k)) for k in ("RescaleSlope", "RescaleIntercept"))
        centre, width = window
        if centre is not None and width is not None and width > 1 and (slope is None or slope > 0):
            # PS3.3 C.11.2.1.2.1, back from the rescaled to the stored values
            low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
            self._range = ((low - (shift or 0)) / (slope or 1), (high - (shift or 0)) / (slope or 1))
            rule = "the file's window"
        else:
            self._range = display_range(self._stored(0))
            rule = "0 and the highest value of the first frame"
        low, high = self._range
        self.notes["scaled_to_8_bits"] = f"{low:g} to {high:g} became 0 to 255 ({rule})"

    def _stored(self, index: int) -> NDArray[Any]:
        """The stored integers (rows, columns) or RGB (rows, columns, 3) of one frame."""
        name = f"frame {index} of {self.path.name}" if self.count > 1 else self.path.name
        try:
            with self.path.open("rb") as file:
                data = b"".join(_read(file, span) for span in self._spans[index])
            columns, rows = self.size
            frame: NDArray[Any] = self._decode(data, (1, rows, columns, *((3,) if self._colour else ())))[0]
        except (DecodeError, OSError, NotImplementedError, ValueError, AttributeError) as error:
            how = f" ({self.syntax.name})" if self.syntax.is_encapsulated else ""
            msg = f"{name} cannot be decoded{how}: {error}; copy it again or save it uncompressed"
            raise ImageError(" ".join(msg.split())) from error
        return frame

    def _decode(self, data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        dataset = Dataset()
        dataset.update(self._form)
        dataset.file_meta = FileMetaDataset()
        if not self.syntax.is_encapsulated:
            big = self.syntax == ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
            dataset.PixelData = data + b"\0" * (len(data) % 2)
            dataset["PixelData"].VR = self._form_vr if self._form_vr in ("OB", "OW") else "OW"
            return pixels(dataset)
        if not get_decoder(self.syntax).is_available:
            msg = "there is no decoder for it here"
            raise DecodeError(msg)
        dataset.file_meta.TransferSyntaxUID = self.syntax
        dataset.PixelData = encapsulate([data], has_bot=False)
        dataset["PixelData"].VR = "OB"
        buffer = io.BytesIO()
        dataset.preamble = b"\0" * 128
        dataset.save_as(buffer, enforce_file_format=False)
        return decode_frame(buffer.getvalue(), shape)


def _read(file: IO[bytes], span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])


def _first_number(value: object) -> float | None:
    """The (first) value of a DS, if it is one."""
    try:
        number = float(value if isinstance(value, float | int | str) else value[0])  # type: ignore[index]
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
