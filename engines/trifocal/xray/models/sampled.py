"""A direct network and the diffusion of what it misses, as one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trifocal.predictor import silent
from trifocal.xray.models.cost import Cost, measured
from trifocal.xray.models.diffusion import Diffusion, DiffusionConfig

if TYPE_CHECKING:
    from trifocal.predictor import Progress
    from trifocal.xray.models.lift import Lift


class SampledNet(nn.Module):
    """Films -> the base's estimate -> samples around it.

    Attributes:
        base: Films and lift to density.
        diffusion: Of truth - estimate.
        count: Samples that `forward` takes the mean of.
        steps: Of DDIM for each.
    """

    def __init__(
        self,
        base: nn.Module,
        config: DiffusionConfig | None = None,
        *,
        count: int = 4,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.diffusion = Diffusion(config)
        self.count = count
        self.steps = self.diffusion.config.steps if steps is None else steps

    def forward(self, films: Tensor, lift: Lift, previous: Tensor | None = None) -> Tensor:
        """The refined density (B, 1, X, Y, Z): the mean of `count` samples."""
        return self.samples(films, lift, previous).mean(0)

    def samples(
        self,
        films: Tensor,
        lift: Lift,
        previous: Tensor | None = None,
        *,
        count: int | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Tensor:
        """(count, B, 1, X, Y, Z) plausible densities; their standard deviation is the uncertainty."""
        estimate = self.base(films, lift, previous).float().clamp(0, 4)  # as it was trained on
        return self.diffusion.samples(
            estimate, count or self.count, steps=steps or self.steps, seed=seed, progress=progress
        )

    def cost(
        self,
        voxels: int,
        device: torch.device | str = "cpu",
        *,
        count: int | None = None,
        steps: int | None = None,
    ) -> Cost:
        """What the samples of a cube of voxels^3 will take, the base apart: state it before they start."""
        small, many = min(32, voxels), count or self.count
        x = torch.zeros(many, 1, small, small, small, device=device)
        level = torch.zeros(many, dtype=torch.long, device=device)
        once = measured(self.diffusion, lambda: self.diffusion(x, x, level)).on((voxels / small) ** 3)
        every = once.repeated(steps or self.steps)
        return Cost(every.seconds, every.bytes + 4.0 * voxels**3 * (many + 4))
