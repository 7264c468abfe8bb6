"""How smoothly a network's features follow the bowl, in numbers.

A curve of features f_0 ... f_n along an even sweep is smooth when neighbours are much nearer to each other
than any two placements are, and when it goes on in the direction in which it was going. Both are ratios
without a unit, with known values for features that jump at random from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trifocal.focus.sweep import Sweep
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.predictor import FocusInput

    Floats = NDArray[np.float64]

SHUFFLES = 200
SHOWN = 8


class HasBottleneck(Protocol):
    """A predictor whose features can be looked at."""

    def bottleneck(self, inputs: FocusInput) -> NDArray[np.float32]:
        """Features (channels,) of a placement, a mean over space."""


@dataclass(frozen=True)
class Smoothness:
    """How smooth curves are, over all channels together.

    Attributes:
        step: Root mean square distance of neighbours over that of any two placements; about 1 for values in
            random order, towards 0 the smoother and the longer the sweep.
        bend: Root mean square second difference over that of the first differences; sqrt(3) for values
            that are independent of each other, sqrt(2) for a walk of independent steps, towards 0 for a curve
            that hardly bends within a step.
        largest_jump: The largest distance of two neighbours over their root mean square; large where a curve
            has a fold.
    """

    step: float
    bend: float
    largest_jump: float


@dataclass(frozen=True, eq=False)
class FeatureSweep:
    """Features along a sweep.

    Attributes:
        angles_deg: (steps,).
        features: (steps, channels), means over space.
        found: Of the features in their order.
        shuffled: Mean over shuffled orders: the control.
        shown: Indices of the channels to be drawn, those that vary most first.
    """

    angles_deg: Floats
    features: Floats
    found: Smoothness
    shuffled: Smoothness
    shown: tuple[int, ...]

    @classmethod
    def of(cls, angles_deg: Floats, features: NDArray[np.floating[Any]], seed: int = 0) -> FeatureSweep:
        """Judge features (steps, channels).

        Raises:
            ValueError: If they are too few, not finite or never change.
        """
        values = np.asarray(features, np.float64)
        if values.ndim != 2 or len(values) != len(angles_deg) or len(values) < 4:
            msg = (
                f"features must have shape ({len(angles_deg)}, channels), 4 steps or more, got {values.shape}"
            )
            raise ValueError(msg)
        if not np.isfinite(values).all():
            msg = "features must be finite, got NaN or infinity: the weights are damaged or have diverged"
            raise ValueError(msg)
        rng = np.random.default_rng(seed)
        orders = [smoothness(rng.permutation(values)) for _ in range(SHUFFLES)]
        mean = (float(np.mean([getattr(o, k) for o in orders])) for k in ("step", "bend", "largest_jump"))
        shown = tuple(int(i) for i in np.argsort(-values.std(0), kind="stable")[:SHOWN])
        return cls(np.asarray(angles_deg), values, smoothness(values), Smoothness(*mean), shown)


def smoothness(features: Floats) -> Smoothness:
    """Measure curves (steps, channels).

    Raises:
        ValueError: If they never change.
    """
    spread = 2 * features.var(0).sum() * len(features) / (len(features) - 1)  # mean square of any two
    if not spread > 0:
        msg = "features must change along the sweep, got the same at every placement"
        raise ValueError(msg)
    first, second = np.diff(features, axis=0), np.diff(features, 2, axis=0)
    steps = (first**2).sum(1)
    mean = float(steps.mean())
    return Smoothness(
        float(np.sqrt(mean / spread)),
        float(np.sqrt((second**2).sum(1).mean() / mean)),
        float(np.sqrt(steps.max() / mean)),
    )


def sweep_features(
    predictor: HasBottleneck,
    inputs: FocusInput,
    sweep: Sweep | None = None,
    *,
    progress: Progress = silent,
) -> FeatureSweep:
    """Bottleneck features of a network along a sweep, 35 placements of 1.6 degrees if none is given.

    Raises:
        Cancelled: If `progress` raises it.
        ValueError: If the features cannot be judged.
    """
    chosen = sweep or Sweep()
    poses = chosen.poses(inputs)
    rows = []
    for i, pose in enumerate(poses):
        progress(i / len(poses), f"features {i + 1} of {len(poses)}")
        rows.append(predictor.bottleneck(replace(inputs, pose=pose)))
    progress(1.0, "done")
    return FeatureSweep.of(chosen.angles_deg, np.stack(rows))
