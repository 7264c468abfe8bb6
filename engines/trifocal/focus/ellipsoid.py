"""The ellipsoid in which a point lies at a given confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.stats import chi2, f

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid in the world.

    Attributes:
        centre_mm: (3,) RAS mm.
        axes_mm: (3, 3) its half axes as vectors, one a row, the longest first.
        level: The confidence that it is made for.
    """

    centre_mm: NDArray[np.float64]
    axes_mm: NDArray[np.float64]
    level: float = 0.95

    @classmethod
    def of(
        cls, centre_mm: ArrayLike, covariance: NDArray[np.float64], level: float = 0.95, samples: int = 0
    ) -> Self:
        """The ellipsoid of a normal distribution.

        Args:
            centre_mm: (3,) its mean.
            covariance: (3, 3) mm^2, positive definite.
            level: How much of the distribution it holds.
            samples: How many the covariance was estimated from; 0 where it is known. See `factor`.
        """
        variance, vectors = np.linalg.eigh(covariance)
        half = np.sqrt(np.clip(variance, 0, None) * factor(level, samples))
        axes = (vectors * half).T[::-1].copy()
        return cls(np.array(centre_mm, float), axes, level)

    @property
    def half_lengths_mm(self) -> NDArray[np.float64]:
        """(3,) lengths of the half axes, the longest first."""
        lengths: NDArray[np.float64] = np.linalg.norm(self.axes_mm, axis=1)
        return lengths

    def distance(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """How far points (..., 3) lie from the centre: 1 on the surface, less inside. Returns (...)."""
        lengths = np.maximum(self.half_lengths_mm, 1e-9)
        along = (np.asarray(point_mm, float) - self.centre_mm) @ (self.axes_mm / lengths[:, None]).T
        distance: NDArray[np.float64] = np.linalg.norm(along / lengths, axis=-1)
        return distance

    def holds(self, point_mm: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (..., 3) lie inside."""
        inside: NDArray[np.bool_] = self.distance(point_mm) <= 1
        return inside

    def record(self) -> dict[str, Any]:
        """As plain lists, for JSON."""
        return {
            "centre_mm": self.centre_mm.tolist(),
            "axes_mm": self.axes_mm.tolist(),
            "half_lengths_mm": self.half_lengths_mm.tolist(),
            "level": self.level,
        }


def factor(level: float, samples: int = 0) -> float:
    """Squared Mahalanobis radius that holds `level` of a normal distribution in three dimensions.

    With a known covariance this is the quantile of chi-square with 3 degrees of freedom. With a second moment
    about a known centre, estimated from n samples, a further draw follows Hotelling's T^2 with n degrees of
    freedom: 3 n / (n - 2) F(3, n - 2) (Anderson 2003, An Introduction to Multivariate Statistical Analysis,
    theorem 5.2.2).

    Raises:
        ValueError: If the level is no share, or there are too few samples.
    """
    if not 0 < level < 1:
        msg = f"the level of an ellipsoid must lie between 0 and 1, got {level:g}"
        raise ValueError(msg)
    if samples == 0:
        return float(chi2.ppf(level, 3))
    if samples < 4:
        msg = f"an ellipsoid must be made from 4 samples or more, got {samples}"
        raise ValueError(msg)
    return float(3 * samples / (samples - 2) * f.ppf(level, 3, samples - 2))
