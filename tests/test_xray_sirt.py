"""SIRT: towards the films, along what they see, and no further than they are worth."""

import numpy as np
import pytest
import torch

from trifocal.xray.films.calibration import calibrate, pixel_noise
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import residual, sirt


def projectors_of(grid, pixels):
    return Projectors.of(frontal_and_lateral(grid, pixels=pixels).views, grid)


def body(grid):
    """(1, i, j, k): an ellipsoid of water with an off-centre hole of air and two lighter balls."""
    x, y, z = np.meshgrid(*[grid.centers_mm(a) for a in range(3)], indexing="ij")
    water = ((x / 140) ** 2 + (y / 100) ** 2 + (z / 150) ** 2 < 1).astype(np.float32)
    for cx, cy, cz, radius, density in ((60, 10, 0, 50, 0.1), (-60, 10, 20, 40, 0.3), (0, -60, -40, 25, 1.5)):
        water[(x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < radius**2] = density
    return torch.as_tensor(water)[None]


COARSE, FINE = Grid.cube(320.0, 16), Grid.cube(320.0, 32)


@pytest.fixture(scope="module")
def projectors():
    return projectors_of(COARSE, 24)


@pytest.fixture(scope="module")
def truth():
    return body(COARSE)


@pytest.fixture(scope="module")
def fine():
    """Projectors and a truth of 32 voxels, films of 64 pixels."""
    return projectors_of(FINE, 64), body(FINE)


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


def blurred(volume):
    weights = torch.full((1, 1, 3, 3, 3), 1 / 27)
    return torch.nn.functional.conv3d(volume[:, None], weights, padding=1)[:, 0]


def error_of(volume, truth):
    return float((volume - truth).square().mean().sqrt())


def scattered(film, unit=0.02):
    """A film whose exposure has a constant from scatter everywhere: 20 % of what gets through the middle."""
    added = 0.2 * torch.exp(-unit * film[:, 24:40, 24:40]).mean()
    return -torch.log((torch.exp(-unit * film) + added) / (1 + added)) / unit


def displaced(film):
    return torch.roll(film, 3, -2)


@pytest.mark.parametrize("fault", [scattered, displaced, lambda film: 1.15 * film])
def test_a_faulty_film_does_not_make_a_good_start_worse_where_faults_are_allowed_for(fine, fault):
    projectors, truth = fine
    start = blurred(truth)
    films = projectors.forward(truth)
    faulty = [fault(films[0]), films[1]]
    trusting = sirt(projectors, faulty, start, 10)
    wary = sirt(projectors, faulty, start, 10, relative_error=[0.01, 0.0])
    assert error_of(wary, truth) < error_of(start, truth)
    assert error_of(wary, truth) < error_of(trusting, truth)


def test_noise_is_followed_less_where_it_is_expected(fine):
    projectors, truth = fine
    generator = torch.Generator().manual_seed(0)
    films = projectors.forward(truth)
    noisy = [f + 0.06 * f.max() * torch.randn(f.shape, generator=generator) for f in films]
    start = blurred(truth)
    trusting = sirt(projectors, noisy, start, 15)
    wary = sirt(projectors, noisy, start, 15, relative_error=0.01)
    assert error_of(wary, truth) < min(error_of(trusting, truth), error_of(start, truth))


def test_from_nothing_there_is_nothing_to_calibrate_by(projectors, truth):
    films = projectors.forward(truth)
    empty = torch.zeros_like(truth)
    out = sirt(projectors, films, empty, 10, relative_error=0.05)
    assert max(float(r[0]) for r in residual(projectors, out, films)) < 0.15


def test_a_film_without_fault_is_hardly_changed(projectors, truth):
    film = projectors.forward(truth)[0]
    found = calibrate(film, film, 0.05)
    torch.testing.assert_close(found.film, film, atol=1e-3, rtol=1e-4)
    assert float(found.misfit) < 1e-4
    assert float(found.shift.abs().max()) < 1e-3


def test_gain_and_displacement_of_a_film_are_found(projectors, truth):
    film = projectors.forward(truth)[0]
    assert float(calibrate(1.2 * film, film, 0.05).misfit) == pytest.approx(0.2 / 1.2, abs=1e-3)
    found = calibrate(torch.roll(film, (1, -2), (-2, -1)), film, 0.05)
    np.testing.assert_allclose(found.shift[0], [1, -2], atol=0.1)


def test_noise_of_pixels_is_found_below_smooth_anatomy():
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.linspace(0, 3, 100), torch.linspace(0, 3, 100), indexing="ij")
    film = 200 * torch.sin(rows)[None] + 50 * columns[None] + 30
    noisy = film + 2.0 * torch.randn(film.shape, generator=generator)
    assert float(pixel_noise(noisy)) == pytest.approx(2.0, rel=0.1)
    noisy[:, :30] = torch.nan
    assert float(pixel_noise(noisy)) == pytest.approx(2.0, rel=0.1)


def test_residual_of_a_scaled_volume_is_the_share_that_it_lacks(projectors, truth):
    films = projectors.forward(truth)
    for share in residual(projectors, truth * 0.75, films):
        assert float(share[0]) == pytest.approx(0.25, abs=1e-5)


def test_films_of_nothing_and_films_that_are_unknown_do_no_harm(projectors, truth):
    empty = [torch.zeros_like(f) for f in projectors.forward(truth)]
    out = sirt(projectors, empty, truth, 30, relative_error=0.05)
    assert torch.isfinite(out).all()
    unknown = [torch.full_like(f, torch.nan) for f in empty]
    torch.testing.assert_close(sirt(projectors, unknown, truth, 5, relative_error=0.05), truth)


@pytest.mark.parametrize("error", [-0.1, 1.0, [0.1], float("nan")])
def test_an_impossible_error_is_refused(projectors, truth, error):
    with pytest.raises(ValueError, match="relative_error must be"):
        sirt(projectors, projectors.forward(truth), truth, 1, relative_error=error)


def test_films_that_do_not_fit_are_refused(projectors, truth):
    with pytest.raises(ValueError, match="films must have the shapes"):
        sirt(projectors, projectors.forward(truth)[:1], truth, 1)
    with pytest.raises(ValueError, match="steps of the refinement"):
        sirt(projectors, projectors.forward(truth), truth, -1)
