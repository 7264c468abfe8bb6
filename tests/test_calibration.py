"""Millimetres where the file supports them, and the reason where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import shared_data
from trifocal import io
from trifocal.cine import Cine, ScaleRegion
from trifocal.keypoints.calibration import Calibration, Refusal, calibrate, read_scale_table

SIZE = (100, 80)


class Black:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return np.zeros(SIZE[::-1], np.uint8)


def region(box=(0, 0, 99, 79), delta=(0.02, 0.02), units=(3, 3), spatial_format=1, data_type=1):
    return ScaleRegion(box, units, delta, spatial_format, data_type)


def cine(*regions, spacing=None):
    return Cine(Black(), SIZE, "x", regions=regions, pixel_spacing_mm=spacing)


def reason(*regions, at=((10, 10), (20, 20)), spacing=None) -> str:
    found = calibrate(cine(*regions, spacing=spacing)).scale(at)
    assert isinstance(found, Refusal)
    assert "\n" not in found.reason
    return found.reason


def scale(*regions, at=((10, 10), (20, 20))):
    found = calibrate(cine(*regions)).scale(at)
    assert not isinstance(found, Refusal), found
    return found


# --- real files


def test_the_caliper_on_the_screen_reads_what_the_machine_wrote_beside_it():
    found = io.read_cine(shared_data("ultrasound_dicom/pydicom_examples_palette.dcm"))
    crosses = np.array([[459.5, 290.5], [498.5, 301.5]])
    per_px = calibrate(found).scale(crosses)
    assert not isinstance(per_px, Refusal)
    cm = np.linalg.norm((crosses[1] - crosses[0]) * per_px) / 10
    assert cm == pytest.approx(1.063, abs=5e-4)
    assert f"{cm:.2f}" == "1.06"  # "Cist Mag 1.06 cm"


def test_the_machines_own_bar_is_no_place_for_millimetres():
    found = calibrate(io.read_cine(shared_data("ultrasound_dicom/pydicom_examples_palette.dcm")))
    refusal = found.scale([[459.5, 290.5], [50.0, 100.0]])
    assert isinstance(refusal, Refusal)
    assert "outside" in refusal.reason


def test_a_cine_that_was_resized_after_its_regions_were_written_is_refused():
    found = calibrate(io.read_cine(shared_data("ultrasound_dicom/pydicom_examples_ybr_color.dcm")))
    refusal = found.scale([[150.0, 100.0], [160.0, 110.0]])
    assert isinstance(refusal, Refusal)
    assert "595" in refusal.reason
    assert "320 x 240" in refusal.reason
    assert "resized" in found.describe()


def test_a_file_without_regions_or_spacing_has_pixels_only():
    found = calibrate(io.read_cine(shared_data("ultrasound_dicom/pydicom_examples_rgb_color.dcm")))
    assert found.scale([[1, 1]]) == Refusal("the file does not say how large a pixel is")
    assert found.describe() == "Pixels only: the file does not say how large a pixel is."


# --- regions


def test_unequal_deltas_are_kept_apart_and_negative_ones_count_by_their_size():
    assert scale(region(delta=(0.02, -0.05))) == pytest.approx((0.2, 0.5))
    assert scale(region(delta=(-0.03, 0.01))) == pytest.approx((0.3, 0.1))


@pytest.mark.parametrize("delta", [(0.0, 0.02), (0.02, math.nan), (math.inf, 0.02)])
def test_a_delta_that_is_no_size_is_refused(delta):
    assert "does not say how large" in reason(region(delta=delta))


@pytest.mark.parametrize("units", [(3, 4), (4, 0), (0, 0), (3, 7)])
def test_only_centimetres_in_both_directions_count(units):
    assert "not cm" in reason(region(units=units))


@pytest.mark.parametrize(("kind", "name"), [(2, "M-mode"), (3, "a spectrum"), (0, "not a 2-D image")])
def test_regions_that_are_no_image_are_refused_by_their_kind(kind, name):
    assert name in reason(region(spatial_format=kind))


def test_all_points_must_lie_in_one_region():
    left, right = region((0, 0, 49, 79)), region((50, 0, 99, 79))
    assert scale(left, right, at=[(0, 0), (49, 79)]) == pytest.approx((0.2, 0.2))
    assert "different" in reason(left, right, at=[(40, 10), (60, 10)])
    assert "outside" in reason(region((20, 20, 60, 60)), at=[(30, 30), (61, 30)])


def test_the_edge_of_the_last_pixel_belongs_to_the_region():
    box = region((20, 20, 60, 60))
    assert scale(box, at=[(19.5, 19.5), (60.5, 60.5)])
    assert "outside" in reason(box, at=[(19.4, 30), (30, 30)])


def test_of_overlapping_regions_the_smallest_that_holds_all_points_counts_and_of_equal_ones_the_first():
    large, small = region(), region((10, 10, 50, 50), (0.01, 0.01))
    assert scale(large, small, at=[(20, 20), (30, 30)]) == pytest.approx((0.1, 0.1))
    assert scale(large, small, at=[(20, 20), (90, 30)]) == pytest.approx((0.2, 0.2))
    assert scale(region(delta=(0.04, 0.04)), region(), at=[(5, 5)]) == pytest.approx((0.4, 0.4))


def test_a_point_on_an_m_mode_strip_within_the_image_has_no_scale():
    strip = region((0, 60, 99, 79), spatial_format=2, units=(4, 3))
    assert "M-mode" in reason(region(), strip, at=[(10, 10), (10, 70)])
    assert scale(region(), strip, at=[(10, 10), (10, 50)]) == pytest.approx((0.2, 0.2))


def test_missing_points_do_not_matter_but_one_must_be_there():
    assert scale(region(), at=[(np.nan, 3), (5, 5)]) == pytest.approx((0.2, 0.2))
    assert "no point" in reason(region(), at=[(np.nan, np.nan)])


@pytest.mark.parametrize(
    ("box", "holds"),
    [
        ((0, 0, 100, 80), True),  # one beyond the last pixel, as some machines write
        ((0, 0, 99, 300), True),  # cut below: the columns end where the picture does
        ((0, 0, 300, 79), True),  # cut at the right
        ((0, 0, 150, 120), False),  # resized
        ((0, 0, 50, 120), False),  # cut or resized: who knows
    ],
)
def test_a_box_that_stands_out_of_the_picture_counts_only_if_the_picture_was_cut(box, holds):
    if holds:
        assert scale(region(box)) == pytest.approx((0.2, 0.2))
    else:
        assert "does not hold" in reason(region(box))


def test_one_region_that_stands_out_makes_the_others_stale_too():
    assert "resized" in reason(region((0, 0, 60, 60)), region((100, 100, 200, 190)))


def test_an_empty_box_is_refused():
    assert "empty" in reason(region((50, 50, 20, 79)))


@given(
    st.tuples(*[st.floats(0, 99)] * 2),
    st.tuples(*[st.floats(0, 79)] * 2),
    st.tuples(*[st.floats(1e-4, 1).flatmap(lambda d: st.sampled_from([d, -d]))] * 2),
)
def test_inside_one_region_the_scale_is_ten_times_the_delta_wherever_the_points_are(x, y, delta):
    found = scale(region(delta=delta), at=list(zip(x, y, strict=True)))
    assert found == pytest.approx((10 * abs(delta[0]), 10 * abs(delta[1])))


# --- other sources


def test_pixel_spacing_counts_where_there_are_no_regions():
    found = calibrate(cine(spacing=(0.3, 0.4)))
    assert found.scale([]) == (0.3, 0.4)
    assert found.describe() == "A pixel is 0.3 x 0.4 mm, by the file's PixelSpacing."
    assert "not cm" in reason(region(units=(0, 0)), spacing=(0.3, 0.4))


def test_a_pixel_spacing_of_exactly_1_stands_for_not_known():
    assert "1 mm" in reason(spacing=(1.0, 1.0))


def test_what_the_user_says_holds_before_the_file():
    assert calibrate(cine(region()), 0.11).scale([(-9, 500)]) == (0.11, 0.11)
    assert calibrate(cine(region()), (0.1, 0.2)).scale([]) == (0.1, 0.2)


@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf, (0.1, 0)])
def test_a_size_that_is_not_positive_is_an_error(value):
    with pytest.raises(ValueError, match="must be positive"):
        calibrate(cine(), value)


def test_a_known_distance_gives_the_scale():
    found = Calibration.from_known_distance((10, 10), (40, 50), 25)
    assert found.scale([]) == pytest.approx((0.5, 0.5))
    assert "25 mm" in found.describe()


@pytest.mark.parametrize(
    ("b", "mm"), [((1, 1), 5), ((4, 5), 0), ((4, 5), -1), ((4, math.nan), 1), ((4, 5), math.nan)]
)
def test_a_known_distance_must_be_one(b, mm):
    with pytest.raises(ValueError, match="must be positive"):
        Calibration.from_known_distance((1, 1), b, mm)


# --- tables


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "scales.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "filename,pixel size(mm),head circumference (mm)\n000_HC.png,0.25,44\n1.png,0.5,50\n",
        "file;mm_per_px\n000_HC.png;0,25\n1.png;0.5\n",
        "\ufefffile\tother\tmm_per_px\n000_HC.png\tx\t0.25\n1.png\t\t0.5\n\t\t\n2.png\t\t\n",
        "file,mm_per_px\n000_HC.png,0.25\n000_HC.png,0.25\n1.png,0.5\n",
    ],
)
def test_a_table_gives_the_scale_of_each_file(tmp_path, text):
    assert read_scale_table(table(tmp_path, text)) == {"000_HC.png": 0.25, "1.png": 0.5}


def test_names_in_folders_are_also_known_without_them_unless_two_files_share_one(tmp_path):
    found = read_scale_table(table(tmp_path, "file,mm_per_px\na/1.png,0.1\nb\\1.png,0.2\nb/2.png,0.3\n"))
    assert found == {"a/1.png": 0.1, "b/1.png": 0.2, "b/2.png": 0.3, "2.png": 0.3}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "must have a column"),
        ("file,scale\na,1\n", "must have a column"),
        ("file,mm_per_px\na,nan\n", "line 2"),
        ("file,mm_per_px\na,0.1\nb,-1\n", "line 3"),
        ("file,mm_per_px\na,0.1\na,0.2\n", "two sizes"),
        ("file,mm_per_px\na,much\n", "'much'"),
    ],
)
def test_a_table_that_is_wrong_is_an_error_that_says_where(tmp_path, text, what):
    with pytest.raises(ValueError, match=what):
        read_scale_table(table(tmp_path, text))


def test_a_table_in_another_encoding_is_said_to_be_so(tmp_path):
    with pytest.raises(ValueError, match="UTF-8"):
        read_scale_table(table(tmp_path, "file,mm_per_px\nm\u00e4rz.png,0.1\n", "latin-1"))


def test_the_table_of_the_real_images_is_read():
    found = read_scale_table(shared_data("hc18/landmarks.csv"))
    assert len(found) == 787
    assert found["000_HC.png"] == pytest.approx(0.138271608)
