"""What a pressure field says: where its focus is, how strong, how large."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.box import Box
    from trifocal.focus.pose import Pose

HALF_POWER = 10 ** (-3 / 20)  # amplitude at -3 dB
HALF_PRESSURE = 0.5  # amplitude at -6 dB, to 0.2 %
BONE_HU = 300.0
GAP_MM = 4.0  # soft spots of the near skull thinner than this do not end it


@dataclass(frozen=True)
class Figures:
    """The figures of one field, in world millimetres and pascals.

    Attributes:
        focus_mm: -3 dB centroid of the focal spot, in the world.
        argmax_mm: Where the peak is, to a fraction of a voxel, in the world.
        peak_pa: Highest pressure amplitude in the region.
        transmission: That peak over the peak of the same bowl in water.
        fwhm_mm: Length along the beam and width across it of the focal spot at -6 dB (half of the peak
            pressure).
        distance_to_target_mm: From the focus to the target; None without a target.
    """

    focus_mm: tuple[float, float, float]
    argmax_mm: tuple[float, float, float]
    peak_pa: float
    transmission: float
    fwhm_mm: tuple[float, float]
    distance_to_target_mm: float | None

    def record(self) -> dict[str, Any]:
        """The figures as plain numbers and lists, for JSON."""
        record = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}


def beyond_near_skull(hu: NDArray[np.floating[Any]], spacing_mm: float) -> NDArray[np.bool_]:
    """The region in which fields are judged: past the first bone along each line parallel to the beam.

    Lines that meet no bone belong to the region from the median depth at which their neighbours leave it,
    so that the region has no hole at a craniotomy; without any bone the whole box is the region.

    Args:
        hu: (x, y, z) Hounsfield units in the bowl's box, z along the beam.
        spacing_mm: Edge of a voxel.
    """
    bone = hu > BONE_HU
    if not bone.any():
        return np.ones(hu.shape, bool)
    gap = max(round(GAP_MM / spacing_mm), 1)
    # A voxel is past the near skull when bone came before it and none lies within the gap ahead.
    ahead = np.stack([np.roll(bone, -s, axis=2) for s in range(gap + 1)])
    for s in range(1, gap + 1):
        ahead[s, :, :, -s:] = False
    seen = np.maximum.accumulate(bone, axis=2)
    past = np.maximum.accumulate(seen & ~ahead.any(0), axis=2)
    depth = np.where(past.any(2), past.argmax(2), hu.shape[2])
    met = bone.any(2)
    depth = np.where(met, depth, int(np.median(depth[met])))
    region: NDArray[np.bool_] = np.arange(hu.shape[2]) >= depth[:, :, None]
    return region


def focal_spot(
    pressure: NDArray[np.floating[Any]], region: NDArray[np.bool_], level: float
) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """The connected set of voxels around the peak of the region at `level` of the peak or above.

    Returns:
        Mask (x, y, z), and the index of the peak.
    """
    inside = np.where(region, pressure, 0)
    peak = highest(inside)
    labels, _ = ndimage.label(inside >= level * inside[peak])
    spot: NDArray[np.bool_] = labels == labels[peak]
    return spot, peak


def highest(array: NDArray[np.floating[Any]]) -> tuple[int, ...]:
    """Index of the highest value."""
    return tuple(int(i) for i in np.unravel_index(int(array.argmax()), array.shape))


def centroid_mm(
    pressure: NDArray[np.floating[Any]], region: NDArray[np.bool_], box: Box
) -> NDArray[np.float64]:
    """Pressure-weighted centroid (3,) of the -3 dB focal spot, in the bowl's frame."""
    spot, _ = focal_spot(pressure, region, HALF_POWER)
    index = np.argwhere(spot)
    weight = pressure[spot].astype(float)
    mean = (index * weight[:, None]).sum(0) / weight.sum()
    centroid: NDArray[np.float64] = np.asarray(box.origin_mm) + box.spacing_mm * mean
    return centroid


def refined_peak(
    pressure: NDArray[np.floating[Any]], region: NDArray[np.bool_], box: Box
) -> tuple[NDArray[np.float64], float]:
    """The peak between the voxels, by a parabola along each axis through the highest one.

    Returns:
        Its position (3,) in the bowl's frame in mm, and its height in Pa.
    """
    peak = highest(np.where(region, pressure, 0))
    position = np.array(peak, float)
    height = float(pressure[peak])
    for axis, (i, n) in enumerate(zip(peak, pressure.shape, strict=True)):
        if 0 < i < n - 1:
            line = pressure[tuple(slice(None) if a == axis else p for a, p in enumerate(peak))]
            before, here, after = (float(v) for v in line[i - 1 : i + 2])
            curvature = before - 2 * here + after
            if curvature < 0:
                step = float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
                position[axis] += step
                height += 0.25 * (after - before) * step
    return np.asarray(box.origin_mm) + box.spacing_mm * position, height


def width_mm(profile: NDArray[np.floating[Any]], at: int, spacing_mm: float, level: float) -> float:
    """Width of a profile around index `at` where it is above `level` of its value there, interpolated.

    A profile that does not fall to the level before its end is counted up to its end.
    """
    threshold = level * float(profile[at])

    def reach(part: NDArray[np.floating[Any]]) -> float:
        below = np.flatnonzero(part < threshold)
        if not len(below):
            return float(len(part) - 1)
        i = int(below[0])
        return i - 1 + float((part[i - 1] - threshold) / (part[i - 1] - part[i]))

    return (reach(profile[at:]) + reach(profile[at::-1])) * spacing_mm


def focal_size_mm(
    pressure: NDArray[np.floating[Any]], region: NDArray[np.bool_], box: Box
) -> tuple[float, float]:
    """Length along the beam and mean width across it, through the peak and at half of its pressure."""
    inside = np.where(region, pressure, 0)
    x, y, z = highest(inside)
    h = box.spacing_mm
    length = width_mm(inside[x, y], z, h, HALF_PRESSURE)
    width = (
        width_mm(inside[:, y, z], x, h, HALF_PRESSURE) + width_mm(inside[x, :, z], y, h, HALF_PRESSURE)
    ) / 2
    return length, width


def figures(
    pressure: NDArray[np.floating[Any]],
    region: NDArray[np.bool_],
    box: Box,
    pose: Pose,
    water_peak_pa: float,
    target_mm: ArrayLike | None = None,
) -> Figures:
    """Work out the figures of a field (x, y, z) of pressure amplitude in Pa."""
    focus = pose.to_world(centroid_mm(pressure, region, box))
    distance = None if target_mm is None else float(np.linalg.norm(focus - np.asarray(target_mm, float)))
    place, height = refined_peak(pressure, region, box)
    return Figures(
        _triple(focus),
        _triple(pose.to_world(place)),
        height,
        height / water_peak_pa,
        focal_size_mm(pressure, region, box),
        distance,
    )


def _triple(point: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(c) for c in point)
    return x, y, z
