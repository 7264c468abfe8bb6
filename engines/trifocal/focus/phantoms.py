"""Procedural head CTs: skulls with two tables, diploe, sutures and sinuses, none of them a person's.

The outer surface of the vault is a radius for every direction from the middle of the head; below, the skull
is closed by a floor, a height for every (x, y). Depth under the one and height over the other give the layers
of bone; the cells of air, the face, the neck and the brain are painted as ellipsoids and rods.

Where the ranges come from: thickness of the frontal, parietal and occipital bone, length and breadth of 3000
living skulls from Li et al., Int. J. Vehicle Safety 2(4), 2007 (6.6-7.5, 5.4-5.6, 7.6-8.2 mm; 171-176 and
140-145 mm); the thin temporal squama from Rowbotham et al., Int. J. Legal Med. 137, 2023 (2.1 mm on average).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from trifocal.image import Image

Floats = NDArray[np.float32]
Axes = tuple[Floats, Floats, Floats]
Scale = NDArray[np.float64]
Point = tuple[float, float, float]

AIR_HU, FAT_HU, SKIN_HU, MUSCLE_HU = -1000.0, -95.0, 30.0, 55.0
CSF_HU, GREY_HU, WHITE_HU, DURA_HU = 9.0, 38.0, 29.0, 60.0
SLAB_VOXELS = 400_000  # so that the arrays of one slab stay in the processor's cache
POLAR, AROUND = 900, 1800  # cells of the maps over all directions: 0.2 deg, 0.3 mm on the skull
TILE = 96  # voxels along a cube of texture, repeated through space

RANGES: dict[str, tuple[float, float]] = {
    "age_years": (20, 85),
    "length_mm": (162, 198),
    "width_mm": (128, 158),
    "height_mm": (122, 146),
    "asymmetry_mm": (-5, 5),
    "shape_mm": (0, 2),
    "frontal_mm": (4.5, 10),
    "parietal_mm": (4, 9),
    "temporal_mm": (1.8, 4),
    "occipital_mm": (5.5, 11),
    "thickness_variation": (0, 0.2),
    "outer_table_mm": (1, 2.2),
    "inner_table_mm": (0.8, 1.8),
    "cortical_hu": (1200, 1900),
    "diploe_hu": (250, 900),
    "diploe_texture_hu": (0, 250),
    "suture_mm": (0, 1.6),
    "frontal_sinus_mm": (0, 32),
    "air_cells": (0, 1),
    "scalp_mm": (4, 8),
    "hu_gain": (0.85, 1.15),
    "hu_offset": (-10, 10),
    "blur_mm": (0.4, 2),
    "noise_hu": (0, 40),
}


@dataclass(frozen=True)
class HeadSpec:
    """One head and the scanner that it was seen by. `RANGES` holds what each parameter may be.

    Attributes:
        seed: Of everything irregular: surface, thickness, trabeculae, air cells, noise.
        age_years: 20-85; with age the sutures close, the ventricles and the space around the brain widen.
        length_mm: 162-198, outer skull, glabella to occiput.
        width_mm: 128-158, outer skull, at its widest.
        height_mm: 122-146, outer skull, foramen magnum to vertex.
        asymmetry_mm: -5 to 5; how far the right back of the skull is pushed in and the left out.
        shape_mm: 0-2, standard deviation of the smooth irregularity of the outer surface.
        frontal_mm: 4.5-10, thickness of the frontal bone, all layers.
        parietal_mm: 4-9, thickness of the parietal bones.
        temporal_mm: 1.8-4, thickness of the temporal squama.
        occipital_mm: 5.5-11, thickness of the occipital squama.
        thickness_variation: 0-0.2, standard deviation of the thickness over the skull, relative.
        outer_table_mm: 1-2.2, cortical bone outside the diploe; thinner where the skull is thin.
        inner_table_mm: 0.8-1.8, cortical bone inside the diploe.
        cortical_hu: 1200-1900, of the tables before blur.
        diploe_hu: 250-900, mean of the diploe.
        diploe_texture_hu: 0-250, standard deviation of its trabecular texture.
        suture_mm: 0-1.6, width of the sutures in a young adult.
        frontal_sinus_mm: 0-32, height of the frontal sinus.
        air_cells: 0-1, how far the mastoids, the sphenoid and the maxillae are pneumatised.
        scalp_mm: 4-8, skin, fat and galea over the vault.
        ears: Whether there are auricles.
        hu_gain: 0.85-1.15, the scanner's scale of HU above water (its tube voltage and kernel).
        hu_offset: -10 to 10, HU of water.
        blur_mm: 0.4-2, full width at half maximum of the point spread.
        noise_hu: 0-40, standard deviation of the noise.

    Raises:
        ValueError: If a parameter lies outside its range.
    """

    seed: int = 0
    age_years: float = 45
    length_mm: float = 180
    width_mm: float = 143
    height_mm: float = 135
    asymmetry_mm: float = 1
    shape_mm: float = 0.8
    frontal_mm: float = 7
    parietal_mm: float = 6
    temporal_mm: float = 2.6
    occipital_mm: float = 7.8
    thickness_variation: float = 0.1
    outer_table_mm: float = 1.6
    inner_table_mm: float = 1.3
    cortical_hu: float = 1600
    diploe_hu: float = 550
    diploe_texture_hu: float = 140
    suture_mm: float = 1
    frontal_sinus_mm: float = 22
    air_cells: float = 0.7
    scalp_mm: float = 6
    ears: bool = True
    hu_gain: float = 1
    hu_offset: float = 0
    blur_mm: float = 1.2
    noise_hu: float = 6

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} must be between {low} and {high}, got {value}"
                raise ValueError(msg)

    @property
    def scale(self) -> NDArray[np.float64]:
        """(3,) size along x, y, z relative to the head in whose millimetres the anatomy is written."""
        return np.array([self.width_mm / 143, self.length_mm / 180, self.height_mm / 135])


def random_spec(seed: int) -> HeadSpec:
    """Draw a head: each parameter evenly over its range; thicknesses go together, and so do sizes."""
    rng = np.random.default_rng([seed, 1])
    draw = {name: low + (high - low) * rng.uniform() for name, (low, high) in RANGES.items()}
    thick, size = rng.uniform(
        size=2
    )  # a thick skull is thick everywhere, a large one large in every direction
    common = dict.fromkeys(("frontal_mm", "parietal_mm", "temporal_mm", "occipital_mm"), thick)
    common |= dict.fromkeys(("length_mm", "width_mm", "height_mm"), size)
    for name, share in common.items():
        low, high = RANGES[name]
        draw[name] = 0.4 * draw[name] + 0.6 * (low + (high - low) * share)
    draw["noise_hu"] = 2 + 28 * rng.uniform() ** 2
    rounded = {name: round(float(value), 3) for name, value in draw.items()}
    return HeadSpec(seed=seed, ears=bool(rng.uniform() < 0.8), **rounded)


def sample_head() -> Image:
    """The head that comes with the project, at 1 mm."""
    return head_ct(HeadSpec(seed=11, suture_mm=1.2))


def head_ct(spec: HeadSpec, spacing_mm: float = 1.0) -> Image:
    """Make the CT of a head: upright, nose toward +y, vertex toward +z, its left at -x.

    Args:
        spec: The head. The same one gives the same CT, bit for bit, on the same machine.
        spacing_mm: Distance between voxel centres, 0.4 to 4.

    Returns:
        int16 HU, air outside -1000; the world origin is the middle of the skull.

    Raises:
        ValueError: If the spacing is outside its range.
    """
    if not 0.4 <= spacing_mm <= 4:
        msg = f"spacing_mm must be between 0.4 and 4, got {spacing_mm}"
        raise ValueError(msg)
    low, high = _bounds(spec)
    x, y, z = (
        (np.arange(np.floor(lo / spacing_mm), np.ceil(hi / spacing_mm) + 1) * spacing_mm).astype(np.float32)
        for lo, hi in zip(low, high, strict=True)
    )
    anatomy = _Anatomy.draw(spec)
    hu = np.empty((x.size, y.size, z.size), np.float32)
    step = max(1, SLAB_VOXELS // (x.size * y.size))
    for k in range(0, z.size, step):
        hu[:, :, k : k + step] = _slab(spec, anatomy, _Grid(x, y, z[k : k + step], spec.scale, spacing_mm))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = x[0], y[0], z[0]
    notes: dict[str, Any] = {"phantom": {f.name: getattr(spec, f.name) for f in fields(spec)}}
    return Image(_scan(spec, hu, spacing_mm), affine, "HU", notes)


def _bounds(spec: HeadSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (3,), in mm: the head and some air, cut off below the chin."""
    side, front, top = np.array([71.5, 90.0, 86.0]) * spec.scale
    around = spec.scalp_mm + 2.5 * spec.shape_mm + abs(spec.asymmetry_mm) + 8
    wide = side + around + 8 * spec.ears
    low = np.array([-wide, -front - around, -118 * spec.scale[2]])
    return low, np.array([wide, front + around + 24, top + around])


