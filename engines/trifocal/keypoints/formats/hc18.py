"""HC18: fetal heads with the ends of BPD and OFD (van den Heuvel et al. 2018, doi 10.5281/zenodo.1327317)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

LANDMARKS = "landmarks.csv"
_ENDS = ("bpd_1", "bpd_2", "ofd_1", "ofd_2")


def read_hc18(path: Path) -> list[Example]:
    """Read landmarks.csv: filename (in images/), patient, mm_per_px, x_bpd_1, y_bpd_1 ... y_ofd_2 in pixels.

    Raises:
        ValueError: Naming the line, if a row cannot be used or a file is there twice.
    """
    columns = ("filename", "patient", "mm_per_px", *(f"{axis}_{end}" for end in _ENDS for axis in "xy"))
    examples, seen = [], set()
    for row in read_rows(path, columns):
        name = row.text("filename")
        if name in seen:
            raise row.error(f"{name} is there twice: delete one row")
        seen.add(name)
        points = np.array([[row.number(f"x_{end}"), row.number(f"y_{end}")] for end in _ENDS])
        image = row.image(name, path.parent / "images")
        scale = row.size("mm_per_px")
        examples.append(Example(image, "HC", points, row.text("patient"), "hc18", scale))
    return examples
