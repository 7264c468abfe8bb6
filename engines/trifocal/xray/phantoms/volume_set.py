"""A folder of phantoms as NIfTI volumes, made by several processes and resumed where it was left."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal import __version__
from trifocal.files import atomic_file
from trifocal.image import Image
from trifocal.io import write
from trifocal.xray.phantoms import torso

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trifocal.predictor import Progress

ABOUT = "phantoms.json"


@dataclass(frozen=True)
class VolumeSet:
    """Which phantoms a folder holds.

    Attributes:
        phantoms: How many.
        seed: Of the first; the next has the next seed.
        spacing_mm: Edge of the voxels.

    Raises:
        ValueError: If there is nothing to make, or a number is out of range.
    """

    phantoms: int
    seed: int = 0
    spacing_mm: float = 4.0

    def __post_init__(self) -> None:
        if self.phantoms < 1 or self.seed < 0 or not 1.0 <= self.spacing_mm <= 12.0:
            got = f"{self.phantoms} phantoms, seed {self.seed}, {self.spacing_mm} mm"
            msg = f"a set must have a phantom or more, a seed of 0 or more and 1 to 12 mm voxels, got {got}"
            raise ValueError(msg)

    def write(self, out: Path, *, workers: int, progress: Progress) -> int:
        """Make the volumes `phantom-SEED.nii.gz` that are not there yet.

        Args:
            out: Folder; made if it does not exist.
            workers: Processes.
            progress: Called after every phantom; may raise Cancelled.

        Returns:
            How many were made; those of an earlier run are kept.

        Raises:
            FileExistsError: If the folder holds phantoms of another spacing or version, or anything else.
        """
        self._claim(out)
        seeds = range(self.seed, self.seed + self.phantoms)
        missing = [seed for seed in seeds if not (out / file_name(seed)).exists()]
        kept = self.phantoms - len(missing)
        for count, _ in enumerate(self._run(out, missing, workers), kept + 1):
            progress(count / self.phantoms, f"{count} of {self.phantoms} phantoms")
        return len(missing)

    def _claim(self, out: Path) -> None:
        """Make the folder ours, or say why it cannot be; other seeds may join those that are there."""
        about = {"spacing_mm": self.spacing_mm, "version": __version__}
        if (out / ABOUT).exists():
            there = json.loads((out / ABOUT).read_text(encoding="utf-8"))
            if there == about:
                return
            msg = f"{out} holds other phantoms ({there}): choose another folder, or remove it"
            raise FileExistsError(msg)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            msg = f"{out} must be an empty or a new folder, but there are other files in it: choose another"
            raise FileExistsError(msg)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / ABOUT) as part:
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _run(self, out: Path, seeds: list[int], workers: int) -> Iterator[int]:
        """Make the volumes; yields each seed as it is done."""
        jobs = [(out, seed, self.spacing_mm) for seed in seeds]
        if workers == 1 or len(jobs) < 2:
            yield from (write_phantom(*job) for job in jobs)
            return
        # spawned: a forked process inherits the locks of the libraries' threads
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            try:
                pending = {pool.submit(write_phantom, *job) for job in jobs}
                while pending:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            finally:
                pool.shutdown(cancel_futures=True)


def file_name(seed: int) -> str:
    """Of the phantom of that seed."""
    return f"phantom-{seed:06d}.nii.gz"


def write_phantom(out: Path, seed: int, spacing_mm: float) -> int:
    """Make one and write it, HU as int16; returns its seed."""
    made = torso(seed, spacing_mm=spacing_mm)
    hu = np.round(made.array).astype(np.int16)
    write(Image(hu, made.affine, "HU", made.notes), out / file_name(seed))
    return seed
