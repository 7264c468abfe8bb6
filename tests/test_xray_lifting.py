"""The lifting of films into the volume, the compact network, and how it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trifocal.xray.attenuation import mu_water
from trifocal.xray.calibration import Calibration
from trifocal.xray.film import Film, covering
from trifocal.xray.geometry import c_arm, frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.learned import Learned, around
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.lifting import LiftingConfig, LiftingEnsemble, LiftingNet
from trifocal.xray.projection import Projector

TINY = LiftingConfig(flat=(16, 16, 16, 16), lifted=4, solid=(16, 16, 16), fine=16, first_steps=2, dropout=0.0)
PER_MM = mu_water(70.0)


@pytest.fixture
def network() -> LiftingNet:
    torch.manual_seed(3)
    net = LiftingNet(TINY)
    for parameter in net.parameters():  # the zero start of each residual block would hide what is inside
        torch.nn.init.normal_(parameter, 0, 0.1)
    return net.eval()


def alone(network: LiftingNet) -> LiftingEnsemble:
    ensemble = LiftingEnsemble(network.config)
    ensemble.members[0] = network
    return ensemble.eval()


def ball_films(grid: Grid, *, scale: float = 1.0) -> tuple[Film, ...]:
    """A ball of water off the middle, in line integrals of both usual views; everything scaled."""
    places = np.stack(np.meshgrid(*map(grid.centers_mm, range(3)), indexing="ij"), -1) / scale
    ball = (np.linalg.norm(places - [30, 10, -20], axis=-1) < 60).astype(np.float32) * PER_MM
    geometry = frontal_and_lateral(
        grid, source_to_detector_mm=1800 * scale, center_to_detector_mm=250 * scale, pixels=32
    )
    lines = [Projector(v, grid).forward(torch.from_numpy(ball)[None])[0].numpy() for v in geometry.views]
    return tuple(Film(v, p) for v, p in zip(geometry.views, lines, strict=True))


def test_a_voxel_reads_the_film_where_its_own_ray_falls() -> None:
    grid = Grid((4, 6, 8), (30.0, 20.0, 25.0), (10.0, -5.0, 40.0))
    geometry = frontal_and_lateral(grid, pixels=64)
    lift = Lift(geometry.views, grid)
    for i, view in enumerate(geometry.views):
        row, column = np.indices(view.shape, dtype=np.float32)
        read = lift.features(i, torch.from_numpy(np.stack([row, column]))[None])[0].numpy()
        voxel = (1, 4, 6)
        place = [grid.centers_mm(axis)[voxel[axis]] for axis in range(3)]
        assert read[(slice(None), *voxel)] == pytest.approx(view.project(place), abs=1e-3)


def test_upright_detectors_are_read_by_matrices_as_by_lookup() -> None:
    grid = Grid((4, 6, 8), (30.0, 20.0, 25.0))
    for parallel in (False, True):
        geometry = frontal_and_lateral(grid, pixels=32, parallel=parallel)
        lift = Lift(geometry.views, grid)
        maps = torch.rand(2, 3, 16, 16)
        for i, view in enumerate(geometry.views):
            torch.testing.assert_close(lift.features(i, maps), lift._looked_up(view, maps), atol=1e-5, rtol=0)


def test_depth_grows_from_the_source_to_the_detector() -> None:
    grid = Grid.cube(300, 8)
    ap = Lift(frontal_and_lateral(grid, frontal="AP").views, grid)
    pa = Lift(frontal_and_lateral(grid, frontal="PA").views, grid)
    assert ap.depth(0)[0, -1, 0] == pytest.approx(1 / 16)  # AP: the rays enter in front
    assert pa.depth(0)[0, 0, 0] == pytest.approx(1 / 16)
    assert ap.depth(1)[-1, 0, 0] == pytest.approx(1 / 16)  # left lateral: they enter on the right


def test_exchanging_the_films_changes_the_answer(network: LiftingNet) -> None:
    grid = Grid.cube(300, 16)
    lift = Lift(frontal_and_lateral(grid, pixels=32).views, grid)
    torch.manual_seed(0)
    films = torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        there, back = network(films, lift), network(films.flip(1), lift)
    assert (there - back).abs().mean() > 0.01


def test_every_weight_of_the_network_is_used(network: LiftingNet) -> None:
    grid = Grid.cube(300, 16)
    lift = Lift(frontal_and_lateral(grid, pixels=32).views, grid)
    density, log_error = network.with_error(torch.rand(2, 2, 32, 32), lift)
    (density.sum() + log_error.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_answer_does_not_depend_on_the_unit_of_length(network: LiftingNet) -> None:
    learned = Learned(alone(network), voxels=16)
    small, large = Grid.cube(200, 16), Grid.cube(400, 16)
    films = ball_films(small), ball_films(large, scale=2.0)
    one, _ = learned.reconstruct(films[0], small, PER_MM, 0)
    two, _ = learned.reconstruct(films[1], large, PER_MM, 0)
    torch.testing.assert_close(one, two, atol=2e-3, rtol=0)


def test_a_grid_shorter_than_the_cube_lies_voxel_on_voxel_in_it() -> None:
    grid = Grid((16, 11, 14), (5.0, 5.0, 5.0), (7.0, -3.0, 12.0))
    cube = around(grid, 16)
    assert cube.spacing_mm == pytest.approx(grid.spacing_mm)
    for axis in range(3):
        offset = (grid.centers_mm(axis)[0] - cube.centers_mm(axis)[0]) / 5.0
        assert offset == pytest.approx(round(offset), abs=1e-9)
        assert cube.centers_mm(axis)[-1] >= grid.centers_mm(axis)[-1] - 1e-9


def test_a_film_alone_is_answered_too(network: LiftingNet) -> None:
    grid = Grid.cube(200, 16)
    films = ball_films(grid)
    learned = Learned(alone(network), voxels=16)
    both, one, other = (
        learned.reconstruct(chosen, grid, PER_MM, 0)[0] for chosen in (films, films[:1], films[1:])
    )
    assert (both - one).abs().mean() > 1e-3
    assert (one - other).abs().mean() > 1e-3


def test_an_oblique_film_is_read_on_an_upright_detector_of_the_same_rays() -> None:
    grid = Grid.cube(200, 16)
    film = ball_films(grid)[0]
    tilted = c_arm(grid, angles_deg=((20.0, 0.0), (90.0, 0.0)), pixels=96).views[0]
    upright = covering(tilted, grid, 48)
    places = np.stack(np.meshgrid(*map(grid.centers_mm, range(3)), indexing="ij"), -1)
    ball = torch.from_numpy((np.linalg.norm(places, axis=-1) < 60).astype(np.float32))[None]
    direct = Projector(upright, grid).forward(ball)[0].numpy()
    taken = Film(tilted, Projector(tilted, grid).forward(ball)[0].numpy()).onto(upright)
    seen = np.isfinite(taken.line_integrals)
    assert np.abs(taken.line_integrals - direct)[seen].mean() < 0.02 * direct.max()
    assert film.view.name != tilted.name


def test_a_film_on_its_own_detector_stays_as_it_is_and_coarser_ones_keep_the_mean() -> None:
    grid = Grid.cube(200, 16)
    film = ball_films(grid)[0]
    same = film.onto(film.view)
    np.testing.assert_allclose(same.line_integrals, film.line_integrals, atol=1e-4)
    coarse = film.onto(film.view.resized((8, 8)))
    assert coarse.line_integrals.mean() == pytest.approx(film.line_integrals.mean(), rel=0.02)


def test_beyond_its_edge_a_film_shows_nothing() -> None:
    film = ball_films(Grid.cube(200, 16))[0]
    wide = replace(
        film.view, origin_mm=film.view.origin_mm - 4 * film.view.u_mm, shape=(32, 40)
    )  # four columns more on each side
    seen = np.isfinite(film.onto(wide).line_integrals)
    assert seen[:, 4:-4].all()
    assert not seen[:, :3].any()
    assert not seen[:, -3:].any()


def test_calibration_makes_the_error_match_its_standard_deviation() -> None:
    torch.manual_seed(0)
    features = torch.cat([torch.ones(40000, 1), torch.randn(40000, 3)], dim=1).double()
    weights = torch.tensor([-2.0, 0.8, 0.3, -0.2]).double()
    error = torch.randn(40000) * torch.exp(features @ weights)
    fitted = Calibration.fit(features, error)
    assert fitted.weights == pytest.approx(weights.tolist(), abs=0.02)


def test_the_standard_deviation_is_larger_between_air_and_tissue_and_at_edges() -> None:
    density = torch.ones(1, 1, 12, 4, 4)
    density[:, :, 6:] = 0.0
    density[:, :, :2] = 0.55
    sigma = Calibration((-1.0, 0.0, 0.5, 0.5)).sigma(density, torch.zeros_like(density))[0, 0, :, 2, 2]
    assert sigma[6] > sigma[9]
    assert sigma[0] > sigma[9]
    careful = Calibration((-1.0, 0.0, 0.5, 0.5), floor=0.2).sigma(density, torch.zeros_like(density))
    assert careful[0, 0, 4, 2, 2] == pytest.approx(float(torch.hypot(sigma[4], torch.tensor(0.2))))
    assert careful[0, 0, 9, 2, 2] == pytest.approx(float(sigma[9]))  # air
    assert Calibration.from_record({"weights": [1, 2, 3, 4]}).weights == (1, 2, 3, 4)
    assert Calibration.from_record({"weights": [1, 2, 3, 4], "floor": 0.1}).floor == 0.1
    for wrong in ({"weights": [1]}, {"offset": 1}, 3):
        with pytest.raises(ValueError, match="must have weights"):
            Calibration.from_record(wrong)
