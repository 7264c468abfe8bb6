"""What hollow organs hold: gas in front of fluid, as one lies on the back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Region

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

GAS_HU = -985.0


def gas_level(line: Doubles, share: float) -> float:
    """Height y in front of which about that share (0 to 1) of the volume of a tube (N, 4) lies."""
    fractions = np.linspace(-0.95, 0.95, 9)
    heights = (line[:, 1:2] + fractions * line[:, 3:4]).ravel()
    weights = ((1 - fractions**2) * line[:, 3:4] ** 2).ravel()
    order = np.argsort(heights)
    behind = np.cumsum(weights[order]) / weights.sum()
    return float(heights[order][min(int(np.searchsorted(behind, 1 - share)), len(order) - 1)])


def layered(region: Region, level: float, content: Floats, foam: Floats | float = 0.0) -> Floats:
    """HU (broadcast to the region) of gas in front of the level y, and of what lies behind it.

    Args:
        region: Where.
        level: From `gas_level`.
        content: HU of the fluid or food.
        foam: mm by which the surface is uneven.
    """
    ahead = np.clip((region.y - np.float32(level) + foam) / 2 + 0.5, 0, 1)
    out: Floats = (content + ahead * (np.float32(GAS_HU) - content)).astype(np.float32, copy=False)
    return out
