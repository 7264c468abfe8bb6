"""The errors of all engines over the samples in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.evaluation import Row

# figure -> title, what it is multiplied by, least value shown (a logarithmic axis has no zero)
PANELS = {
    "relative_l2": ("as published: relative L2, %", 100.0, 0.5),
    "focal_position_error_mm": ("as published: focal position, mm", 1.0, 0.5),
    "rel_l2": ("beyond the near skull: rel L2, %", 100.0, 0.5),
    "centroid_error_mm": ("beyond the near skull: -3 dB centroid, mm", 1.0, 0.02),
}


def draw_errors(path: Path, rows: Sequence[Row]) -> None:
    """Draw a box for each engine in four panels as PNG.

    A box is from the 25th to the 75th percentile with a line at the median; the whiskers are from the 5th to
    the 95th; samples beyond are dots.
    """
    engines = list(dict.fromkeys(row.engine for row in rows))
    figure = Figure(figsize=(12, 1.6 + 0.56 * len(engines)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharey=True).ravel()
    for ax, (key, (title, scale, least)) in zip(panels, PANELS.items(), strict=True):
        values = [
            np.maximum(scale * np.abs([r.errors()[key] for r in rows if r.engine == engine]), least)
            for engine in engines
        ]
        _draw_boxes(ax, engines, values)
        ax.set_title(title, fontsize=10)
    panels[0].invert_yaxis()  # the axis is shared
    figure.supxlabel(RESEARCH_USE_ONLY, color="0.5", x=0.995, ha="right", fontsize=8)
    figure.savefig(path, format="png", dpi=110)


def _draw_boxes(ax: Axes, engines: Sequence[str], values: Sequence[NDArray[np.float64]]) -> None:
    ax.boxplot(
        values,
        orientation="horizontal",
        whis=(5, 95),
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#a8c8f0", "edgecolor": "0.3"},
        medianprops={"color": "#b02020", "linewidth": 1.6},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "0.5"},
    )
    ax.set_yticks(range(1, len(engines) + 1), engines)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.3, axis="x")
