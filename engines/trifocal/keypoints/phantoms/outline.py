"""Smooth outlines in the image plane: what the hearts and vessels of the phantoms are drawn with.

Coordinates are millimetres, (x, y), x to the right and y away from the probe; arrays of points are (N, 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def curve(knots: ArrayLike, count: int = 80) -> Floats:
    """A smooth open curve through knots (N, 2): (count, 2), evenly in the parameter.

    The parameter is the square root of the chord ("centripetal"): no loops where knots lie close together.
    """
    points = np.asarray(knots, dtype=np.float64)
    at = _parameter(points)
    bend: Floats = CubicSpline(at, points, bc_type="natural")(np.linspace(0, at[-1], count))
    return bend


def ring(knots: ArrayLike, count: int = 140) -> Floats:
    """A smooth closed curve through knots (N, 2), the first of which is not repeated: (count, 2)."""
    points = np.asarray(knots, dtype=np.float64)
    points = np.concatenate([points, points[:1]])
    at = _parameter(points)
    bend: Floats = CubicSpline(at, points, bc_type="periodic")(np.linspace(0, at[-1], count, endpoint=False))
    return bend


def normals(path: Floats) -> Floats:
    """(N, 2) unit vectors across an open path, to the right of its direction as it is seen on the screen."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def beside(path: Floats, distance: ArrayLike) -> Floats:
    """The path (N, 2) moved sideways by a distance, or by (N,) distances: to the right where positive."""
    moved: Floats = path + normals(path) * np.broadcast_to(np.asarray(distance, float), len(path))[:, None]
    return moved


def tube(path: Floats, width: ArrayLike) -> Floats:
    """Outline (2 N, 2) of a tube of that width, or of (N,) widths, along a path (N, 2)."""
    half = np.asarray(width, dtype=np.float64) / 2
    return np.concatenate([beside(path, half), beside(path, -half)[::-1]])


def grown(outline: Floats, distance: ArrayLike) -> Floats:
    """A closed outline (N, 2) moved outwards by a distance, or by (N,) distances."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1) * np.sign(area(outline))
    moved: Floats = outline + outward * np.broadcast_to(np.asarray(distance, float), len(outline))[:, None]
    return moved


def area(outline: Floats) -> float:
    """Signed area; positive where the outline runs clockwise on the screen (y down)."""
    x, y = outline.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def inside(outline: Floats, point: ArrayLike) -> bool:
    """Whether a point lies in a closed outline (N, 2): an odd number of its edges is to its right."""
    px, py = np.asarray(point, dtype=np.float64)
    a, b = outline, np.roll(outline, -1, axis=0)
    spans = (a[:, 1] > py) != (b[:, 1] > py)
    rise = np.where(spans, b[:, 1] - a[:, 1], 1.0)
    x = a[:, 0] + (py - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return bool(np.count_nonzero(spans & (x > px)) % 2)


def crossings(outline: Floats, through: ArrayLike, direction: ArrayLike, closed: bool = True) -> Floats:
    """Where the straight line through a point of the inside first meets the outline, backwards and forwards.

    Args:
        outline: (N, 2).
        through: The point.
        direction: Of the line.
        closed: Whether the outline's last point is joined to its first.

    Returns:
        (2, 2) points: behind and ahead of `through`.

    Raises:
        ValueError: If the line leaves on one side without meeting the outline.
    """
    start, way = np.asarray(through, dtype=np.float64), np.asarray(direction, dtype=np.float64)
    way = way / np.linalg.norm(way)
    a, b = (outline, np.roll(outline, -1, axis=0)) if closed else (outline[:-1], outline[1:])
    off_a, off_b = ((p - start) @ np.array([-way[1], way[0]]) for p in (a, b))
    hit = (off_a > 0) != (off_b > 0)
    share = (off_a / np.where(hit, off_a - off_b, 1.0))[hit]
    at = (a[hit] + share[:, None] * (b[hit] - a[hit]) - start) @ way
    if not ((at < 0).any() and (at > 0).any()):
        msg = f"the line through {start.tolist()} must meet the outline on both sides; start inside it"
        raise ValueError(msg)
    return np.stack([start + at[at < 0].max() * way, start + at[at > 0].min() * way])


def nearest(path: Floats, point: Floats) -> int:
    """Index of the point of a path that is nearest to a point."""
    return int(np.argmin(np.linalg.norm(path - point, axis=1)))


def met(path: Floats, start: Floats, way: Floats) -> Floats:
    """Where a ray first meets an open path (N, 2); the path's nearest point to it if it never does."""
    way = way / np.linalg.norm(way)
    off = (path - start) @ np.array([-way[1], way[0]])
    hit = np.flatnonzero((off[:-1] > 0) != (off[1:] > 0))
    share = off[hit] / (off[hit] - off[hit + 1])
    at = path[hit] + share[:, None] * (path[hit + 1] - path[hit])
    along = (at - start) @ way
    ahead = along > 1e-6
    if not ahead.any():
        return np.asarray(path[np.argmin(np.abs(off))])
    return np.asarray(at[ahead][np.argmin(along[ahead])])


def turned(points: Floats, degrees: float, shift: ArrayLike = (0.0, 0.0)) -> Floats:
    """Points (..., 2) turned about the origin, from +x towards +y (clockwise on the screen), then shifted."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    moved: Floats = points @ np.array([[c, s], [-s, c]]) + np.asarray(shift, dtype=np.float64)
    return moved


def _parameter(points: Floats) -> Floats:
    steps = np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1))
    return np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-6))])
