from __future__ import annotations

from math import log, log1p, pi, sqrt

import numpy as np
import pytest

from trifocal.focus.published_metrics import PublishedMetrics, published_metrics

N = 48
INDEX = np.stack(np.indices((N, N, N)), -1).astype(float)


def gauss(centre=(24, 24, 24), width=(2.0, 2.0, 5.0), peak=1.0):
    """A focal spot, width as standard deviations in voxels."""
    return peak * np.exp(-0.5 * (((INDEX - centre) / np.array(width)) ** 2).sum(-1))


def test_a_perfect_prediction_has_no_error():
    truth = gauss(peak=3e5)
    found = published_metrics(truth, truth, 1.0)
    assert found.focal_volume_pred_mm3 == found.focal_volume_gt_mm3
    assert found == PublishedMetrics(
        relative_l2=0,
        focal_position_error_mm=0,
        max_pressure_error=pytest.approx(0, abs=1e-12),
        focal_pressure_error=0,
        focal_volume_pred_mm3=found.focal_volume_gt_mm3,
        focal_volume_gt_mm3=found.focal_volume_gt_mm3,
        focal_iou_fwhm=1,
        focal_dice=1,
        off_target_volume_mm3=0,
        off_target_lobes=0,
    )


def test_nothing_predicted_is_a_relative_error_of_one():
    found = published_metrics(np.zeros((N, N, N)), gauss(), 1.0)
    assert (found.relative_l2, found.max_pressure_error, found.focal_pressure_error) == (1, 1, 1)
    assert (found.focal_iou_fwhm, found.focal_dice, found.focal_volume_pred_mm3) == (0, 0, 0)
    assert (found.off_target_volume_mm3, found.off_target_lobes) == (0, 0)


def test_a_shift_is_found_in_mm():
    found = published_metrics(gauss((27, 24, 28)), gauss(), 0.5)
    assert found.focal_position_error_mm == pytest.approx(2.5)
    assert found.max_pressure_error == pytest.approx(0, abs=1e-12)
    at_focus = np.exp(-0.5 * ((3 / 2) ** 2 + (4 / 5) ** 2))
    assert found.focal_pressure_error == pytest.approx(1 - at_focus)


def test_the_relative_error_is_that_of_logarithms():
    truth = np.full((N, N, N), 0.5)
    truth[0, 0, 0] = 1
    prediction = truth.copy()
    prediction[..., 24:] = 0.25
    wrong = N * N * 24 * (log1p(0.5) - log1p(0.25)) ** 2
    whole = (N**3 - 1) * log1p(0.5) ** 2 + log(2) ** 2
    assert published_metrics(prediction, truth, 1.0).relative_l2 == pytest.approx(sqrt(wrong / whole))


@pytest.mark.parametrize("unit", [1.0, 5e5])
@pytest.mark.parametrize("scale", [0.5, 0.9, 1.1, 2.0])
def test_a_scaled_field_has_a_pressure_error_and_no_other(scale, unit):
    found = published_metrics(scale * gauss(peak=unit), gauss(peak=unit), 1.0)
    assert found.focal_pressure_error == pytest.approx(abs(scale - 1))
    assert found.max_pressure_error == pytest.approx(abs(log1p(scale) / log(2) - 1))
    assert (found.focal_position_error_mm, found.focal_iou_fwhm, found.focal_dice) == (0, 1, 1)


def test_near_the_peak_the_error_of_logarithms_is_less_than_that_of_pressure():
    found = published_metrics(1.01 * gauss(), gauss(), 1.0)
    assert found.max_pressure_error / found.focal_pressure_error == pytest.approx(1 / (2 * log(2)), rel=0.01)


def test_any_field_divided_by_its_own_peak_has_no_maximum_pressure_error():
    truth = gauss(peak=4e5)
    wrong = gauss((12, 30, 20), (6, 1, 3), peak=truth.max())
    assert published_metrics(wrong, truth, 1.0).max_pressure_error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("spacing", [0.5, 1.0])
