"""What is left on disk after an evaluation: single errors, statistics, tables, pictures, provenance."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder, sha256_file
from trifocal.keypoints.evaluation.pictures import draw_reliability, draw_sizes, draw_worst, worst_cases
from trifocal.keypoints.evaluation.summary import milliseconds, overall, reviews, summarise
from trifocal.keypoints.evaluation.tables import caption, tables
from trifocal.predictor import pick_device
from trifocal.provenance import jsonable, record, write_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from trifocal.keypoints.evaluation import Case, Evaluation


def save_evaluation(evaluation: Evaluation, out: Path | str, data: Sequence[str] = ()) -> None:
    """Write an evaluation to a folder: all of it, or nothing.

    The files are errors.csv (a row for each image and variant), measurement_errors.csv (a row for each
    measurement of these), summary.csv, summary.json, table.md, reliability.png, errors.png, worst-1.png to
    worst-6.png (fewer where there are fewer images) and provenance.json.

    Args:
        evaluation: What to write.
        out: The folder; made if it does not exist, other files in it are left alone.
        data: Names of what the examples were read from, for the provenance.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    with output_folder(out) as folder:
        write_csv(folder / "errors.csv", (error_row(c) for c in evaluation.cases))
        write_csv(
            folder / "measurement_errors.csv", (r for c in evaluation.cases for r in measurement_rows(c))
        )
        rows = [
            {"task": r.task, "variant": r.variant.name, "quantity": r.quantity, "unit": r.unit}
            | asdict(r.statistic)
            for r in summarise(evaluation)
        ]
        write_csv(folder / "summary.csv", rows)
        text = json.dumps(jsonable(summary(evaluation, rows)), indent=2)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        (folder / "table.md").write_text(markdown(evaluation), encoding="utf-8")
        draw_reliability(evaluation, folder / "reliability.png")
        draw_sizes(evaluation, folder / "errors.png")
        draw_worst(evaluation, folder)
        provenance = record(
            "keypoints/evaluation",
            inputs={},
            parameters=_parameters(evaluation, data),
            device=pick_device(evaluation.plan.device),
            weights=_weights(evaluation),
            warnings=evaluation.notes,
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def error_row(case: Case) -> dict[str, Any]:
    """A case as a row of errors.csv; errors as in `CaseErrors`."""
    e = case.errors
    return {
        **_who(case),
        "part": case.part,
        "networks": len(case.variant.networks),
        "mirrored_too": case.variant.tta,
        "passes": case.variant.passes,
        "mre_px": e.mre_px,
        "mre_px_of_256": e.mre_network_px,
        "mre_mm": e.mre_mm,
        "mre_canonical_px": e.mre_canonical_px,
        "not_found": e.not_found,
        "size_px": e.size_px,
        "review": case.review,
        "heat_map_score": case.score,
        "hints": "; ".join(case.hints),
        "ms": 1e3 * case.seconds,
    }


def measurement_rows(case: Case) -> Iterable[dict[str, Any]]:
    """The measurements of a case as rows of measurement_errors.csv."""
    for m in case.errors.measurements:
        yield {**_who(case), **asdict(m), "error": m.error}


def _who(case: Case) -> dict[str, Any]:
    e = case.example
    return {
        "file": e.path.name,
        "source": e.source,
        "patient": e.patient,
        "task": e.task_id,
        "variant": case.variant.name,
    }


def write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of the same keys; an empty cell for NaN."""
    content = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, content[0] if content else ())
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in content)  # NaN != NaN


def markdown(evaluation: Evaluation) -> str:
    """The tables, what they say, and the list of the worst cases."""
    lines = [*caption(evaluation), ""]
    for table in tables(evaluation):
        body = [table.header, ("---",) * len(table.header), *table.rows]
        lines += [f"**{table.title}**", "", *(f"| {' | '.join(cells)} |" for cells in body), ""]
    return "\n".join([*lines, *worst_lines(evaluation), ""])


def worst_lines(evaluation: Evaluation) -> list[str]:
    """A line for each of the worst cases, under a heading."""
    lines = [f"Worst by the radial error in px of 256, {evaluation.main.name}:", ""]
    for rank, case in enumerate(worst_cases(evaluation), 1):
        e, x = case.errors, case.example
        lines.append(
            f"{rank}. {x.task_id}, {x.path.name}: {e.mre_network_px:.1f} px of 256, {e.mre_px:.1f} px;"
            f" review {case.review:.2f}; worst-{rank}.png"
        )
    return lines


def summary(evaluation: Evaluation, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Contents of summary.json."""
    means = overall(evaluation)
    return {
        "notice": RESEARCH_USE_ONLY,
        "version": __version__,
        "weights": _weights(evaluation),
        "what": caption(evaluation),
        "main": evaluation.main.name,
        "models": [
            {
                "variant": v.name,
                "passes": v.passes,
                "ms": milliseconds(evaluation, v),
                "mre": {unit: asdict(one) for unit, one in means[v].items()},
            }
            for v in evaluation.variants
        ],
        "statistics": rows,
        "review": [{**asdict(r), "variant": r.variant.name} for r in reviews(evaluation)],
        "worst": [error_row(c) for c in worst_cases(evaluation)],
    }


def _weights(evaluation: Evaluation) -> dict[str, str] | None:
    if not evaluation.weights_sha256:
        return None
    return {"name": evaluation.plan.name, "sha256": evaluation.weights_sha256}


def _parameters(evaluation: Evaluation, data: Sequence[str]) -> dict[str, Any]:
    """What was asked for, and a hash over images and true points."""
    examples = [c.example for c in evaluation.of(evaluation.main)]
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.task_id.encode() + example.points.tobytes())
        digest.update(sha256_file(example.path).encode())
    return {
        "plan": {**asdict(evaluation.plan), "checkpoint": evaluation.plan.name},
        "data": list(data),
        "images": len(examples),
        "sha256_of_images_and_points": digest.hexdigest(),
    }
