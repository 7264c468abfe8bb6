"""SIRT: towards the films, along what they see, and no further than they are worth."""

import numpy as np
import pytest
import torch

from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import residual, sirt

GRID = Grid.cube(320.0, 16)


@pytest.fixture(scope="module")
def projectors():
    return Projectors.of(frontal_and_lateral(GRID, pixels=24).views, GRID)


@pytest.fixture(scope="module")
def truth():
    """(1, 16, 16, 16): an ellipsoid of water with an off-centre hole of air."""
    x, y, z = np.meshgrid(*[GRID.centers_mm(a) for a in range(3)], indexing="ij")
    body = (x / 140) ** 2 + (y / 100) ** 2 + (z / 150) ** 2 < 1
    hole = (x - 60) ** 2 + (y - 10) ** 2 + z**2 < 50**2
    return torch.as_tensor((body & ~hole).astype(np.float32))[None]


def test_a_volume_that_explains_the_films_stays_as_it_is(projectors, truth):
    out = sirt(projectors, projectors.forward(truth), truth, 5)
    torch.testing.assert_close(out, truth, atol=1e-4, rtol=0)


def test_the_residual_falls_at_every_step_in_the_norm_that_sirt_minimises(projectors, truth):
    films = projectors.forward(truth)
    lengths = projectors.forward(torch.ones_like(truth))
    before = np.inf
    volume = torch.zeros_like(truth)
    for _ in range(8):
        volume = sirt(projectors, films, volume, 1)
        off = [(p - b).square() / n.clamp(min=1.0) for p, b, n in zip(
            projectors.forward(volume), films, lengths, strict=True)]  # fmt: skip
        now = sum(float(o.sum()) for o in off)
        assert now < before
        before = now
    assert max(float(r[0]) for r in residual(projectors, volume, films)) < 0.1


def test_several_steps_are_single_steps_one_after_the_other(projectors, truth):
    films = projectors.forward(truth)
    once = sirt(projectors, films, truth * 0.5, 3)
    volume = truth * 0.5
    for _ in range(3):
        volume = sirt(projectors, films, volume, 1)
    torch.testing.assert_close(once, volume)


def test_nothing_goes_below_zero(projectors, truth):
    out = sirt(projectors, [-f for f in projectors.forward(truth)], truth, 3)
    assert float(out.min()) >= 0


def test_the_unit_does_not_matter(projectors, truth):
    films = projectors.forward(truth)
    out = sirt(projectors, films, truth * 0.7, 4, relative_error=0.02)
    scaled = sirt(projectors, [f * 0.02 for f in films], truth * 0.014, 4, relative_error=0.02)
    torch.testing.assert_close(scaled / 0.02, out, atol=1e-4, rtol=1e-3)


def test_volumes_of_a_batch_do_not_know_of_each_other(projectors, truth):
    two = torch.cat([truth, truth.flip(1) * 0.8])
    films = projectors.forward(two)
    both = sirt(projectors, films, two * 0.9, 3, relative_error=0.01)
    one = sirt(projectors, [f[1:] for f in films], two[1:] * 0.9, 3, relative_error=0.01)
    torch.testing.assert_close(both[1:], one)


def test_unknown_pixels_are_left_out(projectors, truth):
    films = [f.clone() for f in projectors.forward(truth)]
    start = truth * 0.8
    for film in films:
        film[:, :8] = torch.nan
    out = sirt(projectors, films, start, 4)
    assert torch.isfinite(out).all()
    worse = [f.clone() for f in films]
    for film in worse:
        film[:, 8:] = torch.nan
        film[:, :8] = torch.nan
    torch.testing.assert_close(sirt(projectors, worse, start, 4), start)


def test_an_error_as_large_as_the_film_leaves_the_start(projectors, truth):
    films = projectors.forward(truth)
    out = sirt(projectors, films, truth * 0.95, 5, relative_error=0.5)
    torch.testing.assert_close(out, truth * 0.95)


def test_residual_of_a_scaled_volume_is_the_share_that_it_lacks(projectors, truth):
    films = projectors.forward(truth)
    for share in residual(projectors, truth * 0.75, films):
        assert float(share[0]) == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize("error", [-0.1, 1.0, [0.1], float("nan")])
def test_an_impossible_error_is_refused(projectors, truth, error):
    with pytest.raises(ValueError, match="relative_error must be"):
        sirt(projectors, projectors.forward(truth), truth, 1, relative_error=error)


def test_films_that_do_not_fit_are_refused(projectors, truth):
    with pytest.raises(ValueError, match="films must have the shapes"):
        sirt(projectors, projectors.forward(truth)[:1], truth, 1)
    with pytest.raises(ValueError, match="steps of the refinement"):
        sirt(projectors, projectors.forward(truth), truth, -1)
