"""What the header of a DICOM radiograph says of its pixels, its place and its view."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import ImageError
from trifocal.io.radiograph_write import FilmMark

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from trifocal.radiograph import Scale

_MODALITIES = ("CR", "DX", "XA", "RF", "RG", "PX", "OT", "RTIMAGE", "")
_NAMES = {
    "CT": "a CT slice", "MR": "an MR image", "US": "an ultrasound image", "MG": "a mammogram",
    "PT": "a PET slice", "NM": "a nuclear medicine image", "SR": "a report", "PR": "a presentation state",
}  # fmt: skip
_LATERAL = ("LL", "RL", "LATERAL")
_SPACINGS = (
    ("ImagerPixelSpacing", "ImagerPixelSpacing, at the detector"),
    ("PixelSpacing", "PixelSpacing, taken to be at the detector"),
    ("NominalScannedPixelSpacing", "NominalScannedPixelSpacing, on the scanned film"),
)


def check_kind(header: Dataset, name: str) -> None:
    """Refuse what is no single grey X-ray film.

    Raises:
        ImageError: One sentence says what it is and what to do.
    """
    modality = str(header.get("Modality") or "").strip().upper()
    if modality not in _MODALITIES:
        what = _NAMES.get(modality, f"of modality {modality[:16]!r}")
        msg = f"{name} is {what}, not an X-ray film: choose a file of modality CR, DX, XA or RF"
        raise ImageError(msg)
    sizes = [header.get(k) for k in ("Rows", "Columns", "BitsAllocated", "BitsStored")]
    if not all(isinstance(n, int) and n > 0 for n in sizes) or "PhotometricInterpretation" not in header:
        msg = f"{name} does not say how its pixels are stored: it is damaged or no image; export it again"
        raise ImageError(msg)
    photometric = str(header.PhotometricInterpretation)
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or header.get("SamplesPerPixel", 1) != 1:
        msg = (
            f"{name} has pixels of the kind {photometric[:20]!r}, where a film is grey (MONOCHROME1 or"
            " MONOCHROME2): export the film itself and not a picture of it"
        )
        raise ImageError(msg)
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        msg = f"{name} has {frames} frames where one film was expected: save the frame that you need"
        raise ImageError(msg)


def scale_of(header: Dataset) -> tuple[Scale, bool]:
    """What the pixels are proportional to, and whether dark means more attenuation.

    By Pixel Intensity Relationship (0028,1040) and its sign (PS3.3 C.8.11.3.1.2): LIN is the intensity of the
    beam, LOG its logarithm, +1 says that both grow together, as they do in XA and RF, which have no sign. An
    image FOR PRESENTATION has been processed for the eye whatever it says: there, and where the file says
    nothing, it is the photometric interpretation by which bone is shown white.
    """
    if FilmMark.parse(str(header.get("DerivationDescription", ""))) is not None:
        return "line integral", False
    relation = str(header.get("PixelIntensityRelationship", "") or "").upper()
    shown = str(header.get("PresentationIntentType", "") or "").upper() == "FOR PRESENTATION"
    if shown or relation not in ("LIN", "LOG"):
        return "display", str(header.PhotometricInterpretation) == "MONOCHROME1"
    sign = number(header.get("PixelIntensityRelationshipSign"))
    return ("linear" if relation == "LIN" else "log"), not sign < 0


def pixel_spacing(header: Dataset) -> tuple[tuple[float, float] | None, str]:
    """(row, column) mm on the detector, if a tag holds two positive numbers; and which one, or why not."""
    zero = ""
    for keyword, how in _SPACINGS:
        value = header.get(keyword)
        if value is None or isinstance(value, str | float | int) or len(value) != 2:
            continue
        row, column = (number(v) for v in value)
        if 0 < row < math.inf and 0 < column < math.inf:
            return (row, column), how
        zero = f"unknown: {keyword} holds no positive numbers"
    return None, zero or "unknown: the file does not say"


def view_position(header: Dataset) -> str:
    """AP, PA, LATERAL, LL or RL; other views as the file calls them; empty where the file does not say."""
    said = str(header.get("ViewPosition", "") or "").strip().upper()
    if said in ("LAT", "LATERAL"):
        return "LATERAL"
    if said:
        return said[:16]
    for item in header.get("ViewCodeSequence") or ():
        meaning = str(item.get("CodeMeaning", "")).lower()
        if "lateral" in meaning and "bilateral" not in meaning:
            return "LATERAL"
        for words, position in (("antero-posterior", "AP"), ("postero-anterior", "PA")):
            if words in meaning:
                return position
    row = patient_orientation(header)[:1]
    return "LATERAL" if row and row[0][:1] in ("A", "P") else ""


def is_lateral(position: str) -> bool:
    """Whether a view position names a lateral film."""
    return position in _LATERAL


def patient_orientation(header: Dataset) -> list[str]:
    """Where the rows and the columns run to, as in ["L", "F"]; empty where the file does not say."""
    value = header.get("PatientOrientation")
    if value is None or isinstance(value, str) or len(value) != 2:
        return []
    return [str(v).strip().upper()[:8] for v in value]


def region(header: Dataset) -> list[int] | None:
    """[top, bottom, left, right] within a rectangular shutter or collimator, from 0 and half open.

    None where there is none, or its edges lie on no pixel.
    """
    rows, columns = int(header.Rows), int(header.Columns)
    for kind in ("Shutter", "Collimator"):
        shape: Any = header.get(f"{kind}Shape") or ""
        if "RECTANGULAR" not in ([shape] if isinstance(shape, str) else list(shape)):
            continue
        names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
        edges = [number(header.get(f"{kind}{edge}Edge")) for edge in names]
        if not np.isfinite(edges).all():
            continue
        top, bottom, left, right = (int(edge) for edge in edges)  # counted from 1, and themselves covered
        top, bottom, left, right = max(top, 0), min(bottom - 1, rows), max(left, 0), min(right - 1, columns)
        inside = (bottom - top) * (right - left) if bottom > top and right > left else 0
        # some consoles write the collimator in mm or from another origin: such edges cut off most of the film
        if rows * columns / 4 < inside < rows * columns:
            return [top, bottom, left, right]
    return None


def number(value: object) -> float:
    """A number of the header; NaN where it is missing or no number."""
    if value is None or isinstance(value, bytes):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
