"""How much pressure comes through to a target from each place of the scalp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from trifocal.focus.placement import aim, nearest_skin
from trifocal.focus.pose_search.limits import PoseLimits
from trifocal.focus.pose_search.search import judge, within_gap
from trifocal.focus.predictor import FocusPredictor
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.transducer import Bowl

MESH_STEP = 3  # voxels of the skin's grid (2 mm) to a triangle's edge
APART_MM = 14.0  # between the places that are computed
NEIGHBOURS = 3


@dataclass(frozen=True, eq=False)
class ScalpMap:
    """A mesh of the skin with what the bowl would do from each point, aimed at the target.

    Attributes:
        points_mm: (n, 3) vertices in the world.
        faces: (m, 3) triangles.
        transmission: (n,) predicted; NaN where no pose is allowed.
        distance_mm: (n,) between the predicted focus and the target; NaN likewise.
    """

    points_mm: NDArray[np.float64]
    faces: NDArray[np.int64]
    transmission: NDArray[np.float64]
    distance_mm: NDArray[np.float64]


def scalp_map(
    head: Head,
    bowl: Bowl,
    target_mm: ArrayLike,
    *,
    limits: PoseLimits | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> ScalpMap:
    """Aim from places 14 mm apart, predict by the network's preview, and interpolate between them.

    Args:
        head: The head.
        bowl: The transducer.
        target_mm: (3,) world point.
        limits: Where the bowl may stand; elsewhere the map has no value.
        device: Where to compute.
        progress: Told after each place; may raise Cancelled.

    Raises:
        ValueError: If the target lies outside the head.
    """
    limits, target = limits or PoseLimits(), np.asarray(target_mm, float)
    aim(head, bowl, target)
    vertices, faces, _, _ = marching_cubes(head.skin.array, 0.0, step_size=MESH_STEP)
    points = head.skin.index_to_world(vertices)
    places = _thinned(
        points, [p for p in range(len(points)) if limits.place_problem(head, points[p]) is None]
    )
    predictor = FocusPredictor("network", device=device)
    values = np.full((len(places), 2), np.nan)
    for i, place in enumerate(places):
        progress(i / max(len(places), 1), f"place {i + 1} of {len(places)}")
        pose, _ = aim(head, bowl, target, nearest_skin(head, points[place]))
        pose = within_gap(head, bowl, pose, limits.standoff_mm)
        if limits.problem(head, bowl, pose) is None:
            found = judge(predictor, head, bowl, pose, target, coarse=True)
            values[i] = found.transmission, found.distance_mm
    transmission, distance = _interpolated(points, points[places], values)
    progress(1.0, "done")
    return ScalpMap(points, faces.astype(np.int64), transmission, distance)


def _thinned(points: NDArray[np.float64], allowed: list[int]) -> list[int]:
    """Some of the allowed points, none nearer to another than `APART_MM`."""
    kept: list[int] = []
    for i in allowed:
        if not kept or np.linalg.norm(points[kept] - points[i], axis=1).min() >= APART_MM:
            kept.append(i)
    return kept


def _interpolated(
    points: NDArray[np.float64], places: NDArray[np.float64], values: NDArray[np.float64]
) -> Any:
    """Values (2, n) at the points, from the nearest places by inverse distance; NaN where those have none."""
    if not len(places):
        return np.full((2, len(points)), np.nan)
    count = min(NEIGHBOURS, len(places))
    distance, nearest = cKDTree(places).query(points, count)
    distance, nearest = distance.reshape(len(points), count), nearest.reshape(len(points), count)
    weight = 1 / np.maximum(distance, 0.1)
    weight[np.isnan(values[nearest, 0])] = 0
    # the nearest place decides whether there is a value at all
    known = ~np.isnan(values[nearest[:, 0], 0]) & (distance[:, 0] <= APART_MM)
    total = np.where(known, weight.sum(1), np.nan)
    return (weight[..., None] * np.nan_to_num(values[nearest])).sum(1).T / total
