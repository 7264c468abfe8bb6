"""Ctrl+C that waits for a step to end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType


class Interrupts:
    """Within the block, the first Ctrl+C is kept for `check`; the second acts at once.

    Leaves signals alone outside the main thread and where somebody else handles them.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._ours = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was kept, if any."""
        if self._pressed:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True


def ignore_interrupts(worker: int) -> None:
    """Start of a loader's worker: Ctrl+C reaches all processes, and the trainer ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
