"""The card's two tables: errors of each task, and what models and ensembles of them cost and achieve."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.files import output_folder
from trifocal.keypoints.evaluation.error_statistics import Overall, Statistic
from trifocal.keypoints.evaluation.metrics import CaseErrors
from trifocal.keypoints.sonichu.teach import predict_squares
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import torch

    from trifocal.keypoints.sonichu.ensemble import PointModel
    from trifocal.keypoints.sonichu.squares import Squares
    from trifocal.predictor import Progress

CASES, MODELS, PER_TASK, TABLES = "cases.csv", "models.csv", "tasks.csv", "tables.md"


@dataclass(frozen=True)
class Entry:
    """A model or an ensemble in the tables.

    Attributes:
        name: For people.
        model: What predicts.
        members: Networks that an answer needs; twice as many passes with TTA.
    """

    name: str
    model: PointModel
    members: int = 1


@dataclass(frozen=True, eq=False)
class Judged:
    """One entry on all images.

    Attributes:
        name: Of the entry.
        tta: Whether the mirrored image was predicted, too.
        passes: Of a network, for one image.
        errors: Of each image.
    """

    name: str
    tta: bool
    passes: int
    errors: tuple[CaseErrors, ...]

    def network_px(self) -> list[float]:
        """Mean radial error of each image in pixels of the 256 x 256 square."""
        return [error.mre_network_px for error in self.errors]


def judge(
    entries: Sequence[Entry],
    images: Squares,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[Judged]:
    """Predict images of patients that no model has learned from, with and without TTA."""
    judged = []
    jobs = [(entry, tta) for entry in entries for tta in (False, True)]
    for number, (entry, tta) in enumerate(jobs):
        progress(number / len(jobs), f"evaluating {entry.name}{', TTA' if tta else ''}")
        points = predict_squares(entry.model, images, tta=tta, device=device)
        errors = []
        for i, (example, found) in enumerate(zip(images.examples, points, strict=True)):
            pixels = images.in_pixels(found[None], [i])[0]
            columns, rows = (int(v) for v in images.sizes[i])
            errors.append(
                CaseErrors.of(example.task, pixels, example.points, (columns, rows), example.mm_per_px)
            )
        judged.append(Judged(entry.name, tta, entry.members * (1 + tta), tuple(errors)))
    return judged


def save_tables(
    judged: Sequence[Judged], images: Squares, out: Path, best: str, notes: Sequence[str] = ()
) -> str:
    """Write cases.csv, models.csv, tasks.csv and tables.md into a folder: all of them, or none.

    Args:
        judged: Every entry with and without TTA.
        images: What was predicted.
        out: Folder.
        best: Name of the entry whose tasks are told one by one.
        notes: Sentences above the tables.

    Returns:
        What tables.md says.
    """
    models, tasks = model_rows(judged, images), task_rows(judged, images, best)
    text = "\n".join([*notes, "", *_models_table(models), "", *_tasks_table(tasks, best), ""])
    with output_folder(out) as folder:
        _write(folder / CASES, case_rows(judged, images))
        _write(folder / MODELS, models)
        _write(folder / PER_TASK, tasks)
        (folder / TABLES).write_text(text, encoding="utf-8")
    return text


def case_rows(judged: Sequence[Judged], images: Squares) -> list[dict[str, Any]]:
    """A row for each entry and image: errors in pixels of the image, of the 256 x 256 square, and in mm."""
    return [
        {
            "model": one.name,
            "tta": int(one.tta),
            "file": example.path.name,
            "task": example.task_id,
            "patient": example.patient,
            "mre_px": error.mre_px,
            "mre_network_px": error.mre_network_px,
            "mre_mm": error.mre_mm,
        }
        for one in judged
        for example, error in zip(images.examples, one.errors, strict=True)
    ]


def model_rows(judged: Sequence[Judged], images: Squares) -> list[dict[str, Any]]:
    """A row for each entry, with and without TTA: the card's second table."""
    patients, tasks = [e.patient for e in images.examples], images.task_ids()
    rows = []
    for one in judged:
        values = one.network_px()
        overall = Overall.of(values, patients, tasks)
        each = {t: _mean(values, tasks, t) for t in TASKS if t in tasks}
        rows.append(
            {
                "model": one.name,
                "tta": int(one.tta),
                "passes": one.passes,
                "weighted_network_px": overall.weighted,
                "weighted_low": overall.weighted_interval[0],
                "weighted_high": overall.weighted_interval[1],
                "unweighted_network_px": overall.unweighted,
                "unweighted_low": overall.unweighted_interval[0],
                "unweighted_high": overall.unweighted_interval[1],
                **{f"{t}_network_px": value for t, value in each.items()},
            }
        )
    return rows


def task_rows(judged: Sequence[Judged], images: Squares, name: str) -> list[dict[str, Any]]:
    """A row for each task of one entry: the card's first table."""
    ids = images.task_ids()
    rows = []
    for task_id in [t for t in TASKS if t in ids]:
        own = [i for i, x in enumerate(ids) if x == task_id]
        patients = [images.examples[i].patient for i in own]
        row: dict[str, Any] = {"task": task_id, "points": TASKS[task_id].count, "images": len(own)}
        for one in (j for j in judged if j.name == name):
            end = "_tta" if one.tta else ""
            network = Statistic.of([one.errors[i].mre_network_px for i in own], patients)
            row |= {f"network_px{end}": network.mean, f"low{end}": network.low, f"high{end}": network.high}
            row[f"px{end}"] = float(np.mean([one.errors[i].mre_px for i in own]))
            row[f"mm{end}"] = float(np.mean([one.errors[i].mre_mm for i in own]))
        rows.append(row)
    return rows


def _mean(values: Sequence[float], tasks: Sequence[str], task: str) -> float:
    return float(np.nanmean([v for v, t in zip(values, tasks, strict=True) if t == task]))


def _models_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| model | TTA | passes | weighted MRE (95 %) | unweighted MRE (95 %) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        weighted, unweighted = (
            f"{row[f'{w}_network_px']:.2f} ({row[f'{w}_low']:.2f} to {row[f'{w}_high']:.2f})"
            for w in ("weighted", "unweighted")
        )
        cells = [row["model"], "yes" if row["tta"] else "no", row["passes"], weighted, unweighted]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _tasks_table(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    lines = [
        f"Each task, {name}, mean radial error:",
        "",
        "| task | points | images | network px | network px, TTA (95 %) | image px, TTA | mm, TTA |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        tta = f"{row['network_px_tta']:.2f} ({row['low_tta']:.2f} to {row['high_tta']:.2f})"
        mm = "-" if np.isnan(row["mm_tta"]) else f"{row['mm_tta']:.2f}"
        network, image = f"{row['network_px']:.2f}", f"{row['px_tta']:.2f}"
        cells = [row["task"], row["points"], row["images"], network, tta, image, mm]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
