"""Targets at random, for trials of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.placement import hit_skin
from trifocal.focus.pose_search.limits import PoseLimits
from trifocal.focus.pose_search.search import SHORT_MM, aim_through

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.transducer import Bowl

LEAST_DEPTH_MM = 25.0  # below the skin: beyond the skull
GAP_MM = 12.0  # of a bowl whose focus is to reach the deepest target, from its apex to the skin
DRAWS = 1000


def random_targets(
    head: Head, bowl: Bowl, count: int, seed: int, limits: PoseLimits | None = None
) -> list[NDArray[np.float64]]:
    """Draw targets (3,) in world mm, each below a place from which the bowl reaches it within the limits.

    Args:
        head: The head.
        bowl: The transducer.
        count: How many.
        seed: Of the draws.
        limits: Whose region the skin above a target belongs to.

    Raises:
        ValueError: If the head leaves no room for them.
    """
    rng, limits = np.random.default_rng(seed), limits or PoseLimits()
    deepest = bowl.radius_of_curvature_mm - GAP_MM
    found: list[NDArray[np.float64]] = []
    for _ in range(DRAWS):
        if len(found) == count:
            return found
        outward = rng.normal(size=3)
        outward /= np.linalg.norm(outward)
        entry = hit_skin(head, head.centre_mm + 300 * outward, -outward)
        depth = rng.uniform(LEAST_DEPTH_MM, deepest)
        if entry is None or limits.place_problem(head, entry) is not None:
            continue
        target = entry - depth * outward
        if head.distance_mm(target) > -LEAST_DEPTH_MM:
            continue
        pose, missing = aim_through(head, bowl, target, entry, limits)
        if missing <= SHORT_MM and limits.problem(head, bowl, pose) is None:
            found.append(target)
    msg = f"only {len(found)} of {count} targets were found in {DRAWS} draws: does the scan hold the vault?"
    raise ValueError(msg)
