"""Tables of the size of the pixels of many images, as HC18 and others publish them."""

from __future__ import annotations

import csv
import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FILE = ("file", "filename", "image", "image_name", "image_path", "file_path", "file_name")
_SIZE = ("mm_per_px", "pixel size(mm)", "pixel_size_mm", "pixel size (mm)", "mm_per_pixel")


def read_scale_table(path: Path) -> dict[str, float]:
    """Read a CSV of file names and millimetres per pixel.

    A column named file, filename, image, image_name, image_path or file_path and one named mm_per_px,
    mm_per_pixel, pixel_size_mm or "pixel size(mm)" (HC18) are taken; others are left alone. Empty cells are
    left out, and a row may come more than once if it says the same.

    Returns:
        By the name as it stands in the table and, where only one file has it, also without its folders.

    Raises:
        ValueError: If the columns are not there, a number is not positive, or two rows contradict each other.
        OSError: If it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path.name} must be a CSV in UTF-8: save it as such"
        raise ValueError(msg) from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    names = {name.strip().lower(): name for name in rows.fieldnames or ()}
    file = next((names[n] for n in _FILE if n in names), None)
    size = next((names[n] for n in _SIZE if n in names), None)
    if file is None or size is None:
        msg = (
            f"{path.name} must have a column {', '.join(_FILE[:3])} ... and one"
            f" {', '.join(_SIZE[:2])} ..., got {', '.join(names) or 'none'}"
        )
        raise ValueError(msg)
    table: dict[str, float] = {}
    for row in rows:
        name = (row[file] or "").strip().replace("\\", "/")
        cell = (row[size] or "").strip()
        if name and cell:
            _add(table, name, _positive(cell, path.name, rows.line_num), path.name)
    return table | _without_folders(table)


def _add(table: dict[str, float], name: str, value: float, where: str) -> None:
    if not math.isclose(table.setdefault(name, value), value, rel_tol=1e-6):
        msg = f"{where} gives {name} two sizes of a pixel, {table[name]:g} and {value:g} mm: keep one row"
        raise ValueError(msg)


def _positive(cell: str, where: str, line: int) -> float:
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        msg = f"line {line} of {where} must have positive millimetres per pixel, got {cell[:40]!r}"
        raise ValueError(msg)
    return value


def _without_folders(table: dict[str, float]) -> dict[str, float]:
    short: dict[str, set[str]] = {}
    for name in table:
        short.setdefault(PurePosixPath(name).name, set()).add(name)
    return {name: table[next(iter(full))] for name, full in short.items() if len(full) == 1}
