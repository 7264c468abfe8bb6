"""The bones around the lungs: ribs with their cartilage, sternum, clavicles, scapulae and upper arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.body import arm, shoulder
from trifocal.xray.phantoms.canvas import Canvas, ellipsoid, tube

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

# rib: direction of its front end (degrees from the side towards the front), fall to it in mm
RIBS = {
    1: (62, 36), 2: (66, 52), 3: (66, 66), 4: (65, 78), 5: (63, 88), 6: (60, 97), 7: (54, 105), 8: (44, 108),
    9: (33, 104), 10: (18, 94), 11: (-14, 66), 12: (-38, 40),
}  # fmt: skip


def paint_cage(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Ribs, cartilage, sternum and the shoulder girdle."""
    cortex = float(np.clip(800 - 2.6 * (trunk.age - 25) + rng.normal(0, 50), 430, 1000))
    fall = float(np.clip(rng.normal(1.0, 0.07) - 0.14 * (trunk.inspiration - 0.75), 0.75, 1.25))
    lines = {side: [rib_line(trunk, n, side, fall) for n in RIBS] for side in (1, -1)}
    _paint_cartilage(canvas, trunk, lines, rng)
    for side in (1, -1):
        for n, line in enumerate(lines[side], 1):
            _paint_rib(canvas, trunk, n, line, cortex)
        _paint_girdle(canvas, trunk, side, cortex, rng)
    _paint_sternum(canvas, trunk, cortex)


def rib_line(trunk: Trunk, n: int, side: int, fall: float = 1.0) -> Doubles:
    """(points, 3) axis of a rib from its head to its front end; side is 1 for the right, -1 for the left."""
    s = trunk.scale
    vertebra = trunk.vertebra(f"T{n}")
    wide, deep, high = vertebra.half_mm
    _, y0, z0 = vertebra.center_mm
    head = np.array([(wide + 2 * s), y0 - 0.75 * deep, z0 + 0.8 * high])
    neck = np.array([(wide + 19 * s), y0 - deep - 12 * s, z0 + 0.5 * high])
    last, drop = RIBS[n]
    start = np.arctan2(neck[1], neck[0])
    begin = max(start + 0.16, -np.pi / 2 + (0.45 if n > 1 else 0.7))
    turn = np.linspace(begin, np.deg2rad(last), 26 if n < 11 else 14)
    t = (turn - begin) / (turn[-1] - begin)
    z = neck[2] - 3 * s - drop * s * fall * (0.78 * t + 0.22 * np.sin(np.pi / 2 * t) ** 2)
    r = trunk.inner.radius(turn, z) + 4.2 * s
    around = np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
    line = np.concatenate([head[None], neck[None], around])
    line[:, 0] *= side
    return line


def _paint_rib(canvas: Canvas, trunk: Trunk, n: int, line: Doubles, cortex: float) -> None:
    s = trunk.scale
    half = (3.2 if 2 < n < 10 else 2.9) * s
    flatten = 0.6 if n == 1 else 1.95
    radii = np.full(len(line), half) * (1.0 if n != 1 else 1.9)
    for part in range(0, len(line) - 1, 6):  # short boxes: a rib's own box is mostly empty
        points, size = line[part : part + 7], radii[part : part + 7]
        box = canvas.box(points.min(0) - 9 * s, points.max(0) + 9 * s)
        outer = tube(box, points, size, flatten)
        canvas.paint(box, outer, cortex, within="body")
        canvas.paint(box, outer + np.float32(1.15 * s), 0.22 * cortex, within="body")


def _paint_cartilage(
    canvas: Canvas, trunk: Trunk, lines: dict[int, list[Doubles]], rng: np.random.Generator
) -> None:
    """From the ribs' ends to the sternum; the 8th to 10th join the one above."""
    s, z = trunk.scale, trunk.z
    hu = 95 + rng.uniform(0, 40) + 2.0 * max(trunk.age - 50, 0)
    heights = np.linspace(z["notch"] - 14 * s, z["xiphoid"] + 6 * s, 7)
    for side in (1, -1):
        joined: Doubles | None = None
        for n, line in enumerate(lines[side][:10], 1):
            end = line[-1]
            if n <= 7:
                y = float(trunk.inner.radius(np.pi / 2, heights[n - 1])) + 3 * s
                goal = np.array([side * (17 if n > 1 else 26) * s, y, heights[n - 1]])
            else:
                assert joined is not None  # ribs are in order
                goal = joined
            middle = (end + goal) / 2
            turn = np.arctan2(middle[1], abs(middle[0]))
            r = float(trunk.inner.radius(turn, middle[2])) + 3.5 * s
            middle[0], middle[1] = side * r * np.cos(turn), r * np.sin(turn)
            middle[2] -= 0.12 * abs(end[2] - goal[2])
            points = np.stack([end, middle, goal])
            joined = middle
            box = canvas.box(points.min(0) - 10 * s, points.max(0) + 10 * s)
            canvas.paint(box, tube(box, points, 3.6 * s, 1.6), hu, within="body")


