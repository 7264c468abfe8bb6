"""Where along a ray the front of the body ends and its back begins, for each patient and film."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

PRIORS = (0.0, 0.25, 0.75, 1.0)
"""Boundaries of the near, middle and far region as shares of the depth of the box."""

REACH = 0.1
"""How far the inner boundaries may move from their priors."""

UNCERTAINTY = (0.02, 0.08)
"""Smallest and largest standard deviation of a boundary; 0.05 is the target of its regulariser."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Depth boundaries of a batch of films of one view.

    Attributes:
        position: (B, 4) increasing; the first is 0, the last 1.
        uncertainty: (B, 2) standard deviation of the inner two.
    """

    position: Tensor
    uncertainty: Tensor

    def masks(self, depth: Tensor) -> Tensor:
        """Weights of the near, middle and far region at depths (X, Y, Z) in 0 to 1: (B, 3, X, Y, Z), sum 1.

        A boundary is passed with the probability that a Gaussian of its position and uncertainty lies nearer:
        so the masks are as soft as the boundary is uncertain, and the loss can move both.
        """
        inner = self.position[:, 1:3, None, None, None]
        spread = self.uncertainty[:, :, None, None, None]
        passed = torch.special.ndtr((depth.to(inner.dtype) - inner) / spread)  # (B, 2, X, Y, Z)
        first, second = passed[:, :1], passed[:, 1:]
        return torch.cat([1 - first, first * (1 - second), first * second], dim=1)


class DepthBoundaries(nn.Module):
    """Predicts the boundaries of a film from its encoder's vector.

    Position = prior + 0.1 tanh(offset common to all + offset of the patient); with `learnable` False the
    priors themselves, 5 % soft.
    """

    priors: Tensor

    def __init__(self, pooled: int, *, learnable: bool) -> None:
        super().__init__()
        self.register_buffer("priors", torch.tensor(PRIORS), persistent=False)
        self.learnable = learnable
        if learnable:
            self.offsets = nn.Parameter(torch.zeros(2))
            self.patient = nn.Sequential(nn.Linear(pooled, pooled), nn.GELU(), nn.Linear(pooled, 4))

    def forward(self, vector: Tensor) -> Boundaries:
        """(B, pooled) -> the boundaries of each film, in float32: 16 bits are too few for a depth."""
        ends = self.priors.expand(len(vector), 4)
        low, high = UNCERTAINTY
        if not self.learnable:
            return Boundaries(ends, ends.new_full((len(vector), 2), (low + high) / 2))
        moved, spread = self.patient(vector).float().chunk(2, dim=1)
        inner = ends[:, 1:3] + REACH * torch.tanh(self.offsets + moved)
        position = torch.cat([ends[:, :1], inner, ends[:, 3:]], dim=1)
        return Boundaries(position, low + (high - low) * torch.sigmoid(spread))


class DepthModulation(nn.Module):
    """Scales and shifts a film's lifted features by the region of depth that a voxel lies in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(3, channels))
        self.shift = nn.Parameter(0.1 * torch.randn(3, channels))

    def forward(self, lifted: Tensor, masks: Tensor) -> Tensor:
        """(B, C, X, Y, Z) and masks (B, 3, X, Y, Z) -> (B, C, X, Y, Z)."""
        scale = torch.einsum("brxyz,rc->bcxyz", masks, self.scale)
        return lifted * scale + torch.einsum("brxyz,rc->bcxyz", masks, self.shift)


def boundary_loss(boundaries: Boundaries) -> Tensor:
    """Keeps the regions' widths near those of the priors, and the uncertainty near 5 %.

    Mean squared differences. (The seed punishes the variance of the widths, which pulls towards thirds, away
    from its own priors.)
    """
    priors = boundaries.position.new_tensor(PRIORS)
    width = (boundaries.position.diff(dim=1) - priors.diff()).square().mean()
    return width + (boundaries.uncertainty - sum(UNCERTAINTY) / 2).square().mean()
