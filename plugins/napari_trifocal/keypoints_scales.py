"""The size of the pixels of every clip: what the file says, or what the user says instead. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.calibration import Calibration, Refusal, calibrate, read_scale_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_trifocal.reel import Reel


class Scales:
    """Calibrations of the clips of a reel.

    A known distance that the user drew holds before a table of scales, and that before the file.

    Args:
        reel: The frames.

    Attributes:
        version: Another number after every change.
    """

    def __init__(self, reel: Reel) -> None:
        self.version = 0
        self._reel = reel
        self._drawn: dict[int, Calibration] = {}
        self._tabled: dict[int, Calibration] = {}
        self._of_file: dict[int, Calibration] = {}

    @property
    def by_hand(self) -> bool:
        """Whether the user said anything."""
        return bool(self._drawn or self._tabled)

    def of(self, clip: int) -> Calibration:
        """The calibration that holds for a clip."""
        for known in (self._drawn, self._tabled, self._of_file):
            if clip in known:
                return known[clip]
        return self._of_file.setdefault(clip, calibrate(self._reel.cine(clip)))

    def at(self, step: int, points: ArrayLike) -> tuple[tuple[float, float] | None, str]:
        """(x, y) mm per pixel that hold for points of a frame, or None and the reason.

        Args:
            step: The frame.
            points: (N, 2) x, y in pixels; those that are NaN are left out; with none, the middle counts.
        """
        clip = self._reel.locate(step)[0]
        found = self.of(clip).scale(self._asked(clip, points))
        return (None, found.reason) if isinstance(found, Refusal) else (found, "")

    def said(self, step: int, points: ArrayLike) -> tuple[str, bool]:
        """What to say about the size of a pixel at these points, and whether it is known."""
        known = self.of(self._reel.locate(step)[0])
        if not np.isfinite(np.asarray(points, float)).any():
            return known.describe(), not known.reason
        scale, reason = self.at(step, points)
        if scale is None:
            return f"Pixels only: {reason}.", False
        return Calibration(known.source, scale).describe(), True

    def set_known_distance(
        self, step: int, first: ArrayLike, last: ArrayLike, mm: float, *, everywhere: bool = False
    ) -> None:
        """Say how far two points (x, y) of a frame are apart.

        Args:
            step: The frame: what is said holds for its clip.
            first: One end, in pixels.
            last: The other end.
            mm: Their distance.
            everywhere: It holds for every clip.

        Raises:
            ValueError: If the points coincide or the distance is not positive.
        """
        drawn = Calibration.from_known_distance(
            tuple(np.asarray(first, float)), tuple(np.asarray(last, float)), mm
        )
        clips = range(len(self._reel.clips)) if everywhere else [self._reel.locate(step)[0]]
        self._drawn |= dict.fromkeys(clips, drawn)
        self.version += 1

    def set_table(self, path: Path) -> int:
        """Take the scale of each clip from a table by its file name; returns how many it has.

        Raises:
            ValueError: If the table cannot be read.
        """
        table = read_scale_table(path)
        self._tabled = {
            i: Calibration.from_mm_per_px(table[clip.name], f"the table {path.name}")
            for i, clip in enumerate(self._reel.clips)
            if clip.name in table
        }
        self.version += 1
        return len(self._tabled)

    def copy(self) -> Scales:
        """As it is now: for a thread."""
        copied = Scales(self._reel)
        copied._drawn, copied._tabled = dict(self._drawn), dict(self._tabled)
        copied._of_file = dict(self._of_file)
        return copied

    def clear(self) -> None:
        """Forget what the user said."""
        self._drawn, self._tabled = {}, {}
        self.version += 1

    def _asked(self, clip: int, points: ArrayLike) -> NDArray[np.float64]:
        """The points that are somewhere; with none, the middle of the frame."""
        there = np.asarray(points, float).reshape(-1, 2)
        there = there[np.isfinite(there).all(axis=1)]
        return there if len(there) else (np.array(self._reel.clips[clip].size, float)[None] - 1) / 2
