"""Errors of points and measurements on known shifts, and what is said of many of them."""

import numpy as np
import pytest

from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.evaluation.error_statistics import (
    Overall,
    Statistic,
    interval,
    rank_correlation,
    resampled_means,
    risk_coverage,
)
from trifocal.keypoints.evaluation.metrics import CaseErrors, mean_of
from trifocal.keypoints.tasks import TASKS

FEMUR, AOP, HC = TASKS["fetal_femur"], TASKS["AOP"], TASKS["HC"]
LINE = np.array([[100.0, 80.0], [200.0, 80.0]])
HEAD = Ellipse((200.0, 130.0), (100.0, 80.0), 0.0)


def test_a_shift_by_three_and_four_is_an_error_of_five_everywhere():
    errors = CaseErrors.of(FEMUR, LINE + (3, 4), LINE, (512, 256), 0.2)
    assert errors.radial_px == pytest.approx([5, 5])
    assert errors.mre_px == errors.mre_canonical_px == pytest.approx(5)
    assert errors.mre_mm == pytest.approx(1)
    assert errors.mre_network_px == pytest.approx(np.hypot(3 / 2, 4))  # 512 columns become 256
    assert errors.size_px == 100
    assert errors.not_found == 0


def test_points_of_no_error_have_none():
    for task in TASKS.values():
        points = task.canonical(np.random.default_rng(1).uniform(20, 200, (task.count, 2)))
        errors = CaseErrors.of(task, points, points, (400, 300), 0.1)
        assert errors.mre_px == errors.mre_canonical_px == 0
        assert all(m.error == 0 for m in errors.measurements)


def test_the_order_of_the_ends_does_not_matter():
    shifted = LINE + (3, 4)
    errors = CaseErrors.of(FEMUR, shifted[::-1], LINE[::-1], (256, 256))
    assert errors.radial_px == pytest.approx([5, 5])


def test_an_upright_line_that_leans_the_other_way_counts_as_swapped_in_canonical_order_only():
    truth = np.array([[99.0, 50.0], [101.0, 150.0]])  # the femur's first end is the left one
    found = np.array([[101.0, 50.0], [99.0, 150.0]])
    errors = CaseErrors.of(FEMUR, found, truth, (256, 256))
    assert errors.radial_px == pytest.approx([2, 2])
    assert errors.canonical_px == pytest.approx([100, 100])


def test_points_without_a_pair_are_never_exchanged():
    truth = np.array([[100.0, 90.0], [150.0, 60.0], [120.0, 140.0], [200.0, 200.0]])
    errors = CaseErrors.of(AOP, truth[[1, 0, 2, 3]], truth, (256, 256))
    apart = np.hypot(50, 30)
    assert errors.radial_px == pytest.approx([apart, apart, 0, 0])
    assert errors.mre_px == errors.mre_canonical_px


def test_missing_points_have_no_error_and_are_counted_where_the_truth_has_them():
    truth = np.array([[100.0, 90.0], [150.0, 60.0], [120.0, 140.0], [np.nan, np.nan]])
    found = truth + (3, 4)
    found[2], found[3] = np.nan, 10.0
    errors = CaseErrors.of(AOP, found, truth, (256, 256))
    assert errors.radial_px == pytest.approx([5, 5, np.nan, np.nan], nan_ok=True)
    assert errors.mre_px == pytest.approx(5)
    assert errors.not_found == 1
    assert np.isnan(errors.mre_mm)  # no scale


def test_an_image_on_which_nothing_was_found_has_no_mean():
    errors = CaseErrors.of(HC, np.full((4, 2), np.nan), HEAD.axis_ends(), (400, 270), 0.1)
    assert np.isnan(errors.mre_px)
    assert errors.not_found == 4
    assert all(np.isnan(m.error) for m in errors.measurements)
    assert {m.name for m in errors.measurements} >= {"BPD", "OFD", "HC"}


def test_a_longer_line_is_an_error_with_its_sign_in_millimetres():
    truth, longer = np.array([[100.0, 80.0], [200.0, 80.0]]), np.array([[95.0, 80.0], [205.0, 80.0]])
    (length, *_) = CaseErrors.of(FEMUR, longer, truth, (512, 256), 0.3).measurements
    assert (length.name, length.unit) == ("FL", "mm")
    assert (length.true, length.found, length.error) == pytest.approx((30, 33, 3))
    (length, *_) = CaseErrors.of(FEMUR, truth, longer, (512, 256)).measurements
    assert length.unit == "px"
    assert length.error == pytest.approx(-10)


def test_the_circumference_is_that_of_the_ellipse_that_was_found():
    larger = Ellipse((200.0, 130.0), (110.0, 88.0), 0.0)
    errors = CaseErrors.of(HC, HEAD.axis_ends(), HEAD.axis_ends(), (400, 270), 0.5, larger)
    by_name = {m.name: m for m in errors.measurements}
    assert by_name["HC"].error == pytest.approx(0.1 * HEAD.perimeter * 0.5)
    assert by_name["BPD"].error == pytest.approx(0)


