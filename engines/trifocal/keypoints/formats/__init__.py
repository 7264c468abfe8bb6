"""Labelled images in the formats of this field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from trifocal.keypoints.formats.coco import read_coco
from trifocal.keypoints.formats.fu_biometry import is_fu_biometry, read_fu_biometry, read_fu_predictions
from trifocal.keypoints.formats.hc18 import LANDMARKS, read_hc18
from trifocal.keypoints.formats.hc18_rings import RINGS, read_hc18_rings
from trifocal.keypoints.formats.rows import read_rows
from trifocal.keypoints.formats.table import TABLE, read_table
from trifocal.keypoints.formats.ucl import read_ucl, ucl_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from trifocal.keypoints.examples import Example

    Reader = Callable[[Path], list[Example]]

__all__ = ["read_examples"]

_BY_NAME: dict[str, Reader] = {TABLE: read_table, LANDMARKS: read_hc18, RINGS: read_hc18_rings}
_FOLDERS = ("", "csv", "csv_files", "annotations")  # where the tables of a data set lie in its folder
_KNOWN = (
    f"{TABLE}, {LANDMARKS}, {RINGS}, tables of FU_Biometry (point_1_xy ...) or UCL (bpd_1_x ...), "
    "COCO keypoints or predictions as JSON"
)


def read_examples(path: Path | str) -> list[Example]:
    """Read labelled images: a table or JSON file of a known format, or a folder that holds some.

    A folder's own table counts alone where there is one (points.csv, landmarks.csv or HC18's); otherwise all
    the tables in it that are known, or in its csv/ or annotations/, each image of a task once:
    FA_train_new.csv stands for FA_train.csv, Head.csv for Head_Train.csv and Head_Test.csv.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If no known table is there, or a row of it cannot be used; the message names the line.
    """
    path = Path(path)
    if not path.exists():
        msg = f"there is no file or folder {path}: check the path"
        raise FileNotFoundError(msg)
    if path.is_file():
        reader = _reader(path)
        if reader is None:
            msg = f"{path} must be one of {_KNOWN}, got none of them"
            raise ValueError(msg)
        return reader(path)
    for name, reader in _BY_NAME.items():
        if (path / name).is_file():
            return reader(path / name)
    tables = [table for table in _tables(path) if _reader(table) is not None]
    if not tables:
        msg = f"{path} must hold one of {_KNOWN}, got none of them"
        raise ValueError(msg)
    return [example for table in tables for example in (_reader(table) or read_table)(table)]


def _tables(folder: Path) -> list[Path]:
    """Tables in a folder's usual places, without those that another one stands for."""
    found = sorted(t for sub in _FOLDERS for t in (folder / sub).glob("*.csv"))
    there = {table.stem for table in found}
    replaced = {stem.removesuffix("_new") for stem in there if stem.endswith("_new")}
    replaced |= {f"{stem}_{part}" for stem in there for part in ("Train", "Test")}
    return [table for table in found if table.stem not in replaced] + sorted(folder.glob("*.json"))


def _reader(path: Path) -> Reader | None:
    """What reads this file; None if nothing does."""
    if path.name in _BY_NAME:
        return _BY_NAME[path.name]
    if path.suffix.lower() == ".json":
        return _json_reader(path)
    if path.suffix.lower() != ".csv":
        return None
    columns = list(read_rows(path)[0].cells)
    if is_fu_biometry(columns):
        return read_fu_biometry
    if ucl_task(columns) is not None:
        return read_ucl
    if {"task", "point", "x_px", "y_px"} <= set(columns):
        return read_table
    return read_hc18 if {"x_bpd_1", "x_ofd_1"} <= set(columns) else None


def _json_reader(path: Path) -> Reader | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if isinstance(data, dict) and "annotations" in data:
        return read_coco
    first = data[0] if isinstance(data, list) and data else None
    return read_fu_predictions if isinstance(first, dict) and "predicted_points_pixels" in first else None
