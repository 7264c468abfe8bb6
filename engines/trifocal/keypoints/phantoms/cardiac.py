"""Cardiac scenes of the synthetic B-mode generator: PLAX, PSAX, A4C and IVC in front of a phased probe.

An anatomy (`plax`, `psax`, `a4c`, `ivc`) draws itself in millimetres at a phase of
the heart beat or of the breath; here it is turned, brought in front of a probe so that its landmarks are in
the sector, and painted (`heart_paint`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.a4c import FourChambers
from trifocal.keypoints.phantoms.heart_paint import Habit, paint
from trifocal.keypoints.phantoms.ivc import CavalVein
from trifocal.keypoints.phantoms.plax import LongAxis
from trifocal.keypoints.phantoms.psax import GreatVessels
from trifocal.keypoints.phantoms.scene import Probe
from trifocal.keypoints.phantoms.section import drawn_phase
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.phantoms.scene import Scene
    from trifocal.keypoints.phantoms.section import Section

    Floats = NDArray[np.float64]
    Anatomy = FourChambers | CavalVein | LongAxis | GreatVessels

ANATOMIES: dict[str, type[Anatomy]] = {
    "PLAX": LongAxis,
    "PSAX": GreatVessels,
    "A4C": FourChambers,
    "IVC": CavalVein,
}
CYCLE = (0.0, 0.2, 0.37, 0.5)  # phases that a placement has to suit


@dataclass(frozen=True)
class Window:
    """How a view is usually taken.

    Attributes:
        turn_deg: Mean and deviation of the turn in the image plane.
        mirrored: How often left and right are exchanged.
        start_mm: Smallest and largest depth of what lies nearest to the probe of the landmarks.
        half_angle_deg: Smallest and largest half of the sector.
        below_mm: Smallest and largest depth that is shown below the deepest landmark.
    """

    turn_deg: tuple[float, float]
    mirrored: float
    start_mm: tuple[float, float]
    half_angle_deg: tuple[float, float]
    below_mm: tuple[float, float]


WINDOWS = {
    "PLAX": Window((0.0, 6.0), 0.0, (16, 36), (37, 46), (12, 55)),
    "PSAX": Window((0.0, 11.0), 0.0, (14, 36), (36, 46), (6, 40)),
    "A4C": Window((0.0, 7.0), 0.12, (14, 32), (34, 46), (8, 40)),
    "IVC": Window((0.0, 9.0), 0.4, (30, 65), (35, 46), (20, 75)),
}


def cardiac_scene(task_id: str, rng: np.random.Generator, phase: float | None = None) -> Scene:
    """A scene of a cardiac task.

    Args:
        task_id: "PLAX", "PSAX", "A4C" or "IVC".
        rng: Decides everything else. The same state gives the same heart, probe and texture at every phase.
        phase: Of the heart beat (0 is end-diastole) or, for the IVC, of the breath (0 is the end of
            expiration); periodic with period 1. None: `rng` chooses, as still frames are chosen.

    Returns:
        See `Scene`; the landmarks in the order of the task, each pair in its canonical order.

    Raises:
        ValueError: If the task is not one of the four.
    """
    if task_id not in ANATOMIES:
        msg = f"task_id must be one of {', '.join(ANATOMIES)}, got {task_id!r}"
        raise ValueError(msg)
    anatomy = ANATOMIES[task_id].random(rng)
    chosen = _still_phase(task_id, rng)
    probe, place = _placement(task_id, anatomy, rng)
    habit = Habit.random(rng)
    texture = np.random.default_rng(rng.integers(2**63))
    section = place(anatomy.section(chosen if phase is None else phase % 1.0))
    section = replace(section, points=TASKS[task_id].canonical(section.points))
    return paint(section, probe, habit, texture)


def _still_phase(task_id: str, rng: np.random.Generator) -> float:
    """When a frame is frozen: the long axis mostly with the aortic valve open, the others anywhere."""
    systole = 0.05 + 0.24 * rng.random()
    early = rng.random() < 0.6
    phase = drawn_phase(rng)
    return float(systole) if task_id == "PLAX" and early else phase


class _Placement:
    """Where a section lies in front of a probe; the same for every phase."""

    def __init__(self, turn_deg: float, shift: Floats, mirrored: bool) -> None:
        self.turn_deg, self.shift, self.mirrored = turn_deg, shift, mirrored

    def __call__(self, section: Section) -> Section:
        return section.placed(self.turn_deg, self.shift, self.mirrored)


def _placement(task_id: str, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Probe, _Placement]:
    """A probe, and a place in which the landmarks of every phase lie in its sector."""
    window = WINDOWS[task_id]
    turn = float(np.clip(rng.normal(*window.turn_deg), window.turn_deg[0] - 18, window.turn_deg[0] + 18))
    mirrored = bool(rng.random() < window.mirrored)
    half = float(rng.uniform(*window.half_angle_deg))
    start, below = float(rng.uniform(*window.start_mm)), float(rng.uniform(*window.below_mm))
    radius, frequency = float(rng.uniform(1, 4)), float(rng.uniform(1.8, 3.8))
    aside = float(np.clip(rng.normal(0, 0.35), -1, 1))
    still = _Placement(turn, np.zeros(2), mirrored)
    sections = [still(anatomy.section(phase)) for phase in CYCLE]
    points = np.concatenate([s.points for s in sections])
    around = np.concatenate([points, *(s.context for s in sections)])
    top = start - float(points[:, 1].min())
    shift = _shift(around, half - 1.5, top, aside)
    depth = float(np.hypot(*(around + shift).T).max()) + below
    return Probe("phased", depth, radius, half, frequency_mhz=frequency), _Placement(turn, shift, mirrored)


def _shift(points: Floats, half_deg: float, least_mm: float, aside: float) -> Floats:
    """How to move points (N, 2) into a sector: as little down as they may, and somewhere across it.

    Args:
        points: mm.
        half_deg: Half the angle that they must lie in.
        least_mm: To be moved down at least.
        aside: From -1 (as far to the left as they may) to 1.

    Returns:
        (x, y) mm to add.
    """
    slope = np.tan(np.deg2rad(half_deg))
    right = float((points[:, 0] - points[:, 1] * slope).max())
    left = float((-points[:, 0] - points[:, 1] * slope).max())
    down = max(least_mm, (left + right) / (2 * slope) + 0.5)
    low, high = left - down * slope, down * slope - right
    return np.array([(low + high) / 2 + aside * (high - low) / 2, down])
