"""Engines against one of them on the same samples: mean errors as multiples of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.dataset_evaluation.summary import Table
from trifocal.focus.evaluation_summary import DRAWS, TAILS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.evaluation import Row

COLUMNS = {
    "relative_l2": "relative L2, as published",
    "focal_position_error_mm": "focal position, as published",
    "beyond_relative_l2": "relative L2, beyond the skull",
    "beyond_focal_position_error_mm": "focal position, beyond the skull",
    "rel_l2": "rel L2, linear",
    "shape_l2": "shape L2",
    "centroid_error_mm": "-3 dB centroid",
    "peak_error": "|peak|",
}


@dataclass(frozen=True)
class Ratio:
    """Mean error of an engine over that of another on the same samples, by magnitudes.

    Attributes:
        engine: Whose.
        against: Over whose.
        figure: Which error.
        samples: How many have both.
        value: The ratio of the means; below 1 the engine is the better one.
        low: Lower end of its 95 % interval: heads are drawn with replacement, the same for both means.
        high: Upper end.
    """

    engine: str
    against: str
    figure: str
    samples: int
    value: float
    low: float
    high: float


def ratios(rows: Sequence[Row], against: str) -> list[Ratio]:
    """Every engine's errors against one engine's, that engine itself left out."""
    engines = list(dict.fromkeys(row.engine for row in rows))
    base = {row.sample: row for row in rows if row.engine == against}
    found = []
    for engine in engines:
        pairs = [(row, base[row.sample]) for row in rows if row.engine == engine]
        for key in COLUMNS if engine != against else ():
            values = np.abs([[r.errors()[key] for r in pair] for pair in pairs])  # (samples, 2)
            known = np.asarray(np.isfinite(values).all(1))
            heads = [row.head for (row, _), keep in zip(pairs, known, strict=True) if keep]
            if heads and values[known, 1].any():
                found.append(_ratio(engine, against, key, values[known], heads))
    return found


def _ratio(engine: str, against: str, key: str, values: NDArray[np.float64], heads: Sequence[str]) -> Ratio:
    _, group = np.unique(list(heads), return_inverse=True)
    if group.max() == 0:  # one head: its samples are drawn, as in `bootstrap_interval`
        group = np.arange(len(values))
    sums = np.stack([np.bincount(group, values[:, side]) for side in range(2)])  # (2, heads)
    drawn = np.random.default_rng(0).integers(sums.shape[1], size=(DRAWS, sums.shape[1]))
    over, under = sums[:, drawn].sum(2)
    low, high = np.percentile(over / np.maximum(under, 1e-30), TAILS)
    value = float(values[:, 0].sum() / values[:, 1].sum())
    return Ratio(engine, against, key, len(values), value, float(low), float(high))


def ratio_rows(found: Sequence[Ratio]) -> list[dict[str, Any]]:
    """A row for each ratio, for CSV."""
    return [asdict(ratio) for ratio in found]


def ratio_table(found: Sequence[Ratio]) -> Table:
    """The ratios with their intervals, a row for each engine."""
    shown = [key for key in COLUMNS if any(r.figure == key for r in found)]
    cells = {(r.engine, r.figure): f"{r.value:.2f}\n[{r.low:.2f}, {r.high:.2f}]" for r in found}
    rows = [
        [engine, *(cells.get((engine, key), "") for key in shown)]
        for engine in dict.fromkeys(r.engine for r in found)
    ]
    title = f"Mean errors as multiples of those of {found[0].against} on the same samples [95 % interval]"
    return Table(title, ["engine", *(COLUMNS[key] for key in shown)], rows)
