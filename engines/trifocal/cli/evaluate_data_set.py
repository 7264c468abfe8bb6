"""`trifocal evaluate focus --data`: engines of every kind on a data set in the published format."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from trifocal.cli.curves import parse_references
from trifocal.cli.progress import Bar
from trifocal.focus.dataset_evaluation.evaluation import DataSetEvaluation, DataSetPlan, evaluate_data_set
from trifocal.focus.dataset_evaluation.output import against, save_data_set_evaluation
from trifocal.focus.dataset_evaluation.paired import ratio_table
from trifocal.focus.dataset_evaluation.saved import SavedEvaluation
from trifocal.focus.dataset_evaluation.summary import caption, summarise, tables
from trifocal.focus.deeptfus.predictor import ENGINE
from trifocal.training.runs import Run, draw_runs

WIDTH = 190


def run_data_set(
    plan: DataSetPlan, out: Path, references: tuple[str, ...] = (), earlier: Path | None = None
) -> int:
    """Evaluate, write and print; draw the curves of the runs of the published kind, which share figures."""
    dashed = parse_references(references)
    before = None if earlier is None else SavedEvaluation.read(earlier)
    evaluation = evaluate_data_set(plan, earlier=before, progress=Bar())
    save_data_set_evaluation(evaluation, out)
    runs = [
        Run.read(Path(source).parent, called)
        for source, called in zip(plan.engines, plan.called, strict=True)
        if _is_published_kind(evaluation, called) and (Path(source).parent / "curves.csv").is_file()
    ]
    if runs:
        known = {key: value for key, value in dashed.items() if any(key in run.curves for run in runs)}
        draw_runs(out / "curves.png", runs, known)
    _print(evaluation, out)
    return 0


def _is_published_kind(evaluation: DataSetEvaluation, called: str) -> bool:
    weights = evaluation.weights[called]
    return weights is not None and weights["engine"] == ENGINE


def _print(evaluation: DataSetEvaluation, out: Path) -> None:
    spreads = summarise(evaluation.rows)
    # wide enough for every column where the output is a file
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    ratios = against(evaluation)
    for content in [*tables(spreads), *([ratio_table(ratios)] if ratios else [])]:
        table = Table(title=content.title, title_justify="left", box=box.SIMPLE, padding=(0, 0, 0, 1))
        for i, heading in enumerate(content.header):
            table.add_column(heading, no_wrap=not i, max_width=None if i else 24)
        for row in content.rows:
            table.add_row(*row)
            table.add_section()
        console.print(table)
    lines = textwrap.wrap(caption(spreads), WIDTH)
    lines += [line for note in evaluation.notes for line in textwrap.wrap(note, WIDTH)]
    for called, weights in evaluation.weights.items():
        if weights:
            lines.append(f"weights of {called}: {weights['name']}, sha256 {weights['sha256'][:12]}")
    sys.stdout.write("\n".join([*lines, f"written to {out}"]) + "\n")
