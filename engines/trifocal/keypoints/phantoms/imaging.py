"""From a scene to a B-mode image: beams, attenuation, speckle, log compression, scan conversion.

The echo of each beam is complex noise (many scatterers in each resolution cell) times the scatterers'
amplitude, plus the interfaces, convolved with a separable Gaussian response: the pulse along the beam, and
across it a lobe that is narrowest at the focus (Cobbold, Foundations of Biomedical Ultrasound, 2007, ch. 8).
Its magnitude is Rayleigh distributed where nothing but scatterers is (Wagner et al. 1983, doi
10.1109/T-SU.1983.31404).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from trifocal.keypoints.phantoms.kernels import bilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.phantoms.machine import Machine
    from trifocal.keypoints.phantoms.scene import Scene
    from trifocal.keypoints.phantoms.view import View

SPEED_MM_US = 1.54
FWHM = 2.3548  # full width at half maximum of a Gaussian of deviation 1
MOST_BEAMS, MOST_DEPTHS = 288, 900
DEPTH_OF_FIELD = 10.0  # of the focus, in f_number^2 wavelengths
MOST_BLUR = 1.8
DEPTH_SLOPE_DB = (-2.0, 4.0)  # mean and deviation of the gain that is missing at the deepest point
LEAST_LOBE = {"convex": 0.0035, "phased": 0.010, "linear": 0.0, "endocavity": 0.0035}  # half sectors
SIDE_LOBE_WIDTH = 5.0  # against the main lobe
SHADOW_BLUR_MM = 1.0  # the aperture looks round a narrow absorber


@dataclass(frozen=True, eq=False)
class Beams:
    """The polar grid that echoes are computed on.

    Attributes:
        beam: (beams,) from -1 to 1 across the sector, even steps.
        depth: (depths,) mm along the beam, even steps.
        pulse: Deviation of the response along the beam, in samples.
        lobe: (depths,) deviation of the response across it, in beams.
    """

    beam: NDArray[np.float64]
    depth: NDArray[np.float64]
    pulse: float
    lobe: NDArray[np.float64]


def beams_for(scene: Scene, view: View, machine: Machine) -> Beams:
    """A grid fine enough for the resolution of the probe and of the picture, over what the picture shows."""
    probe = scene.probe
    wavelength = SPEED_MM_US / probe.frequency_mhz
    border = view.grid_mm()[::4, ::4].reshape(-1, 2)
    beam, depth = probe.beam_depth(border)
    inside = (np.abs(beam) <= 1) & (depth >= 0) & (depth <= probe.depth_mm)
    beam, depth = (beam[inside], depth[inside]) if inside.any() else (np.array([-1, 1]), np.array([0, 1]))
    pulse_mm = max(machine.cycles * wavelength / FWHM, 0.45 * view.mm_per_px)
    margin = 8 * view.mm_per_px + 3 * pulse_mm
    first, last = max(depth.min() - margin, 0.0), min(depth.max() + margin, probe.depth_mm)
    count = int(np.clip((last - first) / (1.1 * pulse_mm), 16, MOST_DEPTHS))
    depths = np.linspace(first, last, count)
    focus = machine.focus * probe.depth_mm
    field = DEPTH_OF_FIELD * machine.f_number**2 * wavelength
    # machines focus dynamically on what returns: away from the focus the lobe widens a little only
    blur = np.minimum(np.sqrt(1 + ((depths - focus) / field) ** 2), MOST_BLUR)
    lobe_mm = machine.f_number * wavelength / FWHM * blur
    if probe.kind == "linear":
        mm_per_beam = np.full(count, probe.half_width_mm)
    else:
        mm_per_beam = (probe.radius_mm + depths) * np.deg2rad(probe.half_angle_deg)
    # an aperture cannot be larger than the face: a small one has a lobe of constant angle
    lobe = np.maximum(lobe_mm / mm_per_beam, LEAST_LOBE[probe.kind])
    spare = 4 * float(lobe.max()) + 4 * view.mm_per_px / mm_per_beam[0]
    low, high = max(beam.min() - spare, -1 - spare), min(beam.max() + spare, 1 + spare)
    beams = int(np.clip((high - low) / (0.9 * np.percentile(lobe, 20)), 24, MOST_BEAMS))
    across = np.linspace(low, high, beams)
    step = across[1] - across[0]
    return Beams(across, depths, pulse_mm / (depths[1] - depths[0]), np.maximum(lobe / step, 0.6))


def envelope(scene: Scene, beams: Beams, machine: Machine, rng: np.random.Generator) -> NDArray[np.float32]:
    """(depths, beams) magnitude of the echoes; soft tissue has a mean square of 1 in perfect conditions."""
    scatter, echo, loss = _along_beams(scene, beams)
    shape = scatter.shape
    gain = _gain(loss, beams, machine, rng)
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    norm = np.sqrt(2 * np.sqrt(np.pi) * beams.pulse) * np.sqrt(2 * np.sqrt(np.pi) * beams.lobe)
    speckle = (norm / np.sqrt(2)).astype(np.float32)[
        :, None
    ] * scatter  # so that the response keeps its power
    rough = np.float32(0.35)  # an interface is not a mirror: part of its echo is random
    field = np.empty((*shape, 2), np.float32)
    field[..., 0] = gain * (speckle * noise[0] + echo * (1 + rough * noise[0]))
    field[..., 1] = gain * (speckle * noise[1] + echo * rough * noise[1])
    field = _responded(field, beams, machine)
    if machine.reverberation > 0:
        delay = max(int(rng.uniform(0.05, 0.2) * shape[0]), 1)
        field[delay:] += machine.reverberation * field[:-delay].copy()
    field += _clutter(beams, machine, rng)[..., None] * noise.transpose(1, 2, 0)
    return np.hypot(field[..., 0], field[..., 1])


def bmode(
    scene: Scene, view: View, machine: Machine, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The image as the machine shows it, without text.

    Returns:
        (height, width) uint8, and (height, width) whether a pixel lies in the sector (all else is black).
    """
    beams = beams_for(scene, view, machine)
    magnitude = envelope(scene, beams, machine, rng)
    decibel = 20 * np.log10(np.maximum(magnitude, 1e-6))
    if machine.compounding > 0:
        even = gaussian_filter(decibel, (1.6 * beams.pulse, 1.2 * float(np.median(beams.lobe))), truncate=2.0)
        decibel += np.float32(0.75 * machine.compounding) * (even - decibel)
    level = np.clip((decibel - machine.white_db) / machine.dynamic_range_db + 1, 0, 1)
    grey = np.asarray(level**machine.gamma, np.float32)
    grid = view.grid_mm()
    beam, depth = scene.probe.beam_depth(grid)
    inside = (np.abs(beam) <= 1) & (depth >= 0) & (depth <= scene.probe.depth_mm)
    rows = (depth - beams.depth[0]) / (beams.depth[1] - beams.depth[0])
    columns = (beam - beams.beam[0]) / (beams.beam[1] - beams.beam[0])
    picture = bilinear(grey, rows.astype(np.float32), columns.astype(np.float32))
    if machine.smoothing_px > 0.2:
        picture = gaussian_filter(picture, machine.smoothing_px, truncate=2.5)
    shown = np.where(inside, np.clip(picture, 0, 1) * 255, 0)
    return np.rint(shown).astype(np.uint8), inside


