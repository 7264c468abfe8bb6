"""COCO keypoints: a category for each task, an annotation for each image of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.files import atomic_file
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import checked_points, image_size
from trifocal.keypoints.tasks import TASKS, find_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.keypoints.tasks import Task

_VISIBLE = 2  # of COCO's flags: 0 not labelled, 1 labelled but hidden, 2 labelled and visible


def read_coco(path: Path, images: Path | None = None) -> list[Example]:
    """Read annotations of categories that are called like a task, with as many keypoints.

    Keypoints are taken by their names where these are the task's, else by their order; those with the flag 0
    are missing. "patient" and "mm_per_px" of an image, which are ours, are read where they are there; else
    each image counts as a patient of its own.

    Args:
        path: The JSON file.
        images: Folder that `file_name` starts from; if left out, the file's own, or images/ in it.

    Raises:
        ValueError: Naming the annotation, if one cannot be used or is there twice.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not all(isinstance(data.get(k), list) for k in _PARTS):
        msg = f"{path.name} must be an object with the lists {', '.join(_PARTS)}"
        raise ValueError(msg)
    folders = [images] if images is not None else [path.parent, path.parent / "images"]
    try:
        orders = {item["id"]: _order(item) for item in data["categories"]}
        pictures = {item["id"]: item for item in data["images"]}
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path.name}: {_said(error)}"
        raise ValueError(msg) from error
    examples: list[Example] = []
    seen: set[tuple[str, Path]] = set()
    for number, item in enumerate(data["annotations"], start=1):
        try:
            example = _example(item, orders, pictures, folders)
            if (example.task_id, example.path) in seen:
                msg = f"{example.path.name} is there twice for {example.task_id}: delete one annotation"
                raise ValueError(msg)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path.name}, annotation {number}: {_said(error)}"
            raise ValueError(msg) from error
        seen.add((example.task_id, example.path))
        examples.append(example)
    return examples


def write_coco(examples: Sequence[Example], path: Path) -> None:
    """Write examples as COCO keypoints; images are named relative to the file's folder.

    Whole numbers are the centres of pixels, as COCO's 0-based keypoints are. A missing point is 0, 0 with the
    flag 0. The box is that of the points.

    Raises:
        ValueError: If an image lies outside of the file's folder.
    """
    tasks = [TASKS[task_id] for task_id in dict.fromkeys(example.task_id for example in examples)]
    numbers = {task.id: number for number, task in enumerate(tasks, start=1)}
    pictures: dict[Path, dict[str, Any]] = {}
    annotations = []
    for number, example in enumerate(examples, start=1):
        if not example.path.is_relative_to(path.parent):
            msg = f"images must lie in the folder of {path.name}, got {example.path}"
            raise ValueError(msg)
        picture = pictures.setdefault(example.path, _picture(example, len(pictures) + 1, path.parent))
        annotations.append(_annotation(example, number, picture["id"], numbers[example.task_id]))
    data = {
        "info": {"description": "trifocal keypoints"},
        "images": list(pictures.values()),
        "annotations": annotations,
        "categories": [
            {
                "id": numbers[task.id],
                "name": task.id,
                "supercategory": "ultrasound",
                "keypoints": list(task.points),
                "skeleton": [[a + 1, b + 1] for a, b in task.lines],
            }
            for task in tasks
        ],
    }
    with atomic_file(path) as part:
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")


_PARTS = ("images", "annotations", "categories")


def _order(category: dict[str, Any]) -> tuple[Task, list[int]]:
    """The task of a category, and for each of the task's points its place in the category."""
    task = find_task(str(category["name"]))
    names = [str(name) for name in category.get("keypoints", task.points)]
    if len(names) != task.count:
        msg = f"the category {task.id} must have {task.count} keypoints, got {len(names)}"
        raise ValueError(msg)
    if set(names) == set(task.points):
        return task, [names.index(point) for point in task.points]
    return task, list(range(task.count))


def _example(
    item: dict[str, Any],
    orders: dict[Any, tuple[Task, list[int]]],
    pictures: dict[Any, dict[str, Any]],
    folders: list[Path],
) -> Example:
    if item["category_id"] not in orders or item["image_id"] not in pictures:
        msg = f"image {item['image_id']} and category {item['category_id']} must be in the file's lists"
        raise ValueError(msg)
    task, order = orders[item["category_id"]]
    picture = pictures[item["image_id"]]
    name = str(picture["file_name"])
    image = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if image is None:
        msg = f"there is no image {name} in {' or '.join(map(str, folders))}"
        raise ValueError(msg)
    flat = np.array(item["keypoints"], dtype=np.float64)
    if flat.shape != (3 * task.count,) or not np.isfinite(flat).all():
        msg = f"keypoints of {task.id} must be {3 * task.count} finite numbers, got {flat.size}"
        raise ValueError(msg)
    triples = flat.reshape(-1, 3)[order]
    points: NDArray[np.float64] = np.where(triples[:, 2:] > 0, triples[:, :2], np.nan)
    scale = picture.get("mm_per_px")
    patient = str(picture.get("patient") or name)
    source = str(picture.get("source") or "coco")
    mm = None if scale is None else float(scale)
    if mm is not None and not mm > 0:
        msg = f"mm_per_px must be more than 0, got {mm}"
        raise ValueError(msg)
    return Example(image, task.id, checked_points(image, points), patient, source, mm)


def _picture(example: Example, number: int, folder: Path) -> dict[str, Any]:
    width, height = image_size(example.path)
    picture: dict[str, Any] = {
        "id": number,
        "file_name": example.path.relative_to(folder).as_posix(),
        "width": width,
        "height": height,
        "patient": example.patient,
        "source": example.source,
    }
    return picture if example.mm_per_px is None else picture | {"mm_per_px": example.mm_per_px}


def _annotation(example: Example, number: int, image: int, category: int) -> dict[str, Any]:
    known: NDArray[np.bool_] = np.asarray(np.isfinite(example.points).all(axis=1))
    triples = np.zeros((len(known), 3))
    triples[known, :2], triples[known, 2] = example.points[known], _VISIBLE
    low, high = (example.points[known].min(0), example.points[known].max(0)) if known.any() else (0.0, 0.0)
    (x, y), (w, h) = np.zeros(2) + low, np.zeros(2) + high - low
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "keypoints": [round(v, 3) for v in triples.ravel().tolist()],
        "num_keypoints": int(known.sum()),
        "bbox": [round(float(v), 3) for v in (x, y, w, h)],
        "area": round(float(w * h), 3),
        "iscrowd": 0,
    }


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
