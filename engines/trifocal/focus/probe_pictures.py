"""Pictures of the analysis: what probes find in four panels, and channels along a sweep under its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.probes import cyclic_distance
from trifocal.focus.sweep_scene import draw_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from trifocal.focus.probes import Probe
    from trifocal.focus.smoothness import FeatureSweep
    from trifocal.focus.sweep import SweepResult

COLOURS = {"samples": "#1f77b4", "subjects": "#ff7f0e"}
HELD_OUT = {"samples": "samples held out", "subjects": "subjects held out"}
UNITS = {"azimuth": "deg", "aperture": "mm", "depth": "mm"}
TITLES = {
    "azimuth": "azimuth of the bowl",
    "aperture": "aperture",
    "depth": "depth below the skull",
}
DARK = "#101010"


def draw_probes(path: Path, probes: Sequence[Probe], title: str) -> None:
    """Draw subject, azimuth, aperture and depth as PNG; a panel stays empty where nothing could be probed."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).ravel()
    _draw_subject(panels[0], [p for p in probes if p.name == "subject"])
    for ax, name in zip(panels[1:], TITLES, strict=True):
        _draw_values(ax, name, [p for p in probes if p.name == name])
    figure.suptitle(title)
    figure.savefig(path, format="png", dpi=100)


def _draw_subject(ax: Axes, probes: Sequence[Probe]) -> None:
    ax.set_title("subject")
    if not probes:
        ax.text(0.5, 0.5, "not probed", ha="center", transform=ax.transAxes)
        return
    (found,) = probes
    keys = list(found.figures)
    for offset, (label, values, colour) in enumerate(
        (
            ("probe", found.figures, COLOURS["samples"]),
            ("answers shuffled", found.shuffled, "0.6"),
            ("chance", found.chance, "0.85"),
        )
    ):
        x = np.arange(len(keys)) + 0.27 * (offset - 1)
        heights = [100 * values[key] for key in keys]
        bars = ax.bar(x, heights, 0.25, label=label, color=colour)
        ax.bar_label(bars, [f"{h:.1f}" for h in heights], fontsize=9)
    ax.set_xticks(range(len(keys)), ["right at once", "among the first 5"])
    ax.set_ylabel(f"% of {len(found.truth)} samples of {found.subjects} subjects")
    ax.legend()


def _draw_values(ax: Axes, name: str, probes: Sequence[Probe]) -> None:
    unit = UNITS[name]
    ax.set(title=TITLES[name], xlabel=f"true, {unit}", ylabel=f"found, {unit}")
    if not probes:
        ax.text(0.5, 0.5, "not probed", ha="center", transform=ax.transAxes)
        return
    for found in probes:
        ((key, value),) = found.figures.items()
        shuffled = found.shuffled[key]
        text = f"mean error {value:.1f} deg" if key == "mae_deg" else f"$R^2$ {value:.2f}"
        form = f"{shuffled:.0f} deg" if key == "mae_deg" else f"{shuffled:.2f}"
        label = f"{HELD_OUT[found.split]}: {text} (shuffled {form})"
        y = found.found
        if name == "azimuth":  # the nearest turn, so that neighbours across the seam lie on the line
            away = np.sign((found.found - found.truth + 180) % 360 - 180)
            y = found.truth + away * cyclic_distance(found.found, found.truth)
        ax.plot(found.truth, y, ".", color=COLOURS[found.split], markersize=4, alpha=0.7, label=label)
    ends = [float(probes[0].truth.min()), float(probes[0].truth.max())]
    ax.plot(ends, ends, "--", color="0.4", linewidth=1)
    ax.legend(fontsize=8, loc="upper left")


def draw_feature_sweep(path: Path, found: FeatureSweep, result: SweepResult) -> None:
    """Draw five fields of a sweep and, below them, the chosen channels against the angle as PNG."""
    figure = Figure(figsize=(16, 9), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1, 1.1), left=0.05, right=0.98, bottom=0.07, top=0.92, hspace=0.12
    )
    chosen = draw_row(figure, grid[0], result)
    ax = figure.add_subplot(grid[1], facecolor=DARK)
    colours = colormaps["Set2"]
    for i, channel in enumerate(found.shown):
        curve = found.features[:, channel]
        ax.plot(
            found.angles_deg,
            (curve - curve.mean()) / max(float(curve.std()), 1e-12),
            "o-",
            color=colours(i),
            markersize=3,
            linewidth=1.3,
            label=f"channel {channel}",
        )
    for index in chosen:
        ax.axvline(found.angles_deg[index], color="0.35", linewidth=1, zorder=0)
    ax.set_xlabel("angle, deg", color="0.85")
    ax.set_ylabel("channel, standard deviations along the sweep", color="0.85")
    ax.tick_params(colors="0.75")
    ax.grid(color="0.2", linewidth=0.6)
    ax.legend(ncols=8, loc="upper center", facecolor=DARK, labelcolor="0.85", edgecolor="0.3", fontsize=9)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.12 * (high - low))
    figure.suptitle(_summary(found), color="white", fontsize=12)
    figure.text(0.995, 0.008, RESEARCH_USE_ONLY, color="0.6", ha="right", va="bottom", fontsize=9)
    figure.savefig(path, format="png")


def _summary(found: FeatureSweep) -> str:
    a, b = found.found, found.shuffled
    return (
        f"{len(found.angles_deg)} placements, {found.features.shape[1]} channels: step {a.step:.2f} "
        f"(in random order {b.step:.2f}), bend {a.bend:.2f} ({b.bend:.2f}), "
        f"largest jump {a.largest_jump:.1f} times a usual one"
    )
