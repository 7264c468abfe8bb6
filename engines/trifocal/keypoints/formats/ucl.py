"""The UCL multi-centre tables: heads, abdomens and femurs with the ends of their diameters."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import numpy as np

from trifocal.files import atomic_file
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import image_size, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIAMETERS = {"HC": ("bpd", "ofd"), "FA": ("apad", "tad"), "fetal_femur": ("fl",)}
_ANATOMY = {"HC": "Head", "FA": "Abdomen", "fetal_femur": "Femur"}
_SCALE = "px_to_mm_rate"  # millimetres in a pixel, whatever its name says


def ucl_task(columns: Sequence[str]) -> str | None:
    """Which task a table with these columns is of; None if of none."""
    for task_id, diameters in _DIAMETERS.items():
        if {f"{name}_1_x" for name in diameters} <= set(columns):
            return task_id
    return None


def read_ucl(path: Path) -> list[Example]:
    """Read Head.csv, Abdomen.csv or Femur.csv: image_name, ofd_1_x ... bpd_2_y, px_to_mm_rate, SubjectID.

    Which end is "1" differs from row to row; examples put the ends into canonical order. Images are looked
    for in ../data/Head (or Abdomen, Femur), ../images, beside the table and below that in images/.

    Raises:
        ValueError: Naming the line, if a row cannot be used or an image is there twice.
    """
    rows = read_rows(path, ("image_name",))
    task_id = ucl_task(list(rows[0].cells))
    if task_id is None:
        msg = f"{path.name} must have the columns of BPD and OFD, of TAD and APAD, or of FL (bpd_1_x ...)"
        raise ValueError(msg)
    ends = [f"{name}_{end}" for name in _DIAMETERS[task_id] for end in (1, 2)]
    root, anatomy = path.parent, _ANATOMY[task_id]
    folders = [root.parent / "data" / anatomy, root.parent / "images" / anatomy, root.parent / "images"]
    examples: list[Example] = []
    seen: set[str] = set()
    for row in rows:
        name = row.text("image_name")
        row.once(name, seen)
        image = row.image(name, *folders, root, root / "images")
        points = row.points_on(image, [[row.number(f"{end}_x"), row.number(f"{end}_y")] for end in ends])
        patient = row.cells.get("SubjectID", "").strip() or ucl_patient(image.stem)
        examples.append(Example(image, task_id, points, patient, "ucl", row.size(_SCALE)))
    return examples


def write_ucl(examples: Sequence[Example], folder: Path) -> list[Path]:
    """Write Head.csv, Abdomen.csv and Femur.csv, those that there are examples for, into a folder.

    `scale` and the centre are those of the whole image in the convention of HRNet's landmark code, a box of
    200 scale pixels.

    Returns:
        The files.

    Raises:
        ValueError: If a task has no such table, or a point is missing: the format has no way to say so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for task_id in dict.fromkeys(example.task_id for example in examples):
        if task_id not in _DIAMETERS:
            msg = f"the task of a multi-centre table must be one of {', '.join(_DIAMETERS)}, got {task_id}"
            raise ValueError(msg)
        ends = [f"{name}_{end}_{axis}" for name in _DIAMETERS[task_id] for end in (1, 2) for axis in "xy"]
        path = folder / f"{_ANATOMY[task_id]}.csv"
        with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            header = ["index", "image_name", "scale", "center_w", "center_h", *ends]
            writer.writerow([*header, "SubjectID", _SCALE])
            for number, example in enumerate(e for e in examples if e.task_id == task_id):
                if not np.isfinite(example.points).all():
                    msg = f"{example.path.name} must have all its points for this table, got missing ones"
                    raise ValueError(msg)
                width, height = image_size(example.path)
                box = [f"{max(width, height) / 200:g}", f"{width / 2:g}", f"{height / 2:g}"]
                places = [f"{value:.3f}" for value in example.points.ravel()]
                scale = "" if example.mm_per_px is None else f"{example.mm_per_px:.9g}"
                writer.writerow([number, example.path.name, *box, *places, example.patient, scale])
        written.append(path)
    return written


def ucl_patient(stem: str) -> str:
    """Whom an image is of, by names like Patient00757_Plane3_1_of_2 and 055_2HC; else its whole name."""
    found = re.match(r"(Patient\d+)_", stem) or re.match(r"(\w+?)_\d*(?:HC|AC|FL)\b", stem)
    return found[1] if found else stem
