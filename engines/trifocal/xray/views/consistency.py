"""Whether two films can show the same body in the same pose: what no volume explains is no pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trifocal.xray.film import covering
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import residual, sirt
from trifocal.xray.views.net import turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.xray.film import Film

_VOXELS, _PIXELS, _STEPS = 40, 40, 32

Way = tuple[int, bool]
"""Degrees to turn a film counter-clockwise, and whether to mirror it then."""


@dataclass(frozen=True, eq=False)
class Stand:
    """Two films brought onto coarse square detectors around a cube, ready to be turned and compared.

    Attributes:
        images: (2, 40, 40) line integrals; 0 where unknown.
        known: (2, 40, 40) whether the film shows something there.
        projectors: Of the two detectors.
    """

    images: Tensor
    known: Tensor
    projectors: Projectors

    @classmethod
    def of(cls, films: Sequence[Film], grid: Grid) -> Stand:
        """Take the first two films."""
        cube = Grid.cube(float(grid.extent_mm.max()), _VOXELS, grid.center_mm)
        seen = [film.onto(covering(film.view, cube, _PIXELS)) for film in films[:2]]
        values = torch.from_numpy(np.stack([film.line_integrals for film in seen]))
        known = torch.isfinite(values)
        projectors = Projectors.of(tuple(film.view for film in seen), cube)
        return cls(torch.where(known, values, 0.0), known, projectors)

    def residuals(self, ways: Sequence[tuple[Way, Way]]) -> list[float]:
        """What a few steps of SIRT leave unexplained, as a share of the films (the worse of the two).

        Args:
            ways: How the two films are turned before.
        """
        first, second = (
            torch.stack([turn(self._image(i), *pair[i]) for pair in ways]) for i in (0, 1)
        )  # (n, 40, 40) each
        size = self.projectors.each[0].grid.shape
        found = sirt(self.projectors, [first, second], torch.zeros(len(ways), *size), _STEPS)
        shares: list[float] = torch.stack(residual(self.projectors, found, [first, second])).amax(0).tolist()
        return shares

    def _image(self, i: int) -> Tensor:
        return torch.where(self.known[i], self.images[i], torch.nan)

    def profile_difference(self, *, upside_down: bool = False) -> float:
        """How differently the mass of two films is spread over the height, 0 to 1.

        The mass in a slice of the body is the same in every view; on a film it is the sum over a row. The
        difference is the largest distance of the two cumulative profiles, each scaled to 1.

        Args:
            upside_down: Turn the second film over first.
        """
        sums = self.images.sum(-1).double()  # (2, rows)
        if float(sums.sum(1).min()) <= 0:
            return 1.0
        shares = sums / sums.sum(1, keepdim=True)
        other = shares[1].flip(0) if upside_down else shares[1]
        return float((shares[0] - other).cumsum(0).abs().max())

    def mass_ratio(self) -> float:
        """Mass that one film shows over that of the other, the smaller over the larger."""
        areas = [float(np.prod(projector.view.pixel_mm)) for projector in self.projectors.each]
        one, other = (float(i.double().sum()) * a for i, a in zip(self.images, areas, strict=True))
        return max(min(one, other), 0.0) / max(one, other, 1e-12)
