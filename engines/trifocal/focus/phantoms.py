"""Procedural head CTs: skulls with two tables, diploe, sutures and sinuses, none of them a person's.

`HeadSpec` says what a head is (phantom_spec), the skull is drawn as maps (phantom_skull) and the volume is
painted slab by slab (phantom_tissue) with the shapes of phantom_grid; here it passes through the scanner.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from trifocal.focus.phantom_grid import Floats, Grid
from trifocal.focus.phantom_skull import Anatomy
from trifocal.focus.phantom_spec import RANGES, HeadSpec, random_spec
from trifocal.focus.phantom_tissue import slab_hu
from trifocal.image import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RANGES", "HeadSpec", "head_ct", "random_spec", "sample_head"]

SLAB_VOXELS = 400_000  # so that the arrays of one slab stay in the processor's cache


def sample_head() -> Image:
    """The head that comes with the project, at 1 mm."""
    return head_ct(HeadSpec(seed=11, suture_mm=1.2))


def head_ct(spec: HeadSpec, spacing_mm: float = 1.0) -> Image:
    """Make the CT of a head: upright, nose toward +y, vertex toward +z, its left at -x.

    Args:
        spec: The head. The same one gives the same CT, bit for bit, on the same machine.
        spacing_mm: Distance between voxel centres, 0.4 to 4.

    Returns:
        int16 HU, air outside -1000; the world origin is the middle of the skull.

    Raises:
        ValueError: If the spacing is outside its range.
    """
    if not 0.4 <= spacing_mm <= 4:
        msg = f"spacing_mm must be between 0.4 and 4, got {spacing_mm}"
        raise ValueError(msg)
    low, high = _bounds(spec)
    x, y, z = (
        (np.arange(np.floor(lo / spacing_mm), np.ceil(hi / spacing_mm) + 1) * spacing_mm).astype(np.float32)
        for lo, hi in zip(low, high, strict=True)
    )
    anatomy = Anatomy.draw(spec)
    hu = np.empty((x.size, y.size, z.size), np.float32)
    step = max(1, SLAB_VOXELS // (x.size * y.size))
    for k in range(0, z.size, step):
        hu[:, :, k : k + step] = slab_hu(spec, anatomy, Grid(x, y, z[k : k + step], spec.scale, spacing_mm))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    notes: dict[str, Any] = {"phantom": {f.name: getattr(spec, f.name) for f in fields(spec)}}
    return Image(_scan(spec, hu, spacing_mm), affine, "HU", notes)


def _bounds(spec: HeadSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (3,), in mm: the head and some air, cut off below the chin."""
    side, front, top = np.array([71.5, 90.0, 86.0]) * spec.scale
    around = spec.scalp_mm + 2.5 * spec.shape_mm + abs(spec.asymmetry_mm) + 8
    wide = side + around + 8 * spec.ears
    low = np.array([-wide, -front - around, -118 * spec.scale[2]])
    return low, np.array([wide, front + around + 24, top + around])


def _scan(spec: HeadSpec, hu: Floats, spacing_mm: float) -> NDArray[np.int16]:
    """What the scanner makes of the true HU: scale, blur, noise."""
    hu = np.where(hu > 0, hu * np.float32(spec.hu_gain), hu)
    hu += np.float32(spec.hu_offset / 1000) * (hu + 1000)
    sigma = spec.blur_mm / 2.355 / spacing_mm
    hu = ndimage.gaussian_filter(hu, sigma, truncate=3, mode="nearest")
    noise = np.random.default_rng([spec.seed, 2]).standard_normal(hu.shape, np.float32)
    ndimage.gaussian_filter(noise, 0.6 * sigma, truncate=3, mode="wrap", output=noise)
    noise *= spec.noise_hu / max(float(noise[::4, ::4].std()), 1e-6)
    noise *= np.clip(hu / 1000 + 1, 0, 1)  # fewer photons are lost in air
    hu += noise
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
