"""Skin, fat and muscles, arms and shoulders, and the two cavities inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import Canvas, Region, ellipsoid, tube

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

SKIN_HU, FAT_HU, MUSCLE_HU = 15.0, -102.0, 54.0
SKIN_MM = 1.8


def paint_body(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Fill the outline: skin, fat, muscle, and fat in the thorax and in the abdomen.

    Leaves the masks "body", "inner", "thorax" and "abdomen" (shares 0 to 1) on the canvas.
    """
    everywhere = canvas.whole
    skin = trunk.skin.distance(everywhere.x, everywhere.y, everywhere.z)
    muscle = trunk.muscle.distance(everywhere.x, everywhere.y, everywhere.z)
    inner = trunk.inner.distance(everywhere.x, everywhere.y, everywhere.z)
    layer = 0.7 * trunk.fat_mm
    for distance, region in _limbs(canvas, trunk):
        part = skin[region.slices]
        np.minimum(part, distance - np.float32(layer), out=part)
        part = muscle[region.slices]
        np.minimum(part, distance, out=part)
    breasts = _breasts(canvas, trunk, rng) if trunk.female else []
    for distance, region, _ in breasts:
        part = skin[region.slices]
        np.minimum(part, distance, out=part)
    fat_hu = FAT_HU + rng.normal(0, 5)
    canvas.masks["body"] = canvas.paint(everywhere, skin, SKIN_HU)
    canvas.paint(everywhere, skin + np.float32(SKIN_MM), fat_hu)
    for distance, region, dense in breasts:
        gland = np.clip(0.35 + canvas.texture(region, rng, 11.0), 0, 1) * np.float32(dense)
        canvas.paint(region, distance + np.float32(9), 35.0, within=gland)
    canvas.paint(everywhere, muscle, _muscle_hu(canvas, trunk, rng))
    inside = canvas.share(inner)
    canvas.masks["inner"] = inside
    dome = trunk.diaphragm(everywhere.x, everywhere.y)
    above = canvas.share(dome - everywhere.z)
    floor = canvas.share(np.float32(trunk.z["pelvic_floor"]) - everywhere.z)
    canvas.masks["thorax"] = inside * above
    canvas.masks["abdomen"] = inside * (1 - above) * floor
    filling = np.float32(fat_hu) + 6 * canvas.texture(everywhere, rng, 9.0)
    # between the lungs fat is crossed by small vessels, nodes and strands
    filling += above * (np.float32(18) + 24 * canvas.texture(everywhere, rng, 7.0))
    _mix(canvas, filling, inside * np.maximum(floor, above))
    _paint_diaphragm(canvas, trunk, dome)


def _mix(canvas: Canvas, hu: Floats, share: Floats) -> None:
    canvas.hu += share * (hu - canvas.hu)


