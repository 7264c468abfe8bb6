"""What the doubts rest on: how wrong the network was on heads it had not seen, and what it was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from trifocal.focus.skull_features import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.pose import Pose

BUNDLED_REFERENCE = "focus.json"


@dataclass(frozen=True)
class ModelError:
    """How far the network's focus lies from the solver's, in the bowl's frame, on held-out heads.

    A variance is base + share * (march's focus - network's focus)^2: where the network has to move the march
    far, it errs more.

    Attributes:
        lateral: Base in mm^2 and share, of each axis across the beam.
        axial: The same along the beam.
        widening: What the variances are multiplied by so that the 95 % ellipsoid held 95 % of the held-out
            foci: the conformal quantile of the squared distances over that of chi-square.
        log_peak: Standard deviation of ln(network's peak / solver's peak).
        cases: How many it was measured on.
        heads: How many heads those were.
    """

    lateral: tuple[float, float]
    axial: tuple[float, float]
    widening: float
    log_peak: float
    cases: int
    heads: int

    def variances(self, disagreement_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variances (3,) in mm^2 along the axes of the bowl; the disagreement (3,) is in its frame too.

        The two lateral axes share theirs, so that the roll of a round bowl does not matter.
        """
        square = np.asarray(disagreement_mm, float) ** 2
        across = self.lateral[0] + self.lateral[1] * float(square[:2].mean())
        along = self.axial[0] + self.axial[1] * float(square[2])
        return self.widening * np.array([across, across, along])

    def covariance(self, disagreement_mm: NDArray[np.float64], pose: Pose) -> NDArray[np.float64]:
        """Covariance (3, 3) in the world in mm^2."""
        turn = pose.matrix[:3, :3]
        covariance: NDArray[np.float64] = turn @ np.diag(self.variances(disagreement_mm)) @ turn.T
        return covariance


@dataclass(frozen=True, eq=False)
class Training:
    """The placements that the network was trained on, in the figures of `FEATURES`.

    Attributes:
        mean: (6,) of the figures.
        covariance: (6, 6).
        limit: Mahalanobis distance that 99 % of the training placements keep.
        cases: How many they were.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    limit: float
    cases: int

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> Self:
        """The statistics of placements (n, 6)."""
        mean, covariance = features.mean(0), np.cov(features.T)
        # figures that never vary (one bowl) must not make the inverse explode
        covariance = covariance + np.diag((1e-3 * np.maximum(np.abs(mean), 1e-6)) ** 2)
        found = cls(mean, covariance, 0.0, len(features))
        distances = [found.distance(row) for row in features]
        return cls(mean, covariance, float(np.quantile(distances, 0.99)), len(features))

    def distance(self, features: NDArray[np.float64]) -> float:
        """Mahalanobis distance of one placement (6,)."""
        offset = features - self.mean
        return float(np.sqrt(offset @ np.linalg.solve(self.covariance, offset)))

    def reasons(self, features: NDArray[np.float64]) -> tuple[str, ...]:
        """A sentence if the placement lies farther out than 99 % of the training: what stands out."""
        distance = self.distance(features)
        if distance <= self.limit:
            return ()
        deviations = (features - self.mean) / np.sqrt(np.diag(self.covariance))
        worst = int(np.abs(deviations).argmax())
        what, unit = FEATURES[worst].split(", ")
        return (
            f"this placement is unlike the training cases (Mahalanobis distance {distance:.1f}, 99 % of them "
            f"within {self.limit:.1f}): what stands out most is {what}, {features[worst]:.4g} {unit}, "
            f"{abs(deviations[worst]):.1f} standard deviations from the mean",
        )


@dataclass(frozen=True, eq=False)
class Reference:
    """Both, as `trifocal calibrate focus` measured them.

    Attributes:
        error: Of the network.
        training: What it has seen.
        weights: sha256 of the weights that the error was measured with.
        recipe: How it was made, for the provenance.
    """

    error: ModelError
    training: Training
    weights: str
    recipe: str

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a file of `trifocal calibrate focus`; the bundled one if None.

        Raises:
            ValueError: If the file is missing or not of that kind.
        """
        path = path or Path(str(resources.files("trifocal_assets"))) / "doubts" / BUNDLED_REFERENCE
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            error = dict(record["error"])
            for name in ("lateral", "axial"):
                base, share = (float(v) for v in error[name])
                error[name] = (base, share)
            seen = record["training"]
            training = Training(
                np.array(seen["mean"], float),
                np.array(seen["covariance"], float),
                float(seen["limit"]),
                int(seen["cases"]),
            )
            return cls(ModelError(**error), training, str(record["weights"]), str(record["recipe"]))
        except (OSError, KeyError, TypeError, ValueError) as problem:
            msg = (
                f"{path} must be a file of `trifocal calibrate focus`, and it cannot be read ({problem}): "
                "make it anew or install trifocal_assets again"
            )
            raise ValueError(msg) from problem

    def record(self) -> dict[str, Any]:
        """As JSON."""
        seen = self.training
        return {
            "recipe": self.recipe,
            "weights": self.weights,
            "error": vars(self.error)
            | {"lateral": list(self.error.lateral), "axial": list(self.error.axial)},
            "training": {
                "features": list(FEATURES),
                "mean": seen.mean.tolist(),
                "covariance": seen.covariance.tolist(),
                "limit": seen.limit,
                "cases": seen.cases,
            },
        }
