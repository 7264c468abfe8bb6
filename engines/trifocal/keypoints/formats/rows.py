"""Rows of a CSV file, and what is said of one that cannot be used."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LARGEST = 200 * 2**20  # bytes; the tables of this field have some MB


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        file: The table.
        line: Of the file, counted from 1, the header being the first.
        cells: Text by column.
    """

    file: Path
    line: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """A cell that must not be empty.

        Raises:
            ValueError: If it is.
        """
        value = self.cells.get(column, "").strip()
        if not value:
            raise self.error(f"the column {column} must not be empty")
        return value

    def number(self, column: str) -> float:
        """A finite number.

        Raises:
            ValueError: If the cell is anything else, NaN included.
        """
        value = self.text(column)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{column} must be a finite number, got {value!r}")
        return number

    def size(self, column: str) -> float | None:
        """Millimetres per pixel, more than 0; None where the cell is empty or missing."""
        if not self.cells.get(column, "").strip():
            return None
        number = self.number(column)
        if number <= 0:
            raise self.error(f"{column} must be more than 0, got {number:g}")
        return number

    def image(self, name: str, folder: Path) -> Path:
        """Path of an image that must exist inside a folder."""
        path = folder / name
        if not path.is_file():
            raise self.error(f"there is no image {name} in {folder}")
        return path

    def error(self, what: str) -> ValueError:
        """An error that says where."""
        return ValueError(f"{self.file.name}, line {self.line}: {what}")


def read_rows(path: Path, required: Iterable[str] = ()) -> list[Row]:
    """Read a CSV table with a header line.

    UTF-8 (with or without a mark) is tried first, then GB 18030, which GBK is a part of.

    Raises:
        ValueError: If it is no such table, has no rows, or lacks a column.
    """
    if path.stat().st_size > _LARGEST:
        msg = f"{path.name} must be a table of at most 200 MB, got {path.stat().st_size / 2**20:.0f} MB"
        raise ValueError(msg)
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        msg = f"{path.name} must be a CSV table in UTF-8 or GBK, got neither: save it as UTF-8"
        raise ValueError(msg)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = [name.strip() for name in reader.fieldnames or ()]
    lacking = [name for name in required if name not in header]
    if lacking:
        msg = f"{path.name} must have the columns {', '.join(required)}; {', '.join(lacking)} are missing"
        raise ValueError(msg)
    reader.fieldnames = header
    rows = [
        Row(path, reader.line_num, {k: v or "" for k, v in cells.items() if isinstance(k, str)})
        for cells in reader
    ]
    if not rows:
        msg = f"{path.name} must have at least one row below its header, got none"
        raise ValueError(msg)
    return rows