def _scan(spec: HeadSpec, hu: Floats, spacing_mm: float) -> NDArray[np.int16]:
    """What the scanner makes of the true HU: scale, blur, noise."""
    hu = np.where(hu > 0, hu * np.float32(spec.hu_gain), hu)
    hu += np.float32(spec.hu_offset / 1000) * (hu + 1000)
    sigma = spec.blur_mm / 2.355 / spacing_mm
    hu = ndimage.gaussian_filter(hu, sigma, truncate=3, mode="nearest")
    noise = np.random.default_rng([spec.seed, 2]).standard_normal(hu.shape, np.float32)
    ndimage.gaussian_filter(noise, 0.6 * sigma, truncate=3, mode="wrap", output=noise)
    noise *= spec.noise_hu / max(float(noise[::4, ::4].std()), 1e-6)
    noise *= np.clip(hu / 1000 + 1, 0, 1)  # fewer photons are lost in air
    hu += noise
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


# --- smooth fields and shapes; every depth is in mm and positive inside -------------------------------------


def _field(rng: np.random.Generator, points: tuple[Floats, ...], scale: float, waves: int = 20) -> Floats:
    """Smooth random field of mean 0 and variance 1 with a Gaussian correlation of length `scale`.

    Random Fourier features (Rahimi and Recht, NIPS 2007): a sum of plane waves.
    """
    out = np.zeros(np.broadcast_shapes(*(p.shape for p in points)), np.float32)
    for _ in range(waves):
        k = (rng.standard_normal(3) / scale).astype(np.float32)
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        out += np.cos(k[0] * points[0] + k[1] * points[1] + k[2] * points[2] + phase)
    return out * np.float32(np.sqrt(2 / waves))


