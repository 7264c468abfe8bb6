"""How the slices of a CT lie, checked strictly: a wrong millimetre here is a wrong focus later."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import ImageError
from trifocal.io.checks import LPS_TO_RAS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_DRIFT_MM = 0.1  # sideways rounding of positions that is not a tilt ...
_DRIFT_SLOPE = 5e-4  # ... and of orientations: 0.03 deg over the length of the stack


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice: where it lies and how its stored numbers become HU.

    Attributes:
        name: Its file, for messages.
        key: (file, frame) by which the reader finds its pixels again.
        origin_mm: (3,) LPS mm, centre of the first pixel.
        row: (3,) LPS unit vector along which the column index grows.
        column: (3,) LPS unit vector along which the row index grows.
        spacing_mm: (2,) mm between pixel centres along `row` and along `column`.
        size: (columns, rows).
        rescale: (slope, intercept) from stored numbers to HU.
        frame_of_reference: The DICOM UID of the coordinate system, "" where absent.
    """

    name: str
    key: tuple[int, int]
    origin_mm: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    size: tuple[int, int]
    rescale: tuple[float, float]
    frame_of_reference: str


# What all slices of a volume share, with the difference that is rounding (0: none).
_ALIKE: tuple[tuple[str, float, Callable[[Plane], Sequence[Any]]], ...] = (
    ("size (columns, rows)", 0.0, lambda plane: plane.size),
    ("pixel spacing", 1e-4, lambda plane: plane.spacing_mm.tolist()),
    ("orientation", 2e-4, lambda plane: [*plane.row, *plane.column]),
    ("rescale slope and intercept", 0.0, lambda plane: plane.rescale),
    ("frame of reference", 0.0, lambda plane: (plane.frame_of_reference,)),
)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices sorted along their normal. Make it with `stack_planes`.

    Attributes:
        planes: All alike in size, spacing, orientation and rescale, none at the place of another.
    """

    planes: tuple[Plane, ...]

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """(3,) LPS unit normal of the slices."""
        normal: NDArray[np.float64] = np.cross(self.planes[0].row, self.planes[0].column)
        return normal / np.linalg.norm(normal)

    @cached_property
    def heights_mm(self) -> NDArray[np.float64]:
        """(n,) position of each slice along the normal, ascending."""
        return np.array([plane.origin_mm @ self.normal for plane in self.planes])

    @cached_property
    def gaps_mm(self) -> NDArray[np.float64]:
        """(n - 1,) distance of each slice from the one before, along the normal."""
        return np.diff(self.heights_mm)

    @cached_property
    def drift_mm(self) -> NDArray[np.float64]:
        """(n, 2) how far each slice is shifted along row and column against the first one."""
        first = self.planes[0]
        offsets = np.array([plane.origin_mm - first.origin_mm for plane in self.planes])
        drift: NDArray[np.float64] = offsets @ np.stack([first.row, first.column], axis=1)
        return drift

    @property
    def tilt_deg(self) -> float:
        """Angle between the slices' normal and the direction in which they are stacked."""
        return float(
            np.degrees(
                np.arctan2(np.linalg.norm(self.drift_mm[-1]), self.heights_mm[-1] - self.heights_mm[0])
            )
        )

    @property
    def is_sheared(self) -> bool:
        """Whether the slices are shifted sideways by more than rounding."""
        length = float(self.heights_mm[-1] - self.heights_mm[0])
        return bool(np.linalg.norm(self.drift_mm, axis=1).max() > _DRIFT_MM + _DRIFT_SLOPE * length)

    @property
    def is_uneven(self) -> bool:
        """Whether a gap differs from the median by more than 1 % and 0.01 mm."""
        median = float(np.median(self.gaps_mm))
        return bool(np.abs(self.gaps_mm - median).max() > max(0.01, 0.01 * median))

    def faults(self) -> str:
        """Say in one clause why the slices are no regular grid; "" where they are one."""
        found = []
        if self.is_sheared:
            drift = np.linalg.norm(self.drift_mm, axis=1).max()
            found.append(
                f"the slices are not stacked along their normal (gantry tilt {self.tilt_deg:.1f} deg,"
                f" sideways shift up to {drift:.1f} mm)"
            )
        if self.is_uneven:
            found.append(self._missing() or self._uneven())
        return " and ".join(found)

    def _uneven(self) -> str:
        low, middle, high = self.gaps_mm.min(), np.median(self.gaps_mm), self.gaps_mm.max()
        return f"the slice gaps are uneven ({low:.2f} to {high:.2f} mm, median {middle:.2f} mm)"

    def _missing(self) -> str:
        """Name the places of missing slices where all gaps are whole multiples of the smallest."""
        gap = self.gaps_mm.min()
        steps = np.rint(self.gaps_mm / gap)
        if np.abs(self.gaps_mm - steps * gap).max() > max(0.01, 0.01 * gap) * steps.max() or steps.max() > 20:
            return ""
        after = int(np.flatnonzero(steps > 1)[0])
        count = int((steps - 1).sum())
        where = (
            self.planes[after].origin_mm
            + (self.planes[after + 1].origin_mm - self.planes[after].origin_mm) / (steps[after])
        )
        return (
            f"{count} slice{' is' if count == 1 else 's are'} missing, the first at"
            f" {self.heights_mm[after] + gap:.2f} mm along the normal (LPS {np.round(where, 2).tolist()}),"
            f" between {self.planes[after].name} and {self.planes[after + 1].name}"
        )

    def affine(self) -> NDArray[np.float64]:
        """(4, 4) index (column, row, slice) -> RAS mm of a regular stack."""
        first = self.planes[0]
        affine = np.eye(4)
        affine[:3, 0] = first.row * first.spacing_mm[0]
        affine[:3, 1] = first.column * first.spacing_mm[1]
        affine[:3, 2] = self.normal * self.gaps_mm.mean()
        affine[:3, 3] = first.origin_mm
        ras: NDArray[np.float64] = LPS_TO_RAS @ affine
        return ras


