"""How far a reconstructed CT is from the true one, in figures that say how they were taken.

One and the same volume spreads over 20 dB of PSNR by window and data range: a peak of 2 on values from 0 to 1
makes every PSNR 6.02 dB higher, a peak of 4095 on values clipped to 2500 makes it 4.29 dB higher. So a window
in HU, its width as the data range, and the spacing of the voxels belong to every score, or there is none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from trifocal.xray import regions
from trifocal.xray.grid import reoriented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.image import Image

WINDOW_HU = (-1000.0, 1000.0)
"""Air to bone: what is reported unless something else is asked for."""
_LIMITS_HU = (-1000.0, 3000.0)
_SIGMA, _RADIUS = 1.5, 5
"""Of the Gaussian of SSIM, in voxels: 11 of them along each axis."""


@dataclass(frozen=True)
class Score:
    """A prediction against the truth.

    Attributes:
        window_hu: (low, high) that both were clipped to for PSNR and SSIM.
        data_range_hu: Peak of the PSNR and dynamic range of SSIM: the width of the window, nothing else.
        spacing_mm: (3,) of the voxels that were compared.
        psnr_db: 10 log10(range^2 / mean squared error), over all voxels.
        ssim: Mean structural similarity, over all voxels whose neighbourhood lies within the volume.
        mae_hu: Mean absolute error over all voxels, clipped to [-1000, 3000] HU.
        body_psnr_db: PSNR over the true body alone.
        body_ssim: SSIM over the true body alone.
        body_mae_hu: Mean absolute error over the true body alone.
        body_share: Of the volume that is body.
        lung_dice: Overlap of the lungs, by threshold in both; NaN where there are none.
        lung_surface_mm: Mean distance between the surfaces of the lungs.
        lung_surface_95_mm: 95th percentile of the same.
        bone_dice: Overlap of what is above 200 HU; NaN where there is nothing.

    Raises:
        ValueError: If the window is empty, the data range is not its width, or the spacing is not positive.
    """

    window_hu: tuple[float, float]
    data_range_hu: float
    spacing_mm: tuple[float, float, float]
    psnr_db: float
    ssim: float
    mae_hu: float
    body_psnr_db: float
    body_ssim: float
    body_mae_hu: float
    body_share: float
    lung_dice: float
    lung_surface_mm: float
    lung_surface_95_mm: float
    bone_dice: float

    def __post_init__(self) -> None:
        low, high = _checked(self.window_hu)
        if not abs(self.data_range_hu - (high - low)) < 1e-6 * (high - low):
            msg = (
                f"the data range of a PSNR must be the width of its window, {high - low:g} HU for"
                f" [{low:g}, {high:g}], got {self.data_range_hu:g}"
            )
            raise ValueError(msg)
        spacing = np.asarray(self.spacing_mm, float)
        if spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
            msg = f"the spacing of a score must be 3 positive numbers in mm, got {self.spacing_mm}"
            raise ValueError(msg)

    @property
    def conditions(self) -> str:
        """What a PSNR means nothing without."""
        low, high = self.window_hu
        spacing = " x ".join(f"{s:.2f}" for s in self.spacing_mm)
        return f"[{low:g}, {high:g}] HU, range {self.data_range_hu:g} HU, voxels {spacing} mm"

    def __str__(self) -> str:
        """The figures, never without their conditions."""
        return (
            f"PSNR {self.psnr_db:.2f} dB (body {self.body_psnr_db:.2f}), SSIM {self.ssim:.3f},"
            f" MAE {self.mae_hu:.0f} HU (body {self.body_mae_hu:.0f}), lung Dice {self.lung_dice:.2f}"
            f" at {self.conditions}"
        )

    def record(self) -> dict[str, Any]:
        """What is written to JSON; NaN becomes null there."""
        return asdict(self)


def score(predicted: Image, truth: Image, window_hu: tuple[float, float] = WINDOW_HU) -> Score:
    """Compare two CTs on one grid.

    Args:
        predicted: HU.
        truth: HU, on the same voxels; the body, lungs and bone are found in it.
        window_hu: (low, high) that both are clipped to for PSNR and SSIM; its width is the data range.

    Raises:
        ValueError: If one is not in HU or not a number somewhere, the grids differ, or the window is empty.
    """
    low, high = _checked(window_hu)
    _check(predicted, truth)
    found, true = (reoriented(image) for image in (predicted, truth))
    spacing = true.spacing_mm
    p, t = (np.asarray(i.array, np.float32) for i in (found, true))
    inside = regions.body_mask(t, spacing)
    pw, tw = (np.clip(a, low, high) for a in (p, t))
    off = np.abs(np.clip(p, *_LIMITS_HU) - np.clip(t, *_LIMITS_HU))
    similarity = ssim_map(pw - low, tw - low, high - low)
    lungs = regions.lung_mask(p, inside, spacing), regions.lung_mask(t, inside, spacing)
    bones = regions.bone_mask(p, inside), regions.bone_mask(t, inside)
    distances = regions.surface_distances(*lungs, spacing)
    x, y, z = (float(s) for s in spacing)
    return Score(
        window_hu=(low, high),
        data_range_hu=high - low,
        spacing_mm=(x, y, z),
        psnr_db=psnr_db(pw, tw, high - low),
        ssim=_mean(_inner(similarity)),
        mae_hu=_mean(off),
        body_psnr_db=psnr_db(pw[inside], tw[inside], high - low),
        body_ssim=_mean(similarity[inside]),
        body_mae_hu=_mean(off[inside]),
        body_share=float(inside.mean()),
        lung_dice=regions.dice(*lungs),
        lung_surface_mm=_mean(distances),
        lung_surface_95_mm=float(np.percentile(distances, 95)) if distances.size else np.nan,
        bone_dice=regions.dice(*bones),
    )


def psnr_db(predicted: NDArray[np.float32], truth: NDArray[np.float32], data_range: float) -> float:
    """Peak signal-to-noise ratio of values that lie within one data range.

    Args:
        predicted: Any shape.
        truth: The same shape.
        data_range: Largest difference that two values can have.

    Returns:
        dB; infinite where both are the same, NaN where there is nothing.

    Raises:
        ValueError: If values spread further than the range.
    """
    if not truth.size:
        return np.nan
    widest = float(max(np.max(predicted), np.max(truth)) - min(np.min(predicted), np.min(truth)))
    if not widest <= data_range * (1 + 1e-6):
        msg = f"values must lie within the data range {data_range:g}, got a spread of {widest:g}: clip both"
        raise ValueError(msg)
    squared = float(np.mean((np.asarray(predicted, np.float64) - truth) ** 2))
    return 10 * np.log10(data_range**2 / squared) if squared else np.inf


def ssim_map(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], data_range: float
) -> NDArray[np.float64]:
    """Structural similarity around each voxel (Wang et al. 2004, IEEE Trans. Image Process. 13:600).

    Gaussian window of 11 voxels, sigma 1.5, K1 = 0.01, K2 = 0.03, as the paper has it, in three dimensions.

    Args:
        predicted: (i, j, k) from 0 to `data_range`: with means below 0 (HU as they are) SSIM means nothing.
        truth: The same.
        data_range: Of the values.

    Raises:
        ValueError: If a value is below 0.
    """
    a, b = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if min(a.min(), b.min()) < 0:
        msg = f"SSIM needs values of 0 or more, got {min(a.min(), b.min()):g}: subtract the window's low end"
        raise ValueError(msg)
    mean_a, mean_b = _blurred(a), _blurred(b)
    over = _blurred(a * b) - mean_a * mean_b
    both = _blurred(a * a) - mean_a**2 + _blurred(b * b) - mean_b**2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    out: NDArray[np.float64] = luminance * (2 * over + c2) / (both + c2)
    return out


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = ndimage.gaussian_filter(values, _SIGMA, radius=_RADIUS, mode="reflect")
    return out


def _inner(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the voxels whose window reaches over a face, along axes that are long enough."""
    return values[tuple(slice(_RADIUS, -_RADIUS) if n > 2 * _RADIUS else slice(None) for n in values.shape)]


