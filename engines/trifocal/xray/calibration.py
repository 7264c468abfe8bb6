"""From a reconstruction, and what its network said about its own error, to a standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

LUNG = 0.15
"""Density of inflated lung."""

FEATURES = ("constant", "said", "between", "edge")


@dataclass(frozen=True)
class Calibration:
    """log sigma is a weighted sum of what tells of errors, fitted on volumes that were held back.

    The features: 1; the logarithm of the error that the network said; how far the density lies between air
    and tissue, log(0.03 + d (1.1 - d)), as what is reconstructed half-way is one or the other; and the
    logarithm of its gradient, as edges lie elsewhere.

    Attributes:
        weights: Of the features, in the order of `FEATURES`. As made, the standard deviation is that of a
            Laplace distribution with the mean absolute error that the network said.
        floor: Error in density that is added in squares, in full where the density is that of lung or more,
            not in air: what held-out volumes like those that were learned from do not show.
    """

    weights: tuple[float, float, float, float] = (0.35, 1.0, 0.0, 0.0)
    floor: float = 0.0

    @classmethod
    def fit(cls, features: Tensor, error: Tensor) -> Self:
        """Most likely weights, the errors being normal: least mean of log sigma + error^2 / (2 sigma^2).

        Args:
            features: (N, 4) as `features_of` gives them.
            error: (N,) in the unit of the density.
        """
        x, square = features.double(), error.double() ** 2
        weights = x.new_tensor([0.35, 1.0, 0.0, 0.0]).requires_grad_()
        optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            log_sigma = x @ weights
            value = (log_sigma + 0.5 * square * torch.exp(-2 * log_sigma)).mean()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        a, b, c, d = (float(w) for w in weights.detach())
        return cls((a, b, c, d))

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """Read what a checkpoint says; None gives the uncalibrated one.

        Raises:
            ValueError: If it is something else than four weights.
        """
        if record is None:
            return cls()
        try:
            a, b, c, d = (float(w) for w in record["weights"])
            floor = float(record.get("floor", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"a calibration must have weights of {', '.join(FEATURES)}, got {record!r}"
            raise ValueError(msg) from error
        return cls((a, b, c, d), floor)

    def sigma(self, density: Tensor, log_error: Tensor) -> Tensor:
        """Standard deviation (B, 1, X, Y, Z) of a density (B, 1, X, Y, Z), in its unit; at most 1.5."""
        features = features_of(density, log_error)
        fitted = torch.exp(features @ features.new_tensor(self.weights))
        floor = self.floor * (density / LUNG).clamp(0, 1)
        return torch.sqrt(fitted**2 + floor**2).clamp(max=1.5)


def features_of(density: Tensor, log_error: Tensor) -> Tensor:
    """(B, 1, X, Y, Z, 4) from the density and the logarithm of the error that its network said."""
    between = torch.log(0.03 + (density * (1.1 - density)).clamp(min=0))
    smooth = functional.avg_pool3d(functional.pad(density, (1,) * 6, mode="replicate"), 3, stride=1)
    slopes = torch.stack(torch.gradient(smooth, dim=(-3, -2, -1)))
    edge = torch.log(0.01 + slopes.square().sum(0).sqrt())
    return torch.stack([torch.ones_like(density), log_error, between, edge], dim=-1)
