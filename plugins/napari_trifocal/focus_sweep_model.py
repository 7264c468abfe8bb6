"""The model behind the sweep panel: the frames of a sweep, and which of them is shown. No Qt, no napari."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_trifocal.layers import cloud_layer, shell_layer
from napari_trifocal.worker import JobQueue, Post
from trifocal.files import atomic_file
from trifocal.focus.placement import coupling_problem
from trifocal.focus.sweep import Frame, Sweep, frames
from trifocal.predictor import Cancelled, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from napari_trifocal.focus_jobs import Order
    from napari_trifocal.focus_session import FocusSession


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame with what shows it.

    Attributes:
        frame: Angle and prediction.
        layers: Layer data of the -6 dB shell and the cloud.
        problem: Why the bowl does not couple there, if it does not.
    """

    frame: Frame
    layers: list[Any]
    problem: str | None


class SweepModel:
    """Computes the frames of a sweep and says which one is looked at.

    The session keeps its own pose and prediction: a sweep only borrows the view of them.

    Signals:
        changed: There are other frames, or a sweep began or ended.
        moved: Another frame is looked at, or none.
        progress: Fraction and what is being done.
    """

    changed = Signal()
    moved = Signal()
    progress = Signal(float, str)

    def __init__(self, session: FocusSession, post: Post) -> None:
        self.session = session
        self.sweep: Sweep | None = None
        self.order: Order | None = None
        self.shown: list[Shown] = []
        self.index: int | None = None
        self.running = False
        self._number = 0  # of the sweep: late frames of another one are dropped
        self._began = 0.0
        self._post = post
        self._queue = JobQueue(post, "trifocal-sweep")
        session.loaded.connect(self.clear)
        session.bowl_changed.connect(self.clear)
        session.placed.connect(self.leave)
        session.predicted.connect(self.leave)

    @property
    def now(self) -> Shown | None:
        """The frame that is looked at."""
        return None if self.index is None else self.shown[self.index]

    @property
    def busy(self) -> bool:
        """Whether frames are being computed."""
        return self._queue.busy

    @property
    def most_kpa(self) -> float:
        """The highest peak of all frames: the end of their common colour scale."""
        return max(frame.prediction.figures.peak_pa for frame in self.frames) / 1e3

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Those that are finished, by angle."""
        return tuple(shown.frame for shown in self.shown)

    def start(self, sweep: Sweep) -> None:
        """Compute a sweep from the present pose with the chosen engine; the one before is dropped."""
        order = self.session.order()
        if order is None:
            self.session.say("open a head CT first: there is nothing to sweep about", is_error=True)
            return
        self.clear()
        self.sweep, self.order, self.running = sweep, order, True
        self._began = time.monotonic()
        self._queue.submit(
            partial(self._compute, self._number, order, sweep),
            self._on_done,
            self._on_failed,
            self._on_progress,
            replace_running=True,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Stop computing; the finished frames stay."""
        if self.running:
            self._queue.forget()
            self._on_failed(Cancelled())

    def clear(self, _: object = None) -> None:
        """Drop everything."""
        self.leave()
        self._number += 1
        self._queue.forget()
        self.sweep, self.order, self.running = None, None, False
        self.shown = []
        self.changed.emit()

    def look(self, index: int) -> None:
        """Look at a frame."""
        index = min(max(index, 0), len(self.shown) - 1)
        if index >= 0 and index != self.index:
            self.index = index
            self.moved.emit()

    def leave(self, _: object = None) -> None:
        """Look at the session's own pose again."""
        if self.index is not None:
            self.index = None
            self.moved.emit()

    def keep(self) -> None:
        """Put the bowl into the pose that is looked at."""
        if self.now is not None:
            self.session.set_pose(self.now.frame.pose)

    def save_csv(self, path: Path) -> None:
        """Write the figures of the finished frames."""
        made = self.frames

        def write(_: Progress) -> Path:
            # Imported late: the window starts without matplotlib.
            from trifocal.focus.sweep_output import write_csv

            with atomic_file(path) as part:
                write_csv(made, part)
            return path

        self.session.run_saving(write, lambda path: self.session.say(f"saved to {path}"))

    def end(self) -> None:
        """Stop, and join the thread."""
        self._number += 1
        self._queue.close()

    def _compute(self, number: int, order: Order, sweep: Sweep, report: Progress) -> None:
        """In the thread: every frame goes to the window as soon as it is there."""
        report(0.0, f"loading the engine {order.engine}")
        predictor = order.engines.get(order.engine, order.device)
        for frame in frames(predictor, order.inputs, sweep, progress=report):
            prediction = frame.prediction
            problem = coupling_problem(order.head, order.bowl, frame.pose)
            shown = Shown(frame, [shell_layer(prediction), cloud_layer(prediction)], problem)
            self._post(partial(self._on_frame, number, shown))

    def _on_frame(self, number: int, shown: Shown) -> None:
        if number == self._number and self.running:
            self.shown.append(shown)
            self.changed.emit()

    def _on_progress(self, fraction: float, what: str) -> None:
        if self.running and self.shown:
            left = (time.monotonic() - self._began) * (1 - fraction) / fraction
            what = f"{what}, {left:.0f} s left"
        self.progress.emit(fraction, what)

    def _on_done(self, _: None) -> None:
        self.running = False
        self.changed.emit()
        if self.index is None and not self.session.dragging:
            self.look(len(self.shown) // 2)

    def _on_failed(self, error: BaseException) -> None:
        self.running = False
        if isinstance(error, Cancelled):
            count, asked = len(self.shown), 0 if self.sweep is None else self.sweep.steps
            self.session.say(f"sweep cancelled: {count} of {asked} frames are there")
        else:
            text = " ".join(str(error).split()) or type(error).__name__
            self.session.say(text, is_error=True)
        self.changed.emit()
