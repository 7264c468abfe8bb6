"""The DeepTFUS network: CT and transducer in, the logarithm of the normalised pressure out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d
from torch.utils.checkpoint import checkpoint

from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.transducer_encoder import Attention, TransducerEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

NORM_GROUPS = 8


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(NORM_GROUPS if width % NORM_GROUPS == 0 else 1, width)


class DynamicConv(nn.Module):
    """A depthwise convolution whose kernels are made from the transducer's vector.

    One kernel for each channel, a linear function of the vector; it starts near the identity.
    """

    def __init__(self, width: int, token: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.kernels = nn.Linear(token, width * kernel**3)
        nn.init.normal_(self.kernels.weight, std=0.1 / token**0.5)
        nn.init.zeros_(self.kernels.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(b, width, x, y, z), (b, token) -> the shape of x."""
        b, width, *size = x.shape
        k = self.kernel
        weight: Tensor = self.kernels(vector).view(b * width, 1, k, k, k)
        # (b, width, ...) -> (1, b width, ...): every sample has kernels of its own
        merged = x.reshape(1, b * width, *size)
        if x.device.type == "cpu":  # where the gradient takes five times as long in any other layout or type
            merged = merged.float().contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast("cpu", enabled=False):
                out = conv3d(merged, weight.float(), padding=k // 2, groups=b * width)
        else:
            out = conv3d(merged, weight.to(merged.dtype), padding=k // 2, groups=b * width)
        return x + out.reshape(b, width, *size).to(x.dtype)


class EncoderLevel(nn.Module):
    """Two convolutions, each followed by a dynamic one."""

    def __init__(self, inside: int, width: int, config: DeepTFUSConfig) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv3d(n, width, 3, padding=1) for n in (inside, width))
        self.norms = nn.ModuleList(_norm(width) for _ in range(2))
        self.dynamic = nn.ModuleList(DynamicConv(width, config.token, config.kernel) for _ in range(2))
        self.act = nn.GELU()

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(b, inside, x, y, z), (b, token) -> (b, width, x, y, z)."""
        for conv, norm, dynamic in zip(self.convs, self.norms, self.dynamic, strict=True):
            x = dynamic(self.act(norm(conv(x))), vector)
        return x


class CrossAttention(nn.Module):
    """The transducer looks at the voxels of a level, and they at its points where it goes both ways."""

    def __init__(self, width: int, config: DeepTFUSConfig) -> None:
        super().__init__()
        self.to_vector = Attention(config.token, width, config.heads)
        self.to_voxels = Attention(width, config.token, config.heads) if config.bidirectional else None
        self.broadcast = nn.Linear(config.token, width)

    def forward(self, x: Tensor, vector: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """(b, width, x, y, z), (b, token), (b, m, token) -> x and vector, having looked."""
        voxels = x.flatten(2).transpose(1, 2)  # (b, x y z, width)
        vector = vector + self.to_vector(vector[:, None], voxels)[:, 0]
        if self.to_voxels is not None:
            voxels = voxels + self.to_voxels(voxels, points)
        voxels = voxels + self.broadcast(vector)[:, None]
        return voxels.transpose(1, 2).reshape(x.shape), vector


class DecoderLevel(nn.Module):
    """Twice the resolution, the encoder's level beside it, two convolutions; FiLM before each if wanted."""

    def __init__(self, below: int, width: int, config: DeepTFUSConfig) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(below, width, 2, stride=2)
        self.convs = nn.ModuleList(nn.Conv3d(n, width, 3, padding=1) for n in (2 * width, width))
        self.norms = nn.ModuleList(_norm(width) for _ in range(2))
        films = [nn.Linear(config.token, 2 * width) for _ in range(2 * config.film)]
        for layer in films:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.film = nn.ModuleList(films)
        self.act = nn.GELU()

    def forward(self, x: Tensor, skip: Tensor, vector: Tensor) -> Tensor:
        """(b, below, x, y, z), (b, width, 2x, 2y, 2z), (b, token) -> (b, width, 2x, 2y, 2z)."""
        x = torch.cat([self.up(x), skip], 1)  # (b, 2 width, 2x, 2y, 2z)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x))
            if self.film:
                scale, shift = self.film[i](vector)[..., None, None, None].chunk(2, 1)
                x = x * (1 + scale) + shift
            x = self.act(x)
        return x


class DeepTFUS(nn.Module):
    """The published network, by its description and the reproduction's choices; own code."""

    def __init__(self, config: DeepTFUSConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DeepTFUSConfig()
        widths = config.widths
        self.transducer = TransducerEncoder(config)
        self.down = nn.ModuleList(EncoderLevel(a, b, config) for a, b in pairwise((config.channels, *widths)))
        self.pool = nn.MaxPool3d(2)
        plain = config.depth - config.attention_levels
        self.attention = nn.ModuleList(CrossAttention(w, config) for w in widths[plain:])
        self.up = nn.ModuleList(DecoderLevel(b, a, config) for a, b in pairwise(widths))
        self.head = nn.Conv3d(widths[0], 1, 1)

    def forward(self, volume: Tensor, points: Tensor) -> Tensor:
        """Predict log(1 + p / p_max).

        Args:
            volume: (b, channels, x, y, z): the CT, 0 to 2000 HU as 0 to 1, and log(1 + march / peak in water)
                where the network has a prior. Edges that are multiples of 2^(depth - 1).
            points: (b, m, 3) of the transducer in units of half the cube's edge, 0 at its centre.

        Returns:
            (b, x, y, z) float32.
        """
        x, skips, vector = self._encode(volume, points)
        for level, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = self._run(level, x, skip, vector)
        out: Tensor = self.head(x)[:, 0].float()
        return out

    def bottleneck(self, volume: Tensor, points: Tensor) -> Tensor:
        """Features (b, widths[-1], x', y', z') of the deepest level, arguments as of `forward`."""
        return self._encode(volume, points)[0].float()

    def _encode(self, volume: Tensor, points: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        vector, encoded = self.transducer(points)
        plain = len(self.down) - len(self.attention)
        x, skips = volume, []
        for i, level in enumerate(self.down):
            x = self._run(level, self.pool(x) if i else x, vector)
            if i >= plain:
                x, vector = self.attention[i - plain](x, vector, encoded)
            skips.append(x)
        return x, skips[:-1], vector

    def _run(self, level: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        if self.config.checkpointing and self.training:
            out: Tensor = checkpoint(level, *inputs, use_reentrant=False)
            return out
        return level(*inputs)
