"""How far the points on an image, and what is measured from them, lie from the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from trifocal.keypoints.measurements import measure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task

NETWORK_SIDE = 256
"""Of the square that SONICHU stretches an image to: "network pixels" are those of that square."""


@dataclass(frozen=True)
class MeasurementError:
    """One measurement of one image against the truth.

    Attributes:
        name: As in the task's `measurements`.
        unit: Of all three numbers.
        true: By the true points.
        found: By the predicted ones; NaN where they give no value.
    """

    name: str
    unit: str
    true: float
    found: float

    @property
    def error(self) -> float:
        """Found minus true."""
        return self.found - self.true


@dataclass(frozen=True, eq=False)
class CaseErrors:
    """Errors on one image. A point that is missing, in the prediction or in the truth, has an error of NaN.

    Attributes:
        radial_px: (K,) distances in pixels of the image, ends of pairs matched: they may change places.
        canonical_px: (K,) the same between ends of the same name, both in canonical order.
        network_px: (K,) as `radial_px`, of the image stretched to 256 x 256.
        radial_mm: (K,) as `radial_px`, in mm; NaN where the size of a pixel is not known.
        not_found: True points that the prediction lacks.
        size_px: Longest true line of the task.
        measurements: Those that the true points give.
    """

    radial_px: NDArray[np.float64]
    canonical_px: NDArray[np.float64]
    network_px: NDArray[np.float64]
    radial_mm: NDArray[np.float64]
    not_found: int
    size_px: float
    measurements: tuple[MeasurementError, ...]

    @classmethod
    def of(
        cls,
        task: Task,
        points: ArrayLike,
        truth: ArrayLike,
        size: tuple[int, int],
        mm_per_px: float | None = None,
        ellipse: Ellipse | None = None,
    ) -> Self:
        """Compare points (K, 2) with the truth (K, 2), both in pixels of the image.

        Args:
            task: Whose points they are.
            points: Predicted; NaN where nothing was found.
            truth: NaN where nothing is known.
            size: (columns, rows) of the image.
            mm_per_px: Of a (square) pixel, if known.
            ellipse: That the prediction found, in pixels: HC and AC are then its perimeter.

        Raises:
            ValueError: If the points are not the task's.
        """
        true, found = task.canonical(truth), task.canonical(points)
        offset = task.matched(found, true) - true
        radial = np.linalg.norm(offset, axis=-1)
        lines = np.array(task.lines)
        known = np.isfinite(true).all(-1)
        return cls(
            radial_px=radial,
            canonical_px=np.linalg.norm(found - true, axis=-1),
            network_px=np.linalg.norm(offset * (NETWORK_SIDE / np.array(size)), axis=-1),
            radial_mm=radial * (np.nan if mm_per_px is None else mm_per_px),
            not_found=int((known & ~np.isfinite(found).all(-1)).sum()),
            size_px=_largest(np.linalg.norm(true[lines[:, 0]] - true[lines[:, 1]], axis=-1)),
            measurements=_measurement_errors(task, found, true, mm_per_px, ellipse),
        )

    @property
    def mre_px(self) -> float:
        """Mean radial error over the points, in pixels of the image, ends of pairs matched."""
        return mean_of(self.radial_px)

    @property
    def mre_canonical_px(self) -> float:
        """The same with the ends in canonical order."""
        return mean_of(self.canonical_px)

    @property
    def mre_network_px(self) -> float:
        """The same as `mre_px`, of the image stretched to 256 x 256."""
        return mean_of(self.network_px)

    @property
    def mre_mm(self) -> float:
        """The same as `mre_px`, in mm."""
        return mean_of(self.radial_mm)


def _measurement_errors(
    task: Task,
    found: NDArray[np.float64],
    true: NDArray[np.float64],
    mm_per_px: float | None,
    ellipse: Ellipse | None,
) -> tuple[MeasurementError, ...]:
    scale = None if mm_per_px is None else (mm_per_px, mm_per_px)
    pairs = zip(measure(task, true, scale), measure(task, found, scale, ellipse=ellipse), strict=True)
    return tuple(
        MeasurementError(t.name, t.unit, t.value, np.nan if f.value is None else f.value)
        for t, f in pairs
        if t.value is not None
    )


def mean_of(values: ArrayLike) -> float:
    """Mean of those that are not NaN; NaN if all are."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if array.size else np.nan


def _largest(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else np.nan
