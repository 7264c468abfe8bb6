"""Short synthetic cines: one beat of a heart, or one breath of an inferior vena cava, with its landmarks."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.keypoints.phantoms.cardiac import cardiac_scene
from trifocal.keypoints.phantoms.imaging import bmode
from trifocal.keypoints.phantoms.machine import random_machine
from trifocal.keypoints.phantoms.marks import burn_in
from trifocal.keypoints.phantoms.view import random_view
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME_SPECKLE = 0.85  # part of a frame's noise (amplitude) that it shares with all the others


def phantom_cine(
    task_id: str, seed: int, frames: int = 30
) -> tuple[NDArray[np.uint8], NDArray[np.float64], float]:
    """Make one cycle: the anatomy, probe, machine and window of `phantom(task_id, seed)`, moving.

    Args:
        task_id: "PLAX", "PSAX", "A4C" or "IVC".
        seed: The same seed gives the same cine.
        frames: How many, evenly over one beat from end-diastole (IVC: over one breath from the end of
            expiration); the cine repeats without a jump.

    Returns:
        The frames (T, height, width) uint8; the landmarks (T, K, 2) in pixels, each pair in the canonical
        order of its frame; mm per pixel.

    Raises:
        ValueError: If the task has no heart or vessel in it, the seed is negative or there are no frames.
    """
    task = find_task(task_id)
    if seed < 0 or frames < 1:
        msg = f"seed must be 0 or more and frames 1 or more, got {seed} and {frames}"
        raise ValueError(msg)
    key = [zlib.crc32(task.id.encode()), seed]  # as in phantoms.phantom
    made = []
    for phase in np.arange(frames) / frames:
        rng = np.random.default_rng(key)
        made.append(cardiac_scene(task.id, rng, float(phase)))
    machine = random_machine(task.id, rng)
    everywhere = replace(made[0], points_mm=np.concatenate([scene.points_mm for scene in made]))
    view = random_view(everywhere, machine, rng)
    points = task.canonical(np.stack([view.to_pixels(scene.points_mm) for scene in made]))
    noise, marks = (int(rng.integers(2**63)) for _ in range(2))
    pictures = []
    for number, scene in enumerate(made):
        image, inside = bmode(scene, view, machine, _Speckle(noise, number))
        pictures.append(burn_in(image, inside, view, machine, task, points[0], np.random.default_rng(marks)))
    return np.stack(pictures), points, view.mm_per_px


class _Speckle(np.random.Generator):
    """A generator that draws the same in every frame, apart from fields of noise: mostly the same."""

    def __init__(self, seed: int, frame: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.fresh = np.random.default_rng([seed, frame])

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """As numpy's; fields of two or more dimensions decorrelate mildly from frame to frame."""
        same = super().standard_normal(size, dtype, out)
        if not isinstance(size, tuple) or len(size) < 2:
            return same
        other = self.fresh.standard_normal(size, dtype)
        weight = same.dtype.type
        return weight(SAME_SPECKLE) * same + weight(np.sqrt(1 - SAME_SPECKLE**2)) * other
