"""Where the bowl, its target and its axis rule are, and the poses before and after: no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from trifocal.focus.placement import clearance_mm, hit_skin, nearest_skin, place

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

Axis = Literal["target", "normal", "free"]
AXES: tuple[Axis, ...] = get_args(Axis)
MOST_STANDOFF_MM = 60.0
HISTORY = 200


@dataclass(frozen=True, eq=False)
class Placing:
    """One state of the placement.

    Attributes:
        pose: Bowl frame -> world.
        target_mm: (3,) where the focus is wanted.
        axis: What the beam axis follows while the bowl slides: the target, the normal of the skin, or neither
            (it keeps its direction).
        standoff_mm: Gap between the bowl and the skin that sliding keeps.
    """

    pose: Pose
    target_mm: NDArray[np.float64]
    axis: Axis = "target"
    standoff_mm: float = 5.0

    def entry_mm(self, head: Head) -> NDArray[np.float64]:
        """Point (3,) of the skin that the beam goes in at; if it passes the head, the nearest to the apex."""
        hit = hit_skin(head, self.pose.apex_mm, self.pose.direction)
        return nearest_skin(head, self.pose.apex_mm) if hit is None else hit

    def slid(self, head: Head, bowl: Bowl, entry_mm: ArrayLike) -> Placing:
        """The bowl over another point (3,) of the skin, its axis by the rule."""
        entry = np.asarray(entry_mm, float)
        direction = self.pose.direction
        if self.axis == "target" and np.linalg.norm(self.target_mm - entry) > 1.0:
            direction = self.target_mm - entry
        elif self.axis == "normal":
            direction = -head.normal(entry)
        return replace(self, pose=place(head, bowl, entry, direction, self.standoff_mm))

    def tilted(self, head: Head, bowl: Bowl, entry_mm: ArrayLike, direction: ArrayLike) -> Placing:
        """The bowl over the same point with another direction (3,), which it keeps from then on."""
        pose = place(head, bowl, entry_mm, direction, self.standoff_mm)
        return replace(self, pose=pose, axis="free")

    def posed(self, head: Head, bowl: Bowl, pose: Pose) -> Placing:
        """The bowl in a pose of its own; the stand-off becomes what that pose has."""
        gap = float(np.clip(clearance_mm(head, bowl, pose), 0.0, MOST_STANDOFF_MM))
        return replace(self, pose=pose, axis="free", standoff_mm=gap)


@dataclass
class History:
    """Placings to go back to and forth to."""

    _past: list[Placing] = field(default_factory=list)
    _future: list[Placing] = field(default_factory=list)
    _tag: str = ""

    def remember(self, placing: Placing, tag: str = "") -> None:
        """Note a placing that is about to be left; consecutive changes of the same tag count as one."""
        if tag and tag == self._tag:
            return
        self._tag = tag
        self._past.append(placing)
        del self._past[:-HISTORY]
        self._future.clear()

    def undo(self, now: Placing) -> Placing | None:
        """The placing before, or None."""
        return self._step(now, self._past, self._future)

    def redo(self, now: Placing) -> Placing | None:
        """The placing that was undone last, or None."""
        return self._step(now, self._future, self._past)

    def clear(self) -> None:
        """Forget everything."""
        self._past.clear()
        self._future.clear()
        self._tag = ""

    @property
    def can_undo(self) -> bool:
        """Whether there is a placing before."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a placing was undone."""
        return bool(self._future)

    def _step(self, now: Placing, source: list[Placing], sink: list[Placing]) -> Placing | None:
        self._tag = ""
        if not source:
            return None
        sink.append(now)
        return source.pop()


def angles_of(direction: ArrayLike) -> tuple[float, float]:
    """Azimuth (from R toward A) and elevation (toward S) of a direction (3,), in degrees."""
    x, y, z = np.asarray(direction, float) / np.linalg.norm(direction)
    return float(np.rad2deg(np.arctan2(y, x))), float(np.rad2deg(np.arcsin(np.clip(z, -1, 1))))


def direction_of(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float64]:
    """Unit vector (3,) of an azimuth and an elevation."""
    a, e = np.deg2rad([azimuth_deg, elevation_deg])
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
