"""Putting the bowl on a head: aiming, sliding along the skin, stand-off, and whether sound gets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.pose import Pose

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.transducer import Bowl

LEAST_STANDOFF_MM = 1.0
REACH_MM = 600.0  # how far a ray is followed
SCAN_EDGE_MM = 3.0
FIRST_GAP_MM = 12.0  # between apex and skin for a first target
VAULT = np.array(
    [
        [0.3, 0.3, 0.9],
        [-0.3, 0.3, 0.9],
        [0.6, 0.0, 0.8],
        [-0.6, 0.0, 0.8],
        [0.0, 0.9, 0.45],
        [0.0, -0.9, 0.45],
    ]
)
VAULT /= np.linalg.norm(VAULT, axis=1, keepdims=True)  # directions from the centre of the head to try


def hit_skin(head: Head, origin_mm: ArrayLike, direction: ArrayLike) -> NDArray[np.float64] | None:
    """First point (3,) where a ray enters the head; None if it never does.

    Args:
        head: The head.
        origin_mm: (3,) world point where the ray starts.
        direction: (3,) of any length.
    """
    origin = np.asarray(origin_mm, float)
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    along = np.arange(0.0, REACH_MM, 1.0)
    distance = head.distance_mm(origin + along[:, None] * unit)
    entering = np.flatnonzero((distance[:-1] > 0) & (distance[1:] <= 0))
    if not len(entering):
        return None
    i = entering[0]
    t = along[i] + distance[i] / (distance[i] - distance[i + 1])
    point: NDArray[np.float64] = origin + t * unit
    return point


def nearest_skin(head: Head, point_mm: ArrayLike) -> NDArray[np.float64]:
    """The point (3,) of the skin nearest to a world point (3,), by steps along the distance's gradient."""
    point = np.asarray(point_mm, float)
    for _ in range(40):
        distance = float(head.distance_mm(point))
        if abs(distance) < 0.05:
            break
        point = point - distance * head.normal(point)
    return point


def clearance_mm(head: Head, bowl: Bowl, pose: Pose) -> float:
    """Smallest distance between the bowl's surface and the skin; negative where the bowl cuts the head."""
    return float(head.distance_mm(pose.to_world(bowl.mesh(6, 24)[0])).min())


def place(
    head: Head, bowl: Bowl, entry_mm: ArrayLike, direction: ArrayLike, standoff_mm: float = 5.0
) -> Pose:
    """Set the bowl on the line through an entry point, as near to the head as the stand-off allows.

    Args:
        head: The head.
        bowl: The bowl.
        entry_mm: (3,) point of the skin that the beam axis goes through.
        direction: (3,) of the beam, into the head.
        standoff_mm: Smallest gap between the bowl's surface and the skin.
    """
    pose = Pose.from_apex(entry_mm, direction)
    back = np.arange(0.0, bowl.depth_mm + standoff_mm + 60.0, 2.0)
    vertices = pose.to_world(bowl.mesh(6, 24)[0])
    points = vertices - back[:, None, None] * pose.direction
    gap = head.distance_mm(points).min(1)
    free = np.flatnonzero(gap >= standoff_mm)
    if not len(free):
        return pose.moved(-back[-1])
    i = free[0]
    if i == 0:
        return pose
    fraction = (standoff_mm - gap[i - 1]) / (gap[i] - gap[i - 1])
    return pose.moved(-(back[i - 1] + float(fraction) * (back[i] - back[i - 1])))


def aim(
    head: Head, bowl: Bowl, target_mm: ArrayLike, entry_mm: ArrayLike | None = None
) -> tuple[Pose, tuple[str, ...]]:
    """Point the bowl so that its geometric focus lies on a target, if the head leaves room for that.

    Without an entry point the beam goes in at the nearest point of the skin where the bowl couples.

    Returns:
        The pose, and a warning if the geometric focus falls short of the target or lies beside it.

    Raises:
        ValueError: If the target lies outside the head or no skin point lets the bowl couple.
    """
    target = np.asarray(target_mm, float)
    if target.shape != (3,) or not np.isfinite(target).all():
        msg = f"a target must be three world coordinates in mm, got {np.asarray(target_mm).tolist()}"
        raise ValueError(msg)
    if head.distance_mm(target) > 0:
        inside = head.skin.index_to_world(np.argwhere(head.skin.array <= 0))
        outside = np.linalg.norm(inside - target, axis=1).min()
        low, high = (np.round(b).astype(int).tolist() for b in head.ct.bounds_mm)
        msg = (
            f"the target {np.round(target, 1).tolist()} lies {outside:.0f} mm outside the head: give a point "
            f"inside it, in RAS mm (the scan spans {low} to {high})"
        )
        raise ValueError(msg)
    if entry_mm is not None:
        entry = nearest_skin(head, entry_mm)
        return _focus_on(head, bowl, target, target - entry, entry)
    reasons = []
    for entry in skin_around(head, target):
        pose, warnings = _focus_on(head, bowl, target, target - entry, entry)
        reason = coupling_problem(head, bowl, pose)
        if reason is None:
            return pose, warnings
        reasons.append(reason)
    msg = f"no skin point lets the bowl couple to {np.round(target, 1).tolist()}: {reasons[0]}"
    raise ValueError(msg)


