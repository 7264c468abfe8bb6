"""What the solver steps through time: the padded grid, its coefficients, the source laid onto it.

Everything here is independent of the machine that does the steps (`solver_cpu`, `solver_torch`).

The scheme. With pressure p, particle velocity v, density rho, compressional modulus K and damping s,

    rho dv/dt = -grad p,        dp/dt + s p = -K (div v - q),

and v eliminated: p_tt + s p_t = K (div((1/rho) grad p) + q_t). Only the pressure at two instants is kept;
the fluxes (1/rho) grad p live on the faces between voxels (a staggered grid) and are never stored. A plane
wave exp(i k x - i w t) satisfies k^2 = (w^2 + i s w) rho / K, so that k = w/c + i alpha exactly if

    rho / K = 1/c^2 - alpha^2/w^2,        s = (2 alpha/c) / (1/c^2 - alpha^2/w^2).

Time differences over dt turn -i w into -i w gamma with gamma = sin(w dt/2) / (w dt/2), and a centred first
difference turns it into -i sin(w dt)/dt; both are undone in the coefficients, so the only dispersion left at
w is that of the stencil in space.
"""

from __future__ import annotations

from math import ceil, log, pi, sin, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trifocal.focus.solver_kernels import GHOST, LAYER, Emitters
from trifocal.focus.solver_source import RAMP_PERIODS, Monopoles, drive, emitters, padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box

    Floats = NDArray[np.float32]
    Pads = tuple[tuple[int, int], ...]

LAYER_REFLECTION = 1e-4  # of a wave at right angles, in the continuum
CROSSINGS = 1.0  # of the box's diagonal, before the field is looked at for the first time
MOST_CROSSINGS = 10.0
STABILITY = 0.99  # of the longest stable step
GAS_SPEED = 1000.0  # m/s
GAS_DENSITY = 500.0  # kg/m3
GAS_STAND_IN = 250.0  # kg/m3: sets where in the half voxel before the gas the pressure is released
DB_PER_NEPER = 20 / log(10)


class Scheme(NamedTuple):
    """A problem made ready for time stepping; arrays are (nx, ny, nz) float32, ghosts included.

    One step is p_new = p + memory (p - p_old) + stiffness div(grad p / (density_l + density_r)).

    Attributes:
        density: rho / 2, kg/m3: the sum of two neighbours is the mean on the face between them.
        stiffness: Coefficient of the divergence, spacing and time step included.
        memory: 1 where nothing is absorbed.
        stencil: (2,) float32 weights of the differences over 1 and over 3 voxels.
        face: (2 (LAYER + 1),) float32 decay per step of the absorbing layer on faces; low side, high side.
        cell: The same at voxel centres.
        emitters: The source.
        drive: (steps,) float32 what the emitters do at each step, for as long as it may take to settle.
        steps_per_period: Whole number of steps in a period.
        first: Steps before the field is looked at for the first time, a multiple of the period.
        inner: The caller's box within the padded grid.
    """

    density: Floats
    stiffness: Floats
    memory: Floats
    stencil: Floats
    face: Floats
    cell: Floats
    emitters: Emitters
    drive: Floats
    steps_per_period: int
    first: int
    inner: tuple[slice, slice, slice]


def stencil(kh: float) -> Floats:
    """Weights of the staggered first difference for waves of `kh` radians per voxel.

    The symbol D(k) = 2 (a1 sin(k/2) + a2 sin(3k/2)) is made exact for waves along an axis of the grid and
    along the diagonal of a face: D(kh) = kh, D(kh/sqrt 2) = kh/sqrt 2. With D/k - 1 = c (x - 1)(x - 1/2),
    x = (k/kh)^2, the error of the wavenumber in the direction u is 3 c (u_x u_y u_z)^2: it vanishes in every
    plane of two axes, so a beam along z keeps its focus (error at most 0.06 %, at 6 points per wavelength
    where the Taylor weights 9/8, -1/24 err by 0.6 %). Choosing the weights for the wavenumber at hand is
    the idea of Tam and Webb 1993, doi 10.1006/jcph.1993.1142.
    """
    nodes = kh * np.sqrt([0.5, 1.0])
    matrix = 2 * np.sin(np.outer(nodes, [0.5, 1.5]))
    return np.linalg.solve(matrix, nodes).astype(np.float32)


