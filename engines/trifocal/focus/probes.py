"""What a network's features tell to a linear model: subject, azimuth, aperture, depth of the focus.

The analysis of the open reproduction of DeepTFUS, with two additions: pose, aperture and depth are also
predicted for subjects of which the probe has seen nothing, and every figure has beside it what the same probe
reaches on shuffled answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FOLDS = 5
RIDGES = tuple(np.logspace(-1, 5, 13))  # chosen within each training part
PENALTY = 1.0  # of the logistic regression: inverse strength
TOP = 5
Split = Literal["samples", "subjects"]


@dataclass(frozen=True, eq=False)
class Attributes:
    """What is to be read from the features, a value for each of n samples.

    Attributes:
        subject: (n,) names.
        azimuth_deg: (n,) direction that the bowl is in about the vertical, -180 to 180.
        aperture_mm: (n,) of the bowl.
        depth_mm: (n,) of the true focus below the outer surface of the skull, along the beam; NaN where the
            beam meets no bone.
    """

    subject: NDArray[np.str_]
    azimuth_deg: Floats
    aperture_mm: Floats
    depth_mm: Floats


@dataclass(frozen=True, eq=False)
class Probe:
    """What one probe has found, by predictions of folds that it was not fitted to.

    Attributes:
        name: "subject", "azimuth", "aperture" or "depth".
        split: Whether "samples" were held out, of subjects that the probe knows from other samples, or
            whole "subjects".
        figures: Accuracies, R^2 or the mean absolute error in degrees.
        chance: What an answer that does not look at the features would reach, by the same names.
        shuffled: What the same probe reaches when the answers are shuffled, by the same names.
        truth: (n,) true values; indices of subjects.
        found: (n,) predicted values.
        subjects: How many.
    """

    name: str
    split: Split
    figures: dict[str, float]
    chance: dict[str, float]
    shuffled: dict[str, float]
    truth: Floats
    found: Floats
    subjects: int

    def rows(self) -> list[dict[str, Any]]:
        """A row for each figure, for CSV."""
        about = {"probe": self.name, "held_out": self.split}
        size = {"samples": len(self.truth), "subjects": self.subjects}
        return [
            about | {"figure": k, "value": v, "chance": self.chance[k], "shuffled": self.shuffled[k]} | size
            for k, v in self.figures.items()
        ]


def probe(features: NDArray[np.floating[Any]], attributes: Attributes, seed: int = 0) -> tuple[Probe, ...]:
    """Fit and judge every probe by five-fold cross-validation.

    Args:
        features: (n, channels), a mean over space for each sample.
        attributes: Of the same samples.
        seed: Of the folds and the shuffling.

    Returns:
        Subject; then azimuth, aperture and depth, each with samples and with subjects held out. What cannot
        be probed is left out: subjects that have one sample only, a figure that never varies.

    Raises:
        ValueError: If there are too few samples or subjects, or a feature is not finite.
    """
    x = np.asarray(features, np.float64)
    _check(x, attributes)
    found = []
    often = _counts(attributes.subject) >= 2
    if len(np.unique(attributes.subject[often])) >= FOLDS:
        found.append(probe_subject(x[often], attributes.subject[often], seed))
    for name in ("azimuth", "aperture", "depth"):
        values = np.asarray(getattr(attributes, f"{name}_{'deg' if name == 'azimuth' else 'mm'}"), float)
        known = np.isfinite(values)
        if known.sum() < 2 * FOLDS or np.ptp(values[known]) < 1e-6:
            continue
        for split in ("samples", "subjects"):
            found.append(probe_value(name, split, x[known], values[known], attributes.subject[known], seed))
    return tuple(found)


def probe_subject(x: Floats, subject: NDArray[np.str_], seed: int = 0) -> Probe:
    """Which of the known subjects a sample is of: logistic regression, right at once and among five."""
    names, labels = np.unique(subject, return_inverse=True)
    most = int(np.bincount(labels).min())
    folds = StratifiedKFold(min(FOLDS, most), shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=500))

    def judged(answers: NDArray[np.int64]) -> tuple[dict[str, float], Floats]:
        odds = cross_val_predict(model, x, answers, cv=folds, method="predict_proba")
        order = np.argsort(-odds, axis=1)
        hit = order == answers[:, None]
        found = {"top1": float(hit[:, 0].mean()), "top5": float(hit[:, :TOP].any(1).mean())}
        return found, order[:, 0].astype(float)

    figures, first = judged(labels)
    chance = {"top1": 1 / len(names), "top5": min(TOP / len(names), 1.0)}
    shuffled, _ = judged(np.random.default_rng(seed).permutation(labels))
    return Probe("subject", "samples", figures, chance, shuffled, labels.astype(float), first, len(names))


def probe_value(
    name: str, split: Split, x: Floats, values: Floats, subject: NDArray[np.str_], seed: int = 0
) -> Probe:
    """A number by ridge regression; an azimuth by its sine and cosine."""
    cyclic = name == "azimuth"
    folds, groups = _folds(split, subject, seed)
    model = make_pipeline(StandardScaler(), RidgeCV(RIDGES))

    def judged(answers: Floats) -> tuple[dict[str, float], Floats]:
        target = _on_circle(answers) if cyclic else answers
        found = cross_val_predict(model, x, target, cv=folds, groups=groups)
        if cyclic:
            angle = np.degrees(np.arctan2(found[:, 0], found[:, 1]))
            return {"mae_deg": float(cyclic_distance(angle, answers).mean())}, angle
        return {"r2": r_squared(found, answers)}, found

    figures, found = judged(values)
    shuffled, _ = judged(np.random.default_rng(seed).permutation(values))
    chance = {"mae_deg": 90.0} if cyclic else {"r2": 0.0}
    return Probe(name, split, figures, chance, shuffled, values, found, len(np.unique(subject)))


def cyclic_distance(a_deg: Floats, b_deg: Floats) -> Floats:
    """Distance of angles on the circle, 0 to 180 degrees."""
    distance: Floats = np.abs((a_deg - b_deg + 180) % 360 - 180)
    return distance


def r_squared(found: Floats, truth: Floats) -> float:
    """Share of the variance that is explained; 0 for the mean as the answer, negative for worse."""
    return float(1 - ((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _counts(subject: NDArray[np.str_]) -> NDArray[np.int64]:
    """(n,) how many samples the subject of each sample has."""
    _, index, counts = np.unique(subject, return_inverse=True, return_counts=True)
    of_each: NDArray[np.int64] = counts[index]
    return of_each


def _on_circle(angle_deg: Floats) -> Floats:
    """(n, 2) sine and cosine."""
    return np.stack([np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))], axis=-1)


def _folds(split: Split, subject: NDArray[np.str_], seed: int) -> tuple[Any, NDArray[np.str_] | None]:
    if split == "samples":
        return KFold(FOLDS, shuffle=True, random_state=seed), None
    return GroupKFold(FOLDS), subject


def _check(x: Floats, attributes: Attributes) -> None:
    n = len(attributes.subject)
    if x.ndim != 2 or len(x) != n:
        msg = f"features must have shape (samples, channels) with {n} samples, got {x.shape}"
        raise ValueError(msg)
    if not np.isfinite(x).all():
        msg = "features must be finite, got NaN or infinity: the weights are damaged or have diverged"
        raise ValueError(msg)
    subjects = len(np.unique(attributes.subject))
    if n < 2 * FOLDS or subjects < FOLDS:
        msg = (
            f"probes must have {2 * FOLDS} samples of {FOLDS} subjects at least, got {n} of {subjects}: "
            "use more of the data set (--split all)"
        )
        raise ValueError(msg)
