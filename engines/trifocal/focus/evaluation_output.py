"""What is left on disk after an evaluation: single errors, statistics, tables, pictures, provenance."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import output_folder
from trifocal.focus.evaluation_pictures import draw_worst
from trifocal.focus.evaluation_summary import Block, caption, rows, summarise, tables
from trifocal.predictor import pick_device
from trifocal.provenance import jsonable, record, write_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.focus.evaluation import Evaluation, Sample


def save_evaluation(evaluation: Evaluation, out: Path | str) -> None:
    """Write an evaluation to a folder: all of it, or nothing.

    The files are errors.csv (a row for each head, pose and rung), summary.csv, summary.json, table.md,
    worst-1.png to worst-5.png (fewer where there are fewer poses) and provenance.json.

    Args:
        evaluation: What to write.
        out: The folder; made if it does not exist, other files in it are left alone.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    blocks = summarise(evaluation.samples)
    with output_folder(out) as folder:
        write_csv(folder / "errors.csv", [error_row(sample) for sample in evaluation.samples])
        write_csv(folder / "summary.csv", rows(blocks))
        text = json.dumps(jsonable(_summary(evaluation, blocks)), indent=2)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        (folder / "table.md").write_text(markdown(evaluation, blocks), encoding="utf-8")
        draw_worst(evaluation.worst, folder, len(evaluation.heads) * evaluation.plan.poses)
        provenance = record(
            "focus/evaluation",
            inputs={},
            parameters=_parameters(evaluation),
            device=pick_device(evaluation.plan.device),
            seed=evaluation.plan.seed,
            weights=weights(evaluation),
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def _parameters(evaluation: Evaluation) -> dict[str, Any]:
    plan = asdict(evaluation.plan)
    return {**plan, "checkpoint": Path(plan["checkpoint"]).name, "heads": evaluation.heads}


def weights(evaluation: Evaluation) -> dict[str, str] | None:
    """Name, version and hash of the weights of the learned rungs, if any were evaluated."""
    return next((s.weights for s in evaluation.samples if s.weights), None)


def error_row(sample: Sample) -> dict[str, Any]:
    """A sample as a row of errors.csv; errors as in `FieldErrors`, poses from 1, positions in RAS mm."""
    pose = sample.pose
    return {
        "head": sample.head,
        "pose": sample.index + 1,
        "rung": sample.rung,
        **sample.errors.record(),
        "transmission": sample.transmission,
        "true_transmission": sample.true_transmission,
        **{f"apex_{a}_mm": float(v) for a, v in zip("xyz", pose.apex_mm, strict=True)},
        **{f"direction_{a}": float(v) for a, v in zip("xyz", pose.direction, strict=True)},
        "seconds": sample.seconds,
        "solver_seconds": sample.solver_seconds,
        "out_of_range": "; ".join(sample.out_of_range),
    }


def write_csv(path: Path, content: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same keys."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)


def markdown(evaluation: Evaluation, blocks: Sequence[Block]) -> str:
    """The tables and the list of the worst cases."""
    lines = [caption(blocks), ""]
    for table in tables(blocks):
        columns = len(table.header)
        lines += [f"**{table.title}**", "", _line(table.header), _line(["---"] * columns)]
        for (name, *_), *rungs in table.blocks:
            lines += [_line([f"**{name}**", *[""] * (columns - 1)]), *map(_line, rungs)]
        lines.append("")
    return "\n".join([*lines, *worst_lines(evaluation), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|').replace(chr(10), '<br>') for c in cells)} |"


def worst_lines(evaluation: Evaluation) -> list[str]:
    """A line for each of the worst cases, under a heading."""
    lines = [f"Worst by the centroid error of {evaluation.plan.best_rung}:", ""]
    for rank, case in enumerate(evaluation.worst, 1):
        e = case.errors
        lines.append(
            f"{rank}. {case.head}, pose {case.index + 1}: {e.centroid_error_mm:.2f} mm "
            f"(lateral {e.lateral_mm:.2f}, axial {e.axial_mm:+.2f}), worst-{rank}.png"
        )
    return lines


def _summary(evaluation: Evaluation, blocks: Sequence[Block]) -> dict[str, Any]:
    beyond: dict[str, int] = {}
    for sample in evaluation.samples:
        beyond[sample.rung] = beyond.get(sample.rung, 0) + bool(sample.out_of_range)
    return {
        "notice": RESEARCH_USE_ONLY,
        "version": __version__,
        "weights": weights(evaluation),
        "what": caption(blocks),
        "poses_out_of_range": beyond,
        "worst": [
            {"head": c.head, "pose": c.index + 1, "rung": c.rung, **c.errors.record()}
            for c in evaluation.worst
        ],
        "statistics": {block.name: block.rungs for block in blocks},
    }
