"""Small X-ray films in DICOM, written where a test needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = "Secret^Name"


def film_dataset(pixels, photometric="MONOCHROME2", *, syntax=ExplicitVRLittleEndian, bits=None, **tags):
    """A data set of `pixels` (rows, columns), as they are; a tag of None is left out."""
    pixels = np.asarray(pixels)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.Modality = PATIENT, "secret-id", "CR"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for tag, value in tags.items():
        if value is None:
            del ds[tag]
        else:
            setattr(ds, tag, value)
    return ds


def save(ds, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path
