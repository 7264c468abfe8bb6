"""From named points to what a task measures: in millimetres, or in pixels and the reason why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from trifocal.keypoints import formulas
from trifocal.keypoints.ellipse import Ellipse, ellipse_from_axes, scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.tasks import Pair, Task

SHORT_CERVIX_MM = 25.0
"""Below it a cervix counts as short (ISUOG, Coutinho et al. 2022)."""

_SQUARE = "assumes square pixels"
_DIASTOLE = "holds for an end-diastolic frame only"


@dataclass(frozen=True)
class Measurement:
    """One number that a task derives from its points, or why there is none.

    Attributes:
        name: As in the task's `measurements` ("BPD", "GA (HC)").
        value: None where there is no number to give.
        unit: "mm", "px", "%", "deg", "weeks", "g" or "ratio".
        reason: Why there is no value or no millimetres, what the number assumes, or the formula that it is
            by; "" if there is nothing to say.
    """

    name: str
    value: float | None
    unit: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Placed:
    """The points of one image on one scale: millimetres, or pixels where there is no scale."""

    task: Task
    points: NDArray[np.float64]
    unit: str
    unscaled: str
    ellipse: Ellipse | None

    def missing(self, ends: Iterable[int]) -> str:
        """Which of these points are missing, as a reason; "" if none is."""
        names = [self.task.points[end] for end in ends if not np.isfinite(self.points[end]).all()]
        return "" if not names else f"{', '.join(names)} missing"

    def length(self, pair: Pair) -> Measurement:
        """Distance of a pair's ends."""
        first, second = pair.ends
        return self.distance(pair.name, first, second)

    def distance(self, name: str, first: int, second: int) -> Measurement:
        """Distance of two points."""
        missing = self.missing((first, second))
        if missing:
            return Measurement(name, None, self.unit, missing)
        value = float(np.linalg.norm(self.points[first] - self.points[second]))
        return Measurement(name, value, self.unit, self.unscaled)

    def named(self, name: str) -> Measurement:
        """The length of the pair of that name."""
        return self.length(next(pair for pair in self.task.pairs if pair.name == name))


def measure(
    task: Task,
    points: ArrayLike,
    scale: tuple[float, float] | None,
    reason: str = "",
    ellipse: Ellipse | None = None,
) -> tuple[Measurement, ...]:
    """All that a task measures, from its points on one image.

    Args:
        task: Whose points they are.
        points: (K, 2) x, y in pixels; NaN for a missing one, and what needs it has no value then.
        scale: (x, y) millimetres per pixel that hold for all the points; None if there are none.
        reason: Why there is no scale; given with every number in pixels.
        ellipse: In pixels, if one was fitted: HC or AC is then its perimeter, else that of the four points.

    Returns:
        One for each of the task's `measurements`, in their order.

    Raises:
        ValueError: If the points are not the task's, or a scale is not positive.
    """
    array = np.array(points, dtype=np.float64)
    if array.shape != (task.count, 2):
        msg = f"points of {task.id} must have the shape ({task.count}, 2), got {array.shape}"
        raise ValueError(msg)
    if scale is not None:
        if not (np.isfinite(scale).all() and min(scale) > 0):
            msg = f"a scale must be two positive numbers of mm per pixel, got {scale}"
            raise ValueError(msg)
        array *= scale
        ellipse = None if ellipse is None else scaled(ellipse, *scale)
    unit, why = ("mm", "") if scale is not None else ("px", reason or "the size of a pixel is not known")
    placed = _Placed(task, array, unit, why, ellipse)
    return tuple(_one(placed, name) for name in task.measurements)


