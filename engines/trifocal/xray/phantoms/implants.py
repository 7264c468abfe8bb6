"""What surgeons and nurses leave: metal in bones and chest, lines, tubes, clips and electrodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import placed, rotation, spline, tube_along, tube_box
from trifocal.xray.phantoms.kernels import paint_branches
from trifocal.xray.phantoms.pelvis import hip_center

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.trunk import Trunk

    Doubles = NDArray[np.float64]

METAL_HU = 3000.0


def paint_implants(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Now and then paint implants and lines; about four people of ten have one or more.

    Args:
        canvas: With the finished body.
        trunk: Whose.
        rng: Each device draws from a stream of its own.
    """
    old = float(np.clip((trunk.age - 45) / 35, 0, 1))
    chances = (
        (_electrodes, 0.14), (_pacemaker, 0.01 + 0.06 * old), (_sternal_wires, 0.01 + 0.07 * old),
        (_port, 0.05), (_hip, 0.07 * old),
        (_venous_line, 0.07), (_stomach_tube, 0.05), (_chest_drain, 0.02),
        (_spinal_rods, 0.01 + 0.03 * old), (_clips, 0.08), (_stent, 0.02 * old), (_cement, 0.02 * old),
    )  # fmt: skip
    for (paint, chance), stream in zip(chances, rng.spawn(len(chances)), strict=True):
        if stream.random() < chance:
            paint(canvas, trunk, stream)


def _wire(canvas: Canvas, line: Doubles, radius: float, hu: float) -> None:
    """A thin tube along (N, 3), whose mass does not depend on the voxels' size."""
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    points = spline(line, max(2, int(length / 6)))  # shorter pieces would overlap and count twice
    radii = np.full((len(points) - 1, 2), radius)
    rows = np.concatenate([points[:-1], points[1:], radii], axis=1).astype(np.float32)
    everywhere = canvas.masks.setdefault("everywhere", np.ones_like(canvas.hu))
    paint_branches(canvas.hu, everywhere, canvas.low_mm, canvas.spacing_mm, rows, hu)


def _disc(canvas: Canvas, at: Doubles, normal: Doubles, radius: float, thick: float, hu: float) -> None:
    """A flat round thing that faces along `normal`; where it is thinner than a voxel its mass is kept."""
    axis = normal / np.linalg.norm(normal)
    region = canvas.box(at - radius, at + radius)
    if region.is_empty:
        return
    x, y, z = (np.float32(v) for v in at)
    a, b, c = (np.float32(v) for v in axis)
    through = a * (region.x - x) + b * (region.y - y) + c * (region.z - z)
    away = np.sqrt((region.x - x) ** 2 + (region.y - y) ** 2 + (region.z - z) ** 2)
    flat = max(thick, canvas.spacing_mm)
    shape = np.maximum(np.abs(through) - np.float32(flat / 2), away - np.float32(radius))
    share = np.full((1, 1, 1), thick / flat, np.float32)
    canvas.paint(region, shape, hu, within=share)


def _cava(trunk: Trunk) -> Doubles:
    """(3, 3) the upper vena cava from the right innominate vein to the atrium."""
    s, notch = trunk.scale, trunk.z["notch"]
    return np.array(
        [
            [24 * s, 8 * s, notch - 8 * s],
            [24 * s, 2 * s, trunk.z["carina"]],
            [28 * s, 6 * s, trunk.z["heart"] + 30 * s],
        ]
    )


def _under_skin(trunk: Trunk, side: int, below_notch: float, turn: float) -> tuple[Doubles, Doubles]:
    """(3,) place between the skin and the muscles of the chest, and (3,) direction outwards."""
    direction = np.pi / 2 - side * np.deg2rad(turn)
    z = trunk.z["notch"] - below_notch * trunk.scale
    at = (trunk.muscle.point(direction, z, 5) + trunk.skin.point(direction, z, 5)) / 2
    return at, np.array([0.5 * np.cos(direction), np.sin(direction), 0.15])


