"""Truth: linear acoustics in three dimensions, stepped through time until the field is steady."""

from __future__ import annotations

from math import pi, prod
from typing import TYPE_CHECKING, Protocol

import numpy as np
import psutil
import torch

from trifocal.focus.solver_cpu import CpuStepper
from trifocal.focus.solver_grid import build, stencil, typical_speed
from trifocal.focus.solver_kernels import LAYER
from trifocal.focus.solver_source import Monopoles, emission, padding
from trifocal.focus.solver_torch import TorchStepper
from trifocal.focus.transducer import WATER_DENSITY, WATER_SOUND_SPEED
from trifocal.predictor import pick_device, silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trifocal.focus.box import Box
    from trifocal.focus.solver_grid import Scheme
    from trifocal.focus.transducer import Bowl
    from trifocal.predictor import Progress

    Floats = NDArray[np.float32]

TOLERANCE = 2e-3
WINDOW_PERIODS = 6
COARSEST = 3.9  # points per wavelength at the median sound speed
BYTES_PER_PADDED_VOXEL = 32  # two pressures, three maps, what is needed to make them
BYTES_PER_LAYER_VOXEL = 8
BYTES_PER_BOX_VOXEL = 28  # Fourier sums, the result and its two halves


def solve(
    sound_speed: Floats,
    density: Floats,
    attenuation: Floats,
    bowl: Bowl,
    box: Box,
    *,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = silent,
) -> NDArray[np.complex64]:
    """Steady pressure of a bowl in a medium, with every reflection.

    First-order linear acoustics for a fluid (no shear waves) with heterogeneous sound speed, density and
    attenuation, fourth order in space on a staggered grid; `solver_grid` states the scheme. The box is
    extended by its edge values on all sides, and ends in a perfectly matched layer. Gas is pressure-release:
    the pressure in it is zero.

    The bowl is a sheet of monopoles of twice its normal velocity v0 = drive / (rho c), transparent to what
    comes back to it. In water the result is the Rayleigh integral (O'Neil 1949, doi 10.1121/1.1906542)

        P(r) = -i w rho v0 / (2 pi) * integral of exp(i k |r - r'|) / |r - r'| over the bowl's surface,

    phase included: p(t) = Re(P exp(-i w t)), so that waves travel outward as exp(+i k r).

    Args:
        sound_speed: (x, y, z) float32 of the box's shape in the bowl's frame, m/s.
        density: The same, kg/m3.
        attenuation: The same, dB/cm at the bowl's frequency.
        bowl: The source; the medium around it should be water.
        box: The grid; the bowl may reach beyond it.
        device: "cpu" (compiled loop), "cuda" (torch) or "auto".
        threads: Of the compiled loop; one a processor if None.
        progress: Called several times a second; may raise `Cancelled`.

    Returns:
        (x, y, z) complex64 pressure phasor in Pa.

    Raises:
        ValueError: If a map does not fit the box or holds a value that is no property of matter, or the grid
            is too coarse for the frequency.
        MemoryError: If there is not enough free memory; nothing has been started then.
    """
    maps = {"sound_speed": sound_speed, "density": density, "attenuation": attenuation}
    for name, values in maps.items():
        if values.shape != box.shape:
            msg = f"{name} must have the shape of the box {box.shape}, got {values.shape}"
            raise ValueError(msg)
    target = pick_device(device)
    _check_memory(memory_bytes(bowl, box), target)
    _check_values(maps, box, bowl.frequency_hz)
    progress(0.0, "preparing the solver")
    source = bowl_source(bowl, box, typical_speed(sound_speed, density))
    maps_and_source = (sound_speed, density, attenuation, box, source, bowl.frequency_hz)
    return solve_monopoles(*maps_and_source, device=target, threads=threads, progress=progress)


def solve_monopoles(
    sound_speed: Floats,
    density: Floats,
    attenuation: Floats,
    box: Box,
    source: Monopoles,
    frequency_hz: float,
    *,
    device: torch.device | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    tolerance: float = TOLERANCE,
) -> NDArray[np.complex64]:
    """Steady pressure of any set of monopoles that pulse in phase; the rest is as in `solve`.

    Args:
        sound_speed: (x, y, z) float32, m/s.
        density: The same, kg/m3.
        attenuation: The same, dB/cm at the frequency.
        box: The grid.
        source: Points in the frame of the box, and their volume velocities.
        frequency_hz: Of the continuous wave.
        device: CUDA runs in torch; None and the CPU run the compiled loop.
        threads: Of the compiled loop; one a processor if None.
        progress: May raise `Cancelled`.
        tolerance: What may still be missing when the field counts as settled, relative and root mean square.
    """
    scheme = build(sound_speed, density, attenuation, box, source, frequency_hz)
    on_cpu = device is None or device.type == "cpu"
    stepper = CpuStepper(scheme, threads) if on_cpu or device is None else TorchStepper(scheme, device)
    return settle(stepper, scheme, progress, tolerance)


