"""The voxels that organs are painted on, with soft edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.kernels import chain_distance, lattice_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]

AIR_HU = -1000.0


@dataclass(frozen=True, eq=False)
class Region:
    """A box of the canvas with the coordinates of its voxels.

    Attributes:
        slices: Of the canvas's arrays.
        x: (X, 1, 1) world mm, to the patient's right.
        y: (1, Y, 1) world mm, forward.
        z: (1, 1, Z) world mm, up.
    """

    slices: tuple[slice, slice, slice]
    x: Floats
    y: Floats
    z: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z; an axis may have none where an organ lies off the canvas."""
        return self.x.size, self.y.size, self.z.size

    @property
    def is_empty(self) -> bool:
        """Whether no voxel of the canvas lies in the box."""
        return 0 in self.shape


@dataclass(eq=False)
class Canvas:
    """HU on an upright grid; later paint covers earlier paint.

    Attributes:
        spacing_mm: Edge of the cubic voxels.
        low_mm: World centre of the first voxel.
        hu: (X, Y, Z) float32, air to begin with.
        masks: Parts of the body by name, (X, Y, Z) float32 shares 0 to 1, for `within` of `paint`.
    """

    spacing_mm: float
    low_mm: NDArray[np.float64]
    hu: Floats
    masks: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def covering(cls, low_mm: ArrayLike, high_mm: ArrayLike, spacing_mm: float) -> Canvas:
        """A canvas over a box, centred on it."""
        low, high = np.asarray(low_mm, float), np.asarray(high_mm, float)
        shape = np.ceil((high - low) / spacing_mm).astype(int)
        first = (low + high) / 2 - (shape - 1) / 2 * spacing_mm
        return cls(spacing_mm, first, np.full(tuple(shape), AIR_HU, np.float32))

    def axis(self, n: int) -> NDArray[np.float64]:
        """World coordinates of the voxel centres along one axis."""
        out: NDArray[np.float64] = self.low_mm[n] + self.spacing_mm * np.arange(self.hu.shape[n])
        return out

    @property
    def whole(self) -> Region:
        """All voxels."""
        return self.box([-1e4] * 3, [1e4] * 3)

    def box(self, low_mm: ArrayLike, high_mm: ArrayLike, margin_mm: float = 0.0) -> Region:
        """The voxels between two corners, with a margin of one voxel (for soft edges) and `margin_mm`."""
        margin = margin_mm + self.spacing_mm
        low = (np.asarray(low_mm, float) - margin - self.low_mm) / self.spacing_mm
        high = (np.asarray(high_mm, float) + margin - self.low_mm) / self.spacing_mm
        start = np.clip(np.ceil(low), 0, self.hu.shape).astype(int)
        stop = np.maximum(np.clip(np.floor(high) + 1, 0, self.hu.shape).astype(int), start)
        sx, sy, sz = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        x, y, z = (self.axis(n)[s].astype(np.float32) for n, s in enumerate((sx, sy, sz)))
        return Region((sx, sy, sz), x[:, None, None], y[None, :, None], z[None, None, :])

    def paint(
        self,
        region: Region,
        distance_mm: Floats,
        hu: Floats | float,
        within: Floats | str | None = None,
        soft_mm: float = 0.0,
    ) -> Floats:
        """Cover a region where a signed distance is negative; voxels across the edge are mixed.

        Args:
            region: From `box`.
            distance_mm: Broadcastable to the region; negative inside.
            hu: A number, or values broadcastable to the region (a texture).
            within: Share 0 to 1 of each voxel that may be covered: of the region, or the name of a mask.
            soft_mm: Width of the edge on top of the voxel's own.

        Returns:
            The share of each voxel of the region that was covered.
        """
        share = self.share(distance_mm, soft_mm)
        if within is not None:
            share = share * (self.masks[within][region.slices] if isinstance(within, str) else within)
        part = self.hu[region.slices]
        part += share * (np.asarray(hu, np.float32) - part)
        return share

    def share(self, distance_mm: Floats, soft_mm: float = 0.0) -> Floats:
        """How much of a voxel lies inside a surface at a signed distance."""
        width = np.float32(self.spacing_mm + soft_mm)
        share: Floats = np.clip(np.float32(0.5) - distance_mm / width, 0, 1).astype(np.float32, copy=False)
        return share

    def texture(self, region: Region, rng: np.random.Generator, scale_mm: float) -> Floats:
        """Smooth noise of mean 0 and deviation about 1 with grains of `scale_mm`; the same at any spacing."""
        x, y, z = region.x.ravel(), region.y.ravel(), region.z.ravel()
        lattice = rng.standard_normal((32, 32, 32), dtype=np.float32)  # repeats every 32 grains
        return lattice_values(x, y, z, lattice, 1.8, scale_mm)


def ellipsoid(
    region: Region,
    center_mm: ArrayLike,
    radii_mm: ArrayLike,
    rotation: NDArray[np.float64] | None = None,
) -> Floats:
    """Signed distance, exact to first order at the surface (the gradient's length is divided out).

    Args:
        region: Where.
        center_mm: (3,).
        radii_mm: (3,) along the organ's own axes.
        rotation: (3, 3) whose columns are the organ's axes in the world; upright without.
    """
    offset = [
        a - np.float32(c) for a, c in zip((region.x, region.y, region.z), np.asarray(center_mm), strict=True)
    ]
    if rotation is not None:
        turn = np.asarray(rotation, np.float32)
        offset = [turn[0, n] * offset[0] + turn[1, n] * offset[1] + turn[2, n] * offset[2] for n in range(3)]
    radii = np.asarray(radii_mm, np.float32)
    scaled = [o / r for o, r in zip(offset, radii, strict=True)]
    level = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
    steep = np.sqrt((scaled[0] / radii[0]) ** 2 + (scaled[1] / radii[1]) ** 2 + (scaled[2] / radii[2]) ** 2)
    out: Floats = level * (level - 1) / np.maximum(steep, np.float32(1e-6))
    # at the very middle the quotient is 0 / 0: there the nearest surface is the smallest radius away
    return np.where(level < 0.02, -radii.min(), out).astype(np.float32, copy=False)


def tube(region: Region, points_mm: ArrayLike, radii_mm: ArrayLike, flatten: float = 1.0) -> Floats:
    """Signed distance to a chain of rounded cones through points.

    Args:
        region: Where.
        points_mm: (n, 3).
        radii_mm: (n,) or one for all.
        flatten: Height over width of the section: distances along z count 1 / flatten.
    """
    points = np.asarray(points_mm, np.float32).reshape(-1, 3)
    radii = np.broadcast_to(np.asarray(radii_mm, np.float32), (len(points),)).astype(np.float32)
    x, y, z = region.x.ravel(), region.y.ravel(), region.z.ravel()
    return chain_distance(x, y, z, points, radii, 1 / flatten)
