"""Signals that wait for a step to end: Ctrl+C, and those by which a system announces the end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

from trifocal.predictor import Cancelled, Stopped

if TYPE_CHECKING:
    from types import FrameType

CANCELLED = 1
"""Stands for a `Cancelled` among the numbers of signals; 1 is a hang-up, which is left alone."""

# SIGTERM: scancel, kubernetes, a reboot, torchrun when it is stopped. SIGUSR1: slurm, if it is asked to
# (--signal=USR1@120), before a job's time is over.
SYSTEM = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Interrupts:
    """Within the block, signals are kept; only a second Ctrl+C acts at once.

    Leaves signals alone outside the main thread and where somebody else handles them.

    Attributes:
        kept: Number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.kept = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            usual = {signal.SIGINT: signal.default_int_handler} | dict.fromkeys(SYSTEM, signal.SIG_DFL)
            for number, handler in usual.items():
                if signal.getsignal(number) is handler:
                    self._before[number] = handler
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.kept == number:
            raise KeyboardInterrupt
        self.kept = max(self.kept, number)


def stop_by(number: int) -> Exception | KeyboardInterrupt:
    """The exception for a number that was kept."""
    if number == signal.SIGINT:
        return KeyboardInterrupt()
    if number == CANCELLED:
        return Cancelled()
    return Stopped(signal.Signals(number).name)


def ignore_interrupts(worker: int) -> None:
    """Start of a loader's worker: signals reach all processes, and the trainer ends its workers."""
    for number in (signal.SIGINT, *SYSTEM):
        signal.signal(number, signal.SIG_IGN)
