"""One answer from the maps of several members and views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.keypoints.decode import WINDOW, decode_outline, decode_points, to_frame
from trifocal.keypoints.network import STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.learned import Maps
    from trifocal.keypoints.tasks import Task

NEAR = 16.0
"""Network pixels within which views agree on a point and are averaged; farther ones are left out."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What the networks say together, in pixels of the frame.

    Attributes:
        points: (K, 2), canonical order.
        scores: (K,) probability that the heat maps give the neighbourhood of each point.
        views: (M, K, 2) points of each member and view, ends matched to those of `points`.
        ellipse: Around the averaged inside, for tasks that have one and where there is one.
        ellipses: Of each member and view, for such tasks; None where it saw nothing.
        edge_px: Mean width of the band in which the averaged inside is undecided (0.1 to 0.9); NaN without.
    """

    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    views: NDArray[np.float64]
    ellipse: Ellipse | None
    ellipses: tuple[Ellipse | None, ...]
    edge_px: float


def combine(maps: Maps, task: Task) -> Answer:
    """Decode every view and agree on one answer.

    Where the anatomy has an elliptic outline, its points are the ends of the ellipse's axes: the heat maps
    are less exact, and are kept as a cross-check. All other points are those of the heat maps.
    """
    points, mass = decode_points(maps.heat)
    views = to_frame(points.numpy(), maps.canvas.affine)
    best = mass.mean(1).argmax()
    views = task.matched(views, np.broadcast_to(views[best], views.shape))
    agreed = _agree(views, mass.numpy(), NEAR / maps.canvas.scale)
    ellipse: Ellipse | None = None
    ellipses: tuple[Ellipse | None, ...] = ()
    edge = np.nan
    if maps.inside is not None:
        inside = maps.inside.mean(0).numpy()
        affine, level = maps.canvas.affine, maps.level
        ellipse = decode_outline(inside, affine, level)
        ellipses = tuple(decode_outline(one.numpy(), affine, level) for one in maps.inside)
        undecided = float(((inside > 0.1) & (inside < 0.9)).sum()) * (STRIDE / maps.canvas.scale) ** 2
        edge = undecided / ellipse.perimeter if ellipse is not None else np.nan
    agreed = task.canonical(agreed) if ellipse is None else axis_points(task, ellipse)
    views = task.matched(views, np.broadcast_to(agreed, views.shape))
    return Answer(agreed, _scores(maps, task, agreed), views, ellipse, ellipses, edge)


def axis_points(task: Task, ellipse: Ellipse) -> NDArray[np.float64]:
    """(4, 2) ends of the axes as the task names them, in canonical order.

    HC measures along the short axis, then along the long one; FA along the more upright one first.
    """
    ends = ellipse.axis_ends()
    rise = np.abs(ends[[1, 3]] - ends[[0, 2]])[:, 1]
    if task.id == "FA" and rise[1] > rise[0]:
        ends = ends[[2, 3, 0, 1]]
    return task.canonical(ends)


def _agree(views: NDArray[np.float64], mass: NDArray[np.float64], near_px: float) -> NDArray[np.float64]:
    """(M, K, 2) -> (K, 2): for each point the surest view, averaged with those that lie near it."""
    surest = np.take_along_axis(views, mass.argmax(0)[None, :, None], axis=0)
    weights = mass * (np.linalg.norm(views - surest, axis=-1) <= near_px)
    mean: NDArray[np.float64] = (views * weights[..., None]).sum(0) / weights.sum(0)[:, None]
    return mean


def _scores(maps: Maps, task: Task, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability within the window around each point, averaged over the views.

    The ends of a pair share their maps: a mirrored view may have them the other way round.
    """
    affine = maps.canvas.affine.numpy()
    cells = (points @ affine[:, :2].T + affine[:, 2] + 0.5) / STRIDE - 0.5
    heat = maps.heat.mean(0)
    rows, columns = torch.arange(heat.shape[1]), torch.arange(heat.shape[2])
    sums = np.zeros((task.count, task.count))
    for i, (x, y) in enumerate(cells):
        near = ((rows - y).abs() <= WINDOW + 0.5)[:, None] & ((columns - x).abs() <= WINDOW + 0.5)[None]
        sums[i] = (heat * near).sum((1, 2)).numpy()
    scores = sums.diagonal().copy()
    for pair in task.pairs:
        a, b = pair.ends
        scores[a], scores[b] = max(sums[a, a], sums[a, b]), max(sums[b, b], sums[b, a])
    return scores.clip(0, 1)
