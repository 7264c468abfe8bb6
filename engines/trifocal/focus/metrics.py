"""How far one field is from another that is taken for true."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.analysis import HALF_PRESSURE, centroid_mm, focal_spot, refined_peak

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box


@dataclass(frozen=True)
class FieldErrors:
    """Errors of a predicted field of pressure amplitude over the region beyond the near skull.

    Attributes:
        centroid_error_mm: Distance of the -3 dB centroids.
        lateral_mm: Its part across the beam.
        axial_mm: Its part along the beam, positive where the prediction lies deeper.
        argmax_error_mm: Distance of the peaks.
        rel_l2: |prediction - truth| / |truth|, linear amplitude, no scaling.
        shape_l2: The same after the best scale of the prediction.
        peak_error: (predicted peak - true peak) / true peak, signed.
        iou_6db: Intersection over union of the -6 dB focal spots, each of its own peak.
    """

    centroid_error_mm: float
    lateral_mm: float
    axial_mm: float
    argmax_error_mm: float
    rel_l2: float
    shape_l2: float
    peak_error: float
    iou_6db: float

    def record(self) -> dict[str, float]:
        """The errors by name."""
        return asdict(self)


def field_errors(
    prediction: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    region: NDArray[np.bool_],
    box: Box,
) -> FieldErrors:
    """Compare two fields (x, y, z) of pressure amplitude in Pa on the same box."""
    p, t = prediction[region].astype(np.float64), truth[region].astype(np.float64)
    norm = float(np.linalg.norm(t))
    scale = float(p @ t) / max(float(p @ p), 1e-30)
    offset = centroid_mm(prediction, region, box) - centroid_mm(truth, region, box)
    (place_p, peak_p), (place_t, peak_t) = (refined_peak(f, region, box) for f in (prediction, truth))
    spot_p, _ = focal_spot(prediction, region, HALF_PRESSURE)
    spot_t, _ = focal_spot(truth, region, HALF_PRESSURE)
    return FieldErrors(
        centroid_error_mm=float(np.linalg.norm(offset)),
        lateral_mm=float(np.linalg.norm(offset[:2])),
        axial_mm=float(offset[2]),
        argmax_error_mm=float(np.linalg.norm(place_p - place_t)),
        rel_l2=float(np.linalg.norm(p - t)) / norm,
        shape_l2=float(np.linalg.norm(scale * p - t)) / norm,
        peak_error=peak_p / peak_t - 1,
        iou_6db=float((spot_p & spot_t).sum() / (spot_p | spot_t).sum()),
    )
