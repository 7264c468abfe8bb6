"""Statistics of an evaluation on a data set, and the tables that show them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from trifocal.focus.evaluation_summary import bootstrap_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from trifocal.focus.dataset_evaluation.evaluation import Row


@dataclass(frozen=True)
class Spread:
    """One figure of one engine over the samples; errors with a sign by their magnitudes.

    Attributes:
        samples: How many have the figure.
        heads: Of how many heads.
        mean: Over the samples.
        std: Standard deviation of the samples about it (n in the denominator), as published.
        median: 50th percentile.
        p05: 5th percentile, linear between samples.
        p95: 95th percentile, likewise.
        low: Lower end of the 95 % interval of the mean, heads drawn with replacement.
        high: Upper end.
        signed_mean: Mean with signs: the bias.
    """

    samples: int
    heads: int
    mean: float
    std: float
    median: float
    p05: float
    p95: float
    low: float
    high: float
    signed_mean: float

    @classmethod
    def of(cls, values: ArrayLike, heads: Sequence[str]) -> Self | None:
        """Summarise values (n,) of samples of those heads; None if none is finite."""
        every = np.asarray(values, np.float64)
        known = np.isfinite(every)
        if not known.any():
            return None
        signed, of = every[known], [head for head, keep in zip(heads, known, strict=True) if keep]
        sizes = np.abs(signed)
        p05, median, p95 = (float(v) for v in np.percentile(sizes, (5, 50, 95)))
        low, high = bootstrap_interval(sizes, of)
        spread = float(sizes.mean()), float(sizes.std()), median, p05, p95, low, high
        return cls(len(sizes), len(set(of)), *spread, float(signed.mean()))


Spreads = dict[str, dict[str, Spread]]
"""Engine -> figure -> spread."""


def summarise(rows: Sequence[Row]) -> Spreads:
    """The spread of every figure that an engine has."""
    found: Spreads = {}
    for engine in dict.fromkeys(row.engine for row in rows):
        chosen = [row for row in rows if row.engine == engine]
        heads = [row.head for row in chosen]
        records = [row.errors() for row in chosen]
        spreads = {key: Spread.of([r[key] for r in records], heads) for key in records[0]}
        found[engine] = {key: spread for key, spread in spreads.items() if spread is not None}
    return found


def summary_rows(spreads: Spreads) -> list[dict[str, Any]]:
    """A row for each engine and figure, for CSV."""
    return [
        {"engine": engine, "figure": key, **asdict(spread)}
        for engine, figures in spreads.items()
        for key, spread in figures.items()
    ]


def percent(value: float) -> str:
    """A share as a percentage: 41.4."""
    return f"{100 * value:.1f}"


def millimetres(value: float) -> str:
    """Two decimals, one from 10 on."""
    return f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}"


def share(value: float) -> str:
    """Three decimals."""
    return f"{value:.3f}"


def volume(value: float) -> str:
    """Whole mm3."""
    return f"{value:.0f}"


Column = tuple[str, "Callable[[float], str]"]
TABLES: tuple[tuple[str, dict[str, Column]], ...] = (
    (
        "As published: log space, on the cube",
        {
            "relative_l2": ("relative L2, %", percent),
            "focal_position_error_mm": ("focal position, mm", millimetres),
            "max_pressure_error": ("max pressure, %", percent),
        },
    ),
    (
        "The same beyond the near skull only: log space, on the cube",
        {
            "beyond_relative_l2": ("relative L2, %", percent),
            "beyond_focal_position_error_mm": ("focal position, mm", millimetres),
            "beyond_max_pressure_error": ("max pressure, %", percent),
            "beyond_focal_pressure_error": ("focal pressure, %", percent),
            "beyond_focal_iou_fwhm": ("focal IoU", share),
            "beyond_focal_dice": ("focal Dice", share),
            "beyond_off_target_volume_mm3": ("off-target volume, mm3", volume),
        },
    ),
    (
        "The reproduction's further metrics, on the cube",
        {
            "focal_pressure_error": ("focal pressure, %", percent),
            "focal_volume_pred_mm3": ("focal volume predicted, mm3", volume),
            "focal_volume_gt_mm3": ("focal volume true, mm3", volume),
            "focal_iou_fwhm": ("focal IoU", share),
            "focal_dice": ("focal Dice", share),
            "off_target_volume_mm3": ("off-target volume, mm3", volume),
            "off_target_lobes": ("off-target lobes", share),
            "seconds": ("seconds", share),
        },
    ),
    (
        "Beyond the near skull, in pascals and millimetres: place of the focus, mm",
        {
            "centroid_error_mm": ("-3 dB centroid", millimetres),
            "lateral_mm": ("lateral", millimetres),
            "axial_mm": ("|axial|", millimetres),
            "argmax_error_mm": ("argmax", millimetres),
            "peak_place_error_mm": ("sub-voxel peak", millimetres),
        },
    ),
    (
        "Beyond the near skull, in pascals and millimetres: field and size",
        {
            "rel_l2": ("rel L2, %", percent),
            "shape_l2": ("shape L2, %", percent),
            "peak_error": ("|peak|, %", percent),
            "transmission_error": ("|transm.|, points", percent),
            "iou_6db": ("-6 dB IoU", share),
            "length_error_mm": ("|length|, mm", millimetres),
            "width_error_mm": ("|width|, mm", millimetres),
        },
    ),
)


@dataclass(frozen=True)
class Table:
    """What is printed: text only.

    Attributes:
        title: What the columns are about.
        header: The first column is of the engines.
        rows: Cells of three lines: mean and standard deviation; median and the 5th to 95th percentile; the
            interval of the mean.
    """

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(spreads: Spreads) -> list[Table]:
    """The tables; a figure that no engine has makes no column."""
    found = []
    for title, columns in TABLES:
        shown = {k: c for k, c in columns.items() if any(k in figures for figures in spreads.values())}
        if shown:
            header = ["engine", *(heading for heading, _ in shown.values())]
            rows = [
                [engine, *(_cell(figures.get(key), form) for key, (_, form) in shown.items())]
                for engine, figures in spreads.items()
            ]
            found.append(Table(title, header, rows))
    return found


def _cell(found: Spread | None, form: Callable[[float], str]) -> str:
    if found is None:
        return ""
    return (
        f"{form(found.mean)} ± {form(found.std)}\n"
        f"{form(found.median)} ({form(found.p05)} to {form(found.p95)})\n"
        f"[{form(found.low)}, {form(found.high)}]"
    )


def caption(spreads: Spreads) -> str:
    """What the figures of the tables are."""
    some = next(iter(next(iter(spreads.values())).values()))
    drawn = f"drawing {some.heads} heads, each with all its samples"
    if some.heads == 1:
        drawn = "drawing samples, for there is one head: it says nothing of other heads"
    samples = "1 sample" if some.samples == 1 else f"{some.samples} samples"
    return (
        f"{samples}: mean ± standard deviation; median (5th to 95th percentile); [95 % interval of the mean, "
        f"{drawn}]. Errors with a sign by their magnitudes."
    )
