"""What phantoms are made of: smooth fields, ellipsoids and rods, and the slices that they are painted into.

Every depth is in mm, positive inside. Shapes are given in the millimetres of the standard head and stretched
by `HeadSpec.scale` where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats: TypeAlias = NDArray[np.float32]
Axes: TypeAlias = tuple[Floats, Floats, Floats]
Scale: TypeAlias = NDArray[np.float64]
Point: TypeAlias = tuple[float, float, float]

TILE = 96  # voxels along a cube of texture, repeated through space
FIELD_ROWS = 20  # of a random field at a time, so that they stay in the processor's cache


def random_field(
    rng: np.random.Generator, points: tuple[Floats, ...], scale: float, waves: int = 20
) -> Floats:
    """Smooth random field of mean 0 and variance 1 with a Gaussian correlation of length `scale`.

    Random Fourier features (Rahimi and Recht, NIPS 2007): a sum of plane waves. The points are three arrays
    (i, j) of their coordinates, in the unit of the length; the field is (i, j) too.
    """
    drawn = [(rng.standard_normal(3) / scale, rng.uniform(0, 2 * np.pi)) for _ in range(waves)]
    out = np.zeros(points[0].shape, np.float32)
    for start in range(0, len(out), FIELD_ROWS):
        x, y, z = (p[start : start + FIELD_ROWS] for p in points)
        rows = out[start : start + FIELD_ROWS]
        for direction, phase in drawn:
            k = direction.astype(np.float32)
            rows += np.cos(k[0] * x + k[1] * y + k[2] * z + np.float32(phase))
    return out * np.float32(np.sqrt(2 / waves))


def random_texture(rng: np.random.Generator, sigma: float) -> Floats:
    """(TILE, TILE, TILE) periodic noise of mean 0 and variance 1, smoothed over `sigma` voxels."""
    noise = rng.standard_normal((TILE,) * 3, np.float32)
    smooth = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    out: Floats = (smooth - smooth.mean()) / smooth.std()
    return out


def step(value: Floats, width: float) -> Floats:
    """Smooth step from 0 to 1 around value 0."""
    out: Floats = 0.5 + 0.5 * np.tanh(value / width)
    return out


def bell(value: Floats, width: float) -> Floats:
    """Gaussian bell: 1 at value 0, 1/e at `width`."""
    out: Floats = np.exp(-np.square(value / width))
    return out


def rounded_min(a: Floats, b: Floats, round_mm: float) -> Floats:
    """The lower of two depths, with the edge between them rounded."""
    blend = np.maximum(round_mm - np.abs(a - b), 0)
    out: Floats = np.minimum(a, b) - blend * blend * np.float32(0.25 / round_mm)
    return out


def coverage(depth: Floats, spacing_mm: float) -> Floats:
    """Share of a voxel that lies inside, by the depth of its centre: a ramp a little wider than it."""
    out: Floats = np.clip(depth * np.float32(0.8 / spacing_mm) + np.float32(0.5), 0, 1)
    return out


class Ball(NamedTuple):
    """An ellipsoid, in the millimetres of the standard head."""

    centre: Point
    radii: Point

    def reach(self, scale: Scale) -> tuple[Scale, Scale]:
        """Lowest and highest corner (3,) of the box around it in a head of this scale, in mm."""
        centre, radii = np.array(self.centre) * scale, np.array(self.radii) * scale
        return centre - radii, centre + radii

    def depth(self, axes: Axes, scale: Scale) -> Floats:
        """Depth in mm at the points x, y, z of a head of this scale, to first order: exact at the surface."""
        c, r = ((np.array(v) * scale).astype(np.float32) for v in self)
        p = [(axis - c[n]) / r[n] for n, axis in enumerate(axes)]
        near = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2) + np.float32(1e-6)
        slope = np.sqrt((p[0] / r[0]) ** 2 + (p[1] / r[1]) ** 2 + (p[2] / r[2]) ** 2) + np.float32(1e-6)
        out: Floats = near * (1 - near) / slope
        return out

    def mirrored(self) -> Ball:
        """The same on the other side of the head."""
        return self._replace(centre=(-self.centre[0], self.centre[1], self.centre[2]))


class Rod(NamedTuple):
    """A rod with rounded ends, `across` mm in radius and `tall` along z, in a head of any size."""

    start: Point
    stop: Point
    across: float
    tall: float

    def reach(self, scale: Scale) -> tuple[Scale, Scale]:
        """Lowest and highest corner (3,) of the box around it in a head of this scale, in mm."""
        a, b = np.array(self.start) * scale, np.array(self.stop) * scale
        radii = np.array([self.across, self.across, self.tall])
        return np.minimum(a, b) - radii, np.maximum(a, b) + radii

    def depth(self, axes: Axes, scale: Scale) -> Floats:
        """Depth in mm at the points x, y, z of a head of this scale, measured across the rod."""
        squash = np.array([1, 1, self.across / self.tall], np.float32)
        a = (np.array(self.start) * scale).astype(np.float32)
        along = ((np.array(self.stop) * scale - a) * squash).astype(np.float32)
        p = [(axis - a[n]) * squash[n] for n, axis in enumerate(axes)]
        share = (p[0] * along[0] + p[1] * along[1] + p[2] * along[2]) / np.dot(along, along)
        share = np.clip(share, 0, 1)
        away = sum(np.square(q - share * v) for q, v in zip(p, along, strict=True))
        out: Floats = np.float32(self.across) - np.sqrt(away)
        return out

    def mirrored(self) -> Rod:
        """The same on the other side of the head."""
        (x, y, z), (u, v, w) = self.start, self.stop
        return self._replace(start=(-x, y, z), stop=(-u, v, w))


Shape: TypeAlias = Ball | Rod


@dataclass(frozen=True, eq=False)
class Warp:
    """Moves and resizes shapes by a smooth random displacement, so that neighbours stay joined.

    Attributes:
        waves: (3, n, 3) wave vectors per mm of the displacement along x, y, z.
        phases: (3, n) of the waves.
        sizes: (n, 3) wave vectors of the logarithm of the size.
        amount: 0 for no change to 1.
    """

    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    sizes: NDArray[np.float64]
    amount: float

    @classmethod
    def draw(cls, rng: np.random.Generator, amount: float, n: int = 12) -> Warp:
        """Draw a displacement of about 3 mm and a change of size of about 12 %, times the amount."""
        waves = rng.standard_normal((3, n, 3)) / 40
        return cls(waves, rng.uniform(0, 2 * np.pi, (3, n)), rng.standard_normal((n, 3)) / 30, amount)

    def shapes(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """The shapes in their new places."""
        return tuple(self._shape(shape) for shape in shapes) if self.amount else shapes

    def _shape(self, shape: Shape) -> Shape:
        if isinstance(shape, Ball):
            radii = np.array(shape.radii) * self._size(shape.centre)
            return Ball(self._moved(shape.centre), (float(radii[0]), float(radii[1]), float(radii[2])))
        size = self._size(shape.start)
        start, stop = self._moved(shape.start), self._moved(shape.stop)
        return Rod(start, stop, shape.across * size, shape.tall * size)

    def _size(self, point: Point) -> float:
        along = self.sizes @ (abs(point[0]), point[1], point[2]) + self.phases[0]
        return float(np.exp(0.12 * self.amount * np.sqrt(2 / along.size) * np.cos(along).sum()))

    def _moved(self, point: Point) -> Point:
        # The two sides are alike, not the same; what lies on the midline stays near it.
        mirrored = np.array([abs(point[0]), point[1], point[2]])
        both = self._field(mirrored) * (np.sign(point[0]) if abs(point[0]) > 1 else 0.2, 1, 1)
        away = self.amount * (2.5 * both + 1.2 * self._field(np.array(point) + 500))
        return float(point[0] + away[0]), float(point[1] + away[1]), float(point[2] + away[2])

    def _field(self, point: Scale) -> Scale:
        along = np.cos(self.waves @ point + self.phases)  # (3, n)
        out: Scale = along.sum(1) * np.sqrt(2 / along.shape[1])
        return out


def pairs(*shapes: Shape) -> tuple[Shape, ...]:
    """The shapes and their mirror images."""
    return tuple(s for shape in shapes for s in (shape, shape.mirrored()))


@dataclass(frozen=True, eq=False)
class Grid:
    """Some axial slices: where shapes are turned into depths.

    Attributes:
        x: (i,) mm, as y (j,) and z (k,) are.
        y: Toward the nose.
        z: Toward the vertex.
        scale: (3,) size of the head relative to the standard one.
        spacing_mm: Between voxel centres, along all three.
    """

    x: Floats
    y: Floats
    z: Floats
    scale: Scale
    spacing_mm: float

    @property
    def axes(self) -> Axes:
        """The coordinates (i, 1, 1), (j, 1) and (k,): together they broadcast to the slices."""
        return self.x[:, None, None], self.y[:, None], self.z

    def tiled(self, tile: Floats, voxel_mm: float) -> Floats:
        """A cube of texture (TILE, TILE, TILE) at the voxels (i, j, k), repeated through space."""
        index = (np.rint(axis / voxel_mm).astype(int) % TILE for axis in (self.x, self.y, self.z))
        out: Floats = tile[np.ix_(*index)]
        return out

    def part(self, shape: Shape, margin_mm: float) -> tuple[tuple[slice, ...], Floats] | None:
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

    def paint(self, hu: Floats, shapes: tuple[Shape, ...], value: float, grow_mm: float = 0) -> None:
        """Fill shapes, grown by so much, with a value."""
        for shape in shapes:
            found = self.part(shape, grow_mm + self.spacing_mm)
            if found is not None:
                part = hu[found[0]]
                part += coverage(found[1] + np.float32(grow_mm), self.spacing_mm) * (np.float32(value) - part)

    def join(self, solid: Floats, shapes: tuple[Shape, ...], round_mm: float) -> None:
        """Add shapes to a solid given by its depth, seams rounded."""
        for shape in shapes:
            found = self.part(shape, round_mm + 2)
            if found is not None:
                solid[found[0]] = -rounded_min(-solid[found[0]], -found[1], round_mm)

    def carve(self, solid: Floats, shapes: tuple[Shape, ...], round_mm: float) -> None:
        """Take shapes out of a solid given by its depth, edges rounded."""
        for shape in shapes:
            found = self.part(shape, round_mm + 2)
            if found is not None:
                solid[found[0]] = rounded_min(solid[found[0]], -found[1], round_mm)
