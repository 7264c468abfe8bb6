"""Which part of a scene the picture shows: from millimetres to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.phantoms.machine import Machine
    from trifocal.keypoints.phantoms.scene import Scene

SCREEN_MARGINS = (0.14, 0.10, 0.12, 0.06)  # left, top, right, bottom, as a part of the picture
TIGHT_MARGINS = (0.01, 0.01, 0.01, 0.01)
CLOSEST_MM_PER_PX = 0.095  # machines hardly zoom further


@dataclass(frozen=True)
class View:
    """A picture of square pixels that lies over the scene.

    Attributes:
        size: (width, height) in pixels.
        mm_per_px: Size of a pixel.
        origin_mm: (x, y) of the centre of pixel (0, 0).
    """

    size: tuple[int, int]
    mm_per_px: float
    origin_mm: tuple[float, float]

    def to_pixels(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """(..., 2) mm -> (..., 2) pixels."""
        moved = np.asarray(points_mm, float) - np.array(self.origin_mm)
        return np.asarray(moved / self.mm_per_px, float)

    def ellipse_to_pixels(self, ellipse: Ellipse) -> Ellipse:
        """An ellipse in mm -> in pixels."""
        x, y = self.to_pixels(ellipse.center)
        a, b = (axis / self.mm_per_px for axis in ellipse.semi_axes)
        return Ellipse((float(x), float(y)), (a, b), ellipse.angle)

    def grid_mm(self) -> NDArray[np.float32]:
        """(height, width, 2) mm of the pixels' centres."""
        width, height = self.size
        grid = np.empty((height, width, 2), np.float32)
        grid[..., 0] = self.origin_mm[0] + self.mm_per_px * np.arange(width, dtype=np.float32)
        grid[..., 1] = (self.origin_mm[1] + self.mm_per_px * np.arange(height, dtype=np.float32))[:, None]
        return grid


def random_view(scene: Scene, machine: Machine, rng: np.random.Generator) -> View:
    """Place the picture as the machine's layout says; all landmarks and the scene's focus stay inside."""
    if machine.layout == "crop" and scene.focus_mm is not None:
        return _cropped(scene, scene.focus_mm, machine.size, rng)
    left, top, right, bottom = scene.probe.extent_mm
    screen = machine.layout == "screen"
    margins = np.array(SCREEN_MARGINS if screen else TIGHT_MARGINS) * rng.uniform(0.6, 1.2, 4)
    usable = np.array(machine.size) * (1 - margins[:2] - margins[2:])
    # a tight picture may lose the sides of a wide sector, but never a landmark
    slack = rng.uniform(0.75, 1.0) if machine.layout == "tight" else 1.0
    mm_per_px = max(slack * (right - left) / usable[0], (bottom - top) / usable[1])
    mm_per_px = max(mm_per_px, _needed(scene, machine.size))
    middle = margins[0] * machine.size[0] + usable[0] / 2
    spare = max(usable[1] - (bottom - top) / mm_per_px, 0)
    x = (left + right) / 2 - mm_per_px * middle
    y = top - mm_per_px * (margins[1] * machine.size[1] + rng.uniform(0, 1) * spare)
    return _held(scene, View(machine.size, float(mm_per_px), (float(x), float(y))))


def _cropped(
    scene: Scene, focus_mm: tuple[float, float, float, float], size: tuple[int, int], rng: np.random.Generator
) -> View:
    """Zoomed in on the scene's focus, with more or less around it."""
    low, high = np.array(focus_mm[:2]), np.array(focus_mm[2:])
    mm_per_px = max(float(((high - low) / size).max() * rng.uniform(1.0, 1.25)), CLOSEST_MM_PER_PX)
    reach = np.array(size) * mm_per_px
    origin = low - (reach - (high - low)) * np.clip(rng.normal(0.5, 0.2, 2), 0, 1)
    # no more than a little black above the face or below the sector, where there is a choice
    highest = scene.probe.extent_mm[1] - 0.03 * reach[1]
    lowest = max(scene.probe.depth_mm - 0.97 * reach[1], highest)
    origin[1] = np.clip(origin[1], highest, lowest)
    return _held(scene, View(size, mm_per_px, (float(origin[0]), float(origin[1]))))


def _box(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return scene.points_mm.min(axis=0), scene.points_mm.max(axis=0)


def _needed(scene: Scene, size: tuple[int, int]) -> float:
    """The least mm per pixel at which all landmarks fit, with 3 % to spare on each side."""
    low, high = _box(scene)
    return float(((high - low) / (0.94 * np.array(size))).max())


def _held(scene: Scene, view: View) -> View:
    """Shift a view so that every landmark is inside."""
    low, high = _box(scene)
    reach = np.array(view.size) * view.mm_per_px
    margin = 0.015 * reach
    origin = np.minimum(np.maximum(view.origin_mm, high - reach + margin), low - margin)
    return View(view.size, view.mm_per_px, (float(origin[0]), float(origin[1])))
