"""A volume and where it lies in the world."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ImageError(ValueError):
    """An image that cannot be read or used as it is; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Image:
    """A volume and the affine that places it in RAS millimetres.

    Attributes:
        array: (i, j, k) values in `unit`, never transposed on the way in.
        affine: (4, 4) float64, voxel index (centre) -> world in RAS mm.
        unit: "HU", "Pa", "m/s", "kg/m3", "dB/cm" or "" where unknown.
        notes: What was done to the data on the way in (JSON-able), for the provenance record.

    Raises:
        ImageError: If the array is empty or not 3-D, or the affine is not a finite invertible (4, 4) matrix.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    unit: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if self.array.ndim != 3 or 0 in self.array.shape:
            msg = f"a volume must be 3-D and not empty, got an array of shape {self.array.shape}"
            raise ImageError(msg)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            msg = f"the affine must be a finite (4, 4) matrix, got {affine.tolist()}"
            raise ImageError(msg)
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9 or not np.array_equal(affine[3], [0, 0, 0, 1]):
            msg = f"the affine must be invertible with last row (0, 0, 0, 1), got {affine.tolist()}"
            raise ImageError(msg)
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (i, j, k)."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """(3,) distance between neighbouring voxel centres along i, j, k."""
        spacing: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    @property
    def bounds_mm(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest world coordinate of the voxel centres."""
        last = np.array(self.shape) - 1
        corners = np.stack(np.meshgrid(*[(0, n) for n in last], indexing="ij"), axis=-1).reshape(-1, 3)
        world = self.index_to_world(corners)
        return np.stack([world.min(0), world.max(0)])

    @property
    def is_axis_aligned(self) -> bool:
        """Whether every array axis runs along one world axis (no rotation, no shear)."""
        directions = np.abs(self.affine[:3, :3]) / self.spacing_mm
        return bool((np.sort(directions, axis=0)[:2] < 1e-4).all())

    @cached_property
    def sha256(self) -> str:
        """Hash of the affine and the array together, as recorded in the provenance."""
        digest = hashlib.sha256(self.affine.tobytes())
        digest.update(repr((self.array.dtype.str, self.array.shape)).encode())
        digest.update(np.ascontiguousarray(self.array).data)
        return digest.hexdigest()

    def index_to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Map voxel indices (..., 3) to world millimetres (..., 3)."""
        world: NDArray[np.float64] = np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return world

    def world_to_index(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Map world millimetres (..., 3) to fractional voxel indices (..., 3)."""
        offset = np.asarray(point_mm, float) - self.affine[:3, 3]
        index: NDArray[np.float64] = offset @ np.linalg.inv(self.affine[:3, :3]).T
        return index

    def sample(self, point_mm: ArrayLike, *, fill: float = 0.0, order: int = 1) -> NDArray[np.float32]:
        """Interpolate at world points (..., 3); `fill` outside. Returns (...) float32."""
        index = self.world_to_index(point_mm)
        values = ndimage.map_coordinates(
            self.array, index.reshape(-1, 3).T, output=np.float32, order=order, mode="constant", cval=fill
        )
        out: NDArray[np.float32] = values.reshape(index.shape[:-1])
        return out

    def crop(self, start: ArrayLike, stop: ArrayLike) -> Image:
        """Keep voxels start <= index < stop (each (3,), clipped to the volume); the affine follows."""
        lo = np.clip(np.asarray(start, int), 0, self.shape)
        hi = np.clip(np.asarray(stop, int), lo, self.shape)
        if (hi <= lo).any():
            msg = f"crop from {lo.tolist()} to {hi.tolist()} leaves nothing of a volume of {self.shape}"
            raise ImageError(msg)
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(lo)
        return replace(self, array=self.array[tuple(map(slice, lo, hi))], affine=affine)

    def resample(
        self, affine: ArrayLike, shape: tuple[int, int, int], *, fill: float = 0.0, order: int = 1
    ) -> Image:
        """Interpolate onto the grid given by an affine (4, 4) and a shape; `fill` outside. float32."""
        target = np.asarray(affine, float)
        matrix = np.linalg.inv(self.affine) @ target
        values = ndimage.affine_transform(
            self.array, matrix[:3, :3], matrix[:3, 3], shape, np.float32, order, "constant", fill
        )
        return replace(self, array=values, affine=target)
