"""The radiating surface as voxels, and back: the bowl that such voxels came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.pose import Pose
from trifocal.focus.transducer import Bowl, fit_sphere

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

POINTS_PER_VOXEL = (
    4.0  # along an edge: no voxel that the surface runs through by more than a corner is missed
)
GAUSS_NEWTON_STEPS = 8  # the error falls at least tenfold in each
PUBLISHED_HZ = 500e3  # not in the files: the paper's


def surface_voxels(bowl: Bowl, pose: Pose, affine: ArrayLike) -> NDArray[np.int64]:
    """The voxels that the surface of a bowl runs through, each once, in ascending order.

    Args:
        bowl: The transducer.
        pose: Bowl frame -> world.
        affine: (4, 4) voxel index -> world in mm, isotropic.

    Returns:
        (m, 3) indices; they may lie outside of any grid.
    """
    matrix = np.asarray(affine, float)
    spacing = float(np.linalg.norm(matrix[:3, 0]))
    points = pose.to_world(bowl.surface_points(spacing / POINTS_PER_VOXEL))
    index = (points - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    voxels: NDArray[np.int64] = np.unique(np.rint(index).astype(np.int64), axis=0)
    return voxels


@dataclass(frozen=True, eq=False)
class FoundBowl:
    """A bowl as its voxels show it.

    Attributes:
        bowl: Radius of curvature and aperture from the fit; the frequency is taken from the caller.
        pose: Bowl frame -> the frame of the points.
        residual_mm: Root mean square distance of the voxels to the sphere; a third of a voxel is usual.
    """

    bowl: Bowl
    pose: Pose
    residual_mm: float


def bowl_of(
    voxels: ArrayLike,
    spacing_mm: float,
    affine: ArrayLike | None = None,
    *,
    frequency_hz: float = PUBLISHED_HZ,
) -> FoundBowl:
    """Recover radius of curvature, aperture, apex and axis from the voxels of a bowl's surface.

    The sphere is the linear least-squares fit of Coope 1993 (`fit_sphere`), which the roughness of voxels
    makes too small on a shallow cap (3 % at 1 mm), so it is refined by Gauss-Newton on the distances to the
    sphere. The axis goes through the
    centre of area of the cap, which lies on it: the voxels' mean, each weighted by the surface that it
    stands for (an oblique surface meets more voxels per area than one along the grid: 1 / (|nx| + |ny| +
    |nz|) of its unit normal n). The aperture follows from that centre too, so that no single voxel of
    the rim decides it: a cap of radius R and half angle a has it R (1 + cos a) / 2 from the centre of the
    sphere. Voxels that the rim only touches widen the cap by up to half a voxel all around.

    Args:
        voxels: (m, 3) indices.
        spacing_mm: Edge of a voxel.
        affine: (4, 4) index -> mm; from voxel (0, 0, 0) along the grid if None.
        frequency_hz: Which the voxels do not show.

    Raises:
        ValueError: If the voxels do not determine a sphere, or more than a hemisphere is seen.
    """
    matrix = np.diag([spacing_mm] * 3 + [1.0]) if affine is None else np.asarray(affine, float)
    points = np.asarray(voxels, float) @ matrix[:3, :3].T + matrix[:3, 3]
    centre, radius = _refined(points, *fit_sphere(points))
    offset = points - centre
    distance = np.linalg.norm(offset, axis=1)
    residual = float(np.sqrt(((distance - radius) ** 2).mean()))
    normal = np.abs(offset @ (matrix[:3, :3] / spacing_mm)) / distance[:, None]  # along the grid's axes
    mean = np.average(offset, axis=0, weights=1 / normal.sum(1))
    height = float(np.linalg.norm(mean))
    cosine = 2 * height / radius - 1
    if not 0 <= cosine < 1:
        msg = (
            f"tr_coords must be one bowl, a hemisphere at most, got {len(points)} voxels about a sphere of "
            f"{radius:.1f} mm with their middle {height:.1f} mm from its centre"
        )
        raise ValueError(msg)
    direction = -mean / height
    bowl = Bowl(radius, 2 * radius * float(np.sqrt(1 - cosine**2)), frequency_hz, source="fit of tr_coords")
    return FoundBowl(bowl, Pose.from_apex(centre - radius * direction, direction), residual)


def _refined(
    points: NDArray[np.float64], centre: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float64], float]:
    """Least squares of the distances to the sphere, from a start near it."""
    for _ in range(GAUSS_NEWTON_STEPS):
        offset = points - centre
        distance = np.linalg.norm(offset, axis=1)
        slope = np.column_stack([offset / distance[:, None], np.ones(len(points))])
        step = np.linalg.lstsq(slope, distance - radius, rcond=None)[0]
        centre, radius = centre + step[:3], radius + float(step[3])
    return centre, radius
