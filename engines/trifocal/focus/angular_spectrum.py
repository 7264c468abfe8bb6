"""The hybrid angular spectrum march: fast physics through a medium, plane by plane along the beam.

Each step is a diffraction in Fourier space and a correction in real space for what the layer holds (hybrid
angular spectrum, Vyas and Christensen 2012, doi 10.1109/TUFFC.2012.2300), with these departures:

* The diffraction is done for several reference speeds, and every voxel interpolates between the two
  that enclose its own (phase shift plus interpolation, Gazdag and Sguazzero 1984, doi 10.1190/1.1441643):
  bone and water differ by a factor of two, for which no single reference serves. The interpolation is linear
  in the speed, as the leading term of diffraction, kx^2 / 2k, is.
* What the interfaces throw back travels back and forth (Bremmer 1951, doi 10.1002/cpa.3160040111): sweeps
  alternate. Without it the small steps of a gradual interface would pass everything.
* Attenuation acts over the length of the ray in the layer, which is longer than the layer is thick.
* The start is exact: the planes of plain water in front of the head hold the free field of the bowl.

Everything is differentiable with respect to the medium. Phasors are of exp(-i w t), as in `freefield`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from math import cos, log, pi
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad as pad_edges

from trifocal.focus.freefield import radial_profiles, wavenumber
from trifocal.focus.transducer import WATER_DENSITY, WATER_SOUND_SPEED, Bowl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.focus.acoustics import Medium
    from trifocal.focus.box import Box

PADDING = 1.5  # width of a padded plane over that of the box
SPEEDS = (1500.0, 1560.0, 2000.0, 3000.0)  # m/s: references, water and soft tissue among them
EDGE_POWER = 0.25  # how fast the taper at the edge of a plane absorbs, per step
REVERBERATIONS = 1  # how often the reflected field is followed back and forth
GRAZING = 0.5  # least cos^2 of a ray in a layer: near the critical angle a thin skull is tunnelled through
FINE = 60  # radii per wavelength in the table of the incident field, interpolated linearly
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
    batch = medium.sound_speed.shape[0]
    out = [planes.crop(planes.incident(range(start)))[:, None].expand(-1, batch, -1, -1)]
    if start == box.shape[2]:
        return out[0].permute(1, 2, 3, 0)
    layers = _Layers.of(medium, planes, start)
    front = planes.incident([start - 0.5]).expand(batch, -1, -1)  # where the first layer begins
    forward = _sweep(front, layers, None)
    backward = None
    for _ in range(reverberations):
        backward = _sweep_back(forward, layers)
        forward = _sweep(front, layers, backward)
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
        wave = layers.carry(i, wave)
        waves.leave.append(wave)
        if layers.reflects[i]:
            wave = wave + wave * r
            if backward is not None:
                wave = wave - r * backward.leave[i + 1]
    return waves


def _sweep_back(forward: _Waves, layers: _Layers) -> _Waves:
    """Waves against the beam, fed by what the forward waves lose at the interfaces."""
    waves = _Waves([], [])
    silence = wave = torch.zeros_like(forward.enter[-1])
    for i in reversed(range(len(layers))):
        if layers.reflects[i]:
            wave = wave + layers.reflection[i] * (forward.leave[i] - wave)
        waves.enter.append(wave)
        if wave is not silence:  # nothing comes back from behind the last interface
            wave = layers.carry(i, wave)
        waves.leave.append(wave)
    return _Waves(waves.enter[::-1], waves.leave[::-1])


class _Planes:
    """What depends on bowl, box and device only: the padded planes, the incident field, the propagators.

    Attributes:
        wavenumber: In water, rad/mm.
        rim: Index of the first plane behind which a layer may begin: wholly past the rim of the bowl.
        size, margin: Of a padded plane, and of its padding before the first voxel, along x and y.
        taper: (n, n) float32, 1 over the box, falling to 0 at the edge of the padding.
        absorber: (n, n) float32, what one step leaves of the field: 1 over the box.
        transverse: (n, n) float64, kx^2 + ky^2.
    """

    def __init__(self, bowl: Bowl, box: Box, device: torch.device) -> None:
        self.bowl, self.box, self.device = bowl, box, device
        self.spacing, self.wavenumber = box.spacing_mm, wavenumber(bowl)
        self.rim = int(np.searchsorted(box.axis_mm(2), bowl.depth_mm + box.spacing_mm / 2))
        self.size = [next_fast_len(round(n * PADDING)) for n in box.shape[:2]]
        self.margin = [(m - n) // 2 for m, n in zip(self.size, box.shape, strict=False)]
        x, y = (
            (np.arange(m) - p) * box.spacing_mm + o
            for m, p, o in zip(self.size, self.margin, box.origin_mm, strict=False)
        )
        ring = np.hypot(x[:, None], y) * (FINE / bowl.wavelength_mm)
        self._profiles: dict[float, Tensor] = {}
        self._ring = torch.from_numpy(ring.astype(int)).to(device)
        self._between = torch.from_numpy((ring % 1).astype(np.float32)).to(device)
        tapers = [_taper(m, n, p) for m, n, p in zip(self.size, box.shape, self.margin, strict=False)]
        self.taper = torch.from_numpy(np.outer(*tapers).astype(np.float32)).to(device)
        self.absorber = self.taper**EDGE_POWER
        kx, ky = (2 * pi * np.fft.fftfreq(m, box.spacing_mm) for m in self.size)
        self.transverse = torch.from_numpy(kx[:, None] ** 2 + ky**2).to(device)
        self._propagators: dict[tuple[float, ...], Tensor] = {}

    def incident(self, indices: Sequence[float]) -> Tensor:
        """Free field (indices, n, n) complex64 in Pa on padded planes; 1.5 lies between planes 1 and 2."""
        missing = [i for i in indices if i not in self._profiles]
        if missing:
            depth = self.box.origin_mm[2] + self.spacing * np.array(missing)
            step, count = self.bowl.wavelength_mm / FINE, int(self._ring.max()) + 2
            with torch.inference_mode(mode=False):
                found = torch.from_numpy(radial_profiles(self.bowl, step, count, depth)).to(self.device)
            self._profiles.update(zip(missing, found, strict=True))
        profile = torch.stack([self._profiles[i] for i in indices])
        near, far = profile[:, self._ring], profile[:, self._ring + 1]
        return near + (far - near) * self._between

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

    @torch.inference_mode(mode=False)
    def propagator(self, speeds: tuple[float, ...]) -> Tensor:
        """(references, 1, n, n) complex64: exp(i kz h), evanescent waves decaying."""
        if speeds not in self._propagators:
            k = self.wavenumber * WATER_SOUND_SPEED / torch.tensor(speeds, dtype=torch.float64)
            square = k.to(self.device)[:, None, None, None] ** 2 - self.transverse
            kz = torch.sqrt(square.to(torch.complex128))
            self._propagators[speeds] = torch.exp(1j * kz * self.spacing).to(torch.complex64)
        return self._propagators[speeds]


@lru_cache(maxsize=4)
@torch.inference_mode(mode=False)  # what is kept must serve autograd later
def _planes(bowl: Bowl, box: Box, device: torch.device) -> _Planes:
    return _Planes(bowl, box, device)


def _taper(size: int, inner: int, margin: int) -> NDArray[np.float64]:
    """1 over the inner part, a raised cosine to 0 on both sides (never below: powers of it stay finite)."""
    outside = np.maximum(margin - np.arange(size), np.arange(size) - (margin + inner - 1)).clip(0)
    return np.asarray(np.clip(0.5 + 0.5 * np.cos(pi * outside / (margin + 1)), 0, 1), float)


def _start(medium: Medium, planes: _Planes) -> int:
    """Last plane before the head, up to which there is only water; the rim where gradients are wanted."""
    tensors = (medium.sound_speed, medium.density, medium.attenuation)
    if any(t.requires_grad for t in tensors):
        return planes.rim
    water = (WATER_SOUND_SPEED, WATER_DENSITY, 0.0)
    plain = [((t - w).abs() <= 1e-3 * w).flatten(0, 2).all(0) for t, w in zip(tensors, water, strict=True)]
    found = (~torch.stack(plain).all(0)).nonzero()
    return max(int(found[0]) - 1, planes.rim) if len(found) else planes.box.shape[2]


@dataclass(frozen=True, eq=False)
class _Layers:
    """The medium, one layer per plane of voxels, ready for sweeps. Interfaces lie midway between planes.

    Attributes:
        planes: The grid.
        references: Per layer, the speeds (m/s) that it is diffracted with.
        screens: Per layer (references, b, n, n) complex64: share of each reference, phase, damping.
        half: (layer, b, n, n) complex64: phase over half a layer.
        reflection: (layer, b, n, n) (Z2 - Z1) / (Z2 + Z1) at the far side of each layer; 0 after the last.
        reflects: Whether a layer reflects anywhere (taken for granted where gradients are wanted).
    """

    planes: _Planes
    references: list[tuple[float, ...]]
    screens: list[Tensor]
    half: Tensor
    reflection: Tensor
    reflects: list[bool]

    @classmethod
    def of(cls, medium: Medium, planes: _Planes, start: int) -> _Layers:
        """The layers from plane `start` on."""
        h, w = planes.spacing, 2e-3 * pi * planes.bowl.frequency_hz  # w / c in rad/mm
        c = planes.pad(medium.sound_speed[..., start:], WATER_SOUND_SPEED)
        rho = planes.pad(medium.density[..., start:], WATER_DENSITY)
        alpha = planes.pad(medium.attenuation[..., start:], 0.0) * DB_CM_TO_NP_MM
        damping = torch.exp(-alpha * h * _path(c, planes)) * planes.absorber
        references = _references(c)
        screens: list[Tensor] = []
        for i, of in enumerate(zip(c, damping, references, strict=True)):
            # Many neighbouring layers of tissue are alike: their screen is made once.
            alike = i > 0 and torch.equal(c[i], c[i - 1]) and torch.equal(damping[i], damping[i - 1])
            screens.append(screens[-1] if alike and not damping.requires_grad else _screen(*of, w, h))
        half = torch.polar(torch.full_like(c, 0.5), w / c * (h / 2))
        # At normal incidence: the angle of the rays was measured to change nothing with reverberation in.
        near, far = (rho * c)[:-1], (rho * c)[1:]
        reflection = torch.cat([(far - near) / (far + near), torch.zeros_like(c[:1])])
        reflects = (reflection.detach().abs().flatten(1).amax(1) > 1e-6).tolist()
        if reflection.requires_grad:
            reflects[:-1] = [True] * (len(c) - 1)
        return cls(planes, references, screens, half, reflection, reflects)

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


def _path(c: Tensor, planes: _Planes) -> Tensor:
    """How much longer than a layer is thick the way of the beam through it is, 1 / cos, by Snell's law.

    One angle stands for all rays: the root mean square of the sine over the bowl.
    """
    edge = cos(planes.bowl.half_angle)
    square = 1 - (1 + edge + edge**2) / 3  # mean of sin^2 over the cap
    return torch.rsqrt((1 - square * (c / WATER_SOUND_SPEED) ** 2).clamp(min=GRAZING))


def _references(c: Tensor) -> list[tuple[float, ...]]:
    """The reference speeds that every layer (layer, b, n, n) needs: those that enclose its own."""
    flat, inner = c.detach().flatten(1), SPEEDS[1:-1]
    bounds = zip(flat.amin(1).tolist(), flat.amax(1).tolist(), strict=True)
    return [SPEEDS[bisect_right(inner, a + 0.01) : bisect_left(inner, b - 0.01) + 2] for a, b in bounds]


def _screen(c: Tensor, damping: Tensor, speeds: tuple[float, ...], w: float, h: float) -> Tensor:
    """Share of each reference, phase and damping of a layer: (references, b, n, n) complex64.

    The shares interpolate linearly in the speed; beyond the first and the last reference they are 1.
    """
    screens = []
    for i, speed in enumerate(speeds):
        share = torch.ones_like(c)
        if i > 0:
            share = torch.minimum(share, (c - speeds[i - 1]) / (speed - speeds[i - 1]))
        if i + 1 < len(speeds):
            share = torch.minimum(share, (speeds[i + 1] - c) / (speeds[i + 1] - speed))
        screens.append(torch.polar(damping * share.clamp(min=0), (w / c - w / speed) * h))
    return torch.stack(screens)
