"""Labels by models for images that have none, with how well the models agree."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.files import atomic_file
from trifocal.keypoints.evaluation.metrics import NETWORK_SIDE
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import read_rows
from trifocal.keypoints.formats.table import COLUMNS as TABLE_COLUMNS
from trifocal.keypoints.formats.table import TABLE, read_table
from trifocal.keypoints.sonichu.ensemble import median_points
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.keypoints.sonichu import SonichuModel
    from trifocal.keypoints.sonichu.squares import Squares
    from trifocal.predictor import Progress

SOURCE = "pseudo"
COLUMNS = (*TABLE_COLUMNS, "spread_px")
BATCH = 16


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """An image that models have labelled.

    Attributes:
        example: Points of the models; its source is "pseudo".
        spread_px: Mean distance of the single answers (each model's, on the image and on its mirror image)
            from their median, over the points, in pixels of the 256 x 256 square. A hint, not an error bar.
    """

    example: Example
    spread_px: float


def pseudo_label(
    models: Sequence[SonichuModel], images: Squares, progress: Progress = silent
) -> list[PseudoLabel]:
    """Label images by the median of the models' answers; what points they have is not looked at.

    Args:
        models: One or more, in evaluation mode.
        images: Each with the task that it is labelled for.
        progress: Called after every batch.
    """
    device = next(models[0].parameters()).device
    labels: dict[int, PseudoLabel] = {}
    ids = images.task_ids()
    for task_id in dict.fromkeys(ids):
        own = torch.tensor([i for i, x in enumerate(ids) if x == task_id])
        for start in range(0, len(own), BATCH):
            part = own[start : start + BATCH]
            progress(len(labels) / len(images), f"labelling {task_id}")
            view = images.view(part, device)
            points, spreads = _agreed(models, view, task_id)
            pixels = images.in_pixels(points, part.tolist())
            for i, found, spread in zip(part.tolist(), pixels, spreads, strict=True):
                of = images.examples[i]
                example = Example(of.path, task_id, found, of.patient, SOURCE, of.mm_per_px)
                labels[i] = PseudoLabel(example, float(spread))
    return [labels[i] for i in range(len(images))]


def _agreed(
    models: Sequence[SonichuModel], view: torch.Tensor, task_id: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, K, 2) medians in [0, 1] and (B,) spreads in network pixels."""
    answers = []
    for model in models:
        upright = model.predict(view, task_id, tta=False).double().cpu().numpy()
        mirrored = model.predict(view.flip(-1), task_id, tta=False).double().cpu().numpy()
        mirrored[..., 0] = 1 - mirrored[..., 0]
        answers += [upright, mirrored]
    stacked, task = np.stack(answers), TASKS[task_id]
    median = median_points(stacked, task)
    offsets = task.matched(stacked, np.broadcast_to(median, stacked.shape)) - median
    spread: NDArray[np.float64] = NETWORK_SIDE * np.linalg.norm(offsets, axis=-1).mean((0, -1))
    return median, spread


def write_labels(labels: Sequence[PseudoLabel], folder: Path) -> None:
    """Write points.csv in the package's own format, with "pseudo" as the source and the spread.

    Paths of the images are relative to the folder.

    Raises:
        OSError: If it cannot be written; a table that was there is as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / TABLE) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for label in labels:
            e = label.example
            name = Path(os.path.relpath(e.path, folder)).as_posix()
            scale = "" if e.mm_per_px is None else f"{e.mm_per_px:.6f}"
            for point, (x, y) in zip(e.task.points, e.points, strict=True):
                place = (f"{x:.3f}", f"{y:.3f}", scale, SOURCE, f"{label.spread_px:.4f}")
                writer.writerow((name, e.patient, e.task_id, point, *place))


def read_labels(folder: Path) -> list[PseudoLabel]:
    """Read what `write_labels` wrote.

    Raises:
        ValueError: If the table is not one of pseudo-labels; the message names the line.
        OSError: If it cannot be read.
    """
    path = folder / TABLE
    spreads = {
        (row.text("file"), row.text("task")): row.number("spread_px") for row in read_rows(path, COLUMNS)
    }
    examples = [replace(e, path=Path(os.path.normpath(e.path))) for e in read_table(path)]
    return [PseudoLabel(example, spread) for example, spread in zip(examples, spreads.values(), strict=True)]
