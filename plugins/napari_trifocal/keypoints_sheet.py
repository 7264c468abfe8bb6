"""The points of every frame for one task, with undo and redo. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_trifocal.keypoints_marks import Marks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trifocal.keypoints.predictor import KeypointsPrediction
    from trifocal.keypoints.tasks import Task

HISTORY = 500
HEATS = 32  # heat maps that are kept, of the newest predictions: each is as large as its frame


class Sheet:
    """Marks by step of a reel.

    Undo and redo go through what the user did; a prediction that arrives in between changes what lies
    beneath the edits, and is no step of the history.

    Args:
        task: Whose points.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._marks: dict[int, Marks] = {}
        self._blank = Marks.blank(task.count)
        self._past: list[dict[int, Marks]] = []
        self._future: list[dict[int, Marks]] = []
        self._held: dict[int, Marks] | None = None
        self._heated: list[int] = []

    def __getitem__(self, step: int) -> Marks:
        return self._marks.get(step, self._blank)

    @property
    def steps(self) -> list[int]:
        """Those that have a prediction or an edit."""
        return sorted(s for s, marks in self._marks.items() if marks.prediction or marks.edited.any())

    @property
    def review_queue(self) -> list[int]:
        """Steps that have a prediction, those first that most deserve a second look."""
        levels = {s: marks.prediction.review for s, marks in self._marks.items() if marks.prediction}
        return sorted(levels, key=lambda step: (-levels[step], step))

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether an edit was taken back."""
        return bool(self._future)

    def predict(self, step: int, prediction: KeypointsPrediction) -> None:
        """Lay a prediction beneath the edits of a step."""
        self._marks[step] = replace(self[step], prediction=prediction)
        self._heated = [*(s for s in self._heated if s != step), step]
        for cold in self._heated[:-HEATS]:
            marks = self._marks[cold]
            if marks.prediction is not None:
                self._marks[cold] = replace(marks, prediction=replace(marks.prediction, heat=None))
        del self._heated[:-HEATS]

    def change(self, changes: Mapping[int, Marks]) -> None:
        """Take over what the user did to some steps, as one step of the history."""
        if self._held is not None:
            for step in changes:
                self._held.setdefault(step, self[step])
        else:
            self._remember({step: self[step] for step in changes})
        self._marks.update(changes)

    def hold(self) -> None:
        """What follows counts as one change: the mouse has a point."""
        self._held = {}

    def release(self) -> None:
        """The end of `hold`."""
        before, self._held = self._held, None
        if before:
            self._remember(before)

    def undo(self) -> list[int]:
        """Take back the newest edit; returns the steps that changed."""
        return self._go(self._past, self._future)

    def redo(self) -> list[int]:
        """Do again what was taken back last; returns the steps that changed."""
        return self._go(self._future, self._past)

    def _remember(self, before: dict[int, Marks]) -> None:
        self._past.append(before)
        del self._past[:-HISTORY]
        self._future.clear()

    def _go(self, source: list[dict[int, Marks]], sink: list[dict[int, Marks]]) -> list[int]:
        if not source or self._held is not None:
            return []
        then = source.pop()
        sink.append({step: self[step] for step in then})
        for step, marks in then.items():
            self._marks[step] = replace(marks, prediction=self[step].prediction)
        return sorted(then)
