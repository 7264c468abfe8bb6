"""Ellipses: exact scaling, the direct fit, and the fit to a mask."""

import numpy as np
import pytest
from scipy.special import ellipe

from trifocal.keypoints.ellipse import (
    Ellipse,
    ellipse_from_axes,
    ellipse_of_mask,
    fit_ellipse,
    rim_distance,
    scaled,
)

HEAD = Ellipse((60.3, 47.8), (40.0, 31.0), 27.0)


def same(one: Ellipse, other: Ellipse, within: float) -> bool:
    turn = abs(one.angle - other.angle) % 180.0
    near = np.allclose([*one.center, *one.semi_axes], [*other.center, *other.semi_axes], atol=within, rtol=0)
    return near and min(turn, 180.0 - turn) <= 60.0 * within / one.semi_axes[1]


def soft_mask(ellipse: Ellipse, shape: tuple[int, int]) -> np.ndarray:
    """1 inside, 0 outside, 0.5 on the rim, over two pixels."""
    rows, columns = np.indices(shape)
    grid = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    return np.clip(0.5 - rim_distance(ellipse, grid) / 2, 0, 1).reshape(shape)


def test_the_perimeter_is_that_of_the_elliptic_integral() -> None:
    for short in (40.0, 31.0, 20.0):
        exact = 4 * 40.0 * ellipe(1 - (short / 40.0) ** 2)
        assert Ellipse((0, 0), (40.0, short), 0).perimeter == pytest.approx(exact, rel=1e-7)


def test_an_ellipse_is_found_again_from_its_axis_ends() -> None:
    assert same(ellipse_from_axes(HEAD.axis_ends()), HEAD, 1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 45.0, 90.0, 135.0, 179.999999])
def test_exact_points_give_the_exact_ellipse(angle: float) -> None:
    ellipse = Ellipse((312.0, -75.0), (40.0, 31.0), angle)
    assert same(fit_ellipse(ellipse.outline(17)), ellipse, 1e-6)


def test_half_a_rim_is_enough_for_the_fit() -> None:
    assert same(fit_ellipse(HEAD.outline(90)[:45]), HEAD, 1e-6)


def test_a_circle_is_an_ellipse_with_equal_axes() -> None:
    fitted = fit_ellipse(Ellipse((5, 6), (10.0, 10.0), 0).outline(40))
    assert fitted.semi_axes == pytest.approx((10.0, 10.0), abs=1e-6)
    assert fitted.center == pytest.approx((5, 6), abs=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "points",
    [
        np.zeros((10, 2)),
        np.stack([np.arange(10.0), 3 * np.arange(10.0)], axis=1),
        np.full((10, 2), np.nan),
        HEAD.outline(5),
        np.zeros((10, 3)),
    ],
    ids=["one place", "a line", "NaN", "five points", "three columns"],
)
def test_degenerate_points_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must"):
        fit_ellipse(points)


@pytest.mark.parametrize("factors", [(2.0, 2.0), (0.6, 1.7), (3.0, 0.4)])
def test_scaling_moves_every_point_of_the_rim_onto_the_new_rim(factors: tuple[float, float]) -> None:
    moved = HEAD.outline(50) * factors
    new = scaled(HEAD, *factors)
    assert np.abs(rim_distance(new, moved)).max() < 1e-9
    assert same(new, fit_ellipse(moved), 1e-6)
    assert same(scaled(new, 1 / factors[0], 1 / factors[1]), HEAD, 1e-9)


def test_between_pixel_grids_the_corner_of_the_image_stays() -> None:
    doubled = scaled(HEAD, 2.0, 2.0, fixed=-0.5)
    assert doubled.center == pytest.approx((2 * 60.3 + 0.5, 2 * 47.8 + 0.5))


def test_a_factor_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive, got 0.0 and 1.0"):
        scaled(HEAD, 0.0, 1.0)


def test_distance_from_the_rim_has_the_sign_of_outside() -> None:
    circle = Ellipse((0, 0), (10.0, 10.0), 0)
    got = rim_distance(circle, np.array([[10.5, 0], [0, 9.5], [0, 0], [10, 0]]))
    assert got == pytest.approx([0.5, -0.5, -10.0, 0.0], abs=0.03)


def test_a_soft_mask_gives_its_ellipse_between_the_pixels() -> None:
    found = ellipse_of_mask(soft_mask(HEAD, (100, 120)))
    assert found is not None
    assert same(found, HEAD, 0.05)


def test_a_head_cut_off_by_the_border_keeps_its_size() -> None:
    high = Ellipse((60.0, 24.0), (40.0, 31.0), 10.0)
    found = ellipse_of_mask(soft_mask(high, (100, 120)))
    assert found is not None
    assert same(found, high, 0.3)


def test_specks_holes_and_a_bump_do_not_move_it() -> None:
    mask = soft_mask(HEAD, (100, 120))
    mask[2:8, 2:8] = 1.0  # a speck elsewhere
    mask[45:50, 60:66] = 0.0  # a hole
    mask[12:18, 52:58] = 1.0  # a bump on the rim
    found = ellipse_of_mask(mask)
    assert found is not None
    assert same(found, HEAD, 0.4)


@pytest.mark.parametrize(
    "mask",
    [np.zeros((20, 20)), np.ones((20, 20)), np.eye(20), np.ones((1, 1)), np.zeros((0, 5))],
    ids=["nothing", "everything", "a line", "one pixel", "no pixel"],
)
def test_a_mask_without_a_rim_has_no_ellipse(mask: np.ndarray) -> None:
    assert ellipse_of_mask(mask) is None


def test_a_mask_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="finite image"):
        ellipse_of_mask(np.full((4, 4), np.nan))
