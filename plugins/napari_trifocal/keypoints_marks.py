"""The points of one frame: what was predicted, and over it what was put right by hand. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.predictor import KeypointsPrediction


@dataclass(frozen=True, eq=False)
class Marks:
    """Points of one frame.

    The prediction is kept beneath the edits, so that either can be had again.

    Attributes:
        edits: (K, 2) x, y in pixels where the user put a point; NaN where a point was taken away.
        edited: (K,) which of them count.
        prediction: What lies beneath, if anything was predicted.
    """

    edits: NDArray[np.float64]
    edited: NDArray[np.bool_]
    prediction: KeypointsPrediction | None = None

    @classmethod
    def blank(cls, count: int) -> Marks:
        """No point anywhere."""
        return cls(np.full((count, 2), np.nan), np.zeros(count, bool))

    @property
    def predicted(self) -> NDArray[np.float64]:
        """(K, 2) what was predicted; NaN without a prediction."""
        return np.full_like(self.edits, np.nan) if self.prediction is None else self.prediction.points

    @property
    def points(self) -> NDArray[np.float64]:
        """(K, 2) what holds; NaN for a missing point."""
        return np.where(self.edited[:, None], self.edits, self.predicted)

    @property
    def missing(self) -> NDArray[np.intp]:
        """Indices of the points that are nowhere."""
        return np.flatnonzero(np.isnan(self.points).any(axis=1))

    @property
    def scores(self) -> NDArray[np.float64]:
        """(K,) of the prediction; NaN for a point that is not the network's."""
        if self.prediction is None:
            return np.full(len(self.edits), np.nan)
        return np.where(self.edited, np.nan, self.prediction.scores)

    def put(self, index: int, at: ArrayLike) -> Marks:
        """The same with one point (x, y) somewhere else; NaN takes it away."""
        edits, edited = self.edits.copy(), self.edited.copy()
        edits[index], edited[index] = at, True
        return replace(self, edits=edits, edited=edited)

    def reset(self, indices: Iterable[int] | None = None) -> Marks:
        """The same with these points (all by default) as they were predicted."""
        chosen = list(range(len(self.edited)) if indices is None else indices)
        edits, edited = self.edits.copy(), self.edited.copy()
        edits[chosen], edited[chosen] = np.nan, False
        return replace(self, edits=edits, edited=edited)

    def carried_to(self, other: Marks) -> Marks:
        """Another frame's marks with the edits of this one.

        Where both frames have a prediction the edit's displacement is carried, so that the point goes on
        moving with the anatomy; otherwise its place. What is edited in the other frame stays as it is.
        """
        shift = self.edits - self.predicted
        known = np.isfinite(shift) & np.isfinite(other.predicted)
        moved = np.where(known, other.predicted + shift, self.edits)
        takes = self.edited & ~other.edited
        return replace(
            other,
            edits=np.where(takes[:, None], moved, other.edits),
            edited=other.edited | takes,
        )
