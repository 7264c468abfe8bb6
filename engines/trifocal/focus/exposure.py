"""The exposure sheet: what a pulse protocol does in this head, beside the levels of the ITRUSST consensus.

The levels are those of the consensus on biophysical safety (Aubry et al. 2024, arXiv:2311.05359): mechanical
or transcranial mechanical index up to 1.9; a rise of up to 2 degC or a temperature of up to 39 degC, or a
thermal dose of up to 2 CEM43 in the brain, 16 in bone, 21 in skin. Research use only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal.focus.analysis import BONE_HU
from trifocal.focus.freefield import oneil
from trifocal.focus.heating import BONE, BRAIN, SKIN, WATER, absorbed_power, warm
from trifocal.focus.predictor import FocusPrediction, sample_medium
from trifocal.focus.uncertainty import bone_attenuation_db_cm_mhz
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from trifocal.focus.uncertainty import Doubts

MI_LEVEL = 1.9
RISE_LEVEL = 2.0
DOSE_LEVELS = {"brain": 2.0, "bone": 16.0, "skin": 21.0}
DERATING_DB_CM_MHZ = 0.3
NO_SOLVER = "there is no thermal estimate: it needs the solver's field (--verify, or --engine solver)"
WATER_INDEX, BRAIN_INDEX, BONE_INDEX, SKIN_INDEX = range(4)


@dataclass(frozen=True)
class PulseProtocol:
    """How the bowl is driven.

    Attributes:
        pulse_s: Duration of a pulse.
        prf_hz: Pulses a second.
        total_s: Duration of the sonication.
        drive_scale: Factor on the bowl's own drive, and so on the pressure in the free field.

    Raises:
        ValueError: If a figure is not positive, or pulses overlap.
    """

    pulse_s: float = 0.02
    prf_hz: float = 5.0
    total_s: float = 80.0
    drive_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isfinite(value) and value > 0):
                msg = f"{name} of a pulse protocol must be a positive number, got {value!r}"
                raise ValueError(msg)
        if self.duty_cycle > 1 + 1e-9:
            msg = (
                f"pulse_s * prf_hz must be 1 or less, got {self.duty_cycle:g}: "
                "pulses would overlap; shorten them or repeat them less often"
            )
            raise ValueError(msg)

    @property
    def duty_cycle(self) -> float:
        """Share of the time that the bowl is on."""
        return self.pulse_s * self.prf_hz


@dataclass(frozen=True)
class Bounded:
    """A figure of the sheet.

    Attributes:
        name: What it is.
        unit: Its unit; empty without.
        value: At the nominal inputs.
        bounds: 95 % of it; None where no doubts were asked for.
        level: The consensus level that it should not exceed; None where there is none.
    """

    name: str
    unit: str
    value: float
    bounds: tuple[float, float] | None
    level: float | None = None

    @property
    def verdict(self) -> str:
        """One of "within", "may exceed" (by its bounds) and "exceeds"; empty without a level."""
        if self.level is None:
            return ""
        if self.value > self.level:
            return "exceeds"
        return "may exceed" if self.bounds and self.bounds[1] > self.level else "within"


@dataclass(frozen=True)
class ExposureSheet:
    """Exposure figures of a placement and a protocol. Research use only.

    Attributes:
        protocol: How the bowl is driven.
        figures: The rows.
        notes: What is missing or to be known.
    """

    protocol: PulseProtocol
    figures: tuple[Bounded, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Bounded:
        """The row of that name."""
        return next(f for f in self.figures if f.name == name)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        rows = [vars(f) | {"verdict": f.verdict} for f in self.figures]
        return {"protocol": vars(self.protocol), "figures": rows, "notes": list(self.notes)}


def exposure(
    prediction: FocusPrediction,
    protocol: PulseProtocol,
    *,
    doubts: Doubts | None = None,
    solved: FocusPrediction | None = None,
    progress: Progress = silent,
) -> ExposureSheet:
    """Fill in the sheet.

    Args:
        prediction: The field whose peak beyond the near skull counts.
        protocol: How the bowl is driven.
        doubts: Where the bounds come from.
        solved: The solver's field of the same placement, for the thermal estimate.
        progress: May raise Cancelled.

    Raises:
        ValueError: If `solved` is no field of the solver.
    """
    if solved is not None and solved.engine != "solver":
        msg = f"a thermal estimate must be made from the solver's field, got that of {solved.engine}"
        raise ValueError(msg)
    bowl, soft = prediction.inputs.bowl, prediction.inputs.model.soft_tissue
    scale, peak = protocol.drive_scale, prediction.figures.peak_pa
    bounds = None if doubts is None else doubts.peak_bounds_pa
    z = float(prediction.inputs.pose.from_world(prediction.figures.argmax_mm)[2])
    free = derated_peak_pa(prediction, scale)
    rows = [
        _row("peak pressure in the brain", "kPa", lambda p: p / 1e3, peak * scale, _times(bounds, scale)),
        Bounded("MI", "", mechanical_index(free, bowl.frequency_hz), None, MI_LEVEL),
    ]
    notes = [
        f"MI is that of the free field, derated by {DERATING_DB_CM_MHZ} dB/cm/MHz; the peak in this head "
        f"lies {z:.0f} mm from the apex",
    ]
    for name, unit, of, level in (
        ("MItc", "", lambda p: mechanical_index(p, bowl.frequency_hz), MI_LEVEL),
        ("Isppa", "W/cm2", lambda p: intensity_w_cm2(p, soft.density, soft.sound_speed), None),
        (
            "Ispta",
            "W/cm2",
            lambda p: protocol.duty_cycle * intensity_w_cm2(p, soft.density, soft.sound_speed),
            None,
        ),
    ):
        rows.append(_row(name, unit, of, peak * scale, _times(bounds, scale), level))
    if doubts is None:
        notes.append("the figures have no bounds: ask for doubts")
    if solved is None:
        notes.append(NO_SOLVER)
    else:
        rows += _thermal(solved, protocol, doubts, progress)
        notes.append("heat: all attenuation counts as absorption; pulses by their mean power; no shear waves")
    return ExposureSheet(protocol, tuple(rows), tuple(notes))


def intensity_w_cm2(peak_pa: float, density: float, sound_speed: float) -> float:
    """Pulse-average intensity of a plane wave, p^2 / (2 rho c), in W/cm^2."""
    return peak_pa**2 / (2 * density * sound_speed) / 1e4


def mechanical_index(peak_pa: float, frequency_hz: float) -> float:
    """Peak negative pressure in MPa over the root of the frequency in MHz (IEC 62359)."""
    return peak_pa / 1e6 / sqrt(frequency_hz / 1e6)


def derated_peak_pa(prediction: FocusPrediction, scale: float = 1.0) -> float:
    """Highest pressure of the bowl on its axis in water, every depth derated by 0.3 dB/cm/MHz."""
    bowl = prediction.inputs.bowl
    z = np.arange(bowl.depth_mm, 2 * bowl.radius_of_curvature_mm, bowl.wavelength_mm / 40)
    loss_db = DERATING_DB_CM_MHZ * bowl.frequency_hz / 1e6 * z / 10
    return float((np.abs(oneil(bowl, z)) * 10 ** (-loss_db / 20)).max()) * scale


def _row(
    name: str,
    unit: str,
    of: Any,
    peak_pa: float,
    bounds: tuple[float, float] | None,
    level: float | None = None,
) -> Bounded:
    """A row that grows with the peak."""
    return Bounded(name, unit, of(peak_pa), None if bounds is None else (of(bounds[0]), of(bounds[1])), level)


def _times(bounds: tuple[float, float] | None, scale: float) -> tuple[float, float] | None:
    return None if bounds is None else (bounds[0] * scale, bounds[1] * scale)


def _thermal(
    solved: FocusPrediction, protocol: PulseProtocol, doubts: Doubts | None, progress: Progress
) -> list[Bounded]:
    """Rise and dose of the brain, the bone and the skin.

    Bounds: heat in the brain goes with the square of the peak there; that in the bone, and in the skin over
    it, with the attenuation of bone. Both are taken from the doubts, and the equation is linear in the heat.
    """
    medium = sample_medium(solved.inputs, torch.device("cpu"))
    speed, density, attenuation = medium.arrays()
    pressure = solved.pressure.array * protocol.drive_scale
    tissues = _tissues(solved)
    # water keeps its heat out of the sheet; its attenuation is none
    power = absorbed_power(pressure, speed, density, attenuation) * protocol.duty_cycle
    factors = _heat_factors(solved, doubts)
    scales = (1.0, *factors["brain"], *factors["bone"])
    thermal = (WATER, BRAIN, BONE, SKIN)
    spacing = solved.box.spacing_mm
    found = warm(
        power, density, tissues, thermal, spacing, protocol.total_s, scales=scales, progress=progress
    )
    rows = []
    for name, index in (("brain", BRAIN_INDEX), ("bone", BONE_INDEX), ("skin", SKIN_INDEX)):
        where = tissues == index
        if not where.any():
            continue
        first = 1 if name == "brain" else 3
        rise = float(found.rise[where].max())
        doses = [float(dose[where].max()) for dose in found.doses]
        low, high = scales[first : first + 2]
        around = None if doubts is None else (rise * low, rise * high)
        dosed = None if doubts is None else (doses[first], doses[first + 1])
        rows.append(Bounded(f"rise in {name}", "degC", rise, around, RISE_LEVEL))
        rows.append(Bounded(f"CEM43 in {name}", "min", doses[0], dosed, DOSE_LEVELS[name]))
    return rows


def _heat_factors(solved: FocusPrediction, doubts: Doubts | None) -> dict[str, tuple[float, float]]:
    """Least and most of the heat over the nominal, in the brain and in the bone."""
    if doubts is None:
        return {"brain": (1.0, 1.0), "bone": (1.0, 1.0)}
    nominal = doubts.prediction.figures.peak_pa
    low, high = ((p / nominal) ** 2 for p in doubts.peak_bounds_pa)
    least, most = doubts.ranges.attenuation_db_cm_mhz
    now = bone_attenuation_db_cm_mhz(solved.inputs.model)
    return {"brain": (min(low, 1), max(high, 1)), "bone": (min(least / now, 1), max(most / now, 1))}


def _tissues(solved: FocusPrediction) -> Any:
    """Water, brain, bone and skin (x, y, z): soft tissue on this side of the near skull is skin."""
    medium_water = solved.inputs.head.sample(
        torch.from_numpy(solved.inputs.pose.matrix.copy())[None], solved.inputs.box
    )[1][0].numpy()
    tissues = np.where(solved.region, BRAIN_INDEX, SKIN_INDEX)
    tissues[medium_water > 0.5] = WATER_INDEX
    tissues[solved.hu > BONE_HU] = BONE_INDEX
    return tissues
