"""Hounsfield units as X-ray attenuation at a stated energy, and back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.interpolate import CubicSpline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Values = TypeVar("Values", NDArray[Any], Tensor)

AIR_HU = -1000.0

# Mass attenuation of liquid water with coherent scattering: Hubbell and Seltzer, NIST Standard Reference
# Database 126 (NISTIR 5632), table 4.
_ENERGY_KEV = (10.0, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500)
_CM2_PER_G = (
    *(5.329, 1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059),
    *(0.1837, 0.1707, 0.1505, 0.1370, 0.1186, 0.1061, 0.09687),
)


@cache
def mu_water(energy_kev: float) -> float:
    """Linear attenuation of water in 1/mm at a photon energy.

    A cubic through the logarithms of NIST's table: within 0.3 % of it between its points.

    Raises:
        ValueError: If the energy is outside 10 to 500 keV.
    """
    if not _ENERGY_KEV[0] <= energy_kev <= _ENERGY_KEV[-1]:
        msg = (
            f"the energy must be within {_ENERGY_KEV[0]:g} to {_ENERGY_KEV[-1]:g} keV (effective energy of"
            f" the beam, 50 to 80 for radiographs), got {energy_kev}"
        )
        raise ValueError(msg)
    curve = CubicSpline(np.log(_ENERGY_KEV), np.log(_CM2_PER_G))
    return float(np.exp(curve(np.log(energy_kev)))) / 10  # 1 g/cm3 of water; 1/cm -> 1/mm


def hu_to_mu(hu: Values, energy_kev: float) -> Values:
    """Attenuation in 1/mm of a volume in HU; what lies below -1000 HU (a scanner's padding) is air.

    mu = mu_water * (1 + HU / 1000), the definition of the Hounsfield unit. Tissue is taken to depend on the
    energy as water does, which holds for soft tissue; bone is denser than that below the CT's own energy.
    """
    return (hu * 1e-3 + 1.0).clip(min=0.0) * mu_water(energy_kev)


def mu_to_hu(mu: Values, energy_kev: float) -> Values:
    """HU of an attenuation in 1/mm: the inverse of `hu_to_mu`."""
    return mu * (1000.0 / mu_water(energy_kev)) + AIR_HU


def water_mm(line_integrals: Values, energy_kev: float) -> Values:
    """Line integrals -ln(I / I0) as millimetres of water that attenuate as much."""
    return line_integrals * (1.0 / mu_water(energy_kev))
