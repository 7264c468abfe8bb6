"""Predictions of the keypoints widget: what is asked for, and the answers as they come. No Qt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_trifocal.keypoints_engines import ENGINES
from napari_trifocal.keypoints_jobs import Order
from napari_trifocal.worker import JobQueue, Post
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from napari_trifocal.keypoints_engines import Engines
    from napari_trifocal.keypoints_session import KeypointsSession
    from napari_trifocal.keypoints_sheet import Sheet
    from trifocal.keypoints.predictor import KeypointsPrediction

Extent = Literal["frame", "file", "all"]


class Predicting:
    """Predicts frames of a session in a thread of its own.

    Signals:
        changed: Another engine, device or setting.
        arrived: The step of a frame that has a prediction now.

    Attributes:
        engine: One of `ENGINES`.
        device: "auto", "cpu" or "cuda".
        tta: Average with the mirrored image.
        running: Whether frames are being predicted.
    """

    changed = Signal()
    arrived = Signal(int)

    def __init__(self, session: KeypointsSession, post: Post, device: str, engines: Engines) -> None:
        self.engine, self.device, self.tta = next(iter(ENGINES)), device, False
        self.running = False
        self._session = session
        self._engines = engines
        self._post = post
        self._number = 0  # of the order: late answers of another one are dropped
        self._asked = self._got = 0
        self._queue = JobQueue(post, "trifocal-keypoints")

    @property
    def busy(self) -> bool:
        """Whether frames are being predicted or delivered."""
        return self._queue.busy

    def choose(
        self, engine: str | None = None, device: str | None = None, *, tta: bool | None = None
    ) -> None:
        """Take an engine, a device, or averaging with the mirrored image."""
        self.engine = engine or self.engine
        self.device = device or self.device
        self.tta = self.tta if tta is None else tta
        self.changed.emit()

    def start(self, extent: Extent) -> None:
        """Predict the frame that is looked at, all of its file, or all files; edited points stay."""
        session = self._session
        if session.book is None or session.sheet is None:
            session.say("open an image or a cine first: there is nothing to predict", is_error=True)
            return
        reel = session.book.reel
        steps = {
            "frame": range(session.step, session.step + 1),
            "file": reel.steps(reel.locate(session.step)[0]),
            "all": range(len(reel)),
        }[extent]
        self._number += 1
        self._asked, self._got, self.running = len(steps), 0, True
        order = Order(
            reel, session.task, tuple(steps), self.engine, self.device, self.tta,
            session.book.scales.copy(), self._engines,
        )  # fmt: skip
        arrive = partial(self._on_prediction, self._number, session.sheet)
        self._queue.submit(
            partial(order.predict, lambda: session.step, lambda *found: self._post(partial(arrive, *found))),
            self._on_done,
            self._on_failed,
            session.progress.emit,
            replace_running=True,
        )

    def cancel(self) -> None:
        """Stop; what has been predicted stays."""
        if self.running:
            self._queue.forget()
            self._on_failed(Cancelled())

    def leave(self) -> None:
        """Stop silently: other frames or another task are looked at."""
        self._number += 1
        if self.running:
            self.running = False
            self._queue.forget()
            self._session.progress.emit(1.0, "")

    def close(self) -> None:
        """Stop, and join the thread."""
        self._number += 1
        self._queue.close()

    def _on_prediction(self, number: int, sheet: Sheet, step: int, prediction: KeypointsPrediction) -> None:
        if number != self._number or not self.running:
            return
        self._got += 1
        sheet.predict(step, prediction)
        self.arrived.emit(step)
        if step == self._session.step:
            self._session.marks_changed.emit()

    def _on_done(self, problems: list[str]) -> None:
        self.running = False
        self._session.progress.emit(1.0, "")
        text = f"predicted {self._got} of {self._asked} frames" if self._asked > 1 else "predicted"
        self._session.say("; ".join([text, *problems[:5]]), is_error=bool(problems))
        self._session.marks_changed.emit()

    def _on_failed(self, error: BaseException) -> None:
        self.running = False
        if isinstance(error, Cancelled):
            self._session.progress.emit(1.0, "")
            self._session.say(f"cancelled: {self._got} of {self._asked} frames have been predicted")
        else:
            self._session.fail(error)