def first_target(head: Head, bowl: Bowl) -> NDArray[np.float64]:
    """A target (3,) to begin with: under the vault, as deep as the focus reaches, where the bowl couples.

    Raises:
        ValueError: If the bowl couples nowhere on the vault.
    """
    depth = bowl.radius_of_curvature_mm - FIRST_GAP_MM
    for outward in VAULT:
        entry = hit_skin(head, head.centre_mm + 300 * outward, -outward)
        if entry is None:
            continue
        target = entry - min(depth, float(np.linalg.norm(entry - head.centre_mm))) * outward
        pose, _ = _focus_on(head, bowl, target, -outward, entry)
        if coupling_problem(head, bowl, pose) is None:
            return np.asarray(target, np.float64)
    msg = "the bowl couples nowhere on the vault of this head: does the scan hold all of it?"
    raise ValueError(msg)


def coupling_problem(head: Head, bowl: Bowl, pose: Pose) -> str | None:
    """Say why the bowl does not couple to the head, or None if it does."""
    gap = clearance_mm(head, bowl, pose)
    if gap < 0:
        return f"the bowl cuts {-gap:.0f} mm into the head: move it back"
    entry = hit_skin(head, pose.apex_mm, pose.direction)
    if entry is None:
        return "the beam looks past the head: turn the bowl toward it"
    if np.linalg.norm(entry - pose.apex_mm) > 1.5 * bowl.radius_of_curvature_mm:
        return "the bowl is too far away: its focus lies outside the head"
    if _at_scan_edge(head, entry):
        return "the beam goes in where the scan ends: the tissue there is unknown"
    return None


def _at_scan_edge(head: Head, point: NDArray[np.float64]) -> bool:
    low, high = head.ct.bounds_mm
    if (np.minimum(point - low, high - point) < SCAN_EDGE_MM).any():
        return True
    covered = head.ct.notes.get("resampled", {}).get("covered")
    if covered is None:
        return False
    # a scan with gantry tilt ends in planes that are oblique to the resampled grid
    height = float(point @ np.array(covered["normal_ras"]))
    return bool(min(height - covered["from_mm"], covered["to_mm"] - height) < SCAN_EDGE_MM)


def _focus_on(
    head: Head,
    bowl: Bowl,
    target: NDArray[np.float64],
    direction: NDArray[np.float64],
    entry: NDArray[np.float64],
) -> tuple[Pose, tuple[str, ...]]:
    unit = direction / np.linalg.norm(direction)
    pose = Pose.from_apex(target - bowl.radius_of_curvature_mm * unit, unit)
    if clearance_mm(head, bowl, pose) >= LEAST_STANDOFF_MM:
        return pose, ()
    pose = place(head, bowl, entry, unit, LEAST_STANDOFF_MM)
    focus = pose.to_world([0, 0, bowl.radius_of_curvature_mm])
    short = float((target - focus) @ unit)
    if short < 0.5:
        return pose, ()
    return pose, (f"the geometric focus falls {short:.0f} mm short of the target: the head is in the way",)


def skin_around(head: Head, target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Skin points (n, 3) around a target, the nearest first."""
    i = np.arange(400) + 0.5
    z = 1 - 2 * i / 400
    phi = i * np.pi * (3 - np.sqrt(5))
    rays = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z], axis=-1)
    along = np.arange(0.0, 250.0, 1.0)
    distance = head.distance_mm(target + along[:, None] * rays[:, None])  # (ray, step)
    # The last way out counts: a ray may leave the head at the neck or an ear and enter it again.
    steps = len(along) - 1 - (distance[:, ::-1] <= 0).argmax(1)
    order = np.argsort(steps)
    skin = target + along[steps[order], None] * rays[order]
    return np.concatenate([nearest_skin(head, target)[None], skin])


def random_pose(
    head: Head, bowl: Bowl, rng: np.random.Generator, *, tilt_deg: float = 12, lowest: float = -0.1
) -> Pose:
    """Draw a pose, by default as a clinician would try it: on the vault, near the skin, near its normal.

    Args:
        head: The head.
        bowl: The bowl.
        rng: Where the draws come from.
        tilt_deg: Most that the beam may be off the normal of the skin.
        lowest: Sine of the least elevation of the entry, seen from the middle of the brain.

    Raises:
        ValueError: If no pose that couples is found in 200 draws.
    """
    for _ in range(200):
        z = rng.uniform(lowest, 1)
        phi = rng.uniform(0, 2 * np.pi)
        outward = np.array([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z])
        entry = hit_skin(head, head.centre_mm + 300 * outward, -outward)
        if entry is None:
            continue
        normal = head.normal(entry)
        tilt = np.tan(np.deg2rad(rng.uniform(0, tilt_deg)))
        across = np.cross(normal, rng.normal(size=3))
        direction = -normal + tilt * across / np.linalg.norm(across)
        pose = place(head, bowl, entry, direction, rng.uniform(2, 12))
        if coupling_problem(head, bowl, pose) is None:
            return pose
    msg = "no pose that couples was found in 200 draws: does the scan hold the vault of the skull?"
    raise ValueError(msg)