def test_the_mean_of_nothing_is_nan():
    assert np.isnan(mean_of([np.nan, np.nan]))
    assert mean_of([1, np.nan, 3]) == 2


def test_statistics_of_known_numbers():
    values = np.arange(101.0) * np.where(np.arange(101) % 2, -1, 1)
    found = Statistic.of([*values, np.nan], ["a"] * 50 + ["b"] * 52)
    assert (found.cases, found.patients, found.missing) == (101, 2, 1)
    assert (found.mean, found.median, found.p95, found.max) == (50, 50, 95, 100)
    assert found.signed_mean == pytest.approx(50 / 101)
    assert found.low < 50 < found.high
    nothing = Statistic.of([np.nan], ["a"])
    assert (nothing.cases, nothing.missing) == (0, 1)
    assert np.isnan(nothing.mean)


def test_patients_are_drawn_and_not_their_images():
    values = np.repeat([1.0, 3.0], 200)
    # a quarter of the draws is the first patient twice, another quarter the second
    assert interval(resampled_means(values, ["a"] * 200 + ["b"] * 200)[:, 0]) == pytest.approx((1, 3))
    # each image of another patient, or all of one: 2 +- 1.96 / sqrt(400)
    for patients in ([str(i) for i in range(400)], ["a"] * 400):
        assert interval(resampled_means(values, patients)[:, 0]) == pytest.approx((1.902, 2.098), abs=0.02)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    patients = [str(i // 2) for i in range(120)]
    covered = 0
    for _ in range(60):
        own = np.repeat(rng.exponential(2.0, 60), 2)  # both images of a patient err alike
        low, high = interval(resampled_means(own, patients)[:, 0])
        covered += low < 2.0 < high
    assert 52 <= covered <= 60


def test_the_draws_are_the_same_at_every_call():
    values, patients = np.arange(20.0), [str(i % 7) for i in range(20)]
    np.testing.assert_array_equal(resampled_means(values, patients), resampled_means(values, patients))


def test_a_common_task_outweighs_a_rare_one_unless_tasks_count_alike():
    values, tasks = [1.0] * 9 + [11.0], ["HC"] * 9 + ["IVC"]
    found = Overall.of(values, [str(i) for i in range(10)], tasks)
    assert (found.weighted, found.unweighted, found.tasks) == (2, 6, 2)
    assert found.weighted_interval[0] < 2 < found.weighted_interval[1]
    # errors that do not vary within their task leave nothing to doubt, but draws without the rare one
    assert found.unweighted_interval == pytest.approx((1, 6))
    assert Overall.of([*values, np.nan], [str(i) for i in range(11)], [*tasks, "FA"]) == found
    with pytest.raises(ValueError, match="at least one error that is a number"):
        Overall.of([np.nan], ["a"], ["HC"])


def test_doubt_that_rises_with_the_error_has_rank_correlation_one():
    errors = [0.1, -0.5, 2.0, -9.0]
    assert rank_correlation([1, 2, 3, 4], errors) == pytest.approx(1)
    assert rank_correlation([4, 3, 2, 1], errors) == pytest.approx(-1)
    assert rank_correlation([1, np.nan, 3, 4, 5], [*errors[:1], 7.0, *errors[1:]]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("doubt", "errors"), [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, -2, 2]), ([1, 2], [1, 2])]
)
def test_a_rank_correlation_that_does_not_exist_is_nan(doubt, errors):
    assert np.isnan(rank_correlation(doubt, errors))


def test_the_surest_images_are_kept_first():
    kept, risk = risk_coverage([0.9, 0.1, 0.5, 0.2], [-8.0, 1.0, 3.0, 2.0])
    assert kept == pytest.approx([0.25, 0.5, 0.75, 1])
    assert risk == pytest.approx([1, 1.5, 2, 3.5])


def test_without_any_order_every_fraction_has_the_same_expected_error():
    kept, risk = risk_coverage(np.ones(5), [1.0, 2, 3, 4, 5])
    assert risk == pytest.approx(np.full(5, 3.0))
    assert kept[-1] == 1
    _, risk = risk_coverage([0, 1, 1, 2], [1.0, 2, 4, 9])
    assert risk == pytest.approx([1, 2, 7 / 3, 4])


def test_an_image_without_doubt_known_is_looked_at_first_and_one_without_an_error_not_at_all():
    _, risk = risk_coverage([np.nan, 0.5, 0.1], [10.0, 2.0, 1.0])
    assert risk == pytest.approx([1, 1.5, 13 / 3])
    kept, risk = risk_coverage([0.1, 0.2], [np.nan, 3.0])
    assert (kept.tolist(), risk.tolist()) == ([1], [3])
    assert all(len(part) == 0 for part in risk_coverage([0.1], [np.nan]))
