"""DICOM ultrasound in: what the header says of frames, times and the size of pixels."""

from __future__ import annotations

import math
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedUSVolumeStorage,
    ImplicitVRLittleEndian,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from trifocal.cine import Cine, ScaleRegion
from trifocal.files import sha256_file
from trifocal.image import ImageError
from trifocal.io.frames import LazyFrames
from trifocal.io.quiet import quiet_pydicom
from trifocal.io.ultrasound_pixels import DicomPixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_MODALITIES = ("US", "IVUS")
_CLASSES = (
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    "1.2.840.10008.5.1.4.1.1.6",  # both retired in 1993, and still met
    "1.2.840.10008.5.1.4.1.1.3",
)
_NAMES = {
    "CT": "a CT", "MR": "an MR image", "CR": "an X-ray", "DX": "an X-ray", "MG": "a mammogram",
    "XA": "an X-ray angiogram", "RF": "a fluoroscopy", "PT": "a PET", "NM": "a nuclear medicine image",
    "SR": "a report", "OT": "of the modality 'other'",
}  # fmt: skip


def read_ultrasound(path: Path) -> Cine:
    """Read a DICOM ultrasound image or cine; its frames are decoded when they are asked for.

    Colour comes as RGB, palettes applied; MONOCHROME1 inverted; values of more than 8 bits are mapped by the
    file's window, or else from 0 and the highest value of the first frame.

    Raises:
        ImageError: If it is no ultrasound or no whole frame can be decoded; one sentence says why.
    """
    with quiet_pydicom(), path.open("rb") as file:
        try:
            return _read(path, file)
        except (ImageError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - pydicom raises whatever damaged bytes make it
            # the text of the error may quote the header, and with it the patient
            msg = f"the header of {path.name} is damaged ({type(error).__name__}): export it again"
            raise ImageError(msg) from None


def _read(path: Path, file: IO[bytes]) -> Cine:
    if DeflatedExplicitVRLittleEndian.encode() in file.read(2048):  # would be inflated without bounds
        msg = f"{path.name} is stored deflated, which is not read: save it uncompressed"
        raise ImageError(msg)
    file.seek(0)
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    if "TransferSyntaxUID" not in header.file_meta:
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    modality = _modality(header, path.name)
    pixels = DicomPixels(path, file, header)
    times, how = _times(header, pixels.count)
    frames = LazyFrames(pixels.count, pixels.load)
    frames[0]  # a file that cannot be decoded is refused now and not when it is drawn
    notes: dict[str, Any] = {
        "source": path.name,
        "format": f"DICOM, {pixels.syntax.name}, {pixels.photometric}",
        **({"times": how} if how else {}),
        **pixels.notes,
    }
    return Cine(
        frames=frames,
        size=pixels.size,
        name=path.name,
        times_s=times,
        regions=_regions(header),
        pixel_spacing_mm=_spacing(header),
        modality=modality,
        notes=notes,
        sha256=sha256_file(path),
    )


def _modality(header: Dataset, name: str) -> str:
    """The modality, where it is ultrasound.

    Raises:
        ImageError: If it is not; the message says what it is instead.
    """
    modality = str(header.get("Modality") or "").strip()
    kind = str(header.get("SOPClassUID", ""))
    if kind == EnhancedUSVolumeStorage:
        msg = (
            f"{name} is a 3-D ultrasound volume: a single image or a cine was expected; export a plane of it"
        )
        raise ImageError(msg)
    if not modality and kind in _CLASSES:
        return "US"
    if modality in _MODALITIES:
        return modality
    what = _NAMES.get(modality, f"of modality {modality[:16]!r}") if modality else "of no stated modality"
    msg = f"{name} is {what}, not an ultrasound image: choose a file of modality {' or '.join(_MODALITIES)}"
    raise ImageError(msg)


def _regions(header: Dataset) -> tuple[ScaleRegion, ...]:
    """The regions as they stand in the file; what an item does not say becomes 0 or NaN: never valid."""
    items = header.get("SequenceOfUltrasoundRegions") or ()
    return tuple(_region(item) for item in items)


def _region(item: Dataset) -> ScaleRegion:
    def whole(keyword: str, missing: int = 0) -> int:
        value = _number(item.get(keyword))
        return missing if math.isnan(value) else int(value)

    return ScaleRegion(
        box=(
            whole("RegionLocationMinX0"),
            whole("RegionLocationMinY0"),
            whole("RegionLocationMaxX1", -1),
            whole("RegionLocationMaxY1", -1),
        ),
        units=(whole("PhysicalUnitsXDirection"), whole("PhysicalUnitsYDirection")),
        delta=(_number(item.get("PhysicalDeltaX")), _number(item.get("PhysicalDeltaY"))),
        spatial_format=whole("RegionSpatialFormat"),
        data_type=whole("RegionDataType"),
    )


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """PixelSpacing, in the order x, y.

    Not ImagerPixelSpacing and not NominalScannedPixelSpacing: neither is a length in the patient.
    """
    value = header.get("PixelSpacing")
    if value is None or isinstance(value, str | float | int) or len(value) != 2:
        return None
    between_rows, between_columns = (_number(v) for v in value)
    if not (0 < between_rows < math.inf and 0 < between_columns < math.inf):
        return None
    return between_columns, between_rows


def _times(header: Dataset, count: int) -> tuple[NDArray[np.float64] | None, str]:
    """(count,) seconds from the first frame, and the tag that says so."""
    vector = header.get("FrameTimeVector")
    if count > 1 and vector is not None and not isinstance(vector, str | float | int):
        steps = np.array([_number(v) for v in vector], dtype=np.float64)
        if len(steps) >= count and np.isfinite(steps).all() and (steps >= 0).all() and steps.any():
            steps = steps[:count].copy()
            steps[0] = 0.0
            return np.cumsum(steps) / 1e3, "FrameTimeVector"
    for keyword, per_second in (
        ("FrameTime", False),
        ("CineRate", True),
        ("RecommendedDisplayFrameRate", True),
    ):
        value = _number(header.get(keyword))
        if count > 1 and 0 < value < math.inf:
            step = 1 / value if per_second else value / 1e3
            return np.arange(count, dtype=np.float64) * np.float64(step), keyword
    return None, ""


def _number(value: object) -> float:
    """A number of the header; NaN where it is missing or no number."""
    if value is None or isinstance(value, bytes):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
