"""`trifocal evaluate focus`: every rung against the solver, or every kind of engine on a data set."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table

from trifocal.cli.evaluate_data_set import run_data_set
from trifocal.cli.progress import Bar
from trifocal.focus.cases import HeadSource
from trifocal.focus.dataset_evaluation.contenders import RUNGS as DATA_SET_RUNGS
from trifocal.focus.dataset_evaluation.evaluation import DataSetPlan
from trifocal.focus.evaluation import RUNGS, Evaluation, EvaluationPlan, evaluate
from trifocal.focus.evaluation_output import save_evaluation, weights, worst_lines
from trifocal.focus.evaluation_summary import caption, summarise, tables
from trifocal.focus.learned import BUNDLED
from trifocal.focus.phantoms import random_spec
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, Engine
from trifocal.focus.transducer import find_bowl

WIDTH = 160
MOST_HEADS = 12  # more than that are printed together only
UNSEEN = 1_000_000  # `simulate focus` counts its heads from 0


@dataclass(kw_only=True)
class EvaluateFocus:
    """Measure engines against the solver: on random poses of heads, or on a data set. Research use only.

    On heads (--ct, --heads) every rung of the ladder is measured. Prints mean / median / 95th percentile of
    each error over the region beyond the near skull, for each head and over all. Writes errors.csv (a row for
    each head, pose and rung), summary.csv, summary.json, table.md, worst-1.png to worst-5.png and
    provenance.json; nothing if it is interrupted.

    On a data set in the TFUScapes format (--data) rungs and networks of the published kind are measured on
    the same samples: in the published metrics on the cube and in ours beyond the near skull. Writes
    errors.csv (a row for each sample and engine), errors.png, summary.csv, summary.json, table.md,
    provenance.json, and curves.png of the runs of `train deeptfus` that weights lie in.

    Examples:
        trifocal evaluate focus --ct head.nii.gz dicom_folder --poses 20 --out rungs

        trifocal evaluate focus --heads 40 --poses 5 --weights run/focus.safetensors --out rungs

        trifocal evaluate focus --data world --cases cases --engines free-field has network grid-64
        run/base/deeptfus.safetensors --out table

    Attributes:
        ct: Head CTs: files or DICOM folders.
        heads: Procedural heads, beside the CTs or instead of them.
        head_seed: Of the first procedural head; the next has the next seed. The default is far from the heads
            that `simulate focus` makes to train with.
        poses: Poses on each head.
        bowl: Name of a preset or the path of a bowl JSON file.
        seed: Of the random poses.
        rungs: Which rungs of the ladder.
        weights: Of the rungs regression and network: a .safetensors file; the bundled ones if left out.
        out: Folder for the results; made if it does not exist.
        device: Where to compute.
        resample: Accept CTs with gantry tilt or uneven slices.
        points_per_wavelength: Of the grid, in water.
        data: Folder of a data set in the TFUScapes format: evaluate on it, not on random poses. With a second
            one of the same samples in the other frame, each network is judged on the one of its frame.
        engines: With --data: rungs by name, grid-N (the truth on a network's grid of N voxels: its floor), or
            .safetensors files of `train focus` and `train deeptfus`.
        names: With --data: what to call the engines; their rungs and run folders if left out.
        split: With --data: which samples.
        cases: With --data: folders of `simulate focus` with the cases that the samples were exported from;
            rungs need them.
        spacing_mm: With --data: edge of a voxel, where the data do not tell and it is not the published one.
        samples: With --data: so many at most, evenly from the list.
        against: With --data: also give the others' errors as multiples of this engine's, by its name.
        earlier: With --data: folder of an earlier evaluation on the same data: engines that are in it by the
            same name, source and weights are not measured again.
        reference: With --data: dashed lines in the curves: figure=value.
    """

    ct: tuple[Path, ...] = ()
    heads: int = 0
    head_seed: int = UNSEEN
    poses: int = 20
    bowl: str = "default"
    seed: int = 0
    rungs: tuple[Engine, ...] = RUNGS
    weights: Path | None = None
    out: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"
    resample: bool = False
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH
    data: tuple[Path, ...] = ()
    engines: tuple[str, ...] = DATA_SET_RUNGS
    names: tuple[str, ...] = ()
    split: Literal["train", "val", "test", "all"] = "test"
    cases: tuple[Path, ...] = ()
    spacing_mm: float | None = None
    samples: int | None = None
    against: str | None = None
    earlier: Path | None = None
    reference: tuple[str, ...] = ()

    def run(self) -> int:
        """Evaluate, write and print."""
        if self.out.exists() and not self.out.is_dir():
            msg = f"--out must be a folder, got the file {self.out}"
            raise ValueError(msg)
        if self.data:
            return run_data_set(self._data_set_plan(), self.out, self.reference, self.earlier)
        plan = EvaluationPlan(
            find_bowl(self.bowl),
            self.poses,
            self.seed,
            self.points_per_wavelength,
            self.rungs,
            self.weights or BUNDLED,
            self.device,
        )
        evaluation = evaluate(self._sources(), plan, progress=Bar())
        save_evaluation(evaluation, self.out)
        _print(evaluation, self.out)
        return 0

    def _data_set_plan(self) -> DataSetPlan:
        if self.ct or self.heads:
            msg = "evaluate on heads (--ct, --heads) or on a data set (--data), not on both at once"
            raise ValueError(msg)
        return DataSetPlan(
            self.data,
            self.engines,
            self.names,
            None if self.split == "all" else self.split,
            self.cases,
            self.spacing_mm,
            self.samples,
            self.device,
            self.against,
        )

    def _sources(self) -> list[HeadSource]:
        for option, value in (("--heads", self.heads), ("--head-seed", self.head_seed)):
            if value < 0:
                msg = f"{option} must be 0 or more, got {value}"
                raise ValueError(msg)
        if not self.ct and not self.heads:
            msg = "give heads to evaluate on: --ct FILE ..., --heads N for procedural ones; or --data"
            raise ValueError(msg)
        paths = [path.resolve() for path in self.ct]
        for path in paths:
            if not path.exists():
                msg = f"there is no file or folder {path}"
                raise FileNotFoundError(msg)
            if paths.count(path) > 1:
                msg = f"--ct must name every head once, got {path.name} more than once"
                raise ValueError(msg)
        phantoms = [HeadSource(random_spec(self.head_seed + i)) for i in range(self.heads)]
        return [*(HeadSource(path, self.resample) for path in paths), *phantoms]


def _print(evaluation: Evaluation, out: Path) -> None:
    blocks = summarise(evaluation.samples)
    few = len(evaluation.heads) <= MOST_HEADS
    # wide enough for every column where the output is a file
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for content in tables(blocks):
        table = Table(title=content.title, title_justify="left", box=box.SIMPLE, padding=(0, 0, 0, 1))
        for i, heading in enumerate(content.header):
            table.add_column(heading, no_wrap=not i, max_width=None if i else 20, overflow="ellipsis")
        for rows in content.blocks if few else content.blocks[-1:]:
            for name, *cells in rows:
                table.add_row(name if not any(cells) else f"  {name}", *cells)
            table.add_section()
        console.print(table)
    used = weights(evaluation)
    lines = [
        *textwrap.wrap(caption(blocks), WIDTH),
        *([] if few else ["Each head by itself: table.md."]),
        *worst_lines(evaluation),
    ]
    if used:
        lines.append(f"weights {used['name']}, sha256 {used['sha256'][:12]}")
    sys.stdout.write("\n".join([*filter(None, lines), f"written to {out}"]) + "\n")
