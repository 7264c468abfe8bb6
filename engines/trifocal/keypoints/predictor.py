"""An ultrasound image and a task in; named points with their confidence out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from trifocal.cine import grey
from trifocal.keypoints.answer import combine
from trifocal.keypoints.classical import classical_ellipse
from trifocal.keypoints.decode import frame_heat
from trifocal.keypoints.learned import BUNDLED, Learned
from trifocal.keypoints.review import Signals, review
from trifocal.predictor import Progress, one_core, pick_device, silent

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task

CLASSICAL = "classical"

AGREES = 0.08
"""Relative difference of circumferences up to which the classical ellipse confirms an outline."""


@dataclass(frozen=True, eq=False)
class KeypointsInput:
    """What a prediction is made from.

    Attributes:
        frame: (rows, columns) grey or (rows, columns, 3) RGB, uint8, as read.
        task: Which points are wanted.
        tta: Also predict the mirrored image and average: twice the time.
        mm_per_px: (x, y) size of a pixel, if known: enables the checks that need millimetres.
        cross_check: Also compare with the classical ellipse (HC only): some 60 ms more.
    """

    frame: NDArray[np.uint8]
    task: Task
    tta: bool = False
    mm_per_px: tuple[float, float] | None = None
    cross_check: bool = False


@dataclass(frozen=True, eq=False)
class KeypointsPrediction:
    """Named points on one image.

    Attributes:
        task: Of the input.
        points: (K, 2) x, y in pixels of the frame as read, canonical order; NaN where nothing was found.
        scores: (K,) peak of the heat map, 0 to 1: how sharply the network answered, not how right it is.
        spread_px: (K,) how far the members of the ensemble (and the mirrored image) lie from their mean.
        review: 0 to 1: how much this image deserves a second look, for sorting; a hint, not an error bar.
        hints: Sentences that say why it deserves one.
        ellipse: In pixels, for tasks that have one and where it was found.
        heat: (rows, columns) float32, 0 to 1, on the frame's own grid: the highest of the points' heat maps.
        engine: "network" or "classical".
        weights_sha256: Of the network's file; "" for none.
        device: Where it was computed.
        seconds: That it took.
        warnings: What the user should know (trained on synthetic images only, out of range, ...).
    """

    task: Task
    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    spread_px: NDArray[np.float64]
    review: float
    hints: tuple[str, ...] = ()
    ellipse: Ellipse | None = None
    heat: NDArray[np.float32] | None = field(default=None, repr=False)
    engine: str = "network"
    weights_sha256: str = ""
    device: str = "cpu"
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class KeypointsPredictor:
    """Finds the points of a task, by the bundled networks or, for the head, without any weights.

    Attributes:
        learned: The networks; None for the classical ellipse.
        device: Where it computes.
    """

    def __init__(self, learned: Learned | None, device: torch.device) -> None:
        self.learned = learned
        self.device = device

    @classmethod
    def load(cls, checkpoint: Path | str = BUNDLED, *, device: str = "auto") -> Self:
        """Make the predictor from a checkpoint, the name of a bundled model, or "classical".

        Raises:
            CheckpointError: If the weights cannot be used.
            ValueError: If the device does not exist.
        """
        where = pick_device(device)
        return cls(None if checkpoint == CLASSICAL else Learned.load(checkpoint, where), where)

    def predict(self, inputs: KeypointsInput, /, *, progress: Progress = silent) -> KeypointsPrediction:
        """Find the points on one frame.

        Raises:
            ValueError: If the classical ellipse is asked for a task other than HC.
            Cancelled: By `progress`.
        """
        began = time.perf_counter()
        progress(0.0, inputs.task.title)
        frame = grey(inputs.frame)
        with one_core():
            found = self._classical(frame, inputs) if self.learned is None else self._network(frame, inputs)
        progress(1.0, inputs.task.title)
        return replace(found, device=self.device.type, seconds=time.perf_counter() - began)

    def _network(self, frame: NDArray[np.uint8], inputs: KeypointsInput) -> KeypointsPrediction:
        assert self.learned is not None
        task = inputs.task
        maps = self.learned.maps(frame, task, tta=inputs.tta)
        answer = combine(maps, task)
        signals = Signals.of(answer, task, frame.shape)
        level, hints = review(signals, self.learned.review.get(task.id), inputs.mm_per_px)
        if inputs.cross_check and task.id == "HC" and answer.ellipse is not None:
            hints = (*hints, *_cross_check(frame, answer.ellipse))
        warnings = []
        if task.id not in self.learned.real:
            warnings.append(f"for {task.id} the network was trained on synthetic images only")
        if task.ellipse and answer.ellipse is None:
            level = 1.0
            warnings.append("no outline was found: the points are those of the heat maps alone")
        return KeypointsPrediction(
            task=task,
            points=answer.points,
            scores=answer.scores,
            spread_px=np.linalg.norm(answer.views - answer.points, axis=-1).mean(0),
            review=level,
            hints=hints,
            ellipse=answer.ellipse,
            heat=frame_heat(maps.heat.mean(0), maps.canvas),
            weights_sha256=self.learned.sha256,
            warnings=tuple(warnings),
        )

    def _classical(self, frame: NDArray[np.uint8], inputs: KeypointsInput) -> KeypointsPrediction:
        if inputs.task.id != "HC":
            msg = f"the classical ellipse knows the task HC only, got {inputs.task.id}: use the network"
            raise ValueError(msg)
        found = classical_ellipse(frame)
        points = np.full((4, 2), np.nan) if found is None else found.ellipse.axis_ends()
        nothing = ("the classical ellipse found no head: place the points by hand",)
        return KeypointsPrediction(
            task=inputs.task,
            points=inputs.task.canonical(points),
            scores=np.full(4, np.nan if found is None else found.score),
            spread_px=np.full(4, np.nan),
            review=1.0 if found is None else float(np.clip(1 - found.score, 0, 1)),
            ellipse=None if found is None else found.ellipse,
            engine=CLASSICAL,
            warnings=nothing if found is None else (),
        )


def _cross_check(frame: NDArray[np.uint8], ellipse: Ellipse) -> tuple[str, ...]:
    """A sentence where the classical ellipse (its mean error is 3 mm) is far from the networks'."""
    found = classical_ellipse(frame)
    if found is None:
        return ("the classical ellipse found no head to compare with",)
    ratio = found.ellipse.perimeter / ellipse.perimeter
    apart = float(np.hypot(*np.subtract(found.ellipse.center, ellipse.center))) / ellipse.perimeter
    if abs(ratio - 1) <= AGREES and apart <= AGREES / 2:
        return ()
    return (f"the classical ellipse disagrees: its circumference is {ratio:.0%} of this one",)
