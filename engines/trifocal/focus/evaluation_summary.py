"""Statistics of an evaluation, and the tables that they are printed in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.evaluation import Sample

ALL = "all heads"
DRAWS = 2000
TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Statistic:
    """One error of one rung over some poses. All but `signed_mean` are of the magnitudes.

    Attributes:
        poses: How many.
        heads: Of how many heads.
        mean: Over the poses.
        median: Over the poses.
        p5: 5th percentile, interpolated linearly between the poses.
        p95: 95th percentile, likewise.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end.
        signed_mean: Mean with signs: the bias of errors that have one.
    """

    poses: int
    heads: int
    mean: float
    median: float
    p5: float
    p95: float
    low: float
    high: float
    signed_mean: float

    @classmethod
    def of(cls, values: ArrayLike, heads: Sequence[str]) -> Self:
        """Summarise values (n,), each of the head of that name."""
        signed = np.asarray(values, np.float64)
        sizes = np.abs(signed)
        p5, median, p95 = (float(v) for v in np.percentile(sizes, (5, 50, 95)))
        low, high = bootstrap_interval(sizes, heads)
        counts = len(sizes), len(set(heads))
        return cls(*counts, float(sizes.mean()), median, p5, p95, low, high, float(signed.mean()))


def bootstrap_interval(values: NDArray[np.float64], heads: Sequence[str]) -> tuple[float, float]:
    """95 % percentile interval of the mean by a cluster bootstrap (Efron & Tibshirani 1993, chapters 8, 13).

    Heads are drawn with replacement, each with all its poses: poses on one head are not independent. With a
    single head its poses are drawn, and the interval says nothing of other heads. With few heads it is too
    narrow. The draws are the same at every call.
    """
    _, group = np.unique(list(heads), return_inverse=True)
    if group.max() == 0:
        group = np.arange(len(values))
    sums, counts = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, TAILS)
    return float(low), float(high)


@dataclass(frozen=True)
class Block:
    """The statistics of one head, or of all.

    Attributes:
        name: Of the head, or `ALL`.
        rungs: Rung -> error -> statistic.
    """

    name: str
    rungs: dict[str, dict[str, Statistic]]


def summarise(samples: Sequence[Sample]) -> list[Block]:
    """A block for each head, then one for all of them together, even of a single head."""
    names = list(dict.fromkeys(s.head for s in samples))
    return [
        *(Block(name, _statistics([s for s in samples if s.head == name])) for name in names),
        Block(ALL, _statistics(samples)),
    ]


def _statistics(samples: Sequence[Sample]) -> dict[str, dict[str, Statistic]]:
    found: dict[str, dict[str, Statistic]] = {}
    for rung in dict.fromkeys(s.rung for s in samples):
        chosen = [s for s in samples if s.rung == rung]
        heads, records = [s.head for s in chosen], [s.errors.record() for s in chosen]
        found[rung] = {key: Statistic.of([r[key] for r in records], heads) for key in records[0]}
    return found


def rows(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """A row for each head, rung and error, for CSV."""
    return [
        {"head": block.name, "rung": rung, "error": key, **asdict(statistic)}
        for block in blocks
        for rung, errors in block.rungs.items()
        for key, statistic in errors.items()
    ]


def _fraction(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value < 0.9995 else f"{value:.2f}"


def _mm(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"


Form = tuple[str, "Callable[[float], str]"]
TABLES: tuple[tuple[str, dict[str, Form]], ...] = (
    (
        "Place of the focus, mm",
        {
            "centroid_error_mm": ("-3 dB centroid", _mm),
            "lateral_mm": ("lateral", _mm),
            "axial_mm": ("|axial|", _mm),
            "argmax_error_mm": ("argmax", _mm),
            "peak_place_error_mm": ("sub-voxel peak", _mm),
        },
    ),
    (
        "Field and size",
        {
            "rel_l2": ("rel L2", _fraction),
            "shape_l2": ("shape L2", _fraction),
            "peak_error": ("|peak|, %", _percent),
            "transmission_error": ("|transm.|, points", _percent),
            "iou_6db": ("-6 dB IoU", _fraction),
            "length_error_mm": ("|length|, mm", _mm),
            "width_error_mm": ("|width|, mm", _mm),
        },
    ),
)
HIGHER_IS_BETTER = ("iou_6db",)


@dataclass(frozen=True)
class Table:
    """What is printed: text only.

    Attributes:
        title: What the columns are about.
        header: Of the columns; the first is of the rungs.
        blocks: Rows of cells, a list for each head: its name alone, then a row for each rung; a cell of all
            heads has a second line, the interval.
    """

    title: str
    header: list[str]
    blocks: list[list[list[str]]]


def tables(blocks: Sequence[Block]) -> list[Table]:
    """The tables of an evaluation; one head has no block of its own beside that of all heads."""
    shown = blocks if len(blocks) > 2 else blocks[-1:]
    names = {ALL: blocks[0].name} if len(blocks) == 2 else {}
    return [
        Table(
            title,
            ["rung", *(heading for heading, _ in columns.values())],
            [_rows(block, names.get(block.name, block.name), columns) for block in shown],
        )
        for title, columns in TABLES
    ]


def _rows(block: Block, name: str, columns: dict[str, Form]) -> list[list[str]]:
    found = [[name, *("" for _ in columns)]]
    for rung, errors in block.rungs.items():
        cells = [_cell(key, errors[key], form, block.name == ALL) for key, (_, form) in columns.items()]
        found.append([rung, *cells])
    return found


def _cell(key: str, found: Statistic, form: Callable[[float], str], interval: bool) -> str:
    tail = found.p5 if key in HIGHER_IS_BETTER else found.p95
    text = " / ".join(form(v) for v in (found.mean, found.median, tail))
    return f"{text}\n[{form(found.low)}, {form(found.high)}]" if interval else text


def caption(blocks: Sequence[Block]) -> str:
    """What the figures of the tables are."""
    some = next(iter(next(iter(blocks[-1].rungs.values())).values()))
    drawn = f"resampling {some.heads} heads, each with all its poses"
    if some.heads == 1:
        drawn = "resampling poses, for there is one head: it says nothing of other heads"
    poses = "1 pose" if some.poses == 1 else f"{some.poses} poses"
    return (
        f"Against the solver on {poses}, beyond the near skull: mean / median / 95th percentile "
        f"(IoU: 5th) of the magnitudes; [95 % interval of the mean, {drawn}]."
    )
