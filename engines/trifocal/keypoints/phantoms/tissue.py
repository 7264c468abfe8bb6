"""What several synthetic anatomies have in common: abdominal wall, fluid, placenta, limbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.phantoms.canvas import spline, wobbled

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.phantoms.canvas import Canvas


def heterogeneous(canvas: Canvas, amount: float = 0.35, size_mm: float = 20.0) -> None:
    """Make all tissue so far unevenly bright: coarse blobs, and finer streaks across the beam."""
    rng = canvas.rng
    blobs = amount * canvas.texture(size_mm, float(rng.uniform(1, 2.5)))
    streaks = amount * float(rng.uniform(0.3, 1)) * canvas.texture(size_mm / 8, float(rng.uniform(2, 5)))
    fine = amount * float(rng.uniform(0.2, 0.7)) * canvas.texture(size_mm / 20, float(rng.uniform(1, 3)))
    canvas.scatter *= np.exp(blobs + streaks + fine)


def clutter(canvas: Canvas, count: int) -> None:
    """Interfaces and patches of other tissue, anywhere in the sector."""
    rng, depth = canvas.rng, canvas.probe.depth_mm
    for _ in range(count):
        place = canvas.probe.position(float(rng.uniform(-0.9, 0.9)), float(rng.uniform(0.15, 1)) * depth)
        size = depth * float(rng.uniform(0.03, 0.2))
        outline = blob(
            place, (size, size * float(rng.uniform(0.2, 0.7))), float(rng.normal(0, 30)), 0.2 * size, rng
        )
        if rng.random() < 0.5:
            canvas.scatter *= 1 + canvas.polygon(outline, edge_mm=4.0) * np.float32(rng.uniform(-0.7, 1.5))
        arc = outline[: int(rng.integers(10, 40))]
        canvas.interface(arc, float(10 ** rng.uniform(-0.3, 0.6)), float(rng.uniform(0.5, 1.2)), specular=2)


def depth_line(canvas: Canvas, depth_mm: float, slope: float = 0.0, count: int = 40) -> NDArray[np.float64]:
    """(count, 2) points at one depth from the face, left to right; `slope`: the right end is deeper."""
    beam = np.linspace(-1.15, 1.15, count)
    return canvas.probe.position(beam, depth_mm + slope * beam)


def abdominal_wall(canvas: Canvas, thickness_mm: float) -> None:
    """Skin, fat and muscle: layers that follow the face, with bright sheets between them."""
    rng = canvas.rng
    layers = int(rng.integers(2, 5))
    depths = np.sort(rng.uniform(0.08, 1.0, layers)) * thickness_mm
    upper = 0.0
    for depth in depths:
        band = layer(canvas, upper, float(depth))
        canvas.fill(band, scatter=float(rng.uniform(0.3, 1.6)), loss=float(rng.uniform(0, 0.04)))
        for _ in range(int(rng.integers(0, 3))):
            at = float(rng.uniform(upper, depth))
            line = depth_line(canvas, at, float(rng.normal(0, 1.5)))
            canvas.interface(wobbled(line, 0.4, rng, closed=False), float(rng.uniform(0.8, 3)), 0.5)
        sheet = wobbled(depth_line(canvas, float(depth), float(rng.normal(0, 1.5))), 0.6, rng, closed=False)
        canvas.interface(sheet, float(rng.uniform(1.5, 4)), 0.7)
        upper = float(depth)


def layer(canvas: Canvas, top_mm: float, bottom_mm: float) -> NDArray[np.float32]:
    """Mask of what lies between two depths from the face."""
    top, bottom = depth_line(canvas, top_mm), depth_line(canvas, bottom_mm)
    return canvas.polygon(np.concatenate([top, bottom[::-1]]))


def blob(
    center: ArrayLike, semi_axes: tuple[float, float], angle: float, wobble_mm: float,
    rng: np.random.Generator, count: int = 72,
) -> NDArray[np.float64]:  # fmt: skip
    """(count, 2) an uneven, closed, roughly elliptical outline."""
    x, y = np.asarray(center, float)
    ellipse = Ellipse((float(x), float(y)), semi_axes, angle)
    return wobbled(ellipse.outline(count), wobble_mm, rng)


def fluid(canvas: Canvas, outline: NDArray[np.float64], wall: float = 2.0) -> NDArray[np.float32]:
    """Fill an outline (N, 2) with amniotic fluid or urine, inside a thin bright wall; returns its mask."""
    rng = canvas.rng
    mask = canvas.polygon(outline)
    level = float(10 ** rng.uniform(-2.3, -1.4))
    canvas.fill(mask, scatter=level, loss=float(rng.uniform(-0.08, -0.02)), echo=0)
    canvas.interface(outline, wall, 0.8, closed=True, specular=3)
    return mask


def placenta(canvas: Canvas, depth_mm: float, thickness_mm: float, *, behind: bool) -> None:
    """A slab of fine bright tissue across the sector, in front of the fetus or behind it."""
    rng = canvas.rng
    slope = float(rng.normal(0, 12))
    top = wobbled(depth_line(canvas, depth_mm, slope), 2.0, rng, closed=False, waves=3)
    bottom = wobbled(depth_line(canvas, depth_mm + thickness_mm, slope), 2.0, rng, closed=False, waves=3)
    mask = canvas.polygon(np.concatenate([top, bottom[::-1]]), edge_mm=1.2)
    canvas.fill(mask, scatter=float(rng.uniform(0.8, 1.8)), loss=0.01, echo=0)
    canvas.interface(top if behind else bottom, float(rng.uniform(1, 4)), 0.8, specular=3)


def limb(canvas: Canvas, center: ArrayLike, radius_mm: float) -> None:
    """A fetal limb cut across or along: soft tissue, a bone and its shadow."""
    rng = canvas.rng
    angle = float(rng.uniform(0, 180))
    length = radius_mm * float(rng.uniform(1.0, 2.5))
    outline = blob(center, (length, radius_mm), angle, 0.05 * radius_mm, rng)
    canvas.fill(canvas.polygon(outline), scatter=float(rng.uniform(0.4, 0.9)), loss=0.0)
    canvas.interface(outline, 1.5, 0.6, closed=True)
    bone(canvas, center, 0.7 * length, angle, 0.35 * radius_mm)


def bone(canvas: Canvas, center: ArrayLike, half_length_mm: float, angle: float, thickness_mm: float) -> None:
    """A piece of ossified bone with its shadow."""
    turn = np.deg2rad(angle)
    middle, along = np.asarray(center, float), np.array([np.cos(turn), np.sin(turn)])
    line = middle + np.linspace(-1, 1, 14)[:, None] * half_length_mm * along
    line = wobbled(line, 0.3 * thickness_mm, canvas.rng, closed=False)
    canvas.fill(canvas.curve(line, thickness_mm), loss=float(canvas.rng.uniform(2, 6)))
    canvas.interface(line, float(canvas.rng.uniform(6, 14)), max(0.6 * thickness_mm, 0.8))


def smooth_path(
    points: ArrayLike, wobble_mm: float, rng: np.random.Generator, count: int = 40
) -> NDArray[np.float64]:
    """(count, 2) an open spline through points (N, 2), with uneven course."""
    return wobbled(spline(points, count), wobble_mm, rng, closed=False)
