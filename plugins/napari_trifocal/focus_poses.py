"""The model behind the pose panel: poses that bring the focus to the target, a map of the scalp. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_trifocal.focus_compare import with_time_left
from napari_trifocal.worker import JobQueue, Post
from trifocal.focus.pose_search import PoseLimits, aim_by_solver, find_poses, scalp_map
from trifocal.predictor import Cancelled, Progress

if TYPE_CHECKING:
    from napari_trifocal.focus_jobs import Order
    from napari_trifocal.focus_session import FocusSession
    from trifocal.focus.pose_search import PoseCandidate, ScalpMap


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Attributes:
        starts: Places on the head that the search begins at.
        simulations: Runs of the solver for each pose that is kept; 0 leaves the solver out.
        keep: How many poses.
        limits: What a pose may be.
    """

    starts: int = 12
    simulations: int = 0
    keep: int = 5
    limits: PoseLimits = field(default_factory=PoseLimits)


class PoseFinding:
    """Searches beside the window, and keeps what was found until head, bowl or target change.

    Signals:
        changed: Poses or a map are there, or are not any more; or work began or ended.
        progress: Fraction and what is being done.

    Attributes:
        found: The poses, best first.
        scalp: The map, if it was asked for.
        running: Whether anything is being searched.
    """

    changed = Signal()
    progress = Signal(float, str)

    def __init__(self, session: FocusSession, post: Post) -> None:
        self._session = session
        self._queue = JobQueue(post, "trifocal-poses")
        self.found: tuple[PoseCandidate, ...] = ()
        self.scalp: ScalpMap | None = None
        self.running = False
        self._of: Order | None = None
        session.loaded.connect(self.clear)
        session.bowl_changed.connect(self.clear)
        session.placed.connect(self._on_session_placed)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self._queue.busy

    def find(self, wish: Wish) -> None:
        """Search for poses; those of an earlier search go."""
        self._start(partial(_find, wish=wish), self._on_found, "find a pose")

    def map_scalp(self, limits: PoseLimits) -> None:
        """Map over the scalp how much pressure would come through to the target."""
        self._start(partial(_map, limits=limits), self._on_map, "map the scalp")

    def fly(self, index: int) -> None:
        """Put the bowl into one of the poses that were found; undo brings it back."""
        if 0 <= index < len(self.found):
            self._session.set_pose(self.found[index].pose)

    def cancel(self) -> None:
        """Stop searching; what was found before stays."""
        if self.running:
            self._queue.forget()
            self._on_failed(Cancelled())

    def clear(self, _: object = None) -> None:
        """Forget what was found, and stop."""
        self._queue.forget()
        self.found, self.scalp, self.running, self._of = (), None, False, None
        self.changed.emit()

    def end(self) -> None:
        """Stop, and join the thread."""
        self._queue.close()

    def _start(self, work: partial, done: object, what: str) -> None:  # type: ignore[type-arg]
        order = self._session.order()
        if order is None:
            self._session.say(f"open a head CT first: there is nothing to {what} on", is_error=True)
            return
        if self._of is not None and not _same_question(self._of, order):
            self.clear()
        self._of, self.running = order, True
        self._queue.submit(
            lambda report: work(order, with_time_left(report)),
            done,  # type: ignore[arg-type]
            self._on_failed,
            self.progress.emit,
            replace_running=True,
        )
        self.changed.emit()

    def _finish(self) -> None:
        self.running = False
        self.progress.emit(1.0, "")
        self.changed.emit()

    def _on_found(self, found: tuple[PoseCandidate, ...]) -> None:
        self.found = found
        self._finish()
        if found:
            best = found[0]
            by = "by the solver" if best.verified else "as predicted"
            self._session.say(f"{len(found)} poses; the best {best.distance_mm:.1f} mm off {by}")

    def _on_map(self, scalp: ScalpMap) -> None:
        self.scalp = scalp
        self._finish()

    def _on_failed(self, error: BaseException) -> None:
        self._finish()
        if isinstance(error, Cancelled):
            self._session.say("cancelled: what was found before stays")
        else:
            self._session.say(" ".join(str(error).split()) or type(error).__name__, is_error=True)

    def _on_session_placed(self) -> None:
        order = self._session.order()
        if self._of is not None and order is not None and not _same_question(self._of, order):
            self.clear()


def _same_question(first: Order, second: Order) -> bool:
    """Whether two orders are of the same head, bowl and target, wherever the bowl is."""
    same = first.head is second.head and first.bowl == second.bowl
    return same and bool((first.target_mm == second.target_mm).all())


def _find(order: Order, report: Progress, *, wish: Wish) -> tuple[PoseCandidate, ...]:
    """In the thread: search, then let the solver correct what is kept, the geometric aim beside it."""
    where = order.head, order.bowl, order.target_mm
    how: dict[str, Any] = {
        "limits": wish.limits,
        "starts": wish.starts,
        "keep": wish.keep,
        "device": order.device,
    }
    if not wish.simulations:
        return find_poses(*where, **how, progress=report)
    return aim_by_solver(*where, **how, simulations=wish.simulations, progress=report).poses


def _map(order: Order, report: Progress, *, limits: PoseLimits) -> ScalpMap:
    return scalp_map(order.head, order.bowl, order.target_mm, limits=limits, progress=report)
