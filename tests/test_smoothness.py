"""How smoothly features follow the bowl: figures of curves whose answers are known."""

import numpy as np
import pytest

from trifocal.focus.smoothness import FeatureSweep, smoothness

STEPS = 35
ANGLES = (np.arange(STEPS) - 17) * 1.6


def test_a_sine_bends_by_its_step_and_independent_values_by_the_root_of_three():
    t = np.linspace(0, 2 * np.pi, 201)[:, None]
    assert smoothness(np.sin(t)).bend == pytest.approx(2 * np.pi / 200, rel=0.01)
    noise = np.random.default_rng(0).normal(size=(400, 50))
    found = smoothness(noise)
    assert found.bend == pytest.approx(np.sqrt(3), rel=0.02)
    assert found.step == pytest.approx(1, rel=0.02)
    assert smoothness(np.cumsum(noise, axis=0)).bend == pytest.approx(np.sqrt(2), rel=0.02)


def test_a_straight_line_does_not_bend_and_has_no_jump():
    line = np.linspace(0, 1, STEPS)[:, None] * [1.0, -3.0]
    found = smoothness(line)
    assert found.bend < 1e-9
    assert found.largest_jump == pytest.approx(1)
    # neighbours 1 apart; the mean square distance of two of n points on a line is n (n + 1) / 6
    assert found.step == pytest.approx((6 / (STEPS * (STEPS + 1))) ** 0.5)


def test_a_fold_is_a_jump():
    folded = np.linspace(0, 1, STEPS)[:, None]
    assert smoothness(folded + (np.arange(STEPS) >= 20)[:, None]).largest_jump > 5


def test_the_control_is_the_same_features_in_random_order():
    found = FeatureSweep.of(ANGLES, np.random.default_rng(1).normal(size=(STEPS, 30)).cumsum(0))
    assert found.shuffled.step == pytest.approx(1, abs=0.02)
    assert found.found.step < 0.5 * found.shuffled.step
    assert found.shuffled.bend == pytest.approx(np.sqrt(3), rel=0.05)


def test_the_channels_that_vary_most_are_shown():
    curves = np.linspace(-1, 1, STEPS)[:, None] * np.arange(12)
    assert FeatureSweep.of(ANGLES, curves).shown == (11, 10, 9, 8, 7, 6, 5, 4)


def test_features_that_cannot_be_judged_are_refused():
    with pytest.raises(ValueError, match="same at every placement"):
        FeatureSweep.of(ANGLES, np.ones((STEPS, 3)))
    with pytest.raises(ValueError, match="must be finite"):
        FeatureSweep.of(ANGLES, np.full((STEPS, 3), np.inf))
    with pytest.raises(ValueError, match="4 steps or more"):
        FeatureSweep.of(ANGLES, np.ones((2, 3)))
