"""What one view measured: line integrals of the attenuation on its detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.grid import Grid
    from trifocal.xray.view import View


@dataclass(frozen=True, eq=False)
class Film:
    """One view's line integrals, ready for a reconstruction.

    Attributes:
        view: Source and detector; its shape is that of the line integrals.
        line_integrals: (rows, columns) float32, -ln(I / I0), 0 in air; NaN where the film shows nothing.
        relative_error: Expected error of a line integral as a share of the largest one: noise, scatter, an
            unknown display transform. What the reconstruction need not follow closer than that.
        notes: What was done and assumed on the way (JSON-able), for the provenance record.

    Raises:
        ValueError: If the line integrals have another shape than the view's detector.
    """

    view: View
    line_integrals: NDArray[np.float32]
    relative_error: float = 0.01
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.line_integrals.shape != self.view.shape:
            got, wanted = self.line_integrals.shape, self.view.shape
            msg = f"the line integrals must have the shape of the view's detector, {wanted}, got {got}"
            raise ValueError(msg)

    def onto(self, view: View) -> Film:
        """The same rays read on another detector of the same source: averaged where that is coarser.

        Returns:
            NaN where this film shows nothing.
        """
        points = view.pixels_mm()
        index = np.moveaxis(self.view.project(points), -1, 0)  # (2, rows, columns)
        steps = [np.abs(np.diff(index, axis=axis + 1)).max(initial=0.0) for axis in (0, 1)]
        width = [max(1, round(step)) for step in steps]
        known = np.isfinite(self.line_integrals)
        values = np.where(known, self.line_integrals, 0.0).astype(np.float32)
        weight = known.astype(np.float32)
        if max(width) > 1:
            values = ndimage.uniform_filter(values, width, mode="constant")
            weight = ndimage.uniform_filter(weight, width, mode="constant")
        middle = index + np.reshape([0.5 * (n % 2 == 0) for n in width], (2, 1, 1))  # even means lie between
        values, weight = (
            ndimage.map_coordinates(a, middle, order=1, mode="constant", output=np.float32)
            for a in (values, weight)
        )
        edge = ((index < -0.5) | (index > np.reshape(self.view.shape, (2, 1, 1)) - 0.5)).any(0)
        seen = (weight > 0.25) & ~edge
        averaged = np.where(seen, values / np.maximum(weight, 1e-6), np.nan).astype(np.float32)
        return replace(self, view=view, line_integrals=averaged)


def covering(view: View, grid: Grid, pixels: int) -> View:
    """The upright square detector, in the place of the view's own, that holds the shadow of a whole box.

    Upright: its rows and columns run along world axes, down and towards -x or -y, as in
    `geometry.frontal_and_lateral`; a view from above or below has its rows run towards -y. Rays are the
    same as the view's.

    Args:
        view: Any.
        grid: The box.
        pixels: Rows and columns.
    """
    main = view.main_axis
    across = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[main]  # world axes of columns, rows
    ahead = view.center_mm - view.source_mm
    half = grid.extent_mm / 2
    corners = np.asarray(grid.center_mm) + np.array(list(product((-1, 1), repeat=3))) * half
    start = corners if view.parallel else view.source_mm
    direction = np.broadcast_to(ahead, corners.shape) if view.parallel else corners - view.source_mm
    reach = (view.center_mm[main] - (start if start.ndim == 1 else start.T)[main]) / direction[:, main]
    landing = start + reach[:, None] * direction
    low, high = landing.min(0), landing.max(0)
    side = max(high[a] - low[a] for a in across)
    step = side / pixels
    center = (low + high) / 2
    u, v = np.zeros(3), np.zeros(3)
    u[across[0]], v[across[1]] = -step, -step
    origin = center - (pixels - 1) / 2 * (u + v)
    source = center - ahead if view.parallel else view.source_mm
    return replace(view, source_mm=source, origin_mm=origin, u_mm=u, v_mm=v, shape=(pixels, pixels))
