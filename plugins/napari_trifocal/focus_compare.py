"""What is shown held against the solver, or against a prediction that was pinned. No Qt, no napari."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_trifocal.focus_badge import name_of
from napari_trifocal.layers import difference_layer
from napari_trifocal.worker import JobQueue, Post
from trifocal.focus.comparison import Comparison, compare
from trifocal.predictor import Cancelled, Progress

if TYPE_CHECKING:
    from napari_trifocal.focus_jobs import Answer, Order
    from napari_trifocal.focus_session import FocusSession
    from trifocal.focus.predictor import FocusPrediction

SOLVER = "solver"
LEAST_KNOWN = 0.05  # of the work: before it, the time left would be a guess


@dataclass(frozen=True, eq=False)
class Compared:
    """An answer held against a reference.

    Attributes:
        answer: What is judged.
        reference: What it is held against.
        comparison: What came out.
        layer: Layer data of the difference.
    """

    answer: Answer
    reference: Answer
    comparison: Comparison
    layer: Any

    @classmethod
    def of(cls, answer: Answer, reference: Answer) -> Compared:
        """Compare, and make the layer data here rather than on the interface thread."""
        comparison = compare(answer.prediction, reference.prediction)
        return cls(answer, reference, comparison, difference_layer(comparison))


class Comparing:
    """One reference at a time, and how the newest full prediction compares with it.

    A field of the solver belongs to its place: elsewhere it is out of date, and true again when the bowl
    comes back. A pinned prediction is compared wherever the bowl goes.

    Signals:
        changed: Another reference or none, another comparison or none, or the solver starts or ends.

    Attributes:
        reference: What is compared with; None if nothing is.
        found: The newest comparison with it; None while there is none that fits what is shown.
        verifying: What the solver works on.
    """

    changed = Signal()

    def __init__(self, session: FocusSession, post: Post) -> None:
        self._session = session
        self._solving = JobQueue(post, "trifocal-verify")
        self._comparing = JobQueue(post, "trifocal-compare")
        self.reference: Answer | None = None
        self.found: Compared | None = None
        self.verifying: Order | None = None
        self._was_current = False
        session.predicted.connect(self._on_session_predicted)
        session.placed.connect(self._on_session_placed)
        session.loaded.connect(self._on_session_loaded)

    @property
    def is_truth(self) -> bool:
        """Whether the reference is the solver's."""
        return self.reference is not None and self.reference.order.engine == SOLVER

    @property
    def is_current(self) -> bool:
        """Whether the reference is of the present head, bowl and pose."""
        order = self._session.order()
        here = order is not None and self.reference is not None
        return here and order.at_place_of(self.reference.order)

    @property
    def busy(self) -> bool:
        """Whether anything is being computed."""
        return self._solving.busy or self._comparing.busy

    def verify(self) -> None:
        """Run the solver on the box of the present prediction, then compare."""
        order = self._session.order()
        if order is None:
            self._session.say("open a head CT first: there is nothing to verify", is_error=True)
            return
        order = self.verifying = replace(order, engine=SOLVER)

        def show(fraction: float, what: str) -> None:
            if self.verifying is order:  # not what a job that was cancelled has still said
                self._session.progress.emit(fraction, what)

        self._solving.submit(
            lambda report: order.predict(with_time_left(report)),
            self._on_truth,
            self._on_failed,
            show,
            replace_running=True,
        )
        self.changed.emit()

    def pin(self) -> None:
        """Keep the present prediction to compare others with."""
        answer = self._present()
        if answer is None:
            self._session.say("wait for the full prediction: a preview cannot be pinned", is_error=True)
            return
        self._take(answer)
        self._session.say(f"pinned: {name_of(answer)}; choose another engine or move the bowl")

    def close(self) -> None:
        """Compare with nothing any more, and stop the solver."""
        self.cancel()
        self._comparing.forget()
        self.reference = self.found = None
        self.changed.emit()

    def cancel(self, why: str = "cancelled: not verified") -> None:
        """Stop the solver; the window is idle at once, the thread at its next step."""
        if self.verifying is not None:
            self._solving.cancel()
            self._end()
            self._session.say(why)

    def end(self) -> None:
        """Stop everything and join the threads."""
        self._solving.close()
        self._comparing.close()

    def truth_for(self, order: Order | None) -> FocusPrediction | None:
        """The solver's field for an order, if it has been computed."""
        fits = self.is_truth and order is not None and order.at_place_of(self.reference.order)
        return self.reference.prediction if fits else None

    def _present(self) -> Answer | None:
        """The full prediction for where the bowl is now."""
        answer, order = self._session.answer, self._session.order()
        fits = answer is not None and not answer.order.preview and answer.order.at_place_of(order)
        return answer if fits and not self._session.dragging else None

    def _take(self, reference: Answer) -> None:
        self.reference, self.found = reference, None
        self._was_current = self.is_current
        self._refresh()
        self.changed.emit()

    def _refresh(self) -> None:
        answer, reference = self._present(), self.reference
        if answer is None or reference is None or answer is reference:
            return
        if self.is_current or not self.is_truth:
            self._comparing.submit(
                lambda _: Compared.of(answer, reference), self._on_compared, self._on_failed
            )

    def _end(self) -> None:
        self.verifying = None
        self._session.progress.emit(1.0, "")
        self.changed.emit()

    def _on_truth(self, answer: Answer) -> None:
        if self.verifying is answer.order:
            self._end()
            self._session.say(f"the solver took {answer.prediction.seconds:.0f} s")
            self._take(answer)

    def _on_compared(self, found: Compared) -> None:
        if found.reference is self.reference and found.answer.order.at_place_of(self._session.order()):
            self.found = found
            self.changed.emit()

    def _on_failed(self, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            return
        self._end()
        self._session.say(" ".join(str(error).split()) or type(error).__name__, is_error=True)

    def _on_session_predicted(self, answer: Answer) -> None:
        if not answer.order.preview:
            self._refresh()

    def _on_session_placed(self) -> None:
        order = self._session.order()
        if self.verifying is not None and not order.at_place_of(self.verifying):
            self.cancel("the bowl moved: not verified")
        moved = self.found is not None and not order.at_place_of(self.found.answer.order)
        was_current, self._was_current = self._was_current, self.is_current
        if moved:
            self.found = None
        if moved or was_current != self._was_current:
            self.changed.emit()

    def _on_session_loaded(self, _: list[Any]) -> None:
        self.cancel("another head: not verified")
        self.close()


def with_time_left(progress: Progress) -> Progress:
    """Add the time left to what is being done."""
    start = time.monotonic()

    def report(fraction: float, what: str) -> None:
        if LEAST_KNOWN < fraction < 1:
            left = (time.monotonic() - start) * (1 - fraction) / fraction
            what = f"{what}, {left:.0f} s left"
        progress(fraction, what)

    return report
