from dataclasses import replace

import numpy as np
import pytest

from heads import shell_ct
from trifocal.focus.acoustics import AcousticModel
from trifocal.focus.calibration import Measured, model_error
from trifocal.focus.doubts_reference import Reference, Training
from trifocal.focus.ellipsoid import Ellipsoid, factor
from trifocal.focus.head import Head
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.skull_features import incidence_deg
from trifocal.focus.transducer import Bowl
from trifocal.focus.uncertainty import (
    Ranges,
    bone_attenuation_db_cm_mhz,
    doubts,
    jittered,
    with_bone,
)
from trifocal.predictor import Cancelled

BOWL = Bowl(50.0, 40.0, 220e3)
POSE = Pose.from_apex([0, 0, 100], [0, 0, -1])
STILL = Ranges(0.0, (12.74, 12.74), 0.0, 0.0)


@pytest.fixture(scope="module")
def inputs():
    head = Head.from_image(shell_ct())
    target = np.array([0.0, 0.0, 50.0])
    return FocusInput(head, BOWL, POSE, target, points_per_wavelength=4.0)


@pytest.fixture(scope="module")
def found(inputs):
    return doubts(inputs, samples=8, device="cpu")


def test_a_known_normal_lies_in_its_ellipsoid_as_often_as_it_says():
    covariance = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
    centre = np.array([10.0, -20.0, 30.0])
    points = np.random.default_rng(0).multivariate_normal(centre, covariance, 20000)
    for level in (0.5, 0.95):
        assert Ellipsoid.of(centre, covariance, level).holds(points).mean() == pytest.approx(level, abs=0.01)


def test_an_ellipsoid_of_few_samples_holds_a_further_draw_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(2000):
        draws = rng.normal(size=(10, 3))
        inside.append(Ellipsoid.of(np.zeros(3), draws.T @ draws / 10, samples=10).holds(rng.normal(size=3)))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_half_axes_of_a_diagonal_covariance_are_along_the_world():
    ellipsoid = Ellipsoid.of([0, 0, 0], np.diag([1.0, 9.0, 4.0]))
    np.testing.assert_allclose(ellipsoid.half_lengths_mm, np.sqrt(7.8147 * np.array([9, 4, 1])), rtol=1e-4)
    np.testing.assert_allclose(np.abs(ellipsoid.axes_mm[0]), [0, ellipsoid.half_lengths_mm[0], 0], atol=1e-12)
    assert ellipsoid.distance(ellipsoid.axes_mm) == pytest.approx(1)


def test_a_level_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="must lie between 0 and 1, got 95"):
        factor(95)


def test_bone_of_1300_hu_gets_the_speed_and_attenuation_that_were_asked_for():
    model = with_bone(AcousticModel(), 0.04, 20.0)
    solid, plain = 1300 / 2000, AcousticModel()
    before, after = (
        m.soft_tissue.sound_speed + (m.dense_bone.sound_speed - m.soft_tissue.sound_speed) * solid
        for m in (plain, model)
    )
    assert after == pytest.approx(1.04 * before)
    assert bone_attenuation_db_cm_mhz(model) == pytest.approx(20)
    assert model.soft_tissue == plain.soft_tissue


def test_a_jitter_shifts_the_apex_and_turns_the_beam_by_what_is_told():
    moved = jittered(POSE, np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0]))
    np.testing.assert_allclose(moved.apex_mm, [0, 0, 99], atol=1e-12)
    turned = jittered(POSE, np.zeros(3), np.deg2rad([2.0, 0.0]))
    assert np.degrees(np.arccos(turned.direction @ POSE.direction)) == pytest.approx(2)


def test_draws_stay_within_their_ranges(inputs):
    rng, ranges = np.random.default_rng(0), Ranges()
    for _ in range(50):
        drawn = ranges.draw(inputs, rng)
        assert 6.9 <= bone_attenuation_db_cm_mhz(drawn.model) <= 24.4
        assert np.abs(inputs.pose.from_world(drawn.pose.apex_mm)).max() <= 1
        assert drawn.pose.direction @ inputs.pose.direction >= np.cos(np.deg2rad(2 * np.sqrt(2) + 0.01))


def test_ranges_that_are_none_are_refused():
    with pytest.raises(ValueError, match="ranges must be"):
        Ranges(attenuation_db_cm_mhz=(24.4, 6.9))


