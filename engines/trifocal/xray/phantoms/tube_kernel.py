"""The inner loop of long tubes, compiled by numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

F = TypeVar("F", bound="Callable[..., object]")


def _compiled(function: F) -> F:
    return cast("F", njit(nogil=True, cache=True, error_model="numpy", fastmath=True)(function))


@_compiled
def lower_to_tube(
    x: Floats, y: Floats, z: Floats, line: Floats, reach: float, distance: Floats, place: Floats
) -> None:
    """Lower signed distances to those of a chain of rounded cones, wherever these are nearer.

    Each piece visits only the voxels that it may be nearest to.

    Args:
        x: (X,) mm, ascending, as y (Y,) and z (Z,) are.
        y: See x.
        z: See x.
        line: (N, 4) points and radii, mm.
        reach: How far outside the surface distances are needed, mm.
        distance: (X, Y, Z), changed in place.
        place: (X, Y, Z), changed in place: the nearest point of the line, 0 to N - 1.
    """
    for s in range(len(line) - 1):
        px, py, pz, pr = line[s]
        qx, qy, qz, qr = line[s + 1]
        dx, dy, dz = qx - px, qy - py, qz - pz
        norm = max(dx * dx + dy * dy + dz * dz, np.float32(1e-6))
        far = max(pr, qr) + np.float32(reach)
        i0, i1 = np.searchsorted(x, min(px, qx) - far), np.searchsorted(x, max(px, qx) + far)
        j0, j1 = np.searchsorted(y, min(py, qy) - far), np.searchsorted(y, max(py, qy) + far)
        k0, k1 = np.searchsorted(z, min(pz, qz) - far), np.searchsorted(z, max(pz, qz) + far)
        for i in range(i0, i1):
            ex = x[i] - px
            for j in range(j0, j1):
                ey = y[j] - py
                for k in range(k0, k1):
                    ez = z[k] - pz
                    t = min(max((ex * dx + ey * dy + ez * dz) / norm, np.float32(0)), np.float32(1))
                    a, b, c = ex - t * dx, ey - t * dy, ez - t * dz
                    d = np.sqrt(a * a + b * b + c * c) - pr - t * (qr - pr)
                    if d < distance[i, j, k]:
                        distance[i, j, k] = d
                        place[i, j, k] = s + t
