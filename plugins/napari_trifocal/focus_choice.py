"""The engine and the device that are chosen, and those that are not there. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_trifocal.focus_engines import LADDER, SAFE, EngineError, Engines, missing_devices

if TYPE_CHECKING:
    from trifocal.predictor import Progress


class EngineChoice:
    """The best engine that there is, until the user chooses another one.

    Signals:
        changed: Another engine or device, or one turned out not to be there.

    Attributes:
        engine: Name of a rung of the ladder.
        device: "auto", "cpu" or "cuda".
        engines: What is loaded already.
        missing: Engines and devices that are not there, with the reason.
    """

    changed = Signal()

    def __init__(self, device: str = "auto") -> None:
        self.engine = LADDER[0]
        self.device = device
        self.engines = Engines()
        self.missing: dict[str, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Why engines could not be loaded."""
        return tuple(reason for name, reason in self.missing.items() if name in LADDER)

    def choose(self, engine: str, device: str | None = None) -> None:
        """Take an engine, and a device if one is named."""
        self.engine = engine
        self.device = device or self.device
        self.changed.emit()

    def find(self, report: Progress) -> dict[str, str]:
        """Load the engine that is chosen, in a thread; returns the devices that are not there.

        Raises:
            EngineError: If it cannot be loaded.
        """
        engine, missing = self.engine, missing_devices()
        report(0.0, f"loading the engine {engine}")
        self.engines.get(engine, "auto" if self.device in missing else self.device)
        return missing

    def note(self, missing: dict[str, str]) -> str | None:
        """Note devices that are not there; the sentence to say if the chosen one is among them."""
        self.missing |= missing
        reason = missing.get(self.device)
        said = None if reason is None else f"device {self.device}: {reason}; auto is used"
        self.choose(self.engine, None if reason is None else "auto")
        return said

    def give_up(self, error: EngineError) -> bool:
        """Fall back to HAS from an engine that cannot be loaded; False if that is HAS, or none to choose."""
        if error.engine == SAFE or error.engine not in LADDER:
            return False
        self.missing[error.engine] = str(error)
        # The user may have taken another one since.
        self.choose(SAFE if self.engine == error.engine else self.engine)
        return True
