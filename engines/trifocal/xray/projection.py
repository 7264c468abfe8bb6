"""Line integrals of a volume along the rays of a view, and their adjoint, in torch.

Joseph's method (Joseph 1982, IEEE Trans. Med. Imaging 1:192): the ray is followed from slab to slab of
voxels along the axis that it runs most nearly along; in each slab the volume is interpolated linearly in the
other two axes, and weighted with the length of the ray within the slab. Where the detector's rows and columns
run along world axes (all presets), the interpolation in a slab separates into one matrix for the rows and one
for the columns, so that a view is two batched matrix products; the adjoint is the transposed ones, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from trifocal.xray.geometry import View
    from trifocal.xray.grid import Grid

_CHUNK_BYTES = 2**27
"""Of interpolation matrices or ray samples that are in memory at a time."""


class Projector:
    """The projection of volumes on one grid along the rays of one view.

    Attributes:
        view: Source and detector.
        grid: Of the volumes.
        lengths_mm: (rows, columns) length of each pixel's ray within one slab of voxels.
        separable: Whether the fast way is used.
    """

    def __init__(self, view: View, grid: Grid, device: torch.device | str = "cpu") -> None:
        self.view = view
        self.grid = grid
        self.device = torch.device(device)
        direction = view.pixels_mm() - view.source_mm
        if view.parallel:
            direction = np.broadcast_to(view.center_mm - view.source_mm, direction.shape)
        self._main = int(np.argmax(np.abs(view.normal)))
        along = np.abs(direction[..., self._main])
        step = grid.spacing_mm[self._main]
        lengths = step * np.linalg.norm(direction, axis=-1) / np.maximum(along, 1e-9)
        self.lengths_mm = torch.as_tensor(lengths, dtype=torch.float32, device=self.device)
        self._direction = direction
        axes = _detector_axes(view)
        self.separable = axes is not None and self._main not in axes
        self._axes = axes if axes is not None else (0, 0)  # world axis of the rows, of the columns

    def forward(self, volume: Tensor) -> Tensor:
        """Project (..., X, Y, Z) attenuation per mm to (..., rows, columns); differentiable."""
        batch = volume.shape[:-3]
        flat = volume.reshape(-1, *volume.shape[-3:])
        sums = self._separable(flat) if self.separable else self._gathered(flat)
        return (sums * self.lengths_mm.to(sums.dtype)).reshape(*batch, *self.view.shape)

    def adjoint(self, image: Tensor) -> Tensor:
        """Spread (..., rows, columns) back along the rays to (..., X, Y, Z): the transpose of `forward`."""
        batch = image.shape[:-2]
        flat = (image * self.lengths_mm.to(image.dtype)).reshape(-1, *self.view.shape)
        if self.separable:
            volume = self._spread(flat)
        else:
            with torch.enable_grad():
                start = flat.new_zeros((len(flat), *self.grid.shape)).requires_grad_()
                (volume,) = torch.autograd.grad(self._gathered(start), start, flat)
        return volume.reshape(*batch, *self.grid.shape)

    def _separable(self, volume: Tensor) -> Tensor:
        slabs = volume.permute(0, *self._order())  # (B, slab, row axis, column axis)
        sums = volume.new_zeros((len(volume), *self.view.shape))
        for part, rows, columns in self._matrices(volume.dtype):
            across = torch.matmul(slabs[:, part], columns.transpose(1, 2))  # (B, s, row axis, columns)
            across = across.flatten(1, 2)  # (B, s * row axis, columns)
            sums = sums + torch.matmul(rows.permute(1, 0, 2).flatten(1), across)
        return sums

    def _spread(self, image: Tensor) -> Tensor:
        order = self._order()
        shape = [self.grid.shape[axis - 1] for axis in order]
        slabs = image.new_empty((len(image), *shape))
        for part, rows, columns in self._matrices(image.dtype):
            across = torch.matmul(rows.permute(1, 0, 2).flatten(1).T, image)  # (B, s * row axis, columns)
            across = across.reshape(len(across), -1, shape[1], across.shape[-1])
            slabs[:, part] = torch.matmul(across, columns)
        return slabs.permute(0, *(1 + order.index(axis) for axis in (1, 2, 3)))

    def _order(self) -> tuple[int, int, int]:
        """Axes of a (B, X, Y, Z) volume in the order slab, rows, columns."""
        return 1 + self._main, 1 + self._axes[0], 1 + self._axes[1]

    def _matrices(self, dtype: torch.dtype) -> list[tuple[slice, Tensor, Tensor]]:
        """Interpolation matrices by run of slabs: (s, rows, row axis) and (s, columns, column axis)."""
        slabs = self.grid.shape[self._main]
        wide = self.view.shape[0] * self.grid.shape[self._axes[0]]
        high = self.view.shape[1] * self.grid.shape[self._axes[1]]
        chunk = max(1, _CHUNK_BYTES // (4 * (wide + high)))
        if not hasattr(self, "_kept"):
            self._kept: dict[torch.dtype, list[tuple[slice, Tensor, Tensor]]] = {}
        if dtype in self._kept:
            return self._kept[dtype]
        runs = [slice(s, min(s + chunk, slabs)) for s in range(0, slabs, chunk)]
        made = ((run, self._weights(run, 0, dtype), self._weights(run, 1, dtype)) for run in runs)
        if len(runs) > 1:
            return made  # type: ignore[return-value]  # one run in memory at a time
        self._kept[dtype] = list(made)
        return self._kept[dtype]

    def _weights(self, run: slice, side: int, dtype: torch.dtype) -> Tensor:
        """(s, pixels, voxels) linear interpolation weights along the rows' (0) or the columns' (1) axis."""
        axis, view, grid = self._axes[side], self.view, self.grid
        step = (view.v_mm, view.u_mm)[side][axis]
        pixel = view.origin_mm[axis] + step * np.arange(view.shape[side])  # (n,) world
        slab = grid.centers_mm(self._main)[run]
        if view.parallel:
            ahead = view.center_mm - view.source_mm
            crossing = pixel + (slab[:, None] - view.origin_mm[self._main]) * ahead[axis] / ahead[self._main]
        else:
            near, far = view.source_mm, view.origin_mm[self._main]
            share = (slab - near[self._main]) / (far - near[self._main])
            crossing = near[axis] + (pixel - near[axis]) * share[:, None]
        index = (crossing - grid.centers_mm(axis)[0]) / grid.spacing_mm[axis]  # (s, n)
        hat = 1 - np.abs(index[..., None] - np.arange(grid.shape[axis]))
        return torch.as_tensor(np.clip(hat, 0, None), dtype=dtype, device=self.device)

    def _gathered(self, volume: Tensor) -> Tensor:
        """Sums over the slabs for a detector that stands askew, ray by ray in chunks of bounded memory."""
        rays = int(np.prod(self.view.shape))
        chunk = max(1, _CHUNK_BYTES // (16 * self.grid.shape[self._main]))
        parts = [
            checkpoint(self._along, volume, slice(r, min(r + chunk, rays)), use_reentrant=False)
            for r in range(0, rays, chunk)
        ]
        return torch.cat(parts, dim=1).reshape(len(volume), *self.view.shape)

    def _along(self, volume: Tensor, run: slice) -> Tensor:
        """(B, r) sums along a run of rays, from the samples (r, s, 3) where they cross the slabs."""
        view, grid, main = self.view, self.grid, self._main
        direction = self._direction.reshape(-1, 3)[run]
        start = view.pixels_mm().reshape(-1, 3)[run] if view.parallel else view.source_mm[None]
        share = (grid.centers_mm(main) - start[:, main, None]) / direction[:, main, None]
        points = start[:, None] + share[..., None] * direction[:, None]
        low = np.array([grid.centers_mm(axis)[0] for axis in range(3)])
        index = (points - low) / grid.spacing_mm
        unit = (2 * index + 1) / np.array(grid.shape) - 1  # as grid_sample counts: faces at -1 and 1
        where = torch.as_tensor(unit[..., ::-1].copy(), dtype=volume.dtype, device=volume.device)
        sampled = torch.nn.functional.grid_sample(
            volume[None] if len(volume) > 1 else volume[:, None],
            where[None, None],
            align_corners=False,
            padding_mode="zeros",
        )
        return sampled.reshape(len(volume), *where.shape[:2]).sum(-1)


@dataclass(frozen=True, eq=False)
class Projectors:
    """The projectors of all views of a geometry."""

    each: tuple[Projector, ...]

    @classmethod
    def of(cls, views: tuple[View, ...], grid: Grid, device: torch.device | str = "cpu") -> Projectors:
        """Make one for each view."""
        return cls(tuple(Projector(view, grid, device) for view in views))

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Project a volume (..., X, Y, Z) along every view."""
        return [one.forward(volume) for one in self.each]

    def adjoint(self, images: list[Tensor]) -> Tensor:
        """Sum of the views' adjoints."""
        return torch.stack([one.adjoint(p) for one, p in zip(self.each, images, strict=True)]).sum(0)


def _detector_axes(view: View) -> tuple[int, int] | None:
    """World axes of the rows (v) and the columns (u), if they run along world axes."""
    axes = []
    for vector in (view.v_mm, view.u_mm):
        axis = int(np.argmax(np.abs(vector)))
        if np.abs(np.delete(vector, axis)).max() > 1e-9 * np.abs(vector[axis]):
            return None
        axes.append(axis)
    return axes[0], axes[1]
