"""The learned correction: a compact 3-D U-Net in the bowl's frame, on the medium and the march's field.

The network does not predict a field. It predicts the logarithm of the ratio between the true amplitude and
that of the hybrid angular spectrum march, which is smooth (resolved by 3 points per wavelength, while the
field itself needs 6), and starts out as zero: the untrained network is the march.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d, interpolate, pad

from trifocal.focus.transducer import WATER_DENSITY, WATER_SOUND_SPEED

if TYPE_CHECKING:
    from trifocal.focus.acoustics import Medium
    from trifocal.focus.box import Box
    from trifocal.focus.transducer import Bowl

POINTS_PER_WAVELENGTH = 3.0  # of the network's grid, in water
LARGEST_LOG_RATIO = 3.0
FLOOR = 0.01  # amplitude, relative to the peak in water, below which a field counts as silence
CHANNELS = 13
LANES = 16  # a convolution of 11 channels takes 12 times as long on a CPU as one of 16


@dataclass(frozen=True)
class ModelConfig:
    """Size of the network.

    Attributes:
        widths: Channels of each level, finest first; every level has half the resolution of the one before.
        blocks: Residual blocks on each level, on the way down and again on the way up.
    """

    widths: tuple[int, ...] = (16, 32, 64, 96)
    blocks: int = 1

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1 or self.blocks < 1:
            msg = f"widths must be two or more positive numbers and blocks 1 or more, got {self}"
            raise ValueError(msg)


class _Conv(nn.Conv3d):
    """A convolution that is fast for a single small volume on one core too.

    There torch turns to a loop that takes ten times as long as oneDNN's convolution, which it has; so that is
    called by its name. Gradients go the usual way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, x, y, z) -> (b, out, x', y', z')."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if torch.is_grad_enabled() or not plain or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return super().forward(x)
        shape = self.padding, self.stride, self.dilation, self.groups
        out: Tensor = torch.ops.aten.mkldnn_convolution(x, self.weight, self.bias, *shape)
        return out


class _Block(nn.Module):
    """x + conv(act(conv(act(x)))).

    No normalisation: it would tie every voxel to the statistics of the box. (Group norms learned a little
    slower, a second convolution that starts at zero three times slower.)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _Conv(width, width, 3, padding=1)
        self.second = _Conv(width, width, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(b, width, x, y, z) -> the same."""
        out: Tensor = x + self.second(self.act(self.first(self.act(x))))
        return out


class CorrectionNet(nn.Module):
    """U-Net from the features of a case to the log-ratio between the true and the marched amplitude."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        widths = config.widths
        self.stem = _Conv(LANES, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Conv(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_Conv(b, a, 1) for a, b in pairwise(widths))
        self.before, self.after = (
            nn.ModuleList(nn.Sequential(*(_Block(w) for _ in range(config.blocks))) for w in levels)
            for levels in (widths, widths[:-1])
        )
        self.head = _Conv(widths[0], 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, features: Tensor) -> Tensor:
        """(b, CHANNELS, x, y, z) of any size -> log-ratio (b, x, y, z), within +-3."""
        size = features.shape[2:]
        step = 2 ** len(self.down)
        margins = [side for n in reversed(size) for side in (0, -n % step)]
        x = pad(features, margins, mode="replicate")
        x = pad(x, [0] * 6 + [0, LANES - CHANNELS]).contiguous(memory_format=torch.channels_last_3d)
        x = self.before[0](self.stem(x))
        skips = []
        for down, block in zip(self.down, self.before[1:], strict=True):
            skips.append(x)
            x = block(down(x))
        for up, block, skip in zip(reversed(self.up), reversed(self.after), reversed(skips), strict=True):
            x = block(skip + interpolate(up(x), scale_factor=2, mode="nearest"))
        out = self.head(x).float()[:, 0, : size[0], : size[1], : size[2]]
        return LARGEST_LOG_RATIO * torch.tanh(out / LARGEST_LOG_RATIO)


def network_shape(box: Box, bowl: Bowl) -> tuple[int, int, int]:
    """Voxels of the network's grid over a box: 3 points per wavelength, or the box's own if coarser."""
    ratio = min(1.0, POINTS_PER_WAVELENGTH * box.spacing_mm / bowl.wavelength_mm)
    x, y, z = (max(1, round(n * ratio)) for n in box.shape)
    return x, y, z


def features(medium: Medium, field: Tensor, bowl: Bowl, box: Box) -> Tensor:
    """What the network sees, on its own grid.

    Args:
        medium: (b, x, y, z) on the box.
        field: (b, x, y, z) complex phasor of the march, relative to the peak of the bowl in water.
        bowl: The source.
        box: The grid of medium and field.

    Returns:
        (b, CHANNELS, x', y', z') float32: sound speed, density and attenuation relative to water; the way the
        wave has gained on one in water and has still to gain, in periods; what it has lost to attenuation, in
        Np; amplitude, its logarithm, and the phasor relative to a plane wave, normalised; depth and distance
        from the axis in radii of curvature; whether the march was made on the network's own, coarse grid.
    """
    shape = network_shape(box, bowl)
    z = torch.from_numpy(box.axis_mm(2)).to(field.device, torch.float32)
    plane = torch.polar(torch.ones_like(z), -2 * pi / bowl.wavelength_mm * z)
    turned = field * plane
    speed, amplitude = medium.sound_speed / WATER_SOUND_SPEED - 1, field.abs()
    damping = medium.attenuation * (bowl.wavelength_mm / 10 / 8.686)  # dB/cm -> Np per wavelength
    step = box.spacing_mm / bowl.wavelength_mm
    gain, loss = (torch.cumsum(rate, 3) * step for rate in (1 - 1 / (1 + speed), damping))
    path = [gain, gain[..., -1:] - gain, loss]
    local = [speed, medium.density / WATER_DENSITY - 1, damping, *path, amplitude, turned.real, turned.imag]
    pooled = _pool(torch.stack(local, 1), shape)
    level = pooled[:, 6:7]
    phase = pooled[:, 7:9] / (level + FLOOR)
    parts = [pooled[:, :7], torch.log(level + FLOOR) / 2, phase, _position(bowl, box, shape, pooled)]
    return torch.cat(parts, 1)


def _position(bowl: Bowl, box: Box, shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """(b, 3, ...) depth and distance from the axis in radii of curvature, and the flag of the coarse grid."""
    radius = bowl.radius_of_curvature_mm
    x, y, z = (
        torch.linspace(
            float(box.origin_mm[a] - box.spacing_mm / 2 + box.spacing_mm * box.shape[a] / n / 2),
            float(box.origin_mm[a] - box.spacing_mm / 2 + box.spacing_mm * box.shape[a] * (1 - 0.5 / n)),
            n,
            device=like.device,
        )
        / radius
        for a, n in enumerate(shape)
    )
    depth = (z - 1).expand(shape)
    away = torch.hypot(x[:, None, None], y[:, None]).expand(shape)
    coarse = torch.full_like(depth, float(shape == box.shape))
    return torch.stack([depth, away, coarse]).expand(len(like), -1, -1, -1, -1)


def _pool(volume: Tensor, shape: tuple[int, int, int]) -> Tensor:
    return volume if volume.shape[2:] == shape else adaptive_avg_pool3d(volume, shape)


def corrected(log_ratio: Tensor, amplitude: Tensor) -> Tensor:
    """Apply a correction (b, x', y', z') on the network's grid to an amplitude (b, x, y, z) on the box."""
    if log_ratio.shape != amplitude.shape:
        size = amplitude.shape[1:]
        log_ratio = interpolate(log_ratio[:, None], size, mode="trilinear", align_corners=False)[:, 0]
    return amplitude * torch.exp(log_ratio)


def corrected_amplitude(net: CorrectionNet, medium: Medium, field: Tensor, bowl: Bowl, box: Box) -> Tensor:
    """Correct a march.

    A full box is seen twice, the second time turned by half a turn about the beam: physics is the same both
    ways, and the mean of the two answers has no preferred side. A preview is seen once.

    Args:
        net: The network.
        medium: (1, x, y, z) on the box.
        field: (1, x, y, z) complex phasor of the march, relative to the peak of the bowl in water.
        bowl: The source.
        box: The grid.

    Returns:
        (1, x, y, z) amplitude, relative to the peak in water.
    """
    seen = features(medium, field, bowl, box)
    if seen.shape[2:] == field.shape[1:]:
        return corrected(net(seen), field.abs())
    both = net(torch.cat([seen, seen.flip(2, 3)]))
    log_ratio = (both[:1] + both[1:].flip(1, 2)) / 2
    return corrected(log_ratio, field.abs())
