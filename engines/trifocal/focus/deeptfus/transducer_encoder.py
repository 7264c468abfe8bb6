"""From the points of a transducer to the vector that stands for it."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from trifocal.focus.deeptfus.config import DeepTFUSConfig


class Attention(nn.Module):
    """Queries look at keys: multi-head attention (Vaswani et al. 2017, arXiv:1706.03762) after norms."""

    def __init__(self, queries: int, keys: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_key = nn.LayerNorm(queries), nn.LayerNorm(keys)
        self.query, self.out = nn.Linear(queries, queries), nn.Linear(queries, queries)
        self.key_value = nn.Linear(keys, 2 * queries)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(b, q, queries), (b, k, keys) -> (b, q, queries)."""
        b, n, width = queries.shape
        q = self.query(self.norm_query(queries)).view(b, n, self.heads, -1).transpose(1, 2)
        kv = self.key_value(self.norm_key(keys)).view(b, keys.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)  # each (b, heads, k, width / heads)
        seen = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
        out: Tensor = self.out(seen)
        return out


class TransducerEncoder(nn.Module):
    """Fourier features of every point, a small network on each, and attention that pools them."""

    def __init__(self, config: DeepTFUSConfig) -> None:
        super().__init__()
        self.frequencies, width = config.frequencies, config.token
        self.mlp = nn.Sequential(
            nn.Linear(3 + 6 * config.frequencies, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.query = nn.Parameter(torch.randn(1, 1, width) / width**0.5)
        self.pool = Attention(width, width, config.heads)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Encode points (b, m, 3) in units of half the cube's edge, 0 at its centre.

        Returns:
            The transducer's vector (b, token), and its encoded points (b, m, token).
        """
        encoded = self.mlp(fourier_features(points, self.frequencies))
        query = self.query.expand(len(points), -1, -1)
        vector: Tensor = self.out((query + self.pool(query, encoded))[:, 0])
        return vector, encoded


def fourier_features(points: Tensor, frequencies: int) -> Tensor:
    """(..., 3) -> (..., 3 + 6 frequencies): p, sin(2^i pi p), cos(2^i pi p).

    Positional encoding of Mildenhall et al. 2020 (arXiv:2003.08934, eq. 4), with the coordinates themselves.
    """
    octaves = pi * 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)
    angles = (points[..., None] * octaves).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], -1)