def is_gas(sound_speed: Floats, density: Floats) -> NDArray[np.bool_]:
    """Voxels that are treated as gas: pressure-release, without waves of their own.

    Against tissue, air reflects all but 0.05 % of the amplitude, and its waves are too short for any grid
    of ours. Its true density would also shorten the steps five times, by way of the stencil's outer weights.
    """
    gas: NDArray[np.bool_] = (sound_speed < GAS_SPEED) | (density < GAS_DENSITY)
    return gas


def typical_speed(sound_speed: Floats, density: Floats) -> float:
    """Median sound speed in m/s of what is no gas: the stencil and the run time are made for it.

    Raises:
        ValueError: If there is nothing but gas.
    """
    dense = sound_speed[~is_gas(sound_speed, density)]
    if not dense.size:
        msg = f"the medium must hold more than gas (below {GAS_SPEED:g} m/s or {GAS_DENSITY:g} kg/m3)"
        raise ValueError(msg)
    return float(np.median(dense))


def layer_decay(step_s: float, spacing_mm: float, sound_speed: float) -> tuple[Floats, Floats]:
    """Decay per step of the memory of the absorbing layer, on faces and on voxel centres.

    A perfectly matched layer with the damping (3/2) ln(1/R) c/L (d/L)^2 at depth d of the thickness L
    (Collino and Tsogka 2001, doi 10.1190/1.1444908), stepped as a recursive convolution (Roden and
    Gedney 2000, doi 10.1002/1098-2760(20001205)27:5<334::AID-MOP14>3.0.CO;2-A).

    Returns:
        Two (2 (LAYER + 1),) float32: the low side of an axis from the outside in, then the high side.
    """
    strongest = 1.5 * log(1 / LAYER_REFLECTION) * sound_speed / (LAYER * spacing_mm * 1e-3)
    decays = []
    for first in (LAYER + 1, LAYER + 0.5):
        depth = np.clip((first - np.arange(LAYER + 1)) / LAYER, 0, 1)
        low = np.exp(-strongest * depth**2 * step_s)
        decays.append(np.concatenate([low, low[::-1]]).astype(np.float32))
    return decays[0], decays[1]


def stiffest(modulus: Floats, half_density: Floats, weights: Floats) -> float:
    """Bound on the largest eigenvalue of K div((1/rho) grad) times the spacing squared, in (m/s)^2.

    The largest sum of absolute values in a row of the matrix (Gershgorin); exact in a uniform medium. A
    voxel of bone beside air is stiffer than either, so the bound is taken from the maps themselves.
    """
    near, far = np.abs(weights)
    load = np.zeros_like(modulus)
    for axis in range(3):
        half = np.moveaxis(half_density, axis, 0)
        face = 1 / (half[:-1] + half[1:])
        np.moveaxis(load, axis, 0)[2:-2] += near * (face[2:-1] + face[1:-2]) + far * (face[3:] + face[:-3])
    load *= modulus
    return 2 * float(near + far) * float(load.max())


def _maps(
    sound_speed: Floats, density: Floats, attenuation: Floats, pads: Pads, w: float
) -> tuple[Floats, Floats, Floats]:
    """Modulus K in Pa (0 in gas), half the density and damping s in 1/s on the padded grid."""
    alpha = attenuation * np.float32(100 / DB_PER_NEPER)  # Np/m
    ratio = sound_speed ** np.float32(-2) - (alpha / np.float32(w)) ** 2  # rho / K
    gas = is_gas(sound_speed, density)
    compressibility = sharpen(np.where(gas, np.float32(0), ratio / density), density)
    with np.errstate(divide="ignore"):
        modulus = np.where(gas, np.float32(0), 1 / compressibility)
    half = np.where(gas, np.float32(GAS_STAND_IN), density) / 2
    damping = 2 * alpha / (sound_speed * density) * modulus
    a, b, c = (np.pad(m.astype(np.float32), pads, mode="edge") for m in (modulus, half, damping))
    return a, b, c


