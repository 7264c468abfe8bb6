"""The last step of aiming: shift the bowl by the error that the solver measures, and simulate again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.placement import aim
from trifocal.focus.pose_search.limits import PoseLimits
from trifocal.focus.pose_search.search import (
    PoseCandidate,
    find_poses,
    geometric_aims,
    judge,
    shifted,
    within,
)
from trifocal.focus.predictor import FocusPredictor
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

ENOUGH_MM = 0.1  # nearer than the solver's grid can tell
TOLD_MM = 1.0  # how far the focus may fall short before it is said


@dataclass(frozen=True, eq=False)
class Aimed:
    """What the search and the solver have made of a target.

    Attributes:
        geometric: The geometric aim, measured by the solver.
        predicted: The poses of the search as predicted, the best first.
        traces: For each of them what the solver measured: as it was found, then after each shift.
    """

    geometric: PoseCandidate
    predicted: tuple[PoseCandidate, ...]
    traces: tuple[tuple[PoseCandidate, ...], ...]

    @property
    def poses(self) -> tuple[PoseCandidate, ...]:
        """The nearest of each trace and the geometric aim, the nearest of all first: the last word."""
        best = [_nearest(trace) for trace in self.traces]
        return tuple(sorted([self.geometric, *best], key=lambda c: c.distance_mm))

    def distance_after(self, simulations: int) -> float:
        """Least measured distance in mm of all poses after so many simulations of each; the aim is one."""
        measured = [c.distance_mm for trace in self.traces for c in trace[:simulations]]
        return min(self.geometric.distance_mm, *measured)


def refine_by_solver(
    candidate: PoseCandidate,
    head: Head,
    bowl: Bowl,
    target_mm: ArrayLike,
    *,
    limits: PoseLimits | None = None,
    simulations: int = 2,
    device: str = "auto",
    progress: Progress = silent,
) -> PoseCandidate:
    """Measure a pose by the solver, shift it by what is measured, and measure again.

    Args:
        candidate: Where to begin.
        head: The head.
        bowl: The transducer.
        target_mm: (3,) world point.
        limits: What a pose may be; a shift that would break them ends the loop.
        simulations: At most so many runs of the solver.
        device: Where it runs.
        progress: Told all the time; may raise Cancelled.

    Returns:
        The pose of the smallest measured distance, with the number of simulations.

    Raises:
        ValueError: If there is to be no simulation.
    """
    trace = _trace(
        candidate.pose, head, bowl, np.asarray(target_mm, float), limits, simulations, device, progress
    )
    return replace(_nearest(trace), simulations=len(trace))


def aim_by_solver(
    head: Head,
    bowl: Bowl,
    target_mm: ArrayLike,
    *,
    limits: PoseLimits | None = None,
    starts: int = 12,
    keep: int = 3,
    simulations: int = 3,
    device: str = "auto",
    progress: Progress = silent,
) -> Aimed:
    """Search, and let the solver have the last word; never worse than the geometric aim.

    Where the geometric aim breaks the limits, that from the nearest place within them is taken in its stead.

    Args:
        head: The head.
        bowl: The transducer.
        target_mm: (3,) world point.
        limits: What a pose may be.
        starts: Places that the search begins at.
        keep: Poses that the solver refines.
        simulations: Of each, at most; the geometric aim gets one.
        device: Where to compute.
        progress: May raise Cancelled.

    Raises:
        ValueError: As `find_poses`.
    """
    target, limits = np.asarray(target_mm, float), limits or PoseLimits()

    def part(start: float, size: float) -> Progress:
        return lambda fraction, what: progress(start + size * fraction, what)

    found = find_poses(
        head, bowl, target, limits=limits, starts=starts, keep=keep, device=device, progress=part(0, 0.3)
    )
    pose, _ = aim(head, bowl, target)
    if limits.problem(head, bowl, pose) is not None:
        pose = geometric_aims(head, bowl, target, limits, 1)[0]
    geometric = _trace(pose, head, bowl, target, limits, 1, device, part(0.3, 0.1))[0]
    share = 0.6 / len(found)
    traces = tuple(
        _trace(c.pose, head, bowl, target, limits, simulations, device, part(0.4 + share * i, share))
        for i, c in enumerate(found)
    )
    progress(1.0, "done")
    return Aimed(geometric, found, traces)


def shortfall(candidate: PoseCandidate, target_mm: ArrayLike, limits: PoseLimits) -> str | None:
    """Say that a focus falls short of the target because the bowl is as near as it may be, or None.

    Behind a skull the focus was measured to lie some millimetres before the geometric one, and a bowl that
    touches the head cannot make up for that.
    """
    target = np.asarray(target_mm, float)
    ahead = float((target - candidate.focus_mm) @ candidate.pose.direction)
    if ahead < TOLD_MM or candidate.clearance_mm > limits.standoff_mm + TOLD_MM:
        return None
    at = np.round(target, 1).tolist()
    return (
        f"the focus falls {ahead:.1f} mm short of the target {at} and the bowl is as near as it may be: "
        "allow a smaller gap or more of the head, or take a bowl of larger radius of curvature"
    )


def _trace(
    pose: Pose,
    head: Head,
    bowl: Bowl,
    target: NDArray[np.float64],
    limits: PoseLimits | None,
    simulations: int,
    device: str,
    progress: Progress,
) -> tuple[PoseCandidate, ...]:
    """What the solver measures at a pose and after each shift of it."""
    if simulations < 1:
        msg = f"simulations must be 1 or more, got {simulations}"
        raise ValueError(msg)
    limits, solver = limits or PoseLimits(), FocusPredictor("solver", device=device)
    measured: list[PoseCandidate] = []
    while len(measured) < simulations:

        def tell(fraction: float, _: str, done: int = len(measured)) -> None:
            progress((done + fraction) / simulations, f"simulation {done + 1} of {simulations}")

        now = judge(solver, head, bowl, pose, target, progress=tell)
        measured.append(replace(now, simulations=len(measured) + 1))
        # A shift that made it worse has jumped between the ripples of a standing wave: half of it is tried.
        best = _nearest(tuple(measured))
        size = 0.5 ** (len(measured) - best.simulations)
        pose = within(head, bowl, shifted(best.pose, size * (target - best.focus_mm)), target, limits)
        if best.distance_mm < ENOUGH_MM or limits.problem(head, bowl, pose) is not None:
            break
    return tuple(measured)


def _nearest(trace: tuple[PoseCandidate, ...]) -> PoseCandidate:
    return min(trace, key=lambda c: c.distance_mm)
