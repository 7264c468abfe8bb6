"""Our own table of examples: a row for each point."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from trifocal.files import atomic_file
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import Row, read_rows
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TABLE = "points.csv"
COLUMNS = ("file", "patient", "task", "point", "x_px", "y_px", "mm_per_px", "source")
_REQUIRED = COLUMNS[:6]


def read_table(path: Path) -> list[Example]:
    """Read points.csv: file (beside the table), patient, task, point, x_px, y_px, mm_per_px, source.

    A point with both cells empty is missing. mm_per_px and source may be absent; patients named synthetic-N
    are phantoms.

    Raises:
        ValueError: Naming the line, if a row cannot be used or a point is named twice.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in read_rows(path, _REQUIRED):
        groups.setdefault((row.text("file"), row.text("task")), []).append(row)
    return [_example(rows, path.parent) for rows in groups.values()]


def write_table(examples: Sequence[Example], path: Path) -> None:
    """Write points.csv, whole or not at all; images are named relative to its folder.

    Raises:
        ValueError: If an image lies outside of the table's folder.
    """
    for example in examples:
        if not example.path.is_relative_to(path.parent):
            msg = f"images must lie in the folder of {path.name}, got {example.path}"
            raise ValueError(msg)
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for e in examples:
            name = e.path.relative_to(path.parent).as_posix()
            scale = "" if e.mm_per_px is None else f"{e.mm_per_px:.9g}"
            for point, (x, y) in zip(e.task.points, e.points, strict=True):
                place = ("", "") if np.isnan([x, y]).any() else (f"{x:.3f}", f"{y:.3f}")
                writer.writerow([name, e.patient, e.task_id, point, *place, scale, e.source])


def _example(rows: list[Row], folder: Path) -> Example:
    first = rows[0]
    try:
        task = find_task(first.text("task"))
    except ValueError as error:
        raise first.error(str(error)) from error
    points = np.full((task.count, 2), np.nan)
    seen = set()
    for row in rows:
        name = row.text("point")
        if name not in task.points:
            raise row.error(f"the point must be one of {', '.join(task.points)}, got {name!r}")
        if name in seen:
            raise row.error(f"the point {name} of {first.text('file')} is there twice: delete one row")
        seen.add(name)
        if row.cells["x_px"].strip() or row.cells["y_px"].strip():
            points[task.points.index(name)] = row.number("x_px"), row.number("y_px")
    image = first.image(first.text("file"), folder)
    patient = first.text("patient")
    source = first.cells.get("source", "").strip()
    return Example(
        path=image,
        task_id=task.id,
        points=first.points_on(image, points),
        patient=patient,
        source=source or ("synthetic" if patient.startswith("synthetic-") else "table"),
        mm_per_px=first.size("mm_per_px"),
    )
