"""The colon around the small bowel, from the caecum to the rectum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.contents import GAS_HU, gas_level
from trifocal.xray.phantoms.curves import spline, tube_along, tube_box
from trifocal.xray.phantoms.small_bowel import NO_GAS_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

# part, share of the half width to the right, share of the front, mm forward, height over the iliac crest (mm)
# plus a share of the right flexure's, of the left flexure's and of the sag, radius
FRAME = (
    (0, 0.60, 0, 22, -62, 0, 0, 0, 22), (0, 0.70, 0, 8, -30, 0, 0, 0, 27), (0, 0.74, 0, -6, 22, 0, 0, 0, 25),
    (1, 0.72, 0, -2, -8, 1, 0, 0, 22), (1, 0.55, 0, 24, 2, 1, 0, 0, 21),
    (2, 0.30, 0.62, 0, -10, 1, 0, 0.5, 20),
    (2, 0.0, 0.70, 0, -18, 1, 0, 1, 20), (2, -0.34, 0.62, 0, 4, 1, 0, 0.5, 19),
    (3, -0.62, 0, 26, -2, 0, 1, 0, 19),
    (3, -0.72, 0, 2, 2, 0, 1, 0, 18), (4, -0.79, 0, -18, -44, 0, 1, 0, 15),
    (4, -0.78, 0, -20, 10, 0, 0, 0, 14),
    (4, -0.70, 0, -4, -44, 0, 0, 0, 14), (5, -0.48, 0, 18, -84, 0, 0, 0, 15),
    (5, -0.08, 0, 14, -92, 0, 0, 0, 17),
    (5, 0.20, 0, -8, -88, 0, 0, 0, 17), (5, 0.06, 0, -38, -87, 0, 0, 0, 16),
    (6, 0, 0, -52, -119, 0, 0, 0, 19),
    (6, 0, 0, -46, -153, 0, 0, 0, 21), (6, 0, 0, -34, -195, 0, 0, 0, 11),
)  # fmt: skip
STOOL_CHANCE = (0.75, 0.6, 0.25, 0.45, 0.5, 0.5, 0.55)  # by part: caecum, right flexure, transverse ...
GAS_CHANCE = (0.35, 0.45, 0.8, 0.6, 0.4, 0.5, 0.35)


@dataclass(frozen=True, eq=False)
class Contents:
    """What the colon holds at each of N points along it.

    Attributes:
        level_mm: y in front of which there is gas.
        hu: Of stool or fluid.
        grain_hu: Deviation of the stool's texture; 0 for fluid.
        bubbles: Threshold in deviations of the texture above which a spot is gas.
    """

    level_mm: Floats
    hu: Floats
    grain_hu: Floats
    bubbles: Floats


def paint_colon(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The colon with its pouches; only the voxels near it are visited."""
    line, parts = colon_line(trunk, rng)
    contents = _contents(line, parts, rng)
    region = canvas.box(*tube_box(line, 3))
    if region.is_empty:
        return
    distance, place = tube_along(region, line, 2.5 * canvas.spacing_mm)
    index = np.nonzero(distance < 2 * canvas.spacing_mm)
    depth, at = distance[index], np.rint(place[index]).astype(int)
    grain = canvas.texture(region, rng, 6.0)[index]
    hu = contents.hu[at] + contents.grain_hu[at] * grain
    hu = np.where(grain > contents.bubbles[at], np.float32(-720), hu)  # gas within the stool
    hu = np.where(region.y.ravel()[index[1]] > contents.level_mm[at], np.float32(GAS_HU), hu)
    flat = canvas.hu[region.slices]
    within = canvas.masks["abdomen"][region.slices][index]
    values = flat[index]
    values += canvas.share(depth) * within * (np.float32(tissue["wall"]) - values)
    values += canvas.share(depth + np.float32(2.4 * trunk.scale)) * within * (hu - values)
    flat[index] = values


def colon_line(trunk: Trunk, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """(N, 4) line of the colon with its pouches, and (N,) which part each point is in."""
    s, crest = trunk.scale, trunk.z["iliac_crest"]
    wide = float(trunk.inner.radius(0.0, crest + 40 * s))
    front = float(trunk.inner.radius(np.pi / 2, crest + 30 * s))
    part, x, ahead, y, z, right, left, sagging, radius = np.array(FRAME, float).T
    z = z + right * (82 + 12 * rng.normal()) + left * (118 + 20 * rng.normal())
    z -= sagging * 100 * float(np.clip(rng.normal(0.35, 0.3), -0.05, 1.0))
    knots = np.column_stack([x * wide, ahead * front + y * s, crest + z * s, radius * s])
    loose = np.where((part == 5)[:, None], (20, 11, 12), (5.5, 5.5, 5.5))  # the sigmoid winds at will
    knots[:-2, :3] += rng.normal(0, 1, (len(knots) - 2, 3)) * loose[:-2] * s
    sizes = np.exp(rng.normal(-0.02, 0.12) + rng.normal(0, 0.16, 7))
    knots[:, 3] *= sizes[part.astype(int)]
    table = spline(np.column_stack([knots, part]), 190)
    line, parts = table[:, :4], table[:, 4]
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line[:, :3], axis=0), axis=1))])
    pouches = np.sin(2 * np.pi * length / (rng.uniform(27, 36) * s) + 1.5 * np.sin(length / (55 * s)))
    line[:, 3] *= 1 + np.where(parts < 5.6, 0.13, 0.05) * pouches
    line[:, 0] = np.clip(line[:, 0], -wide + 0.7 * line[:, 3], wide - 0.7 * line[:, 3])
    return line, np.rint(parts)


def _contents(line: Doubles, parts: Doubles, rng: np.random.Generator) -> Contents:
    """Draw what lies in each part; an empty part contracts (the line's radii change in place)."""
    count = len(line)
    level, bubbles = np.full(count, NO_GAS_MM), np.full(count, 9.0)
    hu, grain = np.zeros(count), np.zeros(count)
    usual = rng.normal(15, 25) if rng.random() < 0.88 else rng.uniform(100, 450)  # or a contrast agent
    gassy = float(rng.beta(2.0, 2.2))
    for n, (stool, gas) in enumerate(zip(STOOL_CHANCE, GAS_CHANCE, strict=True)):
        run = parts == n
        kind, shrink, mean, mottle, share = rng.random(5)
        if kind < stool:
            hu[run], grain[run], bubbles[run] = usual + rng.normal(0, 15), 45, 0.4 + 1.4 * mottle
        elif kind > 0.7 and n in (3, 4, 5):
            line[run, 3] *= 0.45 + 0.2 * shrink
            hu[run] = 30 + 20 * mean
            continue
        else:
            hu[run] = 5 + 35 * mean
        if rng.random() < 0.25 + 1.5 * gassy * gas:
            level[run] = gas_level(line[run], share ** (0.6 if n == 2 else 1.1))
    return Contents(*(np.asarray(v, np.float32) for v in (level, hu, grain, bubbles)))
