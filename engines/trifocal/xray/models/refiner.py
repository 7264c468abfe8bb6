"""One stage of the cascade: a volume at twice the resolution of the one before, whole or patch by patch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trifocal.predictor import silent
from trifocal.xray.grid import Grid
from trifocal.xray.models.cost import Cost, measured
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.unet import Unet3d
from trifocal.xray.projection import Projectors

if TYPE_CHECKING:
    from trifocal.predictor import Progress

Box = tuple[slice, slice, slice]

_FILM_CHANNELS = 2  # the film, and what the volume before leaves of it


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of a stage.

    Attributes:
        flat: Channels of the 2-D encoder.
        lifted: Channels of a film's map that are lifted into the volume.
        widths: Channels of the 3-D U-Net, finest first.
        blocks: Residual blocks on each of its levels.
        views: Films.
    """

    flat: int = 24
    lifted: int = 12
    widths: tuple[int, ...] = (16, 32)
    blocks: int = 1
    views: int = 2


class Refiner(nn.Module):
    """One stage: adds what its resolution can show to the interpolated volume of the stage before."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        flat = config.flat
        self.encoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(_FILM_CHANNELS, flat, 3, padding=1, bias=False),
                nn.BatchNorm2d(flat),
                nn.SiLU(),
                nn.Conv2d(flat, flat, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(flat),
                nn.SiLU(),
                nn.Conv2d(flat, config.lifted, 3, padding=1),
            )
            for _ in range(config.views)
        )
        channels = 1 + config.views * (config.lifted + _FILM_CHANNELS + 1)
        self.net = Unet3d(channels, 1, config.widths, blocks=config.blocks, norms=False)

    def forward(
        self,
        films: Tensor,
        lift: Lift,
        previous: Tensor,
        *,
        patch: int | None = None,
        box: Box | None = None,
        progress: Progress = silent,
    ) -> Tensor:
        """Density (B, 1, X, Y, Z) on the lift's grid, or within a box of it.

        Patches overlap by as much as the network can see, and only their inner part is kept: so their size
        changes nothing but rounding (1e-4 of density), and there is no seam to blend.

        Args:
            films: (B, views, rows, columns) in decimetres of water.
            lift: Views and grid.
            previous: (B, 1, X', Y', Z') density of the stage before over the same box.
            patch: Voxels along the edge of a patch's inner part; all at a time if None.
            box: The only part that is wanted, as slices with start and stop.
            progress: Called after each patch.

        Raises:
            ValueError: If the patch is not positive.
        """
        if patch is not None and patch < 1:
            msg = f"a patch must be 1 voxel or more wide, got {patch}"
            raise ValueError(msg)
        maps = self._maps(films, lift, previous)
        whole = lift.grid.shape
        raised = interpolate(previous.float(), whole, mode="trilinear", align_corners=False)
        if patch is None and box is None:
            return raised + self._added(raised, maps, lift, None)
        if box is not None:
            return self._within(box, raised, maps, lift)
        out = torch.empty_like(raised)
        boxes = _boxes(whole, patch or max(whole))
        for done, part in enumerate(boxes):
            out[(..., *part)] = self._within(part, raised, maps, lift)
            progress((done + 1) / len(boxes), f"refining, patch {done + 1} of {len(boxes)}")
        return out

    def cost(self, voxels: int, patch: int | None, device: torch.device | str) -> Cost:
        """What a volume of voxels^3 will take, from a pass of the 3-D network through 32^3 of them."""
        small = min(32, voxels)
        sample = torch.zeros(1, self.net.stem.in_channels, small, small, small, device=device)
        once = measured(self.net, lambda: self.net(sample))
        edge = voxels if patch is None else min(voxels, patch + 2 * self._margin)
        times = 1 if patch is None else (-(-voxels // patch)) ** 3
        kept = 4.0 * voxels**3 * 4 + 4.0 * edge**3 * self.net.stem.in_channels
        parts = once.on((edge / small) ** 3)
        return Cost(parts.seconds * times, parts.bytes + kept)

    @property
    def _cell(self) -> int:
        return int(2 ** (len(self.config.widths) - 1))

    @property
    def _margin(self) -> int:
        """Voxels around a patch's inner part, in whole cells of the coarsest level."""
        return -(-int(self.net.reach) // self._cell) * self._cell

    def _maps(self, films: Tensor, lift: Lift, previous: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each view (B, lifted, h, w) from its encoder and (B, 2, rows, columns) as they come."""
        size = (int(films.shape[-2]), int(films.shape[-1]))
        i, j, k = (int(n) for n in previous.shape[-3:])
        views = tuple(view.resized(size) for view in lift.views)
        with torch.autocast(films.device.type, enabled=False):
            projectors = Projectors.of(views, lift.grid.with_voxels((i, j, k)), lift.device)
            shadows = [line / 100 for line in projectors.forward(previous[:, 0].float())]  # mm -> dm
        maps = []
        for view, encoder in enumerate(self.encoders):
            film = films[:, view : view + 1]
            seen = torch.cat([film, film - shadows[view][:, None]], dim=1)
            maps.append((encoder(seen), seen))
        return maps

    def _added(
        self, raised: Tensor, maps: list[tuple[Tensor, Tensor]], lift: Lift, box: Box | None
    ) -> Tensor:
        """What the network adds within a box of the grid, or all over it: (B, 1, x, y, z)."""
        part = lift if box is None else Lift(lift.views, _part(lift.grid, box), lift.device)
        channels = [raised]
        for view, (encoded, seen) in enumerate(maps):
            depth = lift.depth(view)[box or ...].to(raised.dtype)
            channels += [
                part.features(view, encoded).to(raised.dtype),
                part.features(view, seen).to(raised.dtype),
                depth.expand(len(raised), 1, *depth.shape),
            ]
        out: Tensor = self.net(torch.cat(channels, dim=1)).float()
        return out

    def _within(self, box: Box, raised: Tensor, maps: list[tuple[Tensor, Tensor]], lift: Lift) -> Tensor:
        """The answer in a box, from as much around it as the network can see."""
        cell, margin, wide, inner = self._cell, self._margin, [], []
        for cut, n in zip(box, lift.grid.shape, strict=True):
            low = max(0, (cut.start - margin) // cell * cell)
            wide.append(slice(low, min(n, -(-(cut.stop + margin) // cell) * cell)))
            inner.append(slice(cut.start - low, cut.stop - low))
        around = (wide[0], wide[1], wide[2])
        added = self._added(raised[(..., *around)], maps, lift, around)
        return raised[(..., *box)] + added[..., inner[0], inner[1], inner[2]]


def _boxes(whole: tuple[int, ...], patch: int) -> list[Box]:
    """Boxes that fill a volume, side by side."""
    x, y, z = ([slice(s, min(s + patch, n)) for s in range(0, n, patch)] for n in whole)
    return list(itertools.product(x, y, z))


def _part(grid: Grid, box: Box) -> Grid:
    """The part of a grid within a box of voxels."""
    start = [s.start for s in box]
    i, j, k = (s.stop - s.start for s in box)
    spacing = grid.spacing_mm
    center = [
        float(low) + step * (a + n / 2)
        for low, step, a, n in zip(grid.low_mm, spacing, start, (i, j, k), strict=True)
    ]
    return Grid((i, j, k), spacing, (center[0], center[1], center[2]))
