"""What direct regression makes small: absolute error, dissimilarity (SSIM), disagreement with the films."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trifocal.xray.projection import Projectors

DENSITY_RANGE = 2.0
"""Density of the reported window [-1000, 1000] HU: 0 to 2, what SSIM's constants refer to."""

_SIGMA, _RADIUS = 1.5, 5


@dataclass(frozen=True)
class DirectWeights:
    """Weights of the terms.

    Attributes:
        absolute: Mean absolute error of the density.
        ssim: 1 - SSIM.
        physics: Mean absolute error of the films in decimetres of water; 0 leaves it out.
    """

    absolute: float = 1.0
    ssim: float = 0.2
    physics: float = 0.0


def direct_loss(
    predicted: Tensor,
    truth: Tensor,
    weights: DirectWeights,
    films: Tensor | None = None,
    projectors: Projectors | None = None,
) -> dict[str, Tensor]:
    """Compare densities (B, 1, X, Y, Z), unclamped.

    Args:
        predicted: By the network.
        truth: Of the same grid.
        weights: Of the terms.
        films: (B, views, rows, columns) in decimetres of water, for the physics term.
        projectors: Of these views and this grid, for the physics term.

    Returns:
        "loss" and its terms, scalars.

    Raises:
        ValueError: If the physics term is asked for without films and projectors.
    """
    terms = {
        "absolute": (predicted - truth).abs().mean(),
        "ssim": 1 - ssim(predicted, truth).mean(),
    }
    if weights.physics:
        if films is None or projectors is None:
            msg = "the physics term must be given films and projectors, got none: set weights.physics to 0"
            raise ValueError(msg)
        terms["physics"] = physics_loss(predicted, films, projectors)
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return {"loss": total, **terms}


def physics_loss(density: Tensor, films: Tensor, projectors: Projectors) -> Tensor:
    """Mean absolute difference between the films and the projections of a density, in decimetres of water.

    The line integral comes first, as attenuation adds up along a ray (Beer-Lambert); the seed summed
    exp(-mu) voxel by voxel, which no film measures.

    Args:
        density: (B, 1, X, Y, Z) relative to water.
        films: (B, views, rows, columns) in decimetres of water.
        projectors: One for each view.
    """
    shadows = [line / 100 for line in projectors.forward(density[:, 0])]  # mm of water -> dm
    errors = [(shadow - films[:, i]).abs().mean() for i, shadow in enumerate(shadows)]
    return torch.stack(errors).mean()


def ssim(a: Tensor, b: Tensor, data_range: float = DENSITY_RANGE) -> Tensor:
    """Structural similarity in 3-D (Wang et al. 2004, IEEE Trans. Image Process. 13:600, equation 13).

    Gaussian window of sigma 1.5 and 11 voxels (fewer in smaller volumes), applied axis by axis as a product
    with a band matrix; only where it fits into the volume.

    Args:
        a: (..., X, Y, Z).
        b: The same shape.
        data_range: Of the values, for the constants.

    Returns:
        (...) mean over each volume.
    """
    blurred = _windowed(torch.stack([a, b, a * a, b * b, a * b]))
    mean_a, mean_b, square_a, square_b, product = blurred
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    local: Tensor = luminance * (2 * covariance + c2) / (var_a + var_b + c2)
    return local.mean((-3, -2, -1))


def _windowed(x: Tensor) -> Tensor:
    """Gaussian means (..., X, Y, Z) -> (..., X - 10, Y - 10, Z - 10)."""
    for axis in (-3, -2, -1):
        band = _band(x.shape[axis], x)
        x = torch.matmul(x.transpose(axis, -1), band).transpose(axis, -1)
    return x


def _band(n: int, like: Tensor) -> Tensor:
    """(n, n - 2 radius) matrix whose columns are the shifted window."""
    radius = min(_RADIUS, (n - 1) // 2)
    offset = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    window = torch.exp(-(offset**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    band = like.new_zeros((n, n - 2 * radius))
    for i, weight in enumerate(window):
        band.diagonal(-i).copy_(weight.expand(n - 2 * radius))
    return band
