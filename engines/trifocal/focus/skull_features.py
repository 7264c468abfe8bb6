"""What a placement looks like to the engine, in six physical figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.analysis import BONE_HU
from trifocal.focus.skull import NearSkull

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box
    from trifocal.focus.transducer import Bowl

FEATURES = (
    "thickness of bone, mm",
    "mean of the bone, HU",
    "incidence, deg",
    "radius of curvature, mm",
    "aperture, mm",
    "frequency, kHz",
)


def placement_features(
    hu: NDArray[np.floating[Any]], region: NDArray[np.bool_], bowl: Bowl, box: Box
) -> NDArray[np.float64]:
    """The figures (6,) of `FEATURES`: hu and region (x, y, z) on the bowl's box, as in `NearSkull`."""
    skull = NearSkull.measure(hu, region, bowl, box)
    return np.array(
        [
            skull.thickness_mm,
            skull.hu,
            incidence_deg(hu, bowl, box),
            bowl.radius_of_curvature_mm,
            bowl.aperture_mm,
            bowl.frequency_hz / 1e3,
        ]
    )


def incidence_deg(hu: NDArray[np.floating[Any]], bowl: Bowl, box: Box) -> float:
    """Angle between the beam and the normal of the skull's outer surface; 0 where too little bone is met.

    The surface is the plane of least squares through the first bone on the lines parallel to the beam within
    a quarter of the aperture.
    """
    x, y = np.meshgrid(box.axis_mm(0), box.axis_mm(1), indexing="ij")
    bone = hu > BONE_HU
    met = bone.any(2) & (np.hypot(x, y) <= bowl.aperture_mm / 4)
    if met.sum() < 3:
        return 0.0
    depth = bone.argmax(2)[met] * box.spacing_mm
    terms = np.stack([x[met], y[met], np.ones(int(met.sum()))], 1)
    slope = np.linalg.lstsq(terms, depth, rcond=None)[0][:2]
    return float(np.degrees(np.arctan(np.hypot(*slope))))
