"""Images with known points: what training and evaluation read, wherever they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trifocal.keypoints.tasks import Task


@dataclass(frozen=True, eq=False)
class Example:
    """One labelled image.

    Attributes:
        path: Of the image.
        task_id: One of the nine.
        points: (K, 2) x, y in pixels of the image as read, canonical order; NaN for a missing point.
        patient: Whom it is from; images of one patient never lie on both sides of a split.
        source: "synthetic", "hc18", "fu_biometry", "ucl", "coco" or "pseudo" (a teacher's answer).
        mm_per_px: Size of a (square) pixel; None if not known.

    Raises:
        ValueError: If the task is unknown or the points are not its points.
    """

    path: Path
    task_id: str
    points: NDArray[np.float64]
    patient: str
    source: str
    mm_per_px: float | None = None

    def __post_init__(self) -> None:
        if self.task_id not in TASKS:
            msg = f"the task of {self.path.name} must be one of {', '.join(TASKS)}, got {self.task_id!r}"
            raise ValueError(msg)
        object.__setattr__(self, "points", self.task.canonical(self.points))

    @property
    def task(self) -> Task:
        """The task itself."""
        return TASKS[self.task_id]
