"""A CT series of a few small slices, then everything that can be wrong with one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from data import reads_or_says_why, shared_data
from trifocal import io
from trifocal.image import ImageError
from trifocal.io import decode
from trifocal.io.checks import LPS_TO_RAS

SERIES, FRAME = generate_uid(entropy_srcs=["series"]), generate_uid(entropy_srcs=["frame"])
ROWS, COLUMNS = 12, 10
AXES = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def pixels(number, seed=0):
    return np.random.default_rng(seed + number).integers(0, 2000, (ROWS, COLUMNS), np.uint16)


def slice_(number, position=None, *, array=None, syntax=ExplicitVRLittleEndian, **tags):
    """One slice, 2 mm after the one before; a tag of None is left out."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "CT", SERIES, FRAME
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient = AXES
    ds.ImagePositionPatient = [-5.0, -6.0, 100.0 + 2.0 * number] if position is None else position
    ds.PixelSpacing = [0.7, 0.5]  # between rows, between columns
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    array = pixels(number) if array is None else array
    ds.Rows, ds.Columns = array.shape[:2]
    ds.PixelData = array.astype(
        array.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")
    ).tobytes()
    ds["PixelData"].VR = "OW"
    for tag, value in tags.items():
        if value is None:
            delattr(ds, tag)
        else:
            setattr(ds, tag, value)
    return ds


def save(folder, slices):
    folder.mkdir(exist_ok=True)
    for number, ds in enumerate(slices):
        ds.save_as(folder / f"{number:03}", enforce_file_format=True)
    return folder


def series(folder, numbers=range(6), **tags):
    return save(folder, [slice_(number, **tags) for number in numbers])


def volume(numbers=range(6)):
    """(column, row, slice) HU."""
    return np.stack([pixels(number).T.astype(int) - 1024 for number in numbers], axis=-1)


def test_a_series_reads_in_ras_whatever_the_order_of_its_files(tmp_path):
    image = io.read(series(tmp_path / "ct", [3, 0, 5, 1, 4, 2]))
    np.testing.assert_array_equal(image.array, volume())
    assert image.array.dtype == np.int16
    assert image.unit == "HU"
    np.testing.assert_allclose(
        image.affine, [[-0.5, 0, 0, 5], [0, -0.7, 0, 6], [0, 0, 2, 100], [0, 0, 0, 1]], atol=1e-9
    )
    assert image.notes["slices"] == 6


def test_a_landmark_keeps_its_place_in_the_patient(tmp_path):
    """Three pixels of their own values in an oblique series: any flip would move one."""
    angle = np.radians(20)
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.array([-np.sin(angle), np.cos(angle), 0.0])
    marks = {1000: (2, 3, 1), 1500: (8, 3, 1), 1900: (2, 10, 4)}  # column, row, slice
    slices = []
    for k in range(5):
        array = np.zeros((ROWS, COLUMNS), np.uint16)
        for value, (i, j, number) in marks.items():
            if number == k:
                array[j, i] = value
        slices.append(slice_(k, array=array, ImageOrientationPatient=[*row, *column]))
    image = io.read(save(tmp_path / "ct", slices))
    for value, (i, j, k) in marks.items():
        lps = np.array([-5.0, -6.0, 100.0 + 2 * k]) + 0.5 * i * row + 0.7 * j * column
        found = image.index_to_world(np.argwhere(image.array == value - 1024)[0])
        np.testing.assert_allclose(found, lps * [-1, -1, 1], atol=1e-6)


def test_slices_stored_from_top_to_bottom_are_sorted_along_their_normal(tmp_path):
    """A sagittal series: the normal of these axes points to the patient's left."""
    axes = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
    places = [[20.0 - 2 * n, 1.0, 2.0] for n in range(4)]
    slices = [slice_(n, places[n], ImageOrientationPatient=axes) for n in range(4)]
    image = io.read(save(tmp_path / "ct", slices))
    normal = np.cross(axes[:3], axes[3:])
    step = LPS_TO_RAS[:3, :3] @ normal * 2
    np.testing.assert_allclose(image.affine[:3, 2], step, atol=1e-9)
    assert np.linalg.det(image.affine) > 0


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_uncompressed_syntaxes(tmp_path, syntax):
    np.testing.assert_array_equal(io.read(series(tmp_path / "ct", syntax=syntax)).array, volume())


