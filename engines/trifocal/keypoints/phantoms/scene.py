"""What a synthetic B-mode image is made of: a probe, and maps of the tissue in front of it.

The contract between anatomies (`head`, `abdomen`, `femur`, `cervix`, `labour`, `cardiac`) and imaging
(`imaging`): an anatomy is a function `(task_id, rng) -> Scene`. It chooses a `Probe`, paints on a
`Canvas` (`canvas`) and returns `canvas.scene(points_mm, ...)`. It knows nothing about pixels, grey
levels, text or the window that is shown; imaging knows nothing about organs.

Frame: millimetres, x to the right, y down (deeper); (0, 0) is the middle of the probe's face, so y is the
depth on the central beam. Beams leave a curved face at right angles, from its centre at (0, -radius).
The grid covers the probe's whole sector; what is painted outside it is never seen.

Scales. Scatter is the amplitude of the scatterers: 1.0 for soft tissue (placenta 1.2, myocardium 0.8,
fat 0.7, brain 0.3, blood 0.05, amniotic fluid 0.01-0.02, lung or gas 2). Echo is the amplitude that an
interface reflects as one: skull 10-20, pericardium 4-8, valve leaflet 2-4, vessel wall 1.5-3, capsule 1-2;
soft tissue next to it images at about 1. Loss is in dB per mm, both ways together, beyond what the machine's
time gain compensation makes up for: 0 for soft tissue, -0.05 to -0.1 for fluid (bright behind), 0.5-2 for the
fetal skull, 3-8 for other bone and gas (shadow), 0.05-0.2 for a muscle that dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.ellipse import Ellipse

ProbeKind = Literal["convex", "phased", "linear", "endocavity"]


@dataclass(frozen=True)
class Probe:
    """A transducer and how deep it looks.

    Attributes:
        kind: "convex" (abdominal), "phased" (cardiac; a point-like face), "linear" or "endocavity" (small
            radius, very wide sector).
        depth_mm: From the face to the end of the central beam.
        radius_mm: Of the face's curvature: convex 40-65, phased 1-4, endocavity 9-14; not used for linear.
        half_angle_deg: Half the sector: convex 28-38, phased 36-46, endocavity 55-80; not used for linear.
        half_width_mm: Of a linear probe's face.
        frequency_mhz: Sets the size of the speckle: abdominal 2.5-6, cardiac 1.7-4, endocavity 5-9, linear
            7-12.

    Raises:
        ValueError: If a length or angle is not positive.
    """

    kind: ProbeKind
    depth_mm: float
    radius_mm: float = 50.0
    half_angle_deg: float = 33.0
    half_width_mm: float = 20.0
    frequency_mhz: float = 3.5

    def __post_init__(self) -> None:
        for name in ("depth_mm", "radius_mm", "half_angle_deg", "half_width_mm", "frequency_mhz"):
            if not getattr(self, name) > 0:
                msg = f"{name} of a probe must be positive, got {getattr(self, name)}"
                raise ValueError(msg)

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Smallest box around the sector: left, top, right, bottom; the top of a curved face is above 0."""
        if self.kind == "linear":
            return -self.half_width_mm, 0.0, self.half_width_mm, self.depth_mm
        half = np.deg2rad(self.half_angle_deg)
        reach = (self.radius_mm + self.depth_mm) * np.sin(min(half, np.pi / 2))
        rise = self.radius_mm * (np.cos(half) - 1)
        if half > np.pi / 2:  # the outer beams look upwards
            rise = min(rise, (self.radius_mm + self.depth_mm) * np.cos(half) - self.radius_mm)
        return -float(reach), float(rise), float(reach), self.depth_mm

    def position(self, beam: ArrayLike, depth_mm: ArrayLike) -> NDArray[np.float64]:
        """Where a beam is at a depth.

        Args:
            beam: (...) from -1 (left edge) to 1 (right edge).
            depth_mm: (...) along the beam from the face.

        Returns:
            (..., 2) mm.
        """
        beam, depth = np.broadcast_arrays(np.asarray(beam, float), np.asarray(depth_mm, float))
        if self.kind == "linear":
            return np.stack([beam * self.half_width_mm, depth], axis=-1)
        angle = beam * np.deg2rad(self.half_angle_deg)
        reach = self.radius_mm + depth
        return np.stack([reach * np.sin(angle), reach * np.cos(angle) - self.radius_mm], axis=-1)

    def beam_depth(self, points_mm: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The inverse of `position`: beam (...) and depth (...) mm of points (..., 2)."""
        points = np.asarray(points_mm, float)
        if self.kind == "linear":
            return points[..., 0] / self.half_width_mm, points[..., 1].copy()
        x, y = points[..., 0], points[..., 1] + self.radius_mm
        beam: NDArray[np.float64] = np.arctan2(x, y) / np.deg2rad(self.half_angle_deg)
        return beam, np.hypot(x, y) - self.radius_mm

    def direction(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Unit vector (..., 2) of the beam through each point (..., 2), away from the probe."""
        points = np.asarray(points_mm, float)
        if self.kind == "linear":
            return np.broadcast_to(np.array([0.0, 1.0]), points.shape).copy()
        from_centre = points + np.array([0.0, self.radius_mm])
        lengths = np.linalg.norm(from_centre, axis=-1, keepdims=True)
        unit: NDArray[np.float64] = from_centre / np.maximum(lengths, 1e-9)
        return unit


@dataclass(frozen=True, eq=False)
class Scene:
    """Tissue in front of a probe, on a regular grid that covers its whole sector.

    Attributes:
        probe: What looks at it.
        step_mm: Of the grid, the same in x and y.
        origin_mm: (x, y) of the centre of the grid's first sample [0, 0].
        scatter: (rows, columns) float32 amplitude of the scatterers, >= 0.
        echo: (rows, columns) float32 amplitude of specular echoes, >= 0, angle of incidence already applied.
        loss: (rows, columns) float32 dB per mm, two-way, beyond the time gain compensation.
        points_mm: (K, 2) landmarks; any order within a pair.
        ellipse_mm: For HC and FA.
        focus_mm: Box (left, top, right, bottom) that must stay in view when imaging zooms in; the points'
            own box with a margin always does. None: the whole sector is shown.
    """

    probe: Probe
    step_mm: float
    origin_mm: tuple[float, float]
    scatter: NDArray[np.float32]
    echo: NDArray[np.float32]
    loss: NDArray[np.float32]
    points_mm: NDArray[np.float64]
    ellipse_mm: Ellipse | None = None
    focus_mm: tuple[float, float, float, float] | None = None
