"""The grid on which a volume is reconstructed, and volumes brought onto it without losing mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import Image, ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Grid:
    """A box of equal voxels along the world axes: i to the patient's right (+x), j forward, k up.

    Attributes:
        shape: Voxels along (i, j, k).
        spacing_mm: Size of a voxel along each axis.
        center_mm: World position of the middle of the box.

    Raises:
        ValueError: If a size is not positive and finite.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        spacing = np.asarray(self.spacing_mm, float)
        good = len(self.shape) == 3 and spacing.shape == (3,) and min(self.shape) >= 1
        if not (good and np.isfinite(spacing).all() and (spacing > 0).all()):
            msg = f"a grid must have 3 positive sizes and spacings, got {self.shape}, {self.spacing_mm} mm"
            raise ValueError(msg)
        if not np.isfinite(self.center_mm).all() or len(self.center_mm) != 3:
            msg = f"the center of a grid must be 3 finite numbers in mm, got {self.center_mm}"
            raise ValueError(msg)

    @classmethod
    def cube(cls, extent_mm: float, voxels: int = 64, center_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> Grid:
        """A cube of an edge of `extent_mm` with `voxels` along each axis."""
        x, y, z = map(float, center_mm)
        return cls((voxels,) * 3, (extent_mm / voxels,) * 3, (x, y, z))

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """(3,) edges of the box, from face to face."""
        extent: NDArray[np.float64] = np.multiply(self.shape, self.spacing_mm, dtype=float)
        return extent

    @property
    def low_mm(self) -> NDArray[np.float64]:
        """(3,) corner of lowest coordinates: a face of the first voxels, not their centre."""
        return np.asarray(self.center_mm) - self.extent_mm / 2

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel index (centre) -> world RAS mm."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.low_mm + np.asarray(self.spacing_mm) / 2
        return affine

    def centers_mm(self, axis: int) -> NDArray[np.float64]:
        """(n,) world coordinates of the voxel centres along one axis."""
        n, step = self.shape[axis], self.spacing_mm[axis]
        centers: NDArray[np.float64] = float(self.low_mm[axis]) + step * np.arange(0.5, n)
        return centers

    def with_voxels(self, shape: tuple[int, int, int]) -> Grid:
        """The same box with other voxels."""
        x, y, z = (float(e) / n for e, n in zip(self.extent_mm, shape, strict=True))
        return Grid(shape, (x, y, z), self.center_mm)

    def image(self, array: NDArray[Any], unit: str, notes: dict[str, Any] | None = None) -> Image:
        """Values (i, j, k) of this grid as an `Image`."""
        if array.shape != self.shape:
            msg = f"the values must have the grid's shape {self.shape}, got {array.shape}"
            raise ValueError(msg)
        return Image(array, self.affine, unit, notes or {})

    def record(self) -> dict[str, Any]:
        """What is written to JSON."""
        return {
            "shape": [int(n) for n in self.shape],
            "spacing_mm": [float(s) for s in self.spacing_mm],
            "center_mm": [float(c) for c in self.center_mm],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Grid:
        """Read what `record` gave.

        Raises:
            ValueError: If something is missing or not a number.
        """
        try:
            i, j, k = (int(n) for n in record["shape"])
            a, b, c = (float(n) for n in record["spacing_mm"])
            x, y, z = (float(n) for n in record["center_mm"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"a grid must have shape, spacing_mm and center_mm of 3 numbers each, got {record!r}"
            raise ValueError(msg) from error
        return cls((i, j, k), (a, b, c), (x, y, z))


def average_onto(image: Image, grid: Grid, fill: float = -1000.0) -> NDArray[np.float32]:
    """Mean of an image over each voxel of a grid, by exact overlap of the boxes: the integral is kept.

    A finer grid than the image's repeats its voxels. What no voxel of the image covers counts as `fill`.

    Args:
        image: Voxels along the world axes, in any order and direction (see `reoriented`).
        grid: Where to.
        fill: In the image's unit; air for HU.

    Returns:
        (i, j, k) float32.

    Raises:
        ImageError: If the image's axes are oblique.
    """
    upright = reoriented(image)
    array = np.asarray(upright.array, np.float32) - np.float32(fill)
    low = upright.affine[:3, 3] - upright.spacing_mm / 2
    for axis in range(3):
        source = low[axis] + upright.spacing_mm[axis] * np.arange(upright.shape[axis] + 1)
        target = grid.low_mm[axis] + grid.spacing_mm[axis] * np.arange(grid.shape[axis] + 1)
        weights = _overlap(target, source) / np.float32(grid.spacing_mm[axis])
        array = np.moveaxis(np.tensordot(weights, array, axes=(1, axis)), 0, axis)
    out: NDArray[np.float32] = np.ascontiguousarray(array + np.float32(fill))
    return out


def reoriented(image: Image) -> Image:
    """The same volume with i along +x, j along +y, k along +z: axes permuted and flipped, nothing else.

    Raises:
        ImageError: If an axis runs along no world axis (more than half a degree off).
    """
    direction = image.affine[:3, :3] / image.spacing_mm
    axes = np.argmax(np.abs(direction), axis=1)  # world axis -> array axis
    if sorted(axes) != [0, 1, 2] or np.abs(direction[np.arange(3), axes]).min() < 0.99996:
        msg = "the volume's axes are oblique to the patient's: resample it onto an upright grid first"
        raise ImageError(msg)
    array = np.transpose(image.array, axes)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.abs(image.affine[:3, :3]).sum(1))
    steps = image.affine[np.arange(3), axes]
    corner = np.zeros(3)
    for axis in range(3):
        if steps[axis] < 0:
            array = np.flip(array, axis)
            corner[axes[axis]] = image.shape[axes[axis]] - 1
    affine[:3, :3] = np.diag(np.abs(steps))
    affine[:3, 3] = image.index_to_world(corner)
    return Image(array, affine, image.unit, image.notes)


def _overlap(target: ArrayLike, source: ArrayLike) -> NDArray[np.float32]:
    """(n, m) mm that each of n target cells shares with each of m source cells, given their edges."""
    t, s = np.asarray(target), np.asarray(source)
    high = np.minimum(t[1:, None], s[None, 1:])
    low = np.maximum(t[:-1, None], s[None, :-1])
    overlap: NDArray[np.float32] = np.clip(high - low, 0, None).astype(np.float32)
    return overlap
