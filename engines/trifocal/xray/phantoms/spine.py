"""Vertebrae with discs, arches and processes, and the canal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import Canvas, Region, tube

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.trunk import Trunk, Vertebra

    Floats = NDArray[np.float32]

CANAL_HU, DISC_HU = 25.0, 75.0


def paint_spine(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """The column from C7 to L5, with the canal down to the pelvis."""
    dense = float(np.clip(235 - 1.6 * (trunk.age - 25) + rng.normal(0, 30), 60, 330))
    cortex = float(np.clip(600 - 1.8 * (trunk.age - 25) + rng.normal(0, 40), 300, 760))
    s = trunk.scale
    for vertebra in trunk.vertebrae:
        _paint_arch(canvas, vertebra, s, 0.85 * cortex, dense)
    for vertebra in trunk.vertebrae:
        wedge = rng.random() < 0.04 * max(trunk.age - 60, 0) / 20  # an old fracture
        _paint_body(canvas, vertebra, s, cortex, dense * float(np.exp(rng.normal(0, 0.06))), squashed=wedge)
        if trunk.age > 50 and rng.random() < 0.5:
            _paint_spur(canvas, vertebra, rng, s)
    low, high = trunk.vertebrae[-1].center_mm[2] - 25 * s, trunk.z["neck"] + 40 * s
    heights = np.linspace(high, low, 30)
    behind = np.interp(
        heights,
        [v.center_mm[2] for v in trunk.vertebrae[::-1]],
        [v.half_mm[1] for v in trunk.vertebrae[::-1]],
    )
    points = np.stack([0 * heights, trunk.spine_y(heights) - behind - 8.5 * s, heights], axis=1)
    box = canvas.box(points.min(0) - 10, points.max(0) + 10)
    canvas.paint(box, tube(box, points, 7.5 * s), CANAL_HU, within="body")


def _paint_body(
    canvas: Canvas, vertebra: Vertebra, s: float, cortex: float, dense: float, *, squashed: bool
) -> None:
    """The body, its end plates, and half a disc above and below."""
    center, half = np.asarray(vertebra.center_mm), np.asarray(vertebra.half_mm)
    pitch = 1.35 * half[2]
    box = canvas.box(center - [*(half[:2] + 4), pitch + 4], center + [*(half[:2] + 4), pitch + 4])
    side, up = _body_distance(box, vertebra, waist=0.10)
    canvas.paint(
        box, np.maximum(side - np.float32(1.0), np.abs(up) - np.float32(pitch)), DISC_HU, within="body"
    )
    high = np.float32(half[2] * (0.75 if squashed else 1.0))
    bone = np.maximum(side, np.abs(up) - high)
    canvas.paint(box, bone, cortex, within="body")
    thin = np.float32(1.8 * s)
    canvas.paint(box, np.maximum(side + thin, np.abs(up) - high + thin), dense, within="body")


def _body_distance(box: Region, vertebra: Vertebra, waist: float) -> tuple[Floats, Floats]:
    """Distance to the side of the body (narrower at its waist), and the height in its own tilted axis."""
    x0, y0, z0 = vertebra.center_mm
    wide, deep, high = vertebra.half_mm
    up = (box.z - np.float32(z0)) + np.float32(vertebra.tilt) * (box.y - np.float32(y0))
    y = (box.y - np.float32(y0)) - np.float32(vertebra.tilt) * (box.z - np.float32(z0))
    narrow = 1 - waist * np.clip(1 - (up / np.float32(high)) ** 2, 0, 1)
    a = (np.abs(box.x - np.float32(x0)) / np.float32(wide)) / narrow
    b = (np.abs(y) / np.float32(deep)) / narrow
    level = (a**2.6 + b**2.6) ** np.float32(1 / 2.6)
    return ((level - 1) * np.float32(0.9 * deep)).astype(np.float32), up.astype(np.float32)


def _paint_arch(canvas: Canvas, vertebra: Vertebra, s: float, cortex: float, dense: float) -> None:
    """Pedicles, laminae, articular, transverse and spinous processes."""
    x0, y0, z0 = vertebra.center_mm
    wide, deep, high = vertebra.half_mm
    back = y0 - deep
    lumbar, neck = vertebra.name[0] == "L", vertebra.name[0] == "C"
    order = int(vertebra.name[1:]) if vertebra.name[0] == "T" else 0
    reach = (38 if lumbar else 24 if neck else 33 - 0.9 * max(order - 3, 0)) * s
    droop = (6 if lumbar else 6 if neck else 14 + 14 * np.exp(-(((order - 7) / 3.0) ** 2))) * s
    tip = (32 if lumbar else 34 if neck else 35) * s
    thick = (3.4 if lumbar else 2.5) * s
    chains = [
        (
            [[x0, back - 19 * s, z0 - 4 * s], [x0, back - tip, z0 - 4 * s - droop]],
            [3.4 * s, 3.0 * s],
            1.9 if lumbar else 1.2,
        )
    ]
    for side in (1, -1):
        foot = [side * 0.62 * wide, back + 2 * s, z0 + 0.35 * high]
        joint = [side * 0.62 * wide + side * 2 * s, back - 11 * s, z0 + 0.1 * high]
        chains.append(([foot, joint], [4.2 * s, 4.6 * s], 1.3))
        chains.append(([joint, [x0, back - 20 * s, z0 - 5 * s]], [3.6 * s, 3.4 * s], 1.9))
        chains.append(
            (
                [[joint[0], joint[1], z0 + high], [joint[0], joint[1] - 2 * s, z0 - 1.25 * high]],
                [4.4 * s, 4.6 * s],
                1.0,
            )
        )
        sweep = 0.0 if lumbar else -10 * s
        chains.append(([joint, [side * reach, joint[1] + sweep, z0 + 1 * s]], [thick, 0.85 * thick], 1.3))
    for points, radii, flatten in chains:
        place = np.array(points, float)
        box = canvas.box(place.min(0) - 11 * s, place.max(0) + 11 * s)
        outer = tube(box, place, radii, flatten)
        canvas.paint(box, outer, cortex, within="body")
        canvas.paint(box, outer + np.float32(1.3 * s), 0.5 * dense + 60, within="body")


def _paint_spur(canvas: Canvas, vertebra: Vertebra, rng: np.random.Generator, s: float) -> None:
    """An osteophyte at an edge of a body."""
    x0, y0, z0 = vertebra.center_mm
    wide, deep, high = vertebra.half_mm
    turn = rng.uniform(-0.4, np.pi + 0.4)
    edge = np.array([x0 + wide * np.cos(turn), y0 + deep * np.sin(turn), z0 + rng.choice([-1, 1]) * high])
    out = edge + rng.uniform(2, 6) * s * np.array([np.cos(turn), np.sin(turn), 0])
    box = canvas.box(np.minimum(edge, out) - 6, np.maximum(edge, out) + 6)
    canvas.paint(box, tube(box, np.stack([edge, out]), rng.uniform(2, 4) * s), 380.0, within="body")
