"""What only a cine shows: a diameter over its frames, and what follows from its largest and its smallest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints import formulas
from trifocal.keypoints.measurements import Measurement, measure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.tasks import Task

MEDIAN_FRAMES = 5
"""Frames of the running median that takes single wrong frames away; 3 in a cine of fewer than 15."""

_FOLLOWED = {"IVC": "IVC diameter", "PLAX": "LV", "A4C": "LV width"}
_NAMES = {"IVC": ("largest", "smallest"), "PLAX": ("ED", "ES"), "A4C": ("ED", "ES")}


@dataclass(frozen=True, eq=False)
class CineMeasurement:
    """A diameter over the frames of a cine.

    Attributes:
        name: Of the distance that is followed ("LV", "IVC diameter").
        values: (T,) in `unit`, as measured; NaN where a point is missing.
        smoothed: (T,) the running median of the frames that have a value; NaN elsewhere.
        unit: "mm" or "px".
        largest_frame: Where `smoothed` is largest: end-diastole for the heart.
        smallest_frame: Where it is smallest: end-systole for the heart.
        names: Of those two frames.
        measurements: What follows from the two.
        hints: Sentences on what to mind.
    """

    name: str
    values: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    unit: str
    largest_frame: int
    smallest_frame: int
    names: tuple[str, str]
    measurements: tuple[Measurement, ...]
    hints: tuple[str, ...] = ()


def measure_cine(
    task: Task, points: ArrayLike, scale: tuple[float, float] | None, reason: str = ""
) -> CineMeasurement | None:
    """Follow the task's diameter over a cine: IVC its own, PLAX the LV pair, A4C the LV's width.

    The extremes are read off a running median (see `MEDIAN_FRAMES`): the largest of many noisy numbers is too
    large. IVC: collapsibility. PLAX: fractional shortening, and LV mass and relative wall thickness of the
    end-diastolic frame. A4C: the LV's size in both frames; an ejection fraction cannot be had from axes.

    Args:
        task: IVC, PLAX or A4C.
        points: (T, K, 2) x, y in pixels; NaN for missing ones.
        scale: (x, y) millimetres per pixel, the same in all frames; None if there are none.
        reason: Why there is no scale.

    Returns:
        None if fewer than two frames have a value.

    Raises:
        ValueError: If the task has nothing to follow, or the points are not its points.
    """
    if task.id not in _FOLLOWED:
        msg = f"a task to follow over a cine must be one of {', '.join(_FOLLOWED)}, got {task.id}"
        raise ValueError(msg)
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (task.count, 2):
        msg = f"points of a cine of {task.id} must have the shape (T, {task.count}, 2), got {array.shape}"
        raise ValueError(msg)
    name = _FOLLOWED[task.id]
    ends = next(pair.ends for pair in task.pairs if pair.name == name)
    along = (array[:, ends[1]] - array[:, ends[0]]) * (scale or (1.0, 1.0))
    values = np.linalg.norm(along, axis=1)
    if np.isfinite(values).sum() < 2:
        return None
    smoothed = running_median(values)
    largest, smallest = _peak(smoothed), _peak(-smoothed)
    frames = [measure(task, array[frame], scale, reason) for frame in (largest, smallest)]
    unit, why = ("px", reason or "the size of a pixel is not known") if scale is None else ("mm", "")
    why = f"; {why}" if why else ""
    diameters = [
        Measurement(f"{name} {label}", float(smoothed[frame]), unit, f"frame {frame}{why}")
        for label, frame in zip(_NAMES[task.id], (largest, smallest), strict=True)
    ]
    return CineMeasurement(
        name=name,
        values=values,
        smoothed=smoothed,
        unit=unit,
        largest_frame=largest,
        smallest_frame=smallest,
        names=_NAMES[task.id],
        measurements=(*diameters, *_derived(task, diameters, frames, (largest, smallest))),
        hints=_hints(task, values, smoothed),
    )


def running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over neighbours in time: (T,) -> (T,); NaN stays NaN and is no one's neighbour."""
    out = np.full(len(values), np.nan)
    there = np.flatnonzero(np.isfinite(values))
    half = (MEDIAN_FRAMES if len(there) >= 3 * MEDIAN_FRAMES else 3) // 2
    for place, frame in enumerate(there):
        # At the ends the window is one-sided: up to a frame late, but a wrong first frame is outvoted too.
        out[frame] = np.median(values[there[max(place - half, 0) : place + half + 1]])
    return out


def _peak(values: NDArray[np.float64]) -> int:
    """The middle frame of the first stretch at the maximum: a median makes peaks flat."""
    top = np.nanmax(values)
    high = np.flatnonzero(values >= top - 1e-6 * abs(top))
    run = high[: 1 + int(np.argmax(np.append(np.diff(high) > 1, True)))]
    return int(run[len(run) // 2])


def _derived(
    task: Task,
    diameters: list[Measurement],
    frames: list[tuple[Measurement, ...]],
    numbers: tuple[int, int],
) -> list[Measurement]:
    large, small = (item.value or 0.0 for item in diameters)
    if task.id == "A4C":
        return [
            replace(item, name=f"{item.name} {label}")
            for label, frame in zip(_NAMES["A4C"], frames, strict=True)
            for item in frame
            if item.name == "LV length"
        ]
    name, formula = (
        ("IVC collapsibility", formulas.collapsibility_index)
        if task.id == "IVC"
        else ("FS", formulas.fractional_shortening)
    )
    try:
        share = Measurement(name, formula(large, small), "%", f"frames {numbers[0]} and {numbers[1]}")
    except ValueError as error:
        share = Measurement(name, None, "%", str(error))
    of_diastole = [
        replace(item, reason=f"frame {numbers[0]}, the largest LV diameter")
        if item.value is not None
        else item
        for item in frames[0]
        if item.name in ("RWT", "LV mass")
    ]
    return [share, *of_diastole]


def _hints(task: Task, values: NDArray[np.float64], smoothed: NDArray[np.float64]) -> tuple[str, ...]:
    """What the user should know before believing the extremes."""
    hints = []
    cycle = "breath" if task.id == "IVC" else "heartbeat"
    if _crossings(smoothed[np.isfinite(smoothed)]) < 2:
        hints.append(
            f"less than one whole {cycle} seems to be in this cine: the extremes are those of its frames only"
        )
    missing = int(np.isnan(values).sum())
    if missing:
        hints.append(f"{missing} of {len(values)} frames have no {_FOLLOWED[task.id]}: a point is missing")
    return tuple(hints)


def _crossings(values: NDArray[np.float64]) -> int:
    """How often a curve passes from its upper to its lower quarter or back: a whole cycle does so twice."""
    low, high = values.min(), values.max()
    if high <= low:
        return 0
    share = (values - low) / (high - low)
    sides = np.sign(np.where(share > 0.75, 1, 0) - np.where(share < 0.25, 1, 0))
    sides = sides[sides != 0]
    return int((sides[1:] != sides[:-1]).sum())
