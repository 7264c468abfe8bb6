"""The engines of the focus widget: which can be chosen, loaded once and kept. No Qt."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import torch

from trifocal.focus import predictor
from trifocal.predictor import pick_device

if TYPE_CHECKING:
    from trifocal.focus.predictor import FocusPredictor

LADDER = tuple(name for name in ("network", "has", "free-field") if name in predictor.ENGINES)
"""The engines to choose from, best first; the solver verifies them."""
SAFE = "has"  # needs no weights, and has seen nothing that it could leave
DEVICES = ("auto", "cpu", "cuda")


class EngineError(Exception):
    """An engine that cannot be loaded.

    Attributes:
        engine: Its name.
    """

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(f"the engine {engine} cannot be loaded: {reason}")
        self.engine = engine


class Engines:
    """Loads predictors and keeps them, so that weights are read once; any thread may ask."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], FocusPredictor] = {}
        self._lock = Lock()

    def get(self, engine: str, device: str) -> FocusPredictor:
        """The predictor of an engine on a device.

        Raises:
            EngineError: If the engine cannot be loaded.
            ValueError: If there is no such device.
        """
        key = engine, str(pick_device(device))
        with self._lock:
            if key not in self._loaded:
                try:
                    self._loaded[key] = predictor.FocusPredictor.load(engine, device=device)
                except Exception as error:  # whatever a damaged file or a full GPU raises
                    reason = " ".join(str(error).split()) or type(error).__name__
                    raise EngineError(engine, reason) from error
            return self._loaded[key]


def rung_below(engine: str) -> str | None:
    """The next engine down the ladder."""
    below = LADDER[LADDER.index(engine) + 1 :] if engine in LADDER else ()
    return below[0] if below else None


def missing_devices() -> dict[str, str]:
    """The devices that are not there, with the reason."""
    return {} if torch.cuda.is_available() else {"cuda": "torch finds no CUDA GPU"}
