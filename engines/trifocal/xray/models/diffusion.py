"""Denoising diffusion of what a direct estimate missed: samples of plausible volumes, and their spread.

Not the volume is modelled but its residual, truth - estimate, in units of its own standard deviation, with
the estimate as a second channel. Noise is added as sqrt(a) x + sqrt(1 - a) e (Ho et al. 2020,
arXiv:2006.11239, eq. 4), with the cosine schedule for a (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17),
and taken away by DDIM (Song et al. 2020, arXiv:2010.02502, eq. 12). Noise is predicted (epsilon), or the
velocity sqrt(a) e - sqrt(1 - a) x (Salimans and Ho 2022, arXiv:2202.00512, appendix D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from trifocal.predictor import silent
from trifocal.xray.models.unet import Unet3d

if TYPE_CHECKING:
    from trifocal.predictor import Progress


@dataclass(frozen=True)
class DiffusionConfig:
    """Size and schedule.

    Attributes:
        predicts: What the network answers with: the noise, or the velocity.
        levels: Noise levels in training.
        schedule: MONAI's name of it.
        least_alpha: Floor of the cumulative product a. An error of the predicted noise is divided by sqrt(a);
            at a = 0 nothing of the volume is left to divide.
        widths: Channels of the U-Net's levels, finest first.
        blocks: Residual blocks on each level.
        limit: Residuals are kept within so many standard deviations while sampling.
        steps: Of DDIM, unless said otherwise.
    """

    predicts: Literal["epsilon", "v_prediction"] = "epsilon"
    levels: int = 1000
    schedule: str = "cosine"
    least_alpha: float = 1e-2
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    limit: float = 4.0
    steps: int = 50

    def __post_init__(self) -> None:
        if self.predicts not in ("epsilon", "v_prediction"):
            msg = f'predicts must be "epsilon" or "v_prediction", got {self.predicts!r}'
            raise ValueError(msg)
        if not 0 < self.least_alpha < 1:
            msg = f"least_alpha must be between 0 and 1, got {self.least_alpha}"
            raise ValueError(msg)


class Diffusion(nn.Module):
    """The residual of an estimate as a distribution.

    Attributes:
        scale: Standard deviation of the residual, in density; set it from the training data by `measure`.
    """

    scale: Tensor

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiffusionConfig()
        self.denoiser = Unet3d(2, 1, config.widths, blocks=config.blocks, timed=True)
        self.register_buffer("scale", torch.ones(()))
        self._noise = _scheduler(config)

    def measure(self, truth: Tensor, estimate: Tensor) -> None:
        """Take the scale from true and estimated densities of any shape."""
        self.scale.copy_((truth - estimate).float().square().mean().sqrt().clamp(min=1e-6))

    def when(self, level: Tensor) -> Tensor:
        """Noise levels 0 .. levels - 1 as fractions of the schedule: the same in training and sampling."""
        return (level + 1).float() / self.config.levels

    def forward(self, noisy: Tensor, estimate: Tensor, level: Tensor) -> Tensor:
        """Predict noise or velocity.

        Args:
            noisy: (B, 1, X, Y, Z) noisy residual in units of `scale`.
            estimate: (B, 1, X, Y, Z) density.
            level: (B,) whole numbers, 0 (clean) to levels - 1 (noise).
        """
        told: Tensor = self.denoiser(torch.cat([noisy, estimate], dim=1), self.when(level))
        return told

    def loss(self, truth: Tensor, estimate: Tensor) -> Tensor:
        """Mean squared error of the prediction at a random noise level for each volume; takes torch's seed.

        Args:
            truth: (B, 1, X, Y, Z) density.
            estimate: The same, of the direct model; no gradient goes into it.
        """
        estimate = estimate.detach()
        residual = (truth - estimate) / self.scale
        noise = torch.randn_like(residual)
        level = torch.randint(self.config.levels, (len(truth),), device=truth.device)
        noisy = self._noise.add_noise(residual, noise, level)
        wanted = noise
        if self.config.predicts == "v_prediction":
            wanted = self._noise.get_velocity(residual, noise, level)
        return mse_loss(self(noisy, estimate, level).float(), wanted)

    def sample(
        self, estimate: Tensor, *, steps: int | None = None, seed: int = 0, progress: Progress = silent
    ) -> Tensor:
        """Draw one plausible volume for each estimate (B, 1, X, Y, Z); see `samples`."""
        return self.samples(estimate, 1, steps=steps, seed=seed, progress=progress)[0]

    @torch.no_grad()
    def samples(
        self,
        estimate: Tensor,
        count: int,
        *,
        steps: int | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Tensor:
        """Draw (count, B, 1, X, Y, Z): their mean refines the estimate, their spread says how sure it is.

        Args:
            estimate: Density of the direct model.
            count: Of samples, which are denoised together.
            steps: Of DDIM; the configured number if None.
            seed: Sample i starts from the noise of seed + i; the only randomness.
            progress: Called after each step.

        Raises:
            ValueError: If there are fewer than 1 or more than a tenth of the noise levels as steps.
        """
        if count < 1:
            msg = f"count must be 1 or more, got {count}"
            raise ValueError(msg)
        steps = self.config.steps if steps is None else steps
        levels = sampled_levels(steps, self.config.levels)
        ddim = self._noise
        ddim.set_timesteps(steps)
        seeded = [torch.Generator().manual_seed(seed + i) for i in range(count)]
        x = torch.cat([torch.randn(estimate.shape, generator=g) for g in seeded]).to(estimate)
        repeated = estimate.repeat(count, 1, 1, 1, 1)  # (count * B, 1, X, Y, Z)
        for i, level in enumerate(levels):
            told = self(x, repeated, torch.full((len(x),), level, device=x.device)).float()
            x, _ = ddim.step(told, level, x)
            progress((i + 1) / steps, f"denoising, step {i + 1} of {steps}")
        return (repeated + self.scale * x).reshape(count, *estimate.shape)


def sampled_levels(steps: int, levels: int) -> list[int]:
    """Noise levels of DDIM from noise to clean, evenly spaced: the step from each ends exactly at the next.

    MONAI's `DDIMScheduler.step` always goes down by levels // steps, while its `set_timesteps` spreads the
    levels by (levels - 1) / (steps - 1): with 7 of 1000 the network would be told 833 where the noise is that
    of 857. So the levels are chosen here.

    Raises:
        ValueError: If there are fewer than 1 or more than a tenth of the levels as steps.
    """
    if not 1 <= steps <= levels // 10:
        msg = f"steps must be 1 to {levels // 10} for {levels} noise levels, got {steps}"
        raise ValueError(msg)
    stride = levels // steps
    return [stride * (i + 1) - 1 for i in reversed(range(steps))]


def _scheduler(config: DiffusionConfig) -> Any:
    """MONAI's DDIM with the cumulative product kept off 0; training and sampling share it."""
    from monai.networks.schedulers.ddim import DDIMScheduler

    made = DDIMScheduler(
        num_train_timesteps=config.levels,
        schedule=config.schedule,
        prediction_type=config.predicts,
        clip_sample_min=-config.limit,
        clip_sample_max=config.limit,
    )
    made.alphas_cumprod = made.alphas_cumprod.clamp(min=config.least_alpha)
    return made