def test_files_without_a_preamble(tmp_path):
    folder = series(tmp_path / "ct", syntax=ImplicitVRLittleEndian)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        del ds.file_meta
        with path.open("wb") as file:
            ds.preamble = None
            pydicom.dcmwrite(file, ds, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(io.read(folder).array, volume())


def test_signed_values_of_fewer_bits_than_allocated(tmp_path):
    array = np.full((ROWS, COLUMNS), 0x0FFF, np.uint16)  # -1 in 12 bits, its sign not extended
    folder = series(tmp_path / "ct", array=array, PixelRepresentation=1, RescaleIntercept=0)
    assert (io.read(folder).array == -1).all()


def test_a_fractional_slope_gives_float32(tmp_path):
    image = io.read(series(tmp_path / "ct", RescaleSlope="0.5"))
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, (volume() + 1024) * 0.5 - 1024)


def test_values_beyond_int16_are_kept_as_float32(tmp_path):
    array = np.full((ROWS, COLUMNS), 60000, np.uint16)
    image = io.read(series(tmp_path / "ct", array=array, BitsStored=16))
    assert image.array.dtype == np.float32
    assert (image.array == 60000 - 1024).all()


def test_padding_outside_the_scan_circle_becomes_air_and_is_counted(tmp_path):
    array = pixels(0).astype(np.int16)
    array[0, :4] = -2000
    tags = {"PixelRepresentation": 1, "BitsStored": 16, "RescaleIntercept": 0, "PixelPaddingValue": -2000}
    image = io.read(series(tmp_path / "ct", array=array, **tags))
    assert (image.array[:4, 0] == -1000).all()
    assert image.notes["padding"] == "24 voxels outside the scan circle set to -1000 HU"


def test_other_files_are_skipped_and_counted(tmp_path):
    folder = series(tmp_path / "ct")
    (folder / "readme.txt").write_text("hello")
    (folder / "more").mkdir()
    (folder / "more" / "empty").write_bytes(b"")
    report = slice_(0, Modality="SR", Rows=None, Columns=None, PixelData=None)
    report.save_as(folder / "report.dcm", enforce_file_format=True)
    scout = slice_(9, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID=generate_uid())
    scout.save_as(folder / "scout.dcm", enforce_file_format=True)
    slice_(0, Modality="MR", SeriesInstanceUID="1.2").save_as(folder / "mr", enforce_file_format=True)
    image = io.read(folder)
    assert image.shape == (COLUMNS, ROWS, 6)
    assert image.notes["skipped_files"] == {"not DICOM": 2, "no image": 1, "localizer": 1, "modality MR": 1}


@pytest.mark.parametrize(
    ("tag", "sentence"),
    [
        ("RescaleSlope", "no usable RescaleSlope: its numbers cannot be turned into HU"),
        ("RescaleIntercept", "no usable RescaleIntercept: its numbers cannot be turned into HU"),
        ("PixelSpacing", "no usable PixelSpacing: the size of its pixels in mm is unknown"),
        ("ImageOrientationPatient", "no usable ImageOrientationPatient: how it lies"),
        ("ImagePositionPatient", "no usable ImagePositionPatient: where it lies"),
        ("PixelData", "holds no pixel data"),
    ],
)
def test_a_missing_tag_is_named(tmp_path, tag, sentence):
    folder = series(tmp_path / "ct", [0, 1])
    ds = pydicom.dcmread(folder / "001")
    delattr(ds, tag)
    ds.save_as(folder / "001", enforce_file_format=True)
    with pytest.raises(ImageError, match=f"001 (has )?{sentence}"):
        io.read(folder)


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"PixelSpacing": [0.0, 0.5]}, "pixel spacing of ct must be positive"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.1, 0.9, 0]}, "not two perpendicular unit vectors"),
        ({"RescaleSlope": 0}, "RescaleSlope 0"),
        ({"RescaleType": "MGML"}, "RescaleType MGML"),
        ({"Modality": "MR"}, r"holds no CT: images found: 6 of modality MR"),
        ({"BitsAllocated": 12}, "allocates 12 bits"),
        ({"syntax": DeflatedExplicitVRLittleEndian}, "stored deflated"),
    ],
)
def test_a_series_that_is_wrong_throughout_is_refused(tmp_path, tags, sentence):
    with pytest.raises(ImageError, match=sentence):
        io.read(series(tmp_path / "ct", **tags))


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({"PixelSpacing": [0.7, 0.51]}, "pixel spacing"),
        ({"ImageOrientationPatient": [0.9998, 0.02, 0, -0.02, 0.9998, 0]}, "orientation"),
        ({"RescaleIntercept": 0}, "rescale slope and intercept"),
        ({"FrameOfReferenceUID": "1.2.3"}, "frame of reference"),
        ({"array": np.zeros((ROWS + 1, COLUMNS), np.uint16)}, r"size \(columns, rows\)"),
    ],
)
def test_the_odd_slice_is_named(tmp_path, tags, what):
    slices = [slice_(n, **(tags if n == 0 else {})) for n in range(5)]
    with pytest.raises(ImageError, match=rf"ct differ in {what} \(1 of 5, the first 000\)"):
        io.read(save(tmp_path / "ct", slices))


