"""The hybrid angular spectrum march: fast physics through a medium, plane by plane along the beam.

Each step is a diffraction in Fourier space and a correction in real space for what the layer holds (hybrid
angular spectrum, Vyas and Christensen 2012, doi 10.1109/TUFFC.2012.2300), with these departures:

* The diffraction is done for several reference wavenumbers, and every voxel interpolates between the two
  that enclose its own (phase shift plus interpolation, Gazdag and Sguazzero 1984, doi 10.1190/1.1441643):
  bone and water differ by a factor of two, for which no single reference serves. The interpolation is linear
  in 1 / k, as the leading term of diffraction, kx^2 / 2k, is.
* What an interface passes and throws back depends on the angle between the geometric ray of the bowl and the
  normal of the interface.
* What is thrown back travels back and forth (Bremmer 1951, doi 10.1002/cpa.3160040111): sweeps alternate
  until the reverberation inside the skull is in.
* The start is exact: the planes of plain water in front of the head hold the free field of the bowl.

Everything is differentiable with respect to the medium. Phasors are of exp(-i w t), as in `freefield`.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass
from functools import lru_cache
from math import cos, log, pi
from typing import TYPE_CHECKING, NamedTuple

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
REVERBERATIONS = 1  # how often the reflected field is followed back and forth
FAINT = 4e-4  # squared step of log impedance below which there is no interface
CROSSING = 0.3  # cosine of a ray to the axis below which the ray is not used
GRAZING = 0.5  # least share of k^2 that the component along the normal keeps: see `_reflection`
DB_CM_TO_NP_MM = log(10) / 200


def march(medium: Medium, bowl: Bowl, box: Box, *, reverberations: int = REVERBERATIONS) -> Tensor:
    """Pressure of the bowl in the medium, marched along the beam.

    Planes in front of the rim of the bowl, and those that hold nothing but water before the head, are the
    free field; what the head throws back into them is left out.

    Args:
        medium: (b, x, y, z) in the bowl's frame, on any device.
        bowl: The source.
        box: The grid of the medium.
        reverberations: How often the reflected field is followed back and forth; 0 for one forward sweep.

    Returns:
        (b, x, y, z) complex64 phasor in Pa.
    """
    planes = _planes(bowl, box, medium.sound_speed.device)
    start = _start(medium, planes)
    layers = _Layers.of(medium, planes, start)
    batch = medium.sound_speed.shape[0]
    # half a voxel back from the plane: where the first layer begins
    turn = cmath.exp(0.5j * planes.wavenumber * planes.spacing)
    front = (planes.incident[start - 1] * turn + planes.incident[start] / turn).expand(batch, -1, -1) / 2
    forward = _sweep(front, layers, None)
    backward = None
    for _ in range(reverberations):
        backward = _sweep_back(forward, layers)
        forward = _sweep(front, layers, backward)
    out = [planes.crop(planes.incident[:start])[:, None].expand(-1, batch, -1, -1)]
    out += [planes.crop(layers.centre(i, forward, backward))[None] for i in range(len(layers))]
    return torch.cat(out).permute(1, 2, 3, 0)


class _Waves(NamedTuple):
    """Waves of one direction, per layer (b, n, n): where they enter it and where they leave it."""

    enter: list[Tensor]
    leave: list[Tensor]


def _sweep(front: Tensor, layers: _Layers, backward: _Waves | None) -> _Waves:
    """Waves along the beam, fed by the front and by what the backward waves lose at the interfaces."""
    waves = _Waves([], [])
    wave = front
    for i, r in enumerate(layers.reflection):
        waves.enter.append(wave)
        left = layers.carry(i, wave)
        waves.leave.append(left)
        wave = left * (1 + r)
        if backward is not None and i + 1 < len(layers):
            wave = wave - r * backward.leave[i + 1]
    return waves


def _sweep_back(forward: _Waves, layers: _Layers) -> _Waves:
    """Waves against the beam, fed by what the forward waves lose at the interfaces."""
    waves = _Waves([], [])
    wave = torch.zeros_like(forward.enter[-1])
    for i in reversed(range(len(layers))):
        r = layers.reflection[i]
        wave = wave * (1 - r) + r * forward.leave[i]
        waves.enter.append(wave)
        wave = layers.carry(i, wave)
        waves.leave.append(wave)
    return _Waves(waves.enter[::-1], waves.leave[::-1])


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
        self.x, self.y = (torch.from_numpy(v).float().to(device) for v in (x[:, None], y))
        self.incident = torch.from_numpy(_rings(bowl, r, box.axis_mm(2))).to(device)
        tapers = [_taper(m, n, p) for m, n, p in zip(self.size, box.shape, self.margin, strict=False)]
        self.taper = torch.from_numpy(np.outer(*tapers).astype(np.float32)).to(device)
        self.absorber = self.taper**EDGE_POWER
        kx, ky = (2 * pi * np.fft.fftfreq(m, box.spacing_mm) for m in self.size)
        self.transverse = torch.from_numpy(kx[:, None] ** 2 + ky**2).to(device)
        self._propagators: dict[tuple[float, ...], Tensor] = {}

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

    def propagator(self, references: tuple[float, ...]) -> Tensor:
        """(references, 1, n, n) complex64: exp(i kz h), evanescent waves decaying."""
        if references not in self._propagators:
            squares = torch.tensor(references, dtype=torch.float64, device=self.device) ** 2
            kz = torch.sqrt((squares[:, None, None, None] - self.transverse).to(torch.complex128))
            self._propagators[references] = torch.exp(1j * kz * self.spacing).to(torch.complex64)
        return self._propagators[references]

    def rays(self, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors toward the geometric focus on the planes from `start` on, (layer, 1, n, n) each.

        Near the focus and beyond it, where rays cross, they run along the beam.
        """
        layer = torch.arange(start, self.box.shape[2], device=self.device)
        depth = self.box.origin_mm[2] + layer * self.spacing
        z = (self.bowl.radius_of_curvature_mm - depth)[:, None, None, None]
        length = torch.sqrt(self.x**2 + self.y**2 + z**2)
        straight = z < CROSSING * length
        x, y, z = -self.x / length, -self.y / length, z / length
        return x.masked_fill(straight, 0), y.masked_fill(straight, 0), z.masked_fill(straight, 1)


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


