"""Labelled images in the formats of this field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trifocal.keypoints.formats.hc18 import LANDMARKS, read_hc18
from trifocal.keypoints.formats.table import TABLE, read_table

if TYPE_CHECKING:
    from trifocal.keypoints.examples import Example

__all__ = ["read_examples"]

_TABLES = {TABLE: read_table, LANDMARKS: read_hc18}


def read_examples(path: Path | str) -> list[Example]:
    """Read labelled images: a folder that holds a known table, or the table itself.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If no known table is there, or a row of it cannot be used; the message names the line.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file or folder {path}: check the path"
        raise FileNotFoundError(msg)
    tables = [path / name for name in _TABLES if (path / name).is_file()] if path.is_dir() else [path]
    for table in tables:
        if table.name in _TABLES:
            return _TABLES[table.name](table)
    msg = f"{path} must be or hold one of {', '.join(_TABLES)}, got none of them"
    raise ValueError(msg)
