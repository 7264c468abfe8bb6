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

SHARPENED_MM = 2.5  # FWHM of the unsharp mask
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
    anatomy = Anatomy.draw(spec)
    low, high = _bounds(spec, anatomy)
    x, y, z = (
        (np.arange(np.floor(lo / spacing_mm), np.ceil(hi / spacing_mm) + 1) * spacing_mm).astype(np.float32)
        for lo, hi in zip(low, high, strict=True)
    )
    hu = np.empty((x.size, y.size, z.size), np.float32)
    step = max(1, SLAB_VOXELS // (x.size * y.size))
    for k in range(0, z.size, step):
        hu[:, :, k : k + step] = slab_hu(spec, anatomy, Grid(x, y, z[k : k + step], spec.scale, spacing_mm))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    notes: dict[str, Any] = {"phantom": {f.name: getattr(spec, f.name) for f in fields(spec)}}
    return Image(_scan(spec, hu, spacing_mm), affine, "HU", notes)


def _bounds(spec: HeadSpec, anatomy: Anatomy) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (3,), in mm: the head and some air, cut off below the chin."""
    low, high = anatomy.reach()
    margin = 8 + 2 * spec.blur_mm
    wide = max(-low[0], high[0], (82.0 + 6 * spec.jitter) * spec.scale[0] * spec.ears) + margin
    front = max(high[1], (110.0 + 6 * spec.jitter) * spec.scale[1]) + margin
    return (
        np.array([-wide, low[1] - margin, -118 * spec.scale[2]]),
        np.array([wide, front, high[2] + margin]),
    )


def _scan(spec: HeadSpec, hu: Floats, spacing_mm: float) -> NDArray[np.int16]:
    """What the scanner makes of the true HU: scale, blur, noise."""
    hu = np.where(hu > 0, hu * np.float32(spec.hu_gain), hu)
    hu += np.float32(spec.hu_offset / 1000) * (hu + 1000)
    sigma = spec.blur_mm / 2.355 / spacing_mm
    hu = ndimage.gaussian_filter(hu, sigma, truncate=3, mode="nearest")
    if spec.sharpening:
        wider = ndimage.gaussian_filter(hu, SHARPENED_MM / 2.355 / spacing_mm, truncate=3, mode="nearest")
        hu += np.float32(spec.sharpening) * (hu - wider)
    noise = np.random.default_rng([spec.seed, 2]).standard_normal(hu.shape, np.float32)
    ndimage.gaussian_filter(noise, 0.6 * sigma, truncate=3, mode="wrap", output=noise)
    noise *= spec.noise_hu / max(float(noise[::4, ::4].std()), 1e-6)
    noise *= np.clip(hu / 1000 + 1, 0, 1)  # fewer photons are lost in air
    hu += noise
    if spec.slice_mm > spacing_mm:
        hu = _sliced(hu, spec.slice_mm / spacing_mm)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _sliced(hu: Floats, thickness: float) -> Floats:
    """Average (i, j, k) over slices so many voxels thick along k, and interpolate linearly between them."""
    size = hu.shape[2]
    edges = np.arange(0, size - 1, thickness)
    total = np.concatenate([np.zeros_like(hu[..., :1]), np.cumsum(hu + np.float32(1000), axis=2)], axis=2)
    ends = np.stack([edges, np.minimum(edges + thickness, size)])
    low = np.minimum(ends.astype(int), size - 1)
    part = (ends - low).astype(np.float32)
    sums = [total[..., n] * (1 - p) + total[..., n + 1] * p for n, p in zip(low, part, strict=True)]
    slices = (sums[1] - sums[0]) / (ends[1] - ends[0]).astype(np.float32)
    at = np.clip((np.arange(size) + 0.5 - thickness / 2) / thickness, 0, edges.size - 1)
    n = np.minimum(at.astype(int), max(edges.size - 2, 0))
    share = (at - n).astype(np.float32)
    out: Floats = slices[..., n] * (1 - share) + slices[..., n + 1] * share - np.float32(1000)
    return out
