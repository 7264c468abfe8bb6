"""The bones of the pelvis: hip bones, sacrum and the upper thigh bones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import placed, rounded_max, spline, tube_along, tube_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas, Region
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

# x, y, z, radius; the crest from the iliac crest's height, the rim and what follows from the hip's
CREST = (
    (108, 56, -52, 7.5), (126, 32, -18, 7), (128, 0, -2, 7.5), (104, -38, -4, 6), (70, -72, -26, 7),
    (48, -90, -62, 9),
)  # fmt: skip
RIM = (
    (92, 42, 34, 11), (90, 24, 32, 13), (88, 2, 34, 14), (80, -20, 40, 12), (66, -46, 52, 11),
    (56, -66, 70, 10),
)  # fmt: skip
PUBIC_BRANCH = ((79, 22, 10, 13), (43, 37, -4, 8), (7, 46, -30, 11))
ISCHIUM = ((79, -16, 2, 15), (62, -32, -40, 13), (61, -30, -68, 14))
LOWER_BRANCH = ((61, -30, -68, 11), (35, 12, -64, 6.5), (7, 42, -42, 8))
SYMPHYSIS = ((7, 46, -30, 10), (7, 42, -52, 8))
ALA = ((20, -8, -2, 15), (40, -20, -20, 17), (36, -34, -48, 14), (20, -44, -76, 10))


def paint_pelvis(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Hip bones, sacrum and thigh bones, each with a dense shell around a spongy core."""
    density = float(np.clip(1.12 - 0.0062 * (trunk.age - 30) + 0.14 * rng.normal(), 0.4, 1.5))
    flare = (1.04 if trunk.female else 0.97) * float(np.exp(rng.normal(0, 0.03)))
    _paint_sacrum(canvas, trunk, density, rng)
    for side in (1, -1):
        _paint_wing(canvas, trunk, side, flare, density)
        _paint_ring(canvas, trunk, side, flare, density)
        _paint_femur(canvas, trunk, side, flare, density, rng)


def hip_center(trunk: Trunk, side: int, flare: float = 1.0) -> Doubles:
    """(3,) middle of a femoral head; `side` is 1 for the right one, -1 for the left."""
    return np.array([side * 87 * trunk.scale * flare, 4 * trunk.scale, trunk.z["hip"]])


def _paint_wing(canvas: Canvas, trunk: Trunk, side: int, flare: float, density: float) -> None:
    """The iliac wing: a curved plate between the crest, thicker, and the rim above the hip joint."""
    s, wider = trunk.scale, (flare, 1, 1, 1)
    crest = spline(placed(CREST, s, (0, 0, trunk.z["iliac_crest"]), side) * wider, 26)
    rim = spline(placed(RIM, s, (0, 0, trunk.z["hip"]), side) * wider, 26)
    both = np.concatenate([crest, rim])
    region = canvas.box(*tube_box(both, 4 * s))
    distance = np.full(region.shape, np.float32(1e3))
    for a, b in zip(crest, rim, strict=True):
        rib = np.stack([a, 0.9 * a + 0.1 * b, 0.5 * (a + b), 0.72 * b + 0.28 * a, b])
        rib[2, 0] -= side * 5 * s  # hollow towards the inside
        rib[1:4, 3] = np.array([4.5, 3.4, 6.0]) * s
        np.minimum(distance, tube_along(region, rib, 5.0)[0], out=distance)
    _bone(canvas, region, distance, density, shell_mm=1.8 * s)


def _paint_ring(canvas: Canvas, trunk: Trunk, side: int, flare: float, density: float) -> None:
    """Hip socket, ischium and pubis; the joint's space is painted with the femur."""
    s, hip = trunk.scale, hip_center(trunk, side, flare)
    origin = (0, hip[1], hip[2])
    narrow = (flare, 1, 1, 1) if trunk.female else (0.94 * flare, 1, 1, 1)
    for table in (PUBIC_BRANCH, ISCHIUM, LOWER_BRANCH, SYMPHYSIS):
        knots = placed(table, s, origin, side)
        line = spline(knots * narrow, 8) if len(knots) > 2 else knots
        region = canvas.box(*tube_box(line))
        _bone(canvas, region, tube_along(region, line)[0], density, shell_mm=2.0 * s)
    radius = 32 * s
    region = canvas.box(hip - radius, hip + radius)
    ball = ellipsoid(region, hip, [radius] * 3)
    a, b, c = (np.float32(v) for v in (side * 0.76, 0.30, -0.57))  # outwards, forward and down it is open
    x, y, z = (np.float32(v) for v in hip)
    lid = a * (region.x - x) + b * (region.y - y) + c * (region.z - z)
    _bone(canvas, region, rounded_max(ball, lid - 3 * s, 5 * s), density, shell_mm=2.5 * s)


