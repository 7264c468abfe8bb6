"""The bugs that the seed's history lists: for each a test that would have caught it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import cos, pi

import numpy as np
import pytest
import torch

from trifocal.xray.datasets.folders import list_patients
from trifocal.xray.film import Film
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.metrics import score
from trifocal.xray.models.config import COMPACT, build
from trifocal.xray.models.diffusion import Diffusion, DiffusionConfig
from trifocal.xray.models.feature_stats import EncoderCollapse, FeatureStats
from trifocal.xray.models.hybrid import HybridNet
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.losses import physics_loss
from trifocal.xray.models.resize import resized, token_grid
from trifocal.xray.predictor import XrayInput, XrayPredictor
from trifocal.xray.projection import Projectors
from trifocal.xray.training.crops import on_cube

TINY = replace(
    COMPACT,
    film_widths=(8, 12, 16),
    lifted=8,
    fine=8,
    local=(8, 8),
    local_blocks=(1, 1),
    expansion=2,
    dim=16,
    ratio=2,
)
SMALL_DIFFUSION = DiffusionConfig(widths=(8, 8))


class Told(torch.nn.Module):
    """Stands for a denoiser: answers by a rule, and keeps what it was asked."""

    def __init__(self, rule) -> None:
        super().__init__()
        self.rule = rule
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, when: torch.Tensor) -> torch.Tensor:
        noisy = x[:, :1]
        self.asked.append((noisy.clone(), when.clone()))
        return self.rule(noisy, when)


def share(when: float, config: DiffusionConfig = SMALL_DIFFUSION) -> float:
    """What is left of the signal's variance at a fraction of the schedule (Nichol and Dhariwal, eq. 17)."""
    at = [cos((t + 0.008) / 1.008 * pi / 2) ** 2 for t in (when, 0.0)]
    return max(at[0] / at[1], config.least_alpha)


def diffusion(rule, predicts: str = "epsilon") -> tuple[Diffusion, Told]:
    made = Diffusion(replace(SMALL_DIFFUSION, predicts=predicts))
    made.denoiser = Told(rule)
    return made, made.denoiser


def test_ddim_walks_along_the_line_between_volume_and_noise():
    """Bug 1: x_prev = x0 + sigma * output; it is sqrt(a_prev) x0 + sqrt(1 - a_prev) noise."""
    estimate = torch.zeros(1, 1, 4, 4, 4)
    start = torch.randn(estimate.shape, generator=torch.Generator().manual_seed(0))
    clean = torch.rand(estimate.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    a = share(1.0)
    noise = (start - a**0.5 * clean) / (1 - a) ** 0.5
    made, told = diffusion(lambda noisy, when: noise)
    out = made.sample(estimate, steps=10)
    assert len(told.asked) == 10
    for noisy, when in told.asked:
        a = share(float(when))
        torch.testing.assert_close(noisy, a**0.5 * clean + (1 - a) ** 0.5 * noise, atol=2e-3, rtol=0)
    torch.testing.assert_close(out, clean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_time_is_told_as_a_fraction_alike_in_training_and_in_sampling(steps):
    """Bug 2: the level was normalised in training and not in inference: it meant other noise there."""
    made, told = diffusion(lambda noisy, when: noisy)
    made.sample(torch.zeros(1, 1, 2, 2, 2), steps=steps)
    sampled = torch.cat([when for _, when in told.asked])
    assert ((sampled > 0) & (sampled <= 1)).all()

    torch.manual_seed(0)
    made, told = diffusion(lambda noisy, when: torch.zeros_like(noisy))
    made.loss(torch.ones(256, 1, 2, 2, 2), torch.zeros(256, 1, 2, 2, 2))  # residual 1 everywhere, scale 1
    noisy, when = told.asked[0]
    trained = torch.tensor([share(float(w)) ** 0.5 for w in when])  # mean of sqrt(a) 1 + noise
    off = noisy.mean((1, 2, 3, 4)) - trained
    assert off.abs().mean() < 0.4  # noise of 8 voxels: 0.35 at most
    assert ((when > 0) & (when <= 1)).all()
    assert set(sampled.tolist()) <= {float(made.when(torch.tensor(level))) for level in range(1000)}


def test_the_noise_follows_the_cosine_schedule():
    """Bug 3: a linear schedule, which leaves little signal at half time."""
    made, told = diffusion(lambda noisy, when: torch.zeros_like(noisy))
    torch.manual_seed(0)
    made.loss(torch.full((64, 1, 6, 6, 6), 3.0), torch.zeros(64, 1, 6, 6, 6))
    noisy, when = told.asked[0]
    left = noisy.mean((1, 2, 3, 4)) / 3
    expected = torch.tensor([share(float(w)) ** 0.5 for w in when])
    linear = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000), 0)[(when * 1000).long() - 1].sqrt()
    assert (left - expected).abs().mean() < 0.03
    assert (left - linear).abs().mean() > 0.1


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_something_of_the_volume_is_left_at_the_last_level(predicts):
    """Bug 4: a = 0 at the last level, and a division by its root: infinite or NaN."""
    made, told = diffusion(lambda noisy, when: noisy, predicts)
    torch.manual_seed(0)
    made.loss(torch.full((8000, 1, 1, 1, 1), 1000.0), torch.zeros(8000, 1, 1, 1, 1))  # all levels are drawn
    noisy, when = told.asked[0]
    last = noisy[when == when.max()].flatten() / 1000
    assert when.max() == made.when(torch.tensor(made.config.levels - 1))
    torch.testing.assert_close(last, torch.full_like(last, made.config.least_alpha**0.5), atol=6e-3, rtol=0)
    # A network that takes everything for noise leaves 0 / sqrt(a).
    assert torch.isfinite(made.sample(torch.zeros(1, 1, 4, 4, 4), steps=2)).all()


