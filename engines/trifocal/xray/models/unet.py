"""A small 3-D U-Net: the denoiser of the diffusion, and the refiner of the cascade's later stages."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

TIMES = 64  # numbers that tell the network how noisy its input is
GROUPS = 8


class Unet3d(nn.Module):
    """Residual blocks on levels of falling resolution, joined by addition on the way up; starts out as zero.

    Any size goes in: the finest level is padded to what the coarsest needs. (MONAI's DiffusionModelUNet would
    do, but needs einops, and took 9.5 s for one pass at 64^3 on a CPU.)

    Attributes:
        reach: Voxels to each side that an output voxel may depend on, where there are no norms.

    Args:
        channels: Of the input.
        out: Channels of the output.
        widths: Channels of each level, finest first, multiples of 8; 16 and more are fast on a CPU.
        blocks: Residual blocks on each level, on the way down and again on the way up.
        timed: Each block is told the noise level.
        norms: Group norms. They tie every voxel to the statistics of the whole input: no patches then.

    Raises:
        ValueError: If the widths are not multiples of 8.
    """

    def __init__(
        self,
        channels: int,
        out: int = 1,
        widths: tuple[int, ...] = (16, 32, 64),
        *,
        blocks: int = 1,
        timed: bool = False,
        norms: bool = True,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < GROUPS or any(w % GROUPS for w in widths) or blocks < 1:
            msg = f"widths must be multiples of {GROUPS}, with 1 block or more, got {widths}, {blocks} blocks"
            raise ValueError(msg)
        self.timed = timed
        self.stem = nn.Conv3d(channels, widths[0], 3, padding=1)
        self.time = nn.Sequential(nn.Linear(TIMES, 2 * TIMES), nn.SiLU()) if timed else None
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.before, self.after = (
            nn.ModuleList(_Level(_Block(w, timed, norms) for _ in range(blocks)) for w in levels)
            for levels in (widths, widths[:-1])
        )
        self.head = nn.Conv3d(widths[0], out, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        # two convolutions a block; the stem; and the corners of the cells of the coarser levels
        sums = [2 * blocks * 2**level for level in range(len(widths))]
        self.reach = 1 + 2 * sum(sums) - sums[-1] + 2 ** (len(widths) - 1) - 1

    def forward(self, x: Tensor, when: Tensor | None = None) -> Tensor:
        """(B, channels, X, Y, Z) and, if timed, noise levels (B,) from 0 to 1 -> (B, out, X, Y, Z)."""
        size = x.shape[2:]
        step = 2 ** len(self.down)
        x = pad(x, [side for n in reversed(size) for side in (0, -n % step)])
        told = None if self.time is None else self.time(_sines(_given(when)))  # (B, 2 TIMES)
        x, kept = self.stem(x), []
        for level, blocks in enumerate(self.before):
            if level:
                kept.append(x)
                x = self.down[level - 1](x)
            x = blocks(x, told)
        for level in reversed(range(len(self.after))):
            x = kept.pop() + interpolate(self.up[level](x), scale_factor=2, mode="nearest")
            x = self.after[level](x, told)
        out: Tensor = self.head(x)[..., : size[0], : size[1], : size[2]]
        return out


class _Level(nn.ModuleList):
    """Blocks one after the other."""

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """(B, width, x, y, z) -> the same."""
        for block in self:
            x = block(x, told)
        return x


class _Block(nn.Module):
    """x + conv(act(shift(conv(act(norm(x)))))); the shift says how noisy the input is."""

    def __init__(self, width: int, timed: bool, norms: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width) if norms else nn.Identity()
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.shift = nn.Linear(2 * TIMES, width) if timed else None
        self.second = nn.Conv3d(width, width, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, told: Tensor | None) -> Tensor:
        """(B, width, x, y, z) -> the same."""
        y = self.first(self.act(self.norm(x)))
        if self.shift is not None:
            y = y + self.shift(told)[..., None, None, None]
        out: Tensor = x + self.second(self.act(y))
        return out


def _given(when: Tensor | None) -> Tensor:
    if when is None:
        msg = "a timed network must be told the noise level of each volume, got None"
        raise ValueError(msg)
    return when


def _sines(when: Tensor) -> Tensor:
    """(B,) from 0 to 1 -> (B, TIMES): sines and cosines, as Vaswani et al. 2017 mark positions."""
    rates = torch.exp(torch.arange(TIMES // 2, device=when.device) * (-math.log(1e4) / (TIMES // 2)))
    angles = 1000.0 * when.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
