"""What one view measured: line integrals of the attenuation on its detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trifocal.xray.geometry import View


@dataclass(frozen=True, eq=False)
class Film:
    """One view's line integrals, ready for a reconstruction.

    Attributes:
        view: Source and detector; its shape is that of the line integrals.
        line_integrals: (rows, columns) float32, -ln(I / I0), 0 in air; NaN where the film shows nothing.
        relative_error: Expected error of a line integral as a share of the largest one: noise, scatter, an
            unknown display transform. What the reconstruction need not follow closer than that.
        notes: What was done and assumed on the way (JSON-able), for the provenance record.
    """

    view: View
    line_integrals: NDArray[np.float32]
    relative_error: float = 0.01
    notes: dict[str, Any] = field(default_factory=dict)
