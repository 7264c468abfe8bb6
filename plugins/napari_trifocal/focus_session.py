"""The model behind the focus widget: head, bowl, placement, engine, jobs. No Qt, no napari."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_trifocal.focus_choice import EngineChoice
from napari_trifocal.focus_engines import EngineError
from napari_trifocal.focus_jobs import Answer, Loaded, Order, Source
from napari_trifocal.focus_placing import AXES, MOST_STANDOFF_MM, Axis, History, Placing
from napari_trifocal.message import Message
from napari_trifocal.worker import JobQueue, Post
from trifocal.focus.placement import coupling_problem
from trifocal.focus.transducer import PRESETS, Bowl, find_bowl
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.predictor import FocusPrediction


class FocusSession:
    """What the user works on. Every method is called on the interface thread and returns at once.

    Signals:
        loaded: A head is ready; carries its layer data.
        placed: The pose, target, axis rule or stand-off changed.
        bowl_changed: Another bowl.
        predicted: A field is ready; carries the `Answer`.
        said: A `Message` for the user.
        progress: Fraction and what is being done; fraction 1 when nothing runs any more.
    """

    loaded = Signal(list)
    placed = Signal()
    bowl_changed = Signal()
    predicted = Signal(Answer)
    said = Signal(Message)
    progress = Signal(float, str)

    def __init__(self, post: Post, device: str = "auto") -> None:
        self.head: Head | None = None
        self.source: Source | None = None
        self.bowl: Bowl = PRESETS["default"]
        self.bowl_name = "default"
        self.choice = EngineChoice(device)
        self.placing: Placing | None = None
        self.coupling: str | None = None
        self.answer: Answer | None = None
        self.history = History()
        self._before_drag: Placing | None = None
        self._loading = JobQueue(post, "trifocal-load")
        self._predicting = JobQueue(post, "trifocal-predict")
        self._saving = JobQueue(post, "trifocal-save")
        self._choosing = JobQueue(post, "trifocal-engine")
        self._queues = self._loading, self._predicting, self._saving, self._choosing

    @property
    def pose(self) -> Pose | None:
        """Bowl frame -> world."""
        return None if self.placing is None else self.placing.pose

    @property
    def target_mm(self) -> NDArray[np.float64] | None:
        """(3,) where the focus is wanted."""
        return None if self.placing is None else self.placing.target_mm

    @property
    def prediction(self) -> FocusPrediction | None:
        """What is shown; a coarse one while the bowl is dragged."""
        return None if self.answer is None else self.answer.prediction

    @property
    def dragging(self) -> bool:
        """Whether the mouse holds the bowl or the target."""
        return self._before_drag is not None

    @property
    def busy(self) -> bool:
        """Whether anything is being computed or written."""
        return any(queue.busy for queue in self._queues)

    def load(self, source: Source) -> None:
        """Read a head CT and get it ready; until then, and if it fails, everything stays as it is."""
        self._loading.submit(
            lambda report: source.load(self.bowl, report),
            self._on_head,
            self._on_failed,
            self.progress.emit,
            replace_running=True,
        )

    def set_bowl(self, name_or_path: str | Path) -> bool:
        """Take the bowl of a preset or of a JSON file, over the same point of the skin."""
        try:
            bowl = find_bowl(name_or_path)
        except ValueError as error:
            return self._refuse(error)
        self.bowl, self.bowl_name = bowl, str(name_or_path)
        self.bowl_changed.emit()
        if self.head is not None and self.placing is not None:
            entry, now = self.placing.entry_mm(self.head), self.placing
            self._place(now.slid(self.head, bowl, entry))
            self.predict()
        return True

    def set_engine(self, engine: str, device: str | None = None) -> None:
        """Choose the rung and the device, and predict again; one that cannot be loaded gives way to HAS."""
        self.choice.choose(engine, device)
        self.predict()

    def find_engines(self) -> None:
        """Load the engine that is chosen, and see which devices there are."""
        self._choosing.submit(self.choice.find, self._on_engines, self._on_failed, self.progress.emit)

    def set_pose(self, pose: Pose, tag: str = "") -> None:
        """Put the bowl where it is told to be; the axis rule is off until one is chosen."""
        if self.head is not None and self.placing is not None:
            self._change(self.placing.posed(self.head, self.bowl, pose), tag)

    def set_target(self, target_mm: ArrayLike) -> bool:
        """Move the target; with the axis on the target the bowl turns to it. Refused outside the head."""
        if self.head is None or self.placing is None:
            return False
        target = np.asarray(target_mm, float)
        outside = float(self.head.distance_mm(target))
        if outside > 0:
            text = f"the target {np.round(target, 1).tolist()} lies {outside:.0f} mm outside the head"
            return self._refuse(ValueError(f"{text}: give a point inside it"))
        placing = replace(self.placing, target_mm=target)
        if placing.axis == "target":
            placing = placing.slid(self.head, self.bowl, self.placing.entry_mm(self.head))
        self._change(placing)
        return True

    def set_axis(self, axis: Axis) -> None:
        """Choose what the beam axis follows; the bowl turns to it at once."""
        if axis not in AXES:
            msg = f"axis must be one of {list(AXES)}, got {axis!r}"
            raise ValueError(msg)
        if self.head is not None and self.placing is not None and axis != self.placing.axis:
            placing = replace(self.placing, axis=axis)
            self._change(placing.slid(self.head, self.bowl, self.placing.entry_mm(self.head)))

    def set_standoff(self, standoff_mm: float) -> None:
        """Move the bowl along its axis to this gap between it and the skin."""
        if self.head is not None and self.placing is not None:
            placing = replace(self.placing, standoff_mm=float(np.clip(standoff_mm, 0, MOST_STANDOFF_MM)))
            entry = self.placing.entry_mm(self.head)
            free = replace(placing, axis="free").slid(self.head, self.bowl, entry)
            self._change(replace(placing, pose=free.pose), "standoff")

    def begin_drag(self) -> None:
        """The mouse takes hold: what follows counts as one change, and predictions are coarse."""
        self._before_drag = self.placing

    def drag_to(self, placing: Placing) -> None:
        """Where the mouse has brought the bowl."""
        self._place(placing)
        self.predict(preview=True)

    def end_drag(self) -> None:
        """The mouse lets go: the full prediction follows."""
        before, self._before_drag = self._before_drag, None
        if before is not None and before is not self.placing:
            self.history.remember(before)
            self.placed.emit()
            self.predict()

    def undo(self) -> None:
        """Go back to the placement before."""
        self._restore(self.history.undo)

    def redo(self) -> None:
        """Go forth to the placement that was undone."""
        self._restore(self.history.redo)

    def predict(self, *, preview: bool = False) -> None:
        """Predict for the present placement."""
        order = self.order(preview=preview)
        if order is not None:
            self._predicting.submit(order.predict, self._on_answer, self._on_failed, self.progress.emit)

    def order(self, *, preview: bool = False) -> Order | None:
        """What to predict now; None without a head."""
        if self.head is None or self.placing is None:
            return None
        return Order(
            self.head,
            self.bowl,
            self.placing.pose,
            self.placing.target_mm,
            self.choice.engine,
            self.choice.device,
            preview,
            self.choice.engines,
        )

    def run_saving(self, work: Callable[..., Any], done: Callable[[Any], None]) -> None:
        """Run something that writes, away from the interface thread."""
        self._saving.submit(work, done, self._on_failed, self.progress.emit)

    def cancel(self) -> None:
        """Stop whatever is being computed."""
        for queue in self._queues:
            queue.cancel()

    def close(self) -> None:
        """Stop everything and join the threads."""
        for queue in self._queues:
            queue.close()

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Tell the user something."""
        self.said.emit(Message(text, is_error))

    def _change(self, placing: Placing, tag: str = "") -> None:
        if self.placing is not None and not self.dragging:
            self.history.remember(self.placing, tag)
        self._place(placing)
        self.predict(preview=self.dragging)

    def _place(self, placing: Placing) -> None:
        assert self.head is not None
        self.placing = placing
        self.coupling = coupling_problem(self.head, self.bowl, placing.pose)
        self.placed.emit()

    def _restore(self, step: Callable[[Placing], Placing | None]) -> None:
        placing = None if self.placing is None or self.dragging else step(self.placing)
        if placing is not None:
            self._place(placing)
            self.predict()

    def _on_head(self, loaded: Loaded) -> None:
        self._predicting.forget()
        self.head, self.source, self.answer = loaded.head, loaded.source, None
        self._before_drag = None
        self.history.clear()
        self.loaded.emit(loaded.layers)
        self._place(loaded.placing)
        self.progress.emit(1.0, "")
        self.say("; ".join((f"{loaded.source.name}: ready", *loaded.warnings, *self.choice.problems)))
        self.predict()

    def _on_answer(self, answer: Answer) -> None:
        self.answer = answer
        self.predicted.emit(answer)
        self.progress.emit(1.0, "")

    def _on_engines(self, missing: dict[str, str]) -> None:
        self.progress.emit(1.0, "")
        sentence = self.choice.note(missing)
        if sentence is not None:
            self.say(sentence, is_error=True)
            self.predict()

    def _on_failed(self, error: BaseException) -> None:
        self.progress.emit(1.0, "")
        if isinstance(error, Cancelled):
            self.say("cancelled")
        elif isinstance(error, EngineError) and self.choice.give_up(error):
            self.say(f"{error}; {self.choice.engine} is used", is_error=True)
            self.predict()
        else:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> bool:
        text = " ".join(str(error).split()) or type(error).__name__
        self.say(text, is_error=True)
        return False
