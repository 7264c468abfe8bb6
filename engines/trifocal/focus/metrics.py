"""How far one field is from another that is taken for true."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import dist, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.analysis import (
    HALF_PRESSURE,
    centroid_mm,
    focal_size_mm,
    focal_spot,
    highest,
    refined_peak,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box


@dataclass(frozen=True)
class FieldErrors:
    """Errors of a predicted field p of pressure amplitude against a true one t, beyond the near skull.

    Attributes:
        centroid_error_mm: Distance of the -3 dB centroids.
        lateral_mm: Its part across the beam.
        axial_mm: Its part along the beam, positive where the prediction lies deeper.
        argmax_error_mm: Distance of the highest voxels.
        peak_place_error_mm: Distance of the peaks between the voxels, each by a parabola along each axis.
        rel_l2: |p - t| / |t|, linear amplitude, no scaling.
        shape_l2: |s p - t| / |t| with the best scale s = p.t / p.p.
        peak_error: (peak of p - peak of t) / peak of t, signed; the peaks between the voxels.
        transmission_error: (peak of p - peak of t) / peak of the bowl in water, signed: 0.01 is one point of
            percentage; NaN where that peak is not known.
        length_error_mm: -6 dB length along the beam through the peak, that of p less that of t.
        width_error_mm: -6 dB width across the beam, likewise.
        iou_6db: Intersection over union of the -6 dB focal spots, each of its own peak.
    """

    centroid_error_mm: float
    lateral_mm: float
    axial_mm: float
    argmax_error_mm: float
    peak_place_error_mm: float
    rel_l2: float
    shape_l2: float
    peak_error: float
    transmission_error: float
    length_error_mm: float
    width_error_mm: float
    iou_6db: float

    def record(self) -> dict[str, float]:
        """The errors by name."""
        return asdict(self)


def field_errors(
    prediction: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    region: NDArray[np.bool_],
    box: Box,
    water_peak: float = nan,
) -> FieldErrors:
    """Compare two fields (x, y, z) of pressure amplitude on the same box.

    Args:
        prediction: In Pa, or relative to any pressure.
        truth: In the same unit.
        region: (x, y, z) where to compare.
        box: The grid in the bowl's frame.
        water_peak: Peak of the bowl in water, in the unit of the fields.
    """
    p, t = prediction[region].astype(np.float64), truth[region].astype(np.float64)
    norm = float(np.linalg.norm(t))
    scale = float(p @ t) / max(float(p @ p), 1e-30)
    fields = prediction, truth
    offset = centroid_mm(prediction, region, box) - centroid_mm(truth, region, box)
    voxel_p, voxel_t = (highest(np.where(region, f, 0)) for f in fields)
    (place_p, peak_p), (place_t, peak_t) = (refined_peak(f, region, box) for f in fields)
    (length_p, width_p), (length_t, width_t) = (focal_size_mm(f, region, box) for f in fields)
    spot_p, spot_t = (focal_spot(f, region, HALF_PRESSURE)[0] for f in fields)
    return FieldErrors(
        centroid_error_mm=float(np.linalg.norm(offset)),
        lateral_mm=float(np.linalg.norm(offset[:2])),
        axial_mm=float(offset[2]),
        argmax_error_mm=dist(voxel_p, voxel_t) * box.spacing_mm,
        peak_place_error_mm=float(np.linalg.norm(place_p - place_t)),
        rel_l2=float(np.linalg.norm(p - t)) / norm,
        shape_l2=float(np.linalg.norm(scale * p - t)) / norm,
        peak_error=peak_p / peak_t - 1,
        transmission_error=(peak_p - peak_t) / water_peak,
        length_error_mm=length_p - length_t,
        width_error_mm=width_p - width_t,
        iou_6db=float((spot_p & spot_t).sum() / (spot_p | spot_t).sum()),
    )