def _mean(values: NDArray[Any]) -> float:
    return float(np.mean(values, dtype=np.float64)) if values.size else np.nan


def _checked(window_hu: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(edge) for edge in window_hu)
    except (TypeError, ValueError) as error:
        msg = f"a score must have a window of two numbers in HU, (low, high), got {window_hu!r}"
        raise ValueError(msg) from error
    if not (np.isfinite([low, high]).all() and high - low >= 1):
        msg = f"the window of a score must be low < high in HU, got ({low:g}, {high:g})"
        raise ValueError(msg)
    return low, high


def _check(predicted: Image, truth: Image) -> None:
    for name, image in (("prediction", predicted), ("truth", truth)):
        if image.unit != "HU":
            msg = f'the {name} of a score must be in HU (unit "HU"), got the unit {image.unit!r}'
            raise ValueError(msg)
        if not np.isfinite(image.array).all():
            msg = f"the {name} of a score must be finite everywhere"
            raise ValueError(msg)
    # values from 0 to 1 that call themselves HU: every error would look tiny on a window of HU
    spread = float(np.max(truth.array)) - float(np.min(truth.array))
    if spread < 10:
        msg = f"the truth of a score must be a CT in HU, got values that spread over {spread:g} only"
        raise ValueError(msg)
    if predicted.shape != truth.shape or not np.allclose(predicted.affine, truth.affine, atol=1e-3):
        msg = (
            f"prediction and truth must be on one grid, got {predicted.shape} and {truth.shape} voxels"
            " or different affines: average the truth onto the prediction's grid"
        )
        raise ValueError(msg)
