"""The two inner loops of the phantoms, compiled by numba: thick curves, and bilinear sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    F = TypeVar("F", bound=Callable[..., object])


def _compiled(function: F) -> F:
    return cast("F", njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def raise_to_capsules(
    mask: NDArray[np.float32], corner: NDArray[np.float64], step: float, line: NDArray[np.float64],
    half: NDArray[np.float64], height: NDArray[np.float64], edge: float,
) -> None:  # fmt: skip
    """Raise a mask to the thick line through points, wherever that is higher.

    Args:
        mask: (rows, columns), changed in place.
        corner: (2,) x, y mm of the centre of its first sample.
        step: mm between samples.
        line: (N, 2) mm; repeat the first point at the end to close it.
        half: (N,) half the width, mm.
        height: (N,) of the mask inside.
        edge: mm over which the height falls to nothing, centred on the half width.
    """
    rows, columns = mask.shape
    for k in range(len(line) - 1):
        ax, ay = line[k, 0], line[k, 1]
        ux, uy = line[k + 1, 0] - ax, line[k + 1, 1] - ay
        square = ux * ux + uy * uy + 1e-12
        reach = max(half[k], half[k + 1]) + 0.5 * edge
        left = max(math.ceil((min(ax, ax + ux) - reach - corner[0]) / step), 0)
        right = min(math.floor((max(ax, ax + ux) + reach - corner[0]) / step), columns - 1)
        top = max(math.ceil((min(ay, ay + uy) - reach - corner[1]) / step), 0)
        bottom = min(math.floor((max(ay, ay + uy) + reach - corner[1]) / step), rows - 1)
        for i in range(top, bottom + 1):
            dy = corner[1] + i * step - ay
            for j in range(left, right + 1):
                dx = corner[0] + j * step - ax
                t = min(max((dx * ux + dy * uy) / square, 0.0), 1.0)
                distance = math.hypot(dx - t * ux, dy - t * uy)
                inside = 0.5 + (half[k] + t * (half[k + 1] - half[k]) - distance) / edge
                if inside > 0:
                    value = (height[k] + t * (height[k + 1] - height[k])) * min(inside, 1.0)
                    if value > mask[i, j]:
                        mask[i, j] = value


@_compiled
def bilinear(
    values: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values (rows, columns) between their samples, at fractional indices of any one shape (M, N).

    Outside the samples the nearest one is taken.
    """
    last_row, last_column = values.shape[0] - 1, values.shape[1] - 1
    out = np.empty(rows.shape, np.float32)
    for m in range(rows.shape[0]):
        for n in range(rows.shape[1]):
            r = min(max(rows[m, n], np.float32(0)), np.float32(last_row))
            c = min(max(columns[m, n], np.float32(0)), np.float32(last_column))
            i, j = min(int(r), last_row - 1), min(int(c), last_column - 1)
            p, q = r - np.float32(i), c - np.float32(j)
            upper = values[i, j] + q * (values[i, j + 1] - values[i, j])
            lower = values[i + 1, j] + q * (values[i + 1, j + 1] - values[i + 1, j])
            out[m, n] = upper + p * (lower - upper)
    return out
