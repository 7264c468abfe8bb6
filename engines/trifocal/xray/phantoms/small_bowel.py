"""The loops of the small bowel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.contents import gas_level, layered
from trifocal.xray.phantoms.curves import spline, tube_along, tube_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Doubles = NDArray[np.float64]

NO_GAS_MM = 1e4
"""A level of gas that nothing reaches."""


def paint_small_bowel(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Loops between the frame of the colon, the closer together the less fat lies between them."""
    s = trunk.scale
    pitch = (27 + 13 * min(trunk.visceral, 1.0)) * s
    radius = 11.5 * s * float(np.exp(rng.normal(0, 0.13)))
    gas = float(rng.beta(0.8, 6))
    contrast = float(rng.uniform(100, 400)) if rng.random() < 0.2 else None
    if rng.random() < 0.05:  # an obstructed bowel
        radius, gas = 1.45 * radius, float(rng.uniform(0.2, 0.6))
    for spot in _places(trunk, pitch, rng):
        turn = rng.uniform(0, 2 * np.pi)
        heading = np.array([np.cos(turn), 0.5 * np.sin(turn), 0.8 * np.sin(turn + rng.normal(0, 0.6))])
        bend = np.cross(heading, rng.normal(0, 1, 3)) * pitch * 0.5
        reach = heading * pitch * rng.uniform(0.5, 0.95)
        radii = radius * np.exp(rng.normal(-0.1, 0.22, 3))
        knots = np.column_stack([[spot - reach, spot + bend, spot + reach], radii])
        paint_loop(canvas, spline(knots, 7), tissue, rng, gas=gas, contrast=contrast)


def _places(trunk: Trunk, pitch: float, rng: np.random.Generator) -> list[Doubles]:
    """Jittered lattice of (3,) mm in front of the spine, within the wall, thinning out towards the flanks."""
    s, crest = trunk.scale, trunk.z["iliac_crest"]
    out = []
    for z in np.arange(crest - 118 * s, crest + 95 * s, pitch):
        wide = 0.70 * float(trunk.inner.radius(0.0, z))
        front = float(trunk.inner.radius(np.pi / 2, z)) - 14 * s
        rear = float(trunk.spine_y(z)) + 30 * s if z > crest - 30 * s else -12 * s
        for x in np.arange(-wide, wide, pitch):
            beside = 22 * s if abs(x) > 0.42 * wide else 0.0
            for y in np.arange(rear - beside, front, 0.92 * pitch):
                inside = (x / wide) ** 2 / 1.15 + max((y - 10) / front, 0) ** 2 < 1
                jitter = rng.normal(0, 0.2 * pitch, 3)
                if inside and rng.random() < 0.9:
                    out.append(np.array([x, y, z]) + jitter)
    return out


def paint_loop(
    canvas: Canvas, line: Doubles, tissue: Tissue, rng: np.random.Generator, *, gas: float,
    contrast: float | None = None,
) -> None:  # fmt: skip
    """A piece of bowel along a line (N, 4): its wall, and fluid, gas or contrast agent in it.

    Args:
        canvas: Where.
        line: Points and radii, mm.
        tissue: For the wall.
        rng: For what it holds.
        gas: Chance that there is gas.
        contrast: HU of a contrast agent that was drunk, if any.
    """
    empty, filled = rng.random() < 0.35, rng.random() < 0.7
    fluid = contrast if contrast is not None and filled else float(rng.normal(16, 8))
    share = float(rng.uniform(0.15, 0.9))
    level = gas_level(line, share) if rng.random() < gas else NO_GAS_MM
    region = canvas.box(*tube_box(line))
    if region.is_empty:
        return
    distance, _ = tube_along(region, line, 2 * canvas.spacing_mm)
    canvas.paint(region, distance, tissue["wall"] - 6, within="abdomen")
    if not empty:
        values = layered(region, level, np.float32(fluid) * np.ones_like(region.y))
        canvas.paint(region, distance + np.float32(2.2), values, within="abdomen")
