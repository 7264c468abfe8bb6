"""Which view a film shows and how it was turned, as far as a small network can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch

from trifocal import checkpoint
from trifocal.checkpoint import CheckpointError
from trifocal.xray.views.net import KINDS, TURNS, ViewNet, ViewNetConfig, normalised, square

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

BUNDLED = "xray-views"

_TEMPERATURE = 1.2  # the network is surer than it is right on films unlike the phantoms
_MOST = 8.0  # natural logarithm of the odds that one film can bring


class ViewClassifier:
    """The network with its weights, on the CPU.

    Attributes:
        sha256: Of the checkpoint; "" for a network in training.
    """

    def __init__(self, network: ViewNet, sha256: str = "") -> None:
        self.network = network.eval()
        self.sha256 = sha256

    @classmethod
    def load(cls, path_or_name: Path | str = BUNDLED) -> Self:
        """Read a checkpoint that `views.train` wrote.

        Raises:
            CheckpointError: If it is missing, damaged, or of something else.
        """
        stored = checkpoint.load(path_or_name, "xray")
        try:
            if stored.config["kind"] != "views":
                raise KeyError(stored.config["kind"])
            said = dict(stored.config["network"])
            network = ViewNet(ViewNetConfig(tuple(said["widths"]), float(said["dropout"])))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the config of {stored.name} must describe a view network, got {stored.config} ({error!r})"
            raise CheckpointError(msg) from error
        checkpoint.load_into(network, stored)
        return cls(network, stored.sha256)

    @torch.no_grad()
    def log_odds(self, films: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Logarithms of how likely each way of turning makes a film upright, by kind; the best has 0.

        Args:
            films: Any number of (rows, columns), brighter = more attenuation, any unit; NaN where unknown.

        Returns:
            (n, 8, 2) by `TURNS` and `KINDS`, -8 at the least.
        """
        logits = self.network(normalised(torch.stack([square(film) for film in films])))
        scaled = logits.double() / _TEMPERATURE
        best = scaled.amax((1, 2), keepdim=True)
        found: NDArray[np.float64] = (scaled - best).clamp(min=-_MOST).numpy()
        assert found.shape[1:] == (len(TURNS), len(KINDS))
        return found
