"""Pictures of an evaluation: reliability of the review, errors against size, the worst images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import rankdata

from trifocal import RESEARCH_USE_ONLY, io
from trifocal.cine import grey
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.evaluation.error_statistics import in_order, rank_correlation, risk_coverage
from trifocal.keypoints.evaluation.summary import leading, radial_errors
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from trifocal.keypoints.evaluation import Case, Evaluation
    from trifocal.keypoints.tasks import Task

MOST_WORST = 6
FEWEST = 3  # images for an order
GROUP = 5  # images of a bar at least
TRUTH, PREDICTION = "white", "#ff9010"
REVIEW, SCORE, RANDOM, IDEAL = "#c03000", "#2060c0", "0.5", "0.75"


def draw_reliability(evaluation: Evaluation, path: Path) -> None:
    """Write, for each task, the mean error by tenths of the review, and the risk-coverage curves."""
    tasks = evaluation.tasks
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // columns)
    figure = _figure(8.5 * columns, 3.4 * rows + 0.8)
    axes = figure.subplots(rows, 2 * columns, squeeze=False).ravel()
    for ax in axes[2 * len(tasks) :]:
        ax.set_axis_off()
    for i, task in enumerate(tasks):
        _draw_groups(axes[2 * i], evaluation.of(evaluation.main, task), task)
        _draw_risk(axes[2 * i + 1], evaluation.of(evaluation.main, task))
    figure.suptitle(f"Does the review rank the errors? {evaluation.plan.name}, {evaluation.main.name}")
    figure.savefig(path, format="png", dpi=100)


def _draw_groups(ax: Axes, cases: Sequence[Case], task_id: str) -> None:
    """Bars of the mean error of each tenth of the images by their review, behind the single images."""
    unit, errors = radial_errors(cases)
    doubt = np.array([c.review for c in cases])
    there = np.isfinite(errors) & np.isfinite(doubt)
    doubt, sizes = doubt[there], np.array(errors)[there]
    ax.set(title=task_id, xlabel="place in the order of the review", ylabel=f"mean radial error, {unit}")
    if len(sizes) < FEWEST:
        ax.text(0.5, 0.5, f"{len(sizes)} images: too few", ha="center", transform=ax.transAxes)
        return
    edges = np.linspace(0, 1, int(np.clip(len(sizes) // GROUP, 1, 10)) + 1)
    group = np.digitize((np.arange(len(sizes)) + 0.5) / len(sizes), edges) - 1
    means = [in_order(doubt, sizes)[group == g].mean() for g in range(len(edges) - 1)]
    ax.bar(edges[:-1], means, np.diff(edges), align="edge", color=REVIEW, alpha=0.35, edgecolor="white")
    top = 1.3 * max(np.percentile(sizes, 97), max(means), 1e-6)
    places = (rankdata(doubt) - 0.5) / len(sizes)
    ax.plot(places, np.where(sizes < top, sizes, np.nan), ".", color=REVIEW, markersize=3)
    far = sizes >= top  # at the upper edge: beyond it
    ax.plot(places[far], np.full(far.sum(), top), "^", color=REVIEW, markersize=5, clip_on=False)
    ax.set_ylim(0, top)
    rank = rank_correlation(doubt, sizes)
    said = "all reviews are equal" if np.isnan(rank) else f"Spearman {rank:+.2f}"
    ax.set_title(f"{task_id}: {said}, {len(sizes)} images")


def _draw_risk(ax: Axes, cases: Sequence[Case]) -> None:
    """Mean error of the images that are kept, by several orders."""
    unit, errors = radial_errors(cases)
    ax.set(xlabel="set aside for a second look, %", ylabel=f"mean error of the rest, {unit}")
    orders = (
        ("by the review", [c.review for c in cases], REVIEW, "-"),
        ("by the heat-map score", [1 - c.score for c in cases], SCORE, "-"),
        ("at random", [0.0] * len(cases), RANDOM, "--"),
        ("by the error itself", list(np.abs(errors)), IDEAL, ":"),
    )
    for name, doubt, colour, style in orders:
        kept, risk = risk_coverage(doubt, errors)
        enough = np.arange(1, len(kept) + 1) >= FEWEST  # the mean of the two surest says little
        ax.plot(100 * (1 - kept[enough]), risk[enough], style, color=colour, label=name)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8)


def draw_sizes(evaluation: Evaluation, path: Path) -> None:
    """Write, for each task, the signed error of its leading measurement against the true value."""
    tasks = evaluation.tasks
    columns = min(len(tasks), 3)
    rows = -(-len(tasks) // columns)
    figure = _figure(5.2 * columns, 3.6 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(tasks) :]:
        ax.set_axis_off()
    for ax, task in zip(axes, tasks, strict=False):
        name = leading(TASKS[task])
        found = [m for c in evaluation.of(evaluation.main, task) for m in c.errors.measurements]
        found = [m for m in found if m.name == name and np.isfinite(m.error)]
        unit = found[0].unit if found else ""
        own = [m for m in found if m.unit == unit]
        errors = np.array([m.error for m in own])
        ax.axhline(0, color="0.6", linewidth=0.8)
        ax.plot([m.true for m in own], errors, ".", color=REVIEW, alpha=0.6)
        ax.set(xlabel=f"true {name}, {unit}", ylabel=f"error of {name}, {unit}", title=task)
        if len(errors):
            ax.axhline(errors.mean(), color=SCORE, linestyle="--", label=f"mean {errors.mean():+.2f} {unit}")
            ax.legend(fontsize=8)
    figure.suptitle(f"Errors against size: {evaluation.plan.name}, {evaluation.main.name}")
    figure.savefig(path, format="png", dpi=100)


def worst_cases(evaluation: Evaluation) -> list[Case]:
    """Those of the largest error on the stretched image, so that tasks compare; the worst first."""
    cases = [c for c in evaluation.of(evaluation.main) if np.isfinite(c.errors.mre_network_px)]
    return sorted(cases, key=lambda c: -c.errors.mre_network_px)[:MOST_WORST]


def draw_worst(evaluation: Evaluation, folder: Path) -> None:
    """Write worst-1.png and so on, the image with the true and the predicted points."""
    total = len(evaluation.of(evaluation.main))
    for rank, case in enumerate(worst_cases(evaluation), 1):
        frame = grey(io.read_cine(case.example.path).frames[0])
        figure = _figure(11, 7.5, "black")
        ax, names = figure.subplots(1, 2, width_ratios=[4, 1])
        ax.imshow(frame, cmap="gray", vmin=0, vmax=255)
        draw_points(ax, case.example.task, case.example.points, TRUTH, "true")
        draw_points(ax, case.example.task, case.points, PREDICTION, "predicted")
        for true, found in zip(case.example.points, _matched(case), strict=True):
            ax.plot(*np.stack([true, found]).T, color="#ff3030", linewidth=0.7)
        ax.set_axis_off()
        ax.legend(fontsize=9, loc="lower right", facecolor="0.2", labelcolor="0.9")
        _list_errors(names, case)
        figure.suptitle(_caption(case, rank, total, evaluation), color="white", fontsize=11)
        figure.supxlabel(RESEARCH_USE_ONLY, color="0.6", fontsize=9)
        figure.savefig(folder / f"worst-{rank}.png", format="png", dpi=100)


def draw_points(ax: Axes, task: Task, points: NDArray[np.float64], colour: str, label: str) -> None:
    """Draw points (K, 2), the lines that are measured, and the ellipse of those that have one."""
    for line in task.lines:
        ax.plot(*points[list(line)].T, color=colour, linewidth=0.9, alpha=0.8)
    ax.plot(*points.T, "o", color=colour, markersize=4, markerfacecolor="none", label=label)
    if task.ellipse and np.isfinite(points).all():
        try:
            outline = ellipse_from_axes(points).outline()
        except ValueError:  # an axis without length
            return
        ax.plot(*np.concatenate([outline, outline[:1]]).T, "--", color=colour, linewidth=0.8)


def _matched(case: Case) -> NDArray[np.float64]:
    return case.example.task.matched(case.points, case.example.points)


def _list_errors(ax: Axes, case: Case) -> None:
    """The points by name, each with its error."""
    factor, unit = (1.0, "px") if case.example.mm_per_px is None else (case.example.mm_per_px, "mm")
    lines = [
        f"{error * factor:6.1f} {unit}  {name}"
        for name, error in zip(case.example.task.points, case.errors.radial_px, strict=True)
    ]
    ax.text(0, 1, "\n".join(lines), color="0.85", fontsize=9, va="top", family="monospace")
    ax.set_axis_off()


def _caption(case: Case, rank: int, total: int, evaluation: Evaluation) -> str:
    e = case.errors
    size = f" ({e.mre_mm:.1f} mm)" if np.isfinite(e.mre_mm) else ""
    lines = [
        f"{case.example.task_id}: {case.example.path.name} · {evaluation.main.name} · worst no. {rank} of"
        f" {total} by px of 256",
        f"mean radial error {e.mre_px:.1f} px{size}, {e.mre_network_px:.1f} px of 256 · review"
        f" {case.review:.2f} · heat-map score {case.score:.2f}",
    ]
    if case.hints:
        lines.append("; ".join(case.hints)[:150])
    return "\n".join(lines)


def _figure(width: float, height: float, background: str = "white") -> Figure:
    figure = Figure(figsize=(width, height), facecolor=background, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
