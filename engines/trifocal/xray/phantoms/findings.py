"""What diseases do to lungs and abdomen: fluid, collapse, nodules, destroyed lung, lesions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import rotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas, Region
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

EVERYWHERE = np.full((1, 1, 1), -1e3, np.float32)
"""A signed distance for paint that only a share bounds."""


def paint_findings(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Now and then paint diseases; most people have one or two mild ones, some have none.

    Args:
        canvas: With the finished body, and the masks "lungs", "abdomen" and "liver".
        trunk: Whose.
        rng: Each finding draws from a stream of its own.
    """
    old = float(np.clip((trunk.age - 40) / 40, 0, 1))
    chances = (
        (_dependent, 0.5), (_emphysema, 0.06 + 0.14 * old), (_opacities, 0.16), (_nodules, 0.22),
        (_mass, 0.05), (_effusion, 0.08 + 0.10 * old), (_pneumothorax, 0.025), (_ascites, 0.05),
        (_liver_lesions, 0.15),
    )  # fmt: skip
    for (paint, chance), stream in zip(chances, rng.spawn(len(chances)), strict=True):
        if stream.random() < chance:
            paint(canvas, trunk, stream)


def _lungs(canvas: Canvas, trunk: Trunk, side: int = 0) -> tuple[Region, Floats]:
    """The box of one lung (1: right, -1: left) or both (0), and how much of each voxel is lung."""
    reach = float(trunk.inner.radius_mm.max())
    low, high = [-reach, -reach, -130 * trunk.scale], [reach, reach, trunk.z["apex"] + 12]
    if side > 0:
        low[0] = 0.0
    elif side < 0:
        high[0] = 0.0
    region = canvas.box(low, high)
    return region, canvas.masks["lungs"][region.slices] * (region.x * side > 0 if side else 1)


