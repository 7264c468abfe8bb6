"""The diffusion: schedule and sampler on Gaussians, whose denoiser is known; and that the network learns."""

from __future__ import annotations

import pytest
import torch

from trifocal.predictor import Cancelled
from trifocal.xray.models.diffusion import Diffusion, DiffusionConfig, sampled_levels
from trifocal.xray.models.unet import Unet3d

BOTH = ("epsilon", "v_prediction")
SMALL = {"widths": (8, 16), "levels": 200}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Gaussian(Diffusion):
    """Knows that every voxel of the residual is N(mean, std): the best prediction in closed form."""

    def __init__(self, mean, std, predicts, levels=1000):
        super().__init__(DiffusionConfig(predicts=predicts, widths=(8,), levels=levels))
        self.mean, self.std = mean, std

    def forward(self, noisy, estimate, level):
        a = self._noise.alphas_cumprod[level].reshape(-1, 1, 1, 1, 1)
        # x = sqrt(a) r + sqrt(1 - a) e with r ~ N(mean, std^2): E[r | x], and e and v from it
        gain = a.sqrt() * self.std**2 / (a * self.std**2 + 1 - a)
        residual = self.mean + gain * (noisy - a.sqrt() * self.mean)
        noise = (noisy - a.sqrt() * residual) / (1 - a).sqrt()
        return noise if self.config.predicts == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * residual


@pytest.mark.parametrize("predicts", BOTH)
@pytest.mark.parametrize("steps", [50, 100])
def test_samples_of_a_gaussian_have_its_mean_and_spread(predicts, steps):
    diffusion = Gaussian(0.5, 0.3, predicts)
    drawn = diffusion.sample(torch.zeros(1, 1, 20, 20, 20), steps=steps, seed=1)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.std().item() == pytest.approx(0.3, rel=0.08)


@pytest.mark.parametrize("predicts", BOTH)
def test_a_residual_that_is_known_is_found_in_any_number_of_steps(predicts):
    for steps in (1, 3, 7, 20):
        drawn = Gaussian(-0.7, 1e-6, predicts, 200).sample(torch.ones(2, 1, 4, 4, 4), steps=steps)
        assert torch.allclose(drawn, torch.full_like(drawn, 0.3), atol=2e-3)


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 33, 47, 50, 100])
def test_each_step_of_the_sampler_ends_at_the_level_that_the_network_is_told_next(steps):
    levels = sampled_levels(steps, 1000)
    assert len(levels) == steps
    stride = 1000 // steps  # what MONAI's step goes down by
    assert [level - stride for level in levels] == [*levels[1:], -1]
    assert levels[0] >= 900  # begins in noise


def test_a_number_of_steps_that_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="steps must be 1 to 100"):
        sampled_levels(101, 1000)
    with pytest.raises(ValueError, match="count must be 1 or more"):
        Diffusion(DiffusionConfig(**SMALL)).samples(torch.zeros(1, 1, 4, 4, 4), 0)


def test_the_cosine_schedule_never_reaches_zero():
    kept = Diffusion(DiffusionConfig(widths=(8,)))._noise.alphas_cumprod
    bare = Diffusion(DiffusionConfig(widths=(8,), least_alpha=1e-12))._noise.alphas_cumprod
    assert bare[-1] < 1e-8
    assert kept.min() == pytest.approx(1e-2)
    t = torch.arange(1, 901) / 1000
    cosine = (
        torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2
        / torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2)) ** 2
    )
    assert torch.allclose(kept[:900], cosine, atol=1e-3)


def test_training_and_sampling_tell_the_network_the_same_levels():
    diffusion = Diffusion(DiffusionConfig(**SMALL))
    told = []
    diffusion.denoiser.register_forward_hook(lambda _m, args, _out: told.append(args[1]))
    estimate = torch.rand(64, 1, 4, 4, 4)
    diffusion.loss(estimate + 0.1 * torch.randn_like(estimate), estimate)
    trained = told.pop()
    assert trained.min() > 0
    assert trained.max() <= 1
    diffusion.sample(estimate, steps=20)
    sampled = [float(when[0]) for when in told]
    assert sampled == pytest.approx([(i + 1) / 20 for i in reversed(range(20))])


