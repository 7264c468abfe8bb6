"""A tilted or unevenly spaced stack of slices onto a regular grid, by the slices' true positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.io.checks import AIR_HU, LPS_TO_RAS, check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.io.geometry import Stack

_STEP_MM = 1.0


def regrid(
    volume: NDArray[Any], stack: Stack, name: str
) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, Any]]:
    """Interpolate slices onto a regular orthogonal grid that holds them all.

    The first axis runs along the slices' rows, the third in the direction in which the slices are stacked
    (with a gantry tilt: along the table) as nearly as the first leaves it. Spacing: the slices' own in the
    plane; along the stack the median gap, at most 1 mm and at least the in-plane spacing. Between two slices
    the interpolation follows the line that joins equal pixels, from each slice's true position (trilinear in
    the sheared stack); nothing is extrapolated.

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
    step = max(float(min(first.spacing_mm)), min(_STEP_MM, float(np.median(stack.gaps_mm))))
    spacing = np.array([*first.spacing_mm, step])
    low, high = _extent(stack, axes)
    shape = tuple(int(n) for n in np.floor((high - low) / spacing + 1e-6) + 1)
    check_memory(name, 2 * volume.itemsize * int(np.prod(shape)))
    layers, source = np.full(shape[::-1], AIR_HU, volume.dtype), np.maximum(volume, volume.dtype.type(AIR_HU))
    across = low[1] + spacing[1] * np.arange(shape[1])
    for k, layer in enumerate(layers):  # (k, j, i)
        # a point is across[j] * axes[1] + along * axes[2] + any of axes[0], which is the slices' row
        points = across[:, None] * axes[:, 1] + (low[2] + spacing[2] * k) * axes[:, 2]
        _fill(layer, points, low[0], source, stack)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = axes @ low
    return layers.transpose(2, 1, 0), LPS_TO_RAS @ affine, _notes(stack, spacing)


def _axes(stack: Stack) -> NDArray[np.float64]:
    """(3, 3) LPS unit vectors of the new grid, in columns; the first is the slices' row."""
    row = stack.planes[0].row / np.linalg.norm(stack.planes[0].row)
    along = stack.planes[-1].origin_mm - stack.planes[0].origin_mm if stack.is_sheared else stack.normal
    along = along - (along @ row) * row
    along = along / np.linalg.norm(along)
    return np.stack([row, np.cross(along, row), along], axis=1)


def _extent(stack: Stack, axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) lowest and highest coordinate of all pixel centres along the new axes."""
    first = stack.planes[0]
    last = (np.array(first.size) - 1) * first.spacing_mm
    corners = np.array([i * first.row + j * first.column for i in (0.0, last[0]) for j in (0.0, last[1])])
    points = np.concatenate([plane.origin_mm + corners for plane in stack.planes]) @ axes
    return points.min(0), points.max(0)


def _fill(
    layer: NDArray[Any], points: NDArray[np.float64], start: float, volume: NDArray[Any], stack: Stack
) -> None:
    """Interpolate one layer (j, i) of the grid, line by line.

    Args:
        layer: Changed in place where slices lie.
        points: (j, 3) LPS mm, a point of each line.
        start: Coordinate along the slices' row at which every line begins.
        volume: (slice, row, column) HU.
        stack: Where each slice lies.
    """
    plane = stack.planes[0]
    heights = points @ stack.normal
    # a point on the first or last slice must not fall outside by rounding
    inside = (heights >= stack.heights_mm[0] - 1e-6) & (heights <= stack.heights_mm[-1] + 1e-6)
    if not inside.any():
        return
    numbers = np.arange(len(stack.planes), dtype=float)
    slices = np.interp(heights[inside], stack.heights_mm, numbers)
    drift = np.stack([np.interp(slices, numbers, stack.drift_mm[:, axis]) for axis in (0, 1)])
    rows = ((points[inside] - plane.origin_mm) @ plane.column - drift[1]) / plane.spacing_mm[1]
    first_column = (start - plane.origin_mm @ plane.row - drift[0]) / plane.spacing_mm[0]
    lines = _lines(volume, slices, rows)
    if np.abs(first_column).max() > 1e-6 or layer.shape[1] != lines.shape[1]:
        lines = _shifted(lines, first_column, layer.shape[1])
    layer[inside] = np.rint(lines) if layer.dtype.kind == "i" else lines


def _lines(
    volume: NDArray[Any], slices: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(n, column) image lines at fractional slices and rows (each (n,)); air where the row is outside."""
    s, ws = _split(slices, volume.shape[0])
    r, wr = _split(rows, volume.shape[1])
    upper = volume[s, r] * (1 - wr)[:, None] + volume[s, r + 1] * wr[:, None]
    lower = volume[s + 1, r] * (1 - wr)[:, None] + volume[s + 1, r + 1] * wr[:, None]
    lines = (upper * (1 - ws)[:, None] + lower * ws[:, None]).astype(np.float32, copy=False)
    lines[_outside(rows, volume.shape[1])] = AIR_HU
    return lines


def _shifted(lines: NDArray[np.float32], first: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """(n, count) lines that begin at the fractional column `first` (n,); air outside."""
    columns = first[:, None] + np.arange(count)
    c, wc = _split(columns, lines.shape[1])
    left, right = np.take_along_axis(lines, c, 1), np.take_along_axis(lines, c + 1, 1)
    shifted: NDArray[np.float32] = left * (1 - wc) + right * wc
    shifted[_outside(columns, lines.shape[1])] = AIR_HU
    return shifted


def _split(index: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Whole part, such that it and the next are within `count`, and the weight of the next."""
    whole = np.clip(np.floor(index), 0, count - 2)
    return whole.astype(np.intp), (index - whole).astype(np.float32)


def _outside(index: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    return (index < -1e-6) | (index > count - 1 + 1e-6)


def _notes(stack: Stack, spacing: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "reason": stack.faults(),
        "tilt_deg": round(stack.tilt_deg, 3),
        "gap_min_mm": round(float(stack.gaps_mm.min()), 4),
        "gap_max_mm": round(float(stack.gaps_mm.max()), 4),
        "spacing_mm": [round(float(s), 6) for s in spacing],
        "method": "trilinear between the slices' true positions, along the stacking direction",
        "outside_hu": AIR_HU,
        "covered": {
            "normal_ras": (LPS_TO_RAS[:3, :3] @ stack.normal).tolist(),
            "from_mm": float(stack.heights_mm[0]),
            "to_mm": float(stack.heights_mm[-1]),
        },
        "clipped_below_hu": AIR_HU,
    }