def _texture(rng: np.random.Generator, sigma: float) -> Floats:
    """(TILE, TILE, TILE) periodic correlated noise of mean 0 and variance 1."""
    noise = rng.standard_normal((TILE,) * 3, np.float32)
    smooth = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    out: Floats = (smooth - smooth.mean()) / smooth.std()
    return out


def _tiled(tile: Floats, grid: _Grid, voxel_mm: float) -> Floats:
    """The tile at the voxels of the grid, repeated through space."""
    index = (np.rint(axis / voxel_mm).astype(int) % TILE for axis in (grid.x, grid.y, grid.z))
    out: Floats = tile[np.ix_(*index)]
    return out


def _step(value: Floats, width: float) -> Floats:
    """Smooth step from 0 to 1 around value 0."""
    out: Floats = 0.5 + 0.5 * np.tanh(value / width)
    return out


def _bell(value: Floats, width: float) -> Floats:
    out: Floats = np.exp(-np.square(value / width))
    return out


def _lower(a: Floats, b: Floats, round_mm: float) -> Floats:
    """The lower of two depths, with the edge between them rounded."""
    blend = np.maximum(round_mm - np.abs(a - b), 0)
    out: Floats = np.minimum(a, b) - blend * blend * np.float32(0.25 / round_mm)
    return out


def _cover(depth: Floats, spacing_mm: float) -> Floats:
    """Share of a voxel that lies inside, by the depth of its centre: a ramp a little wider than it."""
    out: Floats = np.clip(depth * np.float32(0.8 / spacing_mm) + np.float32(0.5), 0, 1)
    return out


class _Ball(NamedTuple):
    """An ellipsoid, in the millimetres of the standard head."""

    centre: Point
    radii: Point

    def reach(self, scale: Scale) -> tuple[Scale, Scale]:
        centre, radii = np.array(self.centre) * scale, np.array(self.radii) * scale
        return centre - radii, centre + radii

    def depth(self, axes: Axes, scale: Scale) -> Floats:
        """To first order: exact at the surface."""
        c, r = ((np.array(v) * scale).astype(np.float32) for v in self)
        p = [(axis - c[n]) / r[n] for n, axis in enumerate(axes)]
        near = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2) + np.float32(1e-6)
        slope = np.sqrt((p[0] / r[0]) ** 2 + (p[1] / r[1]) ** 2 + (p[2] / r[2]) ** 2) + np.float32(1e-6)
        out: Floats = near * (1 - near) / slope
        return out

    def mirrored(self) -> _Ball:
        return self._replace(centre=(-self.centre[0], self.centre[1], self.centre[2]))


class _Rod(NamedTuple):
    """A rod with rounded ends, `across` mm in radius and `tall` along z."""

    start: Point
    stop: Point
    across: float
    tall: float

    def reach(self, scale: Scale) -> tuple[Scale, Scale]:
        a, b = np.array(self.start) * scale, np.array(self.stop) * scale
        radii = np.array([self.across, self.across, self.tall])
        return np.minimum(a, b) - radii, np.maximum(a, b) + radii

    def depth(self, axes: Axes, scale: Scale) -> Floats:
        squash = np.array([1, 1, self.across / self.tall], np.float32)
        a = (np.array(self.start) * scale).astype(np.float32)
        along = ((np.array(self.stop) * scale - a) * squash).astype(np.float32)
        p = [(axis - a[n]) * squash[n] for n, axis in enumerate(axes)]
        share = (p[0] * along[0] + p[1] * along[1] + p[2] * along[2]) / np.dot(along, along)
        share = np.clip(share, 0, 1)
        away = sum(np.square(q - share * v) for q, v in zip(p, along, strict=True))
        out: Floats = np.float32(self.across) - np.sqrt(away)
        return out

    def mirrored(self) -> _Rod:
        (x, y, z), (u, v, w) = self.start, self.stop
        return self._replace(start=(-x, y, z), stop=(-u, v, w))


def _pairs(*shapes: _Ball | _Rod) -> tuple[_Ball | _Rod, ...]:
    """The shapes and their mirror images."""
    return tuple(s for shape in shapes for s in (shape, shape.mirrored()))