def _muscle_hu(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> Floats:
    """Muscle with fat between its bundles: more in the old and the obese."""
    region = canvas.whole
    mean = MUSCLE_HU + float(rng.normal(0, 4)) + {"native": 0, "arterial": 4, "portal": 10}[trunk.contrast]
    septa = canvas.texture(region, rng, 8.0 * trunk.scale)
    share = np.clip(0.12 + 0.0025 * (trunk.age - 20) + 0.005 * (trunk.bmi - 20), 0.02, 0.4)
    edge = float(np.quantile(septa[::5, ::5, ::5], 1 - share))
    fat = np.clip((septa - edge) * 2.0, 0, 0.85)
    hu: Floats = np.float32(mean) + fat * np.float32(FAT_HU - mean) + 4 * np.roll(septa, 7, 2)
    return hu


def _paint_diaphragm(canvas: Canvas, trunk: Trunk, dome: Floats) -> None:
    """The muscle itself, about 4 mm."""
    region = canvas.box(
        [-1e3, -1e3, float(dome.min()) - 5], [1e3, 1e3, float(trunk.left_dome_mm + 40 * trunk.scale) + 5]
    )
    distance = np.abs(dome - region.z) - np.float32(2.0 * trunk.scale)
    canvas.paint(region, distance, 45.0, within="inner")


def shoulder(trunk: Trunk, side: int) -> Doubles:
    """(3,) middle of the humeral head; side is 1 for the right, -1 for the left."""
    s, z = trunk.scale, trunk.z["notch"]
    if trunk.arms == "up":
        return np.array([side * 150 * s, -12 * s, z + 42 * s])
    return np.array([side * 172 * s, -18 * s, z + 4 * s])


def arm(trunk: Trunk, side: int) -> Doubles:
    """(n, 3) axis of the arm from the shoulder outwards."""
    s, head = trunk.scale, shoulder(trunk, side)
    if trunk.arms == "up":
        steps = [(0, 0, 0), (22, 6, 55), (38, 16, 130), (44, 25, 220)]
    else:
        steps = [(0, 0, 0), (32, -4, -60), (58, -12, -290), (42, 26, -540)]
    return head + s * np.array([(side * x, y, z) for x, y, z in steps], float)


def _limbs(canvas: Canvas, trunk: Trunk) -> list[tuple[Floats, Region]]:
    """Distances to the muscles of the shoulders and arms."""
    s = trunk.scale * (1 + 0.012 * (trunk.bmi - 25)) * (0.78 if trunk.female else 0.92)
    out = []
    for side in (1, -1):
        head, axis = shoulder(trunk, side), arm(trunk, side)
        box = canvas.box(head - 75 * s, head + 75 * s)
        radii = np.array([50, 46, 50]) * s
        out.append((ellipsoid(box, head, radii), box))
        size = np.array([44, 46, 40, 30]) * s
        box = canvas.box(axis.min(0) - 70 * s, axis.max(0) + 70 * s)
        out.append((tube(box, axis, size), box))
        # the folds of the armpit: pectoral muscle in front, latissimus behind
        for y in (18, -52):
            low = np.array([side * 118, y, trunk.z["notch"] / s - 85]) * s
            chain = np.stack([low, (low + head) / 2 + [side * 6 * s, 0, 0], head])
            box = canvas.box(chain.min(0) - 50 * s, chain.max(0) + 50 * s)
            out.append((tube(box, chain, np.array([14, 22, 34]) * s), box))
        neck = np.array(
            [[side * 26 * s, -30 * s, trunk.z["notch"] + 95 * s], [side * 120 * s, -28 * s, head[2] + 5]]
        )
        box = canvas.box(neck.min(0) - 60 * s, neck.max(0) + 60 * s)
        out.append((tube(box, neck, np.array([30, 34]) * s), box))
    return out


def _breasts(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> list[tuple[Floats, Region, float]]:
    """Distances to the breasts, fallen aside as one lies on the back, and how dense they are."""
    s = trunk.scale
    size = float(np.clip(0.75 + 0.03 * (trunk.bmi - 22) + rng.normal(0, 0.15), 0.45, 1.7))
    high = trunk.z["carina"] - (62 + 0.35 * (trunk.age - 40)) * s
    turn = np.deg2rad(50 - 9 * (size - 0.8) - 0.12 * (trunk.age - 40) + rng.normal(0, 4))
    dense = float(
        np.clip(0.8 - 0.008 * (trunk.age - 20) - 0.015 * (trunk.bmi - 24) + rng.normal(0, 0.2), 0, 1)
    )
    out = []
    for side in (1, -1):
        center = trunk.muscle.point(turn, high, inwards_mm=12 * s * size)
        center[0] *= side
        radii = np.array([70, 38, 66]) * s * size * np.exp(rng.normal(0, 0.04, 3))
        lean = side * (turn - np.pi / 2)  # its base lies along the chest wall
        axes = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1.0]])
        box = canvas.box(center - radii.max(), center + radii.max())
        out.append((ellipsoid(box, center, radii, axes), box, dense))
    return out
