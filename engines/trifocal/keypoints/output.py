"""The tables of a keypoints run: written a frame at a time, so that a long cine needs no memory.

- keypoints.csv: file, frame, task, point, x_px, y_px, x_mm, y_mm, score, edited, weights_sha256. One row
  for each point, with empty cells where it is missing; pixels are those of the file as read, whole numbers at
  their centres; millimetres are pixels times their size, from the same origin, and empty without a scale.
  Frames count from 0.
- measurements.csv: file, frame, task, measurement, value, unit, reason. What belongs to a whole cine has no
  frame.
- predictions.json, if wanted: the FU_Biometry challenge's form, a list of {image_path, task_id,
  predicted_points_normalized, predicted_points_pixels}; points are flat lists [x1, y1, x2, ...], missing ones
  null; frames of a cine also have "frame".
"""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from trifocal.keypoints.formats.fu_biometry import fu_prediction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.keypoints.frame_result import FrameResult
    from trifocal.keypoints.measurements import Measurement
    from trifocal.keypoints.tasks import Task

POINT_COLUMNS = (
    "file", "frame", "task", "point", "x_px", "y_px", "x_mm", "y_mm", "score", "edited", "weights_sha256",
)  # fmt: skip
MEASUREMENT_COLUMNS = ("file", "frame", "task", "measurement", "value", "unit", "reason")
POINTS, MEASUREMENTS, PREDICTIONS = "keypoints.csv", "measurements.csv", "predictions.json"


class ResultWriter:
    """Writes the tables into a folder, which must be there; they are complete when its context ends.

    Whoever uses it makes it all or nothing: see `trifocal.files.output_folder`.

    Args:
        folder: Where to.
        predictions: Whether to write predictions.json too.
    """

    def __init__(self, folder: Path, *, predictions: bool = False) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._wanted = predictions
        self._predictions: IO[str] | None = None
        self._first = True

    def __enter__(self) -> Self:
        self._points = self._table(POINTS, POINT_COLUMNS)
        self._measurements = self._table(MEASUREMENTS, MEASUREMENT_COLUMNS)
        if self._wanted:
            self._predictions = self._open(PREDICTIONS)
            self._predictions.write("[")
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._predictions is not None:
                self._predictions.write("\n]\n")

    def add(self, result: FrameResult, *, of_cine: bool = False) -> None:
        """Write one frame.

        Args:
            result: The frame.
            of_cine: Whether its file has more frames than this.

        Raises:
            OSError: If the disk is full.
        """
        self._points.writerows(point_rows(result))
        self.add_measurements(result.file, result.frame, result.task, result.measurements)
        if self._predictions is not None:
            frame = result.frame if of_cine else None
            item = fu_prediction(result.file, result.task.id, result.points, result.size, frame)
            text = json.dumps(item, ensure_ascii=False, allow_nan=False)
            self._predictions.write(f"{'' if self._first else ','}\n {text}")
            self._first = False

    def add_measurements(
        self, file: str, frame: int | None, task: Task, measurements: Iterable[Measurement]
    ) -> None:
        """Write measurements of a frame, or of a whole cine (None)."""
        for item in measurements:
            value = "" if item.value is None or not np.isfinite(item.value) else f"{item.value:.4f}"
            where = "" if frame is None else frame
            self._measurements.writerow((file, where, task.id, item.name, value, item.unit, item.reason))

    def _open(self, name: str) -> IO[str]:
        return self._stack.enter_context((self._folder / name).open("w", newline="", encoding="utf-8"))

    def _table(self, name: str, columns: Sequence[str]) -> Any:
        writer = csv.writer(self._open(name), lineterminator="\n")
        writer.writerow(columns)
        return writer


def point_rows(result: FrameResult) -> list[tuple[object, ...]]:
    """The rows of keypoints.csv of one frame, one for each point."""
    mm = result.points * (result.scale or (np.nan, np.nan))
    return [
        (
            *(result.file, result.frame, result.task.id, name),
            *_cells(result.points[i], 3),
            *_cells(mm[i], 4),
            *_cells(result.scores[i : i + 1], 4),
            int(result.edited[i]),
            result.weights_sha256,
        )
        for i, name in enumerate(result.task.points)
    ]


def _cells(values: NDArray[np.float64], decimals: int) -> list[str]:
    return [f"{value:.{decimals}f}" if np.isfinite(value) else "" for value in values]
