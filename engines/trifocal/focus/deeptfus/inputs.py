"""What the network is given and what it answers with, the same in training and in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d, interpolate

BONE_HU = 2000.0  # the paper maps 0 to 2000 HU to 0 to 1
Frame = Literal["world", "bowl"]


@dataclass(frozen=True)
class Task:
    """What a network is asked: on which grid, in which frame, in which unit.

    Attributes:
        voxels: Edge of the network's cube; a data set's cube is averaged down to it.
        frame: Axes of the cube: those of the world (published) or of the bowl.
        absolute: The answer is relative to the peak of the bowl in water, not to its own peak (published).
        cube_voxels: Edge of the data's cubes.
        spacing_mm: Of the data's voxels.
    """

    voxels: int = 256
    frame: Frame = "world"
    absolute: bool = False
    cube_voxels: int = 256
    spacing_mm: float = 0.5

    @property
    def network_spacing_mm(self) -> float:
        """Of the network's voxels."""
        return self.spacing_mm * self.cube_voxels / self.voxels


def network_volume(ct: Tensor, march: Tensor | None, water_peak: float, voxels: int) -> Tensor:
    """The input channels (c, v, v, v) on the network's grid.

    Args:
        ct: (n, n, n) in HU, n a multiple of v.
        march: (n, n, n) amplitude in Pa, where the network has a prior.
        water_peak: Peak of the bowl in water in Pa; used with a march only.
        voxels: v.
    """
    channels = [(ct / BONE_HU).clamp(0, 1)]
    if march is not None:
        channels.append(torch.log1p(march / water_peak))
    return averaged(torch.stack(channels), voxels)


def averaged(volume: Tensor, voxels: int) -> Tensor:
    """(..., n, n, n) -> (..., v, v, v), the mean of whole blocks.

    Raises:
        ValueError: If n is no multiple of v.
    """
    n = volume.shape[-1]
    if n == voxels:
        return volume
    if n % voxels:
        msg = f"the network's {voxels} voxels must divide the {n} of the data: choose {n} over a power of 2"
        raise ValueError(msg)
    return adaptive_avg_pool3d(volume.reshape(1, -1, *volume.shape[-3:]), voxels).view(
        *volume.shape[:-3], voxels, voxels, voxels
    )


def widened(volume: Tensor, voxels: int) -> Tensor:
    """(v, v, v) -> (n, n, n) by linear interpolation between the centres of the voxels."""
    if volume.shape[-1] == voxels:
        return volume
    return interpolate(volume[None, None], (voxels,) * 3, mode="trilinear", align_corners=False)[0, 0]


def network_points(transducer: np.ndarray, edge: int, count: int, seed: int | None = None) -> Tensor:
    """Some points (count, 3) of a transducer, in units of half the cube's edge from its centre.

    Args:
        transducer: (m, 3) voxel indices of the bowl's surface.
        edge: Voxels of the cube that they count in.
        count: How many; a transducer of fewer repeats some.
        seed: Which ones; None takes them evenly from the list.
    """
    m = len(transducer)
    if seed is None:
        chosen = np.linspace(0, m - 1, count).round().astype(int)
    else:
        chosen = np.random.default_rng(seed).choice(m, count, replace=m < count)
    return torch.from_numpy((2 * (transducer[chosen] + 0.5) / edge - 1).astype(np.float32))


def log_pressure(pressure: Tensor, unit: float | None = None) -> Tensor:
    """log(1 + p / unit) of (v, v, v); the unit is the peak if there is none, which makes the peak log 2."""
    return torch.log1p(pressure / (float(pressure.max()) if unit is None else unit))


def pressure_of(answer: Tensor, unit: float) -> Tensor:
    """Pressure amplitude in the unit's unit, from what the network answers; never negative."""
    return torch.expm1(answer).clamp_min(0) * unit
