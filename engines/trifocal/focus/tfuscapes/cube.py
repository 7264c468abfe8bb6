"""The cube of our own samples: where it lies about a bowl, and what is sampled into it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.focus.box import Box
from trifocal.focus.pose import Pose
from trifocal.focus.tfuscapes.surface import surface_voxels
from trifocal.image import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.tfuscapes.sample import Frame
    from trifocal.focus.transducer import Bowl

DEPTH_IN_RADII = 1.6  # the cube is centred half-way between the apex and this
OFFSET_MM = 8.0  # at most, along each axis: else the middle of the cube would give the focus away


@dataclass(frozen=True)
class CubeSpec:
    """What the cubes of a data set are.

    Attributes:
        frame: Axes along the world's or along the bowl's.
        shape: Voxels along each edge.
        spacing_mm: Edge of a voxel.

    Raises:
        ValueError: If an attribute is out of range.
    """

    frame: Frame = "world"
    shape: int = 128
    spacing_mm: float = 1.0

    def __post_init__(self) -> None:
        if self.frame not in ("world", "bowl"):
            msg = f'frame must be "world" or "bowl", got {self.frame!r}'
            raise ValueError(msg)
        if self.shape < 8:
            msg = f"the shape of a cube must be 8 voxels or more, got {self.shape}"
            raise ValueError(msg)
        if not 0.1 <= self.spacing_mm <= 10:
            msg = f"the spacing of a cube must be 0.1 to 10 mm, got {self.spacing_mm:g}"
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Cube:
    """A cube placed about a bowl.

    Attributes:
        axes: Rigid transform, cube's axes -> world: the identity, or the bowl's pose.
        box: The grid along those axes.
        transducer: (m, 3) int64 voxel indices of the bowl's surface.
    """

    axes: Pose
    box: Box
    transducer: NDArray[np.int64]

    @classmethod
    def about(cls, bowl: Bowl, pose: Pose, spec: CubeSpec, key: str) -> Cube:
        """Place the cube by its middle and an offset that depends on the key alone.

        Args:
            bowl: The transducer, which is wholly inside the cube.
            pose: Bowl frame -> world.
            spec: Axes and size.
            key: Names the case.

        Raises:
            ValueError: If the bowl does not fit.
        """
        axes = pose if spec.frame == "bowl" else Pose(np.eye(4))
        h, half = spec.spacing_mm, (spec.shape - 1) / 2 * spec.spacing_mm
        points = axes.from_world(pose.to_world(bowl.surface_points(h)))
        middle = axes.from_world(pose.to_world([0, 0, DEPTH_IN_RADII * bowl.radius_of_curvature_mm / 2]))
        inside = half - 2 * h  # from the middle to the outermost point of the surface
        low = np.maximum(points.max(0) - inside - middle, -OFFSET_MM)
        high = np.minimum(points.min(0) + inside - middle, OFFSET_MM)
        if (low > high).any():
            msg = (
                f"a cube of {2 * half:g} mm does not hold a bowl of radius {bowl.radius_of_curvature_mm:g} "
                f"mm and aperture {bowl.aperture_mm:g} mm and its focus: use more voxels or larger ones"
            )
            raise ValueError(msg)
        seed = np.frombuffer(hashlib.sha256(f"{spec.frame} {key}".encode()).digest(), np.uint32)
        origin = middle + np.random.default_rng(seed.tolist()).uniform(low, high) - half
        x, y, z = (float(v) for v in origin)
        box = Box(h, (spec.shape, spec.shape, spec.shape), (x, y, z))
        return cls(axes, box, surface_voxels(bowl, pose, axes.matrix @ box.affine))

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) voxel index -> world in mm."""
        matrix: NDArray[np.float64] = self.axes.matrix @ self.box.affine
        return matrix

    def head_hu(self, head: Head) -> NDArray[np.float32]:
        """HU (n, n, n) of a head, 0 outside of it."""
        with torch.no_grad():
            hu, _ = head.sample(torch.from_numpy(self.axes.matrix.copy())[None], self.box)
        return np.asarray(hu[0].numpy())


def to_cube(
    values: NDArray[np.float32], box: Box, pose: Pose, affine: ArrayLike, shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Interpolate a field on a bowl's box onto a cube, trilinear.

    Args:
        values: (x, y, z) on the box.
        box: The grid in the bowl's frame.
        pose: Bowl frame -> world.
        affine: (4, 4) voxel index of the cube -> world in mm.
        shape: Of the cube.

    Returns:
        (n, n, n) float32, 0 outside of the box.
    """
    image = Image(values, pose.matrix @ box.affine)
    return np.asarray(image.resample(affine, shape).array)


def to_box(values: NDArray[np.float32], affine: ArrayLike, box: Box, pose: Pose) -> NDArray[np.float32]:
    """Interpolate a field on a cube onto a bowl's box, trilinear.

    Args:
        values: (n, n, n) on the cube.
        affine: (4, 4) voxel index of the cube -> world in mm.
        box: The grid in the bowl's frame.
        pose: Bowl frame -> world.

    Returns:
        (x, y, z) float32, 0 outside of the cube.
    """
    image = Image(values, np.asarray(affine, float))
    return np.asarray(image.resample(pose.matrix @ box.affine, box.shape).array)
