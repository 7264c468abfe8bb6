"""Errors of any network on held-out crops, beside what needs no learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trifocal.xray.models.feature_stats import FeatureStats
from trifocal.xray.models.inside import Inside
from trifocal.xray.models.losses import ssim
from trifocal.xray.models.started import least_squares
from trifocal.xray.training.crops import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trifocal.xray.models.lift import Lift

    Crop = dict[str, Tensor]

WINDOW_HU = (-1000, 1000)
"""Window of PSNR and SSIM; MAE is of the same clipped values."""

LEAST_SQUARES_STEPS = 15


@torch.no_grad()
def judge(net: Callable[[Tensor, Lift], Tensor], crops: Iterable[Crop], voxels: int) -> dict[str, float]:
    """Mean errors over crops, films projected without noise in the usual geometry.

    Args:
        net: Films (1, 2, rows, columns) and a lift to density (1, 1, X, Y, Z).
        crops: As `crops.Crops` gives them.
        voxels: Along the edges of their cube.

    Returns:
        mae_hu, psnr_db and ssim at [-1000, 1000] HU over the field of view (SSIM over the cube).
    """
    sums: dict[str, float] = {}
    count = 0
    for crop in crops:
        truth, inside = crop["density"][None, None].float(), crop["inside"][None, None]
        scene = Scene.usual(voxels, truth.device)
        found = net(scene.films(truth[:, 0]), scene.lift).float()
        for name, value in errors(found, truth, inside).items():
            sums[name] = sums.get(name, 0.0) + value
        count += 1
    return {name: value / count for name, value in sums.items()}


def errors(found: Tensor, truth: Tensor, inside: Tensor) -> dict[str, float]:
    """MAE, PSNR and SSIM of a density (1, 1, X, Y, Z) within a mask, at [-1000, 1000] HU (density 0 to 2)."""
    a, b = found.clamp(0, 2), truth.clamp(0, 2)
    off = (a - b)[inside]
    return {
        "mae_hu": 1000 * float(off.abs().mean()),
        "psnr_db": -10 * float(torch.log10(off.square().mean().clamp(min=1e-12) / 4)),
        "ssim": float(ssim(a, b)),
    }


def baseline(films: Tensor, lift: Lift) -> Tensor:
    """Two-view least squares, which nothing was learned for."""
    return least_squares(films, lift, LEAST_SQUARES_STEPS)


@torch.no_grad()
def encoder_stats(net: nn.Module, crops: Sequence[Crop], voxels: int) -> dict[str, float]:
    """Statistics of the films' features over crops, as "features_std" and so on; warns on collapse."""
    truth = torch.stack([crop["density"].float() for crop in crops])
    scene = Scene.usual(voxels, truth.device)
    maps = Inside.of(net, scene.films(truth), scene.lift).maps
    stats = FeatureStats.of(*maps)
    stats.warn_on_collapse()
    return {f"features_{name}": value for name, value in stats.record().items()}
