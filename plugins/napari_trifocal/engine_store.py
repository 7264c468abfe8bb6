"""Predictors that a widget has loaded: once, in the thread that needs them, and kept. No Qt."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from trifocal.predictor import pick_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEVICES = ("auto", "cpu", "cuda")

Engine = TypeVar("Engine")


class EngineError(Exception):
    """An engine that cannot be loaded."""


class EngineStore(Generic[Engine]):
    """Loads engines and keeps them, so that weights are read once; any thread may ask.

    Args:
        load: Makes an engine from the name of its checkpoint and a device.
        checkpoints: By the engine's name.
        advice: What to do without an engine, from its name; the end of a sentence.
    """

    def __init__(
        self,
        load: Callable[[str, str], Engine],
        checkpoints: Mapping[str, str],
        advice: Callable[[str], str],
    ) -> None:
        self._load = load
        self._checkpoints = checkpoints
        self._advice = advice
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
                    self._loaded[key] = self._load(self._checkpoints[engine], device)
            except Exception as error:  # whatever a missing or damaged file or a full GPU raises
                reason = " ".join(str(error).split()) or type(error).__name__
                msg = f"the engine {engine} cannot be loaded ({reason}){self._advice(engine)}"
                raise EngineError(msg) from error
            return self._loaded[key]
