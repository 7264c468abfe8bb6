"""The engines of the keypoints widget: loaded once, in the thread that needs them, and kept. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_trifocal.engine_store import EngineStore

if TYPE_CHECKING:
    from trifocal.keypoints.predictor import KeypointsInput, KeypointsPrediction
    from trifocal.predictor import Predictor

    Engine = Predictor[KeypointsInput, KeypointsPrediction]
    Engines = EngineStore[Engine]

ENGINES = {"network": "keypoints", "classical": "classical"}
"""Names of the engines, best first, and what each is loaded by."""

Load = Callable[[str, str], "Engine"]


def load_engine(checkpoint: str, device: str) -> Engine:
    """Load the weights of an engine."""
    # Imported late: points can be placed by hand before torch and the weights are there, or without them.
    from trifocal.keypoints.predictor import KeypointsPredictor

    engine: Engine = KeypointsPredictor.load(checkpoint, device=device)
    return engine


def engines(load: Load = load_engine) -> Engines:
    """An empty store of this widget's engines."""
    return EngineStore(load, ENGINES, lambda engine: "; points can be placed by hand")
