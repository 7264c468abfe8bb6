"""The public reference that the solver is held against: ITRUSST benchmark 4, source 1."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from trifocal.focus.box import Box
from trifocal.focus.solver import solve
from trifocal.focus.transducer import PRESETS
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.transducer import Bowl

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.floating]

# Aubry et al. 2022 (doi 10.1121/10.0013426), benchmark 4 at 500 kHz: where each layer begins, in mm from the
# apex, then m/s, kg/m3, dB/cm.
LAYERS = (
    (-np.inf, 1500.0, 1000.0, 0.0),  # water
    (26.0, 1610.0, 1090.0, 0.2),  # skin
    (30.0, 2800.0, 1850.0, 4.0),  # cortical bone
    (31.5, 2300.0, 1700.0, 8.0),  # trabecular bone
    (35.5, 2800.0, 1850.0, 4.0),  # cortical bone
    (36.5, 1560.0, 1040.0, 0.3),  # brain
)
REFERENCE_SPACING_MM = 0.5
REFERENCE_SHAPE = (241, 141)  # axial from the apex, lateral about the axis
BRAIN_FROM_MM = 37.0


def bm4_sc1(spacing_mm: float = 0.5) -> tuple[tuple[Floats, Floats, Floats], Bowl, Box]:
    """Benchmark 4 (flat skin, three layers of bone, brain) with source 1 (a bowl of 64 mm).

    The voxels are laid so that the interfaces fall between them where the spacing divides 0.5 mm: a thin
    plate resonates, and blurring its faces over a voxel of 0.5 mm would raise the transmission by 20 %. A
    voxel that an interface does cut gets the mean density and the mean compressibility of what it holds.

    Args:
        spacing_mm: Of the grid; 0.5 is 6 points per wavelength in water.

    Returns:
        Sound speed (m/s), density (kg/m3) and attenuation (dB/cm at 500 kHz), each (x, y, z) float32; the
        bowl; the box, which covers the reference: 35 mm to each side and 120 mm deep.
    """
    across = 2 * ceil((REFERENCE_SHAPE[1] // 2) * REFERENCE_SPACING_MM / spacing_mm - 1e-9) + 1
    along = ceil((REFERENCE_SHAPE[0] - 1) * REFERENCE_SPACING_MM / spacing_mm - 1e-9)
    half = (across - 1) / 2 * spacing_mm
    box = Box(spacing_mm, (across, across, along), (-half, -half, spacing_mm / 2))
    first, speed, density, attenuation = np.array(LAYERS).T
    faces = np.append(box.axis_mm(2) - spacing_mm / 2, box.axis_mm(2)[-1] + spacing_mm / 2)
    last = np.append(first[1:], np.inf)
    inside = np.clip(faces[:, None], first, last)  # how far each layer reaches, seen from each face
    share = np.diff(np.where(np.isfinite(inside), inside, 0), axis=0) / spacing_mm
    rho = share @ density
    c = 1 / np.sqrt(share @ (1 / (density * speed**2)) * rho)
    maps = [np.broadcast_to(m.astype(np.float32), box.shape).copy() for m in (c, rho, share @ attenuation)]
    return (maps[0], maps[1], maps[2]), PRESETS["itrusst-sc1"], box


def compare_itrusst(
    reference_path: Path | str, progress: Progress = silent, *, spacing_mm: float = 0.5, device: str = "cpu"
) -> dict[str, float]:
    """Solve benchmark 4, source 1 and compare with a published code's field.

    Args:
        reference_path: npz file with `p_amp`, (241, 141) Pa: axial from the apex by lateral, 0.5 mm.
        progress: May raise `Cancelled`.
        spacing_mm: Of the grid.
        device: As in `solve`.

    Returns:
        Figures of the amplitude in the brain (from 37 mm on), nothing scaled: `peak_error` (relative),
        `focus_error_mm` (distance of the maxima), `brain_rel_l2`, `length_error_mm` (-6 dB, along the
        axis through the maximum).

    Raises:
        ValueError: If the file is not such a reference.
    """
    reference = _read(reference_path)
    maps, bowl, box = bm4_sc1(spacing_mm)
    pressure = solve(*maps, bowl, box, device=device, progress=progress)
    z = np.arange(REFERENCE_SHAPE[0], dtype=np.float64) * REFERENCE_SPACING_MM
    x = (np.arange(REFERENCE_SHAPE[1], dtype=np.float64) - REFERENCE_SHAPE[1] // 2) * REFERENCE_SPACING_MM
    plane = _sample(pressure[:, box.shape[1] // 2], box, x, z, bowl.frequency_hz)
    brain = z >= BRAIN_FROM_MM
    return _figures(plane[brain], reference[brain])


def _sample(plane: NDArray[np.complex64], box: Box, x: Doubles, z: Doubles, frequency_hz: float) -> Floats:
    """Amplitude of the plane y = 0 (x, z) at other points (z, x), interpolated without exp(i k z)."""
    carrier = np.exp(-2j * np.pi * frequency_hz / LAYERS[-1][1] * box.axis_mm(2) * 1e-3)
    index = np.meshgrid(
        (z - box.origin_mm[2]) / box.spacing_mm, (x - box.origin_mm[0]) / box.spacing_mm, indexing="ij"
    )
    envelope = (plane * carrier).T
    parts = [
        ndimage.map_coordinates(part, index, order=3, mode="nearest")
        for part in (envelope.real, envelope.imag)
    ]
    amplitude: Floats = np.hypot(*parts).astype(np.float32)
    return amplitude


def _read(path: Path | str) -> Floats:
    try:
        with np.load(path, allow_pickle=False) as record:
            amplitude: Floats = record["p_amp"]
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} is not a reference field (npz with p_amp): {error}"
        raise ValueError(msg) from error
    if amplitude.shape != REFERENCE_SHAPE:
        msg = f"p_amp of {path} must have shape {REFERENCE_SHAPE}, got {amplitude.shape}"
        raise ValueError(msg)
    return amplitude


def _figures(field: Floats, reference: Floats) -> dict[str, float]:
    peaks = [np.array(np.unravel_index(f.argmax(), f.shape)) for f in (field, reference)]
    lengths = [_length(f[:, p[1]]) for f, p in zip((field, reference), peaks, strict=True)]
    return {
        "peak_error": float(field.max() / reference.max() - 1),
        "focus_error_mm": float(np.linalg.norm(peaks[0] - peaks[1])) * REFERENCE_SPACING_MM,
        "brain_rel_l2": float(np.linalg.norm(field - reference) / np.linalg.norm(reference)),
        "length_error_mm": (lengths[0] - lengths[1]) * REFERENCE_SPACING_MM,
    }


def _length(profile: Floats) -> float:
    """Samples over which a profile stays above half its maximum, ends interpolated."""
    top, half = int(profile.argmax()), float(profile.max()) / 2
    ends = []
    for side in (profile[top:], profile[top::-1]):
        below = np.flatnonzero(side < half)
        n = int(below[0]) if below.size else len(side)
        step = (side[n - 1] - half) / (side[n - 1] - side[n]) if n < len(side) else 0.0
        ends.append(n - 1 + float(step))
    return ends[0] + ends[1]
