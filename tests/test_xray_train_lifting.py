"""The bundled recipe at a tiny size: it learns, goes on where it stopped, and its checkpoint predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from trifocal import io
from trifocal.image import Image
from trifocal.training import Plan
from trifocal.xray.attenuation import mu_water
from trifocal.xray.film import Film
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.models.lifting import LiftingConfig
from trifocal.xray.models.refiner import RefinerConfig
from trifocal.xray.predictor import XrayInput, XrayPredictor
from trifocal.xray.projection import Projector
from trifocal.xray.training.crops import EDGE_MM, Crops, Scene, imperfect, on_cube, tighter
from trifocal.xray.training.lifting import LiftingRecipe, nearest_consistent, train_lifting

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = LiftingRecipe(
    Plan(epochs=3, batch_size=2, learning_rate=2e-3, validate_every=3.0),
    network=LiftingConfig((16, 16, 16, 16), lifted=4, solid=(16, 16, 16), fine=16, first_steps=2),
    refiner=RefinerConfig(flat=8, lifted=4, widths=(8, 8)),
    members=1,
    voxels=32,
    variants=2,
    validation_volumes=2,
)


def trunk(seed: int) -> Image:
    """An ellipse of water with two lungs, 12 mm voxels."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.arange(-200, 200, 12.0)] * 3, indexing="ij")
    wide, deep = rng.uniform(130, 170), rng.uniform(80, 110)
    hu = np.where((x / wide) ** 2 + (y / deep) ** 2 < 1, rng.uniform(0, 60), -1000.0)
    for side in (-1, 1):
        lung = ((x - side * wide / 2) / 45) ** 2 + (y / (deep - 30)) ** 2 + ((z - 20) / 110) ** 2 < 1
        hu[lung] = rng.uniform(-880, -780)
    affine = np.diag([12.0, 12, 12, 1])
    affine[:3, 3] = -200
    return Image(hu.astype(np.float32), affine, "HU")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("trunks")
    for seed in range(8):
        io.write(trunk(seed), folder / f"{seed}.nii")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def trained(volumes: list[Path], tmp_path_factory: pytest.TempPathFactory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    fits, stored = train_lifting(volumes, out, RECIPE, device="cpu")
    return out, fits, stored


def test_it_learns_and_says_how_well(trained) -> None:
    _, fits, stored = trained
    member, fine = fits
    assert member.rows[-1]["train_loss"] < member.rows[0]["train_loss"]
    assert fine.steps == 9
    figures = stored.card["validation"]
    assert figures["refined_mae_hu"] < figures["network_mae_hu"]
    assert {"volumes": 6, "validation_volumes": 2}.items() <= stored.card["data"].items()
    assert len(stored.config["calibration"]["weights"]) == 4


def test_its_checkpoint_predicts_with_an_error(trained) -> None:
    out, _, stored = trained
    grid = Grid.cube(380, 32)
    mu = torch.from_numpy(trunk(99).resample(grid.affine, grid.shape, fill=-1000).array / 1000 + 1)[None]
    views = frontal_and_lateral(grid, pixels=64).views
    lines = [Projector(v, grid).forward(mu * mu_water(70.0))[0].numpy() for v in views]
    films = tuple(Film(v, p, 0.0) for v, p in zip(views, lines, strict=True))
    found = XrayPredictor.load(out / "xray.safetensors", device="cpu").predict(XrayInput(films, grid))
    assert found.weights_sha256 == stored.sha256
    assert found.std.array.min() > 0
    assert max(view.residual for view in found.views) < 0.1


def test_a_finished_run_is_not_trained_again(trained, volumes: list[Path]) -> None:
    out, fits, stored = trained
    again, same = train_lifting(volumes, out, RECIPE, device="cpu")
    assert [f.steps for f in again] == [f.steps for f in fits]
    assert same.sha256 == stored.sha256


def test_too_few_volumes_are_refused(volumes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than the 2 volumes that validate, got 2"):
        train_lifting(volumes[:2], tmp_path, RECIPE)


def test_another_plan_in_the_same_folder_is_refused(trained, volumes: list[Path]) -> None:
    out, _, _ = trained
    other = replace(RECIPE, plan=replace(RECIPE.plan, learning_rate=1e-3))
    with pytest.raises(ValueError, match="another"):
        train_lifting(volumes, out, other, device="cpu")


def test_steps_towards_the_films_take_out_what_they_see_and_let_gradients_through() -> None:
    scene = Scene.usual(16)
    truth = torch.zeros(1, 16, 16, 16)
    truth[:, 4:12, 5:11, 3:13] = 1.0
    films = scene.films(truth)
    start = (truth + 0.3 * (truth > 0)).requires_grad_()  # too dense by 30 %
    fitted = nearest_consistent(scene, start, films, 5)
    off = [
        (a - b).abs().mean() for a, b in zip(scene.projectors.forward(fitted), 100 * films[0], strict=True)
    ]
    was = [(a - b).abs().mean() for a, b in zip(scene.projectors.forward(start), 100 * films[0], strict=True)]
    assert sum(off) < 0.3 * sum(was)
    fitted.square().sum().backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()


def test_a_film_that_is_missing_is_not_followed() -> None:
    scene = Scene.usual(16)
    start = torch.rand(1, 16, 16, 16)
    blank = torch.zeros(1, 2, 32, 32)
    torch.testing.assert_close(nearest_consistent(scene, start, blank, 3), start)


def test_imperfect_films_are_noisy_missing_or_clean_and_never_negative() -> None:
    torch.manual_seed(0)
    films = Scene.usual(16).films(torch.rand(1, 16, 16, 16)).expand(200, -1, -1, -1)
    taken = imperfect(films)
    assert taken.min() >= 0
    missing = (taken.flatten(2).amax(2) == 0).float().mean()
    clean = (taken == films).flatten(1).all(1).float().mean()
    assert missing == pytest.approx(0.025, abs=0.02)
    assert clean == pytest.approx(0.47, abs=0.1)
    off = (taken - films).abs()[(taken > 0) & (taken != films)] / films.max()
    assert 0.001 < off.mean() < 0.1


def test_crops_follow_from_seed_epoch_and_index_and_lie_in_the_middle_of_the_cube() -> None:
    image = trunk(1)
    one, two = (Crops([lambda: image], voxels=16, seed=s, per_volume=4) for s in (0, 0))
    np.testing.assert_array_equal(one[2]["density"], two[2]["density"])
    two.set_epoch(1)
    assert not np.array_equal(one[2]["density"], two[2]["density"])
    crop = on_cube(np.ones((16, 10, 7), np.float32), Grid((16, 10, 7), (5.0, 5.0, 5.0)), 16)
    assert crop["inside"].sum() == 16 * 10 * 7
    assert crop["inside"][0, 3, 4]
    assert not crop["inside"][0, 2, 4]
    assert crop["edge_mm"] == 80


def test_a_tighter_crop_keeps_the_middle_and_cubic_voxels() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((60, 64, 50), (5.0, 5.0, 5.0), (1.0, 2.0, 3.0))
    for _ in range(20):
        cut = tighter(grid, rng, 64)
        assert cut.center_mm == grid.center_mm
        assert len(set(cut.spacing_mm)) == 1
        assert max(cut.shape) == 64
        assert (cut.extent_mm <= grid.extent_mm + 1e-6).all()
        assert cut.extent_mm[0] >= 0.7 * grid.extent_mm[0]


def test_random_scenes_see_the_whole_cube() -> None:
    torch.manual_seed(1)
    for _ in range(20):
        scene = Scene.random(16)
        assert scene.lift.grid.extent_mm == pytest.approx([EDGE_MM] * 3)
        assert all(p.separable for p in scene.projectors.each)
        shadow = scene.films(torch.ones(1, 16, 16, 16))[0]
        assert shadow.amax() < 1.4 * EDGE_MM / 100
        assert shadow[:, 32 // 2, 32 // 2].min() > 0.9 * EDGE_MM / 100