def test_every_volume_of_a_batch_has_the_velocity_of_its_own_level():
    """Bug 5: sqrt(a) of the batch was not broadcast over the volumes."""
    torch.manual_seed(3)
    residual = torch.randn(5, 1, 5, 5, 5)  # as many voxels along an axis as volumes: wrong axes would fit too
    torch.manual_seed(4)
    noise = torch.randn_like(residual)

    def velocity(noisy: torch.Tensor, when: torch.Tensor) -> torch.Tensor:
        each = []
        for i, w in enumerate(when):
            a = share(float(w))
            each.append(a**0.5 * noise[i] - (1 - a) ** 0.5 * residual[i])
        return torch.stack(each)

    made, told = diffusion(velocity, "v_prediction")
    torch.manual_seed(4)
    loss = made.loss(residual, torch.zeros_like(residual))
    assert len(set(told.asked[0][1].tolist())) == 5  # five different levels
    assert loss < 1e-5


def hybrid(**parts: bool) -> HybridNet:
    torch.manual_seed(0)
    made = build(replace(TINY, **parts))
    assert isinstance(made, HybridNet)
    return made


def scene(voxels: int = 16) -> tuple[Lift, Projectors]:
    made = frontal_and_lateral(Grid.cube(400, voxels), pixels=32)
    return Lift(made.views, made.grid), Projectors.of(made.views, made.grid)


def test_the_depth_boundaries_reach_the_volume():
    """Bug 6: boundaries were predicted and never used in the lifting."""
    net, (lift, _) = hybrid().eval(), scene()
    films = torch.rand(1, 2, 32, 32)
    before = net.detailed(films, lift)
    with torch.no_grad():
        for layer in net.enter.boundaries:
            layer.offsets.fill_(1.0)
    after = net.detailed(films, lift)
    assert after.boundaries[0].position[0, 1] > before.boundaries[0].position[0, 1] + 0.05
    assert (after.density - before.density).abs().max() > 1e-3
    after.density.square().mean().backward()
    assert all(layer.offsets.grad.abs().min() > 0 for layer in net.enter.boundaries)


@pytest.mark.parametrize("line_integral", [0.0, 500.0])
def test_what_is_given_out_stays_within_the_range_of_hu(line_integral):
    """Bug 7: the output was not limited; here 500 asks for metal many times denser than any."""
    grid = Grid.cube(64, 16)
    views = frontal_and_lateral(grid, pixels=32).views
    films = tuple(Film(view, np.full((32, 32), line_integral, np.float32)) for view in views)
    ct = XrayPredictor.load("least-squares").predict(XrayInput(films, grid)).ct.array
    assert ct.min() >= -1000
    assert ct.max() <= 3000
    assert (ct.max() == 3000) == (line_integral > 0)