def test_a_missing_slice_is_named_by_its_place(tmp_path):
    folder = series(tmp_path / "ct", [0, 1, 2, 4, 5])
    sentence = (
        r"1 slice is missing, the first at 106\.00 mm .*LPS \[-5\.0, -6\.0, 106\.0\].*between 002 and 003"
    )
    with pytest.raises(ImageError, match=sentence):
        io.read(folder)


def test_a_duplicate_slice_is_named(tmp_path):
    with pytest.raises(
        ImageError, match=r"1 duplicate slice positions, the first at 102\.00 mm \(001 and 002\)"
    ):
        io.read(series(tmp_path / "ct", [0, 1, 1, 2, 3]))


def test_uneven_gaps_are_refused(tmp_path):
    slices = [slice_(n, [0, 0, z]) for n, z in enumerate([0, 2, 4, 6.5, 8.5, 10.5])]
    with pytest.raises(
        ImageError, match=r"gaps are uneven \(2\.00 to 2\.50 mm, median 2\.00 mm\).*--resample"
    ):
        io.read(save(tmp_path / "ct", slices))


def test_rounded_positions_are_even_enough(tmp_path):
    slices = [slice_(n, [0, 0, round(n * 2 / 3, 2)]) for n in range(10)]
    assert io.read(save(tmp_path / "ct", slices)).spacing_mm[2] == pytest.approx(2 / 3, abs=1e-3)


def test_a_single_slice_is_refused(tmp_path):
    with pytest.raises(ImageError, match="000 holds a single slice, but a volume needs at least two"):
        io.read(series(tmp_path / "ct", [0]) / "000")


def test_colour_is_refused(tmp_path):
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    array = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    with pytest.raises(ImageError, match="000 is a colour image"):
        io.read(series(tmp_path / "ct", array=array, BitsAllocated=8, BitsStored=8, **rgb))


def test_truncated_pixels_are_refused(tmp_path):
    folder = series(tmp_path / "ct")
    (folder / "003").write_bytes((folder / "003").read_bytes()[:-50])
    with pytest.raises(ImageError, match=r"003 (is truncated|cannot be parsed|holds no pixel data)"):
        io.read(folder)


def test_two_series_are_listed(tmp_path):
    folder = series(tmp_path / "ct")
    series(folder / "b", SeriesInstanceUID="1.2.3", SeriesNumber=7, SeriesDescription="bone")
    with pytest.raises(
        ImageError, match=r"holds 2 CT series where one was expected \(.*7 'bone' with 6 files"
    ):
        io.read(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is empty: a DICOM series was expected"):
        io.read(tmp_path)


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ImageError, match=r"holds no CT: images found: none \(skipped: 1 not DICOM\)"):
        io.read(tmp_path)


def test_damaged_dicom_is_refused(tmp_path):
    folder = series(tmp_path / "ct")
    (folder / "002").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 200)
    with pytest.raises(ImageError, match=r"002|skipped"):
        io.read(folder)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")
def test_changed_bytes_give_an_image_or_a_sentence(tmp_path):
    folder, random = series(tmp_path / "ct", range(3)), np.random.default_rng(0)
    path = folder / "001"
    whole = path.read_bytes()
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(128, len(data) - 1, 3)] = random.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        assert reads_or_says_why(folder)


