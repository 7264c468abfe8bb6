"""What the keypoints widget's threads do: predict frames, the one that is looked at first. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trifocal.image import ImageError
from trifocal.keypoints.predictor import KeypointsInput, KeypointsPrediction
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from napari_trifocal.keypoints_engines import Engines
    from napari_trifocal.keypoints_scales import Scales
    from napari_trifocal.reel import Reel
    from trifocal.keypoints.tasks import Task

Deliver = Callable[[int, KeypointsPrediction], None]


@dataclass(frozen=True, eq=False)
class Order:
    """What to predict.

    Attributes:
        reel: Where the frames are.
        task: Which points.
        steps: Of the reel, which frames.
        engine: One of `keypoints_engines.ENGINES`.
        device: "auto", "cpu" or "cuda".
        tta: Average with the mirrored image.
        scales: Size of the pixels.
        engines: What is loaded already.
    """

    reel: Reel
    task: Task
    steps: tuple[int, ...]
    engine: str
    device: str
    tta: bool
    scales: Scales
    engines: Engines

    def predict(self, now: Callable[[], int], deliver: Deliver, progress: Progress = silent) -> list[str]:
        """Predict the frames; each is delivered as soon as it is there.

        Args:
            now: The step that is looked at: the frames nearest to it come next, whenever it moves.
            deliver: Gets the step and its prediction, in this thread.
            progress: Gets the progress; may raise `Cancelled`, and what was delivered stays.

        Returns:
            Sentences about frames that could not be read or predicted.

        Raises:
            EngineError: If the engine cannot be loaded.
        """
        progress(0.0, f"loading the engine {self.engine}")
        engine = self.engines.get(self.engine, self.device)
        left, problems, began = set(self.steps), [], time.monotonic()
        while left:
            step = nearest(left, now())
            done = len(self.steps) - len(left)
            progress(done / len(self.steps), self._said(step, done, time.monotonic() - began))
            left.remove(step)
            try:
                deliver(step, engine.predict(self._inputs(step)))
            except (ImageError, OSError, ValueError) as error:  # one bad frame does not stop the others
                problems.append(f"{self._name(step)}: {' '.join(str(error).split())}")
        return problems

    def _inputs(self, step: int) -> KeypointsInput:
        middle, _ = self.scales.at(step, ())
        return KeypointsInput(self.reel.frame(step), self.task, self.tta, middle)

    def _said(self, step: int, done: int, seconds: float) -> str:
        if len(self.steps) == 1:
            return f"predicting {self.task.id}"
        left = f", {seconds / done * (len(self.steps) - done):.0f} s left" if done else ""
        return f"{done} of {len(self.steps)}: {self._name(step)}{left}"

    def _name(self, step: int) -> str:
        clip, frame = self.reel.clip_at(step), self.reel.locate(step)[1]
        return clip.name if clip.count == 1 else f"{clip.name} frame {frame}"


def nearest(steps: set[int], now: int) -> int:
    """The step that is nearest to another one; of two, the later."""
    return min(steps, key=lambda step: (abs(step - now), step < now))
