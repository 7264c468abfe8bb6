"""`trifocal evaluate keypoints`: the predictor on images with known points."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from trifocal.cli.progress import Bar
from trifocal.keypoints.evaluation import Evaluation, EvaluationPlan, Members, Part, Tta, evaluate
from trifocal.keypoints.evaluation.output import save_evaluation, worst_lines
from trifocal.keypoints.evaluation.tables import caption, tables
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.learned import BUNDLED
from trifocal.keypoints.predictor import CLASSICAL
from trifocal.keypoints.tasks import find_task

WIDTH = 190


@dataclass(kw_only=True)
class EvaluateKeypoints:
    """Measure the keypoints engine on images with known points. Research use only.

    Prints mean radial errors by task and by model with its cost, errors of what is measured, and how well the
    review ranks the errors. Writes errors.csv (a row for each image and model), measurement_errors.csv,
    summary.csv, summary.json, table.md, reliability.png, errors.png, worst-1.png to worst-6.png and
    provenance.json; nothing if it is interrupted.

    Examples:
        trifocal evaluate keypoints --data hc18 --out heads

        trifocal simulate keypoints --images 40 --seed 1000000 --out unseen
        trifocal evaluate keypoints --data unseen --tta no --members all --out nine-tasks

        trifocal evaluate keypoints --data hc18 --weights classical --out classical

    Attributes:
        data: Folders or tables of images with points (points.csv, HC18, FU_Biometry, UCL, COCO).
        out: Folder for the results; made if it does not exist.
        part: test: patients that the weights do not know, of synthetic images those whose seeds the card of
            the weights does not name; validation: those that validated the training; all: known ones too.
        task: One or more of HC, FA, fetal_femur, AOP, FUGC, PLAX, PSAX, A4C, IVC; all that the data have if
            left out.
        weights: A .safetensors file, "keypoints" for the bundled ones, or "classical" (the head only).
        tta: Whether the mirrored image is predicted too.
        members: 1: each network by itself; all: all of them together.
        device: Where to compute: auto, cpu or cuda.
    """

    data: tuple[Path, ...]
    out: Path
    part: Part = "test"
    task: tuple[str, ...] = ()
    weights: str = BUNDLED
    tta: Tta = "both"
    members: Members = "both"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Evaluate, write and print."""
        if self.out.exists() and not self.out.is_dir():
            msg = f"--out must be a folder, got the file {self.out}"
            raise ValueError(msg)
        known = self.weights in (BUNDLED, CLASSICAL)
        weights = self.weights if known else Path(self.weights)
        plan = EvaluationPlan(self.part, weights, self.tta, self.members, self.device)
        evaluation = evaluate(self._examples(), plan, progress=Bar())
        save_evaluation(evaluation, self.out, [path.resolve().name for path in self.data])
        _print(evaluation, self.out)
        return 0

    def _examples(self) -> list[Example]:
        """All that the data have of the wanted tasks."""
        wanted = [find_task(name).id for name in self.task]
        paths = [path.resolve() for path in self.data]
        if not paths:
            msg = "give images with points to evaluate on: --data FOLDER ..."
            raise ValueError(msg)
        for path in paths:
            if paths.count(path) > 1:
                msg = f"--data must name everything once, got {path.name} more than once"
                raise ValueError(msg)
        examples = [e for path in paths for e in read_examples(path)]
        chosen = [e for e in examples if not wanted or e.task_id in wanted]
        if not chosen:
            there = ", ".join(dict.fromkeys(e.task_id for e in examples))
            msg = f"the data must have images of {', '.join(wanted) or 'a task'}, got {there or 'none'}"
            raise ValueError(msg)
        return chosen


def _print(evaluation: Evaluation, out: Path) -> None:
    # wide enough for every column where the output is a file
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    for content in tables(evaluation):
        table = Table(title=content.title, title_justify="left", box=box.SIMPLE, padding=(0, 0, 0, 1))
        for heading in content.header:
            table.add_column(heading)
        for row in content.rows:
            table.add_row(*row)
        console.print(table)
    lines = [*caption(evaluation), *worst_lines(evaluation)]
    sys.stdout.write("\n".join([*filter(None, lines), f"written to {out}"]) + "\n")
