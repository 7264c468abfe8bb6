"""What is left on disk after an evaluation: scores, statistics, tables, pictures, provenance."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder
from trifocal.predictor import pick_device, silent
from trifocal.provenance import jsonable, write_record
from trifocal.provenance import record as provenance_record
from trifocal.xray.evaluation.pictures import draw_reliability
from trifocal.xray.evaluation.run import evaluate
from trifocal.xray.evaluation.summary import record
from trifocal.xray.evaluation.tables import markdown, named
from trifocal.xray.panel import draw_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.image import Image
    from trifocal.predictor import Progress
    from trifocal.xray.evaluation import Case, Evaluation, EvaluationPlan
    from trifocal.xray.evaluation.sources import Source
    from trifocal.xray.predictor import XrayPrediction

MOST_PANELS = 40


def evaluate_into(
    out: Path | str, sources: Sequence[Source], plan: EvaluationPlan, *, progress: Progress = silent
) -> Evaluation:
    """Evaluate and write a folder: all of it, or nothing.

    The files are scores.csv (a row for each volume and engine), summary.json, table.md, a panel of each of
    the first 40 volumes, reliability.png where errors are predicted, and provenance.json.

    Args:
        out: The folder; made if it does not exist, other files in it are left alone.
        sources: Of the CTs.
        plan: How.
        progress: May raise Cancelled.

    Raises:
        ValueError: If there is no CT, one cannot be used, or the weights cannot.
        OSError: If the folder cannot be written; nothing is left behind.
    """
    with output_folder(out) as folder:
        drawn: list[str] = []

        def seen(case: Case, prediction: XrayPrediction, truth: Image) -> None:
            if len(drawn) < MOST_PANELS:
                name = f"panel-{len(drawn) + 1:02d}-{_file_name(case.source.name)}.png"
                draw_panel(prediction, folder / name, truth=truth, caption=_panel_caption(case))
                drawn.append(name)

        evaluation = evaluate(sources, plan, seen=seen, progress=progress)
        _write(evaluation, folder)
    return evaluation


def _write(evaluation: Evaluation, folder: Path) -> None:
    plan = evaluation.plan
    rows = [score_row(case, name) for case in evaluation.cases for name in evaluation.names]
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    content = {"notice": RESEARCH_USE_ONLY, "version": __version__, **record(evaluation)}
    text = json.dumps(jsonable(content), indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    (folder / "table.md").write_text(markdown(evaluation), encoding="utf-8")
    draw_reliability(evaluation, folder / "reliability.png")
    checkpoints = [Path(c).name for c in plan.checkpoints]
    provenance = provenance_record(
        "xray/evaluation",
        inputs={},
        parameters={
            **asdict(plan),
            "checkpoints": checkpoints,
            "volumes": [case.source.record() for case in evaluation.cases],
        },
        device=pick_device(plan.device),
        seed=plan.seed,
        weights={name: about["sha256"] for name, about in evaluation.about.items()},
        outputs=sorted(folder.iterdir()),
    )
    write_record(folder / "provenance.json", provenance)


def score_row(case: Case, engine: str) -> dict[str, Any]:
    """One answer to one volume as a row of scores.csv; every row says window, range and spacing."""
    row = case.row(engine)
    figures = asdict(row.score)
    low, high = figures.pop("window_hu")
    x, y, z = figures.pop("spacing_mm")
    views = case.rows[0].residuals
    return {
        "volume": case.source.name,
        "patient": case.source.patient,
        "region": case.region,
        "engine": engine,
        "window_low_hu": low,
        "window_high_hu": high,
        "spacing_x_mm": x,
        "spacing_y_mm": y,
        "spacing_z_mm": z,
        **figures,
        **{f"residual_{view.lower()}": row.residuals.get(view, "") for view in views},
        "seconds": row.seconds,
    }


def _panel_caption(case: Case) -> str:
    row = case.row(case.shown)
    return f"{case.source.name} {case.region} · {named(row.engine)}\n{row.score}"


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "volume"
