"""The learned rungs of the ladder, made from a checkpoint: the network, and the regression beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from trifocal.checkpoint import Checkpoint, CheckpointError, load, load_into
from trifocal.focus.limits import Seen
from trifocal.focus.model import CorrectionNet, ModelConfig, corrected_amplitude

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from trifocal.focus.acoustics import Medium
    from trifocal.focus.box import Box
    from trifocal.focus.skull import NearSkull
    from trifocal.focus.transducer import Bowl

BUNDLED = "focus"  # name of the bundled checkpoint


@dataclass(frozen=True)
class PeakRegression:
    """Logarithm of the true peak over the marched one: a quadratic form of thickness and HU.

    Attributes:
        coefficients: Of 1, t, h, t^2, h^2 and t h, where t is the thickness of the near skull in wavelengths
            in water and h its mean HU / 1000.
    """

    coefficients: tuple[float, ...] = (0.0,) * 6

    def __post_init__(self) -> None:
        if len(self.coefficients) != 6:
            msg = f"a regression must have 6 coefficients, got {len(self.coefficients)}"
            raise ValueError(msg)

    @staticmethod
    def terms(skull: NearSkull, bowl: Bowl) -> list[float]:
        """The six terms of a case."""
        t, h = skull.thickness_mm / bowl.wavelength_mm, skull.hu / 1000
        return [1.0, t, h, t * t, h * h, t * h]

    @classmethod
    def fit(cls, skulls: Sequence[NearSkull], bowls: Sequence[Bowl], log_ratios: Sequence[float]) -> Self:
        """Least squares over cases."""
        terms = np.array([cls.terms(s, b) for s, b in zip(skulls, bowls, strict=True)])
        found = np.linalg.lstsq(terms, np.asarray(log_ratios), rcond=None)[0]
        return cls(tuple(round(float(c), 6) for c in found))

    def factor(self, skull: NearSkull, bowl: Bowl) -> float:
        """What the march is multiplied by."""
        return exp(float(np.dot(self.coefficients, self.terms(skull, bowl))))


@dataclass(frozen=True, eq=False)
class Learned:
    """A checkpoint of the focus engine, ready to use.

    Attributes:
        net: The correction network, in evaluation mode.
        regression: The rung below it.
        seen: The bounds of its training cases.
        checkpoint: What it was made from.
    """

    net: CorrectionNet
    regression: PeakRegression
    seen: Seen
    checkpoint: Checkpoint

    @classmethod
    def load(cls, path_or_name: Path | str = BUNDLED) -> Self:
        """Read and check weights.

        Raises:
            CheckpointError: If they are missing, damaged or not of this engine.
        """
        checkpoint = load(path_or_name, "focus")
        try:
            config: dict[str, Any] = checkpoint.config
            model = ModelConfig(**config["model"] | {"widths": tuple(config["model"]["widths"])})
            regression = PeakRegression(tuple(float(c) for c in config["regression"]))
            seen = Seen.from_record(config["seen"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = (
                f"the config of the weights {checkpoint.name!r} must be that of a focus network, and "
                f"something is missing or wrong in it ({error}): get the weights again"
            )
            raise CheckpointError(msg) from error
        net = CorrectionNet(model)
        load_into(net, checkpoint)
        return cls(net.eval().requires_grad_(False), regression, seen, checkpoint)

    def amplitude(self, medium: Medium, field: Tensor, bowl: Bowl, box: Box, unit: float) -> Tensor:
        """Correct a march (1, x, y, z) complex in Pa; `unit` is the peak of the bowl in water in Pa."""
        net = self.net.to(field.device)
        return corrected_amplitude(net, medium, field / unit, bowl, box) * unit


def config_record(model: ModelConfig, regression: PeakRegression, seen: Seen) -> dict[str, Any]:
    """What `Learned.load` needs beside the weights, for the checkpoint's JSON."""
    return {
        "model": asdict(model),
        "regression": list(regression.coefficients),
        "seen": {name: list(bounds) for name, bounds in asdict(seen).items()},
    }
