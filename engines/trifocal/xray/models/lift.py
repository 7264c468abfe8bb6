"""From maps on a detector into the volume: every voxel reads the map where its own ray falls on the film."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from trifocal.xray.grid import Grid
    from trifocal.xray.view import View


class Lift:
    """Samples the feature maps of each view along its rays; differentiable in the maps.

    Where rows and columns of the detector run along world axes, the sampling in a slab of voxels is a matrix
    for the rows and one for the columns (as in `projection.Projector`, but voxel by voxel); else it is a
    bilinear lookup. Beyond the film a voxel reads 0.

    Attributes:
        views: Of the films, in the order in which they are given.
        grid: Of the volume.
        device: Where it computes.
    """

    def __init__(self, views: tuple[View, ...], grid: Grid, device: torch.device | str = "cpu") -> None:
        self.views = views
        self.grid = grid
        self.device = torch.device(device)
        self._kept: dict[tuple[int, tuple[int, int]], tuple[Tensor, Tensor]] = {}

    def features(self, i: int, maps: Tensor) -> Tensor:
        """Lift maps of view i: (B, C, h, w), which cover its whole detector, to (B, C, X, Y, Z)."""
        view = self.views[i]
        axes = view.detector_axes
        if axes is None:
            return self._looked_up(view, maps)
        size = (int(maps.shape[-2]), int(maps.shape[-1]))
        if (i, size) not in self._kept:
            self._kept[i, size] = self._matrices(view, axes, size)
        rows, columns = (m.to(maps.dtype) for m in self._kept[i, size])
        across = torch.matmul(maps[:, :, None], columns.transpose(1, 2))  # (B, C, slab, h, column axis)
        slabs = torch.matmul(rows, across)  # (B, C, slab, row axis, column axis)
        order = (view.main_axis, *axes)
        return slabs.permute(0, 1, *(2 + order.index(axis) for axis in range(3)))

    def depth(self, i: int) -> Tensor:
        """How deep each voxel lies along view i: (X, Y, Z), 0 at the face of entry, 1 at the exit."""
        view, main = self.views[i], self.views[i].main_axis
        along = torch.linspace(0, 1, 2 * self.grid.shape[main] + 1, device=self.device)[1::2]
        if view.normal[main] < 0:
            along = along.flip(0)
        shape = [1, 1, 1]
        shape[main] = self.grid.shape[main]
        return along.reshape(shape).expand(self.grid.shape)

    def coarser(self, factor: int) -> Lift:
        """The same box and views on a grid of fewer voxels."""
        i, j, k = (max(1, n // factor) for n in self.grid.shape)
        return Lift(self.views, self.grid.with_voxels((i, j, k)), self.device)

    def _matrices(self, view: View, axes: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(slab, row axis, h) and (slab, column axis, w) linear interpolation weights."""
        main, made = view.main_axis, []
        slab = self.grid.centers_mm(main)
        resized = view.resized(size)
        for axis, step, count in zip(axes, (resized.v_mm, resized.u_mm), size, strict=True):
            point = self.grid.centers_mm(axis)
            if view.parallel:
                ahead = view.center_mm - view.source_mm
                shift = (view.origin_mm[main] - slab) / ahead[main] * ahead[axis]
                landing = point[None] + shift[:, None]
            else:
                reach = (view.origin_mm[main] - view.source_mm[main]) / (slab - view.source_mm[main])
                landing = view.source_mm[axis] + (point - view.source_mm[axis]) * reach[:, None]
            index = (landing - resized.origin_mm[axis]) / step[axis]  # (slab, voxel)
            hat = np.clip(1 - np.abs(index[..., None] - np.arange(count)), 0, None)
            made.append(torch.as_tensor(hat, dtype=torch.float32, device=self.device))
        return made[0], made[1]

    def _looked_up(self, view: View, maps: Tensor) -> Tensor:
        centers = np.stack(np.meshgrid(*map(self.grid.centers_mm, range(3)), indexing="ij"), axis=-1)
        unit = 2 * (view.project(centers) + 0.5) / np.array(view.shape) - 1  # (X, Y, Z, 2) row, column
        where = torch.as_tensor(unit[..., ::-1].copy(), dtype=maps.dtype, device=maps.device)
        flat = where.reshape(1, 1, -1, 2).expand(len(maps), -1, -1, -1)
        sampled = functional.grid_sample(maps, flat, align_corners=False, padding_mode="zeros")
        return sampled.reshape(*maps.shape[:2], *self.grid.shape)
