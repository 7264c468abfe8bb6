"""What the errors of many images say: means with intervals over patients, and how well doubt ranks them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Statistic:
    """One kind of error over some images. All but `signed_mean` are of the magnitudes.

    Attributes:
        cases: Images that have this error.
        patients: That they are from.
        missing: Images that do not have it, since a point was not found; the others do not know of them.
        mean: Over the images.
        median: Over the images.
        p95: 95th percentile, interpolated linearly between the images.
        max: The largest.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Upper end.
        signed_mean: Mean with signs: the bias of errors that have one.
    """

    cases: int
    patients: int
    missing: int
    mean: float
    median: float
    p95: float
    max: float
    low: float
    high: float
    signed_mean: float

    @classmethod
    def of(cls, values: ArrayLike, patients: Sequence[str]) -> Self:
        """Summarise values (n,), NaN for missing ones, each of the patient of that name."""
        signed = np.asarray(values, np.float64)
        there = ~np.isnan(signed)
        names = [name for name, one in zip(patients, there, strict=True) if one]
        missing = int((~there).sum())
        if not names:
            return cls(0, 0, missing, *[np.nan] * 7)
        sizes = np.abs(signed[there])
        median, p95 = (float(v) for v in np.percentile(sizes, (50, 95)))
        low, high = interval(resampled_means(sizes, names)[:, 0])
        return cls(
            cases=len(names),
            patients=len(set(names)),
            missing=missing,
            mean=float(sizes.mean()),
            median=median,
            p95=p95,
            max=float(sizes.max()),
            low=low,
            high=high,
            signed_mean=float(signed[there].mean()),
        )


@dataclass(frozen=True)
class Overall:
    """The mean of one kind of error over several tasks, in the card's two ways.

    Attributes:
        weighted: Mean over all images: a task counts as many times as it has images.
        weighted_interval: 95 % bootstrap interval of it.
        unweighted: Mean over the tasks of the mean over each task's images.
        unweighted_interval: 95 % bootstrap interval of it.
        tasks: How many.
    """

    weighted: float
    weighted_interval: tuple[float, float]
    unweighted: float
    unweighted_interval: tuple[float, float]
    tasks: int

    @classmethod
    def of(cls, values: ArrayLike, patients: Sequence[str], tasks: Sequence[str]) -> Self:
        """From errors (n,) with the patient and the task of each; NaN ones are left out.

        Raises:
            ValueError: If none is left.
        """
        sizes = np.abs(np.asarray(values, np.float64))
        kept = np.flatnonzero(~np.isnan(sizes))
        if not len(kept):
            msg = "an overall mean must have at least one error that is a number, got none"
            raise ValueError(msg)
        sizes, groups = sizes[kept], [tasks[int(i)] for i in kept]
        names = [patients[int(i)] for i in kept]
        means = [sizes[[g == task for g in groups]].mean() for task in dict.fromkeys(groups)]
        drawn = resampled_means(sizes, names, groups)
        # a draw may have no image of a rare task: it is then the mean over the others
        there = ~np.isnan(drawn)
        over_tasks = np.where(there, drawn, 0).sum(1) / there.sum(1)
        return cls(
            weighted=float(sizes.mean()),
            weighted_interval=interval(resampled_means(sizes, names)[:, 0]),
            unweighted=float(np.mean(means)),
            unweighted_interval=interval(over_tasks),
            tasks=len(means),
        )


def resampled_means(
    values: NDArray[np.float64], patients: Sequence[str], tasks: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Means of 2000 cluster bootstrap draws (Efron & Tibshirani 1993, chapters 8 and 13).

    Patients are drawn with replacement, each with all images: images of one patient are not independent. Of a
    single patient the images are drawn, and the means say nothing of other patients. The same at every call.

    Args:
        values: (n,) numbers.
        patients: Of each.
        tasks: Of each; one and the same if left out.

    Returns:
        (2000, T) mean of each task, in the order of their first images; NaN where a draw has none of it.
    """
    _, patient = np.unique(list(patients), return_inverse=True)
    if patient.max() == 0:
        patient = np.arange(len(values))
    order = {task: i for i, task in enumerate(dict.fromkeys(tasks or ["one"]))}
    task = np.array([order[name] for name in tasks or ["one"] * len(values)])
    sums = np.zeros((patient.max() + 1, len(order)))
    counts = np.zeros_like(sums)
    np.add.at(sums, (patient, task), values)
    np.add.at(counts, (patient, task), 1)
    times = _draws(len(sums))
    drawn = times @ counts
    means: NDArray[np.float64] = np.where(drawn > 0, times @ sums / np.maximum(drawn, 1), np.nan)
    return means


@lru_cache(maxsize=4)
def _draws(patients: int) -> NDArray[np.float64]:
    """(2000, patients) how many times each patient is in each draw."""
    even = np.full(patients, 1 / patients)
    return np.random.default_rng(0).multinomial(patients, even, size=DRAWS).astype(np.float64)


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of bootstrap draws (n,)."""
    low, high = np.percentile(draws, TAILS)
    return float(low), float(high)


def rank_correlation(doubt: ArrayLike, errors: ArrayLike) -> float:
    """Spearman's rank correlation of doubt (n,) with the magnitudes of errors (n,), NaN ones left out.

    NaN for fewer than three images, or where all doubts or all errors are the same.
    """
    x, y = np.asarray(doubt, np.float64), np.abs(np.asarray(errors, np.float64))
    kept = ~(np.isnan(x) | np.isnan(y))
    x, y = x[kept], y[kept]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(stats.spearmanr(x, y).statistic)


def in_order(doubt: ArrayLike, errors: ArrayLike) -> NDArray[np.float64]:
    """Magnitudes of errors in the order of the doubt, the surest first; equal doubts share their mean error.

    Args:
        doubt: (n,) numbers; NaN counts as the highest.
        errors: (n,); those that are NaN are left out.

    Returns:
        (m,), as many as there are errors that are numbers.
    """
    x, y = np.asarray(doubt, np.float64), np.abs(np.asarray(errors, np.float64))
    kept = ~np.isnan(y)
    x, y = np.where(np.isnan(x), np.inf, x)[kept], y[kept]
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    ordered: NDArray[np.float64] = (np.bincount(place, y) / count)[np.sort(place)] if len(y) else y
    return ordered


def risk_coverage(doubt: ArrayLike, errors: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean error of the images that are kept when the most doubtful ones are set aside for a second look.

    Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017: the risk as a
    function of the coverage. Images of equal doubt are kept in random order: the expected mean is given.

    Args:
        doubt: (n,) numbers; the highest, and NaN before it, is set aside first.
        errors: (n,) whose magnitudes count; those that are NaN are left out.

    Returns:
        (m,) fraction of the images that is kept, 1/m to 1, and (m,) mean error of these.
    """
    ordered = in_order(doubt, errors)
    number = np.arange(1, len(ordered) + 1)
    return number / max(len(ordered), 1), np.cumsum(ordered) / number
