"""The tables that an evaluation is printed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.evaluation.summary import (
    NETWORK,
    SECOND_LOOK,
    milliseconds,
    overall,
    reviews,
    summarise,
)
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.keypoints.evaluation import Evaluation, Variant
    from trifocal.keypoints.evaluation.error_statistics import Overall, Statistic
    from trifocal.keypoints.evaluation.summary import Row

NONE = "-"


@dataclass(frozen=True)
class Table:
    """What is printed: text only.

    Attributes:
        title: What it is about.
        header: Of the columns.
        rows: Cells, as many as columns.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(evaluation: Evaluation) -> list[Table]:
    """By task, by model and its cost, of the measurements, of the review."""
    rows = summarise(evaluation)
    means = overall(evaluation)
    return [
        _by_task(evaluation, rows, means),
        _by_model(evaluation, means),
        _of_measurements(evaluation, rows),
        _of_review(evaluation),
    ]


def caption(evaluation: Evaluation) -> list[str]:
    """What the figures of the tables are, and what else should be known."""
    cases = evaluation.of(evaluation.main)
    patients = len({c.patient for c in cases})
    sha256 = f" ({evaluation.weights_sha256[:12]})" if evaluation.weights_sha256 else ""
    weights = evaluation.plan.name + sha256
    return [
        f"{len(cases)} images of {patients} patients, part: {evaluation.plan.part}; weights {weights}.",
        "Radial errors with the ends of each pair matched; px are pixels of the image,"
        f" {NETWORK} those of the image stretched to 256 x 256.",
        "[95 % interval of the mean, resampling patients]; bias is found - true.",
        *(f"{note[:1].upper()}{note[1:]}." for note in evaluation.notes),
    ]


def _by_task(evaluation: Evaluation, rows: Sequence[Row], means: dict[Variant, dict[str, Overall]]) -> Table:
    main = evaluation.main
    twin = next((v for v in evaluation.variants if v.networks == main.networks and v != main), None)
    body: list[tuple[str, ...]] = []
    for task in evaluation.tasks:
        own = {(r.quantity, r.unit, r.variant): r.statistic for r in rows if r.task == task}
        px, mm = own["MRE", "px", main], own.get(("MRE", "mm", main))
        cells = (
            f"{px.cases} ({px.patients})" + (f", {px.missing} without points" if px.missing else ""),
            _number(own["MRE", NETWORK, main].mean),
            f"{_number(px.mean)} {_interval(px.low, px.high)}",
            _number(own["MRE", "px", twin].mean) if twin else NONE,
            _number(own["MRE, canonical order", "px", main].mean),
            four(mm) if mm else NONE,
        )
        body.append((task, TASKS[task].anatomy, str(TASKS[task].count), *cells))
    if len(evaluation.tasks) > 1 and means[main]:
        body += [_mean_row(means, main, twin, weighted) for weighted in (True, False)]
    other = "px, mirrored too" if twin is None or twin.tta else "px, not mirrored"
    header = (
        "task", "anatomy", "points", "images (patients)", NETWORK, "px", other, "px, canonical order",
        "mm: mean / median / p95 / max",
    )  # fmt: skip
    return Table(f"Mean radial error by task: {main.name}", header, body)


def _mean_row(
    means: dict[Variant, dict[str, Overall]], main: Variant, twin: Variant | None, weighted: bool
) -> tuple[str, ...]:
    """A last line of the table by task."""
    network, px = (means[main][unit] for unit in (NETWORK, "px"))
    other = _mean(means[twin]["px"], weighted) if twin and means[twin] else NONE
    cells = (_mean(network, weighted), _overall(px, weighted), other)
    return ("all images" if weighted else "mean of tasks", "", "", "", *cells, "", "")


def _by_model(evaluation: Evaluation, means: dict[Variant, dict[str, Overall]]) -> Table:
    body: list[tuple[str, ...]] = []
    for variant in evaluation.variants:
        found = means[variant]
        cells = [
            _overall(found[unit], weighted) if found else NONE
            for unit in (NETWORK, "px")
            for weighted in (True, False)
        ]
        ms = f"{milliseconds(evaluation, variant):.0f}"
        body.append((variant.name, *cells, str(variant.passes), ms))
    header = (
        "model", "weighted, px of 256", "mean of tasks, px of 256", "weighted, px", "mean of tasks, px",
        "forward passes", "ms an image",
    )  # fmt: skip
    return Table("Models and their cost: mean radial error", header, body)


def _of_measurements(evaluation: Evaluation, rows: Sequence[Row]) -> Table:
    body: list[tuple[str, ...]] = []
    for row in rows:
        if row.variant == evaluation.main and row.quantity in TASKS[row.task].measurements:
            s = row.statistic
            images = str(s.cases) + (f", {s.missing} without" if s.missing else "")
            ends = (_interval(s.low, s.high), _number(s.signed_mean, "+"))
            body.append((row.task, row.quantity, row.unit, images, four(s), *ends))
    header = ("task", "measurement", "unit", "images", "mean / median / p95 / max", "interval", "bias")
    return Table(f"Absolute errors of what is measured: {evaluation.main.name}", header, body)


def _of_review(evaluation: Evaluation) -> Table:
    body: list[tuple[str, ...]] = []
    for found in reviews(evaluation):
        if found.variant == evaluation.main:
            rank = (found.review, found.score, found.size, found.review_leading)
            ranks = tuple(_number(r, "+") for r in rank)
            errors = tuple(_number(v) for v in (found.mean, found.kept_by_review, found.kept_by_score))
            body.append((found.task, str(found.images), *ranks, found.unit, *errors))
    kept = f"{1 - SECOND_LOOK:.0%}"
    header = (
        "task", "images", "review", "heat-map score", "size", "review, error of HC, AC or first length",
        "unit", "error of all",
        f"of the {kept} of lowest review", f"of the {kept} of highest score",
    )  # fmt: skip
    title = "Rank correlation (Spearman) with the radial error, and what a second look leaves"
    return Table(f"{title}: {evaluation.main.name}", header, body)


def four(found: Statistic) -> str:
    """Mean / median / 95th percentile / maximum."""
    return " / ".join(_number(v) for v in (found.mean, found.median, found.p95, found.max))


def _mean(found: Overall, weighted: bool) -> str:
    return _number(found.weighted if weighted else found.unweighted)


def _overall(found: Overall, weighted: bool) -> str:
    ends = found.weighted_interval if weighted else found.unweighted_interval
    return f"{_mean(found, weighted)} {_interval(*ends)}"


def _interval(low: float, high: float) -> str:
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float, sign: str = "") -> str:
    if np.isnan(value):
        return NONE
    return f"{value:{sign}.2f}" if abs(value) < 99.95 else f"{value:{sign}.0f}"
