"""The free field against its integral, its closed form on the axis and its own symmetries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trifocal.focus.freefield import FreeField, free_field, oneil, rayleigh, series, wavenumber
from trifocal.focus.pose import Pose
from trifocal.focus.transducer import PRESETS, Bowl

DEFAULT = PRESETS["default"]


def points(bowl: Bowl, count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) anywhere in a box in front of the bowl."""
    rng = np.random.default_rng(seed)
    half, depth = 0.6 * bowl.aperture_mm, 1.7 * bowl.radius_of_curvature_mm
    return rng.uniform([-half, -half, 0], [half, half, depth], (count, 3))


def amplitude(bowl: Bowl, where: np.ndarray) -> np.ndarray:
    return free_field(bowl).amplitude(torch.tensor(where, dtype=torch.float32)).numpy()


def test_the_pressure_in_the_geometric_focus_is_k_times_the_depth_of_the_bowl() -> None:
    focus = oneil(DEFAULT, DEFAULT.radius_of_curvature_mm)
    gain = wavenumber(DEFAULT) * DEFAULT.depth_mm
    assert abs(focus) == pytest.approx(DEFAULT.drive * gain, rel=1e-9)
    assert abs(oneil(DEFAULT, DEFAULT.radius_of_curvature_mm - 1e-3) - focus) < 2e-3 * abs(focus)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_series_meets_oneil_on_the_axis(name: str) -> None:
    bowl = PRESETS[name]
    z = np.linspace(0.5, 2 * bowl.radius_of_curvature_mm, 150)
    expected = oneil(bowl, z)
    assert np.abs(series(bowl, 0 * z, z) - expected).max() < 2e-3 * np.abs(expected).max()


@given(
    radius=st.floats(15, 90),
    opening=st.floats(0.1, 1.0),
    wavelengths=st.floats(3, 20),
    r=st.floats(0, 1),
    z=st.floats(0.02, 1.9),
)
@settings(max_examples=25, deadline=None)
def test_the_series_meets_the_integral_off_the_axis(
    radius: float, opening: float, wavelengths: float, r: float, z: float
) -> None:
    bowl = Bowl(radius, 2 * radius * opening, 1500e3 * wavelengths / radius)
    where = np.array([[0.6 * r * radius, 0.8 * r * radius, z * radius]])
    gap = abs(np.hypot(r * radius, (1 - z) * radius) - radius)
    if gap < 0.1 * bowl.wavelength_mm:  # there the integral itself needs finer elements
        return
    expected = rayleigh(bowl, where)
    found = series(bowl, np.array([r * radius]), where[:, 2])
    assert abs(found - expected)[0] < 2e-3 * max(abs(expected[0]), bowl.drive)


def test_the_phase_grows_with_the_distance() -> None:
    phase = np.unwrap(np.angle(series(DEFAULT, np.zeros(40), np.linspace(80, 100, 40))))
    assert (np.diff(phase) > 0).all()


@pytest.mark.parametrize("name", ["default", "ctx-500"])
def test_the_table_is_within_one_percent_where_there_is_sound(name: str) -> None:
    bowl = PRESETS[name]
    where = points(bowl, 3000)
    expected = np.abs(series(bowl, np.hypot(where[:, 0], where[:, 1]), where[:, 2]))
    peak = free_field(bowl).peak_pa
    error = np.abs(amplitude(bowl, where) - expected)
    loud = expected > 0.05 * peak
    assert (error[loud] / expected[loud]).max() < 0.01
    assert error[~loud].max() < 0.006 * peak


def test_the_table_meets_the_integral() -> None:
    where = points(DEFAULT, 60, seed=1)
    expected = np.abs(rayleigh(DEFAULT, where))
    assert np.abs(amplitude(DEFAULT, where) - expected).max() < 0.006 * free_field(DEFAULT).peak_pa


def test_the_field_is_round() -> None:
    where = points(DEFAULT, 200)
    turned = where @ np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]])
    np.testing.assert_allclose(amplitude(DEFAULT, turned), amplitude(DEFAULT, where), rtol=1e-3, atol=20)


def test_the_field_is_linear_in_the_drive() -> None:
    where = points(DEFAULT, 200)
    twice = amplitude(replace(DEFAULT, drive=2 * DEFAULT.drive), where)
    np.testing.assert_allclose(twice, 2 * amplitude(DEFAULT, where), rtol=1e-4)


def test_the_peak_is_that_of_the_axis() -> None:
    peak = np.abs(oneil(DEFAULT, np.linspace(1, 120, 2000))).max()
    assert free_field(DEFAULT).peak_pa == pytest.approx(peak, rel=2e-3)


def test_beyond_the_table_the_amplitude_falls_with_the_distance() -> None:
    radius = DEFAULT.radius_of_curvature_mm
    toward = np.array([0.2, 0.1, 1.0]) / np.linalg.norm([0.2, 0.1, 1.0])
    rho = np.array([[2.0], [4.0], [8.0]]) * radius
    found = amplitude(DEFAULT, rho * toward + [0, 0, radius])
    np.testing.assert_allclose(found * rho[:, 0], found[0] * rho[0, 0], rtol=1e-3)


def test_a_table_is_made_once_per_bowl() -> None:
    assert free_field(DEFAULT) is free_field(replace(DEFAULT))


def test_the_gradient_is_finite_on_the_axis_in_the_focus_and_at_the_apex() -> None:
    radius = DEFAULT.radius_of_curvature_mm
    where = torch.tensor([[0.0, 0, 30], [0, 0, radius], [0, 0, 0], [5, 0, radius]], requires_grad=True)
    free_field(DEFAULT).amplitude(where).sum().backward()
    assert torch.isfinite(where.grad).all()


def test_the_gradient_with_respect_to_the_pose_is_that_of_finite_differences() -> None:
    field = FreeField(DEFAULT)
    matrix = torch.tensor(Pose.from_apex([10, 20, 90], [0.1, -0.2, -1]).matrix.copy(), dtype=torch.float32)
    world = torch.tensor([[11.0, 6, 34], [15, 3, 25], [8, 12, 40]])

    def loud(shift: torch.Tensor) -> torch.Tensor:
        moved = matrix.clone()
        moved[:3, 3] = moved[:3, 3] + shift
        return field.amplitude_at(moved, world).sum()

    shift = torch.zeros(3, requires_grad=True)
    loud(shift).backward()
    step = 0.2 * torch.eye(3)
    numeric = torch.stack([(loud(s) - loud(-s)) / 0.4 for s in step]).detach()
    torch.testing.assert_close(shift.grad, numeric, rtol=0.05, atol=0.02 * float(numeric.abs().max()))


def test_a_pose_moves_the_field_with_the_bowl() -> None:
    poses = [Pose.from_apex([10, 20, 90], [0, 0, -1]), Pose.from_apex([0, 0, 0], [1, 1, 0])]
    local = points(DEFAULT, 20)
    matrices = torch.tensor(np.stack([p.matrix for p in poses]), dtype=torch.float32)
    for pose, matrix in zip(poses, matrices, strict=True):
        world = torch.tensor(pose.to_world(local), dtype=torch.float32)
        one = free_field(DEFAULT).amplitude_at(matrix, world)
        both = free_field(DEFAULT).amplitude_at(matrices, world)
        assert both.shape == (2, 20)
        np.testing.assert_allclose(one.numpy(), amplitude(DEFAULT, local), rtol=1e-3, atol=200)
