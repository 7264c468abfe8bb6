"""The engines of the X-ray widget: loaded once, in the thread that needs them, and kept. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from trifocal.predictor import Predictor, pick_device

if TYPE_CHECKING:
    from trifocal.xray.predictor import XrayInput, XrayPrediction

    Engine = Predictor[XrayInput, XrayPrediction]

ENGINES = {"network": "xray", "least squares": "least-squares"}
"""Names of the engines, best first, and what each is loaded by."""
DEVICES = ("auto", "cpu", "cuda")

Load = Callable[[str, str], "Engine"]


class EngineError(Exception):
    """An engine that cannot be loaded."""


def load_engine(checkpoint: str, device: str) -> Engine:
    """Load the weights of an engine."""
    from trifocal.xray.predictor import XrayPredictor

    engine: Engine = XrayPredictor.load(checkpoint, device=device)
    return engine


class Engines:
    """Loads engines and keeps them, so that weights are read once; any thread may ask.

    Args:
        load: Makes an engine from the name of its checkpoint and a device.
    """

    def __init__(self, load: Load = load_engine) -> None:
        self._load = load
        self._loaded: dict[tuple[str, str], Engine] = {}
        self._lock = Lock()

    def get(self, engine: str, device: str) -> Engine:
        """The engine of that name on a device.

        Raises:
            EngineError: If it cannot be loaded; the sentence says why and what to do instead.
        """
        with self._lock:
            try:
                key = engine, str(pick_device(device))
                if key not in self._loaded:
                    self._loaded[key] = self._load(ENGINES[engine], device)
            except Exception as error:  # whatever a missing or damaged file or a full GPU raises
                reason = " ".join(str(error).split()) or type(error).__name__
                msg = f"the engine {engine} cannot be loaded ({reason})"
                instead = next((name for name in reversed(ENGINES) if name != engine), "")
                raise EngineError(f"{msg}: {instead} may do") from error
            return self._loaded[key]
