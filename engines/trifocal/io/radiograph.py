"""Radiographs in: DICOM CR, DX, XA and RF, and pictures; brighter is more attenuation in all of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from trifocal.files import sha256_file
from trifocal.image import ImageError
from trifocal.io.checks import check_memory
from trifocal.io.cines import looks_like_dicom
from trifocal.io.decode import Decoder
from trifocal.io.pixels import read_stored
from trifocal.io.quiet import quiet_pydicom
from trifocal.io.radiograph_header import (
    check_kind,
    number,
    patient_orientation,
    pixel_spacing,
    region,
    scale_of,
    view_position,
)
from trifocal.io.radiograph_picture import PICTURE_SUFFIXES, read_film_picture
from trifocal.io.radiograph_write import FilmMark, write_film
from trifocal.io.sources import Source
from trifocal.radiograph import Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

RADIOGRAPH_SUFFIXES = (*PICTURE_SUFFIXES, ".dcm", ".dicom", ".ima")
"""What `read_radiograph` reads by its suffix; DICOM is also known by its first bytes."""

__all__ = ["RADIOGRAPH_SUFFIXES", "read_radiograph", "write_film"]

_VOLUMES = (".nii", ".gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def read_radiograph(path: Path | str) -> Radiograph:
    """Read one X-ray film: DICOM (CR, DX, XA, RF; one frame), PNG, TIFF, JPEG or BMP of 8 or 16 bits.

    Values come as they are stored, rescaled where the file says so, and turned over once where dark means
    more attenuation; no window, table or shutter is applied. What was done and found is in
    `Radiograph.notes`. A spacing of 0 counts as unknown. Films that `trifocal project` wrote come back as
    line integrals.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImageError: If it cannot be read as one grey film; one sentence says why and what to do, and nothing
            about the patient.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file {path}: check the path"
        raise FileNotFoundError(msg)
    if path.is_dir():
        msg = f"{path.name} is a folder: one X-ray film was expected; give its file"
        raise ImageError(msg)
    if path.stat().st_size == 0:
        msg = f"{path.name} is an empty file: copy or export it again"
        raise ImageError(msg)
    suffix = path.suffix.lower()
    if suffix in _VOLUMES:
        msg = f"{path.name} is a volume: one X-ray film was expected; `trifocal project` makes films of a CT"
        raise ImageError(msg)
    if suffix in RADIOGRAPH_SUFFIXES[len(PICTURE_SUFFIXES) :] or looks_like_dicom(path):
        return _read_dicom(path)
    if suffix in PICTURE_SUFFIXES:
        return read_film_picture(path)
    known = ", ".join(RADIOGRAPH_SUFFIXES)
    msg = f"{path.name} is of an unknown kind: DICOM or one of {known} was expected; convert it"
    raise ImageError(msg)


def _read_dicom(path: Path) -> Radiograph:
    with quiet_pydicom():
        try:
            return _read(path)
        except (ImageError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - pydicom raises whatever damaged bytes make it
            # the text of the error may quote the header, and with it the patient
            msg = f"the header of {path.name} is damaged ({type(error).__name__}): export it again"
            raise ImageError(msg) from None


def _read(path: Path) -> Radiograph:
    name = path.name
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() in file.read(2048):  # would be inflated without bounds
            msg = f"{name} is stored deflated, which is not read: save it uncompressed"
            raise ImageError(msg)
        file.seek(0)
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    check_kind(header, name)
    rows, columns = int(header.Rows), int(header.Columns)
    check_memory(name, 16 * rows * columns)
    with Decoder() as decoder:
        stored, padding = read_stored(Source(name, lambda: path.open("rb")), (1, rows, columns), decoder)
    scale, drawn = scale_of(header)
    pixels, notes = _upright(stored[0], header, drawn, padding)
    spacing, how = pixel_spacing(header)
    notes |= {"pixel_mm": how, **_found(header)}
    angles = [number(header.get(k)) for k in ("PositionerPrimaryAngle", "PositionerSecondaryAngle")]
    return Radiograph(
        pixels,
        scale,
        name,
        spacing,
        view_position(header),
        _distance(header, "DistanceSourceToDetector"),
        _distance(header, "DistanceSourceToPatient"),
        None if any(map(math.isnan, angles)) else (angles[0], angles[1]),
        {"source": name, "format": f"DICOM {header.get('Modality', '')}".strip(), **notes},
        sha256_file(path),
    )


def _upright(
    stored: NDArray[Any], header: Dataset, dark_is_dense: bool, padding: float | None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Rescale, and turn over where dark is dense; says what was done."""
    slope, shift = number(header.get("RescaleSlope")), number(header.get("RescaleIntercept"))
    mark = FilmMark.parse(str(header.get("DerivationDescription", "")))
    if mark is not None:
        slope, shift = mark.per_count, mark.at_zero
    slope, shift = (1.0 if math.isnan(slope) or slope == 0 else slope), (0.0 if math.isnan(shift) else shift)
    pixels = stored.astype(np.float32)
    notes: dict[str, Any] = {"photometric": str(header.PhotometricInterpretation)}
    if mark is not None:
        notes["expected_error"] = mark.expected_error
    empty = None if padding is None else float(np.float32(padding * slope + shift))
    if (slope, shift) != (1.0, 0.0):
        pixels *= np.float32(slope)
        pixels += np.float32(shift)
        notes["rescaled"] = {"slope": slope, "intercept": shift}
    if dark_is_dense:
        signed = bool(header.get("PixelRepresentation", 0))
        highest = 2.0 ** (int(header.BitsStored) - signed) - 1
        top = float(np.float32(highest * slope + shift))
        np.subtract(np.float32(top), pixels, out=pixels)
        empty = None if empty is None else float(np.float32(top) - np.float32(empty))
        notes["inverted"] = {"value": f"{top:g} - stored", "top": top}
    if empty is not None and (count := int(np.count_nonzero(pixels == np.float32(empty)))):
        notes["padding"] = {"value": empty, "pixels": count}
    return pixels, notes


def _found(header: Dataset) -> dict[str, Any]:
    """What else the header says that a reader of the result may want to know."""
    notes: dict[str, Any] = {}
    if "VOILUTSequence" in header or "WindowWidth" in header:
        notes["window"] = "the file names a window or table for viewing, which was not applied"
    if "ModalityLUTSequence" in header:
        notes["modality_table"] = "the file has a modality table, which was not applied"
    if overlays := sum(1 for group in range(0x6000, 0x6020, 2) if (group, 0x3000) in header):
        notes["overlays"] = f"{overlays} overlays, which are not part of the pixels, were left out"
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        notes["burned_in"] = "text is burned into the pixels: it counts as part of the film"
    if "LossyImageCompression" in header and str(header.LossyImageCompression) == "01":
        notes["lossy"] = "the file was compressed with losses"
    if (edges := region(header)) is not None:
        notes["shutter"] = edges
    if way := patient_orientation(header):
        notes["patient_orientation"] = way
    if (kvp := number(header.get("KVP"))) > 0:
        notes["kvp"] = kvp
    return notes


def _distance(header: Dataset, keyword: str) -> float | None:
    value = number(header.get(keyword))
    return value if 0 < value < math.inf else None
