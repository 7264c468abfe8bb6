"""The pressure of a bowl in water: on the axis, by brute force, and fast from a table.

Every function gives the phasor P of p(t) = Re(P exp(-i w t)): an outgoing wave is exp(+i k r). The source is
the Rayleigh integral over the radiating surface (O'Neil 1949, doi 10.1121/1.1906542, eq. 4),

    P(x) = -i k drive / (2 pi) * integral of exp(i k |x - s|) / |x - s| dS,

that is a layer of monopoles of strength 2 v. It radiates to the back of the bowl as well: no real bowl,
which has a backing, does that, so take no notice of the field behind the surface.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, cos, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.transducer import Bowl

POINTS_PER_WAVELENGTH = 40  # of the table: bilinear errors stay below 1 % of any lobe above 5 % of the peak
CHUNK = 2048  # points of a series at a time: some 10 MB
REACH = 2.0  # of the table, in radii of curvature from the centre of curvature


def wavenumber(bowl: Bowl) -> float:
    """Wavenumber in water, rad/mm."""
    return 2 * pi / bowl.wavelength_mm


def oneil(bowl: Bowl, z_mm: ArrayLike) -> NDArray[np.complex128]:
    """Pressure on the axis in closed form, O'Neil 1949 (doi 10.1121/1.1906542), eq. 10.

    Args:
        bowl: The source.
        z_mm: (...) distance from the apex along the beam, not negative.

    Returns:
        (...) complex pressure in Pa.
    """
    z = np.asarray(z_mm, float)
    radius, k = bowl.radius_of_curvature_mm, wavenumber(bowl)
    rim = np.sqrt(z**2 + 2 * bowl.depth_mm * (radius - z))  # distance to the rim
    near_focus = np.abs(radius - z) < 1e-6 * radius
    gap = np.where(near_focus, 1.0, radius - z)
    pressure = radius / gap * (np.exp(1j * k * z) - np.exp(1j * k * rim))
    focal = -1j * k * bowl.depth_mm * np.exp(1j * k * z)  # the limit, rim - z -> depth * gap / radius
    return np.asarray(bowl.drive * np.where(near_focus, focal, pressure), np.complex128)


def rayleigh(bowl: Bowl, points_mm: ArrayLike, spacing_mm: float | None = None) -> NDArray[np.complex128]:
    """Pressure at any points by summing the Rayleigh integral: slow, the reference for tests.

    Args:
        bowl: The source.
        points_mm: (n, 3) in the bowl's frame.
        spacing_mm: Between the elements of the surface; a fortieth of the wavelength if None.

    Returns:
        (n,) complex pressure in Pa.
    """
    points = np.asarray(points_mm, float).reshape(-1, 3)
    k = wavenumber(bowl)
    # Gauss-Legendre in cos(theta), the midpoint rule round the axis: both converge spectrally for a
    # point off the surface, which equal areas do not.
    step = spacing_mm or bowl.wavelength_mm / 40
    rings = max(ceil(bowl.half_angle * bowl.radius_of_curvature_mm / step), 16)
    node, weight = np.polynomial.legendre.leggauss(rings)
    half = (1 - cos(bowl.half_angle)) / 2
    cos_theta = 1 - half * (node + 1)
    sin_theta = np.sqrt(1 - cos_theta**2)
    sectors = max(ceil(pi * bowl.aperture_mm / step), 16)
    phi = (np.arange(sectors) + 0.5) * 2 * pi / sectors
    radius = bowl.radius_of_curvature_mm
    x, y = radius * np.outer(sin_theta, np.cos(phi)), radius * np.outer(sin_theta, np.sin(phi))
    z = radius * (1 - cos_theta)[:, None]
    area = (weight * half)[:, None] * (2 * pi / sectors) * radius**2
    out = np.empty(len(points), complex)
    for i, (px, py, pz) in enumerate(points):
        distance = np.sqrt((x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2)
        out[i] = (area * np.exp(1j * k * distance) / distance).sum()
    return -1j * k * bowl.drive / (2 * pi) * out


def _legendre(cosine: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """P_0 ... P_{count - 1} at (m,) cosines, by upward recurrence. Returns (count, m)."""
    out = np.empty((count, *cosine.shape))
    out[0], out[1] = 1.0, cosine
    for n in range(1, count - 1):
        out[n + 1] = ((2 * n + 1) * cosine * out[n] - n * out[n - 1]) / (n + 1)
    return out


def _bessel_j(x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Spherical Bessel functions j_0 ... j_{count - 1} at (m,) x >= 0. Returns (count, m).

    The ratios j_n / j_{n-1} come from the downward recurrence, which is stable for every n.
    """
    x = np.maximum(x, 1e-8)
    ratio = np.zeros((count + 1, *x.shape))
    current = np.zeros_like(x)
    for n in range(max(count, ceil(float(x.max(initial=0.0)))) + 60, 0, -1):
        gap = (2 * n + 1) / x - current
        current = 1 / np.where(np.abs(gap) < 1e-30, 1e-30, gap)
        if n <= count:
            ratio[n] = current
    # Start from the larger of j_0 and j_1: each is zero, to rounding, for some x.
    zeroth, first = np.sin(x) / x, np.sin(x) / x**2 - np.cos(x) / x
    ratio[1] = np.where(np.abs(zeroth) >= np.abs(first), zeroth * ratio[1], first)
    out = np.cumprod(ratio[1:count], axis=0)
    return np.concatenate([zeroth[None], out])


