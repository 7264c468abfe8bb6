"""Ellipses along bright rims: a coarse search over all of them, and the fit of one to the rim beside it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.ridges import CHANNELS, channel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.ridges import Ridges

ASPECT, ASPECT_SD = 0.80, 0.05
"""Short over long axis of a fetal head, 0.78 and 0.044 in Hadlock 1981, 0.80 and 0.05 in HC18."""

_ASPECT_WEIGHT = 8.0  # rim points that the prior counts as
_LARGEST, _SMALLEST = 0.40, 0.085  # semi-axis, share of the longer side
_STEP = 2  # pixels between the centres of the coarse search
_GROWTH = 1.11  # from one size of the coarse search to the next
_COARSE_POINTS, _FINE_POINTS = 36, 72
_REACHES = (13.0, 9.0, 6.0, 4.0)  # pixels to both sides in which each pass of the fit looks for the rim


def outline(
    ellipse: Ellipse, count: int, phase: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (count, 2) on an ellipse, evenly in the parametric angle, and their outward unit normals."""
    t = (np.arange(count) + phase) * (2 * np.pi / count)
    (a, b), turn = ellipse.semi_axes, np.deg2rad(ellipse.angle)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    points = np.cos(t)[:, None] * (a * along) + np.sin(t)[:, None] * (b * across) + np.array(ellipse.center)
    normals = np.cos(t)[:, None] / a * along + np.sin(t)[:, None] / b * across
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def search(ridges: Ridges, count: int) -> list[Ellipse]:
    """The most promising ellipses of all sizes, places and angles, best first, no two alike.

    The score of an ellipse is the mean strength of the ridges that run along it, over what lies in the
    sector, times its size to the power of 1/4: a large half-seen head beats a small whole blob in it.
    """
    rows, columns = ridges.image.shape
    pad = int(_LARGEST * max(rows, columns)) + 2
    shapes, on_strength, on_mask = _templates(rows, columns)
    strength = np.pad(ridges.strength, ((0, 0), (pad, pad), (pad, pad))).ravel()
    mask = np.pad(ridges.inside, pad).ravel().astype(np.float32)
    x = np.arange(round(0.22 * columns), round(0.78 * columns), _STEP)
    y = np.arange(round(0.20 * rows), round(0.80 * rows), _STEP)
    centers = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    start = ((centers[:, 1] + pad) * (columns + 2 * pad) + centers[:, 0] + pad).astype(np.int32)
    support = np.zeros((len(shapes), len(start)), dtype=np.float32)
    seen = np.zeros_like(support)
    for k in range(_COARSE_POINTS):
        support += strength.take(on_strength[:, k, None] + start)
    for k in range(0, _COARSE_POINTS, 2):
        seen += mask.take(on_mask[:, k, None] + start)
    seen *= 2 / _COARSE_POINTS
    size = np.sqrt(shapes[:, 0] * shapes[:, 1])[:, None]
    score = support * size**0.25 / np.maximum(seen, 0.5)
    score[seen < 0.55] = 0.0
    return _best(score, shapes, centers, count)


def fit_rim(ridges: Ridges, ellipse: Ellipse) -> tuple[Ellipse, float]:
    """Pull an ellipse onto the rim beside it.

    Gauss-Newton on the five parameters; each pass looks along the normals for the strongest ridge, nearer
    ones preferred, and weighs it by its strength and (Cauchy) by how well the others agree. The aspect of a
    head is a
    prior: it decides the length where the lateral rim is dark or off the image.

    Returns:
        The ellipse through the middle of the rim, and the weighted r.m.s. of the last pass's residuals in
        pixels.
    """
    residual = 0.0
    for reach in _REACHES:
        points, normals = outline(ellipse, _FINE_POINTS, 0.5)
        offsets = np.arange(-reach, reach + 0.01, 0.5)
        found = ridges.along(normals, points[:, None] + offsets[:, None] * normals[:, None])
        found = found * ridges.covers(points)[:, None]
        near = found * np.exp(-0.5 * (offsets / (0.8 * reach)) ** 2).astype(np.float32)
        place = near.argmax(axis=1)
        weight = found[np.arange(_FINE_POINTS), place].astype(np.float64) ** 2
        ellipse, residual = _step(ellipse, points, normals, offsets[place], weight)
    return ellipse, residual


