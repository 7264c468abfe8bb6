"""How much an image deserves a second look.

The peak of a heat map says how sharply a network answered, and ranks its errors little better than
chance. What ranks them somewhat better: how far two networks lie apart, how wide the band is in which
the outline is undecided, how far the heat maps' points lie from the outline, and the size of what is
measured. Their logarithms go into a linear fit of the logarithm of the error on patients that were held
back; the result is a place among those patients, from 0 (surest) to 1. It is a hint for sorting, not an
error bar.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.answer import Answer
    from trifocal.keypoints.tasks import Task

FLOOR = 1e-3
"""Of a signal, so that its logarithm exists: a thousandth of the size of what is measured."""

HINTED = 0.9
"""Place among the held-back patients from which on sentences say why."""


@dataclass(frozen=True)
class Signals:
    """Signs of doubt, each as a fraction of the size of what is measured (see `size_px`).

    Attributes:
        spread: Mean distance of the members' and views' points from the answer.
        outline_spread: Standard deviation of the perimeters of the members' ellipses; 0 for other tasks.
        edge: Width of the undecided band along the outline; 0 for other tasks.
        mismatch: Mean distance of the heat maps' points from the ellipse's axis ends; 0 for other tasks.
        diffuse: Mean probability that the heat maps put elsewhere.
        size_px: Length that the others are fractions of: the perimeter, or the longest line of the task.
        outside: Fraction of the ellipse's outline that lies off the image.
    """

    spread: float
    outline_spread: float
    edge: float
    mismatch: float
    diffuse: float
    size_px: float
    outside: float

    @classmethod
    def of(cls, answer: Answer, task: Task, shape: tuple[int, ...]) -> Self:
        """Collect them from the answer on a frame of `shape` (rows, columns)."""
        lines = np.array(task.lines)
        lengths = np.linalg.norm(answer.points[lines[:, 0]] - answer.points[lines[:, 1]], axis=-1)
        size = max(float(lengths.max()), 1.0)
        outline = edge = mismatch = outside = 0.0
        if task.ellipse and answer.ellipse is not None:
            size = answer.ellipse.perimeter
            outlines = [e.perimeter for e in answer.ellipses if e is not None]
            outline = float(np.std(outlines)) / size if len(outlines) == len(answer.ellipses) else 1.0
            edge = answer.edge_px / size
            mismatch = float(np.linalg.norm(answer.views.mean(0) - answer.points, axis=-1).mean()) / size
            points = answer.ellipse.outline()
            outside = float(((points < 0) | (points > (shape[1] - 1, shape[0] - 1))).any(1).mean())
        spread = float(np.linalg.norm(answer.views - answer.points, axis=-1).mean()) / size
        return cls(spread, outline, edge, mismatch, float(1 - answer.scores.mean()), size, outside)

    def features(self) -> NDArray[np.float64]:
        """(5,) logarithms that the fit is linear in."""
        values = (self.spread, self.outline_spread, self.edge, self.mismatch, self.diffuse)
        features: NDArray[np.float64] = np.log(np.maximum(values, FLOOR))
        return features


@dataclass(frozen=True)
class ReviewFit:
    """A fit of errors to signals, for one task.

    Attributes:
        weights: Of the five features.
        constant: Added; the sum is the logarithm of the expected error as a fraction of the size.
        reference: Expected errors, as fractions of the size, of the images that it was fitted to; ascending.
        reference_mm: The same in mm; empty if the size of their pixels is not known.
        seen_mm: Smallest and largest size that the networks have learned from; None if not known.
        count: How many images it was fitted to.
    """

    weights: tuple[float, ...]
    constant: float
    reference: tuple[float, ...]
    reference_mm: tuple[float, ...]
    seen_mm: tuple[float, float] | None
    count: int

    @classmethod
    def fit(
        cls,
        signals: list[Signals],
        errors_px: ArrayLike,
        mm_per_px: ArrayLike,
        seen_mm: tuple[float, float] | None = None,
        *,
        ridge: float = 3.0,
    ) -> Self:
        """Ridge regression of log errors on log signals; weights below 0 are left out.

        A sign of doubt that would lower the expected error is one that the few images cannot tell from noise.

        Args:
            signals: Of N images.
            errors_px: (N,) mean radial errors in pixels.
            mm_per_px: (N,) size of their pixels; NaN where it is not known.
            seen_mm: See above.
            ridge: Added to the diagonal; features have unit variance.
        """
        sizes = np.array([s.size_px for s in signals])
        y = np.log(np.maximum(np.asarray(errors_px, float) / sizes, FLOOR))
        x = np.stack([s.features() for s in signals])
        weights = _ridge(x, y, ridge)
        constant = float(y.mean() - weights @ x.mean(0))
        expected = np.exp(x @ weights + constant)
        in_mm = expected * sizes * np.asarray(mm_per_px, float)
        places = np.linspace(0, 1, 51)
        known = bool(np.isfinite(in_mm).all())
        return cls(
            tuple(weights.tolist()),
            constant,
            tuple(np.quantile(expected, places).tolist()),
            tuple(np.quantile(in_mm, places).tolist()) if known else (),
            seen_mm,
            len(signals),
        )

    def expected(self, signals: Signals) -> float:
        """Error to expect, as a fraction of the size: a typical one, many are half or twice as large."""
        return float(np.exp(signals.features() @ np.array(self.weights) + self.constant))

    def place(self, signals: Signals, mm_per_px: float | None) -> float:
        """Place among the images of the fit, 0 to 1: by millimetres where the size of a pixel is known."""
        expected, reference = self.expected(signals), self.reference
        if mm_per_px is not None and self.reference_mm:
            expected, reference = expected * signals.size_px * mm_per_px, self.reference_mm
        return float(np.interp(expected, reference, np.linspace(0, 1, len(reference))))

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """From `record`."""
        return cls(
            tuple(record["weights"]),
            record["constant"],
            tuple(record["reference"]),
            tuple(record["reference_mm"]),
            None if record["seen_mm"] is None else tuple(record["seen_mm"]),
            record["count"],
        )


def review(
    signals: Signals, fit: ReviewFit | None, mm_per_px: tuple[float, float] | None
) -> tuple[float, tuple[str, ...]]:
    """Place in the queue, and why it is high if it is.

    Args:
        signals: Of the answer.
        fit: For its task; None leaves the raw disagreement as the order.
        mm_per_px: Size of a pixel, for the sentences.

    Returns:
        0 to 1, and sentences.
    """
    scale = None if mm_per_px is None else sum(mm_per_px) / 2
    if fit is None:
        level = float(min(1.0, 20 * signals.spread + signals.diffuse / 2))
    else:
        level = fit.place(signals, scale)
    hints = []
    if signals.outside > 0.05:
        hints.append(f"{signals.outside:.0%} of the outline lies off the image")
    if fit is not None and fit.seen_mm is not None and scale is not None:
        size, (low, high) = signals.size_px * scale, fit.seen_mm
        if not low <= size <= high:
            hints.append(f"{size:.0f} mm is outside of the {low:.0f} to {high:.0f} mm that were learned from")
            level = 1.0
    if level >= HINTED and fit is not None:
        unit, factor = ("px", 1.0) if scale is None else ("mm", scale)
        apart = signals.spread * signals.size_px * factor
        hints.append(f"the networks' points lie {apart:.1f} {unit} apart: among the least sure tenth")
    return level, tuple(hints)


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """(5,) weights, none below 0."""
    mean, scale = x.mean(0), x.std(0) + 1e-9
    kept = np.flatnonzero(x.std(0) > 1e-6)
    weights = np.zeros(x.shape[1])
    while len(kept):
        z = (x[:, kept] - mean[kept]) / scale[kept]
        solved = np.linalg.solve(z.T @ z + ridge * np.eye(len(kept)), z.T @ (y - y.mean()))
        if (solved >= 0).all():
            weights[kept] = solved / scale[kept]
            break
        kept = np.delete(kept, solved.argmin())
    return weights
