"""What the films know of a volume, and what they do not."""

import pytest
import torch

from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.null_space import null_space_fraction, split
from trifocal.xray.projection import Projectors

GRID = Grid.cube(240.0, 12)


@pytest.fixture(scope="module")
def projectors():
    return Projectors.of(frontal_and_lateral(GRID, pixels=20, parallel=True).views, GRID)


def volume_of(seed):
    return torch.rand(GRID.shape, generator=torch.Generator().manual_seed(seed))


def test_the_parts_make_up_the_volume_and_only_one_is_seen(projectors):
    volume = volume_of(0)
    known, unknown = split(projectors, volume, iterations=60)
    torch.testing.assert_close(known + unknown, volume)
    seen = [float(film.abs().max()) for film in projectors.forward(unknown)]
    whole = [float(film.abs().max()) for film in projectors.forward(volume)]
    assert max(seen) < 0.01 * min(whole)
    assert abs(float((known * unknown).sum())) < 1e-3 * float(volume.square().sum())


def test_what_varies_along_one_ray_direction_only_is_determined(projectors):
    """Of f(x, z) + g(y, z), parallel rays along y see the first term and those along x the second."""
    x, y, z = torch.meshgrid(*[torch.linspace(0, 1, n) for n in GRID.shape], indexing="ij")
    volume = 1 + x * z + (y - 0.5) ** 2
    fraction = null_space_fraction(projectors, volume, iterations=60)
    assert float(fraction.max()) < 0.01


def test_a_checkerboard_across_both_views_is_unknown(projectors):
    """Its sums along x and along y are 0 everywhere."""
    i, j, k = torch.meshgrid(*[torch.arange(n) for n in GRID.shape], indexing="ij")
    volume = (-1.0) ** (i // 2 + j // 2) * (1.0 + 0 * k)
    assert float(null_space_fraction(projectors, volume).min()) > 0.95


def test_the_unit_does_not_matter(projectors):
    volume = volume_of(1)
    torch.testing.assert_close(
        null_space_fraction(projectors, volume * 0.019), null_space_fraction(projectors, volume)
    )


def test_one_film_determines_less_than_two(projectors):
    volume = volume_of(2)
    one = Projectors(projectors.each[:1])
    assert float(null_space_fraction(one, volume).mean()) > float(
        null_space_fraction(projectors, volume).mean()
    )


def test_where_nothing_is_nothing_is_known(projectors):
    assert float(null_space_fraction(projectors, torch.zeros(GRID.shape)).min()) == 1.0


def test_another_shape_is_refused(projectors):
    with pytest.raises(ValueError, match="must have the grid's shape"):
        null_space_fraction(projectors, torch.zeros(4, 4, 4))
