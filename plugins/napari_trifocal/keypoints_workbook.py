"""All that is known of the frames that are open: points for each task, scales, measurements. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_trifocal.keypoints_scales import Scales
from napari_trifocal.keypoints_sheet import Sheet
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.measurements import Measurement, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_trifocal.keypoints_marks import Marks
    from napari_trifocal.reel import Reel
    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task


class Workbook:
    """A reel with what was found in it.

    Args:
        reel: The frames.

    Attributes:
        scales: Size of the pixels of each clip.
    """

    def __init__(self, reel: Reel) -> None:
        self.reel = reel
        self.scales = Scales(reel)
        self._sheets: dict[str, Sheet] = {}
        self._measured: dict[tuple[str, int], tuple[Marks, int, tuple[Measurement, ...]]] = {}

    @property
    def tasks(self) -> list[Task]:
        """Those that have points."""
        return [sheet.task for sheet in self._sheets.values() if sheet.steps]

    def sheet(self, task: Task) -> Sheet:
        """The points for a task."""
        return self._sheets.setdefault(task.id, Sheet(task))

    def measurements(self, task: Task, step: int) -> tuple[Measurement, ...]:
        """What the points of a frame measure."""
        marks, key = self.sheet(task)[step], (task.id, step)
        known = self._measured.get(key)
        if known is None or known[0] is not marks or known[1] != self.scales.version:
            known = marks, self.scales.version, self._measure(task, marks, step)
            self._measured[key] = known
        return known[2]

    def ellipse(self, task: Task, step: int) -> Ellipse | None:
        """The ellipse of a frame: as it was fitted, or by the points as axes once they are edited."""
        marks = self.sheet(task)[step]
        if not task.ellipse or len(marks.missing):
            return None
        if marks.prediction is not None and not marks.edited.any():
            return marks.prediction.ellipse
        try:
            return ellipse_from_axes(marks.points)
        except ValueError:  # an axis without a length
            return None

    def points(self, task: Task, clip: int) -> NDArray[np.float64]:
        """(T, K, 2) points of every frame of a clip."""
        sheet = self.sheet(task)
        return np.stack([sheet[step].points for step in self.reel.steps(clip)])

    def _measure(self, task: Task, marks: Marks, step: int) -> tuple[Measurement, ...]:
        scale, reason = self.scales.at(step, marks.points)
        # A fitted ellipse belongs to the points that were predicted with it.
        fitted = None if marks.prediction is None or marks.edited.any() else marks.prediction.ellipse
        return measure(task, marks.points, scale, reason, fitted)
