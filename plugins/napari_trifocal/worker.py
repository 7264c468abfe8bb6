"""Work that must not stop the window: one job in flight, the newest one waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trifocal.predictor import Cancelled, Progress

Post = Callable[[Callable[[], None]], None]
PROGRESS_EVERY_S = 0.05


def ignore(*_: object) -> None:
    """Do nothing with whatever is reported."""


@dataclass(eq=False)
class Job:
    """One piece of work and whom to tell. The callbacks run on the interface thread."""

    number: int
    work: Callable[[Progress], Any]
    done: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    progress: Progress
    cancelled: threading.Event = field(default_factory=threading.Event)


class JobQueue:
    """Runs jobs in a thread of its own.

    A job that is submitted while another runs waits; a newer one takes its place. What runs is finished and
    shown, even if something newer waits: showing only the newest would starve the display while the mouse
    moves. Answers older than what is shown, or older than `forget`, are dropped.

    Args:
        post: Runs a function on the interface thread, later; may be called from any thread.
        name: Of the thread.
    """

    def __init__(self, post: Post, name: str = "trifocal") -> None:
        self._post = post
        self._name = name
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._running: Job | None = None
        self._waiting: Job | None = None
        self._closed = False
        self._submitted = 0  # number of the newest job
        self._shown = 0  # number of the newest job whose answer was delivered
        self._forgotten = 0  # answers up to this number are of no use any more
        self._undelivered = 0

    def submit(
        self,
        work: Callable[[Progress], Any],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None] = ignore,
        progress: Progress = ignore,
        *,
        replace_running: bool = False,
    ) -> int:
        """Queue a job and return its number.

        Args:
            work: Gets a progress callable that raises `Cancelled` once the job is to stop.
            done: Gets what `work` returned.
            failed: Gets whatever `work` raised, `Cancelled` included.
            progress: Gets the progress, at most twenty times a second unless what is being done changes.
            replace_running: Also cancel the job in flight, and drop its answer.
        """
        with self._condition:
            if self._closed:
                return 0
            if replace_running:
                self._forget()
            self._submitted += 1
            self._waiting = Job(self._submitted, work, done, failed, progress)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._condition.notify_all()
            return self._submitted

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits, or has finished without being delivered."""
        with self._condition:
            return bool(self._running or self._waiting or self._undelivered)

    def cancel(self) -> None:
        """Ask the running job to stop, and drop the waiting one; `failed` gets `Cancelled`."""
        with self._condition:
            self._waiting = None
            if self._running is not None:
                self._running.cancelled.set()

    def forget(self) -> None:
        """Stop everything and drop every answer of what was submitted so far, silently."""
        with self._condition:
            self._forget()

    def close(self, timeout: float = 10.0) -> None:
        """Stop everything and join the thread; nothing is delivered after this."""
        with self._condition:
            self._forget()
            self._closed = True
            self._condition.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _forget(self) -> None:
        self._forgotten = self._submitted
        self._waiting = None
        if self._running is not None:
            self._running.cancelled.set()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._waiting is None and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                job = self._running = self._waiting
                self._waiting = None
            assert job is not None
            self._finish(job, self._attempt(job))

    def _attempt(self, job: Job) -> Callable[[], None]:
        """Do the work; returns the call that reports it."""
        reported, said = 0.0, ""

        def report(fraction: float, what: str) -> None:
            nonlocal reported, said
            if job.cancelled.is_set():
                raise Cancelled
            now = time.monotonic()
            # What is being done is told at once: it may be long until the next report.
            if now - reported >= PROGRESS_EVERY_S or fraction >= 1 or what != said:
                reported, said = now, what
                self._deliver_later(job, lambda: job.progress(fraction, what))

        try:
            report(0.0, "")
            result = job.work(report)
        except BaseException as error:  # noqa: BLE001 - some decoders raise what is no Exception
            caught = error
            return lambda: job.failed(caught)
        if job.cancelled.is_set():
            return lambda: job.failed(Cancelled())
        return lambda: job.done(result)

    def _finish(self, job: Job, answer: Callable[[], None]) -> None:
        def deliver() -> None:
            with self._condition:
                self._shown = max(self._shown, job.number)
            answer()

        self._deliver_later(job, deliver, last=True)

    def _deliver_later(self, job: Job, call: Callable[[], None], *, last: bool = False) -> None:
        def on_interface_thread() -> None:
            with self._condition:
                self._undelivered -= 1
                stale = self._closed or job.number <= max(self._forgotten, self._shown)
            if not stale:
                call()

        with self._condition:
            if last:
                self._running = None
            if self._closed:
                return
            self._undelivered += 1
        self._post(on_interface_thread)
