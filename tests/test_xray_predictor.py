"""Films in, a volume with its doubts out: by least squares, and by a network that has learned nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trifocal import checkpoint
from trifocal.checkpoint import CheckpointError
from trifocal.predictor import Cancelled
from trifocal.xray.attenuation import mu_water
from trifocal.xray.film import Film
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.models.lifting import LiftingConfig, LiftingEnsemble
from trifocal.xray.models.saved import lifting_record
from trifocal.xray.predictor import XrayInput, XrayPredictor
from trifocal.xray.projection import Projector

GRID = Grid((16, 14, 12), (12.0, 12.0, 12.0), (5.0, -8.0, 100.0))
CENTER_MM = (20.0, 0.0, 90.0)


def ball(grid: Grid = GRID) -> np.ndarray:
    """Density of a ball of water of 50 mm radius in air."""
    places = np.stack(np.meshgrid(*map(grid.centers_mm, range(3)), indexing="ij"), -1)
    return (np.linalg.norm(places - CENTER_MM, axis=-1) < 50).astype(np.float32)


def films(grid: Grid = GRID, **geometry: object) -> tuple[Film, ...]:
    views = frontal_and_lateral(grid, pixels=32, **geometry).views  # type: ignore[arg-type]
    mu = torch.from_numpy(ball(grid))[None] * mu_water(70.0)
    return tuple(Film(v, Projector(v, grid).forward(mu)[0].numpy(), 0.0) for v in views)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory):
    torch.manual_seed(0)
    net = LiftingEnsemble(
        LiftingConfig((16, 16, 16, 16), lifted=4, solid=(16, 16, 16), fine=16, first_steps=2, dropout=0.2)
    )
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = lifting_record(net.config, 1, 16)
    checkpoint.save(path, net.state_dict(), engine="xray", config=config, card={})
    return path


def test_least_squares_finds_the_ball_in_its_place() -> None:
    found = XrayPredictor.load("least-squares", device="cpu").predict(XrayInput(films(), GRID))
    density = found.ct.array / 1000 + 1
    weight = density / density.sum()
    middle = [(weight.sum(tuple({0, 1, 2} - {a})) * GRID.centers_mm(a)).sum() for a in range(3)]
    assert middle == pytest.approx(CENTER_MM, abs=3)
    assert density.sum() == pytest.approx(ball().sum(), rel=0.05)
    assert found.ct.unit == "HU"
    np.testing.assert_array_equal(found.ct.affine, GRID.affine)
    assert max(view.residual for view in found.views) < 0.08


@pytest.mark.parametrize("frontal", ["AP", "PA"])
def test_the_frontal_side_changes_the_rays_but_not_the_place(frontal: str) -> None:
    predictor = XrayPredictor.load("least-squares", device="cpu")
    found = predictor.predict(XrayInput(films(frontal=frontal, source_to_detector_mm=900.0), GRID))
    i, j, k = np.unravel_index(np.argmax(found.ct.array), GRID.shape)
    assert GRID.affine[:3, :3] @ (i, j, k) + GRID.affine[:3, 3] == pytest.approx(CENTER_MM, abs=30)


def test_the_refinement_brings_the_volume_to_the_films_and_keeps_what_was_before(weights) -> None:
    predictor = XrayPredictor.load(weights, device="cpu")
    raw = predictor.predict(XrayInput(films(), GRID, refine=0, samples=0))
    fine = predictor.predict(XrayInput(films(), GRID, refine=10, samples=0))
    np.testing.assert_array_equal(raw.ct.array, raw.network.array)
    np.testing.assert_allclose(fine.network.array, raw.network.array, atol=1e-2)
    for before, after in zip(raw.views, fine.views, strict=True):
        assert before.residual == before.residual_before
        assert after.residual_before == pytest.approx(before.residual, rel=1e-4)
        assert after.residual < 0.5 * after.residual_before


def test_a_prediction_has_an_error_a_null_space_and_the_same_grid_everywhere(weights) -> None:
    found = XrayPredictor.load(weights, device="cpu").predict(XrayInput(films(), GRID, samples=2))
    for image in (found.ct, found.std, found.null_space, found.network):
        assert image.shape == GRID.shape
        np.testing.assert_array_equal(image.affine, GRID.affine)
        assert np.isfinite(image.array).all()
    assert found.std.array.min() > 0
    assert 0 <= found.null_space.array.min() <= found.null_space.array.max() <= 1
    assert found.weights_sha256


def test_the_same_films_give_the_same_answer_again(weights) -> None:
    predictor = XrayPredictor.load(weights, device="cpu")
    one, two = (predictor.predict(XrayInput(films(), GRID, samples=3)) for _ in range(2))
    np.testing.assert_array_equal(one.ct.array, two.ct.array)
    np.testing.assert_array_equal(one.std.array, two.std.array)


def test_one_film_alone_is_reconstructed_and_said_to_be_one(weights) -> None:
    predictor = XrayPredictor.load(weights, device="cpu")
    for i in (0, 1):
        found = predictor.predict(XrayInput(films()[i : i + 1], GRID, samples=0))
        assert "alone" in found.warnings[0]
        assert len(found.views) == 1


def test_films_in_the_wrong_order_or_of_one_side_are_refused() -> None:
    frontal, lateral = films()
    for wrong in ((lateral, frontal), (frontal, frontal), (lateral, lateral)):
        with pytest.raises(ValueError, match="frontal and a lateral"):
            XrayInput(wrong, GRID)
    with pytest.raises(ValueError, match="one film or two"):
        XrayInput((), GRID)


def test_a_film_beside_the_volume_is_refused() -> None:
    frontal, lateral = films()
    away = replace(frontal, view=replace(frontal.view, origin_mm=frontal.view.origin_mm + [5000, 0, 0]))
    with pytest.raises(ValueError, match="shows nothing of the volume"):
        XrayPredictor.load("least-squares", device="cpu").predict(XrayInput((away, lateral), GRID))


def test_films_that_contradict_each_other_are_noticed() -> None:
    frontal, lateral = films()
    flipped = replace(lateral, line_integrals=lateral.line_integrals[::-1].copy())
    found = XrayPredictor.load("least-squares", device="cpu").predict(XrayInput((frontal, flipped), GRID))
    assert any("does not explain" in warning for warning in found.warnings)


def test_a_finer_grid_than_the_network_s_is_answered_on_that_grid(weights) -> None:
    grid = GRID.with_voxels((32, 28, 24))
    found = XrayPredictor.load(weights, device="cpu").predict(XrayInput(films(), grid, samples=0, refine=2))
    assert found.ct.shape == grid.shape


def test_cancel_ends_the_prediction(weights) -> None:
    def stop(fraction: float, what: str) -> None:
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        XrayPredictor.load(weights, device="cpu").predict(XrayInput(films(), GRID), progress=stop)


def test_weights_of_another_kind_are_refused(tmp_path) -> None:
    path = tmp_path / "other.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, engine="xray", config={"kind": "lifting"}, card={})
    with pytest.raises(CheckpointError, match="must describe one of"):
        XrayPredictor.load(path, device="cpu")
