"""Numbers that show whether an encoder still says anything about its films."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

COLLAPSED = 0.1
"""Standard deviation below which an encoder counts as collapsed: the seed's threshold, for features after a
a normalisation. It measures scale, not content: small features can still tell films apart."""


class EncoderCollapse(UserWarning):
    """The features of an encoder hardly vary."""


@dataclass(frozen=True)
class FeatureStats:
    """Statistics of an encoder's features over a batch.

    Attributes:
        mean: Of all values.
        std: Standard deviation.
        min: Smallest.
        max: Largest.
        sparsity: Share of values within 0.01 of zero.
    """

    mean: float
    std: float
    min: float
    max: float
    sparsity: float

    @classmethod
    def of(cls, *features: Tensor) -> FeatureStats:
        """Measure features of any shapes together, such as the maps of all views."""
        x = torch.cat([f.detach().float().flatten() for f in features])
        near = (x.abs() < 0.01).float().mean()
        return cls(*(float(v) for v in (x.mean(), x.std(), x.min(), x.max(), near)))

    @property
    def collapsed(self) -> bool:
        """Whether the standard deviation is below `COLLAPSED` (or not a number)."""
        return not self.std >= COLLAPSED

    def warn_on_collapse(self, name: str = "films' encoder") -> None:
        """Issue `EncoderCollapse` if the features have collapsed."""
        if self.collapsed:
            msg = (
                f"the features of the {name} hardly vary (std {self.std:.3f} < {COLLAPSED}): the network no"
                " longer sees the films; train it with batch_norm=True or a lower learning rate"
            )
            warnings.warn(msg, EncoderCollapse, stacklevel=2)

    def record(self) -> dict[str, float]:
        """For the training log."""
        return asdict(self)
