"""What a click on the image does, and to which point. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Mode = Literal["move", "place", "ruler"]


class Modes:
    """The mouse's mode, the chosen point, and the line of known length.

    Signals:
        changed: Any of them.

    Attributes:
        mode: "move" (drag points), "place" (a click places the next missing point) or "ruler" (two clicks
            mark a line of known length).
        selected: Index of the point that Delete takes away and the next click places, if one is chosen.
        ruler: (0 to 2, 2) x, y of the ends of the line of known length.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.mode: Mode = "move"
        self.selected: int | None = None
        self.ruler: NDArray[np.float64] = np.empty((0, 2))

    def restart(self) -> None:
        """Drag points, none of them chosen: other frames are open."""
        self.mode, self.selected, self.ruler = "move", None, np.empty((0, 2))
        self.changed.emit()

    def choose(self, mode: Mode) -> None:
        """Take a mode; a line of known length is begun anew."""
        self.mode, self.selected = mode, None
        if mode == "ruler":
            self.ruler = np.empty((0, 2))
        self.changed.emit()

    def select(self, index: int | None) -> None:
        """Choose a point, or none."""
        if index != self.selected:
            self.selected = index
            self.changed.emit()

    def measure_from(self, at: ArrayLike) -> None:
        """Add an end to the line of known length; the second one ends the mode."""
        ends = self.ruler if len(self.ruler) < 2 else np.empty((0, 2))
        self.ruler = np.vstack([ends, np.asarray(at, float)])
        if len(self.ruler) == 2:
            self.mode = "move"
        self.changed.emit()

    def drop_ruler(self) -> None:
        """Forget the line of known length."""
        self.ruler = np.empty((0, 2))
        self.changed.emit()

    def next_to_place(self, missing: ArrayLike) -> int | None:
        """Which of the missing points a click places: the chosen one, else the first."""
        indices = [int(i) for i in np.asarray(missing)]
        if self.selected in indices:
            return self.selected
        return indices[0] if indices else None