@pytest.mark.parametrize("voxels", [64, 48, 36, 33, 21])
def test_coarse_features_lie_where_they_came_from(voxels):
    """Bug 8: a fixed factor of 8, whatever the size, shifted coarse features against the volume."""
    ramp = (torch.arange(voxels) + 0.5) / voxels  # place along the box, 0 to 1
    volume = ramp[:, None, None].expand(voxels, 4, 4)[None, None].contiguous()
    tokens = token_grid((voxels, 4, 4), 4, 16)
    there = resized(volume, tokens)
    back = resized(there, (voxels, 4, 4))
    inner = slice(voxels // 4, -(voxels // 4))
    assert (back - volume)[:, :, inner].abs().max() * voxels < 0.51  # of a voxel
    torch.testing.assert_close(there, 1 - there.flip(2))  # and the box's middle stays in the middle


def test_lung_and_bone_are_not_saturated():
    """Bug 9: the seed's cure, a window of [-200, 200] HU, makes all lung alike and all bone alike."""
    hu = np.array([-1000.0, -850, -700, -100, 0, 50, 300, 700, 1500], np.float32)
    grid = Grid((9, 1, 1), (10.0, 10.0, 10.0))
    density = on_cube((hu / 1000 + 1).reshape(9, 1, 1), grid, 9)["density"]
    told = 1000 * (density[:, 4, 4].numpy() - 1)
    np.testing.assert_allclose(told, hu, atol=1e-3)
    assert len(np.unique(np.clip(hu, -200, 200))) == 5  # of 9: what the window would have left


def test_a_wrong_lung_costs_in_the_reported_window():
    """Bug 9 again: at [-200, 200] HU a lung 250 HU off scores as perfect."""
    grid = Grid.cube(160, 16)
    truth = np.full(grid.shape, -1000.0, np.float32)
    truth[2:-2, 2:-2, 2:-2] = 40.0
    truth[4:-4, 4:-4, 4:-4] = -850.0
    wrong = np.where(truth == -850, np.float32(-600), truth)
    images = grid.image(wrong, "HU"), grid.image(truth, "HU")
    reported = score(*images)
    assert reported.window_hu == (-1000, 1000)
    share = (truth == -850).mean()
    assert reported.psnr_db == pytest.approx(20 * np.log10(2000 / (250 * share**0.5)), abs=0.01)
    assert score(*images, window_hu=(-200, 200)).psnr_db == np.inf


@pytest.mark.parametrize("most", [1, 3, 12, 10_000, None])
def test_no_more_patients_are_taken_than_asked_for(tmp_path, most):
    """Bug 10: max_patients was read from the configuration and never used."""
    for i in range(12):
        folder = tmp_path / f"patient-{i:02d}"
        folder.mkdir()
        for scan in ("first.nii.gz", "second.nii.gz"):
            (folder / scan).touch()
    found = list_patients(tmp_path, max_patients=most)
    assert [p.id for p in found] == [f"patient-{i:02d}" for i in range(min(most or 12, 12))]
    assert {len(p.scans) for p in found} == {2}  # patients are counted, not scans


def test_the_physics_loss_has_the_gradient_of_its_rays():
    """Bug 11: the projection gave no gradient, so that the term taught nothing."""
    _, projectors = scene(8)
    films = torch.stack(projectors.forward(torch.full((1, 8, 8, 8), 0.5)), 1) / 100
    density = torch.full((1, 1, 8, 8, 8), 0.7, requires_grad=True)
    before = physics_loss(density, films, projectors)
    before.backward()
    assert density.grad is not None
    assert (density.grad > 0).all()  # every voxel is too dense, and seen by a ray
    step = torch.zeros_like(density)
    step[0, 0, 3, 4, 5] = 1e-2
    moved = physics_loss((density + step).detach().double(), films.double(), projectors)
    still = physics_loss(density.detach().double(), films.double(), projectors)
    assert float(moved - still) / 1e-2 == pytest.approx(float(density.grad[0, 0, 3, 4, 5]), rel=1e-3)
    after = physics_loss(density - 0.1 * density.grad / density.grad.mean(), films, projectors)
    assert after < 0.6 * before


def balls(count: int, voxels: int = 16) -> torch.Tensor:
    """(count, 1, X, Y, Z) a ball of water each, of its own place and size."""
    random = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, voxels)
    place = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    middle = torch.rand(count, 3, 1, 1, 1, generator=random) - 0.5
    radius = 0.3 + 0.3 * torch.rand(count, 1, 1, 1, generator=random)
    return ((place - middle).norm(dim=1) < radius).float()[:, None]


def trained_features(*, batch_norm: bool) -> FeatureStats:
    net, (lift, projectors) = hybrid(batch_norm=batch_norm).train(), scene()
    density = balls(8)
    films = torch.stack(projectors.forward(density[:, 0]), 1) / 100
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(8):
        optimizer.zero_grad()
        (net(films, lift) - density).abs().mean().backward()
        optimizer.step()
    return FeatureStats.of(*net.detailed(films, lift).maps)


def test_an_encoder_without_batch_norm_collapses_and_it_is_said():
    """The bug behind the bugs: without normalisation the encoder's features shrink towards a constant."""
    stats = trained_features(batch_norm=False)
    assert stats.std < 0.1
    with pytest.warns(EncoderCollapse, match="std 0.0"):
        stats.warn_on_collapse()


def test_an_encoder_with_batch_norm_stays_alive_and_nothing_is_said():
    """The same training with normalisation."""
    stats = trained_features(batch_norm=True)
    assert stats.std > 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stats.warn_on_collapse()


def test_feature_statistics_are_those_of_the_values():
    stats = FeatureStats.of(torch.tensor([0.0, 0.005]), torch.tensor([[1.0, -1.0]]))
    assert stats.record() == pytest.approx(
        {"mean": 0.00125, "std": 0.8165, "min": -1, "max": 1, "sparsity": 0.5}, 1e-3
    )
    with pytest.warns(EncoderCollapse):
        FeatureStats.of(torch.full((4,), torch.nan)).warn_on_collapse()
