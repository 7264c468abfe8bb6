"""Closed surfaces around the long axis of the trunk, as radii over direction and height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.kernels import shell_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Knots = Sequence[tuple[float, ...]]

DIRECTIONS = 96  # of a table of radii: 3.75 degrees apart
STEP_MM = 8.0  # between the heights of a table


@dataclass(frozen=True, eq=False)
class Shell:
    """A surface r(direction, z) around the axis x = y = 0, star-shaped in every axial plane.

    Attributes:
        radius_mm: (DIRECTIONS, heights) float32; direction n lies at 2 pi n / DIRECTIONS from +x towards +y.
        low_mm: z of the first height; the next are STEP_MM apart. Beyond the ends the last radius goes on.
    """

    radius_mm: Floats
    low_mm: float

    @property
    def heights_mm(self) -> Doubles:
        """(heights,) z of the table's columns."""
        out: Doubles = self.low_mm + STEP_MM * np.arange(self.radius_mm.shape[1], dtype=np.float64)
        return out

    def thicker(self, by_mm: ArrayLike) -> Shell:
        """The surface further out by (DIRECTIONS, heights) or a number of mm."""
        out = np.maximum(self.radius_mm + np.asarray(by_mm, np.float32), 1.0)
        return Shell(out.astype(np.float32), self.low_mm)

    def radius(self, direction: ArrayLike, z_mm: ArrayLike) -> NDArray[np.float64]:
        """Radius in mm at directions (radians from +x towards +y) and heights, broadcast together."""
        turn, z = np.broadcast_arrays(np.asarray(direction, float), np.asarray(z_mm, float))
        a = turn / (2 * np.pi) % 1.0 * DIRECTIONS
        c = np.clip((z - self.low_mm) / STEP_MM, 0, self.radius_mm.shape[1] - 1.001)
        i, j = a.astype(int) % DIRECTIONS, c.astype(int)
        u, v = a - np.floor(a), c - j
        t, n = self.radius_mm, (i + 1) % DIRECTIONS
        out: NDArray[np.float64] = (t[i, j] * (1 - u) + t[n, j] * u) * (1 - v) + (
            t[i, j + 1] * (1 - u) + t[n, j + 1] * u
        ) * v
        return out

    def point(self, direction: float, z_mm: float, inwards_mm: float = 0.0) -> NDArray[np.float64]:
        """(3,) point of the surface, or `inwards_mm` inside it."""
        r = float(self.radius(direction, z_mm)) - inwards_mm
        return np.array([r * np.cos(direction), r * np.sin(direction), z_mm])

    def distance(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> Floats:
        """Signed distance in mm (negative inside) on the open mesh x (X,1,1), y (1,Y,1), z (1,1,Z).

        Measured along the radius and shortened by the outline's slope: exact on the surface, near it close.
        """
        a, b, c = (np.asarray(axis, np.float64).ravel() for axis in (x, y, z))
        return shell_distance(a, b, c, self.radius_mm, self.low_mm, STEP_MM)


def directions() -> Doubles:
    """(DIRECTIONS,) radians from +x (right) towards +y (front)."""
    out: Doubles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return out


def along(knots: Knots, z_mm: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Smooth curves through knots (z, value, value, ...), one array (heights,) for each value."""
    from scipy.interpolate import PchipInterpolator

    table = np.array(sorted(knots), float)
    inside = np.clip(z_mm, table[0, 0], table[-1, 0])
    return [PchipInterpolator(table[:, 0], column)(inside) for column in table[:, 1:].T]


def outline(
    half_width: NDArray[np.float64],
    front: NDArray[np.float64],
    back: NDArray[np.float64],
    square_front: float = 2.2,
    square_back: float = 2.6,
) -> NDArray[np.float64]:
    """Radii (DIRECTIONS, heights) of super-ellipses; front and back are distances from the axis, both > 0.

    |x / a|^p + |y / b|^p = 1 (Lame); p of 2 is an ellipse, a larger one squarer.
    """
    turn = directions()[:, None]
    c, s = np.abs(np.cos(turn)), np.sin(turn)
    b = np.where(s > 0, front[None], back[None])
    # the exponent goes over smoothly at the flanks, where sin is 0
    p = square_back + (square_front - square_back) * (0.5 + 0.5 * np.tanh(3 * s))
    radius: NDArray[np.float64] = ((c / half_width) ** p + (np.abs(s) / b) ** p) ** (-1 / p)
    return radius


def around(front: ArrayLike, side: ArrayLike, back: ArrayLike) -> NDArray[np.float64]:
    """(DIRECTIONS, heights) of values given in front, at the sides and behind, each (heights,)."""
    s = np.sin(directions())[:, None]
    ahead, behind = np.clip(s, 0, 1) ** 2, np.clip(-s, 0, 1) ** 2
    f, a, b = (np.asarray(v, float)[None] for v in (front, side, back))
    out: Doubles = f * ahead + b * behind + a * (1 - ahead - behind)
    return out


def ripples(rng: np.random.Generator, heights: int, size_mm: float, symmetric: float = 0.7) -> Floats:
    """Random smooth bulges (DIRECTIONS, heights) of about `size_mm`, mostly the same on both sides."""
    turn = directions()[:, None]
    z = STEP_MM * np.arange(heights)[None]
    out = np.zeros((DIRECTIONS, heights))
    for order in range(1, 6):
        phase = rng.uniform(0, 2 * np.pi, 4)
        wave = 2 * np.pi / rng.uniform(150, 600, 2)
        even = np.sin(order * (turn - np.pi / 2) * 1.0 + np.pi / 2) * np.sin(wave[0] * z + phase[0])
        odd = np.cos(order * turn + phase[1]) * np.sin(wave[1] * z + phase[2])
        out += rng.normal(0, 1 / order) * (symmetric * even + (1 - symmetric) * odd)
    return (size_mm * 0.6 * out).astype(np.float32)
