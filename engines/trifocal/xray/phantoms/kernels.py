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
    line = np.empty(n, np.float32)
    for i in range(len(x)):
        a = x[i] / scale
        a0 = int(np.floor(a))
        u = a - a0
        for j in range(len(y)):
            b = y[j] / scale
            b0 = int(np.floor(b))
            v = b - b0
            for k in range(n):  # the lattice's own points over this column first
                near = lattice[a0 % n, b0 % n, k] * (1 - u) + lattice[(a0 + 1) % n, b0 % n, k] * u
                far = lattice[a0 % n, (b0 + 1) % n, k] * (1 - u) + lattice[(a0 + 1) % n, (b0 + 1) % n, k] * u
                line[k] = (near * (1 - v) + far * v) * gain
            for k in range(len(z)):
                c = z[k] / scale
                c0 = int(np.floor(c))
                w = c - c0
                out[i, j, k] = line[c0 % n] * (1 - w) + line[(c0 + 1) % n] * w
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


@_compiled
def paint_branches(
    hu: Floats, mask: Floats, low: NDArray[np.float64], spacing: float, rows: Floats, value: float
) -> None:
    """Paint rounded cones (n, 8: start, end, two radii) into hu (X, Y, Z), as far as the mask allows.

    A cone thinner than a voxel covers only its share of it: its mass does not depend on the spacing. The
    linear edge of a voxel's width holds pi (r^2 + spacing^2 / 12) of a section, which is corrected for.
    """
    for n in range(len(rows)):
        ax, ay, az, bx, by, bz, r0, r1 = rows[n]
        reach = max(r0, r1) + spacing
        i0 = max(int(np.ceil((min(ax, bx) - reach - low[0]) / spacing)), 0)
        i1 = min(int(np.floor((max(ax, bx) + reach - low[0]) / spacing)) + 1, hu.shape[0])
        j0 = max(int(np.ceil((min(ay, by) - reach - low[1]) / spacing)), 0)
        j1 = min(int(np.floor((max(ay, by) + reach - low[1]) / spacing)) + 1, hu.shape[1])
        k0 = max(int(np.ceil((min(az, bz) - reach - low[2]) / spacing)), 0)
        k1 = min(int(np.floor((max(az, bz) + reach - low[2]) / spacing)) + 1, hu.shape[2])
        dx, dy, dz = bx - ax, by - ay, bz - az
        norm = max(dx * dx + dy * dy + dz * dz, np.float32(1e-9))
        for i in range(i0, i1):
            ex = low[0] + i * spacing - ax
            for j in range(j0, j1):
                ey = low[1] + j * spacing - ay
                for k in range(k0, k1):
                    ez = low[2] + k * spacing - az
                    t = min(max((ex * dx + ey * dy + ez * dz) / norm, 0.0), 1.0)
                    a, b, c = ex - t * dx, ey - t * dy, ez - t * dz
                    r = r0 + t * (r1 - r0)
                    area = r * r - spacing * spacing / 12
                    share = 1.0
                    if area < spacing * spacing / 4:
                        share = r * r * 3 / (spacing * spacing)
                        area = spacing * spacing / 4
                    d = np.sqrt(a * a + b * b + c * c) - np.sqrt(area)
                    part = min(max(0.5 - d / spacing, 0.0), 1.0) * share * mask[i, j, k]
                    if part > 0:
                        hu[i, j, k] += part * (value - hu[i, j, k])


@_compiled
def _value(hu: Floats, f: float, g: float, h: float, fill: float) -> float:
    """Trilinear at fractional indices; the body goes on beyond the ends of z, elsewhere is `fill`."""
    nx, ny, nz = hu.shape
    i, j = int(np.floor(f)), int(np.floor(g))
    if i < 0 or j < 0 or i >= nx - 1 or j >= ny - 1:
        return fill
    k = min(max(int(np.floor(h)), 0), nz - 2)
    f, g, h = f - i, g - j, min(max(h - k, 0.0), 1.0)
    near = (hu[i, j, k] * (1 - f) + hu[i + 1, j, k] * f) * (1 - g)
    near += (hu[i, j + 1, k] * (1 - f) + hu[i + 1, j + 1, k] * f) * g
    far = (hu[i, j, k + 1] * (1 - f) + hu[i + 1, j, k + 1] * f) * (1 - g)
    far += (hu[i, j + 1, k + 1] * (1 - f) + hu[i + 1, j + 1, k + 1] * f) * g
    return float(near * (1 - h) + far * h)


@_compiled
def _over_column(lattice: Floats, a: float, b: float, line: Floats) -> None:
    """Fill line (3, n) with a periodic lattice (3, n, n, n) interpolated at its fractional indices (a, b)."""
    n = lattice.shape[1]
    a0, b0 = int(np.floor(a)), int(np.floor(b))
    u, v = a - a0, b - b0
    for m in range(3):
        for k in range(n):
            near = lattice[m, a0 % n, b0 % n, k] * (1 - u) + lattice[m, (a0 + 1) % n, b0 % n, k] * u
            far = lattice[m, a0 % n, (b0 + 1) % n, k] * (1 - u)
            far += lattice[m, (a0 + 1) % n, (b0 + 1) % n, k] * u
            line[m, k] = near * (1 - v) + far * v


@_compiled
def warped(
    hu: Floats,
    low: NDArray[np.float64],
    spacing: float,
    turn: Floats,
    aside: Floats,
    lattice: Floats,
    bend: float,
    fill: float,
) -> Floats:
    """Resample (X, Y, Z) where each voxel came from: turned, moved aside by height, bent by a lattice.

    Args:
        hu: Values.
        low: (3,) world of the first voxel.
        spacing: Edge of the voxels.
        turn: (3, 3) world from body.
        aside: (Z,) mm along x.
        lattice: (3, n, n, n) mm of periodic displacement.
        bend: mm between the lattice's points.
        fill: Beyond the volume.
    """
    out = np.empty_like(hu)
    nx, ny, nz = hu.shape
    n = lattice.shape[1]
    line = np.empty((3, n), np.float32)
    for i in range(nx):
        x = low[0] + i * spacing
        for j in range(ny):
            y = low[1] + j * spacing
            _over_column(lattice, x / bend, y / bend, line)
            for k in range(nz):
                z = low[2] + k * spacing
                c = z / bend
                c0 = int(np.floor(c))
                w, c1 = c - c0, (c0 + 1) % n
                c0 %= n
                x1 = x - aside[k] + line[0, c0] * (1 - w) + line[0, c1] * w
                y1 = y + line[1, c0] * (1 - w) + line[1, c1] * w
                z1 = z + line[2, c0] * (1 - w) + line[2, c1] * w
                f = (turn[0, 0] * x1 + turn[1, 0] * y1 + turn[2, 0] * z1 - low[0]) / spacing
                g = (turn[0, 1] * x1 + turn[1, 1] * y1 + turn[2, 1] * z1 - low[1]) / spacing
                h = (turn[0, 2] * x1 + turn[1, 2] * y1 + turn[2, 2] * z1 - low[2]) / spacing
                out[i, j, k] = _value(hu, f, g, h, fill)
    return out