@dataclass(frozen=True, eq=False)
class _Grid:
    """Some axial slices: where shapes are turned into depths."""

    x: Floats
    y: Floats
    z: Floats
    scale: Scale
    spacing_mm: float

    @property
    def axes(self) -> Axes:
        return self.x[:, None, None], self.y[:, None], self.z

    def part(self, shape: _Ball | _Rod, margin_mm: float) -> tuple[tuple[slice, ...], Floats] | None:
        """The voxels around a shape and its depth there; None if the shape is elsewhere."""
        low, high = shape.reach(self.scale)
        ends = [
            np.searchsorted(axis, (lo - margin_mm, hi + margin_mm))
            for axis, lo, hi in zip((self.x, self.y, self.z), low, high, strict=True)
        ]
        if any(lo == hi for lo, hi in ends):
            return None
        i, j, k = (slice(lo, hi) for lo, hi in ends)
        return (i, j, k), shape.depth((self.x[i, None, None], self.y[j, None], self.z[k]), self.scale)

    def paint(self, hu: Floats, shapes: tuple[_Ball | _Rod, ...], value: float, grow_mm: float = 0) -> None:
        """Fill shapes, grown by so much, with a value."""
        for shape in shapes:
            found = self.part(shape, grow_mm + self.spacing_mm)
            if found is not None:
                part = hu[found[0]]
                part += _cover(found[1] + np.float32(grow_mm), self.spacing_mm) * (np.float32(value) - part)

    def join(self, solid: Floats, shapes: tuple[_Ball | _Rod, ...], round_mm: float) -> None:
        """Add shapes to a solid given by its depth, seams rounded."""
        for shape in shapes:
            found = self.part(shape, round_mm + 2)
            if found is not None:
                solid[found[0]] = -_lower(-solid[found[0]], -found[1], round_mm)

    def carve(self, solid: Floats, shapes: tuple[_Ball | _Rod, ...], round_mm: float) -> None:
        """Take shapes out of a solid given by its depth, edges rounded."""
        for shape in shapes:
            found = self.part(shape, round_mm + 2)
            if found is not None:
                solid[found[0]] = _lower(solid[found[0]], -found[1], round_mm)


# --- the skull as maps over directions and over the floor ---------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Anatomy:
    """What is drawn once for a head: maps (POLAR * AROUND,) over directions and tiles of texture."""

    radius: Floats  # outer surface, mm from the origin
    upright: Floats  # cosine between the radius and the normal
    thickness: Floats  # of the bone, mm
    suture: Floats  # 0 to 1
    sinus: Floats  # depth inside the outline of the frontal sinus, mm
    scalp: Floats  # mm
    marrow: Floats  # HU of the diploe relative to its mean
    table: Floats  # thickness of the tables relative to their mean
    trabeculae: Floats
    folds: Floats

    @classmethod
    def draw(cls, spec: HeadSpec) -> _Anatomy:
        rng = np.random.default_rng([spec.seed, 3])
        polar = ((np.arange(POLAR) + 0.5) * np.pi / POLAR).astype(np.float32)[:, None]
        around = ((np.arange(AROUND) + 0.5) * 2 * np.pi / AROUND - np.pi).astype(np.float32)
        u = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around
        radius = _radius(spec, rng, u)
        tilt = np.gradient(np.log(radius), np.pi / POLAR, axis=0), _slope_around(np.log(radius), polar)
        point = u[0] * radius, u[1] * radius, u[2] * radius
        sinus = _sinus(spec, rng, point)
        maps = (
            radius,
            1 / np.sqrt(1 + tilt[0] ** 2 + tilt[1] ** 2),
            _thickness(spec, rng, u, sinus),
            _sutures(spec, rng, point),
            sinus,
            spec.scalp_mm * np.exp(0.12 * _field(rng, u, 0.5)) * (1 - 0.2 * _step(u[2] - 0.6, 0.3)),
            np.exp(0.15 * _field(rng, u, 0.35)),
            np.exp(0.2 * _field(rng, u, 0.12)),
        )
        flat = (np.ascontiguousarray(m, np.float32).ravel() for m in maps)
        return cls(*flat, *(_texture(rng, sigma) for sigma in (1.3, 3.2)))

    @staticmethod
    def direction(x: Floats, y: Floats, z: Floats, r: Floats) -> NDArray[np.int32]:
        """Where in the maps the direction of a point at distance r lies."""
        row = (np.arccos(np.clip(z / r, -1, 1)) * np.float32(POLAR / np.pi)).astype(np.int32)
        column = ((np.arctan2(y, x) + np.float32(np.pi)) * np.float32(AROUND / 2 / np.pi)).astype(np.int32)
        index: NDArray[np.int32] = np.minimum(row, POLAR - 1) * AROUND + np.minimum(column, AROUND - 1)
        return index


def _slope_around(log_radius: Floats, polar: Floats) -> Floats:
    slope = np.roll(log_radius, -1, axis=1) - np.roll(log_radius, 1, axis=1)
    out: Floats = (slope * AROUND / (4 * np.pi) / np.maximum(np.sin(polar), 0.02)).astype(np.float32)
    return out


def _bump(u: tuple[Floats, ...], toward: Point, width: float) -> Floats:
    """1 in a direction and its mirror image in x, falling off over `width` radians."""
    n = np.array(toward) / np.linalg.norm(toward)
    cosine = np.abs(u[0]) * np.float32(n[0]) + u[1] * np.float32(n[1]) + u[2] * np.float32(n[2])
    out: Floats = np.exp((cosine - 1) * np.float32(1 / width**2))
    return out