@dataclass(frozen=True, eq=False)
class _Layers:
    """The medium, one layer per plane of voxels, ready for sweeps. Interfaces lie midway between planes.

    Attributes:
        planes: The grid.
        references: Per layer, the wavenumbers it is diffracted with.
        screens: Per layer (references, b, n, n) complex64: share of each reference, phase, damping.
        half: (layer, b, n, n) complex64: phase over half a layer.
        reflection: (layer, b, n, n) pressure reflection at the far side of each layer, met along the beam.
    """

    planes: _Planes
    references: list[tuple[float, ...]]
    screens: list[Tensor]
    half: Tensor
    reflection: Tensor

    @classmethod
    def of(cls, medium: Medium, planes: _Planes, start: int) -> _Layers:
        """The layers from plane `start` on."""
        h = planes.spacing
        rho = planes.pad(medium.density[..., start:], WATER_DENSITY)
        alpha = planes.pad(medium.attenuation[..., start:], 0.0) * DB_CM_TO_NP_MM
        k = (
            2e-3
            * pi
            * planes.bowl.frequency_hz
            / planes.pad(medium.sound_speed[..., start:], WATER_SOUND_SPEED)
        )
        damping = torch.exp(-alpha * h * _path(k, planes)) * planes.absorber
        references = _references(k, planes.wavenumber)
        screens = [_screen(*of, h) for of in zip(k, damping, references, strict=True)]
        half = torch.polar(torch.full_like(k, 0.5), k * (h / 2))
        return cls(planes, references, screens, half, _reflection(k, rho, planes, start))

    def __len__(self) -> int:
        return len(self.screens)

    def carry(self, i: int, wave: Tensor) -> Tensor:
        """Take a wave (b, n, n) from one side of layer i to the other."""
        spread = self.planes.propagator(self.references[i])  # (references, 1, n, n)
        carried = torch.fft.ifft2(torch.fft.fft2(wave) * spread)
        return torch.sum(carried * self.screens[i], 0)

    def centre(self, i: int, forward: _Waves, backward: _Waves | None) -> Tensor:
        """Total wave (b, n, n) on the plane of voxels: the mean of both sides of layer i, turned to it."""
        enter, leave = forward.enter[i], forward.leave[i]
        if backward is not None:
            enter, leave = enter + backward.enter[i], leave + backward.leave[i]
        return enter * self.half[i] + leave * self.half[i].conj()


