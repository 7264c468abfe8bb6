"""`trifocal simulate keypoints`: synthetic ultrasound images with landmarks."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from trifocal.cli.progress import Bar
from trifocal.keypoints.phantoms.image_set import TABLE, PhantomSet
from trifocal.keypoints.tasks import TASKS


@dataclass(kw_only=True)
class SimulateKeypoints:
    """Make a data set of synthetic B-mode images with known landmarks. Research use only.

    Writes images/TASK/SEED.png and points.csv (file, patient, task, point, x_px, y_px, mm_per_px), which
    `train keypoints` and `evaluate keypoints` read. The same seed gives the same images.

    Examples:
        trifocal simulate keypoints --images 600 --out phantoms

        trifocal simulate keypoints --task HC --images 100 --seed 5000 --out heads

    Attributes:
        task: One of HC, FA, fetal_femur, AOP, FUGC, PLAX, PSAX, A4C, IVC, or "all".
        images: How many of each task.
        seed: Of the first image of each task; the next has the next seed.
        out: Folder; must be empty or new, or hold the same set from an interrupted run.
        workers: Processes; as many as there are processors if left out.
    """

    INTERRUPTED: ClassVar[str] = "there is no points.csv yet; start the same command again to make the set"

    out: Path
    task: str = "all"
    images: int = 100
    seed: int = 0
    workers: int | None = None

    def run(self) -> int:
        """Make the images."""
        tasks = tuple(TASKS) if self.task == "all" else (self.task,)
        workers = max(self.workers or os.cpu_count() or 1, 1)
        made = PhantomSet(tasks, self.images, self.seed).write(self.out, workers=workers, progress=Bar())
        sys.stdout.write(f"{made} images in {self.out / TABLE}\n")
        return 0