class Stepper(Protocol):
    """What steps a scheme through time."""

    def advance(self, begin: int, end: int, report: Callable[[int], None]) -> None:
        """Do the steps from begin to end."""

    def listen(self, begin: int, report: Callable[[int], None]) -> NDArray[np.complex64]:
        """Do one period of steps and return the phasor."""


def settle(
    stepper: Stepper, scheme: Scheme, progress: Progress, tolerance: float = TOLERANCE
) -> NDArray[np.complex64]:
    """Step until the phasor stands still.

    The waves first cross the box; then the phasor is taken every few periods. Reverberation dies away
    geometrically, so from two changes in a row follows what is still to come.
    """
    period, window = scheme.steps_per_period, WINDOW_PERIODS * scheme.steps_per_period
    expected = scheme.first + period + window

    def report(step: int) -> None:
        progress(min(step / expected, 0.99), "solving the wave equation")

    stepper.advance(0, scheme.first, report)
    phasor = stepper.listen(scheme.first, report)
    at, change = scheme.first + period, np.inf
    while at + window <= len(scheme.drive):
        before, last = phasor, change
        stepper.advance(at, at + window - period, report)
        phasor = stepper.listen(at + window - period, report)
        at += window
        change = float(np.linalg.norm(phasor - before)) / max(float(np.linalg.norm(phasor)), 1e-30)
        ratio = min(max(change / last, 0.5), 0.95)
        if change * ratio / (1 - ratio) < tolerance:
            break
    progress(1.0, "solving the wave equation")
    return phasor


def bowl_source(bowl: Bowl, box: Box, sound_speed: float) -> Monopoles:
    """The bowl as monopoles, four to a voxel's face, corrected for what the grid radiates too strongly.

    Args:
        bowl: The transducer.
        box: The grid.
        sound_speed: What the stencil is made for, m/s.
    """
    points = bowl.surface_points(box.spacing_mm / 2)
    velocity = bowl.drive / (WATER_DENSITY * WATER_SOUND_SPEED)
    k = 2 * pi * bowl.frequency_hz * box.spacing_mm * 1e-3
    towards = np.array([0, 0, bowl.radius_of_curvature_mm]) - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    correction = emission(stencil(k / sound_speed), k / WATER_SOUND_SPEED, towards)
    total = 2 * velocity * bowl.area_mm2 * 1e-6 * correction
    return Monopoles(points, np.full(len(points), total / len(points)))


def memory_bytes(bowl: Bowl, box: Box) -> int:
    """Most memory that `solve` needs at any time, in bytes, the caller's three maps apart."""
    rim = bowl.aperture_mm / 2
    corners = np.array([[-rim, -rim, 0.0], [rim, rim, bowl.depth_mm]])
    shape = [n + sum(pad) for n, pad in zip(box.shape, padding(box, corners), strict=True)]
    layers = sum(4 * (LAYER + 1) * prod(shape) // n for n in shape)
    return int(
        prod(shape) * BYTES_PER_PADDED_VOXEL
        + layers * BYTES_PER_LAYER_VOXEL
        + prod(box.shape) * BYTES_PER_BOX_VOXEL
    )


def _check_memory(needed: int, device: torch.device) -> None:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"the solver needs {needed / 2**30:.1f} GiB of memory for this box and {free / 2**30:.1f} GiB "
            "are free: use a smaller box or fewer points per wavelength"
        )
        raise MemoryError(msg)


def _check_values(maps: dict[str, Floats], box: Box, frequency_hz: float) -> None:
    for name, least in (("sound_speed", 1.0), ("density", 0.01), ("attenuation", 0.0)):
        low, high = float(maps[name].min()), float(maps[name].max())
        if not (low >= least and high < 1e5):  # False for NaN too
            msg = f"{name} must lie between {least:g} and 1e5 everywhere, got {low:g} to {high:g}"
            raise ValueError(msg)
    wavelength_mm = typical_speed(maps["sound_speed"], maps["density"]) / frequency_hz * 1e3
    points = wavelength_mm / box.spacing_mm
    if points < COARSEST:
        msg = f"the box must have {COARSEST:g} points per wavelength or more, got {points:.2f} (median speed)"
        raise ValueError(msg)
