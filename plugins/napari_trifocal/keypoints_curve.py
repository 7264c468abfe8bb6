"""One measurement over the frames of a cine, with its extremes. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.cine_measurements import measure_cine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_trifocal.keypoints_workbook import Workbook
    from trifocal.keypoints.cine_measurements import CineMeasurement
    from trifocal.keypoints.measurements import Measurement
    from trifocal.keypoints.tasks import Task

FOLLOWED = {"IVC": "IVC diameter", "PLAX": "LV", "A4C": "LV width"}
"""What a cine is first asked for; elsewhere the task's first measurement."""


@dataclass(frozen=True, eq=False)
class Curve:
    """What is plotted.

    Attributes:
        name: Of the measurement.
        unit: Of the values.
        x: (T,) seconds, or frame numbers where the times are not known.
        x_unit: "s" or "frame".
        values: (T,); NaN where there is none.
        edited: (T,) frames with points put by hand.
        extremes: Frame and label of the largest and of the smallest value; empty for fewer than two values.
        said: What follows from the extremes, and what to mind.
    """

    name: str
    unit: str
    x: NDArray[np.float64]
    x_unit: str
    values: NDArray[np.float64]
    edited: NDArray[np.bool_]
    extremes: tuple[tuple[int, str], ...] = ()
    said: tuple[str, ...] = ()

    @classmethod
    def of(cls, book: Workbook, task: Task, clip: int, name: str) -> Curve | None:
        """The curve of a measurement of a task over a clip; None for a still picture."""
        steps, sheet = book.reel.steps(clip), book.sheet(task)
        if len(steps) < 2:
            return None
        found = [_named(book.measurements(task, step), name) for step in steps]
        values = np.array([np.nan if m.value is None else m.value for m in found])
        units = [m.unit for m in found]
        unit = max(set(units), key=units.count)
        values[[u != unit for u in units]] = np.nan  # a frame whose points leave the region that has a scale
        times = book.reel.cine(clip).times_s
        x, x_unit = (np.arange(float(len(steps))), "frame") if times is None else (times, "s")
        edited = np.array([bool(sheet[step].edited.any()) for step in steps])
        extremes, said = _extremes(book, task, clip, name, values)
        return cls(name, unit, x, x_unit, values, edited, extremes, said)


def first_name(task: Task) -> str:
    """Which measurement of a task a cine is first asked for."""
    return FOLLOWED.get(task.id, task.measurements[0])


def _extremes(
    book: Workbook, task: Task, clip: int, name: str, values: NDArray[np.float64]
) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    if np.isfinite(values).sum() < 2:
        return (), ()
    if FOLLOWED.get(task.id) == name:
        followed = _followed(book, task, clip)
        if followed is not None:
            frames = followed.largest_frame, followed.smallest_frame
            return tuple(zip(frames, followed.names, strict=True)), _said(followed)
    return ((int(np.nanargmax(values)), "max"), (int(np.nanargmin(values)), "min")), ()


def _followed(book: Workbook, task: Task, clip: int) -> CineMeasurement | None:
    points = book.points(task, clip)
    scale, reason = book.scales.at(book.reel.steps(clip)[0], points.reshape(-1, 2))
    return measure_cine(task, points, scale, reason)


def _said(followed: CineMeasurement) -> tuple[str, ...]:
    shown = [m for m in followed.measurements if m.value is not None]
    numbers = ", ".join(f"{m.name} {m.value:.1f} {m.unit}" for m in shown)
    return (numbers, *followed.hints)


def _named(measurements: tuple[Measurement, ...], name: str) -> Measurement:
    return next(m for m in measurements if m.name == name)
