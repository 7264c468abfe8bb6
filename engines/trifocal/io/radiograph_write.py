"""Films of line integrals out, as 16-bit DICOM or TIFF that say what their numbers mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForProcessing, ExplicitVRLittleEndian, generate_uid

from trifocal.files import atomic_file
from trifocal.image import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PER_COUNT, AT_ZERO = 0.0005, -0.5
"""A stored value n is the line integral n * PER_COUNT + AT_ZERO: -0.5 (noise in the open beam) to 32.3."""

_NUMBER = r"(-?[0-9.]+(?:e-?[0-9]+)?)"
_PATTERN = re.compile(
    rf"trifocal line integrals -ln\(I/I0\) = value \* {_NUMBER} \+ {_NUMBER}, expected error {_NUMBER}$"
)


@dataclass(frozen=True)
class FilmMark:
    """What a film that `write_film` wrote says of its numbers, in its description.

    Attributes:
        per_count: Line integral for each step of the stored value.
        at_zero: Line integral of the stored value 0.
        expected_error: Of a line integral, as a share of the largest.
    """

    per_count: float = PER_COUNT
    at_zero: float = AT_ZERO
    expected_error: float = 0.0

    @property
    def text(self) -> str:
        """The description."""
        return (
            f"trifocal line integrals -ln(I/I0) = value * {self.per_count:g} + {self.at_zero:g},"
            f" expected error {self.expected_error:.4g}"
        )

    @classmethod
    def parse(cls, text: str) -> FilmMark | None:
        """Read a description; None for any other text."""
        found = _PATTERN.match(text.strip())
        if found is None:
            return None
        mark = cls(*(float(group) for group in found.groups()))
        return mark if 0 < mark.per_count < 1e3 and abs(mark.at_zero) < 1e3 else None


def write_film(
    path: Path,
    line_integrals: NDArray[np.float32],
    *,
    pixel_mm: tuple[float, float],
    position: str,
    source_to_detector_mm: float | None = None,
    source_to_patient_mm: float | None = None,
    expected_error: float = 0.0,
) -> None:
    """Write line integrals (rows, columns) with 16 bits, whole or not at all.

    Args:
        path: Ends in .dcm (a DX image FOR PROCESSING) or .tif, .tiff.
        line_integrals: -ln(I / I0).
        pixel_mm: (row, column) spacing on the detector.
        position: View Position, as in "AP"; TIFF cannot say it.
        source_to_detector_mm: SID; TIFF cannot say it.
        source_to_patient_mm: SOD; TIFF cannot say it.
        expected_error: Of a line integral as a share of the largest: noise and scatter that are in it.

    Raises:
        ImageError: If the suffix is another.
        OSError: If it cannot be written; nothing is left behind.
    """
    counts = np.rint((np.nan_to_num(line_integrals) - AT_ZERO) / PER_COUNT)
    stored = np.clip(counts, 0, 65535).astype("<u2")
    suffix = path.suffix.lower()
    if suffix not in (".dcm", ".tif", ".tiff"):
        msg = f"films are written as .dcm or .tif, got {path.name}: choose one of these suffixes"
        raise ImageError(msg)
    mark = FilmMark(expected_error=expected_error).text
    with atomic_file(path) as part:
        if suffix == ".dcm":
            distances = (source_to_detector_mm, source_to_patient_mm)
            dataset = _dataset(stored, pixel_mm, position, distances)
            dataset.DerivationDescription = mark
            dataset.save_as(part, enforce_file_format=True)
        else:
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            tags[270] = mark  # ImageDescription
            tags[282], tags[283] = 10 / pixel_mm[1], 10 / pixel_mm[0]  # per centimetre
            tags[296] = 3
            Image.fromarray(stored).save(part, "TIFF", tiffinfo=tags, compression="tiff_adobe_deflate")


def _dataset(
    stored: NDArray[np.uint16],
    pixel_mm: tuple[float, float],
    position: str,
    distances: tuple[float | None, float | None],
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForProcessing
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    now = datetime.now(UTC)
    ds.ContentDate, ds.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "", "", "", ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "simulated", "", "", ""
    ds.Modality, ds.Manufacturer, ds.PresentationIntentType = "DX", "trifocal", "FOR PROCESSING"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.SeriesNumber, ds.InstanceNumber, ds.BurnedInAnnotation, ds.LossyImageCompression = 1, 1, "NO", "00"
    ds.ViewPosition = position if position in ("AP", "PA", "LL", "RL") else "LL"
    ds.PatientOrientation = ["L", "F"] if position in ("AP", "PA") else ["P", "F"]
    ds.ImagerPixelSpacing = [f"{size:.8g}" for size in pixel_mm]
    for keyword, value in zip(
        ("DistanceSourceToDetector", "DistanceSourceToPatient"), distances, strict=True
    ):
        if value is not None:
            setattr(ds, keyword, f"{value:.8g}")
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "US"
    low, high = float(stored.min()), float(stored.max())
    ds.WindowCenter, ds.WindowWidth = f"{(low + high) / 2:g}", f"{max(high - low, 1):g}"
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OW"
    return ds
