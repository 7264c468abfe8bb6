"""The reliability curve of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY
from trifocal.xray.evaluation.summary import reliability

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.xray.evaluation import Evaluation

_LIMITS_HU = (10.0, 1500.0)


def draw_reliability(evaluation: Evaluation, path: Path) -> None:
    """Write as PNG: actual against predicted error, of all cases and of each; where the voxels are."""
    found = reliability(evaluation)
    if found is None:
        return
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    FigureCanvasAgg(figure)
    ax, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    for case in evaluation.cases:
        if case.reliability is not None:
            curve = case.reliability.curve()
            ax.loglog(curve[:, 0], curve[:, 1], color="0.75", linewidth=0.8)
    curve = found.curve()
    ax.loglog(_LIMITS_HU, _LIMITS_HU, "k:", linewidth=1, label="as predicted")
    ax.loglog(curve[:, 0], curve[:, 1], "o-", color="tab:blue", markersize=4, label="all volumes")
    ax.set(xlim=_LIMITS_HU, ylim=_LIMITS_HU, ylabel="actual error, HU (root mean square)")
    ax.set_title(
        f"inside the body of {len(evaluation.cases)} volumes (grey: each): rank correlation"
        f" {found.spearman:.2f},\npredicted / actual {found.ratio:.2f}, within one std {found.coverage:.0%}",
        fontsize=10,
    )
    ax.legend(loc="upper left")
    below.bar(curve[:, 0], curve[:, 2], width=0.15 * curve[:, 0], color="tab:blue")
    below.set(xlabel="predicted standard deviation, HU", ylabel="share of voxels")
    below.set_ylim(0, max(0.01, 1.1 * float(np.max(curve[:, 2], initial=0))))
    figure.supxlabel(RESEARCH_USE_ONLY, color="0.4", fontsize=8)
    figure.savefig(path, format="png", dpi=90)
