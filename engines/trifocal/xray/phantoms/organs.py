"""The solid organs of the upper abdomen: liver with gallbladder, spleen, kidneys with their fat, pancreas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import placed, rotation, rounded_max, spline, tube_along, tube_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas, Region
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]

PANCREAS = (  # x, forward of the spine, z, radius
    (34, 20, -26, 13), (26, 24, -8, 13), (4, 30, 4, 10), (-28, 20, 10, 10), (-62, -8, 20, 10.5),
    (-82, -26, 26, 8),
)  # fmt: skip


def paint_liver(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The liver fills the right upper abdomen down to a slanted visceral face; then its gallbladder.

    The face is a plane with folds: it sinks towards the right, so that the left lobe is a wedge in front.
    Where it lies follows from the liver's volume (mean 1.5 l; Vauthey et al. 2002, Liver Transpl. 8:233).
    """
    s = trunk.scale
    wide = float(trunk.inner.radius(0.0, -60 * s))
    normal = np.array([-0.51, -0.46, -0.73]) + rng.normal(0, 0.05, 3)
    normal /= np.linalg.norm(normal)
    through = np.array([-28, 28, -62]) * s
    tip = -(0.48 + 0.38 * rng.random()) * wide
    low = (-150 + 20 * rng.normal()) * s
    region = canvas.box([tip, -200 * s, low - 40 * s], [200 * s, 200 * s, 12 * s])
    folds = canvas.texture(region, rng, 46 * s)
    a, b, c = (np.float32(v) for v in normal)
    x, y, z = (np.float32(v) for v in through)
    face = a * (region.x - x) + b * (region.y - y) + c * (region.z - z) + 7 * folds
    rest = _liver_bounds(region, trunk, np.float32(tip), np.float32(low), folds)
    litres = (
        1.46 * s**3 * (1 + 0.012 * (trunk.bmi - 25)) * float(np.exp(np.clip(rng.normal(0, 0.17), -0.4, 0.45)))
    )
    inside = (rest < 0) & (canvas.masks["abdomen"][region.slices] > 0.5)
    depths = np.sort(face[inside])
    count = int(1.04e6 * litres / canvas.spacing_mm**3)  # the rounded edge takes some of it
    offset = float(np.clip(depths[min(count, len(depths) - 1)], -45 * s, 45 * s)) if len(depths) else 0.0
    shape = rounded_max(face - np.float32(offset), rest, 26 * s)
    share = canvas.paint(
        region, _cleft(region, shape, folds, s, rng), _grain(canvas, region, tissue, rng), "abdomen"
    )
    canvas.masks["liver"] = _whole(canvas, region.slices, share)
    if tissue.enhanced or tissue["liver"] < 40:
        _hepatic_vessels(canvas, trunk, tissue, rng)
    if rng.random() < 0.85:
        at = through + offset * normal + np.array([62, 14, -42]) * s + rng.normal(0, 5, 3) * s
        _gallbladder(canvas, at, tissue, rng, s)


def _liver_bounds(region: Region, trunk: Trunk, tip: np.float32, low: np.float32, folds: Floats) -> Floats:
    """Signed distance to what bounds the liver beside its visceral face: wall, left tip, lower end, spine."""
    s = trunk.scale
    left = tip - region.x + 0.35 * np.abs(region.z + 35 * s) + 3 * folds
    wall = trunk.inner.distance(region.x, region.y, region.z) + np.float32(2 + 5 * trunk.visceral)
    crus = 30 * s - np.hypot(region.x - 2 * s, region.y - trunk.spine_y(-60 * s))  # room for spine and aorta
    ends = rounded_max(left, low - region.z + 0 * left, 30 * s)
    return rounded_max(rounded_max(ends, wall, 14 * s), crus, 12 * s)


def _cleft(region: Region, shape: Floats, folds: Floats, s: float, rng: np.random.Generator) -> Floats:
    """The shape of the liver with the fissure of its round ligament, filled with fat."""
    half, middle, top = rng.uniform(1.5, 4.5), rng.uniform(-12, 8) * s, rng.uniform(-80, -50) * s
    fissure = np.float32(half) - np.abs(region.x - np.float32(middle) + 3 * folds)
    ends = np.minimum(np.float32(top) - region.z, region.y - np.float32(25 * s))
    out: Floats = np.maximum(shape, np.minimum(fissure, ends))
    return out