def _radius(spec: HeadSpec, rng: np.random.Generator, u: tuple[Floats, ...]) -> Floats:
    """Outer surface of the vault: a superellipsoid, bulges and hollows, asymmetry, irregularity."""
    a, b, c = np.array([70.0, 90.0, 86.0], np.float32) * spec.scale.astype(np.float32)
    down = np.float32(0.68)
    height = np.where(u[2] > 0, u[2] / c, u[2] / (c * down))
    across = (np.abs(u[0] / a) ** 2.3 + np.abs(height) ** 2.3) ** np.float32(2.15 / 2.3)
    radius = (across + np.abs(u[1] / b) ** 2.15) ** np.float32(-1 / 2.15)
    relief = (
        ((0.7, -0.45, 0.5), 0.45, 2.5),  # parietal eminence
        ((0.0, -0.1, 1.0), 0.4, 1.5),
        ((0.3, 0.85, 0.45), 0.3, 0.5),  # frontal eminence
        ((0.9, 0.45, -0.05), 0.27, -4.5),  # behind the orbit
        ((0.0, -0.95, 0.2), 0.35, 1.5),  # back of the head
        ((0.0, 0.75, 0.65), 0.35, -1.5),
        ((0.2, 1.0, 0.04), 0.13, 2.0),  # brow
        ((0.0, 1.0, -0.14), 0.12, -5.0),  # root of the nose
        ((0.0, -0.93, -0.3), 0.07, 3.0),  # external protuberance
        ((0.0, -0.7, -0.75), 0.4, 1.0),
    )
    for toward, width, bulge_mm in relief:
        radius += np.float32(bulge_mm) * _bump(u, toward, width)
    one_side = u[0] * np.float32(2) * _bump(u, (0.55, -0.8, 0.25), 0.45)
    radius -= np.float32(spec.asymmetry_mm) * one_side
    radius += np.float32(spec.shape_mm) * _field(rng, u, 0.45)
    out: Floats = radius + np.float32(0.25) * _field(rng, u, 0.12)
    return out


def _thickness(spec: HeadSpec, rng: np.random.Generator, u: tuple[Floats, ...], sinus: Floats) -> Floats:
    """Thickness of the bone: regions blended into each other, irregular, ridged on the inside."""
    regions = (
        (_bump(u, (0.35, 0.85, 0.4), 0.42) + _bump(u, (0, 1, 0.2), 0.4), spec.frontal_mm),
        (_bump(u, (0.45, -0.2, 0.9), 0.5) + _bump(u, (0.7, -0.6, 0.4), 0.35), spec.parietal_mm),
        (1.8 * _bump(u, (0.97, 0.18, -0.08), 0.3) + _bump(u, (0.9, 0.4, 0.02), 0.2), spec.temporal_mm),
        (_bump(u, (0, -0.97, 0.0), 0.45), spec.occipital_mm),
        (0.5 * _bump(u, (0.4, -0.6, -0.8), 0.35), 0.55 * spec.occipital_mm),  # floor of the posterior fossa
    )
    weight = sum(w**2 for w, _ in regions) + np.float32(1e-9)
    log = sum(w**2 * np.float32(np.log(t)) for w, t in regions) / weight
    log = log + spec.thickness_variation * (0.8 * _field(rng, u, 0.3) + 0.6 * _field(rng, u, 0.1))
    thick = np.exp(log)
    behind, front = _step(-u[1] - 0.5, 0.1), _step(u[1] - 0.75, 0.05)
    thick += np.float32(3) * _bell(u[0], 0.035) * front * _step(0.45 - u[2], 0.1)  # frontal crest
    thick += np.float32(2.5) * _bell(u[0], 0.05) * behind * _step(0.25 - u[2], 0.1)  # occipital crest
    thick += np.float32(2) * _bell(u[2] + 0.28, 0.05) * behind  # sulci of the transverse sinuses between
    thick += np.float32(5) * _bump(u, (0, -0.93, -0.3), 0.09)
    thick -= np.float32(0.8) * _bell(u[0], 0.05) * _step(u[2] - 0.3, 0.15)  # superior sagittal sinus
    thick += np.float32(7) * _step(sinus + 1, 2.5)
    out: Floats = np.maximum(thick, 1.5)
    return out


def _sutures(spec: HeadSpec, rng: np.random.Generator, point: tuple[Floats, ...]) -> Floats:
    """1 in the coronal, sagittal, lambdoid and squamosal sutures, 0 elsewhere."""
    x, y, z = (p / np.float32(s) for p, s in zip(point, spec.scale, strict=True))
    wave = 2.2 * _field(rng, (x, y, z), 5.0) + 1.5 * _field(rng, (x, y, z), 1.8, 12)
    side = np.abs(x)
    coronal = y - (22 - 0.10 * side - 0.004 * side**2) + 0.7 * wave
    lambdoid = (z - (52 - 0.85 * side)) * np.float32(0.76) + 1.2 * wave
    squamosal = np.sqrt((y / 0.95 - 2) ** 2 + (z + 24) ** 2) - 38 + 0.6 * wave
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
    out: Floats = np.float32(open_share) * _step(width - away, 0.35) * np.float32(width > 0)
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