def test_the_focal_volume_is_that_of_the_half_peak_ellipsoid(spacing):
    widths = np.array([4.0, 4.5, 7.0])
    found = published_metrics(gauss(width=widths), gauss(width=1.2 * widths), spacing)
    volume = 4 / 3 * pi * np.prod(widths * sqrt(2 * log(2))) * spacing**3
    assert found.focal_volume_pred_mm3 == pytest.approx(volume, rel=0.03)
    assert found.focal_volume_gt_mm3 == pytest.approx(1.2**3 * volume, rel=0.03)
    assert found.focal_iou_fwhm == pytest.approx(1.2**-3, rel=0.03)  # one inside the other
    assert found.focal_dice == pytest.approx(2 / (1 + 1.2**3), rel=0.03)


def test_a_second_lobe_is_off_target_and_not_of_the_spot():
    lobe = gauss((24, 24, 40), (2, 2, 2), 0.8)
    both = np.maximum(gauss((24, 24, 12), (2, 2, 2)), lobe)
    truth = gauss((24, 24, 12), (2, 2, 2))
    found = published_metrics(both, truth, 1.0)
    assert found.off_target_lobes == 1
    assert found.off_target_volume_mm3 == (lobe >= 0.5).sum()
    assert found.focal_iou_fwhm == 1
    inside = (truth >= 0.5).sum()
    assert found.focal_dice == pytest.approx(2 * inside / (2 * inside + (lobe >= 0.5).sum()))
    weak = np.maximum(truth, gauss((24, 24, 40), (2, 2, 2), 0.45))
    assert published_metrics(weak, truth, 1.0).off_target_lobes == 0
    three = np.maximum(both, gauss((6, 24, 30), (2, 2, 2), 0.7))
    assert published_metrics(three, truth, 1.0).off_target_lobes == 2


def test_what_is_near_the_true_focus_is_on_target_and_the_distance_is_in_mm():
    truth, found = gauss((24, 24, 12), (1, 1, 1)), gauss((24, 24, 27), (1, 1, 1))
    assert published_metrics(found, truth, 1.0).off_target_lobes == 1  # 15 mm away
    assert published_metrics(found, truth, 0.5).off_target_volume_mm3 == 0  # 7.5 mm


def test_lobes_that_touch_at_an_edge_only_are_two():
    truth = gauss((4, 4, 4), (1, 1, 1))
    prediction = truth.copy()
    prediction[30, 30, 30] = prediction[31, 31, 30] = 0.9
    assert published_metrics(prediction, truth, 1.0).off_target_lobes == 2


def test_with_a_region_the_rest_counts_as_zero():
    truth, region = gauss(), np.ones((N, N, N), bool)
    region[..., :10] = False
    bone = gauss((24, 24, 4), (2, 2, 2), 2.0)
    whole = published_metrics(truth + bone, truth + bone, 1.0, region)
    assert whole.focal_volume_gt_mm3 == published_metrics(truth, truth, 1.0).focal_volume_gt_mm3
    found = published_metrics(truth, truth + bone, 1.0)
    assert found.focal_position_error_mm == pytest.approx(20, abs=0.1)
    assert published_metrics(truth, truth + bone, 1.0, region).focal_position_error_mm == 0
    assert published_metrics(truth, truth + bone, 1.0, region).relative_l2 < 0.02


def test_negative_predictions_count_as_zero():
    assert published_metrics(gauss() - 0.1, gauss(), 1.0) == published_metrics(
        np.maximum(gauss() - 0.1, 0), gauss(), 1.0
    )


def test_fields_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="must be on one cube, got shapes"):
        published_metrics(gauss(), gauss()[:-1], 1.0)
    with pytest.raises(ValueError, match="more than 0 somewhere, got a true peak of 0"):
        published_metrics(gauss(), 0 * gauss(), 1.0)
    for value in (np.nan, np.inf):
        broken = gauss()
        broken[3, 3, 3] = value
        with pytest.raises(ValueError, match="fields must be finite"):
            published_metrics(broken, gauss(), 1.0)


def test_the_record_holds_numbers_by_name():
    record = published_metrics(gauss((26, 24, 24)), gauss(), 1.0).record()
    assert record["focal_position_error_mm"] == 2
    assert all(isinstance(value, int | float) for value in record.values())
