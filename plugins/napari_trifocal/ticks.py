"""Round numbers along an axis."""

from __future__ import annotations

import numpy as np

TICKS = 4


def ticks(low: float, high: float) -> list[float]:
    """About four round numbers between two."""
    rough = (high - low) / TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(power * next(s for s in (1, 2, 5, 10) if s * power >= rough))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(round(i * step, 9)) for i in range(first, last + 1)]
