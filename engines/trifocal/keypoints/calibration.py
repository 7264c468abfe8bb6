"""How large a pixel is: by the file, by a table, by what the user knows; or why that is not known.

Rules for a DICOM file's ultrasound regions (PS3.3, C.8.5.5):

- Only a 2-D region whose two directions are in cm counts, with two deltas that are finite and not 0; a
  negative delta says that the axis runs the other way, and its size counts.
- All points must lie in one such region. Of several that hold them all, the smallest by area counts, and of
  equal ones the first in the file. Where a smaller region of another kind (M-mode, spectrum) covers a point,
  there is no scale.
- The boxes must fit into the picture; a maximum of one beyond the last pixel is let pass: machines write
  it. Where they stand out in both directions, the picture was resized after it was taken, and the deltas are
  those of another picture: there is no scale. Where they stand out in one direction and end at the picture's
  very edge in the other, the picture was cut and not resized, and the deltas hold.

PixelSpacing counts only in a file without regions: what wrote both may have adapted either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from trifocal.keypoints.scale_table import read_scale_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.cine import Cine, ScaleRegion

__all__ = ["Calibration", "Refusal", "calibrate", "read_scale_table"]

_CM = 3
_TWO_DIMENSIONAL = 1
_FORMATS = {2: "M-mode", 3: "a spectrum", 4: "a waveform", 5: "graphics"}
_NOT_CALIBRATED = "the file does not say how large a pixel is"


@dataclass(frozen=True)
class Refusal:
    """Why there are no millimetres.

    Attributes:
        reason: To be shown after "pixels:"; a clause without a full stop.
    """

    reason: str


@dataclass(frozen=True)
class Calibration:
    """The size of the pixels of one image or cine.

    Attributes:
        source: Where it is from, to be shown after "by": "an ultrasound region of the file".
        everywhere: (x, y) mm per pixel that hold in the whole picture; None where regions decide, or nothing.
        regions: Of the file, those of other kinds too.
        reason: Why nothing is known; "" if something is.
    """

    source: str
    everywhere: tuple[float, float] | None = None
    regions: tuple[ScaleRegion, ...] = ()
    reason: str = ""

    @classmethod
    def from_mm_per_px(cls, mm_per_px: float | tuple[float, float], source: str = "the user's scale") -> Self:
        """By a known size of the pixels, square or (x, y).

        Raises:
            ValueError: If it is not positive.
        """
        both = (mm_per_px, mm_per_px) if isinstance(mm_per_px, float | int) else mm_per_px
        x, y = (float(v) for v in both)
        if not (0 < x < math.inf and 0 < y < math.inf):
            msg = f"the size of a pixel must be positive millimetres, got {x:g} x {y:g}"
            raise ValueError(msg)
        return cls(source, (x, y))

    @classmethod
    def from_known_distance(cls, a_px: tuple[float, float], b_px: tuple[float, float], mm: float) -> Self:
        """By two points (x, y) of the picture whose distance is known; pixels are taken to be square.

        Raises:
            ValueError: If the points coincide, or the distance is not positive.
        """
        pixels = math.dist(a_px, b_px)
        if not (0 < pixels < math.inf and 0 < mm < math.inf):
            msg = (
                f"a known distance must be positive, between two points, got {mm:g} mm for {pixels:g} pixels"
            )
            raise ValueError(msg)
        return cls.from_mm_per_px(mm / pixels, f"a known distance of {mm:g} mm")

    def scale(self, points: ArrayLike) -> tuple[float, float] | Refusal:
        """(x, y) mm per pixel that hold for all of these points, or why there are none.

        Args:
            points: (N, 2) x, y in pixels; those that are NaN are left out.
        """
        if self.everywhere is not None:
            return self.everywhere
        if self.reason:
            return Refusal(self.reason)
        there = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        there = there[np.isfinite(there).all(axis=1)]
        if not len(there):
            return Refusal("there is no point, and the size of a pixel depends on the place")
        return _by_regions(self.regions, there)

    def describe(self) -> str:
        """One sentence about the size of a pixel."""
        if self.everywhere is not None:
            x, y = self.everywhere
            size = f"{x:.4g} mm" if math.isclose(x, y, rel_tol=1e-4) else f"{x:.4g} x {y:.4g} mm"
            return f"A pixel is {size}, by {self.source}."
        if self.reason:
            return f"Pixels only: {self.reason}."
        return f"Millimetres where a region of the file holds all points, by {self.source}."


def calibrate(cine: Cine, mm_per_px: float | tuple[float, float] | None = None) -> Calibration:
    """The size of the pixels of a cine.

    Args:
        cine: What the file says.
        mm_per_px: What the user says instead; it holds before the file.

    Raises:
        ValueError: If `mm_per_px` is not positive.
    """
    if mm_per_px is not None:
        return Calibration.from_mm_per_px(mm_per_px)
    if cine.regions:
        reason = _misfit(cine.regions, cine.size) or _unusable(cine.regions)
        return Calibration("an ultrasound region of the file", regions=cine.regions, reason=reason)
    if cine.pixel_spacing_mm is None:
        return Calibration("", reason=_NOT_CALIBRATED)
    if cine.pixel_spacing_mm == (1.0, 1.0):
        return Calibration("", reason="the file's PixelSpacing is 1 mm, which stands for not known")
    return Calibration("the file's PixelSpacing", cine.pixel_spacing_mm)


def _misfit(regions: tuple[ScaleRegion, ...], size: tuple[int, int]) -> str:
    """Why the picture is not the one that the regions were written for; "" if it is, or a part of it."""
    ends = np.array([region.box[2:] for region in regions]).max(axis=0)
    out = ends > np.array(size)
    at_edge = (ends >= np.array(size) - 1) & ~out
    if not out.any() or at_edge.any():
        return ""
    what = "resized" if out.all() else "cut or resized"
    return (
        f"the file's regions reach to column {ends[0]} and row {ends[1]}, but the picture has"
        f" {size[0]} x {size[1]} pixels: it was {what} after it was taken, so that their scale does not hold"
    )


def _unusable(regions: tuple[ScaleRegion, ...]) -> str:
    """Why none of the regions has a scale; "" if one has."""
    problems = [_problem(region) for region in regions]
    return "" if "" in problems else problems[0]


def _problem(region: ScaleRegion) -> str:
    """Why a region has no scale in mm; "" if it has one."""
    if region.spatial_format != _TWO_DIMENSIONAL:
        return f"the region is {_FORMATS.get(region.spatial_format, 'not a 2-D image')}, not a 2-D image"
    if region.units != (_CM, _CM):
        return f"the region's units are not cm (codes {region.units[0]} and {region.units[1]})"
    if not all(math.isfinite(delta) and delta != 0 for delta in region.delta):
        return "the region does not say how large a pixel is"
    if region.box[2] < region.box[0] or region.box[3] < region.box[1]:
        return "the region's box is empty"
    return ""


def _by_regions(
    regions: tuple[ScaleRegion, ...], points: NDArray[np.float64]
) -> tuple[float, float] | Refusal:
    # the order of a stable sort: of equal areas, the first in the file
    ordered = sorted(regions, key=_area)
    for point in points:
        own = next((region for region in ordered if _holds(region, point[None])), None)
        if own is None:
            return Refusal("a point lies outside the file's ultrasound regions")
        if problem := _problem(own):
            return Refusal(f"a point lies where {problem}")
    common = next((r for r in ordered if not _problem(r) and _holds(r, points)), None)
    if common is None:
        return Refusal("the points lie in different ultrasound regions")
    x, y = common.delta
    return 10.0 * abs(x), 10.0 * abs(y)


def _area(region: ScaleRegion) -> int:
    left, top, right, bottom = region.box
    return (right - left + 1) * (bottom - top + 1)


def _holds(region: ScaleRegion, points: NDArray[np.float64]) -> bool:
    """Whether all points lie on pixels of the box, up to their outer edges."""
    left, top, right, bottom = region.box
    low, high = np.array([left, top]) - 0.5, np.array([right, bottom]) + 0.5
    return bool(((points >= low) & (points <= high)).all())