def _dependent(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Lung that lies below is denser: a gradient of 20 to 150 HU towards the back."""
    region, lungs = _lungs(canvas, trunk)
    back = float(trunk.inner.radius(-np.pi / 2, 0.0))
    depth = np.clip((0.35 * back - region.y) / (1.35 * back), 0, 1) ** 2
    canvas.hu[region.slices] += lungs * depth * np.float32(rng.uniform(20, 150))


def _emphysema(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Lung replaced by air in patches, and some bullae at the top."""
    region, lungs = _lungs(canvas, trunk)
    amount = float(rng.uniform(0.3, 1.0))
    patches = canvas.texture(region, rng, float(rng.uniform(8, 22)))
    upper = np.clip((region.z - trunk.z["heart"]) / (150 * trunk.scale), 0, 1) if rng.random() < 0.7 else 0.6
    share = np.clip(0.35 * amount + 0.4 * (patches - 1.2 + 1.3 * amount * upper), 0, 0.9) * (lungs > 0.9)
    air = np.minimum(canvas.hu[region.slices], -965)
    soft = np.clip((-600 - canvas.hu[region.slices]) / 150, 0, 1)  # vessels stay
    canvas.paint(region, EVERYWHERE, air, within=(share * soft).astype(np.float32))
    for _ in range(int(rng.integers(0, 4))):
        side = int(rng.choice([-1, 1]))
        at = trunk.inner.point(
            np.pi / 2 + side * rng.uniform(-1.6, -0.3), trunk.z["apex"] - rng.uniform(15, 80), 22
        )
        _ball(canvas, at, np.exp(rng.normal(2.8, 0.4, 3)), -990.0, "lungs")


def _opacities(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Consolidation or ground glass: soft clouds, few and dense or many and faint."""
    side = int(rng.choice([-1, 0, 1]))
    region, lungs = _lungs(canvas, trunk, side)
    dense = rng.random() < 0.5
    hu = float(rng.uniform(-120, 50) if dense else rng.uniform(-680, -400))
    cloud = canvas.texture(region, rng, float(rng.uniform(30, 70)))
    fine = canvas.texture(region, rng, 9.0)
    low = rng.uniform(0, 1) * (0.4 * trunk.z["heart"] - region.z) / (70 * trunk.scale)
    behind = rng.uniform(0, 1) * -region.y / (60 * trunk.scale)
    weight = cloud + 0.5 * fine + np.clip(low, -1, 1) + np.clip(behind, -1, 1)
    share = np.clip((weight - np.float32(rng.uniform(1.3, 2.6))) * 1.2, 0, 1) * lungs
    canvas.paint(region, EVERYWHERE, hu, within=share.astype(np.float32))


def _nodules(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """One or some nodules of 3 to 15 mm radius, rarely many."""
    count = int(rng.integers(10, 30)) if rng.random() < 0.12 else int(rng.integers(1, 4))
    hu = float(rng.uniform(20, 60))
    for _ in range(count):
        radius = float(np.clip(np.exp(rng.normal(1.7, 0.45)), 3, 15))
        value = hu if rng.random() < 0.9 else float(rng.uniform(200, 700))  # an old calcified one
        _ball(canvas, _spot(trunk, rng), radius * np.exp(rng.normal(0, 0.12, 3)), value, "lungs")


def _mass(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A tumour of 15 to 45 mm radius with an uneven surface."""
    at, radius = _spot(trunk, rng), float(rng.uniform(15, 45))
    region = canvas.box(at - 1.5 * radius, at + 1.5 * radius)
    folds = canvas.texture(region, rng, 16.0)
    shape = ellipsoid(region, at, radius * np.exp(rng.normal(0, 0.15, 3)), rotation(rng.uniform(0, 180, 3)))
    canvas.paint(region, shape + 3 * folds, rng.uniform(15, 70), within="lungs")
    if rng.random() < 0.2:
        canvas.paint(region, shape + 0.55 * radius, -950.0 if rng.random() < 0.5 else 10.0, within="lungs")


def _effusion(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Fluid that lies behind the lung as one lies on the back, and the lung pressed together before it."""
    both = rng.random() < 0.4
    amount = float(rng.beta(1.1, 3.8))
    for side in (1, -1) if both else (int(rng.choice([-1, 1])),):
        region, lungs = _lungs(canvas, trunk, side)
        front = float(trunk.inner.radius(np.pi / 2, 0.0))
        back = float(trunk.inner.radius(-np.pi / 2, 0.0))
        share = float(np.clip(amount * rng.uniform(0.7, 1.3), 0.05, 1))
        level = -back + share * (front + back) * 0.95
        rise = 0.10 * (region.z - trunk.z["heart"])  # less of it towards the top
        folds = canvas.texture(region, rng, 45.0)
        wall = trunk.inner.distance(region.x, region.y, region.z)
        curve = 10 * np.exp(np.minimum(wall, 0) / 14)  # it climbs along the wall
        fluid = region.y - np.float32(level) + np.maximum(rise, -4) - curve + 2 * folds
        thick = np.float32(rng.uniform(4, 30) * (0.4 + share))
        canvas.paint(region, fluid - thick + 4 * folds, rng.uniform(-100, 60), within=0.9 * lungs, soft_mm=6)
        canvas.paint(region, fluid, rng.uniform(-2, 30), within=lungs.astype(np.float32))


def _pneumothorax(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Air in front of a lung that has drawn back from the wall."""
    region, lungs = _lungs(canvas, trunk, int(rng.choice([-1, 1])))
    wall = trunk.inner.distance(region.x, region.y, region.z)
    ahead = np.clip((region.y + 30) / (90 * trunk.scale), 0, 1)
    gap = -wall - np.float32(rng.uniform(6, 55)) * (0.15 + ahead)
    canvas.hu[region.slices] += lungs * np.float32(rng.uniform(30, 200)) * (gap > 0)
    canvas.paint(region, gap, -998.0, within=lungs.astype(np.float32))


def _ascites(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Free fluid around liver and bowel, first in the flanks and in the pelvis."""
    s = trunk.scale
    reach = float(trunk.inner.radius_mm.max())
    region = canvas.box([-reach, -reach, trunk.z["hip"] - 25 * s], [reach, reach, 5 * s])
    wall = trunk.inner.distance(region.x, region.y, region.z)
    spine = np.abs(region.x) / (45 * s) + (region.y - trunk.spine_y(region.z.ravel())) / (26 * s)
    folds = canvas.texture(region, rng, 30.0)
    low = np.clip((trunk.z["iliac_crest"] - 40 * s - region.z) / (30 * s), 0, 1)
    depth = np.float32(rng.uniform(6, 40)) * (1 + 1.5 * low) + 6 * folds
    near = np.clip((wall + depth) / 6 + 0.5, 0, 1) * np.clip(spine - 1.2, 0, 1)
    fat = np.clip(1.6 - np.abs(canvas.hu[region.slices] + 100) / 35, 0, 1)
    share = near * fat * canvas.masks["abdomen"][region.slices] * (region.y > -0.62 * reach)
    canvas.paint(region, EVERYWHERE, rng.uniform(0, 22), within=share.astype(np.float32))


def _liver_lesions(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Cysts and tumours in the liver."""
    s = trunk.scale
    many = rng.random() < 0.15
    for _ in range(int(rng.integers(6, 20)) if many else int(rng.integers(1, 4))):
        at = np.array([rng.uniform(-20, 105), rng.uniform(-50, 60), rng.uniform(-110, -20)]) * s
        radius = float(np.clip(np.exp(rng.normal(2.3, 0.5)), 4, 45))
        hu = float(rng.uniform(0, 15) if rng.random() < 0.5 else rng.uniform(30, 75))
        _ball(canvas, at, radius * np.exp(rng.normal(0, 0.1, 3)), hu, "liver")


def _spot(trunk: Trunk, rng: np.random.Generator) -> Doubles:
    """(3,) a place in one of the lungs, nearly always."""
    z = rng.uniform(-20 * trunk.scale, trunk.z["apex"] - 25 * trunk.scale)
    side, turn = int(rng.choice([-1, 1])), rng.uniform(-1.1, 1.1)
    reach = float(trunk.inner.radius(turn if side > 0 else np.pi - turn, z))
    away = rng.uniform(0.5, 0.93) * reach
    return np.array([side * away * np.cos(turn), away * np.sin(turn), z])


def _ball(canvas: Canvas, at: Doubles, radii: Doubles, hu: float, within: str) -> None:
    region = canvas.box(at - radii.max(), at + radii.max())
    canvas.paint(region, ellipsoid(region, at, radii), hu, within=within)
