"""The published losses, in the logarithmic space of a sample, and the reproduction's fine-tunes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

HALF = 0.5  # of the peak pressure: -6 dB
DICE_SOFTNESS = 0.05  # of the peak: how far from -6 dB a voxel counts as half inside
PUBLISHED_VOXEL_MM = 0.5


@dataclass(frozen=True)
class DeepTFUSLoss:
    """Weights and temperatures.

    Attributes:
        alpha: How much more voxels near the peak count in the weighted squares.
        gradient: Weight of the gradient term; the published one is 0.1.
        focal: Weight of the soft-argmax term, whose distances are in voxels of 0.5 mm on any grid.
        temperature: Of the soft-argmax, relative to the peak pressure.
        dice: Weight of the soft Dice term on the -6 dB volume.
    """

    alpha: float = 5.0
    gradient: float = 0.1
    focal: float = 0.0
    temperature: float = 0.05
    dice: float = 0.0


def deeptfus_loss(
    prediction: Tensor, truth: Tensor, weights: DeepTFUSLoss, spacing_mm: float
) -> dict[str, Tensor]:
    """Compare log-pressures log(1 + p / p_max), both (b, x, y, z).

    Args:
        prediction: Of the network.
        truth: Of the solver.
        weights: Of the terms.
        spacing_mm: Of the grid.

    Returns:
        "loss" and its terms before they are weighted, scalars: means over the batch.
    """
    terms = {
        "weighted": weighted_squares(prediction, truth, weights.alpha),
        "gradient": gradient_squares(prediction, truth),
    }
    total = terms["weighted"] + weights.gradient * terms["gradient"]
    if weights.focal:
        terms["focal"] = focal_distance(prediction, truth, weights.temperature, spacing_mm)
        total = total + weights.focal * terms["focal"]
    if weights.dice:
        terms["dice"] = soft_dice(prediction, truth)
        total = total + weights.dice * terms["dice"]
    return {"loss": total, **terms}


def weighted_squares(prediction: Tensor, truth: Tensor, alpha: float = 5.0) -> Tensor:
    """Mean of w (P' - P)^2 with w = exp(alpha (P - max P)), scaled to a mean of 1 in each sample (eq. 5)."""
    weight = torch.exp(alpha * (truth - truth.amax((1, 2, 3), keepdim=True)))
    weight = weight / weight.mean((1, 2, 3), keepdim=True)
    return (weight * (prediction - truth) ** 2).mean()


def gradient_squares(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean square of the differences between neighbours of P' - P, a third for each axis."""
    error = prediction - truth
    return sum((error.diff(dim=axis) ** 2).mean() for axis in (1, 2, 3)) / 3  # type: ignore[return-value]


def focal_distance(prediction: Tensor, truth: Tensor, temperature: float, spacing_mm: float) -> Tensor:
    """|soft-argmax(p') - argmax(p)|, summed over the axes, in voxels of 0.5 mm.

    soft-argmax is the mean place under softmax(p' / temperature), p' the pressure relative to the peak.
    """
    pressure = torch.expm1(prediction.float()).clamp_min(0)
    share = torch.softmax(pressure.flatten(1) / temperature, 1).view_as(pressure)
    highest = truth.flatten(1).argmax(1)
    place = torch.unravel_index(highest, truth.shape[1:])
    distance = pressure.new_zeros(len(pressure))
    for axis in range(3):
        along = share.sum(tuple(a + 1 for a in range(3) if a != axis))  # (b, n)
        mean = along @ torch.arange(along.shape[1], device=along.device, dtype=along.dtype)
        distance = distance + (mean - place[axis]).abs()
    return distance.mean() * (spacing_mm / PUBLISHED_VOXEL_MM)


def soft_dice(prediction: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 |A B| / (|A| + |B|), B where p is half of its peak or more, A softly so for the prediction.

    A voxel belongs to A by sigmoid((p' / max p' - 0.5) / 0.05) (Milletari et al. 2016, arXiv:1606.04797, with
    the squares left out).
    """
    found, true = (torch.expm1(x.float()).clamp_min(0) for x in (prediction, truth))
    found = found / found.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    inside = torch.sigmoid((found - HALF) / DICE_SOFTNESS)
    target = (true >= HALF * true.amax((1, 2, 3), keepdim=True)).to(inside.dtype)
    overlap = (inside * target).sum((1, 2, 3))
    return (1 - 2 * overlap / (inside.sum((1, 2, 3)) + target.sum((1, 2, 3)))).mean()