# --- tilt and uneven gaps, resampled ---


def linear_series(folder, heights, tilt_deg):
    """Slices tilted about their rows and stacked along z, their values linear in LPS: 500 + 4x + 3y + 5z."""
    angle = np.radians(tilt_deg)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    i, j = np.meshgrid(np.arange(24), np.arange(20))  # (row, column)
    slices = []
    for n, z in enumerate(heights):
        origin = np.array([-6.0, -7.0, z])
        points = origin + 0.5 * i[..., None] * row + 0.7 * j[..., None] * column
        values = np.rint(10 * (points @ [4.0, 3.0, 5.0] + 500)).astype(np.uint16)
        tags = {"ImageOrientationPatient": [*row, *column], "RescaleSlope": "0.1", "BitsStored": 16}
        slices.append(slice_(n, origin.tolist(), array=values, RescaleIntercept=0, **tags))
    return save(folder, slices)


def test_tilt_is_refused_by_default(tmp_path):
    folder = linear_series(tmp_path / "ct", np.arange(0, 20, 2.0), 18.5)
    with pytest.raises(ImageError, match=r"gantry tilt 18\.5 deg, sideways shift up to 5\.7 mm.*--resample"):
        io.read(folder)


EVEN, UNEVEN = np.arange(0, 20, 2.0), np.array([0, 4, 8, 9.1, 16, 23.0])


@pytest.mark.parametrize(
    ("tilt", "heights"), [(0.0, UNEVEN), (18.5, EVEN), (18.5, UNEVEN), (-12.0, EVEN), (-12.0, UNEVEN)]
)
def test_resampling_puts_every_value_where_it_was_measured(tmp_path, tilt, heights):
    image = io.read(linear_series(tmp_path / "ct", heights, tilt), resample=True)
    index = np.argwhere(image.array > -999)
    # the outermost voxels may mix with what is outside
    inner = ((index > 0) & (index < np.array(image.shape) - 1)).all(1)
    lps = image.index_to_world(index) * [-1, -1, 1]
    error = np.abs(image.array[tuple(index.T)] - (lps @ [4.0, 3.0, 5.0] + 500))
    assert np.quantile(error[inner], 0.9) < 0.2
    assert len(index) > 0.5 * 24 * 20 * len(heights)
    assert image.is_axis_aligned
    done = image.notes["resampled"]
    assert done["tilt_deg"] == pytest.approx(abs(tilt), abs=0.01)
    assert done["gap_min_mm"] == pytest.approx(np.diff(heights).min() * np.cos(np.radians(tilt)), abs=1e-3)
    np.testing.assert_allclose(image.spacing_mm, [0.5, 0.7, 1.0])


def test_slices_shifted_along_their_rows_are_resampled(tmp_path):
    """The table moved sideways by 0.3 mm from slice to slice; the values are 100 times the x of LPS."""
    x = -6.0 + 0.5 * np.arange(24)
    slices = []
    for n in range(6):
        array = np.broadcast_to(np.rint(100 * (x + 0.3 * n) + 1024 + 600).astype(np.uint16), (20, 24))
        slices.append(slice_(n, [-6.0 + 0.3 * n, 0.0, 2.0 * n], array=array))
    folder = save(tmp_path / "ct", slices)
    with pytest.raises(ImageError, match=r"gantry tilt 8\.5 deg, sideways shift up to 1\.5 mm"):
        io.read(folder)
    image = io.read(folder, resample=True)
    index = np.argwhere(image.array > -999)
    found = image.array[tuple(index.T)]
    np.testing.assert_allclose(found, 100 * -image.index_to_world(index)[:, 0] + 600, atol=2)
    assert len(index) > 0.8 * image.array.size


def test_resample_leaves_a_regular_series_alone(tmp_path):
    image = io.read(series(tmp_path / "ct"), resample=True)
    np.testing.assert_array_equal(image.array, volume())
    assert "resampled" not in image.notes


# --- compressed ---


def compressed(folder, syntax):
    slices = [slice_(n) for n in range(3)]
    for ds in slices:
        ds.compress(syntax, generate_instance_uid=False)
    return save(folder, slices)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_series_read_the_same(tmp_path, syntax):
    image = io.read(compressed(tmp_path / "ct", syntax))
    np.testing.assert_array_equal(image.array, volume(range(3)))


