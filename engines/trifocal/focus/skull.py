"""The skull that a beam goes through, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.analysis import BONE_HU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.box import Box
    from trifocal.focus.transducer import Bowl


@dataclass(frozen=True)
class NearSkull:
    """The bone between the bowl and the region beyond it, over the lines within a quarter of the aperture.

    Attributes:
        thickness_mm: Of bone along the beam, mean over the lines that meet any; 0 without bone.
        hu: Mean of that bone; 0 without bone.
    """

    thickness_mm: float
    hu: float

    @classmethod
    def measure(
        cls, hu: NDArray[np.floating[Any]], region: NDArray[np.bool_], bowl: Bowl, box: Box
    ) -> NearSkull:
        """Measure it on the bowl's box: hu and region (x, y, z), the region as in `beyond_near_skull`."""
        x, y = box.axis_mm(0), box.axis_mm(1)
        lines = np.hypot(x[:, None], y) <= bowl.aperture_mm / 4
        bone = (hu > BONE_HU) & ~region & lines[..., None]
        count = bone.sum(2)
        if not count.any():
            return cls(0.0, 0.0)
        return cls(float(count[count > 0].mean() * box.spacing_mm), float(hu[bone].mean()))
