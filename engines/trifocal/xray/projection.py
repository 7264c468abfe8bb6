"""Line integrals of a volume along the rays of a view, and their adjoint, in torch.

Joseph's method (Joseph 1982, IEEE Trans. Med. Imaging 1:192): the ray is followed from slab to slab of
voxels along the axis that it runs most nearly along; in each slab the volume is interpolated linearly in the
other two axes, and weighted with the length of the ray within the slab. Where the detector's rows and columns
run along world axes (all presets), the interpolation in a slab separates into one matrix for the rows and one
for the columns, so that a view is two batched matrix products; the adjoint is the transposed ones, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from trifocal.xray.grid import Grid
    from trifocal.xray.view import View

_CHUNK_BYTES = 2**26
"""Of interpolation matrices or ray samples that are in memory at a time, about."""

_Matrices = tuple[slice, Tensor, Tensor]


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
        self._main = view.main_axis
        along = np.abs(direction[..., self._main])
        step = grid.spacing_mm[self._main]
        lengths = step * np.linalg.norm(direction, axis=-1) / np.maximum(along, 1e-9)
        self.lengths_mm = torch.as_tensor(lengths, dtype=torch.float32, device=self.device)
        self._direction = direction
        axes = view.detector_axes
        self.separable = axes is not None and self._main not in axes
        self._axes = axes if axes is not None else (0, 0)  # world axis of the rows, of the columns
        self._kept: dict[torch.dtype, list[_Matrices]] = {}

    def forward(self, volume: Tensor) -> Tensor:
        """Project (..., X, Y, Z) attenuation per mm to (..., rows, columns); differentiable."""
        batch = volume.shape[:-3]
        out = _applied(volume.reshape(-1, *self.grid.shape), self, transposed=False)
        return out.reshape(*batch, *self.view.shape)

    def adjoint(self, image: Tensor) -> Tensor:
        """Spread (..., rows, columns) back along the rays to (..., X, Y, Z): the transpose of `forward`."""
        batch = image.shape[:-2]
        out = _applied(image.reshape(-1, *self.view.shape), self, transposed=True)
        return out.reshape(*batch, *self.grid.shape)

    def apply(self, flat: Tensor, *, transposed: bool) -> Tensor:
        """`forward` or `adjoint` of a flat batch (B, ...), not recorded for autograd."""
        lengths = self.lengths_mm.to(flat.dtype)
        if not transposed:
            return (self._separable(flat) if self.separable else self._gathered(flat)) * lengths
        return self._spread(flat * lengths) if self.separable else self._scattered(flat * lengths)

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

    def _matrices(self, dtype: torch.dtype) -> Iterable[_Matrices]:
        """Interpolation matrices by run of slabs: (s, rows, row axis) and (s, columns, column axis)."""
        if dtype in self._kept:
            return self._kept[dtype]
        slabs = self.grid.shape[self._main]
        sizes = [self.view.shape[side] * self.grid.shape[self._axes[side]] for side in (0, 1)]
        chunk = max(1, _CHUNK_BYTES // (4 * sum(sizes)))
        runs = [slice(s, min(s + chunk, slabs)) for s in range(0, slabs, chunk)]
        made = ((run, self._weights(run, 0, dtype), self._weights(run, 1, dtype)) for run in runs)
        if len(runs) > 1:
            return made  # one run in memory at a time
        self._kept[dtype] = list(made)
        return self._kept[dtype]

    def _weights(self, run: slice, side: int, dtype: torch.dtype) -> Tensor:
        """(s, pixels, voxels) linear interpolation weights along the rows' (0) or the columns' (1) axis."""
        axis, view, grid = self._axes[side], self.view, self.grid
        step = (view.v_mm, view.u_mm)[side][axis]
        pixel = view.origin_mm[axis] + step * np.arange(view.shape[side])  # (n,) world
        slab, far = grid.centers_mm(self._main)[run], view.origin_mm[self._main]
        if view.parallel:
            ahead = view.center_mm - view.source_mm
            crossing = pixel + (slab[:, None] - far) * ahead[axis] / ahead[self._main]
        else:
            near = view.source_mm
            share = (slab - near[self._main]) / (far - near[self._main])
            crossing = near[axis] + (pixel - near[axis]) * share[:, None]
            crossing[(share <= 0) | (share > 1)] = 1e9  # behind the source or the detector
        index = (crossing - grid.centers_mm(axis)[0]) / grid.spacing_mm[axis]  # (s, n)
        return self._hats(index, grid.shape[axis], dtype)

    def _hats(self, index: NDArray[np.float64], voxels: int, dtype: torch.dtype) -> Tensor:
        """(..., voxels) linear interpolation weights at fractional indices (...); 0 beyond the ends."""
        where = torch.as_tensor(index, dtype=torch.float64, device=self.device)
        where = where.clamp(-2, voxels)
        low = where.floor()
        high = where - low  # weight of the voxel above
        hats = torch.zeros((*where.shape, voxels + 4), dtype=dtype, device=self.device)
        hats.scatter_(-1, (low + 2).long()[..., None], (1 - high).to(dtype)[..., None])
        hats.scatter_(-1, (low + 3).long()[..., None], high.to(dtype)[..., None])
        return hats[..., 2:-2]

    def _gathered(self, volume: Tensor) -> Tensor:
        """Sums over the slabs for a detector that stands askew, ray by ray in chunks of bounded memory."""
        parts = [self._along(volume, run) for run in self._ray_runs()]
        return torch.cat(parts, dim=1).reshape(len(volume), *self.view.shape)

    def _scattered(self, image: Tensor) -> Tensor:
        """Transpose of `_gathered`, by the derivative of each chunk."""
        total = image.new_zeros((len(image), *self.grid.shape))
        for run in self._ray_runs():
            with torch.enable_grad():
                start = torch.zeros_like(total).requires_grad_()
                sums = self._along(start, run)
                total += torch.autograd.grad(sums, start, image.flatten(1)[:, run])[0]
        return total

    def _ray_runs(self) -> list[slice]:
        rays = int(np.prod(self.view.shape))
        chunk = max(1, _CHUNK_BYTES // (96 * self.grid.shape[self._main]))  # points, and what is made of them
        return [slice(r, min(r + chunk, rays)) for r in range(0, rays, chunk)]

    def _along(self, volume: Tensor, run: slice) -> Tensor:
        """(B, r) sums along a run of rays, from the samples (r, s, 3) where they cross the slabs."""
        view, grid, main = self.view, self.grid, self._main
        direction = self._direction.reshape(-1, 3)[run]
        start = view.pixels_mm().reshape(-1, 3)[run] if view.parallel else view.source_mm[None]
        share = (grid.centers_mm(main) - start[:, main, None]) / direction[:, main, None]
        points = start[:, None] + share[..., None] * direction[:, None]
        if not view.parallel:
            points[(share <= 0) | (share > 1)] = 1e9  # behind the source or the detector
        index = (points - grid.affine[:3, 3]) / grid.spacing_mm
        unit = (2 * index + 1) / np.array(grid.shape) - 1  # as grid_sample counts: faces at -1 and 1
        where = torch.as_tensor(unit[..., ::-1].copy(), dtype=volume.dtype, device=volume.device)
        sampled = torch.nn.functional.grid_sample(
            volume[None], where[None, None], align_corners=False, padding_mode="zeros"
        )  # (1, B, 1, r, s)
        return sampled[0, :, 0].sum(-1)


class _Applied(torch.autograd.Function):
    """A linear map whose derivative is its transpose: nothing is kept for the way back."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, projector: Projector, transposed: bool) -> Tensor:
        ctx.projector, ctx.transposed = projector, transposed
        return projector.apply(flat, transposed=transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _applied(gradients[0], ctx.projector, transposed=not ctx.transposed), None, None


def _applied(flat: Tensor, projector: Projector, *, transposed: bool) -> Tensor:
    out: Tensor = _Applied.apply(flat, projector, transposed)  # type: ignore[no-untyped-call]
    return out


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
