"""Loops over the voxels of a box, compiled: distances to surfaces and smooth noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Axis = NDArray[np.floating[Any]]

F = TypeVar("F", bound="Callable[..., object]")


def _compiled(function: F) -> F:
    return cast("F", njit(nogil=True, cache=True, error_model="numpy", fastmath=True)(function))


@_compiled
def shell_distance(x: Axis, y: Axis, z: Axis, table: Floats, low: float, step: float) -> Floats:
    """Signed distance (X, Y, Z) to radii (directions, heights), along the radius, shortened by the slope."""
    directions, heights = table.shape
    out = np.empty((len(x), len(y), len(z)), np.float32)
    column = np.empty(len(z), np.int64)
    share = np.empty(len(z), np.float32)
    for k in range(len(z)):
        c = min(max((z[k] - low) / step, 0.0), heights - 1.001)
        column[k] = int(c)
        share[k] = c - column[k]
    turn = 2 * np.pi / directions
    for i in range(len(x)):
        for j in range(len(y)):
            rho = np.sqrt(x[i] ** 2 + y[j] ** 2)
            a = np.arctan2(y[j], x[i]) / turn
            if a < 0:
                a += directions
            n = int(a) % directions
            u = np.float32(a - int(a))
            m = (n + 1) % directions
            for k in range(len(z)):
                c, v = column[k], share[k]
                r0 = table[n, c] * (1 - v) + table[n, c + 1] * v
                r1 = table[m, c] * (1 - v) + table[m, c + 1] * v
                r = r0 * (1 - u) + r1 * u
                slope = (r1 - r0) / turn
                out[i, j, k] = (rho - r) * r / np.sqrt(r * r + slope * slope)
    return out


@_compiled
def lattice_values(x: Axis, y: Axis, z: Axis, lattice: Floats, gain: float, scale: float) -> Floats:
    """Trilinear interpolation (X, Y, Z) of a periodic lattice whose points lie `scale` mm apart."""
    n = lattice.shape[0]
    out = np.empty((len(x), len(y), len(z)), np.float32)
    for i in range(len(x)):
        a = x[i] / scale
        a0 = int(np.floor(a))
        u = a - a0
        for j in range(len(y)):
            b = y[j] / scale
            b0 = int(np.floor(b))
            v = b - b0
            for k in range(len(z)):
                c = z[k] / scale
                c0 = int(np.floor(c))
                w = c - c0
                total = np.float32(0)
                for p in range(2):
                    for q in range(2):
                        for r in range(2):
                            weight = (u if p else 1 - u) * (v if q else 1 - v) * (w if r else 1 - w)
                            total += weight * lattice[(a0 + p) % n, (b0 + q) % n, (c0 + r) % n]
                out[i, j, k] = total * gain
    return out


@_compiled
def chain_distance(x: Axis, y: Axis, z: Axis, points: Floats, radii: Floats, stretch: float) -> Floats:
    """Signed distance (X, Y, Z) to rounded cones between points (n, 3); distances along z count `stretch`."""
    out = np.full((len(x), len(y), len(z)), np.float32(1e4))
    for s in range(len(points) - 1):
        px, py, pz = points[s]
        dx, dy, dz = points[s + 1] - points[s]
        dz *= stretch
        norm = max(dx * dx + dy * dy + dz * dz, np.float32(1e-9))
        for i in range(len(x)):
            ex = x[i] - px
            for j in range(len(y)):
                ey = y[j] - py
                for k in range(len(z)):
                    ez = (z[k] - pz) * stretch
                    t = min(max((ex * dx + ey * dy + ez * dz) / norm, np.float32(0)), np.float32(1))
                    a, b, c = ex - t * dx, ey - t * dy, ez - t * dz
                    d = np.sqrt(a * a + b * b + c * c) - radii[s] - t * (radii[s + 1] - radii[s])
                    out[i, j, k] = min(out[i, j, k], d)
    return out