def sharpen(compressibility: Floats, density: Floats) -> Floats:
    """Compressibility 1/K corrected beside interfaces, (x, y, z) in 1/Pa; 0 stands for gas and stays.

    The stencil reaches across an interface. Inserting the exact field (p and v = p'/rho continuous, v' in
    proportion to k = 1/K) into the scheme and summing its residuals against such a field (q, u) leaves, at
    normal incidence and with the Taylor weights, h^2 w^2 A (p q + v u) with

        A = X/16 - Y/48,    X = k_r rho_r - k_l rho_l,    Y = k_r rho_l - k_l rho_r,

    which moving A / mean(rho) of compressibility from the right voxel to the left one cancels. At 6 points
    per wavelength it lowers the error of the transmission through the skull of the ITRUSST benchmark 4 from
    1.8 % to 0.3 % (normal incidence).
    """
    corrected = compressibility.copy()
    for axis in range(3):
        k, rho, out = (np.moveaxis(f, axis, 0) for f in (compressibility, density, corrected))
        x = k[1:] * rho[1:] - k[:-1] * rho[:-1]
        y = k[1:] * rho[:-1] - k[:-1] * rho[1:]
        moved = (x / 16 - y / 48) * 2 / (rho[1:] + rho[:-1])
        moved[(k[1:] == 0) | (k[:-1] == 0)] = 0
        out[1:] -= moved
        out[:-1] += moved
    return np.maximum(corrected, compressibility / 2)


def _still_ghosts(modulus: Floats) -> None:
    """Without stiffness and memory the pressure of a voxel stays zero: so for the ghosts, and for gas."""
    for axis in range(3):
        planes = np.moveaxis(modulus, axis, 0)
        planes[:GHOST] = planes[-GHOST:] = 0


def build(
    sound_speed: Floats,
    density: Floats,
    attenuation: Floats,
    box: Box,
    source: Monopoles,
    frequency_hz: float,
) -> Scheme:
    """Make a problem ready for time stepping.

    Args:
        sound_speed: Of the box's shape, m/s.
        density: Of the box's shape, kg/m3.
        attenuation: Of the box's shape, dB/cm at the frequency.
        box: The caller's grid.
        source: Monopoles in the frame of the box.
        frequency_hz: Of the continuous wave.
    """
    h, w = box.spacing_mm * 1e-3, 2 * pi * frequency_hz
    typical = typical_speed(sound_speed, density)
    weights = stencil(w * h / typical)
    pads = padding(box, source.points_mm)
    modulus, half, damping = _maps(sound_speed, density, attenuation, pads, w)
    longest = 2 * h / sqrt(stiffest(modulus, half, weights)) * STABILITY
    per_period = max(ceil(1 / (frequency_hz * longest)), 8)
    dt = 1 / (frequency_hz * per_period)
    gamma = sin(w * dt / 2) / (w * dt / 2)
    damping *= np.float32(gamma**2 * w * dt / sin(w * dt) * dt / 2)
    modulus *= np.float32((gamma * dt / h) ** 2)
    modulus /= 1 + damping
    _still_ghosts(modulus)
    memory = np.where(modulus > 0, (1 - damping) / (1 + damping), np.float32(0))
    face, cell = layer_decay(dt, box.spacing_mm, typical)
    index = (source.points_mm - np.array(box.origin_mm)) / box.spacing_mm + [before for before, _ in pads]
    emitting = emitters(index, source.strength, modulus, h)
    travel = float(np.linalg.norm(box.shape)) * h / typical * frequency_hz  # periods
    first = per_period * ceil(RAMP_PERIODS + CROSSINGS * travel)
    pushes = drive(frequency_hz, per_period, first + per_period * ceil(MOST_CROSSINGS * travel))
    x, y, z = (slice(before, before + n) for (before, _), n in zip(pads, box.shape, strict=True))
    return Scheme(half, modulus, memory, weights, face, cell, emitting, pushes, per_period, first, (x, y, z))
