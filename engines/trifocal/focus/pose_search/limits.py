"""What a pose may be: gap, angle and place on the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.placement import clearance_mm, coupling_problem, hit_skin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

TOLERANCE_MM = 0.1  # of the gap
TOLERANCE_DEG = 0.5


@dataclass(frozen=True)
class PoseLimits:
    """Constraints on a pose.

    Attributes:
        standoff_mm: Least gap between the bowl's surface and the skin.
        most_incidence_deg: Most that the beam may be off the normal of the skin where it goes in.
        lowest: Sine of the least elevation of the entry, seen from the middle of the brain: keeps the bowl
            off face and neck.
        region_mm: World point (3,) that the entry must be near, if any.
        region_radius_mm: How near.

    Raises:
        ValueError: If a figure is out of range.
    """

    standoff_mm: float = 1.0
    most_incidence_deg: float = 25.0
    lowest: float = -0.2
    region_mm: tuple[float, float, float] | None = None
    region_radius_mm: float = 40.0

    def __post_init__(self) -> None:
        bounds = {"standoff_mm": (0, 100), "most_incidence_deg": (0, 90), "lowest": (-1, 1)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} must be {low} to {high}, got {value:g}"
                raise ValueError(msg)
        if not self.region_radius_mm > 0:
            msg = f"region_radius_mm must be above 0, got {self.region_radius_mm:g}"
            raise ValueError(msg)

    def problem(self, head: Head, bowl: Bowl, pose: Pose) -> str | None:
        """Say which limit a pose breaks, or None."""
        found = coupling_problem(head, bowl, pose)
        if found is not None:
            return found
        gap = clearance_mm(head, bowl, pose)
        if gap < self.standoff_mm - TOLERANCE_MM:
            return f"the gap to the skin is {gap:.1f} mm, less than {self.standoff_mm:g} mm"
        entry = hit_skin(head, pose.apex_mm, pose.direction)
        assert entry is not None  # else it would not couple
        angle = incidence_deg(head, entry, pose.direction)
        if angle > self.most_incidence_deg + TOLERANCE_DEG:
            return f"the beam is {angle:.0f} deg off the normal, more than {self.most_incidence_deg:g} deg"
        return self.place_problem(head, entry)

    def place_problem(self, head: Head, entry_mm: NDArray[np.float64]) -> str | None:
        """Say why the beam must not go in at a point of the skin, or None."""
        outward = entry_mm - head.centre_mm
        if outward[2] < self.lowest * np.linalg.norm(outward):
            return "the beam goes in too low on the head"
        if self.region_mm is not None:
            away = float(np.linalg.norm(entry_mm - np.array(self.region_mm)))
            if away > self.region_radius_mm:
                return (
                    f"the beam goes in {away:.0f} mm from the region, more than {self.region_radius_mm:g} mm"
                )
        return None


def incidence_deg(head: Head, entry_mm: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    """Angle between a beam and the inward normal of the skin at its entry (3,), in degrees."""
    cosine = float(-direction @ head.normal(entry_mm) / np.linalg.norm(direction))
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