def _floor(spec: HeadSpec, x: Floats, y: Floats, spacing_mm: float) -> tuple[Floats, Floats, Floats]:
    """Inner surface of the skull base: height, thickness of the bone (both mm) and how dense it is (0-1).

    Three fossae in steps: the anterior one over the orbits, the middle one behind the lesser wings with the
    sella between, the posterior one behind the petrous ridges and the clivus.
    """
    sx, sy, sz = spec.scale.astype(np.float32)
    side, y = np.abs(x)[:, None, None] / sx, y[:, None] / sy
    ridge = 2 - 0.62 * np.maximum(side - 15, 0)  # y of the petrous ridge
    lateral = _step(side - 15, 4)
    anterior = -14 + 5 * _bell(side - 28, 13) - 5 * _bell(side, 6)
    middle = -41 + 24 * _bell(side, 14) - 9 * _bell(side, 7) * _bell(y - 9, 5)
    height = middle + (anterior - middle) * _step(y - (24 + 0.25 * side), 3)
    height = height + 15 * lateral * _bell(y - ridge, 7)
    behind = np.maximum(-18 - 5 * lateral - 1.6 * np.maximum(ridge - y, 0), -75)
    height = np.where(y < ridge, np.minimum(height, behind), height)
    petrous = lateral * _bell(y - ridge, 11)
    body = _bell(side, 13) * _step(y + 16, 6) * _step(34 - y, 4)
    thick = 3.2 - 1.2 * _step(y - 38, 4) + 14 * petrous + 17 * body
    height = ndimage.gaussian_filter(height[..., 0], 1.5 / spacing_mm)[..., None] * sz
    thick = ndimage.gaussian_filter((thick + 0 * height)[..., 0], 1.5 / spacing_mm)[..., None] * sz
    return height.astype(np.float32), thick.astype(np.float32), np.maximum(petrous, 0).astype(np.float32)


# --- the parts that are not layers, in the millimetres of the standard head ---------------------------------

FACE_SKIN: tuple[tuple[_Ball | _Rod, float], ...] = (
    (_Ball((0, 34, -50), (68, 57, 70)), 14),
    (_Ball((0, -20, -112), (58, 58, 76)), 16),
    (_Ball((56, -8, -62), (16, 26, 30)), 14),  # angle of the jaw
    (_Ball((-56, -8, -62), (16, 26, 30)), 14),
    (_Ball((0, 63, -80), (30, 26, 22)), 12),  # mouth
    (_Ball((0, 64, -107), (25, 20, 14)), 12),  # chin
    (_Ball((0, 92, -46), (14, 17, 8)), 9),  # nose
    (_Rod((0, 84, -14), (0, 103, -44), 6, 6), 8),
    *((shape, 7) for shape in _pairs(_Ball((32, 71, -31), (17, 14.5, 13)))),  # eyelids
    *((shape, 12) for shape in _pairs(_Rod((50, 54, -45), (59, 0, -42), 11, 15))),  # cheek
    *((shape, 8) for shape in _pairs(_Rod((42, 69, -11), (49, 60, -20), 8, 8))),  # brow
)
EARS = _pairs(_Ball((77, -18, -25), (3.5, 15, 20)), _Ball((75, -11, -46), (3.5, 7, 9)))
CONCHAE = _pairs(_Ball((81, -12, -32), (4, 8, 11)))
MASTOIDS = _pairs(_Ball((52, -24, -42), (10, 14, 19)), _Ball((13, -26, -55), (6, 11, 6)))
FACE_BONE = _pairs(
    _Rod((12, 83, -10), (42, 70, -11), 3.5, 4.5),  # brow
    _Rod((42, 70, -11), (50, 61, -20), 3.5, 4.5),
    _Rod((50, 61, -20), (49, 63, -42), 4.5, 4.5),  # lateral rim of the orbit
    _Ball((48, 61, -45), (10, 9, 11)),  # zygoma
    _Rod((46, 66, -48), (17, 79, -47), 4, 5),
    _Rod((9, 84, -12), (14, 80, -60), 4.5, 4.5),  # frontal process of the maxilla
    _Ball((25, 56, -62), (19, 24, 19)),  # maxilla
    _Rod((26, 42, -79), (20, 65, -80), 6, 9),  # upper teeth
    _Rod((20, 65, -80), (0, 77, -80), 6, 9),
    _Ball((0, 52, -71), (24, 26, 3)),  # palate
    _Rod((54, 52, -45), (65, 26, -42), 3, 4.5),  # zygomatic arch
    _Rod((65, 26, -42), (61, -2, -37), 3, 4),
    _Rod((2, 84, -10), (3, 92, -30), 3, 3),  # nasal bones
    _Rod((15, 25, -36), (17, 28, -76), 3, 3),  # pterygoid
    _Ball((45, 46, -30), (6, 19, 19)),  # greater wing
)
JAW = _pairs(
    _Ball((52, 3, -48), (5, 6, 9)),
    _Ball((51, 8, -69), (4.5, 15, 24)),
    _Rod((48, 10, -91), (29, 50, -104), 5.5, 10),
    _Rod((29, 50, -104), (0, 71, -106), 5.5, 11),
)
SPINE = (
    *(_Rod((-4, -14, z), (4, -14, z), 8, 7.5) for z in (-74, -92, -110)),
    *_pairs(*(_Rod((12, -28, z), (36, -26, z), 5, 6) for z in (-66, -84, -102))),
    *_pairs(*(_Rod((15, -34, z), (2, -56, z - 5), 3, 5) for z in (-68, -86, -104))),
    *(_Rod((0, -56, z - 5), (0, -68, z - 12), 3, 4) for z in (-68, -86, -104)),
)
ORBITS = _pairs(_Ball((32, 77, -30), (18.5, 20, 16.5)), _Ball((26, 52, -29), (14, 25, 14)))
NOSTRIL = (_Ball((0, 62, -52), (12, 34, 19)),)
EYES = _pairs(_Ball((32, 70, -31), (11.5, 11.5, 11.5)))
NERVES = _pairs(_Rod((31, 58, -31), (14, 28, -26), 2, 2))
NASAL_AIR = _pairs(_Ball((5.5, 58, -52), (4.5, 29, 17)))
TURBINATES = _pairs(_Ball((8.5, 52, -57), (2.5, 20, 5)), _Ball((8, 52, -45), (2, 18, 4)))
PHARYNX = (_Ball((0, 16, -72), (10, 7, 32)),)
EAR_CANALS = _pairs(_Rod((82, -8, -36), (52, -6, -35), 3, 3), _Ball((46, -6, -34), (4, 5, 6)))
AUDITORY = _pairs(_Rod((8, -26, -34), (27, -15, -31), 2.5, 2.5))
DEEP_GREY = _pairs(_Ball((14, 2, 12), (9, 17, 10)))
CORD = (_Rod((0, -10, -8), (0, -28, -44), 11, 11), _Rod((0, -28, -44), (0, -40, -130), 5.5, 5.5))
CANAL = (_Rod((0, -30, -46), (0, -40, -130), 9.5, 9.5),)


