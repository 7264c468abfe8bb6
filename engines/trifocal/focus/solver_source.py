"""The solver's source: monopoles between the voxels, laid onto its grid and driven through time."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.solver_kernels import GHOST, LAYER, Emitters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box

    Floats = NDArray[np.float32]
    Pads = tuple[tuple[int, int], ...]

KERNEL_HALF_WIDTH = 3  # voxels over which a point source is spread to each side
KERNEL_BETA = 6.25  # of the Kaiser window: least error up to 6 points per wavelength
RAMP_PERIODS = 4.0


@dataclass(frozen=True, eq=False)
class Monopoles:
    """Point sources that all pulse in phase.

    Attributes:
        points_mm: (n, 3) in the frame of the box.
        strength: (n,) volume velocity amplitude in m3/s; positive for exp(-i w t) with phase 0.
    """

    points_mm: NDArray[np.float64]
    strength: NDArray[np.float64]


def padding(box: Box, points_mm: NDArray[np.float64]) -> Pads:
    """Voxels to add before and after each axis: room for the source, the absorbing layer, the ghosts."""
    index = (points_mm - np.array(box.origin_mm)) / box.spacing_mm
    low, high = np.floor(index.min(0)), np.floor(index.max(0))
    pads: list[tuple[int, int]] = []
    for axis, n in enumerate(box.shape):
        before = max(0, -int(low[axis]) + KERNEL_HALF_WIDTH - 1)
        after = max(0, int(high[axis]) + KERNEL_HALF_WIDTH + 1 - n)
        pads.append((before + LAYER + GHOST, after + LAYER + GHOST))
    return tuple(pads)


def emission(weights: Floats, kh: float, direction: NDArray[np.float64]) -> float:
    """How much too strongly the source must drive the grid, averaged over directions (n, 3) of unit length.

    The far field of a monopole goes with 1 / (d(D^2)/d(k^2)), D^2 being the symbol of the discrete
    Laplacian along the direction; the factor is 1 on an infinitely fine grid, and some 0.99 at 6 points
    per wavelength.
    """
    order = np.array([0.5, 1.5])
    phase = kh * direction[:, :, None] * order
    symbol = 2 * (np.sin(phase) @ weights)
    slope = 2 * (np.cos(phase) @ (weights * order))
    return float((symbol * slope * direction).sum(1).mean() / kh)


def emitters(
    index: NDArray[np.float64], strength: NDArray[np.float64], stiffness: Floats, spacing_m: float
) -> Emitters:
    """Lay point sources between the voxels onto the grid.

    Each is spread by a Kaiser-windowed sinc per axis, whose spectrum is 1 within 0.2 % up to 6 points per
    wavelength and small where the grid would alias it.

    Args:
        index: (n, 3) fractional voxel index in the padded grid.
        strength: (n,) m3/s.
        stiffness: (nx, ny, nz) as in `Scheme`.
        spacing_m: Edge of a voxel.
    """
    reach = np.arange(1 - KERNEL_HALF_WIDTH, KERNEL_HALF_WIDTH + 1)
    first = np.floor(index.min(0)).astype(int) + reach[0]
    last = np.floor(index.max(0)).astype(int) + reach[-1]
    laid = np.zeros(last - first + 1)
    for part in np.array_split(np.arange(len(index)), len(index) // 2048 + 1):
        base = np.floor(index[part]).astype(int)
        offset = base[:, :, None] + reach - index[part][:, :, None]
        window = np.i0(KERNEL_BETA * np.sqrt(np.clip(1 - (offset / KERNEL_HALF_WIDTH) ** 2, 0, 1)))
        kernel = np.sinc(offset) * window / np.i0(KERNEL_BETA)  # (part, 3, taps)
        at = base[:, :, None] + reach - first[:, None]
        values = np.einsum("p,pi,pj,pk->pijk", strength[part], kernel[:, 0], kernel[:, 1], kernel[:, 2])
        np.add.at(laid, (at[:, 0, :, None, None], at[:, 1, None, :, None], at[:, 2, None, None, :]), values)
    i, j, k = np.nonzero(np.abs(laid) > 1e-6 * np.abs(laid).max())
    plane, row, column = i + first[0], j + first[1], k + first[2]
    weight = laid[i, j, k] * stiffness[plane, row, column] / spacing_m
    start = np.searchsorted(plane, np.arange(stiffness.shape[0] + 1))
    voxel = np.ravel_multi_index((plane, row, column), stiffness.shape)
    return Emitters(start.astype(np.uint64), voxel.astype(np.uint64), weight.astype(np.float32))


def drive(frequency_hz: float, steps_per_period: int, steps: int) -> Floats:
    """Rate of change of the unit source Re(exp(-i w t)) at each step, eased in over the first periods."""
    phase = 2 * pi * np.arange(steps) / steps_per_period
    ease = np.sin(np.clip(phase / (4 * RAMP_PERIODS), 0, pi / 2)) ** 2
    rate: Floats = (-2 * pi * frequency_hz * np.sin(phase) * ease).astype(np.float32)
    return rate


def fourier(steps_per_period: int) -> Floats:
    """(steps_per_period, 2) weights of a period's samples in the real and the imaginary part.

    Step n leaves the pressure at the time n + 1.
    """
    phase = 2 * pi * (np.arange(steps_per_period) + 1) / steps_per_period
    weights: Floats = np.stack([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)
    weights *= np.float32(2 / steps_per_period)
    return weights