def test_jpeg2000_is_decoded(tmp_path):
    """Encoded by Pillow: pydicom encodes JPEG 2000 only where pylibjpeg is installed."""
    from PIL import Image as Picture

    slices = [slice_(n) for n in range(2)]
    for n, ds in enumerate(slices):
        code = BytesIO()
        Picture.fromarray(pixels(n)).save(code, "JPEG2000", irreversible=False, no_jp2=True)
        ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        ds.PixelData = pydicom.encaps.encapsulate([code.getvalue()])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        ds.BitsStored, ds.HighBit = 16, 15
    np.testing.assert_array_equal(io.read(save(tmp_path / "ct", slices)).array, volume(range(2)))


def test_a_codec_that_is_not_here_is_named(tmp_path):
    folder = compressed(tmp_path / "ct", RLELossless)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        ds.save_as(path)
    with pytest.raises(
        ImageError, match=r"compressed \(JPEG Lossless.*cannot be decoded .*: save it uncompressed"
    ):
        io.read(folder)


def test_damaged_compressed_pixels_are_refused(tmp_path):
    folder = compressed(tmp_path / "ct", JPEGLSLossless)
    ds = pydicom.dcmread(folder / "001")
    ds.PixelData = ds.PixelData[:60] + bytes(len(ds.PixelData) - 60)
    ds.save_as(folder / "001")
    with pytest.raises(ImageError, match=r"001 is compressed .*cannot be decoded"):
        io.read(folder)


def test_a_decoder_that_hangs_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "SECONDS_PER_FILE", 0.3)
    monkeypatch.setattr(decode, "COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(ImageError, match=r"decoding took more than 0\.3 s and was stopped"):
        io.read(compressed(tmp_path / "ct", RLELossless))


def test_a_decoder_that_eats_the_memory_is_stopped(tmp_path, monkeypatch):
    pytest.importorskip("resource")
    large = [slice_(n, array=np.zeros((3000, 3000), np.uint16)) for n in range(2)]
    for ds in large:
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
    folder = save(tmp_path / "ct", large)
    assert io.read(folder).shape == (3000, 3000, 2)
    monkeypatch.setattr(decode, "MEMORY_BYTES", 1)  # no more than the child has already
    with pytest.raises(ImageError, match=r"000 is compressed .*cannot be decoded"):
        io.read(folder)


def test_a_decoder_that_dies_takes_nothing_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "COMMAND", [sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(ImageError, match="the decoder died"):
        io.read(compressed(tmp_path / "ct", RLELossless))


def test_the_decoder_imports_no_more_than_it_needs():
    code = (
        f"import runpy, sys; sys.argv = ['x', '{2**33}'];"
        f" runpy.run_path({decode.__file__!r}, run_name='__main__');"
        " print('torch' in sys.modules, 'trifocal' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], input=b"", capture_output=True, check=True)
    assert done.stderr.split() == [b"False", b"False"]


# --- one file, and zips ---


def enhanced(folder, frames=4, **tags):
    """A multi-frame CT, its frames stored from the top down."""
    ds = slice_(0, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    del ds.RescaleSlope, ds.RescaleIntercept
    shared, measures, plane, values = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.7, 0.5]
    plane.ImageOrientationPatient = AXES
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    shared.PixelValueTransformationSequence = Sequence([values])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for number in reversed(range(frames)):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [-5.0, -6.0, 100.0 + 2 * number]
        group.PlanePositionSequence = Sequence([place])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.NumberOfFrames = frames
    ds.PixelData = b"".join(pixels(number).tobytes() for number in reversed(range(frames)))
    for tag, value in tags.items():
        setattr(ds, tag, value)
    folder.mkdir(exist_ok=True)
    ds.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_a_multi_frame_file_reads(tmp_path, syntax):
    path = enhanced(tmp_path / "ct")
    if syntax:
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(path)
    image = io.read(path)
    np.testing.assert_array_equal(image.array, volume(range(4)))
    np.testing.assert_allclose(image.affine[:3, 3], [5, 6, 100])


def test_frames_without_geometry_are_refused(tmp_path):
    with pytest.raises(ImageError, match="9 frames but a geometry for 4"):
        io.read(enhanced(tmp_path / "ct", NumberOfFrames=9))


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_zip_reads_like_its_folder_and_unpacks_nothing(tmp_path):
    folder = series(tmp_path / "ct")
    files = {f"../../{file.name}": file.read_bytes() for file in folder.iterdir()}
    (tmp_path / "in" / "deep").mkdir(parents=True)
    path = zipped(tmp_path / "in" / "deep" / "a.zip", files)
    before = sorted(tmp_path.rglob("*"))
    np.testing.assert_array_equal(io.read(path).array, volume())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_without_dicom_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"holds no CT.*1 not DICOM"):
        io.read(zipped(tmp_path / "a.zip", {"a.txt": "hello"}))


def test_something_else_called_zip_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"hello")
    with pytest.raises(ImageError, match="is not a zip file or is truncated"):
        io.read(tmp_path / "a.zip")


def test_a_zip_that_claims_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    free = type("Free", (), {"available": 100})
    path = zipped(tmp_path / "a.zip", {"a": bytes(1000)})
    monkeypatch.setattr("trifocal.io.checks.psutil.virtual_memory", lambda: free)
    with pytest.raises(ImageError, match="GiB of memory"):
        io.read(path)


def test_a_zip_bomb_of_overlapping_members_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a": np.random.default_rng(0).bytes(5000), "b": b"x"})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 20 : entry + 24] = (5000).to_bytes(4, "little")  # compressed size of b
    path.write_bytes(data)
    with pytest.raises(ImageError, match="overlap"):
        io.read(path)


def test_a_damaged_zip_is_refused(tmp_path):
    folder = series(tmp_path / "ct")
    path = zipped(tmp_path / "a.zip", {file.name: file.read_bytes() for file in folder.iterdir()})
    data = bytearray(path.read_bytes())
    data[60:90] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"00\d cannot be (read|parsed)"):
        io.read(path)


