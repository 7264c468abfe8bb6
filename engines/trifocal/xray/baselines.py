"""What the films alone say, without anything learned: what a network has to beat.

All work in any consistent unit (films in the unit of the volume times mm); density is the common one. None
knows the truth but the silhouette, which is an oracle and is always shown apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.predictor import silent
from trifocal.xray.regions import body_mask
from trifocal.xray.sirt import sirt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from trifocal.predictor import Progress
    from trifocal.xray.projection import Projectors

STEPS = 15
SEEN = 0.02
"""Share of a film's largest line integral from which on something stands in a ray's way."""


def constant(projectors: Projectors, films: Sequence[Tensor]) -> Tensor:
    """The uniform box that explains the films best, by least squares over all their pixels.

    Args:
        projectors: One for each film.
        films: (B, rows, columns); NaN where a film shows nothing.

    Returns:
        (B, X, Y, Z). The constant nearest to the truth, which papers compare with, needs the truth.
    """
    return _scaled(projectors, films, torch.ones((len(films[0]), *projectors.each[0].grid.shape)))


def visual_hull(projectors: Projectors, films: Sequence[Tensor], *, seen: float = SEEN) -> Tensor:
    """Every voxel that lies in the shadow on all films, filled evenly.

    Laurentini 1994, IEEE Trans. Pattern Anal. Mach. Intell. 16:150. Voxels that fall beside a film or on
    unknown pixels are not carved away by it. The filling is the density that explains the films best.

    Args:
        projectors: One for each film.
        films: (B, rows, columns); NaN where a film shows nothing.
        seen: Share of the largest line integral from which on a pixel is in shadow.

    Returns:
        (B, X, Y, Z).
    """
    grid = projectors.each[0].grid
    centers = np.stack(np.meshgrid(*[grid.centers_mm(a) for a in range(3)], indexing="ij"), axis=-1)
    hull = torch.ones((len(films[0]), *grid.shape), device=films[0].device)
    for projector, film in zip(projectors.each, films, strict=True):
        largest = film.nan_to_num(0.0).amax((-2, -1), keepdim=True)
        shadow = (film > seen * largest) | torch.isnan(film)
        pixel = np.rint(projector.view.project(centers)).astype(int)  # (X, Y, Z, 2)
        beside = ((pixel < 0) | (pixel >= projector.view.shape)).any(-1)
        row, column = np.moveaxis(np.clip(pixel, 0, np.array(projector.view.shape) - 1), -1, 0)
        where = [torch.as_tensor(index, device=film.device) for index in (row, column, beside)]
        hull = hull * (shadow[:, where[0], where[1]] | where[2])
    return _scaled(projectors, films, hull)


def least_squares(
    projectors: Projectors, films: Sequence[Tensor], *, steps: int = STEPS, progress: Progress = silent
) -> Tensor:
    """The films' own non-negative volume of little norm: SIRT from nothing.

    Args:
        projectors: One for each film.
        films: (B, rows, columns); NaN where a film shows nothing.
        steps: Of SIRT.
        progress: Told at each step; may raise Cancelled.

    Returns:
        (B, X, Y, Z).
    """
    empty = torch.zeros((len(films[0]), *projectors.each[0].grid.shape), device=films[0].device)
    return sirt(projectors, films, empty, steps, progress=progress)


def oracle_silhouette(hu: NDArray[np.float32], spacing_mm: ArrayLike) -> NDArray[np.float32]:
    """The true body, filled evenly with its true mean, in air: it needs the truth.

    Args:
        hu: (i, j, k) true HU along the world axes.
        spacing_mm: (3,) of the voxels.

    Returns:
        (i, j, k) HU.
    """
    body = body_mask(hu, spacing_mm)
    inside = float(hu[body].mean()) if body.any() else -1000.0
    return np.where(body, np.float32(inside), np.float32(-1000.0))


def _scaled(projectors: Projectors, films: Sequence[Tensor], shape: Tensor) -> Tensor:
    """A volume times the number, 0 or more, by which its projections come closest to the films."""
    shape = shape.to(films[0])
    over = shape.new_zeros(len(shape))
    under = shape.new_zeros(len(shape))
    for film, projected in zip(films, projectors.forward(shape), strict=True):
        valid = torch.isfinite(film)
        over = over + torch.where(valid, film * projected, 0.0).sum((-2, -1))
        under = under + torch.where(valid, projected.square(), 0.0).sum((-2, -1))
    factor = (over / under.clamp(min=1e-30)).clamp(min=0)
    return shape * factor[:, None, None, None]
