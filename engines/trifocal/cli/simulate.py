"""`trifocal simulate focus`: one placement, or a data set of many."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from trifocal.cli.focus import Placement, Point, report
from trifocal.cli.progress import Bar
from trifocal.focus.cases import Bowls, HeadSource
from trifocal.focus.cluster import Cluster
from trifocal.focus.data import MANIFEST, HeadJob, simulate
from trifocal.focus.output import save
from trifocal.focus.phantoms import random_spec
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, FocusPredictor

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")


@dataclass(kw_only=True)
class SimulateFocus:
    """Simulate the field of an ultrasound bowl inside a skull by the solver. Research use only.

    With --target or --pose: one placement; writes the same files as `predict focus`. With --poses: a data set
    to train with, of random bowls and poses on procedural heads (--heads) and on CTs; writes a file for each
    case, and manifest.json. What is there already is not simulated again: an interrupted run goes on when it
    is started again.

    Examples:
        trifocal simulate focus --ct head.nii.gz --target 10,-20,40 --out result --save-medium

        trifocal simulate focus --heads 300 --poses 4 --out data

        trifocal simulate focus --ct folder_of_cts --poses 10 --out data

        trifocal simulate focus --heads 3000 --poses 4 --out data --jobs slurm --partition cpu --cpus 8

    Attributes:
        ct: Head CTs: files, DICOM folders, or folders of these; one for a single placement.
        out: Folder for the results; made if it does not exist.
        bowl: Of a single placement: name of a preset or the path of a bowl JSON file.
        pose: Of a single placement: pose JSON file.
        target: Of a single placement: point that the focus is wanted at, in RAS mm.
        entry: Of a single placement: point of the skin that the beam goes in at, in RAS mm.
        points_per_wavelength: Of the grid of a single placement, in water.
        save_medium: Of a single placement: also write sound_speed.nii.gz, density.nii.gz and
            attenuation.nii.gz on the same grid.
        poses: Of a data set: how many of each head, each with a bowl of its own.
        heads: Of a data set: how many procedural heads.
        seed: Of a data set: of the first head; the next has the next seed.
        radius_of_curvature_mm: Of a data set: least and most of its bowls.
        aperture_mm: The same.
        frequency_khz: The same.
        processes: Of a data set: heads at a time; as many as there are processors if left out (one on CUDA).
        jobs: Of a data set: a job for each head, as local:N (N at a time on this machine), slurm or slurm:N.
        partition: Of slurm's jobs; the default one if left out.
        minutes: Time limit of a job.
        cpus: Of each of slurm's jobs.
        gpus: The same.
        device: Where to compute.
        resample: Accept CTs with gantry tilt or uneven slices, and resample them by the true positions.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    ct: tuple[Path, ...] = ()
    out: Path
    bowl: str = "default"
    pose: Path | None = None
    target: Point = None
    entry: Point = None
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH
    save_medium: bool = False
    poses: int = 0
    heads: int = 0
    seed: int = 0
    radius_of_curvature_mm: tuple[float, float] = Bowls.radius_of_curvature_mm
    aperture_mm: tuple[float, float] = Bowls.aperture_mm
    frequency_khz: tuple[float, float] = (Bowls.frequency_hz[0] / 1e3, Bowls.frequency_hz[1] / 1e3)
    processes: int | None = None
    jobs: str | None = None
    partition: str | None = None
    minutes: int = 60
    cpus: int = 4
    gpus: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False

    def run(self) -> int:
        """Simulate and save."""
        single = self.pose is not None or self.target is not None
        if single == (self.poses > 0):
            msg = "give --target X,Y,Z or --pose POSE.json for one placement, or --poses N for a data set"
            raise ValueError(msg)
        return self._one() if single else self._many()

    def _one(self) -> int:
        if len(self.ct) != 1 or self.heads:
            msg = f"one placement needs one CT, got {len(self.ct)} CTs and {self.heads} procedural heads"
            raise ValueError(msg)
        shared = {n: getattr(self, n) for n in Placement.__dataclass_fields__ if n != "ct"}
        inputs, warnings = Placement(ct=self.ct[0], **shared).inputs()
        prediction = FocusPredictor("solver", device=self.device).predict(inputs, progress=Bar())
        save(prediction, self.out, medium=self.save_medium, warnings=warnings)
        report(prediction, self.out, None, warnings)
        return 0

    def _many(self) -> int:
        paths = [found for path in self.ct for found in volumes(path)]
        cluster = self._cluster()
        sources = [HeadSource(random_spec(self.seed + i)) for i in range(self.heads)]
        sources += [HeadSource(path, self.resample) for path in paths]
        if not sources:
            msg = "a data set needs heads: give --heads N for procedural ones, or --ct"
            raise ValueError(msg)
        frequencies = self.frequency_khz[0] * 1e3, self.frequency_khz[1] * 1e3
        bowls = Bowls(self.radius_of_curvature_mm, self.aperture_mm, frequencies)
        jobs = [HeadJob(source, self.seed + i, self.poses, bowls) for i, source in enumerate(sources)]
        processes = self.processes or (1 if self.device == "cuda" else os.cpu_count() or 1)
        manifest = simulate(
            jobs, self.out, processes=processes, device=self.device, progress=Bar(), cluster=cluster
        )
        for failure in manifest["failures"]:
            sys.stderr.write(f"warning: {failure['head']} was left out: {failure['error']}\n")
        cases = manifest["cases"]
        held = sum(case["split"] == "val" for case in cases)
        heads = len({case["head"] for case in cases})
        sys.stdout.write(
            f"{len(cases)} cases of {heads} heads in {self.out / MANIFEST}, {held} of them held back\n"
        )
        return 0 if cases else 2

    def _cluster(self) -> Cluster | None:
        if self.jobs is None:
            return None
        if self.processes is not None:
            msg = "give --jobs or --processes, not both: a job is a process"
            raise ValueError(msg)
        return Cluster.parse(
            self.jobs, partition=self.partition, minutes=self.minutes, cpus=self.cpus, gpus=self.gpus
        )


def volumes(path: Path) -> list[Path]:
    """The CTs at a path: itself, or what a folder of CTs holds.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """
    if not path.exists():
        msg = f"there is no file or folder {path}"
        raise FileNotFoundError(msg)
    if not path.is_dir():
        return [path]
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    volumes = [p for p in inside if p.is_dir() or p.name.lower().endswith(VOLUMES)]
    return volumes if volumes and len(volumes) == len(inside) else [path]