# --- painting -----------------------------------------------------------------------------------------------


def _slab(spec: HeadSpec, anatomy: _Anatomy, grid: _Grid) -> Floats:
    """True HU (x, y, z) of some axial slices."""
    x, y, z = axes = grid.axes
    r = np.sqrt(x**2 + y**2 + z**2) + np.float32(1e-3)
    at = anatomy.direction(x, y, z, r)
    depth = (anatomy.radius[at] - r) * anatomy.upright[at]  # below the outer surface of the vault
    scalp = anatomy.scalp[at]
    skin = _skin(spec, grid, depth + scalp)
    trabeculae = 0.8 * _tiled(anatomy.trabeculae, grid, 0.5) + 0.6 * _tiled(anatomy.trabeculae, grid, 1.6)
    hu = _soft_tissue(skin, scalp)
    _face(spec, grid, hu, trabeculae)
    height, thick, dense = _floor(spec, grid.x, grid.y, grid.spacing_mm)
    slope = np.hypot(*np.gradient(height[..., 0], grid.spacing_mm))[..., None]
    above = ((z - height) / np.sqrt(1 + np.minimum(slope, 3) ** 2)).astype(np.float32)
    outer = _lower(depth, above + thick, 4)  # depth below the outer surface of the skull
    inner = _lower(depth - anatomy.thickness[at], above, 4)  # depth inside the cavity
    grid.join(outer, MASTOIDS, 8)
    grid.carve(outer, (_Ball((0, -34, -54), (14.5, 17, 24)),), 3)  # foramen magnum
    bone = _bone(spec, anatomy, at, (outer, inner), trabeculae, dense)
    hu += _cover(outer, grid.spacing_mm) * _cover(-inner, grid.spacing_mm) * (bone - hu)
    brain = _brain(spec, axes, inner, _tiled(anatomy.folds, grid, 1.0))
    hu += _cover(inner, grid.spacing_mm) * (brain - hu)
    _inside(spec, grid, hu)
    _air_cells(spec, grid, hu, _tiled(anatomy.trabeculae, grid, 1.1))
    out: Floats = np.float32(AIR_HU) + _cover(skin, grid.spacing_mm) * (hu - np.float32(AIR_HU))
    return out


def _skin(spec: HeadSpec, grid: _Grid, scalp_depth: Floats) -> Floats:
    """Depth below the skin of scalp, face, ears and neck."""
    skin = scalp_depth.copy()
    for shape, round_mm in FACE_SKIN:
        grid.join(skin, (shape,), round_mm)
    if spec.ears:
        grid.join(skin, EARS, 4)
        grid.carve(skin, CONCHAE, 3)
    return skin


def _soft_tissue(skin: Floats, scalp: Floats) -> Floats:
    """HU of skin, fat, galea and muscle by the depth below the skin."""
    fat = 1.8 + 0.45 * (scalp - 1.8)
    hu = np.where(skin < 1.8, np.float32(SKIN_HU), np.where(skin < fat, np.float32(FAT_HU), np.float32(40)))
    hu += _step(skin - 9, 3) * np.float32(MUSCLE_HU - 40)
    return hu


