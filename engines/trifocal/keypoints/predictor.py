"""An ultrasound image and a task in; named points with their confidence out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task


@dataclass(frozen=True, eq=False)
class KeypointsInput:
    """What a prediction is made from.

    Attributes:
        frame: (rows, columns) grey or (rows, columns, 3) RGB, uint8, as read.
        task: Which points are wanted.
        tta: Also predict the mirrored image and average: twice the time.
        mm_per_px: (x, y) size of a pixel, if known: enables the checks that need millimetres.
    """

    frame: NDArray[np.uint8]
    task: Task
    tta: bool = False
    mm_per_px: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class KeypointsPrediction:
    """Named points on one image.

    Attributes:
        task: Of the input.
        points: (K, 2) x, y in pixels of the frame as read, canonical order; NaN where nothing was found.
        scores: (K,) peak of the heat map, 0 to 1: how sharply the network answered, not how right it is.
        spread_px: (K,) how far the members of the ensemble (and the mirrored image) lie from their mean.
        review: 0 to 1: how much this image deserves a second look, for sorting; a hint, not an error bar.
        hints: Sentences that say why it deserves one.
        ellipse: In pixels, for tasks that have one and where it was found.
        heat: (rows, columns) float32, 0 to 1, on the frame's own grid: the highest of the points' heat maps.
        engine: "network" or "classical".
        weights_sha256: Of the network's file; "" for none.
        device: Where it was computed.
        seconds: That it took.
        warnings: What the user should know (trained on synthetic images only, out of range, ...).
    """

    task: Task
    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    spread_px: NDArray[np.float64]
    review: float
    hints: tuple[str, ...] = ()
    ellipse: Ellipse | None = None
    heat: NDArray[np.float32] | None = field(default=None, repr=False)
    engine: str = "network"
    weights_sha256: str = ""
    device: str = "cpu"
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
