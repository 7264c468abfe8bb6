"""A prediction held against another: at one place, and at two."""

from dataclasses import replace

import numpy as np
import pytest

from heads import shell_ct
from trifocal.focus.analysis import figures
from trifocal.focus.comparison import compare, same_grid
from trifocal.focus.head import Head
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPrediction, FocusPredictor
from trifocal.focus.transducer import Bowl
from trifocal.image import Image

BOWL = Bowl(30.0, 25.0, 250e3)


@pytest.fixture(scope="module")
def head():
    return Head.from_image(shell_ct(radii_mm=(62.0, 56.0, 51.0)))


def predict(head, pose, engine="free-field", bowl=BOWL):
    inputs = FocusInput(head, bowl, pose, points_per_wavelength=4.0)
    return FocusPredictor(engine, device="cpu").predict(inputs)


@pytest.fixture(scope="module")
def top():
    return Pose.from_apex([0, 0, 67.0], [0, 0, -1.0])


@pytest.fixture(scope="module")
def free(head, top):
    return predict(head, top)


def test_at_one_place_the_figures_are_those_of_the_errors(head, top, free):
    has = predict(head, top, "has")
    found = compare(free, has)

    assert found.errors == free.errors_against(has)
    assert found.distance_mm == pytest.approx(found.errors.centroid_error_mm)
    assert found.axial_mm == pytest.approx(found.errors.axial_mm)
    assert found.lateral_mm == pytest.approx(found.errors.lateral_mm, abs=1e-6)
    assert found.peak_ratio == pytest.approx(1 + found.errors.peak_error)


def test_the_difference_is_signed_in_pascals_and_zero_outside_the_region(head, top, free):
    has = predict(head, top, "has")
    difference = compare(free, has).difference
    inside = free.region

    assert difference.unit == "Pa"
    assert difference.affine == pytest.approx(has.pressure.affine)
    expected = free.pressure.array[inside] - has.pressure.array[inside]
    assert difference.array[inside] == pytest.approx(expected)
    assert not difference.array[~inside].any()
    assert difference.array.max() > 0  # the skull takes pressure away
    swapped = compare(has, free).difference
    assert swapped.array == pytest.approx(-difference.array)


def test_a_prediction_does_not_differ_from_itself(free):
    found = compare(free, free)

    assert found.distance_mm == 0
    assert found.peak_ratio == 1
    assert not found.difference.array.any()
    assert found.errors.iou_6db == 1


def spot(head, pose, at_mm, peak_pa=1e5):
    """A Gaussian spot of 3 mm at a point of the bowl's frame, judged everywhere."""
    inputs = FocusInput(head, BOWL, pose, points_per_wavelength=4.0)
    box = inputs.box
    x, y, z = np.meshgrid(*(box.axis_mm(axis) for axis in range(3)), indexing="ij")
    square = (x - at_mm[0]) ** 2 + (y - at_mm[1]) ** 2 + (z - at_mm[2]) ** 2
    field = (peak_pa * np.exp(-square / (2 * 3.0**2))).astype(np.float32)
    region = np.ones(box.shape, bool)
    image, hu = Image(field, pose.matrix @ box.affine, "Pa"), np.zeros(box.shape, np.float32)
    found = figures(field, region, box, pose, 1e5)
    return FocusPrediction(image, hu, region, inputs, box, "has", "cpu", found, 0.0, ())


def test_a_focus_that_moves_with_its_bowl_moves_along_and_across_the_beam_of_the_reference(head, top):
    moved = Pose.from_apex(top.apex_mm + [0, 4.0, -3.0], top.direction)
    found = compare(spot(head, moved, [0, 0, 25.0], 2e5), spot(head, top, [0, 0, 25.0]))

    assert found.errors is None
    assert found.shift_mm == pytest.approx((0, 4.0, -3.0), abs=0.02)
    assert found.axial_mm == pytest.approx(3.0, abs=0.02)
    assert found.lateral_mm == pytest.approx(4.0, abs=0.02)
    assert found.distance_mm == pytest.approx(5.0, abs=0.02)
    assert found.peak_ratio == pytest.approx(2.0, rel=0.01)


def test_one_spot_seen_from_two_poses_leaves_no_difference(head, top):
    at = top.to_world([0, 0, 25.0])
    tilted = Pose.from_apex(at - 27.0 * np.array([0.6, 0, -0.8]), [0.6, 0, -0.8])
    found = compare(spot(head, tilted, [0, 0, 27.0]), spot(head, top, [0, 0, 25.0]))

    assert found.errors is None
    assert found.distance_mm < 0.3
    assert np.abs(found.difference.array).max() < 0.1e5  # what interpolation takes off a peak


def test_a_bowl_moved_across_its_beam_shifts_it_across(head, top, free):
    aside = Pose.from_apex(top.apex_mm + [0, 5.0, 0], top.direction)
    found = compare(predict(head, aside), free)

    assert found.lateral_mm == pytest.approx(5.0, abs=0.3)
    assert found.axial_mm == pytest.approx(0.0, abs=1.0)
    ridge = found.difference.index_to_world(np.unravel_index(found.difference.array.argmax(), free.box.shape))
    hole = found.difference.index_to_world(np.unravel_index(found.difference.array.argmin(), free.box.shape))
    assert ridge[1] > 2.5 > hole[1]  # more where the focus went, less where it was


def test_where_the_other_box_does_not_reach_there_is_no_difference(head, top, free):
    away = Pose.from_apex(top.apex_mm + [0, 22.0, 0], top.direction)
    found = compare(predict(head, away), free)
    y = found.difference.index_to_world(np.argwhere(found.difference.array != 0))[:, 1]

    assert len(y)
    assert y.min() > 22.0 - BOWL.aperture_mm / 2 - 6.0


def test_a_finer_grid_or_another_bowl_is_another_place(head, top, free):
    finer = FocusPredictor("free-field").predict(FocusInput(head, BOWL, top, points_per_wavelength=5.0))
    stronger = replace(BOWL, drive=2 * BOWL.drive)

    assert not same_grid(finer, free)
    assert compare(finer, free).errors is None
    assert not same_grid(predict(head, top, bowl=stronger), free)
    assert compare(predict(head, top, bowl=stronger), free).peak_ratio == pytest.approx(2.0)


def test_two_heads_are_not_compared(head, top, free):
    other = predict(replace(head), top)

    with pytest.raises(ValueError, match="of the same head"):
        compare(other, free)


def test_its_record_says_what_was_compared(head, top, free):
    record = compare(predict(head, top, "has"), free).record()

    assert record["prediction"]["engine"] == "has"
    assert record["reference"]["engine"] == "free-field"
    assert record["errors"]["rel_l2"] > 0
    assert record["peak_ratio"] < 1
