"""The validation curves of several runs in one figure."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PREFIX = "val_"
PANELS_IN_A_ROW = 3


@dataclass(frozen=True)
class Run:
    """What a run has written down at its validations.

    Attributes:
        name: To be shown.
        curves: Figure -> points (epoch, value), without its prefix `val_`.
    """

    name: str
    curves: dict[str, tuple[tuple[float, float], ...]]

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> Run:
        """Read `curves.csv` of a run's folder; the run is called like the folder if it has no other name.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is damaged or nothing was validated.
        """
        path = folder / "curves.csv"
        if not path.is_file():
            msg = f"there is no {path}: name the folder of a run of `trifocal train`"
            raise FileNotFoundError(msg)
        curves: dict[str, list[tuple[float, float]]] = {}
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    for key, value in row.items():
                        if key.startswith(PREFIX) and value and math.isfinite(float(value)):
                            point = float(row["epoch"]), float(value)
                            curves.setdefault(key.removeprefix(PREFIX), []).append(point)
        except (KeyError, ValueError, AttributeError, TypeError, csv.Error) as error:
            msg = f"{path} must be the table of a run, and is damaged ({error})"
            raise ValueError(msg) from error
        if not curves:
            msg = f"{path} holds no validation yet: wait for the first one"
            raise ValueError(msg)
        return cls(name or folder.resolve().name, {key: tuple(points) for key, points in curves.items()})


def draw_runs(
    path: Path,
    runs: Sequence[Run],
    references: Mapping[str, float] | None = None,
    figures: Sequence[str] = (),
) -> None:
    """Draw a panel for each figure, a colour for each run, a dashed line at a reference; PNG.

    Args:
        path: Of the picture.
        runs: What is drawn, at most 10 for colours that can be told apart.
        references: Figure -> value of the dashed line, such as a published one.
        figures: Which ones; if none are named, all that two runs have (or the only one has), without the
            score where it repeats another figure.

    Raises:
        ValueError: If no run has a figure that is asked for.
        OSError: If it cannot be written; the file is as it was.
    """
    references = references or {}
    chosen = list(figures) or common_figures(runs)
    for key in (*chosen, *references):
        if not any(key in run.curves for run in runs):
            known = sorted({k for run in runs for k in run.curves})
            msg = f"a figure must be one that a run has validated, one of {known}, got {key!r}"
            raise ValueError(msg)
    columns = min(len(chosen), PANELS_IN_A_ROW)
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, key in zip(panels, chosen, strict=False):
        for i, run in enumerate(runs):
            if key in run.curves:
                x, y = zip(*run.curves[key], strict=True)
                ax.plot(x, y, marker=".", label=run.name, color=colours[i % len(colours)])
        if key in references:
            ax.axhline(references[key], color="0.3", linestyle="--", linewidth=1, label="reference")
        ax.set(xlabel="epoch", title=key.replace("_", " "))
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
    for ax in panels[len(chosen) :]:
        ax.set_axis_off()
    found = {t: h for ax in panels for h, t in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=min(len(found), 6))
    with atomic_file(path) as part:
        figure.savefig(part, format="png", dpi=110)


def common_figures(runs: Sequence[Run]) -> list[str]:
    """The figures that two runs have, or the only one has; no score that repeats another figure."""
    least = min(2, len(runs))
    keys = list(dict.fromkeys(key for run in runs for key in run.curves))
    shared = [key for key in keys if sum(key in run.curves for run in runs) >= least] or keys
    others = [key for key in shared if key != "score"]
    repeats = all(
        any(run.curves["score"] == run.curves.get(key) for key in others)
        for run in runs
        if "score" in run.curves
    )
    return others if others and repeats else shared
