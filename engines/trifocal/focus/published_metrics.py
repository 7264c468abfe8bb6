"""The metrics of DeepTFUS and of its reproduction, as published, on a cube of voxels.

The three of the paper (arXiv 2505.12998) live in the log space of each sample, log(1 + p / p_max) with the
true peak p_max, over the whole volume. They are kept as they are, to compare with published figures; what
they leave out, linear amplitude, place between the voxels and absolute pressure, is in
`trifocal.focus.metrics`, on the bowl's own box.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import dist, log
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from trifocal.focus.analysis import HALF_PRESSURE, focal_spot, highest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]
    Mask = NDArray[np.bool_]

OFF_TARGET_MM = 10.0  # farther than this from the true focus is not the focus


@dataclass(frozen=True)
class PublishedMetrics:
    """A predicted field p against a true one t, amplitudes in one unit, over the whole volume.

    Attributes:
        relative_l2: |P - T| / |T| with P = log(1 + p / max t) and T = log(1 + t / max t).
        focal_position_error_mm: Distance of the highest voxels. Along a focus 40 mm long with standing waves
            it jumps by half a wavelength for a change of a percent.
        max_pressure_error: |max P - ln 2| / ln 2. The true peak is ln 2 in every sample, so this compares
            with a constant and says nothing of pressure: a field divided by its own maximum, whatever it
            is, scores 0. Near the peak it is 0.72 of the relative error of p / max t.
        focal_pressure_error: |p - t| / t at the highest voxel of t.
        focal_volume_pred_mm3: Of the focal spot of p: the voxels of half its peak or more that hang
            together by their faces with its highest one.
        focal_volume_gt_mm3: The same of t.
        focal_iou_fwhm: Intersection over union of these two.
        focal_dice: Dice coefficient of all voxels at half of the peak or above, each field of its own peak:
            unlike the spots, this counts other lobes.
        off_target_volume_mm3: Of the voxels of p at half of its peak or above that lie more than 10 mm from
            the highest voxel of t.
        off_target_lobes: How many pieces, by faces, these voxels are.
    """

    relative_l2: float
    focal_position_error_mm: float
    max_pressure_error: float
    focal_pressure_error: float
    focal_volume_pred_mm3: float
    focal_volume_gt_mm3: float
    focal_iou_fwhm: float
    focal_dice: float
    off_target_volume_mm3: float
    off_target_lobes: int

    def record(self) -> dict[str, float]:
        """The metrics by name."""
        return asdict(self)


def published_metrics(
    prediction: Field, truth: Field, spacing_mm: float, region: Mask | None = None
) -> PublishedMetrics:
    """Compare two fields (n, n, n) of pressure amplitude on one cube.

    Args:
        prediction: In the unit of the truth. A network whose answer is relative to the sample's own peak is
            judged as published if its exp(answer) - 1 is multiplied by the peak of the truth.
        truth: 0 or more.
        spacing_mm: Edge of a voxel.
        region: Where to look; all of the cube as published if None. Both fields count as 0 elsewhere. The
            highest pressure of a whole field is often in the bone, and then no metric sees the focus.

    Raises:
        ValueError: If the shapes differ, a value is not finite, or the truth is 0 everywhere.
    """
    if prediction.shape != truth.shape:
        msg = f"prediction and truth must be on one cube, got shapes {prediction.shape} and {truth.shape}"
        raise ValueError(msg)
    p, t = (_within(field, region) for field in (prediction, truth))
    peak = float(t.max())
    if not (np.isfinite(p).all() and np.isfinite(t).all() and peak > 0):
        msg = f"fields must be finite and the truth more than 0 somewhere, got a true peak of {peak:g}"
        raise ValueError(msg)
    log_p, log_t = (np.log1p(f / peak) for f in (p, t))
    focus = highest(t)
    spot_p, spot_t = (_spot(f) for f in (p, t))
    half_p, half_t = (_half(f) for f in (p, t))
    off = half_p & _farther_than(p.shape, focus, OFF_TARGET_MM / spacing_mm)
    voxel_mm3 = spacing_mm**3
    return PublishedMetrics(
        relative_l2=float(np.linalg.norm(log_p - log_t) / np.linalg.norm(log_t)),
        focal_position_error_mm=dist(highest(p), focus) * spacing_mm,
        max_pressure_error=abs(float(log_p.max()) - log(2)) / log(2),
        focal_pressure_error=abs(float(p[focus]) / peak - 1),
        focal_volume_pred_mm3=float(spot_p.sum()) * voxel_mm3,
        focal_volume_gt_mm3=float(spot_t.sum()) * voxel_mm3,
        focal_iou_fwhm=float((spot_p & spot_t).sum() / (spot_p | spot_t).sum()),
        focal_dice=float(2 * (half_p & half_t).sum() / (half_p.sum() + half_t.sum())),
        off_target_volume_mm3=float(off.sum()) * voxel_mm3,
        off_target_lobes=int(ndimage.label(off)[1]),
    )


def _within(field: Field, region: Mask | None) -> NDArray[np.float64]:
    """The field in the region, 0 elsewhere and where it is negative: amplitudes are not."""
    values = np.maximum(field.astype(np.float64), 0)
    return values if region is None else np.where(region, values, 0)


def _spot(field: NDArray[np.float64]) -> Mask:
    """The focal spot; none of a field that is 0 everywhere."""
    if not field.any():
        return np.zeros(field.shape, bool)
    return focal_spot(field, np.ones(field.shape, bool), HALF_PRESSURE)[0]


def _half(field: NDArray[np.float64]) -> Mask:
    half: Mask = (field >= HALF_PRESSURE * field.max()) & (field > 0)
    return half


def _farther_than(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> Mask:
    """Voxels more than a radius, in voxels, from a centre."""
    x, y, z = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
    far: Mask = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 > radius**2
    return far
