"""The hybrid angular spectrum march: fast physics, one forward sweep through the medium.

The field is carried from plane to plane along the beam. Each step is a diffraction in Fourier space and a
correction in real space for what the layer holds (hybrid angular spectrum, Vyas and Christensen 2012,
doi 10.1109/TUFFC.2012.2300), with three departures:

* The diffraction is done for several reference wavenumbers, and every voxel interpolates between the two
  that enclose its own (phase shift plus interpolation, Gazdag and Sguazzero 1984, doi 10.1190/1.1441643):
  bone and water differ by a factor of two, for which no single reference serves.
* The start is exact: the planes of plain water in front of the head hold the free field of the bowl.
* Interfaces lie on the planes, layers between them (each the mean of its two planes), so that a step is one
  diffraction and second order in the spacing.

Everything is differentiable with respect to the medium. Phasors are of exp(-i w t), as in `freefield`.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.interpolate import CubicSpline
from torch import Tensor
from torch.nn.functional import pad as pad_edges

from trifocal.focus.freefield import series, wavenumber
from trifocal.focus.transducer import WATER_DENSITY, WATER_SOUND_SPEED, Bowl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.acoustics import Medium
    from trifocal.focus.box import Box

PADDING = 4 / 3  # width of a padded plane over that of the box
REFERENCES = 3  # wavenumbers per layer that holds bone
EVEN = 0.02  # a layer whose wavenumbers differ by less needs one reference only
QUANTUM = 1 / 200  # references are rounded to this part of the wavenumber in water, so that they can be kept
EDGE_POWER = 0.25  # how fast the taper at the edge of a plane absorbs, per step
DB_CM_TO_NP_MM = log(10) / 200


def march(medium: Medium, bowl: Bowl, box: Box) -> Tensor:
    """Pressure of the bowl in the medium, marched along the beam.

    Planes in front of the rim of the bowl, and those that hold nothing but water before the head, are the
    free field; what the head reflects back into them is left out.

    Args:
        medium: (b, x, y, z) in the bowl's frame, on any device.
        bowl: The source.
        box: The grid of the medium.

    Returns:
        (b, x, y, z) complex64 phasor in Pa.
    """
    planes = _planes(bowl, box, medium.sound_speed.device)
    start = _start(medium, planes)
    k, attenuation, impedance = _layers(medium, planes, start)  # (layer, b, n, n) each
    references = _references(k, planes.wavenumber)
    batch = k.shape[1]
    p = planes.incident[start].expand(batch, -1, -1)
    out = [planes.crop(planes.incident[: start + 1])[:, None].expand(-1, batch, -1, -1)]
    for i, layer in enumerate(references):
        p = _step(p, k[i], attenuation[i], layer, planes)
        if i + 1 < len(impedance):
            p = p * (2 * impedance[i + 1] / (impedance[i] + impedance[i + 1]))
        out.append(planes.crop(p)[None])
    return torch.cat(out).permute(1, 2, 3, 0)


class _Planes:
    """What depends on bowl, box and device only: the padded planes, the incident field, the propagators.

    Attributes:
        spacing: Of the box, mm.
        wavenumber: In water, rad/mm.
        rim: Index of the first plane that is not in front of the rim of the bowl.
        incident: (z, n, n) complex64 free field in Pa on padded planes.
        taper: (n, n) float32, 1 over the box, falling to 0 at the edge of the padding.
    """

    def __init__(self, bowl: Bowl, box: Box, device: torch.device) -> None:
        self.bowl, self.box, self.device = bowl, box, device
        self.spacing = box.spacing_mm
        self.wavenumber = wavenumber(bowl)
        self.rim = int(np.searchsorted(box.axis_mm(2), bowl.depth_mm))
        self.size = [next_fast_len(round(n * PADDING)) for n in box.shape[:2]]
        self.margin = [(m - n) // 2 for m, n in zip(self.size, box.shape, strict=False)]
        x, y = (
            (np.arange(m) - p) * box.spacing_mm + o
            for m, p, o in zip(self.size, self.margin, box.origin_mm, strict=False)
        )
        r = np.hypot(x[:, None], y)
        self.incident = torch.from_numpy(_rings(bowl, r, box.axis_mm(2))).to(device)
        tapers = [_taper(m, n, p) for m, n, p in zip(self.size, box.shape, self.margin, strict=False)]
        self.taper = torch.from_numpy(np.outer(*tapers).astype(np.float32)).to(device)
        self.absorber = self.taper**EDGE_POWER
        kx, ky = (2 * pi * np.fft.fftfreq(m, box.spacing_mm) for m in self.size)
        self.transverse = torch.from_numpy(kx[:, None] ** 2 + ky**2).to(device)
        self._propagators: dict[float, Tensor] = {}

    def crop(self, plane: Tensor) -> Tensor:
        """(..., n, n) padded -> (..., x, y)."""
        (p, q), (x, y) = self.margin, self.box.shape[:2]
        return plane[..., p : p + x, q : q + y]

    def pad(self, volume: Tensor, edge: float) -> Tensor:
        """(b, x, y, z) -> (z, b, n, n): the sides go on outward and fade into a value at the edge."""
        (p, q), (m, n), (x, y) = self.margin, self.size, self.box.shape[:2]
        planes = volume.permute(3, 0, 1, 2)
        padded = pad_edges(planes, (q, n - y - q, p, m - x - p), mode="replicate")
        return edge + (padded - edge) * self.taper

    def propagator(self, reference: float) -> Tensor:
        """(n, n) complex64: exp(i kz h), evanescent waves decaying."""
        if reference not in self._propagators:
            kz = torch.sqrt((reference**2 - self.transverse).to(torch.complex128))
            self._propagators[reference] = torch.exp(1j * kz * self.spacing).to(torch.complex64)
        return self._propagators[reference]


@lru_cache(maxsize=4)
def _planes(bowl: Bowl, box: Box, device: torch.device) -> _Planes:
    return _Planes(bowl, box, device)


def _rings(bowl: Bowl, r: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Free field (z, n, n) on planes with distances r (n, n) from the axis: exact on rings, then splined."""
    rings = np.linspace(0, r.max(), int(16 * r.max() / bowl.wavelength_mm))
    mesh_r, mesh_z = np.meshgrid(rings, z)
    values = series(bowl, mesh_r.ravel(), mesh_z.ravel()).reshape(mesh_r.shape)
    planes: NDArray[np.complex64] = CubicSpline(rings, values, axis=1)(r).astype(np.complex64)
    return planes


