"""A projection radiograph as it was read, and what the file says about how it was taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trifocal.image import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scale = Literal["line integral", "log", "linear", "display"]
"""What a pixel says: the line integral of the attenuation itself; a number that rises linearly with it; the
detector's exposure; or a picture made for the eye, of which only the order of grey values is known."""


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One X-ray film.

    Attributes:
        pixels: (rows, columns) float32, brighter = more attenuation (bone is white) in every file.
        scale: What the pixels are proportional to.
        name: Of the file, without its folder.
        pixel_mm: (row, column) spacing on the detector, if the file says it; never 0.
        position: DICOM ViewPosition (0018,5101) or what the file's laterality says: "AP", "PA", "LATERAL",
            "LL", "RL"; "" where the file does not say.
        source_to_detector_mm: DICOM Distance Source to Detector (0018,1110), if known.
        source_to_patient_mm: DICOM Distance Source to Patient (0018,1111), if known.
        angles_deg: (primary, secondary) positioner angles (0018,1510), (0018,1511), if known.
        notes: What was done to the data on the way in (JSON-able): inverted, colour reduced, bits, ...
        sha256: Of the file.

    Raises:
        ImageError: If the pixels are not a 2-D array of finite numbers.
    """

    pixels: NDArray[np.float32]
    scale: Scale = "display"
    name: str = ""
    pixel_mm: tuple[float, float] | None = None
    position: str = ""
    source_to_detector_mm: float | None = None
    source_to_patient_mm: float | None = None
    angles_deg: tuple[float, float] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or 0 in self.pixels.shape:
            got = self.pixels.shape
            msg = f"{self.name or 'a radiograph'} must have rows and columns of pixels, got {got}"
            raise ImageError(msg)
        if not np.isfinite(self.pixels).all():
            msg = f"{self.name or 'a radiograph'} has pixels that are not numbers: export it again"
            raise ImageError(msg)
