"""Ultrasound frames, and what the file says about how large their pixels are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trifocal.image import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Frames(Protocol):
    """Frames that are decoded when they are asked for: a cine of thousands need not be in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """One frame: (rows, columns) grey or (rows, columns, 3) RGB, 0 to 255."""
        ...


@dataclass(frozen=True)
class ScaleRegion:
    """One item of a DICOM file's Sequence of Ultrasound Regions (0018,6011), as the file has it.

    Attributes:
        box: Location Min X0, Min Y0, Max X1, Max Y1: first and last column and row that belong to it.
        units: Physical Units X and Y Direction; 3 is cm.
        delta: Physical Delta X and Y: size of a pixel in those units; may be negative.
        spatial_format: Region Spatial Format; 1 is 2-D, 2 M-mode, 3 spectral.
        data_type: Region Data Type; 1 is tissue, 2 colour flow.
    """

    box: tuple[int, int, int, int]
    units: tuple[int, int]
    delta: tuple[float, float]
    spatial_format: int = 1
    data_type: int = 1


@dataclass(frozen=True, eq=False)
class Cine:
    """One or more ultrasound frames of one size.

    Attributes:
        frames: The pixels, as read (nothing cropped, scaled or flipped).
        size: (columns, rows) of each frame: width and height.
        name: Of the file, without its folder.
        times_s: (T,) time of each frame from the first, if known.
        regions: Of a DICOM file.
        pixel_spacing_mm: (x, y) size of a pixel by PixelSpacing or the like, if the file says it.
        modality: "US" or what else a DICOM file says; "" if the file does not say.
        notes: What was done to the data on the way in (JSON-able), for the provenance record.
        sha256: Of the file.

    Raises:
        ImageError: If there is no frame, or a size is not positive.
    """

    frames: Frames
    size: tuple[int, int]
    name: str = ""
    times_s: NDArray[np.float64] | None = None
    regions: tuple[ScaleRegion, ...] = ()
    pixel_spacing_mm: tuple[float, float] | None = None
    modality: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if len(self.frames) == 0 or min(self.size) < 1:
            got = f"{len(self.frames)} of {self.size}"
            msg = f"{self.name or 'a cine'} must have a frame of at least one pixel, got {got}"
            raise ImageError(msg)

    def __len__(self) -> int:
        return len(self.frames)


def grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luminance of a frame: (rows, columns) or (rows, columns, 3) -> (rows, columns), ITU-R BT.601."""
    if frame.ndim == 2:
        return frame
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    luminance: NDArray[np.uint8] = np.rint(frame.astype(np.float32) @ weights).astype(np.uint8)
    return luminance
