"""Lungs: their shape between ribs, diaphragm and mediastinum, their density, vessels and airways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import Canvas, tube
from trifocal.xray.phantoms.kernels import paint_branches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Region
    from trifocal.xray.phantoms.heart import Heart
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

VESSEL_HU = 40.0


def paint_lungs(canvas: Canvas, trunk: Trunk, heart: Heart, rng: np.random.Generator) -> None:
    """Both lungs with their vessels and bronchi. Leaves the mask "lungs"."""
    s = trunk.scale
    wide = float(trunk.inner.radius_mm.max()) + 5
    base = -120 * s
    region = canvas.box([-wide, -wide, base], [wide, wide, trunk.z["apex"] + 10])
    distance = lung_distance(region, trunk, heart)
    hu = _parenchyma(canvas, region, trunk, rng)
    share = canvas.paint(region, distance, hu, within="body")
    mask = np.zeros_like(canvas.hu)
    mask[region.slices] = share
    canvas.masks["lungs"] = mask
    blood = {"native": 40.0, "arterial": 250.0, "portal": 140.0}[trunk.contrast]
    for side in (1, -1):
        segments = branches(trunk, side, rng)
        paint_branches(canvas.hu, mask, canvas.low_mm, canvas.spacing_mm, segments.astype(np.float32), blood)


def lung_distance(region: Region, trunk: Trunk, heart: Heart) -> Floats:
    """Signed distance to the surface of the two lungs on a region."""
    s = trunk.scale
    chest = trunk.inner.distance(region.x, region.y, region.z) + np.float32(2.5 * s)
    dome = trunk.diaphragm(region.x, region.y)
    slope = np.hypot(*(np.gradient(dome[:, :, 0], float(region.x[1, 0, 0] - region.x[0, 0, 0]))))
    over = (dome + np.float32(2.0 * s) - region.z) / np.sqrt(1 + np.minimum(slope, 4) ** 2)[:, :, None]
    sides = [_side(region, trunk, side) for side in (1, -1)]
    lungs = np.maximum(np.maximum(chest, over), np.minimum(*sides))
    out: Floats = np.maximum(lungs, -_mediastinum(region, trunk, heart)).astype(np.float32)
    return out


def _side(region: Region, trunk: Trunk, side: int) -> Floats:
    """One lung's own limits: the rounded apex and the midline."""
    s = trunk.scale
    top = trunk.z["apex"] - (4 * s if side == 1 else 0)
    high = 108 * s
    middle = top - high
    center = np.array([side * 60 * s, -26 * s, middle])
    z = np.maximum(region.z, np.float32(middle))  # below its middle the apex goes on as a cylinder
    x = (region.x - np.float32(center[0])) / np.float32(78 * s)
    y = (region.y - np.float32(center[1])) / np.float32(140 * s)
    # towards the top the lung is narrower from front to back than the chest
    up = (z - np.float32(middle)) / np.float32(high)
    shrink = np.sqrt(np.clip(1 - up**2, 0.0025, 1))
    level = np.sqrt((x / shrink) ** 2 + (y / shrink**1.35) ** 2)
    apex = (level - 1) * np.float32(48 * s) * shrink
    apex = np.where(region.z > middle, np.maximum(apex, region.z - np.float32(top)), np.float32(-1e3))
    midline = np.float32(3 * s) - side * (region.x - np.float32(trunk.aside_mm))
    out: Floats = np.maximum(apex, midline).astype(np.float32)
    return out


def _mediastinum(region: Region, trunk: Trunk, heart: Heart) -> Floats:
    """What keeps the lungs apart: spine, great vessels and heart with their fat."""
    s = trunk.scale
    z = region.z
    y0 = trunk.spine_y(z).astype(np.float32)
    level = (z - np.float32(trunk.z["shift"])) / np.float32(s)
    half = np.interp(level, [-100, 0, 60, 130, 200, 260], [27, 25, 22, 21, 24, 30]).astype(
        np.float32
    ) * np.float32(s)
    spine = np.hypot(region.x / half, (region.y - y0 + np.float32(12 * s)) / np.float32(34 * s)) - 1
    column = spine * np.float32(24 * s)
    wide = np.interp(level, [-60, 40, 85, 115, 150, 175, 230], [15, 15, 24, 36, 35, 34, 36]).astype(
        np.float32
    ) * np.float32(s)
    front = trunk.inner.radius(np.pi / 2, z).astype(np.float32)
    middle = (y0 + front) / 2 - np.float32(4 * s)
    depth = (front - y0) / 2
    v = (region.y - middle) / depth
    # narrow behind the sternum, wide at the hila
    narrowed = wide * np.clip(1.0 - 0.75 * np.clip(v, 0, 1) ** 1.5, 0.2, 1)
    central = (np.hypot((region.x - np.float32(trunk.aside_mm)) / narrowed, v / 1.1) - 1) * np.float32(26 * s)
    out: Floats = np.minimum(np.minimum(column, central), heart.distance(region)).astype(np.float32)
    return out


