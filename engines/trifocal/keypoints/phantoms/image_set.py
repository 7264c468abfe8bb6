"""A folder of synthetic images with their landmarks: the package's own table of examples."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from PIL import Image as Picture

from trifocal import __version__
from trifocal.files import atomic_file
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.tasks import TASKS, find_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trifocal.predictor import Progress

TABLE, ABOUT = "points.csv", "phantoms.json"
COLUMNS = ("file", "patient", "task", "point", "x_px", "y_px", "mm_per_px")
CHUNK = 20  # images that a process makes at a time

Row = tuple[str, str, str, str, str, str, str]


@dataclass(frozen=True)
class PhantomSet:
    """Which images a folder holds.

    Attributes:
        tasks: Ids.
        images: How many of each task.
        seed: Of the first image of each task; the next has the next seed.

    Raises:
        ValueError: If a task is unknown, or there is nothing to make.
    """

    tasks: tuple[str, ...]
    images: int
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(find_task(task).id for task in self.tasks))
        if not self.tasks or self.images < 1 or self.seed < 0:
            got = f"{len(self.tasks)} tasks, {self.images} images, seed {self.seed}"
            msg = f"a set of phantoms must have a task, an image and a seed of 0 or more, got {got}"
            raise ValueError(msg)

    def write(self, out: Path, *, workers: int, progress: Progress) -> int:
        """Make the images and the table; what an interrupted run left behind is made anew.

        Writes images/TASK/SEED.png, phantoms.json (what the set is), and at last points.csv.

        Args:
            out: Folder; made if it does not exist.
            workers: Processes.
            progress: Called after every few images; may raise Cancelled.

        Returns:
            How many images the table has.

        Raises:
            FileExistsError: If the folder holds another data set, or anything else.
        """
        self._claim(out)
        if (out / TABLE).exists():
            return self.images * len(self.tasks)
        rows: list[Row] = []
        total = self.images * len(self.tasks)
        for task in self.tasks:
            (out / "images" / task).mkdir(parents=True, exist_ok=True)
        for count, chunk in enumerate(self._run(out, workers), 1):
            rows += chunk
            done = min(count * CHUNK, total)
            progress(done / total, f"{done} of {total} images")
        order = {task: n for n, task in enumerate(TASKS)}
        rows.sort(key=lambda row: (order[row[2]], row[0]))  # stable: the points keep their order
        with atomic_file(out / TABLE) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
        return total

    def _claim(self, out: Path) -> None:
        """Make the folder ours, or say why it cannot be."""
        about = asdict(self) | {"tasks": list(self.tasks), "version": __version__}
        if (out / ABOUT).exists():
            there = json.loads((out / ABOUT).read_text(encoding="utf-8"))
            if there == about:
                return
            msg = f"{out} holds another set of phantoms ({there}): choose another folder, or remove it"
            raise FileExistsError(msg)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            msg = f"{out} must be an empty or a new folder, but there are other files in it: choose another"
            raise FileExistsError(msg)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / ABOUT) as part:
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _run(self, out: Path, workers: int) -> Iterator[list[Row]]:
        """Rows of each chunk of images, as they come."""
        seeds = range(self.seed, self.seed + self.images)
        todo = [(task, seed) for task in self.tasks for seed in seeds]
        chunks = [todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK)]
        if workers == 1:
            yield from (write_images(out, chunk) for chunk in chunks)
            return
        # spawned: a forked process inherits the locks of the libraries' threads
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            try:
                pending = {pool.submit(write_images, out, chunk) for chunk in chunks}
                while pending:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            finally:
                pool.shutdown(cancel_futures=True)


def write_images(out: Path, wanted: list[tuple[str, int]]) -> list[Row]:
    """Make images of (task id, seed); returns their rows of the table."""
    rows: list[Row] = []
    for task_id, seed in wanted:
        made = phantom(task_id, seed)
        name = f"images/{task_id}/{seed:06d}.png"
        part = (out / name).with_suffix(f".{os.getpid()}.part")  # no fsync: a set can be made again
        Picture.fromarray(made.image).save(part, format="PNG", compress_level=4)
        part.replace(out / name)
        for point, (x, y) in zip(TASKS[task_id].points, made.points, strict=True):
            numbers = (f"{x:.3f}", f"{y:.3f}", f"{made.mm_per_px:.6f}")
            rows.append((name, f"synthetic-{seed}", task_id, point, *numbers))
    return rows
