"""Long work on the interface thread in pieces, so that the window answers in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns(QObject):
    """Makes one call per turn of the event loop, in order."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._calls: list[Callable[[], object]] = []
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self._on_turn)

    @property
    def waiting(self) -> bool:
        """Whether calls are left to make."""
        return bool(self._calls)

    def add(self, *calls: Callable[[], object]) -> None:
        """Make these calls after those that wait."""
        self._calls += calls
        self._timer.start()

    def clear(self) -> None:
        """Drop the calls that wait."""
        self._calls.clear()
        self._timer.stop()

    def _on_turn(self) -> None:
        if self._calls:
            call = self._calls[0]
            try:
                call()
            finally:  # only now, so that `waiting` is true while it runs
                if self._calls and self._calls[0] is call:
                    del self._calls[0]
            if self._calls:
                self._timer.start()
