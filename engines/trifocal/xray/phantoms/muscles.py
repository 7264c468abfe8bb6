"""Muscles and fat planes of the abdomen and the pelvis, inside and outside the abdominal wall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import placed, rotation, spline, tube_along, tube_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

PSOAS = (  # vertebra: mm beside its body, behind its middle, radius
    ("T12", 4, 4, 5), ("L1", 8, 2, 9), ("L2", 14, 1, 14.5), ("L3", 20, 0, 19), ("L4", 25, -3, 22),
    ("L5", 30, -8, 22),
)  # fmt: skip
ILIOPSOAS = ((64, -14, 95, 19), (80, 14, 45, 18), (90, 26, 5, 17), (88, 8, -50, 12))  # from the hip's height
ILIACUS = ((98, 4, 132, 8), (92, -4, 95, 14), (86, 8, 60, 15), (88, 26, 20, 12))
PELVIC_MUSCLES = (  # centre from the middle of the hips, radii, turn about x, y, z of the right one
    ((58, 8, -8), (8, 32, 34), (0, 0, -8)),  # obturator internus
    ((50, -64, 38), (34, 11, 16), (0, 12, 12)),  # piriformis
    ((20, -30, -40), (24, 26, 6), (0, 32, 0)),  # levator ani
)


def paint_psoas(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Psoas and quadratus lumborum beside the spine down to the groin."""
    s = trunk.scale
    strength = (
        (0.85 if trunk.female else 1.08) * (1.12 - 0.003 * trunk.age) * float(np.exp(rng.normal(0, 0.12)))
    )
    for side in (1, -1):
        knots = []
        for name, away, behind, radius in PSOAS:
            body = trunk.vertebra(name)
            x = body.half_mm[0] + away * s * (0.55 + 0.45 * strength)
            knots.append((side * x, body.center_mm[1] - behind * s, body.center_mm[2], radius * s))
        lower = placed(ILIOPSOAS, s, (0, 0, trunk.z["hip"]), side)
        line = spline(np.concatenate([knots, lower]) * (1, 1, 1, strength), 26)
        _paint(canvas, line, tissue["muscle"])
        heights = [
            trunk.vertebra("T12").center_mm[2],
            trunk.vertebra("L2").center_mm[2],
            trunk.z["iliac_crest"],
        ]
        back = [
            (x, float(trunk.spine_y(z)) + y * s, z)
            for x, y, z in zip((54, 68, 80), (-26, -28, -24), heights, strict=True)
        ]
        flat = [(side * x * s, y, z, r * s) for (x, y, z), r in zip(back, (9, 13, 12), strict=True)]
        _paint(canvas, spline(flat, 10), tissue["muscle"])


def paint_wall(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Fat between the three layers of the flank, more of it in the old and the heavy; the linea alba."""
    s = trunk.scale
    amount = float(np.clip(0.25 * (trunk.age - 40) / 40 + 0.5 * trunk.visceral + 0.2 * rng.normal(), 0, 1.2))
    low, high = trunk.z["iliac_crest"] - 60 * s, -60 * s
    region = canvas.box([-260 * s, -230 * s, low], [260 * s, 230 * s, high])
    inner = trunk.inner.distance(region.x, region.y, region.z)
    thick = np.maximum(inner - trunk.muscle.distance(region.x, region.y, region.z), 1)
    depth = inner / thick  # 0 on the inner face of the muscles, 1 on the outer one
    ends = np.clip((region.z - low) / (30 * s), 0, 1) * np.clip((high - region.z) / (30 * s), 0, 1)
    flanks = np.clip((np.abs(region.x) / (90 * s) - 0.7) * 3, 0, 1) * np.clip(
        (region.y + 70 * s) / (20 * s), 0, 1
    )
    layers = np.exp(-(((depth - 0.36) / 0.10) ** 2)) + np.exp(-(((depth - 0.68) / 0.10) ** 2))
    share = 0.55 * amount * layers * flanks * ends
    alba = np.clip((4 * s - np.abs(region.x)) / (3 * s), 0, 1) * (region.y > 0) * (depth > 0.1) * (depth < 1)
    share = np.maximum(share, 0.5 * alba * ends).astype(np.float32)
    canvas.paint(region, np.full((1, 1, 1), -1e3, np.float32), tissue["fat"], within=share)


def paint_buttocks(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The fat between the gluteal muscles, in two bowls around the hip."""
    s, hip = trunk.scale, trunk.z["hip"]
    fatty = float(np.clip((trunk.age - 35) / 50 + 0.25 * rng.normal(), 0.05, 1.1))
    for side in (1, -1):
        for reach, thick in ((0.40, 2.2), (0.72, 3.0)):
            at = np.array([side * 62, -12, 5]) * s + (0, 0, hip)
            radii = np.array([50 + 62 * reach, 60 + 62 * reach, 130 + 20 * reach]) * s
            region = canvas.box(at - radii, at + radii)
            waves = canvas.texture(region, rng, 60 * s)
            plane = np.abs(ellipsoid(region, at, radii) + 5 * s * waves) - np.float32(
                thick * s * (0.5 + 0.6 * fatty)
            )
            inside = trunk.inner.distance(region.x, region.y, region.z) > 6 * s
            inside &= trunk.muscle.distance(region.x, region.y, region.z) < -3 * s
            rear = np.clip((-region.y - 5 * s) / (20 * s), 0, 1) * (region.x * side > 45 * s)
            canvas.paint(region, plane, tissue["fat"], within=(0.85 * inside * rear).astype(np.float32))


def paint_pelvic_muscles(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The muscles that line the pelvis from inside."""
    s, hip = trunk.scale, trunk.z["hip"]
    for side in (1, -1):
        for center, radii, (a, b, c) in PELVIC_MUSCLES:
            at = np.array(center) * (side, 1, 1) * s + (0, 0, hip)
            size = np.array(radii) * s * np.exp(rng.normal(0, 0.07, 3))
            region = canvas.box(at - size.max(), at + size.max())
            shape = ellipsoid(region, at, size, rotation((a, side * b, side * c)))
            canvas.paint(region, shape, tissue["muscle"], within="body")
        _paint(canvas, spline(placed(ILIACUS, s, (0, 0, hip), side), 10), tissue["muscle"])


def _paint(canvas: Canvas, line: NDArray[np.float64], hu: float) -> None:
    region = canvas.box(*tube_box(line))
    if not region.is_empty:
        canvas.paint(region, tube_along(region, line)[0], hu, within="body")
