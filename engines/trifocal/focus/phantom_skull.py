"""The skull of a phantom: maps of its vault over all directions, and the height of its floor.

The outer surface of the vault is a radius for every direction from the middle of the head; below, the skull
is closed by a floor, a height for every (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from trifocal.focus.phantom_grid import Floats, Point, Warp, bell, random_field, random_texture, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.phantom_spec import HeadSpec

POLAR, AROUND = 900, 1800  # cells of the maps over all directions: 0.2 deg, 0.3 mm on the skull


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What is drawn once for a head: maps (POLAR * AROUND,) over directions and tiles of texture."""

    warp: Warp  # of the shapes of face and base
    radius: Floats  # outer surface, mm from the origin
    upright: Floats  # cosine between the radius and the normal
    thickness: Floats  # of the bone, mm
    suture: Floats  # 0 to 1
    sinus: Floats  # depth inside the outline of the frontal sinus, mm
    scalp: Floats  # mm
    density: Floats  # HU of the bone relative to its mean
    hole: Floats  # 0 to 1 where a surgeon went through
    marrow: Floats  # HU of the diploe relative to its mean
    table: Floats  # thickness of the tables relative to their mean
    trabeculae: Floats  # (TILE, TILE, TILE) fine noise
    folds: Floats  # (TILE, TILE, TILE) coarser noise; the sulci lie where it is near 0

    @classmethod
    def draw(cls, spec: HeadSpec) -> Anatomy:
        """Draw what is irregular about a head, the same for the same seed."""
        rng, more = (np.random.default_rng([spec.seed, n]) for n in (3, 4))
        polar = ((np.arange(POLAR) + 0.5) * np.pi / POLAR).astype(np.float32)[:, None]
        around = ((np.arange(AROUND) + 0.5) * 2 * np.pi / AROUND - np.pi).astype(np.float32)
        u = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around
        warp = Warp.draw(more, spec.jitter)
        radius = _radius(spec, rng, more, u)
        tilt = np.gradient(np.log(radius), np.pi / POLAR, axis=0), _slope_around(np.log(radius), polar)
        point = u[0] * radius, u[1] * radius, u[2] * radius
        sinus = _sinus(spec, rng, point)
        maps = (
            radius,
            1 / np.sqrt(1 + tilt[0] ** 2 + tilt[1] ** 2),
            _thickness(spec, rng, more, u, sinus),
            _sutures(spec, rng, more, point),
            sinus,
            spec.scalp_mm * np.exp(0.12 * random_field(rng, u, 0.5)) * (1 - 0.2 * step(u[2] - 0.6, 0.3)),
            np.exp(spec.density_variation * coarse_field(more, u, 0.4)),
            _holes(spec, more, u),
            np.exp((0.15 + spec.density_variation) * random_field(rng, u, 0.35)),
            np.exp(0.2 * random_field(rng, u, 0.12)),
        )
        flat = (np.ascontiguousarray(m, np.float32).ravel() for m in maps)
        return cls(warp, *flat, *(random_texture(rng, sigma) for sigma in (1.3, 3.2)))

    def reach(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest corner (3,) of the vault with its scalp, in mm."""
        polar = ((np.arange(POLAR) + 0.5) * np.pi / POLAR)[::5, None]
        around = ((np.arange(AROUND) + 0.5) * 2 * np.pi / AROUND - np.pi)[::5]
        r = (self.radius + self.scalp).reshape(POLAR, AROUND)[::5, ::5]
        x, y = r * np.sin(polar) * np.cos(around), r * np.sin(polar) * np.sin(around)
        ends = [(float(p.min()), float(p.max())) for p in (x, y, r * np.cos(polar))]
        return np.array([low for low, _ in ends]), np.array([high for _, high in ends])

    @staticmethod
    def direction(x: Floats, y: Floats, z: Floats, r: Floats) -> NDArray[np.int32]:
        """Where in the maps the direction of a point at distance r lies."""
        row = (np.arccos(np.clip(z / r, -1, 1)) * np.float32(POLAR / np.pi)).astype(np.int32)
        column = ((np.arctan2(y, x) + np.float32(np.pi)) * np.float32(AROUND / 2 / np.pi)).astype(np.int32)
        index: NDArray[np.int32] = np.minimum(row, POLAR - 1) * AROUND + np.minimum(column, AROUND - 1)
        return index


def coarse_field(rng: np.random.Generator, u: tuple[Floats, ...], scale: float) -> Floats:
    """`random_field` over the directions (POLAR, AROUND), made on cells of 1 deg and interpolated."""
    skip = 5
    field = random_field(rng, tuple(p[skip // 2 :: skip, skip // 2 :: skip] for p in u), scale)
    wide = np.pad(field, ((0, 0), (1, 1)), mode="wrap")
    fine = ndimage.zoom(wide, skip, order=1, mode="nearest", grid_mode=True)
    out: Floats = fine[:, skip:-skip]
    return out


def _slope_around(log_radius: Floats, polar: Floats) -> Floats:
    """Derivative of the logarithm of the radius along the parallel, per radian of arc."""
    slope = np.roll(log_radius, -1, axis=1) - np.roll(log_radius, 1, axis=1)
    out: Floats = (slope * AROUND / (4 * np.pi) / np.maximum(np.sin(polar), 0.02)).astype(np.float32)
    return out


def _bump(u: tuple[Floats, ...], toward: Point, width: float) -> Floats:
    """1 in a direction and its mirror image in x, falling off over `width` radians."""
    n = np.array(toward) / np.linalg.norm(toward)
    cosine = np.abs(u[0]) * np.float32(n[0]) + u[1] * np.float32(n[1]) + u[2] * np.float32(n[2])
    out: Floats = np.exp((cosine - 1) * np.float32(1 / width**2))
    return out


def _turned(rng: np.random.Generator, toward: Point, jitter: float) -> Point:
    """A direction, moved by about 6 deg times the jitter; on the midline it stays there."""
    n = np.array(toward) / np.linalg.norm(toward) + 0.1 * jitter * rng.standard_normal(3) * (
        toward[0] != 0,
        1,
        1,
    )
    return float(n[0]), float(n[1]), float(n[2])


def _radius(
    spec: HeadSpec, rng: np.random.Generator, more: np.random.Generator, u: tuple[Floats, ...]
) -> Floats:
    """Outer surface of the vault: a superellipsoid, bulges and hollows, asymmetry, irregularity."""
    a, b, c = np.array([70.0, 90.0, 86.0], np.float32) * spec.scale.astype(np.float32)
    down = np.float32(0.68)
    height = np.where(u[2] > 0, u[2] / c, u[2] / (c * down))
    power = np.float32(spec.roundness)
    across = np.abs(u[0] / (a * (1 - np.float32(spec.taper) * u[1]))) ** power + np.abs(height) ** power
    radius = (across ** (np.float32(2.15) / power) + np.abs(u[1] / b) ** 2.15) ** np.float32(-1 / 2.15)
    relief = (
        ((0.7, -0.45, 0.5), 0.45, 2.5),  # parietal eminence
        ((0.0, -0.1, 1.0), 0.4, 1.5 + spec.vertex_mm),
        ((0.3, 0.85, 0.45), 0.3, 0.5),  # frontal eminence
        ((0.9, 0.45, -0.05), 0.27, -4.5),  # behind the orbit
        ((0.0, -0.95, 0.2), 0.35, 1.5 + spec.occiput_mm),  # back of the head
        ((0.0, 0.75, 0.65), 0.35, -1.5 + spec.forehead_mm),
        ((0.2, 1.0, 0.04), 0.13, 2.0),  # brow
        ((0.0, 1.0, -0.14), 0.12, -5.0),  # root of the nose
        ((0.0, -0.93, -0.3), 0.07, 3.0),  # external protuberance
        ((0.0, -0.7, -0.75), 0.4, 1.0),
    )
    right = np.tanh(u[0] / np.float32(0.3))
    for toward, width, bulge_mm in relief:
        grow, more_mm, lop = spec.jitter * more.standard_normal(3) * (0.2, 0.8, 0.2)
        bump = _bump(u, _turned(more, toward, spec.jitter), width * np.exp(grow))
        radius += np.float32(bulge_mm * np.exp(1.5 * grow) + more_mm) * bump * (1 + np.float32(lop) * right)
    one_side = u[0] * np.float32(2) * _bump(u, (0.55, -0.8, 0.25), 0.45)
    radius -= np.float32(spec.asymmetry_mm) * one_side
    radius += np.float32(spec.shape_mm) * random_field(rng, u, 0.45)
    radius += np.float32(0.7 * spec.shape_mm * spec.jitter) * coarse_field(more, u, 0.9)
    out: Floats = radius + np.float32(0.25) * random_field(rng, u, 0.12)
    return out


def _thickness(
    spec: HeadSpec,
    rng: np.random.Generator,
    more: np.random.Generator,
    u: tuple[Floats, ...],
    sinus: Floats,
) -> Floats:
    """Thickness of the bone: regions blended into each other, irregular, ridged on the inside."""
    regions = (
        (((1.0, (0.35, 0.85, 0.4), 0.42), (1.0, (0.0, 1.0, 0.2), 0.4)), spec.frontal_mm),
        (((1.0, (0.45, -0.2, 0.9), 0.5), (1.0, (0.7, -0.6, 0.4), 0.35)), spec.parietal_mm),
        (((1.8, (0.97, 0.18, -0.08), 0.3), (1.0, (0.9, 0.4, 0.02), 0.2)), spec.temporal_mm),
        (((1.0, (0.0, -0.97, 0.0), 0.45),), spec.occipital_mm),
        (((0.5, (0.4, -0.6, -0.8), 0.35),), 0.55 * spec.occipital_mm),  # floor of the posterior fossa
    )
    right = np.tanh(u[0] / np.float32(0.3))
    weight, log = np.full(u[0].shape, 1e-9, np.float32), np.zeros(u[0].shape, np.float32)
    for bumps, mean_mm in regions:
        share, lop = np.zeros(u[0].shape, np.float32), np.float32(0.06 * spec.jitter * more.standard_normal())
        for strength, toward, width in bumps:
            size = width * np.exp(0.15 * spec.jitter * more.standard_normal())
            share += np.float32(strength) * _bump(u, _turned(more, toward, spec.jitter), size)
        weight += share**2
        log += share**2 * (np.float32(np.log(mean_mm)) + lop * right)
    log /= weight
    log += spec.thickness_variation * (0.8 * random_field(rng, u, 0.3) + 0.6 * random_field(rng, u, 0.1))
    thick = np.exp(log)
    behind, front = step(-u[1] - 0.5, 0.1), step(u[1] - 0.75, 0.05)
    thick += np.float32(3) * bell(u[0], 0.035) * front * step(0.45 - u[2], 0.1)  # frontal crest
    thick += np.float32(2.5) * bell(u[0], 0.05) * behind * step(0.25 - u[2], 0.1)  # occipital crest
    thick += np.float32(2) * bell(u[2] + 0.28, 0.05) * behind  # sulci of the transverse sinuses between
    thick += np.float32(5) * _bump(u, (0, -0.93, -0.3), 0.09)
    thick -= np.float32(0.8) * bell(u[0], 0.05) * step(u[2] - 0.3, 0.15)  # superior sagittal sinus
    thick += _inner_surface(spec, more, u)
    thick += np.float32(7) * step(sinus + 1, 2.5)
    out: Floats = np.maximum(thick, 1.5)
    return out


def _inner_surface(spec: HeadSpec, more: np.random.Generator, u: tuple[Floats, ...]) -> Floats:
    """What the inner surface adds to the thickness, mm: impressions of the gyri, spots thick and thin."""
    out = np.zeros(u[0].shape, np.float32)
    if spec.impressions_mm:
        out += np.float32(spec.impressions_mm) * coarse_field(more, u, 0.07)
    for _ in range(12 if spec.spots_mm else 0):
        n = more.standard_normal(3)
        n /= np.linalg.norm(n)
        width, height = more.uniform(0.06, 0.2), spec.spots_mm * more.uniform(-0.6, 1)
        cosine = sum(p * np.float32(c) for p, c in zip(u, n, strict=True))
        out += np.float32(height) * np.exp((cosine - 1) * np.float32(1 / width**2))
    return out


def _holes(spec: HeadSpec, more: np.random.Generator, u: tuple[Floats, ...]) -> Floats:
    """1 where a burr hole or the cut around a bone flap goes through the vault, 0 elsewhere."""
    out = np.zeros(u[0].shape, np.float32)
    if not spec.burr_hole_mm and not spec.bone_flap_mm:
        return out
    n = np.array(
        [more.choice((-1, 1)) * more.uniform(0.3, 0.8), more.uniform(-0.8, 0.8), more.uniform(0.3, 0.8)]
    )
    n /= np.linalg.norm(n)
    away = np.arccos(np.clip(sum(p * np.float32(c) for p, c in zip(u, n, strict=True)), -1, 1))
    mm = np.float32(85) * away.astype(np.float32)
    if spec.burr_hole_mm:
        out += step(np.float32(spec.burr_hole_mm / 2) - mm, 0.4)
    if spec.bone_flap_mm:
        edge = more.uniform(22, 40) + 3 * coarse_field(more, u, 0.15)
        out += step(np.float32(spec.bone_flap_mm / 2) - np.abs(mm - edge), 0.3)
    return np.minimum(out, 1)


def _sutures(
    spec: HeadSpec, rng: np.random.Generator, more: np.random.Generator, point: tuple[Floats, ...]
) -> Floats:
    """1 in the coronal, sagittal, lambdoid and squamosal sutures, 0 elsewhere."""
    x, y, z = (p / np.float32(s) for p, s in zip(point, spec.scale, strict=True))
    wave = 2.2 * random_field(rng, (x, y, z), 5.0) + 1.5 * random_field(rng, (x, y, z), 1.8, 12)
    side = np.abs(x)
    back, low, small = spec.jitter * more.standard_normal(3) * 5
    coronal = y - (22 + back - 0.10 * side - 0.004 * side**2) + 0.7 * wave
    lambdoid = (z - (52 + low - 0.85 * side)) * np.float32(0.76) + 1.2 * wave
    squamosal = np.sqrt((y / 0.95 - 2) ** 2 + (z + 24) ** 2) - 38 - 0.6 * small + 0.6 * wave
    parietal = (y < 20) & (lambdoid > 0)
    lines = (
        (np.abs(coronal), z > 8),
        (np.abs(x + wave), parietal & (z > 40)),
        (np.abs(lambdoid), (y < -30) & (z > -22)),
        (np.abs(squamosal), (side > 48) & (z > -18) & (np.abs(y) < 40)),
    )
    away = np.min([np.where(where, line, 99) for line, where in lines], axis=0)
    width = 0.5 * spec.suture_mm
    open_share = np.interp(spec.age_years, (25, 85), (0.95, 0.35))
    out: Floats = np.float32(open_share) * step(width - away, 0.35) * np.float32(width > 0)
    return out


def _sinus(spec: HeadSpec, rng: np.random.Generator, point: tuple[Floats, ...]) -> Floats:
    """Depth inside the lobes of the frontal sinus, seen from in front; negative outside."""
    x, y, z = (p / np.float32(s) for p, s in zip(point, spec.scale, strict=True))
    depth = np.full(x.shape, -99, np.float32)
    if spec.frontal_sinus_mm >= 4:
        tall = spec.frontal_sinus_mm
        for side in (-1, 1):
            for out_mm, share in ((5, 1.0), (14, 0.75), (22, 0.45)):
                lobe = 0.5 * tall * share * rng.uniform(0.75, 1.1)
                middle = side * out_mm * min(1.0, tall / 20) * rng.uniform(0.85, 1.15), lobe - 7
                away = np.sqrt((1.3 * (x - middle[0])) ** 2 + (z - middle[1]) ** 2)
                depth = np.maximum(depth, (lobe - away).astype(np.float32))
        depth = np.minimum(depth, np.abs(x - rng.uniform(-3, 3) - 0.1 * z) - 0.7)  # the septum
    out: Floats = np.where(y > 40, depth, -99).astype(np.float32)
    return out


def skull_floor(spec: HeadSpec, x: Floats, y: Floats, spacing_mm: float) -> tuple[Floats, Floats, Floats]:
    """Inner surface of the skull base: height, thickness of the bone (both mm) and how dense it is (0-1).

    Three fossae in steps: the anterior one over the orbits, the middle one behind the lesser wings with the
    sella between, the posterior one behind the petrous ridges and the clivus.
    """
    sx, sy, sz = spec.scale.astype(np.float32)
    more = np.random.default_rng([spec.seed, 5])
    back, wide, deep, tall, dense = (spec.jitter * more.standard_normal(5)).astype(np.float32)
    plane = x[:, None] + 0 * y, y + 0 * x[:, None], np.zeros((x.size, y.size), np.float32)
    uneven = (np.float32(2 * spec.jitter) * random_field(more, plane, 22))[..., None]
    side = np.abs(x)[:, None, None] / (sx * np.exp(np.float32(0.05) * wide))
    y = y[:, None] / sy + np.float32(2.5) * back
    ridge = 2 - 0.62 * np.maximum(side - 15, 0)  # y of the petrous ridge
    lateral = step(side - 15, 4)
    anterior = -14 + 2 * tall + 5 * bell(side - 28, 13) - 5 * bell(side, 6)
    middle = -41 + 2.5 * deep + 24 * bell(side, 14) - 9 * bell(side, 7) * bell(y - 9, 5)
    height = middle + (anterior - middle) * step(y - (24 + 0.25 * side), 3)
    height = height + uneven + 15 * lateral * bell(y - ridge, 7)
    behind = np.maximum(-18 - 5 * lateral - 1.6 * np.maximum(ridge - y, 0), -75)
    height = np.where(y < ridge, np.minimum(height, behind), height)
    petrous = lateral * bell(y - ridge, 11)
    body = bell(side, 13) * step(y + 16, 6) * step(34 - y, 4)
    thick = 3.2 * np.exp(0.15 * dense) - 1.2 * step(y - 38, 4) + 14 * petrous + 17 * body
    height = ndimage.gaussian_filter(height[..., 0], 1.5 / spacing_mm)[..., None] * sz
    thick = ndimage.gaussian_filter((thick + 0 * height)[..., 0], 1.5 / spacing_mm)[..., None] * sz
    return height.astype(np.float32), thick.astype(np.float32), np.maximum(petrous, 0).astype(np.float32)
