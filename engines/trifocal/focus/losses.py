"""What the correction network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SILENCE = 0.02  # amplitude, relative to the peak of the case, below which logarithms are not compared


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms.

    Attributes:
        field: |p - t| / |t| over the region beyond the near skull.
        focus: The same over the voxels at half of the peak or above.
        log: Root mean square of log((p + s) / (t + s)) over the region, s 2 % of the peak, weighted by the
            square root of the amplitude.
    """

    field: float = 1.0
    focus: float = 0.5
    log: float = 0.1


def correction_loss(
    prediction: Tensor, truth: Tensor, region: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """Compare amplitudes, all (b, x, y, z) in the same unit.

    The terms are norms, not their squares: a case that the march misses by 30 % weighs six times as much as
    one that it misses by 5 %, not thirty-six times. Each is sqrt(error^2 + 0.001^2), whose slope is finite
    where the prediction is perfect.

    Args:
        prediction: Amplitude.
        truth: Amplitude by the solver.
        region: Boolean; what counts.
        weights: Of the terms.

    Returns:
        "loss" and its terms, scalars: means over the batch.
    """
    inside = region.to(truth.dtype)
    peak = (truth * inside).flatten(1).amax(1)[:, None, None, None].clamp_min(1e-6)
    square = (prediction - truth) ** 2
    hot = inside * (truth >= 0.5 * peak)

    def relative(weight: Tensor) -> Tensor:
        error = (square * weight).flatten(1).sum(1)
        return torch.sqrt(error / ((truth**2 * weight).flatten(1).sum(1) + 1e-12) + 1e-6).mean()

    silence = SILENCE * peak
    ratio = torch.log((prediction + silence) / (truth + silence)) ** 2
    weight = inside * torch.sqrt(truth / peak)
    log = torch.sqrt((ratio * weight).flatten(1).sum(1) / (weight.flatten(1).sum(1) + 1e-12) + 1e-6).mean()
    terms = {"field": relative(inside), "focus": relative(hot), "log": log}
    total = weights.field * terms["field"] + weights.focus * terms["focus"] + weights.log * terms["log"]
    return {"loss": total, **terms}
