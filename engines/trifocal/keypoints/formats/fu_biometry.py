"""The FU_Biometry challenge (FM_UIA 2026): a table for each task, and predictions as JSON."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.files import atomic_file
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import checked_points, image_size, read_rows
from trifocal.keypoints.tasks import TASKS, find_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.keypoints.formats.rows import Row
    from trifocal.keypoints.tasks import Task

_NAMES = {
    "VAO": "aortic annulus",
    "AAO": "ascending aorta",
    "AV": "aortic valve opening",
    "IVC": "IVC diameter",
    **{f"{chamber}_上下": f"{chamber} length" for chamber in ("LV", "RV", "LA", "RA")},
    **{f"{chamber}_左右": f"{chamber} width" for chamber in ("LV", "RV", "LA", "RA")},
}
"""The tables' names of distances, where ours are others; 上下 is up-down, 左右 left-right."""

_NUMBERED = re.compile(r"point_(\d+)_xy")
_NAMED = re.compile(r"(.+)_p([12])_xy")
_FILES = {"fetal_femur": "Reg-Two_3.fetal_femur.csv"}


def is_fu_biometry(columns: Sequence[str]) -> bool:
    """Whether a table with these columns is one of the challenge's."""
    return any(name.endswith("_xy") for name in columns)


def read_fu_biometry(path: Path) -> list[Example]:
    """Read one task's table, in UTF-8 or GBK: image_path or file_path, and "[x, y]" for each point.

    Points are in the columns point_1_xy, point_2_xy ... or named (LV_p1_xy, LV_上下_p1_xy). The task is that
    of the column task_id, else the one that the file's or its folder's name says. An empty cell is a missing
    point. Images are looked for beside the table, and by their names in images/TASK beside it or one or two
    folders up.

    Raises:
        ValueError: Naming the line, if a row cannot be used or an image is there twice.
    """
    rows = read_rows(path)
    by_path = _task_of(path)
    examples: list[Example] = []
    seen: set[str] = set()
    for row in rows:
        task = _row_task(row, by_path)
        name = row.text("image_path" if "image_path" in row.cells else "file_path").replace("\\", "/")
        row.once(f"{task.id} of {name}", seen)
        image = _find_image(row, name, task)
        points = row.points_on(image, [_cell(row, column) for column in _columns(row, task)])
        examples.append(Example(image, task.id, points, fu_patient(task, image.stem), "fu_biometry"))
    return examples


def write_fu_biometry(examples: Sequence[Example], folder: Path) -> list[Path]:
    """Write the tables of the tasks that there are examples of, in the challenge's common form.

    Patients and the size of pixels have no place in it.

    Returns:
        The files.

    Raises:
        ValueError: If an image lies outside of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for task_id in dict.fromkeys(example.task_id for example in examples):
        task, path = TASKS[task_id], folder / _FILES.get(task_id, f"{task_id}_train.csv")
        columns = ["image_path", "height", "width", "task_name", "task_id", "num_classes"]
        with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*columns, *(f"point_{i + 1}_xy" for i in range(task.count))])
            for example in (e for e in examples if e.task_id == task_id):
                width, height = image_size(example.path)
                name = _relative(example.path, folder)
                cells = [f"[{x:.3f}, {y:.3f}]" if np.isfinite(x + y) else "" for x, y in example.points]
                writer.writerow([name, height, width, "Regression", task_id, task.count, *cells])
        written.append(path)
    return written


def read_fu_predictions(path: Path, images: Path | None = None) -> list[Example]:
    """Read a list of {image_path, task_id, predicted_points_pixels}: a teacher's answers, as examples.

    The points are one flat list [x1, y1, x2, ...], as the challenge has them, or a list of pairs; null is
    missing.

    Args:
        path: The JSON file.
        images: Folder that `image_path` starts from; the file's own if left out.

    Raises:
        ValueError: Naming the item, if one cannot be used or is there twice.
    """
    items = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(items, list):
        msg = f"{path.name} must be a JSON list of predictions, got {type(items).__name__}"
        raise ValueError(msg)
    folder = path.parent if images is None else images
    examples: list[Example] = []
    seen: set[tuple[str, str, int]] = set()
    for number, item in enumerate(items, start=1):
        try:
            example = _predicted(item, folder)
            key = (example.task_id, str(example.path), int(item.get("frame", 0)))
            if key in seen:
                msg = f"{example.path.name} is there twice for {example.task_id}: delete one item"
                raise ValueError(msg)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"{path.name}, item {number}: {reason}"
            raise ValueError(msg) from error
        seen.add(key)
        examples.append(example)
    return examples


def fu_prediction(
    name: str, task_id: str, points: NDArray[np.float64], size: tuple[int, int], frame: int | None = None
) -> dict[str, Any]:
    """One item of a list of predictions: flat lists [x1, y1, x2, ...], normalised and in pixels.

    Normalised points are pixels divided by the image's width and height, which is the challenge's convention.
    It has neither missing points nor cines: null and "frame" are additions.

    Args:
        name: Of the image, relative to the list.
        task_id: Whose points they are.
        points: (K, 2) x, y in pixels; NaN for a missing one.
        size: (columns, rows) of the image.
        frame: Of a cine, counted from 0.
    """
    return {
        "image_path": name,
        "task_id": task_id,
        **({} if frame is None else {"frame": frame}),
        "predicted_points_normalized": _flat(points / np.array(size), 6),
        "predicted_points_pixels": _flat(points, 3),
    }


def write_fu_predictions(examples: Sequence[Example], path: Path) -> None:
    """Write points as the challenge's evaluation reads predictions: see `fu_prediction`.

    Raises:
        ValueError: If a point is missing, which the format cannot say, or an image is not below the folder.
    """
    items = []
    for example in examples:
        if not np.isfinite(example.points).all():
            msg = f"{example.path.name} must have all points for a prediction, got missing ones"
            raise ValueError(msg)
        name = _relative(example.path, path.parent)
        items.append(fu_prediction(name, example.task_id, example.points, image_size(example.path)))
    with atomic_file(path) as part:
        part.write_text(json.dumps(items, indent=1), encoding="utf-8")


def fu_patient(task: Task, stem: str) -> str:
    """Whom an image is of, as far as its name tells.

    PatientN_PlaneM_... in any task; in cardiac ones the study before "_frame" or the last "-". Other names
    tell
    nothing: each image then counts as a patient of its own.
    """
    if found := re.match(r"(Patient\d+)_", stem):
        return found[1]
    if task.id in ("A4C", "PLAX", "PSAX", "IVC"):
        return stem.rsplit("_frame" if "_frame" in stem else "-", 1)[0]
    return f"{task.id}/{stem}"


def _flat(points: NDArray[np.float64], decimals: int) -> list[float | None]:
    return [round(value, decimals) if np.isfinite(value) else None for value in points.ravel().tolist()]


def _task_of(path: Path) -> Task | None:
    """The task that a table's name or that of its folder says."""
    for text in (path.stem, path.parent.name, path.parent.parent.name):
        for task in TASKS.values():
            if re.search(rf"(?<![a-z0-9]){task.id.lower()}(?![a-z0-9])", text.lower()):
                return task
    return None


