"""The size of the pixels of every clip: what the file says, or what the user says instead. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.calibration import Calibration, Refusal, calibrate, read_scale_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from napari_trifocal.reel import Reel


class Scales:
    """Calibrations of the clips of a reel.

    A known distance that the user drew holds before the file; a table of scales where the file does not say,
    as on the command line.

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
        self._table: Path | None = None
        self._of_file: dict[int, Calibration] = {}

    @property
    def by_hand(self) -> bool:
        """Whether the user said anything."""
        return bool(self._drawn or self._tabled)

    @property
    def by_user(self) -> Path | float | None:
        """What the command line is to be told: the table, or the mm per pixel that hold for all clips."""
        drawn = {self._drawn[clip].everywhere for clip in self._drawn}
        if len(self._drawn) == len(self._reel.clips) and len(drawn) == 1:
            return float(np.mean(next(iter(drawn)) or np.nan))
        return self._table

    def of(self, clip: int) -> Calibration:
        """The calibration that holds first for a clip."""
        return self._ranked(clip)[0]

    def at(self, step: int, points: ArrayLike) -> tuple[tuple[float, float] | None, str]:
        """(x, y) mm per pixel that hold for points of a frame, or None and the reason.

        Args:
            step: The frame.
            points: (..., 2) x, y in pixels; those that are NaN are left out; with none, the middle counts.
        """
        holding, scale, reason = self._holding(step, points)
        return (scale, "") if holding is not None else (None, reason)

    def said(self, step: int, points: ArrayLike) -> tuple[str, bool]:
        """What to say about the size of a pixel at these points, and whether it is known."""
        if not np.isfinite(np.asarray(points, float)).any():
            known = self.of(self._reel.locate(step)[0])
            return known.describe(), not known.reason
        holding, scale, reason = self._holding(step, points)
        if holding is None:
            return f"Pixels only: {reason}.", False
        return Calibration(holding.source, scale).describe(), True

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
        self._table = path
        self.version += 1
        return len(self._tabled)

    def copy(self) -> Scales:
        """As it is now: for a thread."""
        copied = Scales(self._reel)
        copied._drawn, copied._tabled = dict(self._drawn), dict(self._tabled)
        copied._of_file, copied._table = dict(self._of_file), self._table
        return copied

    def clear(self) -> None:
        """Forget what the user said."""
        self._drawn, self._tabled, self._table = {}, {}, None
        self.version += 1

    def _holding(
        self, step: int, points: ArrayLike
    ) -> tuple[Calibration | None, tuple[float, float] | None, str]:
        """The calibration that has a scale for points of a frame, and it; or why the first has none."""
        clip = self._reel.locate(step)[0]
        there = np.asarray(points, float).reshape(-1, 2)
        there = there[np.isfinite(there).all(axis=1)]
        if not len(there):
            there = (np.array(self._reel.clips[clip].size, float)[None] - 1) / 2
        reason = ""
        for known in self._ranked(clip):
            found = known.scale(there)
            if not isinstance(found, Refusal):
                return known, found, ""
            reason = reason or found.reason
        return None, None, reason

    def _ranked(self, clip: int) -> list[Calibration]:
        if clip in self._drawn:
            return [self._drawn[clip]]
        if clip not in self._of_file:
            self._of_file[clip] = calibrate(self._reel.cine(clip))
        file = self._of_file[clip]
        tabled = [self._tabled[clip]] if clip in self._tabled else []
        return [*tabled, file] if file.reason else [file, *tabled]
