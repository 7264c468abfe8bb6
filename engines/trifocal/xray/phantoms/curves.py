"""Smooth lines through the body, and thick tubes along them that know how far along a voxel lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.tube_kernel import lower_to_tube

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.xray.phantoms.canvas import Region

    Floats = NDArray[np.float32]

FAR_MM = 1000.0
"""Distance given to voxels that no part of a tube is near."""


def spline(points: ArrayLike, count: int) -> NDArray[np.float64]:
    """(count, D) points along a smooth curve through (N, D) ones, equally far apart in x, y, z.

    What stands in further columns (a radius) is interpolated without overshooting.
    """
    from scipy.interpolate import CubicSpline, PchipInterpolator

    knots = np.asarray(points, float)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1) + 1e-6)])
    at = np.linspace(0, length[-1], count)
    place = CubicSpline(length, knots[:, :3], bc_type="natural")(at)
    if knots.shape[1] == 3:
        return np.asarray(place, float)
    return np.concatenate([place, PchipInterpolator(length, knots[:, 3:])(at)], axis=1)


def placed(
    table: ArrayLike, scale: float, origin_mm: ArrayLike = (0.0, 0.0, 0.0), side: int = 1
) -> NDArray[np.float64]:
    """(N, 4) points and radii in mm from a table for a person of usual size, as the right side has them.

    Args:
        table: (N, 4) x (outwards), y, z from the origin, and radius.
        scale: Of the person.
        origin_mm: (3,) in the world.
        side: 1 for the right side, -1 for the left: mirrors x of the table.
    """
    out = np.asarray(table, float) * scale
    out[:, 0] *= side
    out[:, :3] += np.asarray(origin_mm, float)
    return out


def tube_along(region: Region, line: ArrayLike, reach_mm: float = 12.0) -> tuple[Floats, Floats]:
    """Signed distance to a long tube, and where along it each voxel lies.

    Each piece only visits the voxels near it, so that a tube of hundreds of pieces stays cheap.

    Args:
        region: Where.
        line: (N, 4) points x, y, z and radius, mm.
        reach_mm: How far outside the surface distances are needed.

    Returns:
        Distance (X, Y, Z), negative inside and FAR_MM where nothing is near, and the place on the line that
        is nearest, from 0 at its start to N - 1.
    """
    knots = np.asarray(line, np.float32)
    distance = np.full(region.shape, np.float32(FAR_MM))
    place = np.zeros(region.shape, np.float32)
    if not region.is_empty:
        x, y, z = region.x.ravel(), region.y.ravel(), region.z.ravel()
        lower_to_tube(x, y, z, knots, reach_mm, distance, place)
    return distance, place


def tube_box(line: ArrayLike, margin_mm: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the box around a tube (N, 4) of points and radii."""
    knots = np.asarray(line, float)
    reach = knots[:, 3:4] + margin_mm
    return (knots[:, :3] - reach).min(0), (knots[:, :3] + reach).max(0)


def rounded_max(a: ArrayLike, b: ArrayLike, round_mm: float) -> Floats:
    """The higher of two signed distances (what both contain), with the edge between them rounded."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    blend = np.maximum(np.float32(round_mm) - np.abs(a - b), 0)
    out: Floats = np.maximum(a, b) + blend * blend * np.float32(0.25 / round_mm)
    return out


def rotation(tilt_deg: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) matrix that turns about x, then y, then z, right-handed, by degrees (3,)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    out: NDArray[np.float64] = about_z @ about_y @ about_x
    return out