# --- real heads ---


def test_the_skull_phantom_reads_upright():
    image = io.read(shared_data("head_ct/skull_phantom_dicom"))
    assert image.shape == (512, 512, 140)
    np.testing.assert_allclose(image.spacing_mm, [0.451171875, 0.451171875, 1.0])
    np.testing.assert_allclose(image.affine[:3, :3], np.diag([-0.451171875, -0.451171875, 1.0]))
    assert image.notes["skipped_files"] == {"no image": 1}
    assert image.array.max() == 3071
    bone = (image.array[::4, ::4] > 800).sum((0, 1))
    assert 0 < bone[-10:].sum() < bone[:10].sum()  # the vault closes on top, the base is below
    side = image.array[10:40, :, 70] > -700  # the edge of the table, on which the patient lies on the back
    assert side[:, 256:].any()
    assert not side[:, :128].any()


def test_the_tilted_head_is_refused_by_default():
    with pytest.raises(ImageError, match=r"gantry tilt 18\.5 deg.*gaps are uneven \(1\.08 to 7\.00 mm"):
        io.read(shared_data("head_ct/ge_head_tilted_dicom"))


def test_the_tilted_head_reads_when_resampled():
    image = io.read(shared_data("head_ct/ge_head_tilted_dicom"), resample=True)
    np.testing.assert_allclose(image.spacing_mm, [0.4882812, 0.4882812, 1.0])
    assert image.is_axis_aligned
    assert image.array.min() == -1000
    done = image.notes["resampled"]
    assert done["tilt_deg"] == pytest.approx(18.5, abs=0.01)
    assert (done["gap_min_mm"], done["gap_max_mm"]) == pytest.approx((1.08, 7.0), abs=0.01)
    # the first pixel of a slice in the middle is where its header says
    ds = pydicom.dcmread(shared_data("head_ct/ge_head_tilted_dicom") / "10.dcm")
    axes = np.array(ds.ImageOrientationPatient, float)
    lps = np.array(ds.ImagePositionPatient, float) + 0.4882812 * (250 * axes[:3] + 300 * axes[3:])
    assert image.sample(lps * [-1, -1, 1]) == pytest.approx(ds.pixel_array[300, 250], abs=15)


def test_an_x_ray_is_refused_here():
    with pytest.raises(ImageError, match="holds no CT: images found: 1 of modality CR"):
        io.read(shared_data("xray/RG1_J2KI.dcm"))
