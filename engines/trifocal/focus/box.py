"""The box of voxels in the bowl's own frame that every rung of the ladder computes on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.transducer import Bowl

LATERAL_MARGIN_MM = 4.0
DEPTH_IN_RADII = 1.64


@dataclass(frozen=True)
class Box:
    """A regular grid in the bowl's frame: x and y across the beam, z along it.

    Attributes:
        spacing_mm: Edge of a voxel.
        shape: Voxels along (x, y, z).
        origin_mm: Centre of voxel (0, 0, 0) in the bowl's frame.
    """

    spacing_mm: float
    shape: tuple[int, int, int]
    origin_mm: tuple[float, float, float]

    @classmethod
    def around(cls, bowl: Bowl, points_per_wavelength: float = 6.0) -> Box:
        """The box of a bowl: its aperture and 4 mm more to each side, from the apex to 1.64 radii deep.

        For the default bowl at 6 points per wavelength that is 72 x 72 x 104 voxels of 1 mm.
        """
        h = bowl.wavelength_mm / points_per_wavelength
        across = 2 * ceil((bowl.aperture_mm / 2 + LATERAL_MARGIN_MM) / h)
        along = ceil(DEPTH_IN_RADII * bowl.radius_of_curvature_mm / h - 1e-9)
        along += along % 2
        half = (across - 1) / 2 * h
        return cls(h, (across, across, along), (-half, -half, 0.0))

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel index -> mm in the bowl's frame."""
        matrix = np.diag([self.spacing_mm] * 3 + [1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix

    def axis_mm(self, axis: int) -> NDArray[np.float64]:
        """Coordinates of the voxel centres along one axis in the bowl's frame."""
        return self.origin_mm[axis] + self.spacing_mm * np.arange(self.shape[axis], dtype=np.float64)
