"""What the scores of many patients say: means, medians, intervals, and the gain over the baselines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from trifocal.xray.evaluation import BASELINES
from trifocal.xray.evaluation.reliability import Reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from trifocal.xray.evaluation import Case, Evaluation

FIGURES = (
    "psnr_db", "ssim", "mae_hu", "body_psnr_db", "body_ssim", "body_mae_hu", "lung_dice", "lung_surface_mm",
    "lung_surface_95_mm", "bone_dice",
)  # fmt: skip
"""Of a `Score`, in the order of the tables."""

HIGHER_IS_BETTER = ("psnr_db", "ssim", "body_psnr_db", "body_ssim", "lung_dice", "bone_dice")
DRAWS = 2000
TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Statistic:
    """One figure over some cases.

    Attributes:
        cases: That have it.
        patients: That they are of.
        mean: Over the cases.
        median: Over the cases.
        low: Lower end of the 95 % bootstrap interval of the mean, patients resampled.
        high: Upper end.
    """

    cases: int
    patients: int
    mean: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: ArrayLike, patients: Sequence[str]) -> Self:
        """Summarise values (n,), each of the patient of that name; infinite and missing ones are left out."""
        all_ = np.asarray(values, np.float64)
        there = np.isfinite(all_)
        names = [n for n, one in zip(patients, there, strict=True) if one]
        if not names:
            return cls(0, 0, *[np.nan] * 4)
        kept = all_[there]
        low, high = bootstrap_interval(kept, names)
        return cls(len(kept), len(set(names)), float(kept.mean()), float(np.median(kept)), low, high)


def bootstrap_interval(values: NDArray[np.float64], patients: Sequence[str]) -> tuple[float, float]:
    """95 % percentile interval of the mean by a cluster bootstrap (Efron & Tibshirani 1993, chapters 8, 13).

    Patients are drawn with replacement, each with all cases. Of a single patient there is no interval: NaN.
    With few patients it is too narrow. The draws are the same at every call.
    """
    _, group = np.unique(list(patients), return_inverse=True)
    if group.max() == 0:
        return np.nan, np.nan
    sums, counts = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sums), size=(DRAWS, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), TAILS)
    return float(low), float(high)


def summarise(evaluation: Evaluation) -> dict[str, dict[str, Statistic]]:
    """Engine -> figure -> statistic; residuals are under "residual AP" and so on."""
    found: dict[str, dict[str, Statistic]] = {}
    patients = [case.source.patient for case in evaluation.cases]
    for name in evaluation.names:
        rows = [case.row(name) for case in evaluation.cases]
        own = {f: Statistic.of([getattr(r.score, f) for r in rows], patients) for f in FIGURES}
        for view in rows[0].residuals:
            own[f"residual {view}"] = Statistic.of([r.residuals[view] for r in rows], patients)
        found[name] = own
    return found


@dataclass(frozen=True)
class Gain:
    """How far an engine is ahead of the best baseline, case by case.

    Attributes:
        figure: Of the scores.
        baseline: The one of the best mean.
        difference: Engine less baseline; of errors in HU as a share of the baseline's.
    """

    figure: str
    baseline: str
    difference: Statistic


def gains(evaluation: Evaluation, engine: str) -> list[Gain]:
    """Paired differences to the best of what needs neither learning nor truth."""
    cases = evaluation.cases
    patients = [case.source.patient for case in cases]
    out = []
    for figure in ("psnr_db", "body_psnr_db", "ssim", "mae_hu", "body_mae_hu", "lung_dice"):
        sign = 1 if figure in HIGHER_IS_BETTER else -1
        means = {b: sign * _mean([_value(c, b, figure) for c in cases]) for b in BASELINES}
        best = max(means, key=lambda b: means[b] if np.isfinite(means[b]) else -np.inf)
        own = np.array([_value(c, engine, figure) for c in cases])
        other = np.array([_value(c, best, figure) for c in cases])
        off = (own - other) / other if figure.endswith("mae_hu") else own - other
        out.append(Gain(figure, best, Statistic.of(off, patients)))
    return out


def reliability(evaluation: Evaluation) -> Reliability | None:
    """Of the first checkpoint's predicted errors over all cases; None if it predicts none."""
    found = [c.reliability for c in evaluation.cases if c.reliability is not None]
    return Reliability.over(found) if found else None


def record(evaluation: Evaluation) -> dict[str, Any]:
    """The statistics as they are written to JSON, never without what the scores were taken at."""
    curve = reliability(evaluation)
    return {
        "window_hu": list(evaluation.plan.window_hu),
        "data_range_hu": evaluation.plan.window_hu[1] - evaluation.plan.window_hu[0],
        "spacing_mm": spacing_range(evaluation),
        "cases": len(evaluation.cases),
        "patients": len({c.source.patient for c in evaluation.cases}),
        "engines": evaluation.about,
        "statistics": {
            name: {f: asdict(s) for f, s in own.items()} for name, own in summarise(evaluation).items()
        },
        "gain_over_best_baseline": {
            e: {g.figure: {"baseline": g.baseline, **asdict(g.difference)} for g in gains(evaluation, e)}
            for e in evaluation.engines
        },
        "reliability": curve.record() if curve else None,
    }


def spacing_range(evaluation: Evaluation) -> list[float]:
    """Smallest and largest spacing of the volumes that were compared, in mm."""
    steps = [s for c in evaluation.cases for s in c.grid.spacing_mm]
    return [float(min(steps)), float(max(steps))]


def _value(case: Case, engine: str, figure: str) -> float:
    return float(getattr(case.row(engine).score, figure))


def _mean(values: Sequence[float]) -> float:
    kept = [v for v in values if np.isfinite(v)]
    return float(np.mean(kept)) if kept else np.nan
