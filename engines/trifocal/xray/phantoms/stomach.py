"""Stomach and duodenum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.contents import gas_level, layered
from trifocal.xray.phantoms.curves import placed, spline, tube_along, tube_box
from trifocal.xray.phantoms.small_bowel import paint_loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]

# share of the half width to the right, share of the front, mm behind it, z, radius; the first three shift
# until they touch the dome
STOMACH = (
    (-0.40, 0.0, 12, -34, 27), (-0.46, 0.08, 0, -50, 37), (-0.47, 0.30, 0, -76, 36),
    (-0.42, 0.46, 0, -106, 29), (-0.22, 0.52, 0, -132, 23), (0.04, 0.48, 0, -130, 17),
    (0.20, 0.34, 0, -112, 10),
)  # fmt: skip
SINKS = (0, 0, 0.2, 0.6, 1, 0.8, 0.4)  # how far each point follows when the stomach hangs lower
DUODENUM = (
    (30, 42, 62, 10),
    (50, 18, 40, 12),
    (54, 8, 10, 12),
    (38, 16, -10, 11),
    (0, 34, -4, 10),
    (-34, 26, 22, 11),
)


def paint_stomach(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """A bag under the left dome, its body in front, its end across the midline; gas lies in front."""
    s = trunk.scale
    wide = float(trunk.inner.radius(np.pi, -60 * s))
    front = float(trunk.inner.radius(np.pi / 2, -100 * s))
    full = float(np.clip(np.exp(rng.normal(-0.08, 0.27)), 0.55, 1.4))
    x, ahead, behind, z, radius = np.array(STOMACH).T
    heights = z * s + np.array(SINKS) * rng.normal(0, 16) * s
    knots = np.column_stack([x * wide, ahead * front - behind * s, heights, radius * s])
    knots[:, :3] += rng.normal(0, 4, (len(knots), 3)) * s
    knots[1:-1, 3] *= full * wide / (134 * s) * np.exp(rng.normal(0, 0.08, len(knots) - 2))
    roof = trunk.diaphragm(knots[:3, 0], knots[:3, 1])
    top = np.min(roof - knots[:3, 3] - knots[:3, 2]) - 3 * s  # it touches the left dome
    knots[:3, 2] += top * np.array([1, 1, 0.6])
    line = spline(knots, 28)
    region = canvas.box(*tube_box(line, 4))
    distance, _ = tube_along(region, line)
    distance += 2.5 * canvas.texture(region, rng, 26 * s)
    canvas.paint(region, distance, tissue["wall"], within="abdomen")
    food = canvas.texture(region, rng, 7.0)
    level = gas_level(line, float(np.clip(rng.beta(1.5, 3.0), 0.02, 0.97)))
    values = layered(region, level, _meal(food, rng), food)
    canvas.paint(region, distance + (3.0 + 4.0 * max(1.15 - full, 0)) * s, values, within="abdomen")


def _meal(food: Floats, rng: np.random.Generator) -> Floats:
    """HU of water, of food or of a contrast agent that was drunk."""
    kind = rng.random()
    if kind < 0.5:
        mean, deviation = rng.uniform(2, 30), 4.0
    elif kind < 0.9:
        mean, deviation = rng.uniform(10, 60), rng.uniform(15, 60)
    else:
        mean, deviation = rng.uniform(100, 400), 15.0
    return np.float32(mean) + np.float32(deviation) * food


def paint_duodenum(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Around the head of the pancreas, and back to the left in front of the spine."""
    s, body = trunk.scale, trunk.vertebra("L3")
    x, y, z = body.center_mm
    knots = placed(DUODENUM, s, (x, y + body.half_mm[1], z))
    knots[:, 3] *= np.exp(rng.normal(-0.05, 0.15, len(knots)))
    knots[:, :3] += rng.normal(0, 4, (len(knots), 3)) * s
    paint_loop(canvas, spline(knots, 20), tissue, rng, gas=0.15)