def _grain(canvas: Canvas, region: Region, tissue: Tissue, rng: np.random.Generator) -> Floats:
    out: Floats = np.float32(tissue["liver"]) + canvas.texture(region, rng, 9.0) * np.float32(
        4 if tissue.enhanced else 2
    )
    return out


def _hepatic_vessels(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Portal and hepatic veins, a few branches each."""
    s = trunk.scale
    hilum = np.array([26, 4, -72]) * s
    cava = np.array([20, -14, -28]) * s
    ends = np.array([[105, 5, -70], [85, -40, -55], [75, 45, -60], [-30, 45, -52], [100, -5, -100]]) * s
    for n, end in enumerate(ends + rng.normal(0, 9, ends.shape) * s):
        start, name = (hilum, "portal") if n % 2 == 0 else (cava, "vein")
        middle = (start + end) / 2 + rng.normal(0, 6, 3) * s
        line = spline(np.column_stack([[start, middle, end], np.array([5.5, 4.0, 1.5]) * s]), 8)
        region = canvas.box(*tube_box(line))
        distance, _ = tube_along(region, line)
        hu = tissue["vein"] + 8 if name == "vein" else tissue["portal"]
        canvas.paint(region, distance, hu, within=canvas.masks["liver"][region.slices])


def _gallbladder(
    canvas: Canvas, at: NDArray[np.float64], tissue: Tissue, rng: np.random.Generator, s: float
) -> None:
    radii = np.array([14, 15, 33]) * s * float(np.exp(rng.normal(0, 0.2)))
    region = canvas.box(at - radii.max(), at + radii.max())
    distance = ellipsoid(region, at, radii, rotation(rng.normal(0, 15, 3) + (35, 0, 0)))
    canvas.paint(region, distance - 2, tissue["wall"], within="abdomen")
    canvas.paint(region, distance, tissue["bile"], within="abdomen")
    if rng.random() < 0.12:  # stones, on its lowest (rear) wall
        for _ in range(int(rng.integers(1, 6))):
            spot = at + rng.normal(0, 5, 3) * s - (0, 0.6 * radii[1], 0)
            stone = canvas.box(spot - 6, spot + 6)
            canvas.paint(stone, ellipsoid(stone, spot, [rng.uniform(2, 6)] * 3), rng.uniform(60, 500))


def paint_spleen(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The spleen lies along the ribs, at the left and behind, under the diaphragm."""
    s = trunk.scale
    size = float(np.exp(np.clip(rng.normal(0.02, 0.12), -0.25, 0.4)))
    turn = -np.pi + np.deg2rad(32 + 7 * rng.normal())
    wall = trunk.inner.point(turn, trunk.left_dome_mm - 60 * s, 25 * s * size)
    dome = float(trunk.diaphragm(0.85 * wall[0], 0.85 * wall[1]).item())
    at = trunk.inner.point(turn, dome + (-26 + 8 * rng.normal()) * s, 25 * s * size)
    radii = np.array([29, 48, 54]) * s * size * np.exp(rng.normal(0, 0.07, 3))
    tilt = rotation([12 + 8 * rng.normal(), 6 * rng.normal(), 38 + 8 * rng.normal()])
    region = canvas.box(at - radii.max(), at + radii.max())
    folds = canvas.texture(region, rng, 40 * s)
    shape = ellipsoid(region, at, radii, tilt) + 3 * folds
    near = trunk.inner.distance(region.x, region.y, region.z) + np.float32(2 + 3 * trunk.visceral)
    hilum = ellipsoid(region, at + np.array([36, 16, 4]) * s * size, np.array([20, 30, 32]) * s * size)
    shape = rounded_max(rounded_max(shape, near, 8 * s), -hilum, 6 * s)
    early = tissue["aorta"] - tissue["spleen"] > 120  # soon after the injection it is striped
    hu = np.float32(tissue["spleen"]) + np.float32(14 if early else 2) * canvas.texture(region, rng, 8.0)
    share = canvas.paint(region, shape, hu, within="abdomen")
    canvas.masks["spleen"] = _whole(canvas, region.slices, share)


def kidney_places(trunk: Trunk, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """Centres of the right and the left kidney: beside the psoas, between T12 and L3, the right one lower."""
    s = trunk.scale
    out = []
    body = trunk.vertebra("L2")
    for side in (1, -1):
        z = body.center_mm[2] + (-3 + 9 * rng.normal() + 12 * (side < 0)) * s
        x = side * (body.half_mm[0] + (38 + 4 * rng.normal() + 7 * trunk.visceral) * s)
        room = trunk.inner.radius(np.arctan2(-40, x), z) - 34 * s
        y = max(float(trunk.spine_y(z)) - (6 + 6 * rng.normal()) * s, -float(room))
        out.append(np.array([x, y, z]))
    return tuple(out)


def paint_kidneys(
    canvas: Canvas, trunk: Trunk, tissue: Tissue, places: tuple[NDArray[np.float64], ...],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Kidneys with cortex, medulla and sinus, in a capsule of fat of individual thickness."""
    s = trunk.scale
    length = (52 if trunk.female else 55) * s * float(np.exp(rng.normal(0, 0.07)))
    missing = rng.random() < 0.015
    for n, at in enumerate(places):
        side = 1 - 2 * n
        if missing and n == 0:
            continue
        radii = np.array([0.50, 0.44, 1.0]) * length * np.exp(rng.normal(0, 0.05, 3))
        tilt = rotation(
            [-14 + 5 * rng.normal(), side * (-12 + 4 * rng.normal()), side * (-35 + 10 * rng.normal())]
        )
        fat = (2 + 7 * trunk.visceral * rng.uniform(0.6, 1.2)) * s
        region = canvas.box(at - length - fat, at + length + fat)
        shape = ellipsoid(region, at, radii, tilt)
        canvas.paint(region, shape - fat, tissue["fat"], within="abdomen", soft_mm=3)
        # the hilum opens towards the midline and a little forward
        inward = tilt @ np.array([-side, 0.25, 0.0])
        notch = ellipsoid(
            region, at + inward * radii[0] * 1.0, np.array([0.42, 0.6, 0.42]) * length * 0.62, tilt
        )
        solid = rounded_max(shape, -notch, 4 * s)
        canvas.paint(region, solid, tissue["cortex"], within="abdomen")
        if tissue["cortex"] - tissue["medulla"] > 25:
            lobes = canvas.texture(region, rng, 13 * s)
            canvas.paint(region, solid + 8 * s + 3 * lobes, tissue["medulla"], within="abdomen")
        sinus = ellipsoid(region, at + inward * radii[0] * 0.4, np.array([0.26, 0.2, 0.55]) * length, tilt)
        canvas.paint(region, sinus, tissue["fat"] + 45, within="abdomen")
        if rng.random() < 0.12 + 0.003 * trunk.age:
            _cyst(canvas, at + tilt @ (radii * rng.uniform(-0.9, 0.9, 3)), rng, s)


def _cyst(canvas: Canvas, at: NDArray[np.float64], rng: np.random.Generator, s: float) -> None:
    radius = min(float(np.exp(rng.normal(2.2, 0.6))), 40.0) * s
    region = canvas.box(at - radius, at + radius)
    canvas.paint(region, ellipsoid(region, at, [radius] * 3), rng.uniform(0, 15), within="abdomen")


def paint_pancreas(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """The pancreas from the duodenum across the spine to the spleen, with the adrenal glands behind."""
    s = trunk.scale
    body = trunk.vertebra("L1")
    front = float(trunk.spine_y(body.center_mm[2])) + body.half_mm[1]
    z = body.center_mm[2] + 6 * rng.normal() * s
    line = placed(PANCREAS, s, (0, front, z))
    line[:, 3] *= float(np.exp(rng.normal(0, 0.15))) * (1.1 - 0.004 * trunk.age)
    line[:, :3] += rng.normal(0, 3.5, (len(line), 3)) * s
    line = spline(line, 16)
    region = canvas.box(*tube_box(line))
    distance, _ = tube_along(region, line)
    lobes = canvas.texture(region, rng, 7.0)
    hu = np.float32(tissue["pancreas"]) - np.float32(8 + 30 * (trunk.age > 60)) * np.clip(lobes, 0, None)
    canvas.paint(region, distance + 1.5 * lobes, hu, within="abdomen")
    for side in (1, -1):
        spot = np.array([side * (body.half_mm[0] + 16 * s), front - 22 * s, z + 34 * s])
        gland = canvas.box(spot - 18 * s, spot + 18 * s)
        shape = ellipsoid(gland, spot, np.array([4, 13, 14]) * s, rotation([0, 0, side * 25]))
        canvas.paint(gland, shape, tissue["pancreas"], within="abdomen")


def _whole(canvas: Canvas, slices: tuple[slice, slice, slice], share: Floats) -> Floats:
    """A region's shares as a mask of the whole canvas."""
    out = np.zeros(canvas.hu.shape, np.float32)
    out[slices] = share
    return out
