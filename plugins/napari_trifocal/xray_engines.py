"""The engines of the X-ray widget: loaded once, in the thread that needs them, and kept. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_trifocal.engine_store import EngineStore

if TYPE_CHECKING:
    from trifocal.predictor import Predictor
    from trifocal.xray.predictor import XrayInput, XrayPrediction

    Engine = Predictor[XrayInput, XrayPrediction]
    Engines = EngineStore[Engine]

ENGINES = {"network": "xray", "least squares": "least-squares"}
"""Names of the engines, best first, and what each is loaded by."""

Load = Callable[[str, str], "Engine"]


def load_engine(checkpoint: str, device: str) -> Engine:
    """Load the weights of an engine."""
    from trifocal.xray.predictor import XrayPredictor

    engine: Engine = XrayPredictor.load(checkpoint, device=device)
    return engine


def engines(load: Load = load_engine) -> Engines:
    """An empty store of this widget's engines."""
    return EngineStore(load, ENGINES, _instead)


def _instead(engine: str) -> str:
    other = next((name for name in reversed(ENGINES) if name != engine), "")
    return f": {other} may do"
