"""The true HU of a phantom: layers of scalp, bone and brain, with the face, the neck and air painted in.

Depth under the vault and height over the floor give the layers; what is no layer is an ellipsoid or a rod in
the millimetres of the standard head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.phantom_grid import (
    Axes,
    Ball,
    Floats,
    Grid,
    Rod,
    Shape,
    Warp,
    bell,
    coverage,
    pairs,
    rounded_min,
    step,
)
from trifocal.focus.phantom_skull import Anatomy, skull_floor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.phantom_spec import HeadSpec

AIR_HU, FAT_HU, SKIN_HU, MUSCLE_HU = -1000.0, -95.0, 30.0, 55.0
FLAT_HU = 35.0  # of all soft tissue in a pseudo-CT
CSF_HU, GREY_HU, WHITE_HU, DURA_HU = 9.0, 38.0, 29.0, 60.0

FACE_SKIN: tuple[tuple[Shape, float], ...] = (
    (Ball((0, 34, -50), (68, 57, 70)), 14),
    (Ball((0, -20, -112), (58, 58, 76)), 16),
    (Ball((56, -8, -62), (16, 26, 30)), 14),  # angle of the jaw
    (Ball((-56, -8, -62), (16, 26, 30)), 14),
    (Ball((0, 63, -80), (30, 26, 22)), 12),  # mouth
    (Ball((0, 64, -107), (25, 20, 14)), 12),  # chin
    (Ball((0, 92, -46), (14, 17, 8)), 9),  # nose
    (Rod((0, 84, -14), (0, 103, -44), 6, 6), 8),
    *((shape, 7) for shape in pairs(Ball((32, 71, -31), (17, 14.5, 13)))),  # eyelids
    *((shape, 12) for shape in pairs(Rod((50, 54, -45), (59, 0, -42), 11, 15))),  # cheek
    *((shape, 8) for shape in pairs(Rod((42, 69, -11), (49, 60, -20), 8, 8))),  # brow
)
EARS = pairs(Ball((77, -18, -25), (3.5, 15, 20)), Ball((75, -11, -46), (3.5, 7, 9)))
CONCHAE = pairs(Ball((81, -12, -32), (4, 8, 11)))
MASTOIDS = pairs(Ball((52, -24, -42), (10, 14, 19)), Ball((13, -26, -55), (6, 11, 6)))
FACE_BONE = pairs(
    Rod((12, 83, -10), (42, 70, -11), 3.5, 4.5),  # brow
    Rod((42, 70, -11), (50, 61, -20), 3.5, 4.5),
    Rod((50, 61, -20), (49, 63, -42), 4.5, 4.5),  # lateral rim of the orbit
    Ball((48, 61, -45), (10, 9, 11)),  # zygoma
    Rod((46, 66, -48), (17, 79, -47), 4, 5),
    Rod((9, 84, -12), (14, 80, -60), 4.5, 4.5),  # frontal process of the maxilla
    Ball((25, 56, -62), (19, 24, 19)),  # maxilla
    Rod((26, 42, -79), (20, 65, -80), 6, 9),  # upper teeth
    Rod((20, 65, -80), (0, 77, -80), 6, 9),
    Ball((0, 52, -71), (24, 26, 3)),  # palate
    Rod((54, 52, -45), (65, 26, -42), 3, 4.5),  # zygomatic arch
    Rod((65, 26, -42), (61, -2, -37), 3, 4),
    Rod((2, 84, -10), (3, 92, -30), 3, 3),  # nasal bones
    Rod((15, 25, -36), (17, 28, -76), 3, 3),  # pterygoid
    Ball((45, 46, -30), (6, 19, 19)),  # greater wing
)
JAW = pairs(
    Ball((52, 3, -48), (5, 6, 9)),
    Ball((51, 8, -69), (4.5, 15, 24)),
    Rod((48, 10, -91), (29, 50, -104), 5.5, 10),
    Rod((29, 50, -104), (0, 71, -106), 5.5, 11),
)
SPINE = (
    *(Rod((-4, -14, z), (4, -14, z), 8, 7.5) for z in (-74, -92, -110)),
    *pairs(*(Rod((12, -28, z), (36, -26, z), 5, 6) for z in (-66, -84, -102))),
    *pairs(*(Rod((15, -34, z), (2, -56, z - 5), 3, 5) for z in (-68, -86, -104))),
    *(Rod((0, -56, z - 5), (0, -68, z - 12), 3, 4) for z in (-68, -86, -104)),
)
ORBITS = pairs(Ball((32, 77, -30), (18.5, 20, 16.5)), Ball((26, 52, -29), (14, 25, 14)))
NOSTRIL = (Ball((0, 62, -52), (12, 34, 19)),)
EYES = pairs(Ball((32, 70, -31), (11.5, 11.5, 11.5)))
NERVES = pairs(Rod((31, 58, -31), (14, 28, -26), 2, 2))
NASAL_AIR = pairs(Ball((5.5, 58, -52), (4.5, 29, 17)))
TURBINATES = pairs(Ball((8.5, 52, -57), (2.5, 20, 5)), Ball((8, 52, -45), (2, 18, 4)))
PHARYNX = (Ball((0, 16, -72), (10, 7, 32)),)
EAR_CANALS = pairs(Rod((82, -8, -36), (52, -6, -35), 3, 3), Ball((46, -6, -34), (4, 5, 6)))
AUDITORY = pairs(Rod((8, -26, -34), (27, -15, -31), 2.5, 2.5))
DEEP_GREY = pairs(Ball((14, 2, 12), (9, 17, 10)))
CORD = (Rod((0, -10, -8), (0, -28, -44), 11, 11), Rod((0, -28, -44), (0, -40, -130), 5.5, 5.5))
FORAMEN = (Ball((0, -34, -54), (14.5, 17, 24)),)
CANAL = (Rod((0, -30, -46), (0, -40, -130), 9.5, 9.5),)


def slab_hu(spec: HeadSpec, anatomy: Anatomy, grid: Grid) -> Floats:
    """True HU (i, j, k) of some axial slices: what a scanner without blur and noise would see."""
    x, y, z = axes = grid.axes
    warp = anatomy.warp
    r = np.sqrt(x**2 + y**2 + z**2) + np.float32(1e-3)
    at = anatomy.direction(x, y, z, r)
    depth = (anatomy.radius[at] - r) * anatomy.upright[at]  # below the outer surface of the vault
    scalp = anatomy.scalp[at]
    skin = _skin(spec, warp, grid, depth + scalp)
    trabeculae = 0.8 * grid.tiled(anatomy.trabeculae, 0.5) + 0.6 * grid.tiled(anatomy.trabeculae, 1.6)
    hu = _soft_tissue(skin, scalp)
    _face(spec, warp, grid, hu, trabeculae)
    height, thick, dense = skull_floor(spec, grid.x, grid.y, grid.spacing_mm)
    slope = np.hypot(*np.gradient(height[..., 0], grid.spacing_mm))[..., None]
    above = ((z - height) / np.sqrt(1 + np.minimum(slope, 3) ** 2)).astype(np.float32)
    outer = rounded_min(depth, above + thick, 4)  # depth below the outer surface of the skull
    inner = rounded_min(depth - anatomy.thickness[at], above, 4)  # depth inside the cavity
    grid.join(outer, warp.shapes(MASTOIDS), 8)
    grid.carve(outer, warp.shapes(FORAMEN), 3)
    bone = _bone(spec, anatomy, at, (outer, inner), trabeculae, dense)
    hu += coverage(outer, grid.spacing_mm) * coverage(-inner, grid.spacing_mm) * (bone - hu)
    if spec.surroundings == "tissue":
        brain = _brain(spec, axes, inner, grid.tiled(anatomy.folds, 1.0))
        hu += coverage(inner, grid.spacing_mm) * (brain - hu)
        _inside(spec, warp, grid, hu)
    _air_cells(spec, warp, grid, hu, grid.tiled(anatomy.trabeculae, 1.1))
    return _surrounded(spec, hu, coverage(skin, grid.spacing_mm))


def _surrounded(spec: HeadSpec, hu: Floats, skin: Floats) -> Floats:
    """Give the soft tissue its values: as painted, all the same, or none but water or air; air around it."""
    air = np.float32(AIR_HU)
    out = hu
    bone = np.clip((hu - np.float32(60)) / np.float32(60), 0, 1)
    if spec.surroundings == "flat":
        soft = np.where(hu < -500, air, np.float32(FLAT_HU))
        out = soft + bone * (hu - soft)
    elif spec.surroundings != "tissue":
        around = np.float32(0 if spec.surroundings == "water" else AIR_HU)
        return np.asarray(around + bone * (hu - around), np.float32)
    return np.asarray(air + skin * (out - air), np.float32)


def _skin(spec: HeadSpec, warp: Warp, grid: Grid, scalp_depth: Floats) -> Floats:
    """Depth below the skin of scalp, face, ears and neck."""
    skin = scalp_depth.copy()
    for shape, round_mm in FACE_SKIN:
        grid.join(skin, warp.shapes((shape,)), round_mm)
    if spec.ears:
        grid.join(skin, warp.shapes(EARS), 4)
        grid.carve(skin, warp.shapes(CONCHAE), 3)
    return skin


def _soft_tissue(skin: Floats, scalp: Floats) -> Floats:
    """HU of skin, fat, galea and muscle by the depth below the skin."""
    fat = 1.8 + 0.45 * (scalp - 1.8)
    hu = np.where(skin < 1.8, np.float32(SKIN_HU), np.where(skin < fat, np.float32(FAT_HU), np.float32(40)))
    hu += step(skin - 9, 3) * np.float32(MUSCLE_HU - 40)
    return hu


def _face(spec: HeadSpec, warp: Warp, grid: Grid, hu: Floats, trabeculae: Floats) -> None:
    """Orbits, nose, jaws and the first vertebrae, roughly."""
    if grid.z[0] > 10:
        return
    marrow = 0.9 * spec.diploe_hu + spec.diploe_texture_hu * trabeculae
    parts = ((FACE_BONE, ORBITS + NOSTRIL, 1.6), (JAW, (), 2.2), (SPINE, CANAL, 1.3))
    # a bare skull is one without jaw and neck
    for shapes, holes, wall_mm in parts if spec.surroundings in ("tissue", "flat") else parts[:1]:
        solid = np.full(hu.shape, -99, np.float32)
        grid.join(solid, warp.shapes(shapes), 6)
        grid.carve(solid, warp.shapes(holes), 2)
        bone = marrow + coverage(wall_mm - solid, 1) * (0.85 * spec.cortical_hu - marrow)
        hu += coverage(solid, grid.spacing_mm) * (bone - hu)
    grid.paint(hu, warp.shapes(ORBITS), FAT_HU, -0.5)
    grid.paint(hu, warp.shapes(NERVES), 35)
    grid.paint(hu, warp.shapes(EYES), 45, 1)
    grid.paint(hu, warp.shapes(EYES), 10)
    grid.paint(hu, warp.shapes(CANAL), CSF_HU)


def _bone(
    spec: HeadSpec,
    anatomy: Anatomy,
    at: NDArray[np.int32],
    depths: tuple[Floats, Floats],
    trabeculae: Floats,
    dense: Floats,
) -> Floats:
    """HU of bone by its depth below the outer surface and inside the inner one: table, diploe, table."""
    outer, inner = depths[0], -depths[1]
    tables = np.float32(spec.outer_table_mm + spec.inner_table_mm)
    room = np.minimum(anatomy.table[at], np.maximum(outer + inner, 0) / tables)
    marrow = spec.diploe_hu * anatomy.marrow[at] + spec.diploe_texture_hu * trabeculae
    marrow += dense * (0.75 * spec.cortical_hu - marrow)
    marrow = np.clip(marrow, 0, spec.cortical_hu)
    table = np.maximum(spec.outer_table_mm * room - outer, spec.inner_table_mm * room - inner)
    bone = marrow + coverage(table, 0.8) * (spec.cortical_hu * (1 + 0.03 * trabeculae) - marrow)
    if spec.density_variation:
        bone *= anatomy.density[at]
    bone -= anatomy.suture[at] * (bone - 150)
    if spec.burr_hole_mm or spec.bone_flap_mm:
        bone -= anatomy.hole[at] * (bone - 30)
    air = np.minimum(np.minimum(outer - spec.outer_table_mm, inner - spec.inner_table_mm), anatomy.sinus[at])
    bone += coverage(air, 1) * (AIR_HU - bone)
    out: Floats = bone.astype(np.float32)
    return out


def _brain(spec: HeadSpec, axes: Axes, depth: Floats, folds: Floats) -> Floats:
    """HU of what the cavity holds: fluid, folded grey matter, white matter, the falx."""
    age = (spec.age_years - 20) / 65
    fluid = 1.2 + 2.2 * age
    sulcus = bell(folds, 0.28 + 0.15 * age) * step(15 - depth, 2)
    grey = np.maximum(step(fluid + 3.5 - depth, 0.8), bell(folds, 0.7) * step(18 - depth, 2))
    hu = WHITE_HU + grey * (GREY_HU - WHITE_HU)
    hu += np.maximum(step(fluid - depth, 0.4), 0.8 * sulcus) * (CSF_HU - hu)
    hu += step(0.8 - depth, 0.3) * (DURA_HU - hu)
    free_edge = (axes[2] - 18 + 0.15 * np.abs(axes[1])).astype(np.float32)
    falx = bell(axes[0], 0.9) * step(free_edge, 2) * step(34 - depth, 3)
    out: Floats = (hu + falx * (DURA_HU - hu)).astype(np.float32)
    return out


def _inside(spec: HeadSpec, warp: Warp, grid: Grid, hu: Floats) -> None:
    """Ventricles, deep grey nuclei, brain stem and cord."""
    wide = 0.9 + 0.6 * (spec.age_years - 20) / 65
    lateral = pairs(
        Rod((6, 28, 20), (9, -4, 25), 3.2 * wide, 5 * wide),
        Rod((9, -4, 25), (19, -32, 16), 3.8 * wide, 6 * wide),
        Rod((19, -32, 16), (33, -8, -14), 2.2 * wide, 3 * wide),
    )
    middle = (Ball((0, 0, 8), (2 * wide, 13, 9)), Ball((0, -33, -28), (6 * wide, 4 * wide, 7)))
    grid.paint(hu, warp.shapes(DEEP_GREY), GREY_HU)
    grid.paint(hu, warp.shapes(lateral), CSF_HU)
    grid.paint(hu, warp.shapes(CORD), 33)
    grid.paint(hu, warp.shapes(middle + AUDITORY), CSF_HU)


def _air_cells(spec: HeadSpec, warp: Warp, grid: Grid, hu: Floats, cells: Floats) -> None:
    """Nasal cavity, pharynx and ear canals, and the sinuses as far as they are pneumatised."""
    if grid.z[0] > 10:
        return
    size = 0.4 + 0.6 * spec.air_cells
    grid.paint(hu, warp.shapes(NASAL_AIR), 50, 1.5)
    grid.paint(hu, warp.shapes(NASAL_AIR + PHARYNX), AIR_HU)
    grid.paint(hu, warp.shapes(TURBINATES), 50)
    grid.paint(hu, warp.shapes(EAR_CANALS), AIR_HU)
    if not spec.air_cells:
        return
    sinuses = pairs(
        Ball((27, 54, -61), (13 * size, 17 * size, 14 * size)),
        Ball((7, 15, -27), (6.3 * size, 11 * size, 8 * size)),
    )
    grid.paint(hu, warp.shapes(sinuses), 0.6 * spec.cortical_hu, 1.2)
    grid.paint(hu, warp.shapes(sinuses), AIR_HU)
    mastoids = pairs(Ball((53, -24, -40), (9 * size, 13 * size, 20 * size)))
    ethmoid = (Ball((0, 47, -27), (13 * size, 22, 9 * size)),)
    grid.paint(hu, warp.shapes(ethmoid), 0.45 * spec.cortical_hu, 0.5)
    for honeycomb in warp.shapes(mastoids + ethmoid):
        found = grid.part(honeycomb, 0)
        if found is not None:
            part = hu[found[0]]
            cell = np.minimum(found[1], 1.2 * cells[found[0]] + 0.2)
            part += coverage(cell, grid.spacing_mm) * (AIR_HU - part)
