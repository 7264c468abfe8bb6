"""The model behind the doubts panel: how sure the focus is, for where the bowl stands now. No Qt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_trifocal.focus_compare import with_time_left
from napari_trifocal.worker import JobQueue, Post
from trifocal.focus.uncertainty import Doubts, doubts
from trifocal.predictor import Cancelled, Progress

if TYPE_CHECKING:
    from napari_trifocal.focus_jobs import Order
    from napari_trifocal.focus_session import FocusSession


class Doubting:
    """Draws other skulls and poses beside the window; what came of it goes as soon as the bowl moves.

    Signals:
        changed: Doubts are there, or are not any more; or work began or ended.
        progress: Fraction and what is being done.

    Attributes:
        found: The doubts, if they have been computed for the present placement.
        running: Whether they are being computed.
    """

    changed = Signal()
    progress = Signal(float, str)

    def __init__(self, session: FocusSession, post: Post) -> None:
        self._session = session
        self._queue = JobQueue(post, "trifocal-doubts")
        self.found: Doubts | None = None
        self.running = False
        self._of: Order | None = None
        session.loaded.connect(self.clear)
        session.bowl_changed.connect(self.clear)
        session.placed.connect(self._on_session_placed)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self._queue.busy

    def ask(self, samples: int) -> None:
        """Draw so many other skulls and poses."""
        order = self._session.order()
        if order is None:
            self._session.say("open a head CT first: there is nothing to doubt", is_error=True)
            return
        self._of, self.found, self.running = order, None, True
        self._queue.submit(
            partial(_doubts, order, samples),
            self._on_found,
            self._on_failed,
            self.progress.emit,
            replace_running=True,
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Stop drawing."""
        if self.running:
            self._queue.forget()
            self._on_failed(Cancelled())

    def clear(self, _: object = None) -> None:
        """Forget, and stop."""
        if self.running or self.found is not None:
            self._queue.forget()
            self.found, self.running = None, False
            self.changed.emit()

    def end(self) -> None:
        """Stop, and join the thread."""
        self._queue.close()

    def _on_found(self, found: Doubts) -> None:
        self.found = found
        self._finish()

    def _on_failed(self, error: BaseException) -> None:
        self._finish()
        if isinstance(error, Cancelled):
            self._session.say("cancelled: no doubts were computed")
        else:
            self._session.say(" ".join(str(error).split()) or type(error).__name__, is_error=True)

    def _finish(self) -> None:
        self.running = False
        self.progress.emit(1.0, "")
        self.changed.emit()

    def _on_session_placed(self) -> None:
        order = self._session.order()
        if self._of is not None and order is not None and not order.at_place_of(self._of):
            self.clear()


def _doubts(order: Order, samples: int, report: Progress) -> Doubts:
    return doubts(order.inputs, samples=samples, device=order.device, progress=with_time_left(report))
