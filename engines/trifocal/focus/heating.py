"""How warm tissue gets: the bioheat equation on the bowl's box, and the thermal dose.

    rho c dT/dt = div(k grad T) - w rho c_blood (T - 37) + q,    q = 2 alpha I, I = p^2 / (2 rho c0)

(Pennes 1948, doi 10.1152/jappl.1948.1.2.93; q for a plane wave, all attenuation taken for absorption, which
over-states the heat in porous bone, where much is scattered). Pulses count by their mean power.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

BODY = 37.0
BLOOD_HEAT = 3617.0  # J/kg/K
NEPER_M = 100 * log(10) / 20  # Np/m of a dB/cm
COOLING_S = 60.0  # after the last pulse, while the dose still grows
SHARE_OF_STABLE = 0.8  # of the longest stable step
LONGEST_STEP_S = 1.0


@dataclass(frozen=True)
class Thermal:
    """Figures of one tissue (IT'IS database 4.1, doi 10.13099/VIP21000-04-1).

    Attributes:
        conductivity: W/m/K.
        heat: Specific heat, J/kg/K.
        perfusion: Of blood, 1/s per kg of tissue times kg of blood: ml/min/kg * 1.05e-3 / 60.
    """

    conductivity: float
    heat: float
    perfusion: float


BRAIN = Thermal(0.51, 3630.0, 559 * 1.05e-3 / 60)
BONE = Thermal(0.32, 1313.0, 10 * 1.05e-3 / 60)
SKIN = Thermal(0.37, 3391.0, 106 * 1.05e-3 / 60)
WATER = Thermal(0.60, 4178.0, 0.0)


@dataclass(frozen=True, eq=False)
class Warmth:
    """What a sonication does.

    Attributes:
        rise: (x, y, z) highest rise over 37 degC.
        doses: For each scale of the heat that was asked for, (x, y, z) CEM43 in minutes.
    """

    rise: Floats
    doses: tuple[Floats, ...]


def absorbed_power(pressure: Floats, speed: Floats, density: Floats, attenuation: Floats) -> Floats:
    """Power that a continuous wave leaves behind, W/m^3: 2 alpha I.

    Args:
        pressure: Amplitude in Pa.
        speed: m/s.
        density: kg/m3.
        attenuation: dB/cm at the wave's frequency.
    """
    power: Floats = attenuation * NEPER_M * pressure**2 / (density * speed)
    return power


def warm(
    power: Floats,
    density: Floats,
    tissues: NDArray[np.integer[Any]],
    thermal: Sequence[Thermal],
    spacing_mm: float,
    seconds: float,
    *,
    scales: Sequence[float] = (1.0,),
    cooling_s: float = COOLING_S,
    progress: Progress = silent,
) -> Warmth:
    """Step the bioheat equation through a sonication and the cooling after it.

    Explicit finite differences with the harmonic mean of the conductivities on the faces; no heat leaves the
    box, which is on the safe side. The equation is linear, so that other scales of the heat cost no more.

    Args:
        power: (x, y, z) mean absorbed power in W/m^3 while it lasts.
        density: (x, y, z) kg/m3.
        tissues: (x, y, z) index into `thermal`.
        thermal: The tissues.
        spacing_mm: Edge of a voxel.
        seconds: How long the power is on.
        scales: Factors on the heat that doses are wanted for.
        cooling_s: How long to go on.
        progress: May raise Cancelled.
    """
    conductivity, heat, perfusion = (
        np.array([getattr(t, name) for t in thermal], np.float32)[tissues]
        for name in ("conductivity", "heat", "perfusion")
    )
    capacity = (density * heat).astype(np.float32)
    h = spacing_mm / 1e3
    stable = float(1 / (6 * conductivity / (capacity * h * h) + perfusion * BLOOD_HEAT / heat).max())
    on = max(ceil(seconds / min(SHARE_OF_STABLE * stable, LONGEST_STEP_S)), 1)
    step = seconds / on
    faces = [_faces(conductivity, axis) / h**2 for axis in range(3)]
    source, loss = (power / capacity).astype(np.float32), perfusion * BLOOD_HEAT / heat
    total = on + ceil(cooling_s / step)
    rise = np.zeros(power.shape, np.float32)
    highest, doses = rise.copy(), [np.zeros(power.shape, np.float32) for _ in scales]
    for i in range(total):
        progress(i / total, "warming")
        change = -loss * rise
        if i < on:
            change += source
        for axis, face in enumerate(faces):
            _conduct(rise, change, face, capacity, axis)
        rise = rise + step * change
        np.maximum(highest, rise, out=highest)
        for dose, scale in zip(doses, scales, strict=True):
            dose += cem43_rate(BODY + scale * rise) * (step / 60)
    return Warmth(highest, tuple(doses))


def cem43_rate(celsius: Floats) -> Floats:
    """Minutes at 43 degC that a minute at this temperature counts for: R^(43 - T).

    R is 0.5 from 43 degC on, 0.25 below (Sapareto and Dewey 1984, doi 10.1016/0360-3016(84)90379-1).
    """
    rate: Floats = np.where(celsius >= 43, 0.5, 0.25) ** (43 - celsius)
    return rate


def cem43(celsius: Floats, seconds: Floats) -> float:
    """Thermal dose in minutes at 43 degC of temperatures (n,) that last so long each (n,)."""
    return float((cem43_rate(np.asarray(celsius, float)) * np.asarray(seconds, float)).sum() / 60)


def _faces(conductivity: Floats, axis: int) -> Floats:
    """Harmonic mean of the conductivities on both sides of the faces across an axis."""
    one, other = _sides(conductivity, axis)
    mean: Floats = 2 * one * other / (one + other)
    return mean


def _sides(values: Floats, axis: int) -> tuple[Floats, Floats]:
    n = values.shape[axis]
    low = [slice(None)] * 3
    high = list(low)
    low[axis], high[axis] = slice(0, n - 1), slice(1, n)
    return values[tuple(low)], values[tuple(high)]


def _conduct(rise: Floats, change: Floats, face: Floats, capacity: Floats, axis: int) -> None:
    """Add the heat that flows along an axis to the change of temperature."""
    below, above = _sides(rise, axis)
    flow = (above - below) * face
    to_below, to_above = _sides(change, axis)
    of_below, of_above = _sides(capacity, axis)
    to_below += flow / of_below
    to_above -= flow / of_above
