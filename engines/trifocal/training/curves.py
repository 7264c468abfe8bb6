"""The course of a run as a table and a picture."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    Rows = Sequence[dict[str, float]]


def write_table(path: Path, rows: Rows) -> None:
    """Write a row per report as CSV; a figure that a row does not have is an empty cell.

    Raises:
        OSError: If it cannot be written; the file is as it was.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.8g}" for name, value in row.items()} for row in rows)
    with atomic_file(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def draw_curves(path: Path, rows: Rows) -> None:
    """Draw train losses, score and learning rate against the epoch as PNG.

    Raises:
        OSError: If it cannot be written; the file is as it was.
    """
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    losses, score, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    for name in dict.fromkeys(name for row in rows for name in row if name.startswith("train_")):
        _line(losses, rows, name, name.removeprefix("train_").replace("_", " "))
    _line(score, rows, "val_score", "score")
    _line(rate, rows, "learning_rate", "learning rate")
    losses.set_ylabel("train loss")
    score.set_ylabel("validation score")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    for ax in (losses, score):
        if ax.lines:
            _log_if_positive(ax)
        ax.grid(alpha=0.3)
    if len(losses.lines) > 1:
        losses.legend()
    scored = [row for row in rows if math.isfinite(row.get("val_score", math.nan))]
    if scored:
        best = min(scored, key=lambda row: row["val_score"])
        score.plot(best["epoch"], best["val_score"], "o", mfc="none", color="black", ms=9)
        score.set_title(
            f"lowest {best['val_score']:.4g} at epoch {best['epoch']:g}", fontsize=10, loc="right"
        )
    with atomic_file(path) as part:
        figure.savefig(part, format="png", dpi=100)


def _line(ax: Axes, rows: Rows, name: str, label: str) -> None:
    points = [(row["epoch"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
    if points:
        x, y = zip(*points, strict=True)
        ax.plot(x, y, marker=".", label=label)


def _log_if_positive(ax: Axes) -> None:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
