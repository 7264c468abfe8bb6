"""What is left on disk after an evaluation on a data set: rows, statistics, tables, provenance."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder
from trifocal.focus.dataset_evaluation.paired import Ratio, ratio_rows, ratio_table, ratios
from trifocal.focus.dataset_evaluation.pictures import draw_errors
from trifocal.focus.dataset_evaluation.summary import Spreads, caption, summarise, summary_rows, tables
from trifocal.focus.evaluation_output import write_csv
from trifocal.predictor import pick_device
from trifocal.provenance import jsonable, record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.focus.dataset_evaluation.evaluation import DataSetEvaluation, Row

ROWS, PROVENANCE = "errors.csv", "provenance.json"


def save_data_set_evaluation(evaluation: DataSetEvaluation, out: Path | str) -> None:
    """Write an evaluation to a folder: all of it, or nothing.

    The files are errors.csv (a row for each sample and engine), errors.png, summary.csv, summary.json,
    table.md, provenance.json, and ratios.csv where the plan compares with one engine.

    Args:
        evaluation: What to write.
        out: The folder; made if it does not exist, other files in it are left alone.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    spreads = summarise(evaluation.rows)
    with output_folder(out) as folder:
        write_csv(folder / ROWS, [csv_row(row) for row in evaluation.rows])
        write_csv(folder / "summary.csv", summary_rows(spreads))
        text = json.dumps(jsonable(_summary(evaluation, spreads)), indent=2)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        (folder / "table.md").write_text(markdown(evaluation, spreads), encoding="utf-8")
        if found := against(evaluation):
            write_csv(folder / "ratios.csv", ratio_rows(found))
        draw_errors(folder / "errors.png", evaluation.rows)
        plan = evaluation.plan
        provenance = record(
            "focus/data-set-evaluation",
            inputs={},
            parameters={
                **asdict(plan),
                "data": [path.resolve() for path in plan.data],
                "cases": [path.resolve() for path in plan.cases],
                "names": plan.called,
            },
            device=pick_device(plan.device),
            weights=evaluation.weights,
            warnings=evaluation.notes,
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / PROVENANCE, provenance)


def against(evaluation: DataSetEvaluation) -> list[Ratio]:
    """The ratios that the plan asks for; none if it asks for none."""
    one = evaluation.plan.against
    return [] if one is None else ratios(evaluation.rows, one)


def csv_row(row: Row) -> dict[str, Any]:
    """A row of errors.csv; a figure that is not known is NaN."""
    about = {"sample": row.sample, "head": row.head, "engine": row.engine}
    return {**about, **row.errors(), "peak_pa": row.peak_pa[0], "true_peak_pa": row.peak_pa[1]}


def markdown(evaluation: DataSetEvaluation, spreads: Spreads) -> str:
    """The tables, and what must be known about them."""
    lines = [caption(spreads), ""]
    found = against(evaluation)
    for table in [*tables(spreads), *([ratio_table(found)] if found else [])]:
        lines += [f"**{table.title}**", "", _line(table.header), _line(["---"] * len(table.header))]
        lines += [*map(_line, table.rows), ""]
    return "\n".join([*lines, *(f"- {note}" for note in evaluation.notes), ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|').replace(chr(10), '<br>') for c in cells)} |"


def _summary(evaluation: DataSetEvaluation, spreads: Spreads) -> dict[str, Any]:
    return {
        "notice": RESEARCH_USE_ONLY,
        "version": __version__,
        "data": [path.name for path in evaluation.plan.data],
        "split": evaluation.plan.split,
        "what": caption(spreads),
        "notes": evaluation.notes,
        "weights": evaluation.weights,
        "statistics": spreads,
    }