def _paint_femur(
    canvas: Canvas, trunk: Trunk, side: int, flare: float, density: float, rng: np.random.Generator
) -> None:
    """Head, neck, trochanter and the upper shaft, as far as the canvas goes."""
    s, hip = trunk.scale, hip_center(trunk, side, flare)
    head = (22.5 if trunk.female else 25) * s
    region = canvas.box(hip - head - 5, hip + head + 5)
    canvas.paint(region, ellipsoid(region, hip, [head + 2.5 * s] * 3), 60.0)  # cartilage and joint
    back = -12 + 3 * rng.normal()
    neck = placed([(0, 0, 0, 16), (25, 0.5 * back, -10, 14.5), (46, back, -18, 17)], s, hip, side)
    trochanter = placed([(46, back, -18, 15), (56, back - 6, -6, 13)], s, hip, side)
    leg = placed([(46, back, -18, 18), (48, -8, -58, 16), (40, -4, -178, 13.5)], s, hip, side)
    for line in (neck, trochanter):
        box = canvas.box(*tube_box(line))
        _bone(canvas, box, tube_along(box, line)[0], density, shell_mm=1.8 * s)
    box = canvas.box(*tube_box(leg))
    distance, place = tube_along(box, leg)
    shell = np.where(place > 0.7, 5.5 * s, 2.5 * s).astype(np.float32)
    _bone(canvas, box, distance, density, shell_mm=shell, core=-20.0)
    _bone(canvas, region, ellipsoid(region, hip, [head] * 3), density, shell_mm=1.5 * s, core=330.0)


def _paint_sacrum(canvas: Canvas, trunk: Trunk, density: float, rng: np.random.Generator) -> None:
    """Sacrum and tail bone below L5: a wedge that leans back, with its canal and holes for nerves."""
    s, last = trunk.scale, trunk.vertebra("L5")
    start = np.array(last.center_mm) - (0, 6 * s, last.half_mm[2] + 14 * s)
    bow = min((-34 + 4 * rng.normal()), -66 - start[1] / s)  # y of its middle from its top
    body = spline(
        placed([(0, 0, 0, 19), (0, 0.5 * bow - 5, -31, 16), (0, bow, -62, 12), (0, bow + 8, -112, 8),
                (0, bow + 22, -136, 4.5)], s, start), 14,
    )  # fmt: skip
    region = canvas.box(*tube_box(body))
    _bone(canvas, region, tube_along(region, body)[0], density, shell_mm=1.6 * s, core=190.0)
    for side in (1, -1):
        ala = spline(placed(ALA, s, start, side), 10)
        box = canvas.box(*tube_box(ala))
        _bone(canvas, box, tube_along(box, ala)[0], density, shell_mm=1.5 * s, core=130.0)
        for n in (3, 6, 8):
            hole = placed([(19, 8, 0, 4), (21, -22, -4, 4)], s, (0, *body[n, 1:3]), side)
            box = canvas.box(*tube_box(hole))
            canvas.paint(box, tube_along(box, hole)[0], -20.0)
    rear = body[1:11] - np.column_stack(
        [np.zeros(10), body[1:11, 3] + 14 * s, np.zeros(10), body[1:11, 3] - 5 * s]
    )
    canal = rear[:7] + np.array([0, 11 * s, 0, 1.5 * s])
    box = canvas.box(*tube_box(rear, 12 * s))
    _bone(canvas, box, tube_along(box, rear)[0], density, shell_mm=1.5 * s)
    canvas.paint(box, tube_along(box, canal)[0], 10.0)


def _bone(
    canvas: Canvas, region: Region, distance: Floats, density: float, *, shell_mm: float | Floats,
    core: float = 160.0,
) -> None:  # fmt: skip
    """A shell of dense bone around a spongy core; thinner than a voxel, it counts by its share."""
    canvas.paint(region, distance, 950 * density**0.5)
    inside = (distance + shell_mm).astype(np.float32, copy=False)
    canvas.paint(region, inside, core * density - 25 * (1 - density))
