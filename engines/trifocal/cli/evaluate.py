"""`trifocal evaluate focus`: every rung of the ladder against the solver."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from trifocal import io
from trifocal.files import atomic_file
from trifocal.focus.head import Head
from trifocal.focus.placement import random_pose
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, FocusInput, FocusPredictor
from trifocal.focus.transducer import find_bowl

RUNGS: tuple[Literal["free-field", "has"], ...] = ("free-field", "has")
COLUMNS = {
    "rel_l2": ("rel L2", "{:.3f}"),
    "shape_l2": ("shape L2", "{:.3f}"),
    "centroid_error_mm": ("centroid mm", "{:.2f}"),
    "lateral_mm": ("lateral mm", "{:.2f}"),
    "axial_mm": ("|axial| mm", "{:.2f}"),
    "argmax_error_mm": ("argmax mm", "{:.2f}"),
    "peak_error": ("|peak error|", "{:.3f}"),
    "iou_6db": ("IoU -6 dB", "{:.3f}"),
}


@dataclass(kw_only=True)
class EvaluateFocus:
    """Measure every rung of the focus ladder against the solver, on random poses of one or more heads.

    Prints mean / median of each error over the region beyond the near skull; writes a row a pose and rung.

    Examples:
        trifocal evaluate focus --ct head.nii.gz dicom_folder --poses 20 --out rungs.csv

    Attributes:
        ct: Head CTs: files or folders.
        poses: Poses on each head.
        bowl: Name of a preset or the path of a bowl JSON file.
        seed: Of the random poses.
        out: CSV file for the single errors.
        device: Where to compute.
        resample: Accept CTs with gantry tilt or uneven slices.
        points_per_wavelength: Of the grid, in water.
    """

    ct: list[Path]
    poses: int = 20
    bowl: str = "default"
    seed: int = 0
    out: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH

    def run(self) -> int:
        """Simulate, predict, compare, print and write."""
        if self.poses < 1:
            msg = f"--poses must be 1 or more, got {self.poses}"
            raise ValueError(msg)
        rows = [row for path in self.ct for row in self._head_rows(path)]
        with atomic_file(self.out) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        # wide enough for every column where the output is a file
        Console(width=None if sys.stdout.isatty() else 160).print(_table(rows))
        return 0

    def _head_rows(self, path: Path) -> list[dict[str, Any]]:
        bowl = find_bowl(self.bowl)
        head = Head.from_image(io.read(path, resample=self.resample))
        rng = np.random.default_rng(self.seed)
        solver = FocusPredictor("solver", device=self.device)
        rungs = [FocusPredictor(name, device=self.device) for name in RUNGS]
        rows = []
        for i in range(self.poses):
            inputs = FocusInput(
                head, bowl, random_pose(head, bowl, rng), points_per_wavelength=self.points_per_wavelength
            )
            truth = solver.predict(inputs)
            for rung in rungs:
                prediction = rung.predict(inputs)
                errors = prediction.errors_against(truth).record()
                rows.append(
                    {
                        "head": path.name,
                        "pose": i,
                        "rung": rung.engine,
                        **errors,
                        "transmission": truth.figures.transmission,
                        "seconds": prediction.seconds,
                        "solver_seconds": truth.seconds,
                    }
                )
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\033[K{path.name}: pose {i + 1} of {self.poses}")
        return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="mean / median against the solver, beyond the near skull")
    for name in ("head", "rung", *(title for title, _ in COLUMNS.values())):
        table.add_column(name)
    for head in dict.fromkeys(row["head"] for row in rows):
        for rung in RUNGS:
            chosen = [row for row in rows if row["head"] == head and row["rung"] == rung]
            cells = []
            for key, (_, form) in COLUMNS.items():
                values = np.abs([row[key] for row in chosen])
                cells.append(f"{form.format(values.mean())} / {form.format(np.median(values))}")
            table.add_row(head, rung, *cells)
    return table
