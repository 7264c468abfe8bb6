"""X-ray films in: what a pixel means, where it lies, and what is refused with one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from data import shared_data
from radiograph_files import PATIENT, film_dataset, save
from trifocal import io
from trifocal.image import ImageError

RAMP = (np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 6).astype(np.uint16)
SHOWN = {"PresentationIntentType": "FOR PRESENTATION"}


def dicom(tmp_path, pixels=RAMP, photometric="MONOCHROME2", **tags):
    return io.read_radiograph(save(film_dataset(pixels, photometric, **tags), tmp_path / "film.dcm"))


def picture(tmp_path, array, name="film.png", **options):
    Image.fromarray(array).save(tmp_path / name, **options)
    return io.read_radiograph(tmp_path / name)


def test_values_come_as_they_are_stored_and_nothing_is_assumed(tmp_path):
    film = dicom(tmp_path, WindowCenter=500, WindowWidth=10)
    np.testing.assert_array_equal(film.pixels, RAMP)
    assert (film.scale, film.pixel_mm, film.position) == ("display", None, "")
    assert film.source_to_detector_mm is film.angles_deg is None
    assert "not applied" in film.notes["window"]
    assert len(film.sha256) == 64


def test_monochrome1_is_turned_over_once_and_recorded(tmp_path):
    film = dicom(tmp_path, RAMP, "MONOCHROME1", bits=12)
    np.testing.assert_array_equal(film.pixels, 4095 - RAMP.astype(float))
    assert film.notes["inverted"] == {"value": "4095 - stored", "top": 4095.0}


@pytest.mark.parametrize(
    ("tags", "scale", "inverted"),
    [
        ({"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1}, "log", False),
        ({"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": 1}, "log", True),
        ({"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}, "linear", True),
        ({"PixelIntensityRelationship": "LIN", "Modality": "XA"}, "linear", True),
        ({"PixelIntensityRelationship": "DISP", "Modality": "XA"}, "display", False),
        (
            {"PixelIntensityRelationship": "LOG", "PresentationIntentType": "FOR PRESENTATION"},
            "display",
            False,
        ),
    ],
)
def test_brighter_is_more_attenuation_whatever_the_pixels_are_proportional_to(
    tmp_path, tags, scale, inverted
):
    film = dicom(tmp_path, **tags)
    assert film.scale == scale
    assert (film.pixels[0, 0] > film.pixels[-1, -1]) == inverted
    assert ("inverted" in film.notes) == inverted


def test_where_the_source_stood_comes_from_the_tags(tmp_path):
    film = dicom(
        tmp_path,
        ViewPosition="LL",
        DistanceSourceToDetector=1800,
        DistanceSourceToPatient=1500,
        ImagerPixelSpacing=[0.2, 0.1],
        PixelSpacing=[0.18, 0.09],
        PositionerPrimaryAngle=90,
        PositionerSecondaryAngle=-5,
    )
    assert film.position == "LL"
    assert (film.source_to_detector_mm, film.source_to_patient_mm) == (1800.0, 1500.0)
    assert film.pixel_mm == (0.2, 0.1)
    assert film.angles_deg == (90.0, -5.0)


def test_a_spacing_or_distance_of_zero_is_unknown(tmp_path):
    film = dicom(tmp_path, PixelSpacing=[0, 0], DistanceSourceToDetector=0)
    assert film.pixel_mm is None
    assert film.source_to_detector_mm is None
    assert "no positive numbers" in film.notes["pixel_mm"]


def test_a_film_whose_rows_run_through_the_patient_from_front_to_back_is_lateral(tmp_path):
    assert dicom(tmp_path, PatientOrientation=["P", "F"]).position == "LATERAL"
    assert dicom(tmp_path, PatientOrientation=["L", "F"]).position == ""


def test_pixels_behind_the_shutter_are_noted(tmp_path):
    edges = {"ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 19}
    edges |= {"ShutterLeftVerticalEdge": 1, "ShutterRightVerticalEdge": 30}
    film = dicom(tmp_path, ShutterShape="RECTANGULAR", **edges)
    assert film.notes["shutter"] == [2, 18, 1, 29]


def test_padding_is_noted_as_it_is_after_turning_over(tmp_path):
    pixels = RAMP.copy()
    pixels[:3] = 4000
    film = dicom(tmp_path, pixels, "MONOCHROME1", bits=12, PixelPaddingValue=4000)
    assert film.notes["padding"] == {"value": 95.0, "pixels": 90}


def test_compressed_pixels_are_those_that_were_compressed(tmp_path):
    pixels = np.kron(RAMP, np.ones((4, 4), np.uint16))
    ds = film_dataset(pixels)
    ds.compress(JPEG2000Lossless)
    film = io.read_radiograph(save(ds, tmp_path / "film"))  # without a suffix
    np.testing.assert_array_equal(film.pixels, pixels)


def test_a_real_film_whose_spacing_reads_zero():
    film = io.read_radiograph(shared_data("xray/RG1_J2KI.dcm"))
    assert film.pixels.shape == (1955, 1841)
    assert (film.position, film.source_to_detector_mm, film.pixel_mm) == ("PA", 1996.0, None)
    assert film.scale == "display"
    # air beside the neck is dark, the spine below the heart is bright
    assert film.pixels[1500:1800, 880:960].mean() > film.pixels[:100, :100].mean() + 5000


@pytest.mark.parametrize("name", ["film.png", "film.tif", "film.jpg", "film.bmp"])
def test_grey_pictures_of_8_bits_are_read_without_a_spacing(tmp_path, name):
    grey = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    film = picture(tmp_path, grey, name, dpi=(300, 300))
    np.testing.assert_allclose(film.pixels, grey, atol=3)
    assert film.pixel_mm is None
    assert film.scale == "display"


@pytest.mark.parametrize("name", ["film.png", "film.tif"])
def test_pictures_of_16_bits_keep_them(tmp_path, name):
    film = picture(tmp_path, RAMP * 10, name)
    np.testing.assert_array_equal(film.pixels, RAMP * 10)


def test_three_equal_channels_are_grey_and_colours_are_refused(tmp_path):
    grey = np.repeat(np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))[..., None], 3, axis=-1)
    film = picture(tmp_path, grey)
    np.testing.assert_array_equal(film.pixels, grey[..., 0])
    assert "three equal channels" in film.notes["colour"]
    grey[30, 30] = (250, 40, 40)
    with pytest.raises(ImageError, match="picture with colours.*export the film itself"):
        picture(tmp_path, grey)


def test_a_picture_turned_by_its_camera_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    film = picture(tmp_path, grey, "film.jpg", exif=exif)
    assert film.pixels.shape == (60, 40)
    assert film.pixels[0].mean() < film.pixels[-1].mean()


def refusals():
    yield "a CT slice", film_dataset(RAMP, Modality="CT")
    yield "12 frames", film_dataset(RAMP, NumberOfFrames=12)
    yield "RGB", film_dataset(RAMP, "RGB", SamplesPerPixel=3)
    yield "is truncated", film_dataset(RAMP, Rows=2000)
    yield "how its pixels are stored", film_dataset(RAMP, BitsStored=None)


@pytest.mark.parametrize(("why", "ds"), list(refusals()))
def test_what_is_no_single_grey_film_is_refused_without_naming_the_patient(tmp_path, why, ds):
    with pytest.raises(ImageError, match=why) as caught:
        io.read_radiograph(save(ds, tmp_path / "film.dcm"))
    assert "\n" not in str(caught.value)
    assert PATIENT not in str(caught.value)


def test_other_files_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        io.read_radiograph(tmp_path / "none.dcm")
    with pytest.raises(ImageError, match="is a folder"):
        io.read_radiograph(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="empty file"):
        io.read_radiograph(tmp_path / "empty.png")
    for name, why in (
        ("ct.nii.gz", "trifocal project"),
        ("text.txt", "unknown kind"),
        ("bad.png", "damaged"),
        ("bad.dcm", "export it again"),
    ):
        (tmp_path / name).write_bytes(b"neither a picture nor anything else" * 9)
        with pytest.raises(ImageError, match=why):
            io.read_radiograph(tmp_path / name)


def reads_or_says_why(path):
    try:
        film = io.read_radiograph(path)
    except ImageError as error:
        return "\n" not in str(error) and PATIENT not in str(error)
    return bool(np.isfinite(film.pixels).all())


def test_damaged_files_are_read_or_refused_with_one_sentence(tmp_path):
    whole = save(film_dataset(RAMP, ImagerPixelSpacing=[0.2, 0.2]), tmp_path / "film.dcm").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(128, len(data) - RAMP.nbytes, 4):
            data[place] = rng.integers(256)
        (tmp_path / "film.dcm").write_bytes(data)
        assert reads_or_says_why(tmp_path / "film.dcm")
