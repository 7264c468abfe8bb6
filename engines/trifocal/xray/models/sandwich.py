"""The transformer over coarse tokens: few attentions between many feed-forward blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trifocal.xray.models.attention import CascadedGroupAttention, MultiScaleAttention, PlainAttention

if TYPE_CHECKING:
    from trifocal.xray.models.config import XrayModelConfig

_FREQUENCIES = 4


class SandwichTransformer(nn.Module):
    """F [A F F] x 2 in the sandwich layout, [A F] x 4 in the usual one (A: attention, F: feed-forward).

    EfficientViT (arXiv:2305.07027, section 3.1) puts one attention between several feed-forward blocks, as
    most of a transformer's time and memory goes into attention. (The seed calls this layout after the
    sandwich transformer, Press et al. 2019, arXiv:1911.03864, under another number; there the word means
    attentions first and feed-forwards last.)
    """

    def __init__(self, config: XrayModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.place = nn.Linear(6 * _FREQUENCIES, dim)
        self.blocks = nn.ModuleList(self._layout(config))
        self.norm = nn.LayerNorm(dim)

    @staticmethod
    def _layout(config: XrayModelConfig) -> list[nn.Module]:
        count = config.attentions if config.sandwich else config.feed_forwards
        each = config.feed_forwards // count
        blocks: list[nn.Module] = [_feed_forward(config)] if config.sandwich else []
        for i in range(count):
            blocks.append(_Residual(config.dim, _attention(config, first=i == 0)))
            blocks.extend(_feed_forward(config) for _ in range(each))
        return blocks

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, x, y, z, dim) -> the same shape."""
        size = (tokens.shape[1], tokens.shape[2], tokens.shape[3])
        x = tokens + self.place(_waves(size, tokens))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


class _Residual(nn.Module):
    """x + inner(norm(x))."""

    def __init__(self, dim: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Shape stays."""
        out: Tensor = x + self.inner(self.norm(x))
        return out


def _attention(config: XrayModelConfig, *, first: bool) -> nn.Module:
    def one() -> nn.Module:
        if config.cascaded_attention:
            return CascadedGroupAttention(config.dim, config.heads, config.groups)
        return PlainAttention(config.dim, config.heads)

    if first and config.multi_scale:
        return MultiScaleAttention([one() for _ in config.scales], config.scales, config.dim)
    return one()


def _feed_forward(config: XrayModelConfig) -> nn.Module:
    hidden = config.dim * config.ratio
    return _Residual(
        config.dim, nn.Sequential(nn.Linear(config.dim, hidden), nn.GELU(), nn.Linear(hidden, config.dim))
    )


def _waves(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """(x, y, z, 6 * frequencies) sines and cosines of a token's place in the box, whatever its size."""
    axes = [(torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n for n in size]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (x, y, z, 3)
    rates = torch.pi * 2.0 ** torch.arange(_FREQUENCIES, device=like.device, dtype=like.dtype)
    angles = (place[..., None] * rates).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