def test_doubts_lie_where_the_prediction_lies(inputs, found):
    assert found.samples == 8
    assert found.std_pa.shape == inputs.box.shape
    np.testing.assert_allclose(found.std_pa.affine, found.prediction.pressure.affine)
    assert (found.std_pa.array >= 0).all()
    assert found.std_pa.array.max() > 0.02 * found.prediction.figures.peak_pa
    np.testing.assert_allclose(found.ellipsoid.centre_mm, found.prediction.figures.focus_mm)
    low, high = found.peak_bounds_pa
    assert low < found.prediction.figures.peak_pa < high
    assert 0 <= found.p_in_target <= 1
    assert found.record()["ellipsoid"]["half_lengths_mm"] == pytest.approx(found.ellipsoid.half_lengths_mm)


def test_the_same_seed_gives_the_same_doubts(inputs, found):
    again = doubts(inputs, samples=8, device="cpu")
    np.testing.assert_array_equal(again.foci_mm, found.foci_mm)
    assert again.p_in_target == found.p_in_target


def test_with_nothing_unknown_only_the_error_of_the_model_is_left(inputs, found):
    still = replace(STILL, attenuation_db_cm_mhz=(bone_attenuation_db_cm_mhz(AcousticModel()),) * 2)
    sure = doubts(inputs, samples=8, ranges=still, device="cpu")
    assert sure.std_pa.array.max() < 1e-3 * sure.prediction.figures.peak_pa
    error = Reference.load().error
    march = FocusPredictor("has", device="cpu").predict(inputs)
    apart = np.subtract(march.figures.focus_mm, sure.prediction.figures.focus_mm) @ POSE.matrix[:3, :3]
    longest = np.sqrt(error.variances(apart).max() * factor(0.95))
    assert sure.ellipsoid.half_lengths_mm[0] == pytest.approx(longest, rel=1e-3)
    assert sure.ellipsoid.half_lengths_mm[0] < found.ellipsoid.half_lengths_mm[0]


def test_doubts_end_when_they_are_cancelled(inputs):
    def stop(fraction, what):
        if what.startswith("sample 2"):
            raise Cancelled

    with pytest.raises(Cancelled):
        doubts(inputs, samples=8, device="cpu", progress=stop)


def test_too_few_samples_are_refused(inputs):
    with pytest.raises(ValueError, match="8 samples or more"):
        doubts(inputs, samples=3)


def test_a_placement_like_the_training_is_in_range_and_one_far_off_is_named():
    rows = np.random.default_rng(0).normal([6, 1200, 10, 63, 60, 250], [1, 100, 4, 3, 3, 10], (400, 6))
    training = Training.of(rows)
    assert training.reasons(rows.mean(0)) == ()
    share = np.mean([bool(training.reasons(r)) for r in rows])
    assert share == pytest.approx(0.01, abs=0.005)
    (reason,) = training.reasons(rows.mean(0) + np.array([9, 0, 0, 0, 0, 0]))
    assert "what stands out most is thickness of bone" in reason


def test_the_calibrated_ellipsoid_holds_95_percent_of_errors_with_heavy_tails():
    rng = np.random.default_rng(0)

    def cases(n):
        errors = rng.standard_t(3, (n, 3)) * [0.1, 0.1, 0.5]
        return [Measured("a", e, np.zeros(3), rng.normal(size=3) * 0.01, 0.05) for e in errors]

    fitted = model_error(cases(1500))
    limit = factor(0.95)
    inside = [(m.error_mm**2 / fitted.variances(m.disagreement_mm)).sum() <= limit for m in cases(1500)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    assert fitted.log_peak == pytest.approx(0.05)


def test_the_incidence_on_a_tilted_plate_is_its_tilt(inputs):
    box = inputs.box
    x, _, z = np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij")
    for tilt in (0.0, 20.0):
        depth = z - 15 - x * np.tan(np.deg2rad(tilt))
        hu = np.where((depth >= 0) & (depth < 8), 1200.0, 0.0)
        assert incidence_deg(hu, BOWL, box) == pytest.approx(tilt, abs=1.5)


def test_a_reference_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "focus.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"focus\.json must be a file of `trifocal calibrate focus`"):
        Reference.load(path)