def test_noise_and_velocity_follow_each_volumes_own_level():
    diffusion = Diffusion(DiffusionConfig(predicts="v_prediction", **SMALL))
    residual, noise = torch.randn(3, 1, 2, 2, 2), torch.randn(3, 1, 2, 2, 2)
    level = torch.tensor([0, 100, 199])
    noisy = diffusion._noise.add_noise(residual, noise, level)
    velocity = diffusion._noise.get_velocity(residual, noise, level)
    for i, a in enumerate(diffusion._noise.alphas_cumprod[level]):
        assert torch.allclose(noisy[i], a.sqrt() * residual[i] + (1 - a).sqrt() * noise[i])
        assert torch.allclose(velocity[i], a.sqrt() * noise[i] - (1 - a).sqrt() * residual[i])


def test_equal_seeds_give_equal_samples_and_others_differ():
    diffusion = Gaussian(0.0, 0.5, "epsilon", 200)
    estimate = torch.zeros(1, 1, 4, 4, 4)
    one, same = (diffusion.sample(estimate, steps=5, seed=3) for _ in range(2))
    drawn = diffusion.samples(estimate, 3, steps=5, seed=3)
    assert torch.equal(one, same)
    assert torch.allclose(drawn[0], one)
    assert drawn.std(0).min() > 0


def test_the_scale_is_that_of_the_residual():
    diffusion = Diffusion(DiffusionConfig(**SMALL))
    truth = torch.rand(2, 1, 4, 4, 4)
    diffusion.measure(truth, truth - 0.25)
    assert float(diffusion.scale) == pytest.approx(0.25)
    assert "scale" in diffusion.state_dict()


def test_sampling_reports_its_steps_and_stops_when_it_is_told_to():
    seen = []

    def stop(done, what):
        seen.append((done, what))
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        Gaussian(0, 1, "epsilon", 200).samples(torch.zeros(1, 1, 2, 2, 2), 2, steps=5, progress=stop)
    assert seen == [(pytest.approx(0.2 * i), f"denoising, step {i} of 5") for i in (1, 2, 3)]


@pytest.mark.parametrize("predicts", BOTH)
def test_it_learns_a_residual_that_follows_from_the_estimate(predicts):
    torch.manual_seed(0)
    diffusion = Diffusion(DiffusionConfig(predicts=predicts, **SMALL))
    optimizer = torch.optim.AdamW(diffusion.parameters(), 4e-3)

    def pair(count):
        estimate = torch.randint(0, 2, (count, 1, 1, 1, 1)).float().expand(-1, 1, 8, 8, 8)
        return estimate + 0.2 * (2 * estimate - 1), estimate  # empty goes down, full goes up

    diffusion.measure(*pair(8))
    losses = []
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 250)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = diffusion.loss(*pair(8))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    truth, estimate = pair(6)
    drawn = diffusion.sample(estimate, steps=10)
    assert sum(losses[-20:]) / 20 < 0.5  # 1 for a network that knows nothing
    assert (drawn - truth).abs().mean() < 0.7 * (estimate - truth).abs().mean()


def test_a_network_without_norms_sees_no_farther_than_its_reach():
    torch.manual_seed(0)
    net = Unet3d(1, 1, (8, 8, 8), norms=False)
    torch.nn.init.normal_(net.head.weight)
    x = torch.zeros(1, 1, 64, 4, 4)
    changed = x.clone()
    changed[:, :, 31] = 1
    with torch.no_grad():
        moved = (net(changed) - net(x)).abs().amax(dim=(0, 1, 3, 4))
    reached = torch.nonzero(moved)[:, 0]
    assert 31 - reached.min() <= net.reach
    assert reached.max() - 31 <= net.reach
    assert 31 - reached.min() > net.reach / 3  # and is not stated far too wide


def test_any_size_goes_through_the_network():
    net = Unet3d(2, 3, (8, 16, 24), timed=True)
    assert net(torch.zeros(1, 2, 5, 6, 7), torch.ones(1)).shape == (1, 3, 5, 6, 7)
    with pytest.raises(ValueError, match="must be told the noise level"):
        net(torch.zeros(1, 2, 4, 4, 4))
    with pytest.raises(ValueError, match="multiples of 8"):
        Unet3d(1, 1, (12,))
