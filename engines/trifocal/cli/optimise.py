"""`trifocal optimise focus`."""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trifocal import io
from trifocal.cli.focus import Point, parse_point
from trifocal.cli.progress import Bar
from trifocal.focus.head import Head
from trifocal.focus.pose_search import Aimed, PoseLimits, aim_by_solver, scalp_map, shortfall
from trifocal.focus.pose_search.output import save_poses
from trifocal.focus.pose_search.targets import random_targets
from trifocal.focus.transducer import Bowl, find_bowl
from trifocal.predictor import Progress


@dataclass(kw_only=True)
class OptimiseFocus:
    """Find poses of the bowl that bring the focus to a target. Research use only.

    The bowl is aimed from places spread over the head; each pose is corrected by the error of its predicted
    focus, then by gradient through march and network. The solver has the last word: it measures the best
    poses, shifts the bowl by what it measured, and measures again. The geometric aim is measured too and
    stays in the list, so the first pose is never worse.

    Writes poses.csv, pose-1.json ..., scalp-map.png (with --scalp) and provenance.json.

    Examples:
        trifocal optimise focus --ct head.nii.gz --target 10,-20,40 --out poses

        trifocal optimise focus --ct head.nii.gz --random-targets 10 --seed 3 --out poses

    Attributes:
        ct: Head CT: a NIfTI, NRRD or MHA file, a DICOM folder, a zip of one, or a DICOM file.
        out: Folder for the results; made if it does not exist.
        target: Point that the focus is wanted at, in RAS mm.
        targets: CSV with the columns x, y and z: a target a row, in RAS mm.
        random_targets: Draw so many targets inside the head, within the bowl's reach.
        seed: Of the random targets.
        bowl: Name of a preset or the path of a bowl JSON file.
        starts: Places on the head that the search begins at.
        keep: Poses that the solver refines.
        simulations: Of each of them, at most.
        standoff_mm: Least gap between bowl and skin.
        most_incidence_deg: Most that the beam may be off the normal of the skin.
        lowest: Sine of the least elevation of the entry, seen from the middle of the brain.
        region: Point of the skin that the beam must go in near, in RAS mm.
        region_radius_mm: How near.
        scalp: Also map the transmission over the scalp.
        device: Where to compute.
        resample: Accept a CT with gantry tilt or uneven slices, and resample it by the true positions.
    """

    ct: Path
    out: Path
    target: Point = None
    targets: Path | None = None
    random_targets: int = 0
    seed: int = 0
    bowl: str = "default"
    starts: int = 12
    keep: int = 3
    simulations: int = 3
    standoff_mm: float = PoseLimits.standoff_mm
    most_incidence_deg: float = PoseLimits.most_incidence_deg
    lowest: float = PoseLimits.lowest
    region: Point = None
    region_radius_mm: float = PoseLimits.region_radius_mm
    scalp: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False

    def run(self) -> int:
        """Search, save, print."""
        began = time.monotonic()
        if sum((self.target is not None, self.targets is not None, self.random_targets > 0)) != 1:
            msg = "give one of --target X,Y,Z, --targets CSV and --random-targets N"
            raise ValueError(msg)
        bowl, limits = find_bowl(self.bowl), self._limits()
        given = self._given()
        head = Head.from_image(io.read(self.ct, resample=self.resample))
        points = given or random_targets(head, bowl, self.random_targets, self.seed, limits)
        results, lost, bar = [], [], Bar()
        for i, point in enumerate(points):
            tell = _part(bar, i, len(points))
            try:
                results.append((point, self._aim(head, bowl, point, limits, tell)))
            except ValueError as error:
                lost.append(str(error))
        if not results:
            raise ValueError(lost[0])
        mapped = [point for point, _ in results] if self.scalp else []
        maps = [scalp_map(head, bowl, p, limits=limits, device=self.device, progress=bar) for p in mapped]
        seconds = time.monotonic() - began
        short = [shortfall(aimed.poses[0], point, limits) for point, aimed in results]
        warnings = [*head.warnings, *lost, *(s for s in short if s is not None)]
        asked: dict[str, Any] = {"head": head, "bowl": bowl, "limits": limits}
        save_poses(results, self.out, maps=maps, warnings=warnings, seconds=seconds, **asked)
        sys.stdout.write("\n".join([*_table(results, self.simulations), f"written to {self.out}"]) + "\n")
        for warning in warnings:
            sys.stderr.write(f"warning: {warning}\n")
        return 0

    def _aim(
        self, head: Head, bowl: Bowl, point: np.ndarray, limits: PoseLimits, progress: Progress
    ) -> Aimed:
        return aim_by_solver(
            head,
            bowl,
            point,
            limits=limits,
            starts=self.starts,
            keep=self.keep,
            simulations=self.simulations,
            device=self.device,
            progress=progress,
        )

    def _limits(self) -> PoseLimits:
        region = parse_point("--region", self.region)
        return PoseLimits(
            self.standoff_mm,
            self.most_incidence_deg,
            self.lowest,
            None if region is None else (float(region[0]), float(region[1]), float(region[2])),
            self.region_radius_mm,
        )

    def _given(self) -> list[np.ndarray]:
        if self.targets is None:
            point = parse_point("--target", self.target)
            return [] if point is None else [point]
        with self.targets.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        try:
            points = [np.array([float(row[a]) for a in "xyz"]) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{self.targets} must have the columns x, y and z with numbers in RAS mm, got {error}"
            raise ValueError(msg) from error
        if not points:
            msg = f"{self.targets} must hold at least one target, got none"
            raise ValueError(msg)
        return points


def _part(bar: Bar, index: int, count: int) -> Progress:
    def tell(fraction: float, what: str) -> None:
        bar((index + fraction) / count, f"target {index + 1} of {count}: {what}")

    return tell


def _table(results: list[tuple[np.ndarray, Aimed]], simulations: int) -> list[str]:
    """A line for each target: distances by the solver; then the best pose of each; medians below."""
    steps = range(2, simulations + 1)
    heads = ["aimed", "searched", *(f"shift {n - 1}" for n in steps)]
    lines = ["distance from the target by the solver, mm; then the best pose"]
    lines.append("target".ljust(22) + "".join(h.rjust(10) for h in heads) + "   through  angle  gap, mm")
    rows = []
    for point, aimed in results:
        searched = aimed.traces[0][0].distance_mm
        row = [aimed.geometric.distance_mm, searched, *(aimed.distance_after(n) for n in steps)]
        rows.append(row)
        best = aimed.poses[0]
        text = ",".join(f"{c:.1f}" for c in point).ljust(22) + "".join(f"{d:10.2f}" for d in row)
        lines.append(f"{text}{best.transmission:10.2f}{best.incidence_deg:7.0f}{best.clearance_mm:9.1f}")
    if len(rows) > 1:
        lines.append("median".ljust(22) + "".join(f"{d:10.2f}" for d in np.median(rows, 0)))
    return lines