def stack_planes(planes: Sequence[Plane], name: str) -> Stack:
    """Check that slices belong to one volume and sort them along their normal.

    Raises:
        ImageError: If there is only one, they differ, their axes are not orthonormal or two share a place.
    """
    if len(planes) < 2:
        msg = f"{name} holds a single slice, but a volume needs at least two: give the folder of the series"
        raise ImageError(msg)
    _check_orthonormal(planes[0], name)
    _check_alike(planes, name)
    normal = Stack((planes[0],)).normal
    stack = Stack(tuple(sorted(planes, key=lambda plane: float(plane.origin_mm @ normal))))
    same = np.flatnonzero(stack.gaps_mm < 0.01)
    if len(same):
        at = int(same[0])
        msg = (
            f"{name} has {len(same)} duplicate slice positions, the first at {stack.heights_mm[at]:.2f} mm"
            f" ({stack.planes[at].name} and {stack.planes[at + 1].name}): keep one of each"
        )
        raise ImageError(msg)
    return stack


def _check_orthonormal(plane: Plane, name: str) -> None:
    axes = np.stack([plane.row, plane.column])
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        msg = (
            f"the orientation of {name} ({np.round(axes, 4).ravel().tolist()}) is not two perpendicular unit"
            " vectors: export the series again"
        )
        raise ImageError(msg)
    if not (np.isfinite(plane.spacing_mm).all() and (plane.spacing_mm > 0).all()):
        got = plane.spacing_mm.tolist()
        msg = f"the pixel spacing of {name} must be positive millimetres, got {got}: export it again"
        raise ImageError(msg)


def _check_alike(planes: Sequence[Plane], name: str) -> None:
    """Compare each slice with the most usual value, so that the odd one is named and not the others."""
    for what, tolerance, of in _ALIKE:
        values = [of(plane) for plane in planes]
        keys = [tuple(np.round(v, 4) + 0.0) if tolerance else tuple(v) for v in values]
        usual = values[keys.index(Counter(keys).most_common(1)[0][0])]
        odd = [
            plane.name
            for plane, value in zip(planes, values, strict=True)
            if not (np.allclose(value, usual, rtol=0.0, atol=tolerance) if tolerance else value == usual)
        ]
        if odd:
            msg = (
                f"the slices of {name} differ in {what} ({len(odd)} of {len(planes)}, the first {odd[0]}):"
                " one volume has one; keep those that belong together"
            )
            raise ImageError(msg)
