"""Measurements as a DICOM structured report (TID 1500) beside the image that they are from.

Codes are those of the standard (CID 12005, 12013 and the like) only where they mean exactly what was
measured; the others are this project's own, under the scheme 99TRIFOCAL: a diameter of the left ventricle on
some frame is not its end-diastolic one. Units are UCUM; a length without a scale is in {pixels}. The patient
and the study are the image's, since the standard wants a report in the study that it is about; nothing else
is taken.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import atomic_file
from trifocal.image import ImageError
from trifocal.io.quiet import quiet_pydicom

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

    from trifocal.keypoints.frame_result import FrameResult
    from trifocal.keypoints.measurements import Measurement

MOST_FRAMES = 200
"""In one report: readers load it whole."""

OWN_SCHEME = "99TRIFOCAL"
_LONGEST_CODE = 16  # of a code value, in characters

_LOINC = {
    "BPD": ("11820-8", "Biparietal Diameter"),
    "OFD": ("11851-3", "Occipital-Frontal Diameter"),
    "HC": ("11984-2", "Head Circumference"),
    "CI": ("11823-2", "Cephalic Index"),
    "APAD": ("11818-2", "Anterior-Posterior Abdominal Diameter"),
    "TAD": ("11862-0", "Transverse Abdominal Diameter"),
    "AC": ("11979-2", "Abdominal Circumference"),
    "FL": ("11963-6", "Femur Length"),
    "cervical length": ("11961-0", "Cervix Length"),
    "IVC diameter": ("18006-7", "Inferior Vena Cava Diameter"),
}
_AGE = ("18185-9", "Gestational Age")
_EQUATIONS = {
    "GA (HC)": ("11932-1", "HC, Hadlock 1984"),
    "GA (BPD)": ("11902-4", "BPD, Hadlock 1984"),
    "GA (AC)": ("11892-7", "AC, Hadlock 1984"),
    "GA (FL)": ("11920-6", "FL, Hadlock 1984"),
}
_UNITS = {
    "mm": ("mm", "millimeter"),
    "px": ("{pixels}", "pixels"),
    "%": ("%", "percent"),
    "deg": ("deg", "degree"),
    "weeks": ("wk", "week"),
    "g": ("g", "gram"),
    "ratio": ("{ratio}", "ratio"),
}
_INHERITED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName", "SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "SOPClassUID", "Rows", "Columns", "NumberOfFrames",
)  # fmt: skip


def write_report(results: Sequence[FrameResult], source: Path, path: Path) -> None:
    """Write the measurements of frames of one DICOM file as a Comprehensive SR.

    Args:
        results: Of that file, at most `MOST_FRAMES`.
        source: The DICOM image.
        path: Of the report, which appears whole or not at all.

    Raises:
        ImageError: If the image lacks the identifiers that a report must refer to.
        ValueError: If there is nothing to report, or too much.
        OSError: If it cannot be written.
    """
    if not 0 < len(results) <= MOST_FRAMES:
        msg = f"a report must have 1 to {MOST_FRAMES} frames, got {len(results)}: choose fewer"
        raise ValueError(msg)
    with quiet_pydicom():
        image = _identity(source)
        groups = [_group(result, image) for result in results]
        report = hd.sr.MeasurementReport(
            observation_context=_observer(),
            procedure_reported=codes.SCT.DiagnosticUltrasonography,
            imaging_measurements=[group for group in groups if group is not None],
            title=codes.DCM.ImagingMeasurementReport,
        )
        document = hd.sr.ComprehensiveSR(
            evidence=[image],
            content=report[0],
            series_instance_uid=generate_uid(),
            series_number=9000,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="trifocal",
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description=f"trifocal keypoints, {RESEARCH_USE_ONLY.lower()}"[:64],
        )
        with atomic_file(path) as part:
            document.save_as(part)


def _identity(source: Path) -> Dataset:
    """The tags of the image that a report refers to or shares with it, and no others."""
    try:
        header = pydicom.dcmread(source, stop_before_pixels=True, force=True, specific_tags=list(_INHERITED))
        image = pydicom.Dataset()
        for keyword in _INHERITED:
            value = header.get(keyword)
            if value is not None:
                setattr(image, keyword, value)
            elif keyword not in ("SpecificCharacterSet", "NumberOfFrames"):
                setattr(image, keyword, None)  # of type 2: there, and empty
    except Exception as error:  # noqa: BLE001 - its text may quote the patient
        msg = f"the header of {source.name} is damaged ({type(error).__name__}): no report can refer to it"
        raise ImageError(msg) from None
    missing = [
        k
        for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
        if not image[k].value
    ]
    if missing:
        msg = f"{source.name} has no {', '.join(missing)}: a report must refer to them; no report is written"
        raise ImageError(msg)
    return image


def _observer() -> hd.sr.ObservationContext:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["trifocal", __version__]),
        name="trifocal keypoints",
        manufacturer_name="trifocal",
        model_name=f"trifocal {__version__}",
    )
    context = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return hd.sr.ObservationContext(observer_device_context=context)


def _group(result: FrameResult, image: Dataset) -> hd.sr.MeasurementsAndQualitativeEvaluations | None:
    """The measurements of one frame (TID 1501); None where there are none."""
    frames = [result.frame + 1] if "NumberOfFrames" in image and int(image.NumberOfFrames or 1) > 1 else None
    items = [_measurement(m, result, image, frames) for m in result.measurements if m.value is not None]
    if not items:
        return None
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=generate_uid(), identifier=f"{result.task.id} frame {result.frame}"
        ),
        finding_type=_own(result.task.title),
        algorithm_id=_algorithm(result),
        measurements=items,
        source_images=[hd.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, frames)],
    )


def _algorithm(result: FrameResult) -> hd.sr.AlgorithmIdentification:
    edited = [name for name, by_hand in zip(result.task.points, result.edited, strict=True) if by_hand]
    return hd.sr.AlgorithmIdentification(
        name=f"trifocal keypoints {result.engine or 'by hand'}",
        version=__version__,
        parameters=[
            RESEARCH_USE_ONLY,
            f"weights sha256 {result.weights_sha256 or 'none'}",
            f"points placed by hand: {', '.join(edited) or 'none'}",
        ],
    )


def _measurement(
    measurement: Measurement, result: FrameResult, image: Dataset, frames: list[int] | None
) -> hd.sr.Measurement:
    name = measurement.name
    where = _coordinates(name, result)
    coordinates = None
    if where is not None:
        coordinates = [
            hd.sr.CoordinatesForMeasurement(
                graphic_type=where[0],
                graphic_data=where[1],
                source_image=hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, frames),
            )
        ]
    value, meaning = _UNITS[measurement.unit]
    assert measurement.value is not None
    return hd.sr.Measurement(
        name=_concept(name),
        # a DS has 16 characters
        value=round(float(measurement.value), 4),
        unit=hd.sr.CodedConcept(value, "UCUM", meaning),
        method=hd.sr.CodedConcept(*_split(_EQUATIONS[name])) if name in _EQUATIONS else None,
        referenced_coordinates=coordinates,
    )


def _coordinates(
    name: str, result: FrameResult
) -> tuple[hd.sr.GraphicTypeValues, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] | None:
    """What a measurement was read from, as SCOORD: the first pixel's outer corner is (0, 0) there."""
    task, points = result.task, result.points + 0.5
    for pair in task.pairs:
        if pair.name == name:
            return hd.sr.GraphicTypeValues.POLYLINE, points[list(pair.ends)]
    if name in ("HC", "AC") and result.ellipse is not None:
        short_1, short_2, long_1, long_2 = result.ellipse.axis_ends() + 0.5
        return hd.sr.GraphicTypeValues.ELLIPSE, np.stack([long_1, long_2, short_1, short_2])
    if name in ("HC", "AC"):
        return hd.sr.GraphicTypeValues.MULTIPOINT, points
    if name == "AoP":
        return hd.sr.GraphicTypeValues.POLYLINE, points[[1, 0, 3]]
    if name == "HSD":
        return hd.sr.GraphicTypeValues.POLYLINE, points[[0, 2]]
    return None


def _concept(name: str) -> hd.sr.CodedConcept:
    if name in _EQUATIONS:
        return hd.sr.CodedConcept(*_split(_AGE))
    return hd.sr.CodedConcept(*_split(_LOINC[name])) if name in _LOINC else _own(name)


def _split(code: tuple[str, str]) -> tuple[str, str, str]:
    return code[0], "LN", code[1]


def _own(meaning: str) -> hd.sr.CodedConcept:
    """A code of this project: short enough for a code value, and itself readable."""
    value = "".join(c for c in meaning.upper().replace(" ", "_") if c.isalnum() or c == "_")
    if len(value) > _LONGEST_CODE:
        value = value[:11] + "_" + hashlib.sha256(meaning.encode()).hexdigest()[:4].upper()
    return hd.sr.CodedConcept(value, OWN_SCHEME, meaning[:64])