def _parenchyma(canvas: Canvas, region: Region, trunk: Trunk, rng: np.random.Generator) -> Floats:
    """Density: air content by inspiration, denser towards the back (gravity), with smooth variations."""
    mean = -770 - 125 * trunk.inspiration + rng.normal(0, 18) - 0.35 * (trunk.age - 50)
    mean = float(np.clip(mean, -930, -640))
    gradient = rng.uniform(0.15, 0.55) * (1.35 - 0.6 * trunk.inspiration)  # HU per mm towards the back
    back = np.exp(-(region.y + float(trunk.inner.radius(-np.pi / 2, 0.0))) / 18) * rng.uniform(0, 90)
    hu = mean - np.float32(gradient) * region.y + back.astype(np.float32)
    hu = hu + 12 * canvas.texture(region, rng, 22.0) + 22 * canvas.texture(region, rng, 6.0)
    out: Floats = np.clip(hu, -985, 0).astype(np.float32)
    return out


def hilum(trunk: Trunk, side: int) -> Doubles:
    """(3,) where vessels and bronchi enter the lung."""
    s = trunk.scale
    y = float(trunk.spine_y(trunk.z["carina"])) + 42 * s
    return np.array([side * 40 * s, y, trunk.z["carina"] + (-24 if side == 1 else -16) * s])


def branches(trunk: Trunk, side: int, rng: np.random.Generator) -> Doubles:
    """Vessels of one lung: (n, 8) rows of start (3), end (3), radius at the start and at the end, mm.

    A tree from the hilum that bifurcates towards places spread through the lung; radii follow Murray's law
    (r^3 = r1^3 + r2^3), so that a branch of equal halves has 0.79 of its parent's radius.
    """
    s = trunk.scale
    start = hilum(trunk, side)
    rows: list[Doubles] = []
    width = float(trunk.inner.radius(0.0, 20 * s))
    for lobe in range(24):
        u = (lobe + rng.uniform(0.2, 0.8)) / 24
        up = 1 - 2 * u  # from the apex to the base
        turn = 2.4 * lobe + rng.normal(0, 0.3)
        reach = np.sqrt(max(1 - up**2, 0.05))
        target = np.array(
            [
                side * (0.52 * width + 0.34 * width * reach * np.cos(turn)),
                -5 * s + 70 * s * reach * np.sin(turn),
                0.5 * (trunk.z["apex"] - 30 * s) + up * 0.55 * (trunk.z["apex"] + 20 * s),
            ]
        )
        step = (target - start) * 0.42
        _grow(rows, start, step, rng.uniform(2.9, 4.8) * s, 0, rng)
    return np.array(rows)


def _grow(
    rows: list[Doubles], start: Doubles, step: Doubles, radius: float, depth: int, rng: np.random.Generator
) -> None:
    """Add one branch and, from its end, two smaller ones."""
    end = start + step
    rows.append(np.array([*start, *end, radius, 0.88 * radius]))
    if depth == 5:
        return
    split = rng.uniform(0.35, 0.65)
    side = np.cross(step, rng.normal(size=3))
    side /= np.linalg.norm(side) + 1e-9
    length = np.linalg.norm(step) * rng.uniform(0.66, 0.86)
    ahead = step / np.linalg.norm(step)
    for share, sign in ((split, 1), (1 - split, -1)):
        bend = sign * (0.25 + 0.7 * (1 - share)) * rng.uniform(0.7, 1.2)
        direction = ahead * np.cos(bend) + side * np.sin(bend)
        _grow(rows, end, direction * length, radius * 0.88 * share ** (1 / 3), depth + 1, rng)


def paint_airways(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Trachea, carina, main and lobar bronchi."""
    s = trunk.scale
    top = np.array([0, -22 * s, trunk.z["neck"] + 30 * s])
    carina = np.array([2 * s, float(trunk.spine_y(trunk.z["carina"])) + 36 * s, trunk.z["carina"]])
    inlet = np.array([0, -20 * s, trunk.z["notch"] + 10 * s])
    radius = rng.uniform(7.0, 9.5) * s * (0.9 if trunk.female else 1.05)
    chains = [(np.stack([top, inlet, carina]), np.array([radius, radius, radius]))]
    for side in (1, -1):
        into = hilum(trunk, side)
        lower = into + [side * 18 * s, -14 * s, -42 * s]
        upper = into + [side * 26 * s, 4 * s, 26 * s]
        chains.append((np.stack([carina, into, lower]), radius * np.array([0.8, 0.68, 0.4])))
        chains.append((np.stack([into, upper]), radius * np.array([0.5, 0.35])))
    for grow, hu in ((1.8 * s, 30.0), (0.0, -985.0)):
        for points, radii in chains:
            box = canvas.box(points.min(0) - 14, points.max(0) + 14)
            canvas.paint(box, tube(box, points, radii + grow), hu, within="body")