def _hankel(x: NDArray[np.float64], count: int) -> NDArray[np.complex128]:
    """Spherical Hankel functions h_0 ... h_{count - 1} of the first kind at (m,) x > 0: (count, m)."""
    y = np.empty((count, *x.shape))
    y[0], y[1] = -np.cos(x) / x, -np.cos(x) / x**2 - np.sin(x) / x
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(1, count - 1):
            y[n + 1] = (2 * n + 1) / x * y[n] - y[n - 1]
    out: NDArray[np.complex128] = _bessel_j(x, count) + 1j * np.where(np.isfinite(y), y, 0.0)
    return out


def _radial(bowl: Bowl, rho: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Coefficients of P_n(cos theta) at (m,) distances from the centre of curvature: (count, m), Pa.

    The addition theorem exp(ikR) / R = i k sum (2n + 1) j_n(k r<) h_n(k r>) P_n(cos gamma) (DLMF 10.60.3),
    integrated over the cap, whose integral of P_n is (P_{n-1} - P_{n+1})(cos half_angle) / (2n + 1).
    """
    radius, k = bowl.radius_of_curvature_mm, wavenumber(bowl)
    count = ceil(1.25 * k * radius) + 220  # the terms fall like (r< / r>)^n once n > k r<
    edge = _legendre(np.array([cos(bowl.half_angle)]), count + 1)[:, 0]
    cap = np.empty(count)
    cap[0] = 1 - edge[1]
    cap[1:] = edge[:-2] - edge[2:]
    inner, outer = np.minimum(rho, radius), np.maximum(rho, radius)
    at_radius = k * np.array([radius])
    inside = rho <= radius
    out = np.empty((count, rho.size), complex)
    out[:, inside] = _bessel_j(k * inner[inside], count) * _hankel(at_radius, count)
    out[:, ~inside] = _bessel_j(at_radius, count) * _hankel(k * outer[~inside], count)
    out *= (k * radius) ** 2 * bowl.drive * cap[:, None]
    return out


def series(bowl: Bowl, r_mm: ArrayLike, z_mm: ArrayLike) -> NDArray[np.complex128]:
    """Pressure off the axis, exactly, by a series of Legendre polynomials about the centre of curvature.

    Args:
        bowl: The source.
        r_mm: (m,) distance from the axis.
        z_mm: (m,) distance from the apex along the beam.

    Returns:
        (m,) complex pressure in Pa.
    """
    r, z = np.asarray(r_mm, float), np.asarray(z_mm, float)
    rho = np.hypot(r, z - bowl.radius_of_curvature_mm)
    cosine = (bowl.radius_of_curvature_mm - z) / np.maximum(rho, 1e-12)
    out = np.empty(r.shape, complex)
    for i in range(0, r.size, CHUNK):
        part = slice(i, i + CHUNK)
        radial = _radial(bowl, rho[part])
        out[part] = np.einsum("nm,nm->m", radial, _legendre(cosine[part], len(radial)))
    return out


def radial_profiles(bowl: Bowl, step_mm: float, count: int, z_mm: ArrayLike) -> NDArray[np.complex64]:
    """Pressure along the radius of planes across the beam: exact at every fourth point, splined between.

    Args:
        bowl: The source.
        step_mm: Between neighbouring points, a small part of the wavelength.
        count: Points per plane, from the axis on.
        z_mm: (z,) distance of each plane from the apex.

    Returns:
        (z, count) complex pressure in Pa.
    """
    coarse = np.arange(0, count + 8, 4)
    r, z = np.meshgrid(coarse * step_mm, np.asarray(z_mm, float))
    exact = series(bowl, r.ravel(), z.ravel()).reshape(r.shape)
    return np.asarray(CubicSpline(coarse, exact, axis=1)(np.arange(count)), np.complex64)


class FreeField:
    """The amplitude in water, tabulated once per bowl and interpolated anywhere.

    The table is polar about the centre of curvature (rho, theta), where the field varies evenly and the
    kink at the radiating surface falls on a grid line. Beyond its reach the amplitude falls like 1 / rho.

    Attributes:
        bowl: The source.
        reach_mm: Largest distance from the centre of curvature in the table.
        table: (rho, theta) float32 amplitude in Pa; rho from 0 to `reach_mm`, theta from 0 (toward the
            apex) to pi.
        peak_pa: Highest amplitude in water.
    """

    def __init__(self, bowl: Bowl) -> None:
        self.bowl = bowl
        radius = bowl.radius_of_curvature_mm
        self.reach_mm = REACH * radius
        step = bowl.wavelength_mm / POINTS_PER_WAVELENGTH
        # an even number of cells: the surface is the middle line
        rho = np.linspace(0.0, self.reach_mm, 2 * ceil(radius / step) + 1)
        theta = np.linspace(0.0, pi, ceil(pi * radius / step) + 1)
        radial = _radial(bowl, rho).astype(np.complex64)
        angular = _legendre(np.cos(theta), len(radial)).astype(np.float32)
        real, imag = radial.real.T @ angular, radial.imag.T @ angular
        self.table = torch.from_numpy(np.hypot(real, imag))
        self.peak_pa = float(self.table.max())
        self._on_device: dict[torch.device, Tensor] = {}

    def amplitude(self, points: Tensor) -> Tensor:
        """Interpolate; differentiable with respect to the points.

        Args:
            points: (..., 3) mm in the bowl's frame, float32.

        Returns:
            (...) pressure amplitude in Pa, on the device of the points.
        """
        flat = points.reshape(-1, 3)
        side = flat[:, :2].square().sum(-1)
        ahead = flat[:, 2] - self.bowl.radius_of_curvature_mm
        # a micrometre keeps the gradient finite on the axis and in the focus
        rho = torch.sqrt(side + ahead.square() + 1e-6)
        theta = torch.atan2(torch.sqrt(side + 1e-6), -ahead)
        grid = torch.stack([theta * (2 / pi) - 1, rho * (2 / self.reach_mm) - 1], dim=-1)
        value = torch.nn.functional.grid_sample(
            self._table_on(points.device),
            grid[None, None],  # (1, 1, n, 2)
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return (value.view(-1) * (self.reach_mm / rho).clamp(max=1.0)).reshape(points.shape[:-1])

    def amplitude_at(self, pose: Tensor, points: Tensor) -> Tensor:
        """Interpolate at world points; differentiable with respect to the pose and the points.

        Args:
            pose: (4, 4) or (b, 4, 4) rigid transform, bowl frame -> world mm.
            points: (..., 3) world mm, float32.

        Returns:
            (...) or (b, ...) pressure amplitude in Pa.
        """
        flat = points.reshape(-1, 3)
        # the inverse of a rotation is its transpose: row vectors times the matrix
        local = (flat - pose[..., None, :3, 3]) @ pose[..., :3, :3]  # (b, n, 3)
        return self.amplitude(local).reshape(*pose.shape[:-2], *points.shape[:-1])

    @torch.inference_mode(mode=False)  # what is kept must serve autograd later
    def _table_on(self, device: torch.device) -> Tensor:
        """The table as a (1, 1, rho, theta) image on a device."""
        if device not in self._on_device:
            self._on_device[device] = self.table[None, None].to(device)
        return self._on_device[device]


@lru_cache(maxsize=8)
def free_field(bowl: Bowl) -> FreeField:
    """The table of a bowl, made at the first call."""
    return FreeField(bowl)
