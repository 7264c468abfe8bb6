import numpy as np
import pytest

from trifocal.focus.analysis import beyond_near_skull, centroid_mm, figures, width_mm
from trifocal.focus.box import Box
from trifocal.focus.metrics import field_errors
from trifocal.focus.pose import Pose

BOX = Box(0.5, (41, 41, 81), (-10.0, -10.0, 40.0))
EVERYWHERE = np.ones(BOX.shape, bool)


def blob(centre, sigma=(1.5, 1.5, 6.0), peak=1e5):
    x, y, z = np.meshgrid(*[BOX.axis_mm(a) for a in range(3)], indexing="ij")
    exponent = sum(((c - m) / s) ** 2 for c, m, s in zip((x, y, z), centre, sigma, strict=True))
    return (peak * np.exp(-exponent / 2)).astype(np.float32)


def test_figures_of_a_gaussian_focus():
    pose = Pose.from_apex([10, 20, 30], [0, 1, 0])
    centre = (1.2, -0.7, 60.3)
    found = figures(blob(centre), EVERYWHERE, BOX, pose, 2e5, pose.to_world(centre) + [3, 0, 4])
    np.testing.assert_allclose(found.focus_mm, pose.to_world(centre), atol=0.05)
    np.testing.assert_allclose(found.argmax_mm, pose.to_world(centre), atol=0.05)
    assert found.peak_pa == pytest.approx(1e5, rel=0.03)
    assert found.transmission == pytest.approx(0.5, rel=0.03)
    half = 2 * np.sqrt(2 * np.log(2))  # full width of a Gaussian at half of its peak, in sigmas
    assert found.fwhm_mm == pytest.approx((6 * half, 1.5 * half), rel=0.03)
    assert found.distance_to_target_mm == pytest.approx(5, abs=0.05)


def test_centroid_ignores_a_second_weaker_spot_and_what_lies_outside_the_region():
    field = blob((0, 0, 60)) + blob((7, 0, 60), peak=6e4)
    field[:, :, :10] = 1e6  # the near field
    region = EVERYWHERE.copy()
    region[:, :, :10] = False
    np.testing.assert_allclose(centroid_mm(field, region, BOX), [0, 0, 60], atol=0.1)


def test_width_of_a_triangle():
    profile = np.array([0, 1, 2, 3, 4, 3, 2, 1, 0], float)
    assert width_mm(profile, 4, 0.5, 0.5) == pytest.approx(2.0)
    assert width_mm(profile, 4, 0.5, 0.375) == pytest.approx(2.5)
    assert width_mm(np.ones(5), 2, 1.0, 0.5) == 4.0


def test_region_begins_behind_the_near_skull_and_spans_its_diploe():
    hu = np.zeros((3, 3, 60))
    hu[:, :, 10:13] = 1500
    hu[:, :, 15:18] = 1500  # 2 voxels of diploe between the tables
    hu[:, :, 50:55] = 1500  # the far side
    hu[1, 1, :30] = 0  # a burr hole
    region = beyond_near_skull(hu, 1.0)
    assert region[0, 0].tolist() == [False] * 18 + [True] * 42
    assert region[0].all(0).argmax() == 18
    assert beyond_near_skull(np.zeros((2, 2, 5)), 1.0).all()


def test_a_burr_hole_belongs_to_the_region_from_the_depth_of_its_surroundings():
    hu = np.zeros((5, 5, 40))
    hu[:, :, 10:15] = 1500
    hu[2, 2] = 0
    assert beyond_near_skull(hu, 1.0)[2, 2].argmax() == 15


def test_errors_of_a_shifted_and_scaled_focus():
    truth = blob((0, 0, 60))
    errors = field_errors(1.2 * blob((0.3, 0.4, 62)), truth, EVERYWHERE, BOX)
    assert errors.lateral_mm == pytest.approx(0.5, abs=0.05)
    assert errors.axial_mm == pytest.approx(2.0, abs=0.05)
    assert errors.centroid_error_mm == pytest.approx(np.hypot(0.5, 2), abs=0.05)
    assert errors.peak_error == pytest.approx(0.2, abs=0.02)
    assert 0.5 < errors.iou_6db < 0.95
    assert errors.shape_l2 < errors.rel_l2


def test_a_field_has_no_error_against_itself_and_only_scale_error_against_its_double():
    truth = blob((0, 0, 60))
    same, double = (field_errors(k * truth, truth, EVERYWHERE, BOX) for k in (1, 2))
    assert max(abs(v) for k, v in same.record().items() if k != "iou_6db") < 1e-9
    assert same.iou_6db == 1
    assert double.rel_l2 == pytest.approx(1, rel=1e-6)
    assert double.shape_l2 == pytest.approx(0, abs=1e-6)
    assert double.peak_error == pytest.approx(1, rel=1e-6)