def _path(k: Tensor, planes: _Planes) -> Tensor:
    """How much longer than a layer is thick the way of the beam through it is, 1 / cos, by Snell's law.

    One angle stands for all rays: the root mean square of the sine over the bowl.
    """
    c = cos(planes.bowl.half_angle)
    square = 1 - (1 + c + c**2) / 3  # mean of sin^2 over the cap
    return torch.rsqrt((1 - square * (planes.wavenumber / k) ** 2).clamp(min=GRAZING))


def _references(k: Tensor, water: float) -> list[tuple[float, ...]]:
    """Reference wavenumbers of every layer (layer, b, n, n), rounded so that propagators can be kept."""
    flat = k.detach().flatten(1)
    low, high, mean = (v.tolist() for v in (flat.amin(1), flat.amax(1), flat.mean(1)))
    quantum = QUANTUM * water
    out = []
    for a, b, m in zip(low, high, mean, strict=True):
        wanted = [m] if b - a < EVEN * b else 1 / np.linspace(1 / b, 1 / a, REFERENCES)
        out.append(tuple(round(float(w) / quantum) * quantum for w in wanted))
    return out


def _screen(k: Tensor, damping: Tensor, references: tuple[float, ...], h: float) -> Tensor:
    """Share of each reference, phase and damping of a layer: (references, b, n, n) complex64."""
    reference = k.new_tensor(references)[:, None, None, None]
    if len(references) == 1:
        share = damping[None]
    else:
        last = len(references) - 1
        gap = (1 / references[-1] - 1 / references[0]) / last
        position = ((1 / k - 1 / references[0]) / gap).clamp(0, last)
        node = torch.arange(last + 1, device=k.device)[:, None, None, None]
        share = damping * (1 - (position - node).abs()).clamp(min=0)
    return torch.polar(share, (k - reference) * h)


def _reflection(k: Tensor, rho: Tensor, planes: _Planes, start: int) -> Tensor:
    """Pressure reflection (layer, b, n, n) at the far side of each layer; 0 after the last.

    r = (Y1 - Y2) / (Y1 + Y2) with Y = kn / rho, where kn = sqrt(k^2 - (kw sin a)^2) is the component of the
    wave vector along the normal of the interface and a the angle at which the ray in water meets it (Snell's
    law; Kinsler et al., Fundamentals of Acoustics, 4th ed., section 6.5). Close to and beyond the critical
    angle a thin skull passes more than its single interfaces would, so kn^2 is held at `GRAZING` k^2 or more.
    """
    slant = _slant(torch.log(rho / k), planes, start)  # sin^2 of the angle
    slant = planes.wavenumber**2 * (slant[1:] + slant[:-1]) / 2
    near, far = (
        torch.sqrt(torch.maximum(q**2 - slant, GRAZING * q**2)) / d
        for q, d in ((k[:-1], rho[:-1]), (k[1:], rho[1:]))
    )
    reflection = (near - far) / (near + far)
    return torch.cat([reflection, torch.zeros_like(reflection[:1])])


def _slant(log_impedance: Tensor, planes: _Planes, start: int) -> Tensor:
    """sin^2 of the angle between the bowl's rays and the normals of the interfaces: (layer, b, n, n)."""
    edges = pad_edges(log_impedance.transpose(0, 1), (1,) * 6, mode="replicate").transpose(0, 1)
    dz = edges[2:, :, 1:-1, 1:-1] - edges[:-2, :, 1:-1, 1:-1]
    dx = edges[1:-1, :, 2:, 1:-1] - edges[1:-1, :, :-2, 1:-1]
    dy = edges[1:-1, :, 1:-1, 2:] - edges[1:-1, :, 1:-1, :-2]
    x, y, z = planes.rays(start)
    length = dx**2 + dy**2 + dz**2
    along = (dx * x + dy * y + dz * z) ** 2
    # Where the impedance hardly changes there is no interface, and its normal is noise.
    return (length - along).clamp(min=0) / (length + FAINT)