def _row_task(row: Row, by_path: Task | None) -> Task:
    if name := row.cells.get("task_id", "").strip():
        try:
            return find_task(name)
        except ValueError as error:
            raise row.error(str(error)) from error
    if by_path is None:
        msg = "the task must be in a column task_id or in the name of the table or its folder, got neither"
        raise row.error(msg)
    return by_path


def _columns(row: Row, task: Task) -> list[str]:
    """The column of each point."""
    columns: dict[int, str] = {}
    for column in row.cells:
        if found := _NUMBERED.fullmatch(column):
            columns[int(found[1]) - 1] = column
        elif found := _NAMED.fullmatch(column):
            point = f"{_NAMES.get(found[1], found[1])} {found[2]}"
            if point in task.points:
                columns[task.points.index(point)] = column
    if set(columns) != set(range(task.count)):
        got = ", ".join(column for column in row.cells if column.endswith("_xy")) or "no columns ..._xy"
        raise row.error(f"{task.id} must have {task.count} points, got {got}")
    return [columns[i] for i in range(task.count)]


def _cell(row: Row, column: str) -> list[float]:
    """[x, y] of a cell; NaN for an empty one."""
    text = row.cells[column].strip()
    if text in ("", "[]"):
        return [np.nan, np.nan]
    found = re.fullmatch(r"[\[(]\s*([^,\s]+)\s*,\s*([^,\s]+)\s*[\])]", text)
    try:
        point = [float(found[1]), float(found[2])] if found else []
    except ValueError:
        point = []
    if not point or not np.isfinite(point).all():
        raise row.error(f"{column} must be two finite numbers [x, y], or empty, got {text!r}")
    return point


def _find_image(row: Row, name: str, task: Task) -> Path:
    roots = [row.file.parent, *list(row.file.parent.parents)[:2]]
    base = Path(name).name
    for root in roots:
        for place in (root / name, root / "images" / task.id / base, root / task.id / base):
            if place.is_file():
                return place
    return row.image(base, row.file.parent / "images", row.file.parent)


def _predicted(item: Any, folder: Path) -> Example:
    if not isinstance(item, dict):
        msg = f"a prediction must be an object, got {type(item).__name__}"
        raise ValueError(msg)
    task, image = find_task(str(item["task_id"])), folder / str(item["image_path"])
    if not image.is_file():
        msg = f"there is no image {item['image_path']} in {folder}"
        raise ValueError(msg)
    flat = np.array(item["predicted_points_pixels"], dtype=np.float64).ravel()
    if flat.size != 2 * task.count:
        msg = f"{task.id} must have {2 * task.count} numbers in predicted_points_pixels, got {flat.size}"
        raise ValueError(msg)
    points = checked_points(image, flat.reshape(-1, 2))
    return Example(image, task.id, points, fu_patient(task, image.stem), "pseudo")


def _relative(image: Path, folder: Path) -> str:
    if not image.is_relative_to(folder):
        msg = f"images must lie below {folder}, got {image}"
        raise ValueError(msg)
    return image.relative_to(folder).as_posix()
