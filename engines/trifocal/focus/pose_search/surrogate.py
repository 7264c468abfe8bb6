"""The engine as a differentiable function of the pose: focus and transmission as the bowl moves a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from trifocal.focus.acoustics import medium_from_hu
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.angular_spectrum import march
from trifocal.focus.box import Box
from trifocal.focus.predictor import PREVIEW_POINTS_PER_WAVELENGTH, water_peak_pa

if TYPE_CHECKING:
    from torch import Tensor

    from trifocal.focus.head import Head
    from trifocal.focus.learned import Learned
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

EDGE = 0.7079  # of the peak, -3 dB: what lies above it makes up the centroid


@dataclass(frozen=True, eq=False)
class Surrogate:
    """March and network on the preview's grid.

    Attributes:
        head: The head.
        bowl: The transducer.
        learned: The network that corrects the march.
        device: Where it runs.
    """

    head: Head
    bowl: Bowl
    learned: Learned
    device: torch.device

    def focus(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Focus and transmission of a pose, with gradients.

        The focus is the mean place of the voxels above -3 dB of the peak, each weighted by how far it rises
        above: a smooth stand-in for the centroid of that set.

        Args:
            matrix: (4, 4) bowl frame -> world.

        Returns:
            (3,) in world mm, and a scalar.
        """
        box = Box.around(self.bowl, PREVIEW_POINTS_PER_WAVELENGTH)
        hu, water = self.head.sample(matrix[None], box)
        medium = medium_from_hu(hu, water, self.bowl.frequency_hz)
        field = march(medium, self.bowl, box, reverberations=0)
        unit = water_peak_pa(self.bowl)
        amplitude = self.learned.amplitude(medium, field, self.bowl, box, unit)[0]
        region = beyond_near_skull(hu[0].detach().cpu().numpy(), box.spacing_mm)
        inside = amplitude * torch.from_numpy(region).to(amplitude)
        peak = inside.amax()
        weight = (inside - EDGE * peak).clamp_min(0)
        place = []
        for axis in range(3):
            along = weight.sum(tuple({0, 1, 2} - {axis}))
            place.append(along @ torch.from_numpy(box.axis_mm(axis)).to(along) / along.sum())
        local = torch.stack([*place, torch.ones_like(peak)]).to(matrix.dtype)
        return (matrix @ local)[:3], (peak / unit).to(matrix.dtype)


def moved(pose: Pose, motion: Tensor, about_mm: Tensor) -> Tensor:
    """Turn and shift a pose a little, differentiable.

    Args:
        pose: Where the bowl is.
        motion: (5,) shift along x, y and z of the bowl's frame in mm, turns about its x and y in degrees.
        about_mm: (3,) world point that it is turned about.

    Returns:
        (4, 4) bowl frame -> world. The turn is the exponential of the rotation vector.
    """
    start = torch.from_numpy(pose.matrix.copy()).to(motion)
    axes = start[:3, :3]
    vector = axes[:, :2] @ torch.deg2rad(motion[3:])
    zero = torch.zeros_like(vector[0])
    x, y, z = vector
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    turn = torch.linalg.matrix_exp(cross)
    apex = turn @ (start[:3, 3] - about_mm) + about_mm + axes @ motion[:3]
    top = torch.cat([turn @ axes, apex[:, None]], 1)
    return torch.cat([top, start[3:]])
