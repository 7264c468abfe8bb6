"""The aorta to T12, the pulmonary arteries, the great veins and the arteries of the neck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from trifocal.xray.phantoms.trunk import Trunk

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vessel:
    """A great vessel.

    Attributes:
        points_mm: (n, 3) its axis.
        radii_mm: (n,).
        hu: Of its blood.
    """

    points_mm: Doubles
    radii_mm: Doubles
    hu: float


def great_vessels(
    trunk: Trunk, heart_mm: Doubles, size: float, blood: tuple[float, float, float], rng: np.random.Generator
) -> dict[str, Vessel]:
    """Vessels by name, in the order of painting.

    Args:
        trunk: Whose.
        heart_mm: (3,) middle of the heart.
        size: Of the heart, against a usual one.
        blood: HU in the right heart, in the left heart, in the upper vena cava.
        rng: Of the draw.
    """
    right, left, cava = blood
    aorta = _aorta(trunk, heart_mm, size, left, rng)
    root = float(aorta.points_mm[2, 1])
    return (
        {"aorta": aorta}
        | _pulmonary(trunk, heart_mm, size, right)
        | _veins(trunk, heart_mm, size, root, (right, cava))
        | _neck(trunk, root, left)
    )


def _ahead(trunk: Trunk, height: float, by: float) -> float:
    """Depth y of what lies `by` (mm / scale) in front of the middle of the spine."""
    return float(trunk.spine_y(height)) + by * trunk.scale


def _vessel(points: Sequence[Any], radii: ArrayLike, scale: float, hu: float) -> Vessel:
    return Vessel(np.array(points, float), np.asarray(radii, float) * scale, hu)


def _aorta(trunk: Trunk, c: Doubles, size: float, hu: float, rng: np.random.Generator) -> Vessel:
    """Root, arch and descending part: wider with age, and unfolding to the left."""
    s, arch, carina = trunk.scale, trunk.z["arch"], trunk.z["carina"]
    wide = s * (0.92 if trunk.female else 1.0) * (0.85 + 0.005 * (trunk.age - 20))
    wide *= float(np.exp(rng.normal(0, 0.07)))
    out = -22 * s - 0.12 * max(trunk.age - 45, 0) * rng.uniform(0, 1.5)
    forward = 0.5 * (c[1] + _ahead(trunk, carina, 45)) + 10 * s
    points = [
        c + size * np.array([-2, 4, 30]), c + size * np.array([10, 8, 52]),
        [(17 + rng.normal(0, 3)) * s, forward, 0.5 * (arch + c[2] + 40 * size)],
        [12 * s, forward - 14 * s, arch - 14 * s], [-4 * s, _ahead(trunk, arch, 38), arch],
        [0.75 * out, _ahead(trunk, arch, 16), arch - 12 * s], [out, _ahead(trunk, carina, 8), carina],
        [out, _ahead(trunk, 60 * s, 10), 60 * s], [0.75 * out, _ahead(trunk, 0, 18), 0],
        [0.4 * out, _ahead(trunk, -50 * s, 24), -50 * s], [0.2 * out, _ahead(trunk, -90 * s, 26), -90 * s],
    ]  # fmt: skip
    return _vessel(points, [15, 17, 17, 16, 14.5, 13.5, 13, 12.5, 12, 11.5, 11], wide, hu)


def _pulmonary(trunk: Trunk, c: Doubles, size: float, hu: float) -> dict[str, Vessel]:
    """The trunk of the pulmonary artery and its two branches to the hila."""
    s, carina = trunk.scale, trunk.z["carina"]
    top = [-20 * s, c[1] + 4 * s, 0.5 * (carina + c[2] + 45 * size)]
    fork = [-16 * s, _ahead(trunk, carina, 52), carina - 12 * s]
    bend = [8 * s, _ahead(trunk, carina, 42), carina - 16 * s]
    right = [44 * s, _ahead(trunk, carina, 40), carina - 22 * s]
    left = [-44 * s, _ahead(trunk, carina, 40), carina - 10 * s]
    return {
        "pulmonary trunk": _vessel([c + size * np.array([-14, 22, 26]), top, fork], (14, 14, 13), s, hu),
        "right pulmonary": _vessel([fork, bend, right], (12, 11, 9.5), s, hu),
        "left pulmonary": _vessel([fork, left], (12, 10), s, hu),
    }


def _veins(
    trunk: Trunk, c: Doubles, size: float, root: float, blood: tuple[float, float]
) -> dict[str, Vessel]:
    """The venae cavae and the brachiocephalic veins; an injection into the right arm fills the upper ones."""
    s, top = trunk.scale, trunk.z["arch"] + 8 * trunk.scale
    inlet = trunk.z["notch"] + 35 * s
    right, cava = blood
    upper: list[Any] = [c + size * np.array([38, -4, 25]), [27 * s, root - 8 * s, trunk.z["carina"]]]
    lower: list[Any] = [[24 * s, _ahead(trunk, -40 * s, 30), -55 * s], c + size * np.array([40, -14, -12])]
    across = [[25 * s, root - 2 * s, top], [-8 * s, root + 2 * s, top + 10 * s], [-34 * s, -8 * s, inlet]]
    near = [[25 * s, root - 4 * s, top], [34 * s, -8 * s, inlet]]
    return {
        "upper cava": _vessel([*upper, [25 * s, root - 4 * s, top]], (11, 9.5, 8.5), s, cava),
        "left brachiocephalic": _vessel(across, (8, 7, 6), s, right),
        "right brachiocephalic": _vessel(near, (8, 6.5), s, cava),
        "lower cava": _vessel(lower, (12, 12), s, right),
    }


def _neck(trunk: Trunk, root: float, hu: float) -> dict[str, Vessel]:
    """The arteries that leave the arch."""
    s, arch, neck = trunk.scale, trunk.z["arch"], trunk.z["notch"] + 60 * trunk.scale
    first = [[8 * s, root - 14 * s, arch], [20 * s, -22 * s, neck - 30 * s], [28 * s, -24 * s, neck + 40 * s]]
    second = [
        [-6 * s, _ahead(trunk, arch, 34), arch + 6 * s],
        [-22 * s, -20 * s, neck - 20 * s],
        [-28 * s, -24 * s, neck + 40 * s],
    ]
    third = [
        [-18 * s, _ahead(trunk, arch, 18), arch],
        [-32 * s, -34 * s, neck - 20 * s],
        [-75 * s, -22 * s, neck - 30 * s],
    ]
    return {
        "innominate": _vessel(first, (7, 5.5, 4), s, hu),
        "left carotid": _vessel(second, (4.5, 4, 4), s, hu),
        "left subclavian": _vessel(third, (5.5, 5, 4.5), s, hu),
    }