def _along_beams(scene: Scene, beams: Beams) -> tuple[NDArray[np.float32], ...]:
    """The scene's maps at the polar grid: three of (depths, beams)."""
    points = scene.probe.position(beams.beam[None, :], beams.depth[:, None])
    places = ((points - np.array(scene.origin_mm)) / scene.step_mm).astype(np.float32)
    columns, rows = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return tuple(bilinear(m, rows, columns) for m in (scene.scatter, scene.echo, scene.loss))


def _gain(
    loss: NDArray[np.float32], beams: Beams, machine: Machine, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(depths, beams) amplitude factor: attenuation so far, errors of the gain and of the contact."""
    step = beams.depth[1] - beams.depth[0]
    lost = np.cumsum(loss, axis=0) * np.float32(step)
    lost = gaussian_filter1d(lost, 0.8 * float(np.median(beams.lobe)) + 0.5, axis=1, truncate=2.5)
    knots = gaussian_filter1d(rng.normal(0, machine.tgc_db, 10), 0.8)
    knots += np.linspace(0, rng.normal(*DEPTH_SLOPE_DB), 10)
    along = np.interp(np.linspace(0, 9, len(beams.depth)), np.arange(10), knots)
    contact = gaussian_filter1d(rng.normal(0, machine.tgc_db, 14), 0.8)
    across = np.interp(beams.beam, np.linspace(-1, 1, 14), contact)
    # elements near the end of the array see a smaller aperture
    across -= rng.uniform(0, 3.5 * machine.tgc_db) * np.abs(beams.beam) ** rng.uniform(2, 5)
    decibel = along[:, None] + across[None, :] - lost
    return np.asarray(10 ** (np.maximum(decibel, -80) / 20), np.float32)


def _responded(field: NDArray[np.float32], beams: Beams, machine: Machine) -> NDArray[np.float32]:
    """Convolve a complex field (depths, beams, 2) with the pulse and the lobes."""
    depths, count, _ = field.shape
    field = gaussian_filter1d(field.reshape(depths, -1), beams.pulse, axis=0, mode="constant", truncate=3.0)
    spectrum = fft.fft(field.reshape(depths, count, 2).view(np.complex64)[..., 0], axis=1)
    turn = (2 * np.pi * fft.fftfreq(count))[None, :] * beams.lobe[:, None]
    response = np.exp(-0.5 * turn**2)
    if machine.side_lobe > 0:
        wide = np.exp(-0.5 * (SIDE_LOBE_WIDTH * turn) ** 2)
        response = response + machine.side_lobe * SIDE_LOBE_WIDTH * wide
    out = fft.ifft(spectrum * response.astype(np.float32), axis=1)
    return np.ascontiguousarray(out).view(np.float32).reshape(depths, count, 2)


def _clutter(beams: Beams, machine: Machine, rng: np.random.Generator) -> NDArray[np.float32]:
    """(depths, 1) amplitude of what is no echo of the tissue: haze near the face, noise in the depth."""
    near = machine.haze * np.exp(-beams.depth / rng.uniform(12, 40))
    deep = machine.noise * 10 ** ((beams.depth / beams.depth[-1] - 1) * rng.uniform(0.5, 1.5))
    return np.asarray((near + deep)[:, None] / np.sqrt(2), np.float32)
