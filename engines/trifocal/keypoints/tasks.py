"""The nine biometry tasks: which points, in which order, and what they measure.

Ids, the number of points and their meaning are those of the public FU_Biometry challenge (FM_UIA 2026),
read from its CSV headers; the obstetric semantics follow the ISUOG guidelines for fetal biometry (Salomon
et al. 2019) and for intrapartum ultrasound (Ghi et al. 2018), the cardiac ones the ASE/EACVI chamber
quantification recommendations (Lang et al. 2015). The SONICHU-124M card calls FUGC the "foetal umbilical
cord"; the FUGC challenge itself is the transvaginal cervix, and so is this table.

Points are (x, y) in pixels, x to the right and y down, whole numbers at the centres of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

First = Literal["upper", "left", "right"]
"""Which end of a pair is its first point. Ties (exactly level ends) go to the left, or to the upper one."""


@dataclass(frozen=True)
class Pair:
    """Two points that measure a distance, and may change places.

    Attributes:
        name: Of the distance, as a measurement is named ("BPD", "LV long axis").
        ends: Indices of the two points.
        first: Which of them comes first in canonical order.
    """

    name: str
    ends: tuple[int, int]
    first: First


@dataclass(frozen=True)
class Task:
    """One biometry task.

    Attributes:
        id: Of the FU_Biometry challenge; also on the command line and in every file that we write.
        title: For people.
        anatomy: What is looked at.
        modality: How the image is taken.
        points: Name of each point, in order.
        pairs: The points that may change places; a point that is in none keeps its identity when the image is
            mirrored.
        lines: Pairs of indices to draw; those of `pairs`, unless the task says otherwise.
        measurements: Names of what `trifocal.keypoints.measurements` derives from the points.
        ellipse: Whether the four points are the axes of an ellipse (short, then long where one is longer).
        source: Where the semantics are from.
    """

    id: str
    title: str
    anatomy: str
    modality: str
    points: tuple[str, ...]
    pairs: tuple[Pair, ...]
    lines: tuple[tuple[int, int], ...]
    measurements: tuple[str, ...]
    source: str
    ellipse: bool = False

    @property
    def count(self) -> int:
        """How many points."""
        return len(self.points)

    def canonical(self, points: ArrayLike) -> NDArray[np.float64]:
        """Put the ends of every pair into their order.

        Args:
            points: (..., K, 2) pixels; NaN for a missing point, whose pair is left as it is.

        Returns:
            A copy, (..., K, 2).
        """
        out = self._checked(points).copy()
        for pair in self.pairs:
            a, b = (out[..., end, :].copy() for end in pair.ends)
            swap = _comes_first(b, a, pair.first)[..., None]
            out[..., pair.ends[0], :] = np.where(swap, b, a)
            out[..., pair.ends[1], :] = np.where(swap, a, b)
        return out

    def mirror(self, points: ArrayLike, width: int) -> NDArray[np.float64]:
        """Points of the image that is mirrored left to right, in canonical order: (..., K, 2) pixels."""
        out = self._checked(points).copy()
        out[..., 0] = width - 1 - out[..., 0]
        return self.canonical(out)

    def matched(self, points: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
        """Exchange the ends of each pair where that brings them nearer to those of a reference.

        Args:
            points: (..., K, 2) pixels.
            reference: Of the same shape.

        Returns:
            A copy of `points`, (..., K, 2).
        """
        out, other = self._checked(points).copy(), self._checked(reference)
        for pair in self.pairs:
            ends = list(pair.ends)
            straight = np.linalg.norm(out[..., ends, :] - other[..., ends, :], axis=-1).sum(-1)
            crossed = np.linalg.norm(out[..., ends[::-1], :] - other[..., ends, :], axis=-1).sum(-1)
            swap = (crossed < straight)[..., None, None]
            out[..., ends, :] = np.where(swap, out[..., ends[::-1], :], out[..., ends, :])
        return out

    def _checked(self, points: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(points, dtype=np.float64)
        if array.ndim < 2 or array.shape[-2:] != (self.count, 2):
            msg = f"points of {self.id} must have the shape (..., {self.count}, 2), got {array.shape}"
            raise ValueError(msg)
        return array


def find_task(name: str) -> Task:
    """The task of that id; capitals do not matter.

    Raises:
        ValueError: If there is none; the message names those that there are.
    """
    for task in TASKS.values():
        if task.id.lower() == name.strip().lower():
            return task
    msg = f"the task must be one of {', '.join(TASKS)}, got {name!r}"
    raise ValueError(msg)


def _comes_first(a: NDArray[np.float64], b: NDArray[np.float64], first: First) -> NDArray[np.bool_]:
    """Whether `a` (..., 2) should stand before `b`; never for equal points or NaN."""
    sign = -1.0 if first == "right" else 1.0
    main, tie = (1, 0) if first == "upper" else (0, 1)
    before: NDArray[np.bool_] = (sign * a[..., main] < sign * b[..., main]) | (
        (a[..., main] == b[..., main]) & (a[..., tie] < b[..., tie])
    )
    return before


def _task(
    id_: str, title: str, anatomy: str, modality: str, pairs: dict[str, First], source: str,
    *, extra: tuple[str, ...] = (), ellipse: bool = False,
) -> Task:  # fmt: skip
    """A task all of whose points are ends of pairs."""
    points = tuple(f"{name} {end}" for name in pairs for end in (1, 2))
    ends = [(2 * i, 2 * i + 1) for i in range(len(pairs))]
    return Task(
        id=id_,
        title=title,
        anatomy=anatomy,
        modality=modality,
        points=points,
        pairs=tuple(Pair(n, e, f) for (n, f), e in zip(pairs.items(), ends, strict=True)),
        lines=tuple(ends),
        measurements=tuple(pairs) + extra,
        source=source,
        ellipse=ellipse,
    )


_ISUOG = "ISUOG fetal biometry guideline, Salomon et al. 2019, doi 10.1002/uog.20272"
_ASE = "ASE/EACVI chamber quantification, Lang et al. 2015, doi 10.1016/j.echo.2014.10.003"
_UPPER: First = "upper"
_PLAX = (
    "LV", "RV", "IVS", "LVPW", "aortic annulus", "STJ", "ascending aorta", "aortic valve opening",
    "LVOT", "LA", "RVOT",
)  # fmt: skip

TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        _task(
            "HC", "Fetal head circumference", "fetal head, transthalamic plane", "transabdominal B-mode",
            {"BPD": "upper", "OFD": "left"}, _ISUOG, extra=("HC", "CI", "GA (HC)", "GA (BPD)"), ellipse=True,
        ),
        _task(
            "FA", "Fetal abdominal circumference", "fetal abdomen, transverse plane", "transabdominal B-mode",
            {"APAD": "upper", "TAD": "right"}, _ISUOG, extra=("AC", "GA (AC)"), ellipse=True,
        ),
        _task(
            "fetal_femur", "Fetal femur length", "fetal femur, long axis", "transabdominal B-mode",
            {"FL": "left"}, _ISUOG, extra=("GA (FL)",),
        ),
        Task(
            id="AOP",
            title="Angle of progression",
            anatomy="pubic symphysis and fetal head in labour, sagittal",
            modality="transperineal B-mode",
            points=("symphysis lower end", "symphysis upper end", "head nearest point", "head tangent point"),
            pairs=(),
            lines=((0, 1), (0, 3), (0, 2)),
            measurements=("AoP", "HSD"),
            source="ISUOG intrapartum guideline, Ghi et al. 2018, doi 10.1002/uog.19072",
        ),
        _task(
            "FUGC", "Cervical length", "uterine cervix, sagittal", "transvaginal B-mode",
            {"cervical length": "left"},
            "FUGC challenge (cervix); ISUOG guideline, Coutinho et al. 2022, doi 10.1002/uog.26020",
        ),
        _task(
            "PLAX", "Parasternal long axis", "heart", "transthoracic B-mode",
            dict.fromkeys(_PLAX, _UPPER), _ASE, extra=("RWT", "LV mass"),
        ),
        _task(
            "PSAX", "Parasternal short axis, great vessels", "heart", "transthoracic B-mode",
            {"RVOT": "upper", "PA": "upper"}, _ASE,
        ),
        _task(
            "A4C", "Apical four-chamber view", "heart", "transthoracic B-mode",
            {f"{c} {axis}": _UPPER for c in ("LV", "RV", "LA", "RA") for axis in ("length", "width")}, _ASE,
        ),
        _task(
            "IVC", "Inferior vena cava", "inferior vena cava, subcostal long axis", "transabdominal B-mode",
            {"IVC diameter": "upper"}, _ASE,
        ),
    )
}  # fmt: skip
"""The nine tasks by their ids."""
