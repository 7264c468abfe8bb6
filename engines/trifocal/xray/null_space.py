"""Which part of a volume the films determine, and which part they cannot know of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import conv3d, pad

if TYPE_CHECKING:
    from torch import Tensor

    from trifocal.xray.projection import Projectors

ITERATIONS = 8
"""Of the least-squares fit: more change the map by less than 0.01 on a chest."""


def null_space_fraction(
    projectors: Projectors, volume: Tensor, *, iterations: int = ITERATIONS, smooth_voxels: float = 1.5
) -> Tensor:
    """Share of a volume's structure around each voxel that the films do not determine.

    A volume is the sum of a part in the range of the projection's adjoint, which its films determine, and of
    a part in the null space, which leaves no trace on them (Barrett & Myers 2004, Foundations of Image
    Science, 1.7; used for maps of what a reconstruction invents by Bhadra et al. 2021, IEEE Trans. Med.
    Imaging 40:3249). Given is null^2 / (null^2 + range^2), both squares smoothed by a Gaussian.

    Args:
        projectors: Of all films.
        volume: (X, Y, Z), 0 in air.
        iterations: See `split`.
        smooth_voxels: Standard deviation of the Gaussian.

    Returns:
        (X, Y, Z), 0 determined to 1 unknown; 1 where no ray passes.

    Raises:
        ValueError: If the volume does not have the grid's shape.
    """
    grid = projectors.each[0].grid
    if tuple(volume.shape) != grid.shape:
        msg = f"the volume must have the grid's shape {grid.shape}, got {tuple(volume.shape)}"
        raise ValueError(msg)
    with torch.no_grad():
        determined, unknown = split(projectors, volume, iterations=iterations)
        known, open_ = (_smooth(part.square(), smooth_voxels) for part in (determined, unknown))
        total = known + open_
        least = 1e-12 * volume.square().mean().clamp(min=1e-30)
        return torch.where(total > least, open_ / total.clamp(min=1e-30), 1.0)


def split(projectors: Projectors, volume: Tensor, *, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
    """The part of a volume that its films determine, and the rest.

    The first is the least-squares volume of smallest norm that has the same projections, without any other
    knowledge (not even that nothing is negative): conjugate gradients on the normal equations (Hestenes &
    Stiefel 1952, J. Res. Natl. Bur. Stand. 49:409) from 0, stopped early.

    Args:
        projectors: Of all films.
        volume: (..., X, Y, Z).
        iterations: Of the conjugate gradients; fewer leave more to the second part.

    Returns:
        Two of the shape of `volume`, which are its sum.
    """
    rest = projectors.forward(volume)
    found = torch.zeros_like(volume)
    gradient = projectors.adjoint(rest)
    direction, power = gradient, gradient.square().sum()
    first = power
    for _ in range(iterations):
        if power <= 1e-14 * first:
            break
        seen = projectors.forward(direction)
        step = power / sum(s.square().sum() for s in seen)
        found = found + step * direction
        rest = [r - step * s for r, s in zip(rest, seen, strict=True)]
        gradient = projectors.adjoint(rest)
        before, power = power, gradient.square().sum()
        direction = gradient + power / before * direction
    return found, volume - found


def _smooth(volume: Tensor, sigma: float) -> Tensor:
    """Gaussian mean of (X, Y, Z), one axis after the other; the faces are repeated."""
    radius = max(1, round(3 * sigma))
    offset = torch.arange(-radius, radius + 1, dtype=volume.dtype, device=volume.device)
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    out = volume[None, None]
    for axis in range(3):
        edges = [0] * 6
        edges[2 * (2 - axis)] = edges[2 * (2 - axis) + 1] = radius
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(weights)
        out = conv3d(pad(out, edges, mode="replicate"), weights.reshape(shape))
    return out[0, 0]