def _paint_sternum(canvas: Canvas, trunk: Trunk, cortex: float) -> None:
    s, z = trunk.scale, trunk.z
    heights = np.array(
        [z["notch"], z["notch"] - 46 * s, z["notch"] - 54 * s, z["xiphoid"] + 22 * s, z["xiphoid"]]
    )
    wide = np.array([29, 17, 15, 19, 7]) * s
    box = canvas.box([-40 * s, 0, heights[-1]], [40 * s, 1e3, heights[0]])
    if box.is_empty:
        return
    half = np.interp(box.z, heights[::-1], wide[::-1]).astype(np.float32)
    y = trunk.inner.radius(np.pi / 2, box.z).astype(np.float32) + np.float32(5.5 * s)
    across = np.abs(box.x) - half
    through = np.abs(box.y - y) - np.float32(5.5 * s)
    ends = np.maximum(box.z - np.float32(heights[0]), np.float32(heights[-1]) - box.z)
    bone = np.maximum(np.maximum(across, through), ends)
    canvas.paint(box, bone, 0.55 * cortex, within="body")
    canvas.paint(box, bone + np.float32(1.3 * s), 0.22 * cortex, within="body")


def _paint_girdle(canvas: Canvas, trunk: Trunk, side: int, cortex: float, rng: np.random.Generator) -> None:
    """Clavicle, scapula and the upper part of the arm."""
    s, notch = trunk.scale, trunk.z["notch"]
    head, axis = shoulder(trunk, side), arm(trunk, side)
    front = float(trunk.inner.radius(np.pi / 2, notch))
    acromion = head + [side * 4 * s, -6 * s, 29 * s]
    clavicle = np.array(
        [
            [side * 21 * s, front + 10 * s, notch - 2 * s],
            [side * 62 * s, front + 12 * s, notch + 0.35 * (acromion[2] - notch)],
            [side * 108 * s, 0.5 * (front + acromion[1]), notch + 0.75 * (acromion[2] - notch)],
            acromion,
        ]
    )
    _shaft(canvas, clavicle, np.array([7.5, 5.2, 5.2, 6.5]) * s, 2.2 * s, cortex)
    _paint_scapula(canvas, trunk, side, head, acromion, cortex, rng)
    box = canvas.box(head - 32 * s, head + 32 * s)
    ball = ellipsoid(box, head, np.array([23, 23, 23]) * s)
    canvas.paint(box, ball, 0.7 * cortex, within="body")
    canvas.paint(box, ball + np.float32(2 * s), 0.32 * cortex, within="body")
    _shaft(canvas, axis, np.array([17, 12, 11, 11]) * s, 4.5 * s, 1.7 * cortex)


def _paint_scapula(
    canvas: Canvas,
    trunk: Trunk,
    side: int,
    head: Doubles,
    acromion: Doubles,
    cortex: float,
    rng: np.random.Generator,
) -> None:
    """A thin triangle over the back of the ribs, with its borders, its spine and the socket."""
    s, notch = trunk.scale, trunk.z["notch"]
    up = trunk.arms == "up"
    socket = head + [-side * 22 * s, -4 * s, -2 * s]
    turns = [(-58, notch + 12 * s), (-38 if not up else -16, notch - (108 if not up else 92) * s)]
    corners = [socket]
    for degrees, z in turns:
        turn = np.deg2rad(degrees + rng.normal(0, 3))
        r = float(trunk.inner.radius(turn, z)) + 21 * s
        corners.append(np.array([side * r * np.cos(turn), r * np.sin(turn), z]))
    a, b, c = corners
    shaft = cortex * 0.9
    for points, radius in (([a, c], 4.6), ([b, c], 2.8), ([a, b], 3.4)):
        _shaft(canvas, np.array(points), np.full(2, radius * s), 1.8 * s, shaft)
    _paint_blade(canvas, corners, shaft, s)
    root = 0.42 * a + 0.58 * b
    out = np.array([0, -14 * s, 8 * s])
    _shaft(
        canvas,
        np.stack([root, 0.6 * acromion + 0.4 * root + out, acromion]),
        np.array([3.5, 4.5, 6]) * s,
        2 * s,
        shaft,
    )


def _paint_blade(canvas: Canvas, corners: list[Doubles], hu: float, s: float) -> None:
    """The thin plate between three corners, bulging with the ribs."""
    a, b, c = corners
    box = canvas.box(np.min(corners, 0) - 4, np.max(corners, 0) + 4)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    plane = _plane(box, a, normal)
    inside = plane * 0 - np.float32(1e3)
    for start, end, other in ((a, b, c), (b, c, a), (c, a, b)):
        inwards = np.cross(normal, end - start)
        inwards *= np.sign(inwards @ (other - start)) / np.linalg.norm(inwards)
        inside = np.maximum(inside, -_plane(box, start, inwards))
    bow = 7 * s * np.clip(-inside / (28 * s), 0, 1)
    blade = np.maximum(np.abs(plane - bow * np.sign(-normal[1] or 1)) - np.float32(1.4 * s), inside)
    thin = min(1.0, 2.8 * s / canvas.spacing_mm + 0.1)
    canvas.paint(box, blade, hu * thin + (1 - thin) * 50, within="body")


def _plane(box: object, point: Doubles, normal: Doubles) -> Floats:
    x, y, z = (getattr(box, name) for name in "xyz")
    p, n = point.astype(np.float32), normal.astype(np.float32)
    out: Floats = (x - p[0]) * n[0] + (y - p[1]) * n[1] + (z - p[2]) * n[2]
    return out


def _shaft(canvas: Canvas, points: Doubles, radii: Doubles, wall_mm: float, hu: float) -> None:
    """A long bone: dense wall, marrow inside."""
    for n in range(len(points) - 1):
        ends, size = points[n : n + 2], radii[n : n + 2]
        margin = float(size.max()) + 2
        box = canvas.box(ends.min(0) - margin, ends.max(0) + margin)
        outer = tube(box, ends, size)
        canvas.paint(box, outer, hu, within="body")
        canvas.paint(box, outer + np.float32(wall_mm), 0.15 * hu, within="body")
