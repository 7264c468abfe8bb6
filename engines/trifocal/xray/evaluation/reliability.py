"""Whether a predicted error is the actual one: by bins of what was predicted, and by rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EDGES_HU = np.geomspace(5.0, 1500.0, 31)
"""Of the bins of predicted standard deviations; what lies beyond counts in the first and the last."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted standard deviations against actual errors, inside the body.

    Attributes:
        counts: (30,) voxels in each bin.
        predicted: (30,) sum of the predicted variances, HU^2.
        actual: (30,) sum of the squared errors, HU^2.
        within: Voxels whose error is at most the predicted standard deviation.
        spearman: Rank correlation of predicted and actual absolute errors; of several cases the mean.
    """

    counts: NDArray[np.float64]
    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]
    within: float
    spearman: float

    @classmethod
    def of(cls, std: NDArray[np.float32], error: NDArray[np.float32]) -> Self:
        """From standard deviations (n,) and signed errors (n,) of voxels, in HU."""
        s, e = np.asarray(std, np.float64), np.asarray(error, np.float64)
        where = np.clip(np.digitize(s, EDGES_HU) - 1, 0, len(EDGES_HU) - 2)
        sums = [
            np.bincount(where, w, len(EDGES_HU) - 1).astype(np.float64) for w in (np.ones_like(s), s**2, e**2)
        ]
        ranked = float(stats.spearmanr(s, np.abs(e)).statistic) if np.ptp(s) and np.ptp(e) else np.nan
        return cls(sums[0], sums[1], sums[2], float((np.abs(e) <= s).sum()), ranked)

    @classmethod
    def over(cls, cases: Sequence[Reliability]) -> Self:
        """All voxels of several cases."""
        sums = [np.sum([getattr(c, name) for c in cases], 0) for name in ("counts", "predicted", "actual")]
        ranks = [c.spearman for c in cases if np.isfinite(c.spearman)]
        mean = float(np.mean(ranks)) if ranks else np.nan
        return cls(sums[0], sums[1], sums[2], sum(c.within for c in cases), mean)

    @property
    def ratio(self) -> float:
        """Root mean square of the predicted over that of the actual errors: below 1 is too sure."""
        actual = float(self.actual.sum())
        return float(np.sqrt(self.predicted.sum() / actual)) if actual else np.nan

    @property
    def coverage(self) -> float:
        """Share of the voxels within one standard deviation: 0.68 if the errors are normal."""
        return self.within / max(float(self.counts.sum()), 1.0)

    def curve(self, least: float = 0.002) -> NDArray[np.float64]:
        """(m, 3) predicted and actual root mean square error in HU, and share, of bins that are not rare."""
        share = self.counts / max(float(self.counts.sum()), 1.0)
        kept = share >= least
        n = self.counts[kept]
        return np.stack(
            [np.sqrt(self.predicted[kept] / n), np.sqrt(self.actual[kept] / n), share[kept]], axis=1
        )

    def record(self) -> dict[str, Any]:
        """What is written to JSON."""
        return {
            "spearman": self.spearman,
            "predicted_over_actual_rms": self.ratio,
            "within_one_std": self.coverage,
            "curve_predicted_actual_share": self.curve().tolist(),
        }
