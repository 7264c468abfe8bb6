"""Which frames of a run to look at first."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.keypoints.predictor import KeypointsPrediction
    from trifocal.keypoints.tasks import Task

REVIEW = "review.csv"
REVIEW_COLUMNS = ("file", "frame", "task", "review", "hints", "warnings")


@dataclass(frozen=True)
class ReviewItem:
    """What speaks for a second look at one frame.

    Attributes:
        file: As it is named in the tables.
        frame: Counted from 0.
        task: Whose points were looked for.
        review: 0 to 1, as a prediction has it; 1 for a frame that cannot be decoded.
        hints: Sentences that say why it deserves one.
        warnings: What else the user should know.
    """

    file: str
    frame: int
    task: Task
    review: float
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, file: str, frame: int, prediction: KeypointsPrediction) -> ReviewItem:
        """What a prediction says of itself."""
        return cls(file, frame, prediction.task, prediction.review, prediction.hints, prediction.warnings)


class ReviewQueue:
    """The frames of a run, those that most deserve a second look first.

    It holds some sentences of each frame, neither pixels nor points: a long cine needs no memory.
    """

    def __init__(self) -> None:
        self._items: list[ReviewItem] = []

    def add(self, item: ReviewItem) -> None:
        """Put a frame in."""
        self._items.append(item)

    @property
    def items(self) -> list[ReviewItem]:
        """By `review`, descending; frames of one value in the order in which they came."""
        return sorted(self._items, key=lambda item: -item.review)

    def write(self, folder: Path) -> None:
        """Write review.csv; several sentences of a cell are parted by semicolons.

        Raises:
            OSError: If the disk is full.
        """
        with (folder / REVIEW).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(REVIEW_COLUMNS)
            for item in self.items:
                sentences = ("; ".join(item.hints), "; ".join(item.warnings))
                writer.writerow((item.file, item.frame, item.task.id, f"{item.review:.4f}", *sentences))
