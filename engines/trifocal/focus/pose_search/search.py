"""The search: starts spread over the head, corrected by the predicted error, then by gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trifocal.focus.learned import Learned
from trifocal.focus.placement import aim, clearance_mm, hit_skin, skin_around
from trifocal.focus.pose import Pose
from trifocal.focus.pose_search.limits import PoseLimits, incidence_deg
from trifocal.focus.pose_search.surrogate import Surrogate, moved
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.predictor import Progress, one_core, pick_device, silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.transducer import Bowl

SHORT_MM = 1.5  # how far a geometric focus may fall short of a target that counts as reached
SHIFTS = 2
STEPS = 8
RATE = 0.6  # of Adam: mm and degrees at a step
MM_PER_TRANSMISSION = 3.0  # what e times the transmission is worth
RANKED_WITHIN_MM = 0.5  # poses whose distances differ by less are ranked by transmission


@dataclass(frozen=True, eq=False)
class PoseCandidate:
    """A pose, and where its focus is.

    Attributes:
        pose: Bowl frame -> world.
        focus_mm: (3,) centroid of the -3 dB set in the world.
        distance_mm: From it to the target.
        transmission: Peak pressure over that of the bowl in water.
        incidence_deg: Between the beam and the normal of the skin.
        clearance_mm: Smallest gap between bowl and skin.
        simulations: How many the solver has made for it.
        verified: Focus and transmission are the solver's.
    """

    pose: Pose
    focus_mm: NDArray[np.float64]
    distance_mm: float
    transmission: float
    incidence_deg: float
    clearance_mm: float
    simulations: int = 0
    verified: bool = False


def find_poses(
    head: Head,
    bowl: Bowl,
    target_mm: ArrayLike,
    *,
    limits: PoseLimits | None = None,
    starts: int = 12,
    keep: int = 5,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[PoseCandidate, ...]:
    """Find poses whose predicted focus lies on a target.

    The bowl is aimed geometrically from places spread over the allowed part of the head; each pose is shifted
    by the error of its predicted focus; the best are improved by gradient through march and network
    (distance, then transmission), and shifted once more on the full grid. A step that breaks a limit is not
    taken.

    Args:
        head: The head.
        bowl: The transducer.
        target_mm: (3,) world point.
        limits: What a pose may be.
        starts: Places to begin at.
        keep: How many poses to return at most.
        device: "auto", "cpu" or "cuda".
        progress: Told after each pose; may raise Cancelled.

    Returns:
        Ranked: by distance in steps of 0.5 mm, then by transmission.

    Raises:
        ValueError: If the target lies outside the head, deeper than the bowl reaches, or no place of the
            allowed region lets the bowl couple.
    """
    limits = limits or PoseLimits()
    target = np.asarray(target_mm, float)
    progress(0.0, "looking for places on the head")
    poses = geometric_aims(head, bowl, target, limits, starts)
    preview = FocusPredictor("network", device=device)
    found = []
    for i, pose in enumerate(poses):
        progress(0.05 + 0.45 * i / len(poses), f"start {i + 1} of {len(poses)}")
        candidate = judge(preview, head, bowl, pose, target, coarse=True)
        found.append(_shifted(preview, head, bowl, candidate, target, limits, coarse=True))
    best = _ranked(found)[:keep]
    surrogate = Surrogate(head, bowl, Learned.load(), pick_device(device))
    final = []
    for i, candidate in enumerate(best):
        progress(0.5 + 0.5 * i / len(best), f"by gradient: pose {i + 1} of {len(best)}")
        descended = _descended(surrogate, candidate, target, limits)
        full = judge(preview, head, bowl, descended, target)
        final.append(_shifted(preview, head, bowl, full, target, limits))
    progress(1.0, "done")
    return tuple(_ranked(final))


def judge(
    predictor: FocusPredictor,
    head: Head,
    bowl: Bowl,
    pose: Pose,
    target_mm: NDArray[np.float64],
    *,
    coarse: bool = False,
    progress: Progress = silent,
) -> PoseCandidate:
    """Predict the focus of a pose by any rung."""
    inputs = FocusInput(head, bowl, pose, target_mm)
    figures = predictor.predict(inputs.preview() if coarse else inputs, progress=progress).figures
    entry = hit_skin(head, pose.apex_mm, pose.direction)
    angle = 90.0 if entry is None else incidence_deg(head, entry, pose.direction)
    verified = predictor.engine == "solver"
    return PoseCandidate(
        pose,
        np.array(figures.focus_mm),
        float(np.linalg.norm(np.array(figures.focus_mm) - target_mm)),
        figures.transmission,
        angle,
        clearance_mm(head, bowl, pose),
        simulations=int(verified),
        verified=verified,
    )


def shifted(pose: Pose, by_mm: NDArray[np.float64]) -> Pose:
    """The same direction, the bowl moved by a world vector (3,)."""
    matrix = pose.matrix.copy()
    matrix[:3, 3] += by_mm
    return Pose(matrix)


def within_gap(head: Head, bowl: Bowl, pose: Pose, standoff_mm: float) -> Pose:
    """Move a bowl back along its beam until the gap to the skin is wide enough."""
    for _ in range(8):
        short = standoff_mm - clearance_mm(head, bowl, pose)
        if short <= 0:
            break
        pose = pose.moved(-(short + 0.05))
    return pose


def within(head: Head, bowl: Bowl, pose: Pose, target_mm: NDArray[np.float64], limits: PoseLimits) -> Pose:
    """Turn a bowl about the target until the angle at the skin is allowed, and move it back to the gap.

    What else the limits ask for (region, elevation) is not mended: ask `limits.problem`.
    """
    for _ in range(4):
        entry = hit_skin(head, pose.apex_mm, pose.direction)
        if entry is None:
            break
        excess = incidence_deg(head, entry, pose.direction) - limits.most_incidence_deg
        if excess <= 0:
            break
        axis = np.cross(pose.direction, -head.normal(entry))
        axis *= np.deg2rad(excess + 0.1) / np.linalg.norm(axis)
        matrix = np.eye(4)
        matrix[:3, :3] = turn = Rotation.from_rotvec(axis).as_matrix()
        matrix[:3, 3] = target_mm - turn @ target_mm
        pose = Pose(matrix @ pose.matrix)
    return within_gap(head, bowl, pose, limits.standoff_mm)


def _ranked(found: list[PoseCandidate]) -> list[PoseCandidate]:
    return sorted(found, key=lambda c: (int(c.distance_mm / RANKED_WITHIN_MM), -c.transmission))


def geometric_aims(
    head: Head, bowl: Bowl, target: NDArray[np.float64], limits: PoseLimits, count: int
) -> list[Pose]:
    """Geometric aims from places of the allowed region, spread apart, the nearest place first.

    Raises:
        ValueError: If the target lies outside the head, deeper than the bowl reaches, or no place of the
            allowed region lets the bowl couple.
    """
    aim(head, bowl, target)  # says what is wrong with the target
    allowed, reasons, short = [], [], []
    for entry in skin_around(head, target):
        place = limits.place_problem(head, entry)
        if place is not None:
            reasons.append(place)
            continue
        pose, missing = aim_through(head, bowl, target, entry, limits)
        problem = limits.problem(head, bowl, pose)
        if problem is None and missing > SHORT_MM:
            short.append(missing)
        elif problem is None:
            allowed.append(pose)
        else:
            reasons.append(problem)
    if allowed:
        return _spread(allowed, count)
    at = np.round(target, 1).tolist()
    if short:
        msg = (
            f"the target {at} lies {min(short):.0f} mm deeper than the bowl's focus reaches: take one of a "
            f"radius of curvature above {bowl.radius_of_curvature_mm:g} mm, or a target nearer to the skin"
        )
    else:
        common = max(set(reasons), key=reasons.count)
        msg = f"no place within the limits lets the bowl aim at {at}: most often, {common}"
    raise ValueError(msg)


def aim_through(
    head: Head, bowl: Bowl, target: NDArray[np.float64], entry_mm: NDArray[np.float64], limits: PoseLimits
) -> tuple[Pose, float]:
    """Aim through a point of the skin (3,); by how many mm the geometric focus then falls short."""
    pose = within_gap(head, bowl, aim(head, bowl, target, entry_mm)[0], limits.standoff_mm)
    return pose, float((target - pose.apex_mm) @ pose.direction) - bowl.radius_of_curvature_mm


def _spread(poses: list[Pose], count: int) -> list[Pose]:
    """Some of the poses, each as far from those before it as it can be."""
    directions = np.stack([pose.direction for pose in poses])
    chosen = [0]
    nearest = directions @ directions[0]
    while len(chosen) < min(count, len(poses)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])
    return [poses[i] for i in chosen]


def _shifted(
    predictor: FocusPredictor,
    head: Head,
    bowl: Bowl,
    candidate: PoseCandidate,
    target: NDArray[np.float64],
    limits: PoseLimits,
    *,
    coarse: bool = False,
) -> PoseCandidate:
    """Move the bowl by the error of its predicted focus, as long as that helps."""
    for _ in range(SHIFTS):
        pose = shifted(candidate.pose, target - candidate.focus_mm)
        pose = within(head, bowl, pose, target, limits)
        if limits.problem(head, bowl, pose) is not None:
            break
        after = judge(predictor, head, bowl, pose, target, coarse=coarse)
        if after.distance_mm >= candidate.distance_mm:
            break
        candidate = after
    return candidate


def _descended(
    surrogate: Surrogate, candidate: PoseCandidate, target: NDArray[np.float64], limits: PoseLimits
) -> Pose:
    """Follow the gradient of distance and transmission; the best pose within the limits on the way."""
    goal = torch.from_numpy(target).to(surrogate.device)
    motion = torch.zeros(5, dtype=torch.float64, device=surrogate.device, requires_grad=True)
    adam = torch.optim.Adam([motion], RATE)
    best, least = candidate.pose, float("inf")
    for _ in range(STEPS):
        matrix = moved(candidate.pose, motion, goal)
        with one_core():
            focus, transmission = surrogate.focus(matrix)
            loss = (focus - goal).norm() - MM_PER_TRANSMISSION * transmission.log()
            adam.zero_grad()
            loss.backward()
        pose = Pose(matrix.detach().cpu().numpy())
        if limits.problem(surrogate.head, surrogate.bowl, pose) is None and loss.item() < least:
            best, least = pose, loss.item()
        adam.step()
    return best
