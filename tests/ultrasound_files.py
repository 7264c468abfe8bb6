"""Small DICOM ultrasound files, written where a test needs them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = "Secret^Name"


def region(box=(0, 0, 39, 29), delta=(0.02, 0.02), units=(3, 3), spatial_format=1, data_type=1):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial_format, data_type, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2:]
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = delta
    return item


def dataset(frames, photometric="MONOCHROME2", *, syntax=ExplicitVRLittleEndian, regions=(), **tags):
    """A data set of `frames` (T, rows, columns) or (T, rows, columns, 3), as they are; None drops a tag."""
    frames = np.asarray(frames)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = UltrasoundImageStorage if len(frames) == 1 else UltrasoundMultiFrameImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.Modality = PATIENT, "secret-id", "US"
    ds.PatientBirthDate, ds.PatientSex, ds.StudyID, ds.AccessionNumber = "19700101", "F", "1", "secret-acc"
    ds.StudyDate, ds.StudyTime, ds.ReferringPhysicianName = "20200101", "120000", ""
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    ds.PhotometricInterpretation = photometric
    if frames.ndim == 4:
        ds.PlanarConfiguration = 0
    bits = 8 * frames.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = 0
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    if regions:
        ds.SequenceOfUltrasoundRegions = Sequence(list(regions))
    data = frames.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    for tag, value in tags.items():
        if value is None:
            del ds[tag]
        else:
            setattr(ds, tag, value)
    return ds


def save(ds, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def jpeg(frame, **options) -> bytes:
    file = BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def jpeg_dataset(frames, *, fragments_per_frame=1, offset_table=True, **tags):
    """RGB frames (T, rows, columns, 3) as JPEG baseline; tags as in `dataset`."""
    ds = dataset(frames, "YBR_FULL_422", syntax=JPEGBaseline8Bit, **tags)
    ds.PixelData = encapsulate([jpeg(frame) for frame in frames], fragments_per_frame, has_bot=offset_table)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def pattern(count=1, rows=30, columns=40, seed=0):
    """(count, rows, columns) uint8 noise; every frame another."""
    return np.random.default_rng(seed).integers(0, 256, (count, rows, columns), np.uint8)


def smooth_colour(count=1, rows=32, columns=48):
    """(count, rows, columns, 3) uint8 that JPEG nearly keeps; frame t is brighter than t - 1."""
    y, x = np.mgrid[:rows, :columns]
    t = np.arange(count)[:, None, None]
    planes = [2 * x + t, 3 * y + 2 * t, 100 + x + y + 0 * t]
    return np.stack(np.broadcast_arrays(*planes), axis=-1).astype(np.uint8)
