"""An ellipse in the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, in pixels or in millimetres.

    Attributes:
        center: (x, y).
        semi_axes: (long, short), half the axes' lengths.
        angle: Of the long axis, in degrees from +x towards +y (clockwise on the screen), in [0, 180).
    """

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    angle: float

    @property
    def perimeter(self) -> float:
        """By Ramanujan's second formula (Modular equations and approximations to pi, 1914)."""
        a, b = self.semi_axes
        h = ((a - b) / (a + b)) ** 2
        return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))

    def axis_ends(self) -> NDArray[np.float64]:
        """(4, 2) ends of the short axis, then of the long axis."""
        turn = np.deg2rad(self.angle)
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        (a, b), c = self.semi_axes, np.array(self.center)
        return np.stack([c - b * across, c + b * across, c - a * along, c + a * along])

    def outline(self, count: int = 90) -> NDArray[np.float64]:
        """(count, 2) points around it, evenly in the parametric angle."""
        t = np.linspace(0, 2 * np.pi, count, endpoint=False)
        ends = self.axis_ends()
        short, long = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
        points: NDArray[np.float64] = (
            np.array(self.center) + np.cos(t)[:, None] * long + np.sin(t)[:, None] * short
        )
        return points


def ellipse_from_axes(points: NDArray[np.float64]) -> Ellipse:
    """The ellipse of four axis ends (4, 2), of which the first two are one axis and the last two the other.

    Axes that were drawn by hand are neither perpendicular nor do they halve each other: the centre is the mean of
    the four points, the longer axis gives the angle, the lengths stay as drawn.

    Raises:
        ValueError: If a point is missing or an axis has no length.
    """
    points = np.asarray(points, dtype=np.float64)
    axes = points[[1, 3]] - points[[0, 2]]
    lengths = np.linalg.norm(axes, axis=1)
    if not np.isfinite(points).all() or not (lengths > 0).all():
        msg = f"the four ends of an ellipse's axes must be finite and apart, got {points.tolist()}"
        raise ValueError(msg)
    longer = int(lengths[1] >= lengths[0])
    x, y = points.mean(axis=0)
    angle = float(np.rad2deg(np.arctan2(axes[longer, 1], axes[longer, 0])) % 180.0)
    return Ellipse((float(x), float(y)), (lengths.max() / 2, lengths.min() / 2), angle % 180.0)
