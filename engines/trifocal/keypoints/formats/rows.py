"""Rows of a CSV file, and what is said of one that cannot be used."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trifocal import io

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

_BEYOND = 0.1  # of the image's width or height: the end of an axis may lie a little beyond the border
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

    def image(self, name: str, *folders: Path) -> Path:
        """Path of an image that must exist in one of the folders; the first that has it counts."""
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
        raise self.error(f"there is no image {name} in {' or '.join(map(str, folders))}")

    def once(self, name: str, seen: set[str]) -> None:
        """Remember what this row is about.

        Raises:
            ValueError: If an earlier row was about the same.
        """
        if name in seen:
            raise self.error(f"{name} is there twice: delete one row")
        seen.add(name)

    def points_on(self, image: Path, points: ArrayLike) -> NDArray[np.float64]:
        """The points (K, 2) as they are, NaN for missing ones.

        Raises:
            ValueError: If one lies well outside of the image, or that is no picture.
        """
        try:
            return checked_points(image, points)
        except ValueError as error:
            raise self.error(str(error)) from error

    def error(self, what: str) -> ValueError:
        """An error that says where."""
        return ValueError(f"{self.file.name}, line {self.line}: {what}")


def image_size(image: Path) -> tuple[int, int]:
    """(columns, rows) of an image, by its header where it is a picture.

    Raises:
        ValueError: If it is none that can be read.
    """
    try:
        with Image.open(image) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError):
        pass
    try:
        return io.read_cine(image).size
    except (OSError, ValueError) as error:
        msg = f"{image.name} must be an image that can be read, got {error}"
        raise ValueError(msg) from error


def checked_points(image: Path, points: ArrayLike) -> NDArray[np.float64]:
    """Points (K, 2) in pixels, NaN for missing ones, none of them far off the image.

    Raises:
        ValueError: If one is, or the image cannot be read.
    """
    array, size = np.asarray(points, np.float64), np.array(image_size(image))
    beyond = np.maximum(-array, array - (size - 1)) > _BEYOND * size
    if beyond.any():
        number = int(np.argmax(beyond.any(axis=1)))
        x, y = array[number].tolist()
        msg = f"point {number + 1} must lie on the image of {size[0]} x {size[1]} pixels, got {x:g}, {y:g}"
        raise ValueError(msg)
    return array


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
    reader = csv.DictReader(StringIO(text, newline=""))
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
