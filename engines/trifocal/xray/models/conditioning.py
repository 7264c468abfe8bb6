"""The volume of a stage before, taken up by the next."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trifocal.xray.models.attention import CrossAttention
from trifocal.xray.models.resize import resized


class HierarchicalConditioning(nn.Module):
    """Attends to the previous stage on a coarse grid, adds its voxels, and mixes both by a learned weight.

    Attention between all voxels of two stages would need their product in memory; so it runs between grids of
    tokens, and what is finer comes in by a convolution of the previous volume itself.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv3d(1, channels, 3, padding=1), nn.SiLU())
        self.detail = nn.Conv3d(channels, channels, 3, padding=1)
        self.attention = CrossAttention(channels, channels, heads)
        self.weight = nn.Conv3d(2 * channels, 1, 1)

    def forward(self, current: Tensor, previous: Tensor, tokens: tuple[int, int, int]) -> Tensor:
        """Features (B, C, x, y, z) and a density (B, 1, x', y', z') of any size -> (B, C, x, y, z).

        Args:
            current: Of this stage.
            previous: Of the stage before, over the same box.
            tokens: Grid that the attention runs on.
        """
        size = (current.shape[2], current.shape[3], current.shape[4])
        seen = self.enter(resized(previous, size))
        ask, offer = (resized(v, tokens).permute(0, 2, 3, 4, 1) for v in (current, seen))
        attended = resized(self.attention(ask, offer).permute(0, 4, 1, 2, 3), size)
        taken = self.detail(seen) + attended
        weight = torch.sigmoid(self.weight(torch.cat([current, taken], dim=1)))
        out: Tensor = current * (1 - weight) + taken * weight
        return out
