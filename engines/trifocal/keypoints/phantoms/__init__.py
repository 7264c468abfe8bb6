"""Synthetic B-mode images with landmarks for all nine tasks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.imaging import bmode
from trifocal.keypoints.phantoms.machine import random_machine
from trifocal.keypoints.phantoms.marks import burn_in
from trifocal.keypoints.phantoms.view import random_view
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.phantoms.scene import Scene
    from trifocal.keypoints.tasks import Task

CARDIAC = ("PLAX", "PSAX", "A4C", "IVC")


@dataclass(frozen=True, eq=False)
class Phantom:
    """One synthetic image.

    Attributes:
        image: (height, width) uint8.
        points: (K, 2) x, y in pixels, canonical order of the task.
        mm_per_px: Size of a (square) pixel.
        ellipse: In pixels, for HC and FA.
        task_id: Of the task.
        seed: That it was made from.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float64]
    mm_per_px: float
    ellipse: Ellipse | None
    task_id: str
    seed: int


def phantom(task_id: str, seed: int) -> Phantom:
    """Make the synthetic image of that seed; the same seed gives the same image.

    Raises:
        ValueError: If the task is unknown or the seed negative.
    """
    task = find_task(task_id)
    if seed < 0:
        msg = f"the seed must be 0 or more, got {seed}"
        raise ValueError(msg)
    rng = np.random.default_rng([zlib.crc32(task.id.encode()), seed])
    scene = scene_of(task, rng)
    machine = random_machine(task.id, rng)
    view = random_view(scene, machine, rng)
    image, inside = bmode(scene, view, machine, rng)
    points = task.canonical(view.to_pixels(scene.points_mm))
    image = burn_in(image, inside, view, machine, task, points, rng)
    ellipse = None if scene.ellipse_mm is None else view.ellipse_to_pixels(scene.ellipse_mm)
    return Phantom(image, points, view.mm_per_px, ellipse, task.id, seed)


def mirrored(example: Phantom) -> Phantom:
    """The same image seen from the other side."""
    width = example.image.shape[1]
    points = find_task(example.task_id).mirror(example.points, width)
    ellipse = example.ellipse
    if ellipse is not None:
        centre = (width - 1 - ellipse.center[0], ellipse.center[1])
        ellipse = replace(ellipse, center=centre, angle=-ellipse.angle % 180.0)
    image = np.ascontiguousarray(example.image[:, ::-1])
    return replace(example, image=image, points=points, ellipse=ellipse)


def scene_of(task: Task, rng: np.random.Generator) -> Scene:
    """The anatomy of a task."""
    if task.id in CARDIAC:
        from trifocal.keypoints.phantoms.cardiac import cardiac_scene

        return cardiac_scene(task.id, rng)
    from trifocal.keypoints.phantoms.abdomen import abdomen_scene
    from trifocal.keypoints.phantoms.cervix import cervix_scene
    from trifocal.keypoints.phantoms.femur import femur_scene
    from trifocal.keypoints.phantoms.head import head_scene
    from trifocal.keypoints.phantoms.labour import labour_scene

    makers = {
        "HC": head_scene,
        "FA": abdomen_scene,
        "fetal_femur": femur_scene,
        "FUGC": cervix_scene,
        "AOP": labour_scene,
    }
    return makers[task.id](rng)
