"""What needs no learning: each baseline does what it says, from the films alone."""

import numpy as np
import pytest
import torch

from trifocal.xray.baselines import constant, least_squares, oracle_silhouette, visual_hull
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import residual

GRID = Grid.cube(240.0, 16)


@pytest.fixture(scope="module")
def projectors():
    return Projectors.of(frontal_and_lateral(GRID, pixels=32).views, GRID)


def block(density=1.0):
    volume = torch.zeros((1, *GRID.shape))
    volume[:, 4:12, 5:10, 3:14] = density
    return volume


def test_the_constant_that_made_the_films_is_found(projectors):
    films = projectors.forward(torch.full((1, *GRID.shape), 0.7))
    torch.testing.assert_close(constant(projectors, films), torch.full((1, *GRID.shape), 0.7))


def test_the_constant_leaves_a_residual_that_no_other_undercuts(projectors):
    films = projectors.forward(block())
    best = constant(projectors, films)

    def squared(volume):
        pairs = zip(projectors.forward(volume), films, strict=True)
        return sum(float((p - f).square().sum()) for p, f in pairs)

    assert squared(best) < min(squared(best * 1.02), squared(best * 0.98))


def test_the_hull_of_a_block_is_the_block_with_a_margin_of_a_voxel(projectors):
    hull = visual_hull(projectors, projectors.forward(block(1.3)))[0] > 0
    inside = block()[0] > 0
    assert (hull & inside).sum() == inside.sum()
    grown = torch.zeros_like(inside)
    grown[3:13, 4:11, 2:15] = True
    assert not (hull & ~grown).any()


def test_the_hull_has_the_density_that_explains_the_films(projectors):
    hull = visual_hull(projectors, projectors.forward(block(1.3)))
    dense = float(hull.max())
    assert 0.7 < dense <= 1.35
    assert set(hull.unique().tolist()) == {0.0, dense}


def test_unknown_pixels_carve_nothing(projectors):
    films = projectors.forward(block())
    for film in films:
        film[...] = torch.nan
    films[0][:, 16:, :] = 0.0
    hull = visual_hull(projectors, films)
    assert float(hull.abs().max()) == 0.0
    films[0] = projectors.forward(block())[0]
    hull = visual_hull(projectors, films)
    assert (hull[0, 4:12, :, 3:14] > 0).all()


def test_least_squares_explains_the_films_without_knowing_the_volume(projectors):
    films = projectors.forward(block())
    found = least_squares(projectors, films)
    left = max(float(r[0]) for r in residual(projectors, found, films))
    assert left < 0.2 * min(float(r[0]) for r in residual(projectors, constant(projectors, films), films))
    assert float((found - block()).abs().max()) > 0.2
    assert float(found.min()) >= 0


def test_baselines_do_not_mix_the_volumes_of_a_batch(projectors):
    films = projectors.forward(torch.cat([block(), block(0.5).flip(1)]))
    for baseline in (constant, visual_hull, least_squares):
        both = baseline(projectors, films)
        alone = baseline(projectors, [f[1:] for f in films])
        torch.testing.assert_close(both[1:], alone)


def test_the_oracle_is_the_true_body_at_its_true_mean():
    hu = np.full((20, 20, 12), -1000.0, np.float32)
    hu[4:16, 4:16] = 0
    hu[8:12, 8:12, 3:9] = -800  # enclosed air is body
    out = oracle_silhouette(hu, (5.0, 5.0, 5.0))
    mean = hu[4:16, 4:16].mean()
    inside = out > -999
    assert inside[4:16, 4:16].mean() > 0.9
    assert not inside[:3].any()
    assert float(out[10, 10, 5]) == pytest.approx(mean, abs=10)


def test_the_oracle_of_air_is_air():
    out = oracle_silhouette(np.full((8, 8, 8), -1000.0, np.float32), (5.0, 5.0, 5.0))
    assert (out == -1000).all()
