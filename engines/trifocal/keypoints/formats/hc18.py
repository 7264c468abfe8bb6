"""HC18: fetal heads with the ends of BPD and OFD (van den Heuvel et al. 2018, doi 10.5281/zenodo.1327317)."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from trifocal.files import atomic_file
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import image_size, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LANDMARKS = "landmarks.csv"
_ENDS = ("bpd_1", "bpd_2", "ofd_1", "ofd_2")


def write_hc18(examples: Sequence[Example], path: Path) -> None:
    """Write landmarks.csv, whole or not at all; the images must lie in images/ beside it.

    Raises:
        ValueError: If an example is no head, lacks a point or a scale, or lies elsewhere.
    """
    header = ["filename", "patient", "width", "height", "mm_per_px", "head_circumference_mm"]
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, *(f"{axis}_{end}" for end in _ENDS for axis in "xy")])
        for e in examples:
            whole = e.task_id == "HC" and np.isfinite(e.points).all() and e.mm_per_px is not None
            if not whole or e.path.parent != path.parent / "images":
                msg = f"{e.path.name} must be a head with all points and mm_per_px, in images/"
                raise ValueError(msg)
            mm = e.mm_per_px or 0.0
            length = f"{ellipse_from_axes(e.points).perimeter * mm:.2f}"
            places = [f"{value:.2f}" for value in e.points.ravel()]
            writer.writerow([e.path.name, e.patient, *image_size(e.path), f"{mm:.9g}", length, *places])


def read_hc18(path: Path) -> list[Example]:
    """Read landmarks.csv: filename (in images/), patient, mm_per_px, x_bpd_1, y_bpd_1 ... y_ofd_2 in pixels.

    Raises:
        ValueError: Naming the line, if a row cannot be used or a file is there twice.
    """
    columns = ("filename", "patient", "mm_per_px", *(f"{axis}_{end}" for end in _ENDS for axis in "xy"))
    examples: list[Example] = []
    seen: set[str] = set()
    for row in read_rows(path, columns):
        name = row.text("filename")
        row.once(name, seen)
        points = np.array([[row.number(f"x_{end}"), row.number(f"y_{end}")] for end in _ENDS])
        image = row.image(name, path.parent / "images")
        points = row.points_on(image, points)
        examples.append(Example(image, "HC", points, row.text("patient"), "hc18", row.size("mm_per_px")))
    return examples