def _pacemaker(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A generator before the pectoral muscle and one to three leads through the cava into the heart."""
    s, side = trunk.scale, -1 if rng.random() < 0.85 else 1
    at, normal = _under_skin(trunk, side, rng.uniform(25, 55), rng.uniform(32, 46))
    _disc(canvas, at, normal, rng.uniform(19, 27), rng.uniform(6, 11), METAL_HU)
    vein = np.array([side * 62 * s, at[1] - 18 * s, trunk.z["notch"] + 2 * s])
    cava, heart = _cava(trunk), trunk.z["heart"]
    ends = np.array([[-48, 38, heart / s - 22], [38, 32, heart / s + 8], [-62, -8, heart / s + 4]]) * s
    for end in ends[: int(rng.integers(1, 4))]:
        _wire(canvas, np.array([at, vein, *cava, (cava[-1] + end) / 2 - [0, 0, 12 * s], end]), 0.9, METAL_HU)
        tip = np.stack([end - (end - cava[-1]) * 0.08, end])
        _wire(canvas, np.concatenate([tip, tip[-1:] + 0.5]), 1.6, METAL_HU)
    if rng.random() < 0.3:  # a defibrillator's coil
        _wire(
            canvas,
            np.array([cava[-1] - [0, 0, 20 * s], ends[0] * 0.5 + cava[-1] * 0.5 - [0, 0, 12 * s], ends[0]]),
            1.9,
            METAL_HU,
        )


def _port(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A chamber under the skin and its catheter into the cava."""
    s, side = trunk.scale, 1 if rng.random() < 0.75 else -1
    at, normal = _under_skin(trunk, side, rng.uniform(25, 60), rng.uniform(28, 42))
    _disc(canvas, at, normal, rng.uniform(10, 14), 9.0, rng.uniform(900, METAL_HU))
    vein = np.array([side * 48 * s, at[1] - 14 * s, trunk.z["notch"] + 12 * s])
    _wire(canvas, np.array([at, vein, *_cava(trunk)]), 1.1, 900.0)


def _venous_line(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A catheter from the neck or from the arm into the upper cava."""
    s, notch = trunk.scale, trunk.z["notch"]
    if rng.random() < 0.6:
        start = np.array([[38, -12, notch / s + 110], [34, -4, notch / s + 50]]) * s
    else:
        side = int(rng.choice([-1, 1]))
        start = np.array([[side * 150, -10, notch / s + 30], [side * 75, 0, notch / s + 8]]) * s
    _wire(canvas, np.concatenate([start, _cava(trunk)[: int(rng.integers(2, 4))]]), 1.1, 900.0)


def _stomach_tube(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A tube through the gullet into the stomach; half of those also have one in the windpipe."""
    s, dome = trunk.scale, trunk.left_dome_mm
    middle = [
        (0, float(trunk.spine_y(z)) + 28 * s, z)
        for z in (trunk.z["neck"], trunk.z["notch"], trunk.z["carina"])
    ]
    line = [*middle, (-10 * s, float(trunk.spine_y(0)) + 34 * s, 10 * s), (-42 * s, -5 * s, dome - 50 * s)]
    line.append((-48 * s, 25 * s, dome - 85 * s))
    _wire(canvas, np.array(line, float), 2.0, 350.0)
    if rng.random() < 0.5:
        pipe = np.array([(0, y + 12 * s, z) for _, y, z in middle])
        pipe[-1] = 0.75 * pipe[-1] + 0.25 * pipe[-2]
        for aside in (-4.0, 4.0):  # its wall, cut lengthwise
            _wire(canvas, pipe + [aside, 0, 0], 1.2, 350.0)


def _chest_drain(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A tube between the ribs up into the pleural space."""
    s, side = trunk.scale, int(rng.choice([-1, 1]))
    flank = 0.1 if side > 0 else np.pi - 0.1
    ahead = 0.9 if side > 0 else np.pi - 0.9
    top = trunk.inner.point(ahead, trunk.z["carina"] + 40 * s, 12)
    line = [
        trunk.skin.point(flank, 40 * s, -40),
        trunk.inner.point(flank, 55 * s, 8),
        (top + trunk.inner.point(flank, 90 * s, 10)) / 2,
        top,
    ]
    _wire(canvas, np.array(line), 3.0, 250.0)


def _sternal_wires(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Five to seven loops around the breast bone, often with clips of bypasses, sometimes a valve."""
    s = trunk.scale
    turn = np.linspace(0, 2 * np.pi, 9)
    for z in np.linspace(trunk.z["notch"] - 18 * s, trunk.z["xiphoid"] + 30 * s, int(rng.integers(5, 8))):
        front = float(trunk.inner.radius(np.pi / 2, z)) + 6 * s
        loop = np.column_stack(
            [13 * s * np.cos(turn), front + 8 * s * np.sin(turn), z + 2 * np.sin(turn + rng.uniform(0, 6))]
        )
        _wire(canvas, loop, 0.5, METAL_HU)
    for _ in range(int(rng.integers(0, 10))):
        spot = np.array([rng.uniform(-45, -5), rng.uniform(20, 50), rng.uniform(20, 120)]) * s
        _wire(canvas, np.stack([spot, spot + [0, 0, 2], spot + rng.normal(0, 3, 3)]), 0.7, METAL_HU)
    if rng.random() < 0.3:
        ring = np.column_stack([12 * np.cos(turn), 6 * np.sin(turn), 10 * np.sin(turn)])
        _wire(canvas, ring + np.array([-8 * s, 8 * s, trunk.z["heart"] + 28 * s]), 1.4, METAL_HU)


def _electrodes(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Electrodes on the chest and their wires over the skin."""
    s = trunk.scale
    spots = ((40, 150), (-40, 150), (55, 10), (-55, 10), (-10, 60))
    for turn, z in spots[: int(rng.integers(3, 6))]:
        direction = np.pi / 2 - np.deg2rad(turn + 8 * rng.normal())
        at = trunk.skin.point(direction, (z + 12 * rng.normal()) * s, -1.5)
        _disc(canvas, at, np.array([np.cos(direction), np.sin(direction), 0.0]), 5.0, 1.5, 2000.0)
        way = [
            trunk.skin.point(direction * (1 - t) + np.pi / 2 * t, (z - 90 * t) * s, -3)
            for t in (0, 0.4, 0.8, 1.1)
        ]
        _wire(canvas, np.array(way), 0.5, METAL_HU)


def _hip(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Artificial hips: cup, head and a stem in the thigh bone; on one side, or on both."""
    s = trunk.scale
    for side in (1, -1) if rng.random() < 0.25 else (int(rng.choice([-1, 1])),):
        at = hip_center(trunk, side)
        region = canvas.box(at - 32 * s, at + 32 * s)
        lid = side * 0.7 * (region.x - np.float32(at[0])) - 0.7 * (region.z - np.float32(at[2]))
        cup = np.maximum(ellipsoid(region, at, [26 * s] * 3), lid)
        canvas.paint(region, cup.astype(np.float32), METAL_HU)
        canvas.paint(region, ellipsoid(region, at, [22 * s] * 3), 60.0)  # the liner hardly absorbs
        canvas.paint(region, ellipsoid(region, at, [16 * s] * 3), METAL_HU)
        stem = placed(
            [(0, 0, 0, 8), (24, -4, -12, 7), (42, -10, -32, 9), (46, -8, -70, 7.5), (42, -5, -150, 5)],
            s,
            at,
            side,
        )
        box = canvas.box(*tube_box(stem))
        canvas.paint(box, tube_along(box, stem)[0], METAL_HU)


def _spinal_rods(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Screws through the pedicles of two to six vertebrae in a row, joined by two rods."""
    s = trunk.scale
    count = int(rng.integers(2, 7))
    last = int(rng.integers(9 + count // 2, len(trunk.vertebrae) + 1))
    for side in (1, -1):
        heads = []
        for body in trunk.vertebrae[max(last - count, 0) : last]:
            _, y, z = body.center_mm
            deep = body.half_mm[1]
            head = np.array([side * (body.half_mm[0] * 0.62 + 5 * s), y - deep - 30 * s, z + 4 * s])
            tip = np.array([side * 6 * s, y + 0.55 * deep, z])
            _wire(canvas, np.stack([head, (head + tip) / 2, tip]), 2.9, METAL_HU)
            _wire(canvas, np.stack([head - [0, 7, 0], head, head + [0, 5, 0]]), 5.5, METAL_HU)
            heads.append(head - [0, 3, 0])
        if len(heads) > 1:
            _wire(canvas, np.array(heads), 2.8, METAL_HU)


def _clips(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Clips where the gallbladder was, or elsewhere in the abdomen."""
    s = trunk.scale
    around = (
        np.array([40, 15, -95])
        if rng.random() < 0.6
        else np.array([rng.uniform(-80, 80), 10, rng.uniform(-300, -90)])
    )
    for _ in range(int(rng.integers(2, 8))):
        spot = (around + rng.normal(0, 9, 3)) * s
        _wire(canvas, np.stack([spot, spot + rng.normal(0, 2, 3), spot + rng.normal(0, 5, 3)]), 0.8, METAL_HU)


def _stent(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """A stent graft in the aorta below the kidneys: a cage of wire."""
    s = trunk.scale
    top, low = trunk.vertebra("L1").center_mm[2], trunk.vertebra("L4").center_mm[2]
    turn = np.linspace(0, 2 * np.pi, 13)
    for z in np.arange(low, top, 9 * s):
        front = float(trunk.spine_y(z)) + 17 * s
        ring = np.column_stack(
            [
                -7 * s + 11 * s * np.cos(turn),
                front + 11 * s * (1 + np.sin(turn)),
                z + 3 * s * np.cos(6 * turn),
            ]
        )
        _wire(canvas, ring, 0.45, METAL_HU)


def _cement(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Cement in one to three broken vertebrae."""
    first = int(rng.integers(6, len(trunk.vertebrae) - 3))
    for body in trunk.vertebrae[first : first + int(rng.integers(1, 4))]:
        at = np.array(body.center_mm) + rng.normal(0, 2, 3)
        radii = np.array(body.half_mm) * rng.uniform(0.35, 0.75, 3)
        region = canvas.box(at - radii, at + radii)
        shape = ellipsoid(region, at, radii, rotation([0, 0, 0])) + 2 * canvas.texture(region, rng, 8.0)
        canvas.paint(region, shape, rng.uniform(1200, 2200))