def fetal_weights(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Estimated fetal weight from what HC, FA and fetal_femur measured, by Hadlock et al. 1985.

    Needs AC, FL and HC or BPD of one fetus, in millimetres; the first of each name counts.

    Returns:
        One for each of the paper's formulas that these allow: with HC, with BPD, with both. One without a
            value where none is allowed.
    """
    found: dict[str, float] = {}
    for item in measurements:
        if item.value is not None and item.unit == "mm":
            found.setdefault(item.name, item.value)
    heads = [head for head in (("HC",), ("BPD",), ("BPD", "HC")) if set(head) <= set(found)]
    lacking = [name for name in ("AC", "FL") if name not in found] + (["HC or BPD"] * (not heads))
    if lacking:
        return (Measurement("EFW", None, "g", f"needs {', '.join(lacking)} in millimetres"),)
    return tuple(_weight(found, head) for head in heads)


def _weight(found: dict[str, float], head: tuple[str, ...]) -> Measurement:
    hc, bpd = (found[name] if name in head else None for name in ("HC", "BPD"))
    try:
        grams = formulas.fetal_weight(found["AC"], found["FL"], hc_mm=hc, bpd_mm=bpd)
    except ValueError as error:
        return Measurement("EFW", None, "g", str(error))
    return Measurement("EFW", grams, "g", f"Hadlock 1985 ({', '.join(head)}, AC, FL)")


def _one(placed: _Placed, name: str) -> Measurement:
    for pair in placed.task.pairs:
        if pair.name == name:
            return _cervix(placed.length(pair)) if name == "cervical length" else placed.length(pair)
    if name.startswith("GA ("):
        return _age(placed, name)
    derived: dict[str, Callable[[_Placed], Measurement]] = {
        "HC": _circumference,
        "AC": _circumference,
        "CI": _cephalic_index,
        "AoP": _angle_of_progression,
        "HSD": lambda placed: placed.distance("HSD", 0, 2),
        "RWT": _wall_thickness,
        "LV mass": _lv_mass,
    }
    return derived[name](placed)


def _circumference(placed: _Placed) -> Measurement:
    name = "HC" if placed.task.id == "HC" else "AC"
    if placed.ellipse is not None:
        return Measurement(name, placed.ellipse.perimeter, placed.unit, placed.unscaled)
    missing = placed.missing(range(4))
    if missing:
        return Measurement(name, None, placed.unit, missing)
    try:
        perimeter = ellipse_from_axes(placed.points).perimeter
    except ValueError as error:
        return Measurement(name, None, placed.unit, str(error))
    return Measurement(name, perimeter, placed.unit, placed.unscaled)


def _cephalic_index(placed: _Placed) -> Measurement:
    bpd, ofd = placed.named("BPD"), placed.named("OFD")
    if not bpd.value or not ofd.value:
        return Measurement("CI", None, "%", placed.missing(range(4)) or "an axis of the head has no length")
    value = formulas.cephalic_index(bpd.value, ofd.value)
    notes = [_SQUARE] if placed.unit == "px" else []
    if not 74.0 <= value <= 83.0:
        notes.append("outside 74 to 83 (Hadlock 1981): a BPD alone misleads about the age")
    return Measurement("CI", value, "%", "; ".join(notes))


def _age(placed: _Placed, name: str) -> Measurement:
    biometry = name.removeprefix("GA (").removesuffix(")")
    source = _one(placed, biometry)
    if source.value is None or source.unit != "mm":
        return Measurement(name, None, "weeks", f"needs {biometry} in millimetres: {source.reason}")
    try:
        weeks = formulas.gestational_age(cast("formulas.Biometry", biometry), source.value)
    except ValueError as error:
        return Measurement(name, None, "weeks", str(error))
    return Measurement(name, weeks, "weeks", f"Hadlock 1984 ({biometry})")


def _cervix(length: Measurement) -> Measurement:
    if length.value is None or length.unit != "mm" or length.value >= SHORT_CERVIX_MM:
        return length
    return replace(length, reason=f"short: under {SHORT_CERVIX_MM:.0f} mm")


def _angle_of_progression(placed: _Placed) -> Measurement:
    missing = placed.missing((0, 1, 3))
    if missing:
        return Measurement("AoP", None, "deg", missing)
    lower, upper, _, tangent = placed.points
    try:
        value = formulas.angle_of_progression(lower, upper, tangent)
    except ValueError as error:
        return Measurement("AoP", None, "deg", str(error))
    return Measurement("AoP", value, "deg", _SQUARE if placed.unit == "px" else "")


def _wall_thickness(placed: _Placed) -> Measurement:
    wall, cavity = placed.named("LVPW"), placed.named("LV")
    if not wall.value or not cavity.value:
        return Measurement("RWT", None, "ratio", wall.reason or cavity.reason or "a length is zero")
    value = formulas.relative_wall_thickness(wall.value, cavity.value)
    return Measurement("RWT", value, "ratio", _DIASTOLE + (f"; {_SQUARE}" if placed.unit == "px" else ""))


def _lv_mass(placed: _Placed) -> Measurement:
    parts = [placed.named(name) for name in ("IVS", "LV", "LVPW")]
    for part in parts:
        if not part.value or part.unit != "mm":
            why = part.reason or f"{part.name} has no length"
            return Measurement("LV mass", None, "g", f"needs {part.name} in millimetres: {why}")
    septum, cavity, wall = (part.value or 0.0 for part in parts)
    return Measurement("LV mass", formulas.lv_mass(septum, cavity, wall), "g", f"cube formula, {_DIASTOLE}")
