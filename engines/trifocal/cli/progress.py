"""Progress of a command on the terminal."""

from __future__ import annotations

import sys
import time


class Bar:
    """Progress on stderr, where that is a terminal."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.shown = 0.0

    def __call__(self, fraction: float, what: str) -> None:
        """Show the fraction done, what is being done, and for how long."""
        now = time.perf_counter()
        if not sys.stderr.isatty() or (now - self.shown < 0.2 and fraction < 1):
            return
        self.shown = now
        left = (now - self.start) * (1 - fraction) / max(fraction, 1e-3)
        sys.stderr.write(f"\r\033[K{what}: {100 * fraction:.0f} %, {left:.0f} s left")
        if fraction >= 1:
            sys.stderr.write("\r\033[K")
        sys.stderr.flush()
