"""Statistics of an evaluation: of every kind of error, over all tasks, and of the review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.evaluation.error_statistics import Overall, Statistic, rank_correlation, risk_coverage
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trifocal.keypoints.evaluation import Case, Evaluation, Variant
    from trifocal.keypoints.tasks import Task

NETWORK = "px of 256"
SECOND_LOOK = 0.2
"""Fraction of the images that the table of the review sets aside."""


@dataclass(frozen=True)
class Row:
    """One kind of error of one task by one variant.

    Attributes:
        task: Id.
        variant: How it was predicted.
        quantity: "MRE" (mean radial error, ends of pairs matched), "MRE, canonical order", the name of a
            measurement, or "point" and the name of one.
        unit: Of the errors.
        statistic: Over the images.
    """

    task: str
    variant: Variant
    quantity: str
    unit: str
    statistic: Statistic


@dataclass(frozen=True)
class Review:
    """How well signs of doubt rank the images of one task by their mean radial error.

    Attributes:
        task: Id.
        variant: How it was predicted.
        unit: Of the errors: mm, or px where the size of a pixel is not known for all.
        review: Spearman's rank correlation of the review with the error.
        review_leading: The same with the error of the leading measurement (see `leading`).
        score: The same of 1 - heat-map score.
        size: The same of the true size of what is measured.
        mean: Error of all images.
        kept_by_review: Mean error of the rest when the fifth of the images of highest review is set aside.
        kept_by_score: The same by the lowest heat-map score; at random it is `mean`.
        images: How many.
    """

    task: str
    variant: Variant
    unit: str
    review: float
    review_leading: float
    score: float
    size: float
    mean: float
    kept_by_review: float
    kept_by_score: float
    images: int


def summarise(evaluation: Evaluation) -> list[Row]:
    """Every kind of error of every task by every variant."""
    return [
        Row(task, variant, quantity, unit, Statistic.of(values, [c.patient for c in of]))
        for task in evaluation.tasks
        for variant in evaluation.variants
        for quantity, unit, values, of in _quantities(evaluation.of(variant, task))
    ]


def _quantities(cases: Sequence[Case]) -> Iterable[tuple[str, str, list[float], Sequence[Case]]]:
    """Name, unit, an error of each image, and the images."""
    yield "MRE", NETWORK, [c.errors.mre_network_px for c in cases], cases
    yield "MRE", "px", [c.errors.mre_px for c in cases], cases
    scaled = [c for c in cases if c.example.mm_per_px is not None]
    if scaled:
        yield "MRE", "mm", [c.errors.mre_mm for c in scaled], scaled
    yield "MRE, canonical order", "px", [c.errors.mre_canonical_px for c in cases], cases
    found: dict[tuple[str, str], list[tuple[float, Case]]] = {}
    for case in cases:
        for m in case.errors.measurements:
            found.setdefault((m.name, m.unit), []).append((m.error, case))
    for (name, unit), pairs in found.items():
        yield name, unit, [error for error, _ in pairs], [case for _, case in pairs]
    for i, point in enumerate(TASKS[cases[0].example.task_id].points):
        there = [c for c in cases if np.isfinite(c.example.points[i]).all()]
        yield f"point {point}", "px", [float(c.errors.radial_px[i]) for c in there], there


def overall(evaluation: Evaluation) -> dict[Variant, dict[str, Overall]]:
    """Means over all tasks by each variant, in pixels of 256 and of the image, where anything was found."""
    found: dict[Variant, dict[str, Overall]] = {}
    for variant in evaluation.variants:
        cases = evaluation.of(variant)
        patients, tasks = [c.patient for c in cases], [c.example.task_id for c in cases]
        values = {
            NETWORK: [c.errors.mre_network_px for c in cases],
            "px": [c.errors.mre_px for c in cases],
        }
        found[variant] = {
            unit: Overall.of(v, patients, tasks) for unit, v in values.items() if not np.isnan(v).all()
        }
    return found


def reviews(evaluation: Evaluation) -> list[Review]:
    """How well doubt ranks the errors of each task, by each variant."""
    found = []
    for task in evaluation.tasks:
        for variant in evaluation.variants:
            cases = evaluation.of(variant, task)
            unit, errors = radial_errors(cases)
            doubt = [c.review for c in cases]
            diffuse = [1 - c.score for c in cases]
            sizes = [c.errors.size_px * (c.example.mm_per_px or 1) for c in cases]
            found.append(
                Review(
                    task=task,
                    variant=variant,
                    unit=unit,
                    review=rank_correlation(doubt, errors),
                    review_leading=rank_correlation(doubt, [_leading_error(c) for c in cases]),
                    score=rank_correlation(diffuse, errors),
                    size=rank_correlation(sizes, errors),
                    mean=_kept(doubt, errors, 1.0),
                    kept_by_review=_kept(doubt, errors, 1 - SECOND_LOOK),
                    kept_by_score=_kept(diffuse, errors, 1 - SECOND_LOOK),
                    images=len(cases),
                )
            )
    return found


def radial_errors(cases: Sequence[Case]) -> tuple[str, list[float]]:
    """Unit and mean radial error of each image: in mm if the size of a pixel is known for all, else in px."""
    if all(c.example.mm_per_px is not None for c in cases):
        return "mm", [c.errors.mre_mm for c in cases]
    return "px", [c.errors.mre_px for c in cases]


def leading(task: Task) -> str:
    """The measurement that stands for a task: a circumference where there is one, else the first."""
    return next((name for name in task.measurements if name in ("HC", "AC")), task.measurements[0])


def _leading_error(case: Case) -> float:
    name = leading(case.example.task)
    return next((m.error for m in case.errors.measurements if m.name == name), np.nan)


def _kept(doubt: Sequence[float], errors: Sequence[float], coverage: float) -> float:
    kept, risk = risk_coverage(doubt, errors)
    if not len(risk):
        return np.nan
    return float(risk[max(int(np.searchsorted(kept, coverage + 1e-9, side="right")) - 1, 0)])


def milliseconds(evaluation: Evaluation, variant: Variant) -> float:
    """Median time of a prediction: the first ones pay for warming up."""
    return 1e3 * float(np.median([c.seconds for c in evaluation.of(variant)]))
