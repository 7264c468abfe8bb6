"""Attention over a grid of tokens: plain, in cascaded groups, on several scales, and across two grids."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trifocal.xray.models.resize import resized


class PlainAttention(nn.Module):
    """Multi-head self-attention: every head sees all channels."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, x, y, z, dim) -> the same shape."""
        flat = x.flatten(1, 3)  # (B, n, dim)
        q, k, v = self.qkv(flat).chunk(3, dim=-1)
        out: Tensor = self.out(_attended(q, k, v, self.heads)).reshape(x.shape)
        return out


class CascadedGroupAttention(nn.Module):
    """Attention in groups of heads, one after the other.

    Each group sees its own slice of the channels, to which what the group before found is added; the groups'
    answers are put side by side and mixed. As in EfficientViT (Liu et al. 2023, arXiv:2305.07027, equations 2
    and 3), where a group is one head. (The seed cites arXiv:2105.03404 for this, which is ResMLP and has no
    attention; and its listing feeds all channels to every group and adds only the answers.)
    """

    def __init__(self, dim: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads // groups
        self.groups = groups
        slice_dim = dim // groups
        self.qkv = nn.ModuleList(nn.Linear(slice_dim, 3 * slice_dim, bias=False) for _ in range(groups))
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, x, y, z, dim) -> the same shape."""
        found: list[Tensor] = []
        for part, qkv in zip(x.flatten(1, 3).chunk(self.groups, dim=-1), self.qkv, strict=True):
            seen = part + found[-1] if found else part  # (B, n, dim / groups)
            q, k, v = qkv(seen).chunk(3, dim=-1)
            found.append(_attended(q, k, v, self.heads))
        out: Tensor = self.out(torch.cat(found, dim=-1)).reshape(x.shape)
        return out


class MultiScaleAttention(nn.Module):
    """The same attention on tokens pooled by each of several factors, joined by a linear map."""

    def __init__(self, attentions: list[nn.Module], scales: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.scales = scales
        self.attentions = nn.ModuleList(attentions)
        self.fusion = nn.Linear(dim * len(scales), dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, x, y, z, dim) -> the same shape."""
        grid = x.permute(0, 4, 1, 2, 3)  # (B, dim, x, y, z)
        size = (x.shape[1], x.shape[2], x.shape[3])
        found = []
        for scale, attention in zip(self.scales, self.attentions, strict=True):
            coarse = resized(grid, (-(-size[0] // scale), -(-size[1] // scale), -(-size[2] // scale)))
            answer = attention(coarse.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
            found.append(resized(answer, size).permute(0, 2, 3, 4, 1))
        out: Tensor = self.fusion(torch.cat(found, dim=-1))
        return out


class CrossAttention(nn.Module):
    """Tokens of one grid ask those of another."""

    def __init__(self, dim: int, other: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim, bias=False))
        self.offer = nn.Sequential(nn.LayerNorm(other), nn.Linear(other, 2 * dim, bias=False))
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, x, y, z, dim) asks (B, x', y', z', other) -> (B, x, y, z, dim)."""
        k, v = self.offer(other.flatten(1, 3)).chunk(2, dim=-1)
        answer = _attended(self.ask(x.flatten(1, 3)), k, v, self.heads)
        out: Tensor = self.out(answer).reshape(x.shape)
        return out


def _attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of (B, n, d) to (B, m, d) by heads; torch keeps no n times m matrix for it."""
    # (B, n, d) -> (B, heads, n, d / heads)
    q, k, v = (t.reshape(len(t), t.shape[1], heads, -1).transpose(1, 2) for t in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