def _taper(size: int, inner: int, margin: int) -> NDArray[np.float64]:
    """1 over the inner part, a raised cosine to 0 on both sides (never below: powers of it stay finite)."""
    outside = np.maximum(margin - np.arange(size), np.arange(size) - (margin + inner - 1)).clip(0)
    taper: NDArray[np.float64] = np.clip(0.5 + 0.5 * np.cos(pi * outside / (margin + 1)), 0, 1)
    return taper


def _start(medium: Medium, planes: _Planes) -> int:
    """Last plane before the head, up to which there is only water; the rim where gradients are wanted."""
    tensors = (medium.sound_speed, medium.density, medium.attenuation)
    if any(t.requires_grad for t in tensors):
        return planes.rim
    water = (WATER_SOUND_SPEED, WATER_DENSITY, 0.0)
    plain = [((t - w).abs() <= 1e-3 * w).flatten(0, 2).all(0) for t, w in zip(tensors, water, strict=True)]
    found = (~torch.stack(plain).all(0)).nonzero()
    first = int(found[0]) if len(found) else planes.box.shape[2]
    return min(max(first - 1, planes.rim), planes.box.shape[2] - 1)


def _layers(medium: Medium, planes: _Planes, start: int) -> tuple[Tensor, Tensor, Tensor]:
    """Wavenumber (rad/mm), attenuation (Np/mm) and impedance of the layers after plane `start`."""
    c = planes.pad(medium.sound_speed[..., start:], WATER_SOUND_SPEED)
    rho = planes.pad(medium.density[..., start:], WATER_DENSITY)
    alpha = planes.pad(medium.attenuation[..., start:], 0.0) * DB_CM_TO_NP_MM
    slowness = 1 / c
    k = pi * planes.bowl.frequency_hz * 1e-3 * (slowness[1:] + slowness[:-1])
    return k, (alpha[1:] + alpha[:-1]) / 2, (rho[1:] + rho[:-1]) / k


def _references(k: Tensor, water: float) -> list[list[float]]:
    """Reference wavenumbers of every layer (layer, b, n, n), rounded so that propagators can be kept."""
    flat = k.detach().flatten(1)
    low, high, mean = (v.tolist() for v in (flat.amin(1), flat.amax(1), flat.mean(1)))
    quantum = QUANTUM * water
    out = []
    for a, b, m in zip(low, high, mean, strict=True):
        wanted = [m] if b - a < EVEN * b else np.linspace(a, b, REFERENCES)
        out.append([round(float(w) / quantum) * quantum for w in wanted])
    return out


def _step(p: Tensor, k: Tensor, attenuation: Tensor, references: list[float], planes: _Planes) -> Tensor:
    """Carry a plane (b, n, n) through one layer of wavenumber k and attenuation (b, n, n)."""
    h = planes.spacing
    spectrum = torch.fft.fft2(p)
    damping = torch.exp(-attenuation * h) * planes.absorber
    gap = references[1] - references[0] if len(references) > 1 else 1.0
    position = (k - references[0]) / gap
    total = torch.zeros_like(spectrum)
    for j, reference in enumerate(references):
        weight = damping if len(references) == 1 else damping * _hat(position, j, len(references) - 1)
        carried = torch.fft.ifft2(spectrum * planes.propagator(reference))
        total = total + carried * torch.polar(weight, (k - reference) * h)
    return total


def _hat(position: Tensor, j: int, last: int) -> Tensor:
    """Weight of node j in linear interpolation over nodes 0 ... last, constant beyond the outer ones."""
    return (1 - (position.clamp(0, last) - j).abs()).clamp(min=0)
