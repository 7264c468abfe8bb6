"""What there is to write down about one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from trifocal.keypoints.calibration import Refusal
from trifocal.keypoints.measurements import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.measurements import Measurement
    from trifocal.keypoints.predictor import KeypointsPrediction
    from trifocal.keypoints.tasks import Task


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Points and measurements of one frame of a file, predicted or edited.

    Attributes:
        file: As it is named in the tables.
        frame: Counted from 0.
        size: (columns, rows) of the frame.
        task: Whose points.
        points: (K, 2) x, y in pixels; NaN for a missing point.
        scores: (K,) of the prediction; NaN where there is none.
        edited: (K,) whether a point was placed or moved by hand.
        scale: (x, y) mm per pixel that hold for the points; None if there are none.
        measurements: All of the task's.
        ellipse: In pixels, where there is one.
        engine: "network", "classical" or "" where nothing was predicted.
        weights_sha256: Of the network's file; "" for none.
    """

    file: str
    frame: int
    size: tuple[int, int]
    task: Task
    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    edited: NDArray[np.bool_]
    scale: tuple[float, float] | None
    measurements: tuple[Measurement, ...]
    ellipse: Ellipse | None = None
    engine: str = ""
    weights_sha256: str = ""

    @classmethod
    def predicted(
        cls,
        file: str,
        frame: int,
        size: tuple[int, int],
        prediction: KeypointsPrediction,
        scale: tuple[float, float] | Refusal,
    ) -> Self:
        """A prediction as it is; `scale` as a calibration gave it for its points."""
        known, reason = (None, scale.reason) if isinstance(scale, Refusal) else (scale, "")
        return cls(
            file=file,
            frame=frame,
            size=size,
            task=prediction.task,
            points=prediction.points,
            scores=prediction.scores,
            edited=np.zeros(prediction.task.count, bool),
            scale=known,
            measurements=measure(prediction.task, prediction.points, known, reason, prediction.ellipse),
            ellipse=prediction.ellipse,
            engine=prediction.engine,
            weights_sha256=prediction.weights_sha256,
        )

    @classmethod
    def unreadable(cls, file: str, frame: int, size: tuple[int, int], task: Task) -> Self:
        """A frame that cannot be decoded: all its points are missing."""
        nowhere = np.full((task.count, 2), np.nan)
        return cls(
            file=file,
            frame=frame,
            size=size,
            task=task,
            points=nowhere,
            scores=nowhere[:, 0],
            edited=np.zeros(task.count, bool),
            scale=None,
            measurements=measure(task, nowhere, None, "the frame cannot be decoded"),
        )
