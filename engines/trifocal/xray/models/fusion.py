"""Local features and tokens brought together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trifocal.xray.models.attention import CrossAttention
from trifocal.xray.models.resize import resized


class AdaptiveFusion(nn.Module):
    """The local features ask the tokens by cross-attention; a gate mixes question and answer voxel by voxel.

    The attention runs on the tokens' grid, to which the local features are averaged: its cost does not grow
    with the volume. (The seed's listing computes the attended features, but mixes the unattended ones.)
    """

    def __init__(self, local: int, dim: int, heads: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(dim, local)
        self.attention = CrossAttention(local, dim, heads)
        self.gate = nn.Conv3d(2 * local, local, 1)

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        """(B, local, x, y, z) and (B, x', y', z', dim) -> (B, local, x, y, z)."""
        size = (local.shape[2], local.shape[3], local.shape[4])
        coarse = resized(local, (tokens.shape[1], tokens.shape[2], tokens.shape[3])).permute(0, 2, 3, 4, 1)
        answer = self.narrow(tokens) + self.attention(coarse, tokens)
        wide = resized(answer.permute(0, 4, 1, 2, 3), size)
        gate = torch.sigmoid(self.gate(torch.cat([local, wide], dim=1)))
        return gate * local + (1 - gate) * wide


class PlainSum(nn.Module):
    """Local features plus the tokens' channels, at the nearest places: what the ablation compares with."""

    def __init__(self, local: int, dim: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(dim, local)

    def forward(self, local: Tensor, tokens: Tensor) -> Tensor:
        """(B, local, x, y, z) and (B, x', y', z', dim) -> (B, local, x, y, z)."""
        wide = self.narrow(tokens).permute(0, 4, 1, 2, 3)
        return local + resized(wide, (local.shape[2], local.shape[3], local.shape[4]))