def _face(spec: HeadSpec, grid: _Grid, hu: Floats, trabeculae: Floats) -> None:
    """Orbits, nose, jaws and the first vertebrae, roughly."""
    if grid.z[0] > 10:
        return
    marrow = 0.9 * spec.diploe_hu + spec.diploe_texture_hu * trabeculae
    for shapes, holes, wall_mm in ((FACE_BONE, ORBITS + NOSTRIL, 1.6), (JAW, (), 2.2), (SPINE, CANAL, 1.3)):
        solid = np.full(hu.shape, -99, np.float32)
        grid.join(solid, shapes, 6)
        grid.carve(solid, holes, 2)
        bone = marrow + _cover(wall_mm - solid, 1) * (0.85 * spec.cortical_hu - marrow)
        hu += _cover(solid, grid.spacing_mm) * (bone - hu)
    grid.paint(hu, ORBITS, FAT_HU, -0.5)
    grid.paint(hu, NERVES, 35)
    grid.paint(hu, EYES, 45, 1)
    grid.paint(hu, EYES, 10)
    grid.paint(hu, CANAL, CSF_HU)


def _bone(
    spec: HeadSpec,
    anatomy: _Anatomy,
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
    bone = marrow + _cover(table, 0.8) * (spec.cortical_hu * (1 + 0.03 * trabeculae) - marrow)
    bone -= anatomy.suture[at] * (bone - 150)
    air = np.minimum(np.minimum(outer - spec.outer_table_mm, inner - spec.inner_table_mm), anatomy.sinus[at])
    bone += _cover(air, 1) * (AIR_HU - bone)
    out: Floats = bone.astype(np.float32)
    return out


def _brain(spec: HeadSpec, axes: Axes, depth: Floats, folds: Floats) -> Floats:
    """HU of what the cavity holds: fluid, folded grey matter, white matter, the falx."""
    age = (spec.age_years - 20) / 65
    fluid = 1.2 + 2.2 * age
    sulcus = _bell(folds, 0.28 + 0.15 * age) * _step(15 - depth, 2)
    grey = np.maximum(_step(fluid + 3.5 - depth, 0.8), _bell(folds, 0.7) * _step(18 - depth, 2))
    hu = WHITE_HU + grey * (GREY_HU - WHITE_HU)
    hu += np.maximum(_step(fluid - depth, 0.4), 0.8 * sulcus) * (CSF_HU - hu)
    hu += _step(0.8 - depth, 0.3) * (DURA_HU - hu)
    free_edge = (axes[2] - 18 + 0.15 * np.abs(axes[1])).astype(np.float32)
    falx = _bell(axes[0], 0.9) * _step(free_edge, 2) * _step(34 - depth, 3)
    out: Floats = (hu + falx * (DURA_HU - hu)).astype(np.float32)
    return out


def _inside(spec: HeadSpec, grid: _Grid, hu: Floats) -> None:
    """Ventricles, deep grey nuclei, brain stem and cord."""
    wide = 0.9 + 0.6 * (spec.age_years - 20) / 65
    lateral = _pairs(
        _Rod((6, 28, 20), (9, -4, 25), 3.2 * wide, 5 * wide),
        _Rod((9, -4, 25), (19, -32, 16), 3.8 * wide, 6 * wide),
        _Rod((19, -32, 16), (33, -8, -14), 2.2 * wide, 3 * wide),
    )
    middle = (_Ball((0, 0, 8), (2 * wide, 13, 9)), _Ball((0, -33, -28), (6 * wide, 4 * wide, 7)))
    grid.paint(hu, DEEP_GREY, GREY_HU)
    grid.paint(hu, lateral, CSF_HU)
    grid.paint(hu, CORD, 33)
    grid.paint(hu, middle + AUDITORY, CSF_HU)


def _air_cells(spec: HeadSpec, grid: _Grid, hu: Floats, cells: Floats) -> None:
    """Nasal cavity, pharynx and ear canals, and the sinuses as far as they are pneumatised."""
    if grid.z[0] > 10:
        return
    size = 0.4 + 0.6 * spec.air_cells
    grid.paint(hu, NASAL_AIR, 50, 1.5)
    grid.paint(hu, NASAL_AIR + PHARYNX, AIR_HU)
    grid.paint(hu, TURBINATES, 50)
    grid.paint(hu, EAR_CANALS, AIR_HU)
    if not spec.air_cells:
        return
    sinuses = _pairs(
        _Ball((27, 54, -61), (13 * size, 17 * size, 14 * size)),
        _Ball((7, 15, -27), (6.3 * size, 11 * size, 8 * size)),
    )
    grid.paint(hu, sinuses, 0.6 * spec.cortical_hu, 1.2)
    grid.paint(hu, sinuses, AIR_HU)
    mastoids = _pairs(_Ball((53, -24, -40), (9 * size, 13 * size, 20 * size)))
    ethmoid = (_Ball((0, 47, -27), (13 * size, 22, 9 * size)),)
    grid.paint(hu, ethmoid, 0.45 * spec.cortical_hu, 0.5)
    for honeycomb in mastoids + ethmoid:
        found = grid.part(honeycomb, 0)
        if found is not None:
            part = hu[found[0]]
            cell = np.minimum(found[1], 1.2 * cells[found[0]] + 0.2)
            part += _cover(cell, grid.spacing_mm) * (AIR_HU - part)
