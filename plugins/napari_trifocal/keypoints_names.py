"""Where the names of points stand, so that none covers another. No Qt, no napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LETTER, HEIGHT = 9.3, 17.0  # canvas pixels of a name in 10 points: a letter's width, and the line's height
GAP = 7.0  # between a point and its name
SIDES = np.array([(1, -1), (-1, -1), (1, 1), (-1, 1), (1, 0), (-1, 0), (0, -1), (0, 1)], float)
"""Of a point. Preferred is the one away from the other points, then right above, left above and so on."""
FAR = (0.0, 16.0, 34.0)  # further away where there is no room beside the point
STAY = 60.0  # how much less (in pixels) another side must cover before a name changes to it: else it flickers


class NamePlaces:
    """Finds a place for each name, and remembers the sides."""

    def __init__(self) -> None:
        self._sides: dict[int, tuple[int, float]] = {}

    def find(
        self,
        points: NDArray[np.float64],
        names: Sequence[str],
        bounds: NDArray[np.float64],
        lines: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """(K, 2) middles of the names; NaN for a point that is missing or has no name.

        Args:
            points: (K, 2) x, y in canvas pixels; NaN for a missing one.
            names: Of the points.
            bounds: (2, 2) corners of the picture, in canvas pixels, which names stay in if they can.
            lines: (N, 2, 2) start and direction of the lines that are drawn, in canvas pixels.
        """
        places = np.full((len(points), 2), np.nan)
        drawn = np.empty((0, 2)) if lines is None else _samples(lines)
        there = np.flatnonzero(np.isfinite(points).all(axis=1))
        outward = points - (points[there].mean(0) if len(there) else 0.0)
        outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1.0)
        taken = [np.concatenate([points[i] - 6, points[i] + 6]) for i in there]
        for i in there:
            if names[i]:
                extent = np.array([LETTER * len(names[i]), HEIGHT])
                places[i] = self._place(int(i), points[i], outward[i], extent, taken, bounds, drawn)
                taken.append(np.concatenate([places[i] - extent / 2, places[i] + extent / 2]))
        return places

    def _place(
        self,
        index: int,
        point: NDArray[np.float64],
        outward: NDArray[np.float64],
        extent: NDArray[np.float64],
        taken: list[NDArray[np.float64]],
        bounds: NDArray[np.float64],
        drawn: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        best, lowest, chosen = point, np.inf, (0, 0.0)
        for far in FAR:
            for number, side in enumerate(SIDES):
                middle = point + side * (extent / 2 + GAP + far)
                box = np.concatenate([middle - extent / 2, middle + extent / 2])
                cost = sum(_overlap(box, other) for other in taken) + 4 * far + number
                cost += 12 * int(((drawn > box[:2]) & (drawn < box[2:])).all(axis=1).sum())
                cost -= 12 * float(side @ outward) / float(np.linalg.norm(side))
                cost += 20 * float(
                    np.maximum(bounds[0] - box[:2], 0).sum() + np.maximum(box[2:] - bounds[1], 0).sum()
                )
                cost -= STAY if self._sides.get(index) == (number, far) else 0.0
                if cost < lowest:
                    best, lowest, chosen = middle, cost, (number, far)
        self._sides[index] = chosen
        return best


def _samples(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 2) points along lines, about as far apart as a name is high."""
    return np.concatenate(
        [start + np.linspace(0, 1, 2 + int(np.hypot(*along) / 9))[:, None] * along for start, along in lines]
        or [np.empty((0, 2))]
    )


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(width, 0.0) * max(height, 0.0))