def _step(
    ellipse: Ellipse,
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    error: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> tuple[Ellipse, float]:
    """One step for the centre, the logarithms of the semi-axes, and the angle in radians."""
    (a, b), turn = ellipse.semi_axes, np.deg2rad(ellipse.angle)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    offset = points - np.array(ellipse.center)
    u, v = offset @ along, offset @ across
    nu, nv = normals @ along, normals @ across
    slopes = np.stack([normals[:, 0], normals[:, 1], nu * u, nv * v, nv * u - nu * v], axis=1)
    shape = np.array([0.0, 0.0, -1.0, 1.0, 0.0])
    stiffness = _ASPECT_WEIGHT * (ASPECT / ASPECT_SD) ** 2
    stay = np.diag([0.02, 0.02, 0.02 * a * a, 0.02 * b * b, 0.002 * a * a])
    agreed, step = weight, np.zeros(5)
    residual = error
    for _ in range(4):
        matrix = (slopes * agreed[:, None]).T @ slopes + stiffness * np.outer(shape, shape) + stay
        pull = (slopes * agreed[:, None]).T @ error - stiffness * shape * np.log(b / a / ASPECT)
        step = np.linalg.solve(matrix, pull)
        residual = error - slopes @ step
        seen = np.abs(residual[weight > 0.01])
        scale = 1.5 * max(1.0, 1.5 * float(np.median(seen)) if len(seen) > 5 else 2.0)
        agreed = weight / (1 + (residual / scale) ** 2)
    step = step.clip([-10, -10, -0.25, -0.25, -0.4], [10, 10, 0.25, 0.25, 0.4])
    a, b = a * float(np.exp(step[2])), b * float(np.exp(step[3]))
    angle = np.rad2deg(turn + step[4]) + (90.0 if b > a else 0.0)
    x, y = ellipse.center[0] + float(step[0]), ellipse.center[1] + float(step[1])
    spread = float(np.sqrt((agreed * residual**2).sum() / max(float(agreed.sum()), 1e-6)))
    return Ellipse((x, y), (max(a, b), min(a, b)), float(angle % 180.0)), spread


@lru_cache(maxsize=4)
def _templates(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Shapes (S, 3): long and short semi-axis, degrees; and where each one's rim lies in padded planes."""
    side = max(rows, columns)
    pad = int(_LARGEST * side) + 2
    width, plane = columns + 2 * pad, (rows + 2 * pad) * (columns + 2 * pad)
    sizes = np.exp(np.arange(np.log(_SMALLEST * side), np.log(_LARGEST * side), np.log(_GROWTH)))
    shapes = np.array(
        [
            (a, a * aspect, 180.0 * k / turns)
            for a in sizes
            for aspect, turns in ((0.72, 8), (0.80, 8), (0.90, 5))
            for k in range(turns)
        ]
    )
    on_strength = np.empty((len(shapes), _COARSE_POINTS), dtype=np.int32)
    on_mask = np.empty_like(on_strength)
    for i, (a, b, angle) in enumerate(shapes):
        points, normals = outline(Ellipse((0.0, 0.0), (a, b), angle), _COARSE_POINTS)
        on_mask[i] = np.rint(points[:, 1]) * width + np.rint(points[:, 0])
        on_strength[i] = on_mask[i] + (channel(normals) % CHANNELS) * plane
    return shapes, on_strength, on_mask


def _best(
    score: NDArray[np.floating], shapes: NDArray[np.float64], centers: NDArray[np.int_], count: int
) -> list[Ellipse]:
    """The highest scores (shape, centre), each silencing those of nearly its own size and place."""
    size = np.log(np.sqrt(shapes[:, 0] * shapes[:, 1]))
    out: list[Ellipse] = []
    for _ in range(count):
        shape, center = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[shape, center] <= 0:
            break
        a, b, angle = shapes[shape].tolist()
        x, y = centers[center].tolist()
        out.append(Ellipse((float(x), float(y)), (a, b), angle))
        near = np.hypot(*(centers - centers[center]).T) < 0.35 * a
        score[np.ix_(np.abs(size - size[shape]) < 0.17, near)] = 0.0
    return out
