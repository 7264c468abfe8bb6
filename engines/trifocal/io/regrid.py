"""A tilted or unevenly spaced stack of slices onto a regular grid, by the slices' true positions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from trifocal.io.checks import AIR_HU, LPS_TO_RAS, check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.io.geometry import Stack

_STEP_MM = 1.0


def regrid(
    volume: NDArray[Any], stack: Stack, name: str
) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]]:
    """Interpolate slices onto a regular orthogonal grid that holds them all.

    The third axis runs in the direction in which the slices are stacked (with a gantry tilt: along the
    table), the first along the slices' rows as nearly as it can. Spacing: the slices' own in the plane; along
    the stack the median gap, at most 1 mm and at least the in-plane spacing. Between two slices the
    interpolation follows the line that joins equal pixels, from each slice's true position (trilinear in the
    sheared stack); nothing is extrapolated.

    Args:
        volume: (slice, row, column) HU.
        stack: Where each slice lies.
        name: The series' name, for messages.

    Returns:
        (i, j, k) HU of the volume's type, no value below -1000 (the padding that scanners store outside the
        scan circle becomes air), -1000 outside the slices; (4, 4) index -> RAS mm; notes of what was done.

    Raises:
        ImageError: If the grid does not fit the memory.
    """
    axes = _axes(stack)
    first = stack.planes[0]
    in_plane = float(min(first.spacing_mm))
    step = max(in_plane, min(_STEP_MM, float(np.median(stack.gaps_mm))))
    spacing = np.array([*first.spacing_mm, step])
    low, high = _extent(stack, axes)
    shape = tuple(int(n) for n in np.floor((high - low) / spacing + 1e-6) + 1)
    check_memory(name, 2 * volume.itemsize * int(np.prod(shape)))
    out = np.full(shape[::-1], AIR_HU, volume.dtype).transpose(2, 1, 0)
    source = np.maximum(volume, volume.dtype.type(AIR_HU))
    with ThreadPoolExecutor(2) as pool:  # scipy releases the interpreter while it interpolates
        jobs = [pool.submit(_fill, out, k, source, stack, axes, low, spacing) for k in range(shape[2])]
    for job in jobs:
        job.result()
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ low
    return out, LPS_TO_RAS @ affine, _notes(stack, spacing)


def _axes(stack: Stack) -> NDArray[np.float64]:
    """(3, 3) LPS unit vectors of the new grid, in columns."""
    along = stack.planes[-1].origin_mm - stack.planes[0].origin_mm
    along = along / np.linalg.norm(along) if stack.is_sheared else stack.normal
    row = stack.planes[0].row
    first = row - (row @ along) * along
    first = first / np.linalg.norm(first)
    return np.stack([first, np.cross(along, first), along], axis=1)


def _extent(stack: Stack, axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) lowest and highest coordinate of all pixel centres along the new axes."""
    first = stack.planes[0]
    last = (np.array(first.size) - 1) * first.spacing_mm
    corners = np.array([i * first.row + j * first.column for i in (0.0, last[0]) for j in (0.0, last[1])])
    points = np.concatenate([plane.origin_mm + corners for plane in stack.planes]) @ axes
    return points.min(0), points.max(0)


def _fill(
    out: NDArray[Any],
    k: int,
    volume: NDArray[Any],
    stack: Stack,
    axes: NDArray[np.float64],
    low: NDArray[np.float64],
    spacing: NDArray[np.float64],
) -> None:
    """Interpolate one layer out[:, :, k]."""
    plane = stack.planes[0]
    i = low[0] + spacing[0] * np.arange(out.shape[0])[:, None]
    j = low[1] + spacing[1] * np.arange(out.shape[1])[None, :]
    along = low[2] + spacing[2] * k

    def project(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c = direction @ axes
        projected: NDArray[np.float64] = a * i + b * j + c * along
        return projected

    heights = project(stack.normal)
    # a point on the first or last slice must not fall outside by rounding
    inside = (heights >= stack.heights_mm[0] - 1e-6) & (heights <= stack.heights_mm[-1] + 1e-6)
    if not inside.any():
        return
    numbers = np.arange(len(stack.planes), dtype=float)
    slices = np.interp(heights[inside], stack.heights_mm, numbers)
    drift = [np.interp(slices, numbers, stack.drift_mm[:, axis]) for axis in (0, 1)]
    columns = (project(plane.row)[inside] - plane.row @ plane.origin_mm - drift[0]) / plane.spacing_mm[0]
    rows = (project(plane.column)[inside] - plane.column @ plane.origin_mm - drift[1]) / plane.spacing_mm[1]
    index = np.stack([slices, np.round(rows, 6), np.round(columns, 6)])
    values = ndimage.map_coordinates(volume, index, np.float32, order=1, mode="constant", cval=AIR_HU)
    out[:, :, k][inside] = np.rint(values) if out.dtype.kind == "i" else values


def _notes(stack: Stack, spacing: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "reason": stack.faults(),
        "tilt_deg": round(stack.tilt_deg, 3),
        "gap_min_mm": round(float(stack.gaps_mm.min()), 4),
        "gap_max_mm": round(float(stack.gaps_mm.max()), 4),
        "spacing_mm": [round(float(s), 6) for s in spacing],
        "method": "trilinear between the slices' true positions, along the stacking direction",
        "outside_hu": AIR_HU,
        "clipped_below_hu": AIR_HU,
    }
