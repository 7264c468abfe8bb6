"""Great vessels of the abdomen: aorta, vena cava, iliac, renal, mesenteric and portal vessels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.curves import spline, tube_along, tube_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Knots = Sequence[tuple[float, float, float, float]]


def paint_vessels(
    canvas: Canvas, trunk: Trunk, tissue: Tissue, kidneys: tuple[NDArray[np.float64], ...],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Vessels along the spine from the diaphragm to the groins."""
    s = trunk.scale
    wide = (
        float(np.exp(rng.normal(0, 0.12))) * (0.9 if trunk.female else 1.0) * (1 + 0.004 * (trunk.age - 50))
    )
    fork = trunk.vertebra("L4").center_mm[2] - 8 * s
    aorta = _beside_spine(trunk, -7, 11 * wide, fork)
    if rng.random() < 0.03 + 0.04 * (trunk.age > 65):  # an aneurysm below the kidneys
        bulge = np.exp(-(((aorta[:, 2] - fork - 40 * s) / (22 * s)) ** 2)) * rng.uniform(6, 22) * s
        aorta[:, 3] += bulge
        aorta[:, 1] += 0.8 * bulge
    cava = _beside_spine(trunk, 17, 12 * float(np.exp(rng.normal(0, 0.15))), fork - 10 * s)
    _paint(canvas, cava, tissue["vein"])
    for side in (1, -1):
        leg = _iliac(trunk, side, cava[-1], 7.0)
        leg[1:, :3] += np.array([-side * 6, -8, 0]) * s
        _paint(canvas, leg, tissue["vein"] - 20 * tissue.enhanced)
        _paint(canvas, _iliac(trunk, side, aorta[-1], 5.0 * wide), tissue["aorta"])
        kidney = kidneys[0 if side > 0 else 1]
        for trunk_line, radius, hu in ((cava, 4.5, tissue["vein"]), (aorta, 2.8, tissue["aorta"])):
            start = trunk_line[np.argmin(np.abs(trunk_line[:, 2] - kidney[2] - 8 * s)), :3]
            end = kidney + np.array([-side * 20, 6, 0]) * s
            middle = (start + end) / 2 + np.array([0, 8, 0]) * s
            knots = [(*start, radius * s), (*middle, radius * s), (*end, 0.7 * radius * s)]
            _paint(canvas, spline(knots, 8), hu)
    _paint(canvas, aorta, tissue["aorta"])
    _mesenteric(canvas, trunk, tissue, aorta, rng)
    if trunk.age > 55:
        _calcify(canvas, aorta, rng, float(np.clip((trunk.age - 55) / 30 + 0.4 * rng.normal(), 0, 1.2)))


def _beside_spine(trunk: Trunk, x: float, radius: float, low: float) -> NDArray[np.float64]:
    """(N, 4) line in front of the vertebrae from the diaphragm down to a height."""
    s = trunk.scale
    z = np.linspace(-4 * s, low, 16)
    depth = np.interp(
        z, [v.center_mm[2] for v in trunk.vertebrae[::-1]], [v.half_mm[1] for v in trunk.vertebrae[::-1]]
    )
    y = trunk.spine_y(z) + depth + (radius + 1.5) * s
    return np.column_stack([np.full(16, x * s), y, z, np.full(16, radius * s)])


def _iliac(trunk: Trunk, side: int, start: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """(N, 4) line of a common and external iliac vessel down to the groin."""
    s, hip = trunk.scale, trunk.z["hip"]
    knots = [
        (*start[:3], radius * s),
        (side * 34 * s, start[1] - 8 * s, hip + 115 * s, radius * s),
        (side * 58 * s, -2 * s, hip + 70 * s, 0.9 * radius * s),
        (side * 76 * s, 36 * s, hip + 25 * s, 0.85 * radius * s),
        (side * 80 * s, 44 * s, hip - 20 * s, 0.85 * radius * s),
        (side * 78 * s, 36 * s, hip - 110 * s, 0.8 * radius * s),
    ]
    return spline(knots, 22)


def _mesenteric(
    canvas: Canvas, trunk: Trunk, tissue: Tissue, aorta: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Superior mesenteric artery and vein, splenic and portal vein, and branches among the bowel."""
    s = trunk.scale
    top = trunk.vertebra("L1").center_mm[2]
    start = aorta[np.argmin(np.abs(aorta[:, 2] - top)), :3]
    down = start + np.array([2, 22, -90]) * s
    artery = spline([(*start, 4 * s), (*(start + np.array([0, 18, -22]) * s), 3.5 * s), (*down, 2.5 * s)], 10)
    _paint(canvas, artery, tissue["aorta"])
    meeting = start + np.array([16, 20, -4]) * s
    vein = spline(
        [(*(down + np.array([10, 2, 0]) * s), 4 * s), (*meeting, 6 * s), (26 * s, 4 * s, -72 * s, 6.5 * s)],
        12,
    )
    _paint(canvas, vein, tissue["portal"])
    splenic = [
        (*meeting, 5 * s),
        (-25 * s, start[1] + 10 * s, top + 14 * s, 4.5 * s),
        (-80 * s, -28 * s, top + 26 * s, 4 * s),
    ]
    _paint(canvas, spline(splenic, 12), tissue["portal"])
    for _ in range(7):
        reach = np.array([rng.uniform(-60, 60), rng.uniform(5, 35), rng.uniform(-90, -10)]) * s
        end = down + reach
        middle = (down + end) / 2 + rng.normal(0, 6, 3) * s
        _paint(
            canvas,
            spline([(*(down * 0.7 + start * 0.3), 2.5 * s), (*middle, 2.2 * s), (*end, 1.2 * s)], 8),
            tissue["portal"],
        )


def _calcify(canvas: Canvas, aorta: NDArray[np.float64], rng: np.random.Generator, amount: float) -> None:
    """Plaques on the wall of the aorta, more of them further down."""
    for _ in range(int(22 * amount)):
        n = int(np.clip(rng.normal(0.75, 0.25), 0, 1) * (len(aorta) - 1))
        turn = rng.uniform(0, 2 * np.pi)
        spot = aorta[n, :3] + aorta[n, 3] * np.array([np.cos(turn), np.sin(turn), 0.3 * rng.normal()])
        plaque = np.array([[*spot, 1.4], [*(spot + rng.normal(0, 3, 3)), 1.4]])
        _paint(canvas, plaque, float(rng.uniform(300, 900)))


def _paint(canvas: Canvas, line: NDArray[np.float64], hu: float) -> None:
    region = canvas.box(*tube_box(line))
    if not region.is_empty:
        canvas.paint(region, tube_along(region, line)[0], hu, within="abdomen")
