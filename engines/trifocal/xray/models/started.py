"""A network that is given a coarse least-squares volume in place of a stage before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import sirt

if TYPE_CHECKING:
    from trifocal.xray.models.lift import Lift


class StartedNet(nn.Module):
    """Calls a network with, as the stage before, the volume of a few SIRT steps at half the resolution.

    Attributes:
        net: As `config.build` makes it.
        steps: Of SIRT; 0 gives the network no stage before.
    """

    def __init__(self, net: nn.Module, steps: int = 6) -> None:
        super().__init__()
        self.net = net
        self.steps = steps

    def forward(self, films: Tensor, lift: Lift, previous: Tensor | None = None) -> Tensor:
        """Density (B, 1, X, Y, Z); see `config.build`."""
        out: Tensor = self.net(films, lift, self.previous(films, lift) if previous is None else previous)
        return out

    def previous(self, films: Tensor, lift: Lift) -> Tensor | None:
        """Least squares by SIRT from nothing at half the lift's resolution: (B, 1, x, y, z), or None."""
        return least_squares(films, lift.coarser(2), self.steps) if self.steps else None


@torch.no_grad()
def least_squares(films: Tensor, lift: Lift, steps: int) -> Tensor:
    """Non-negative density that explains the films (B, V, rows, columns) in dm of water: (B, 1, X, Y, Z).

    A film that is all 0 counts as not taken.
    """
    present = [i for i in range(films.shape[1]) if bool(films[:, i].any())]
    volume = films.new_zeros((len(films), *lift.grid.shape), dtype=torch.float32)
    if present:
        with torch.autocast(films.device.type, enabled=False):
            edge = 2 * max(lift.grid.shape)
            size = (min(films.shape[-2], edge), min(films.shape[-1], edge))
            views = tuple(lift.views[i].resized(size) for i in present)
            lines = [100 * adaptive_avg_pool2d(films[:, i].float(), size) for i in present]  # dm -> mm
            volume = sirt(Projectors.of(views, lift.grid, lift.device), lines, volume, steps)
    return volume[:, None]
