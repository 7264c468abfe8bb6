"""The published recipe and the reproduction's five fine-tunes: one change of the loss each."""

from __future__ import annotations

from dataclasses import dataclass

from trifocal.focus.deeptfus.losses import DeepTFUSLoss


@dataclass(frozen=True)
class Preset:
    """A loss, and how to train with it.

    Attributes:
        loss: Weights and temperatures.
        learning_rate: Highest of the schedule.
        epochs: Passes over the data.
        from_base: Goes on from the weights of a base run (`--init-from`).
    """

    loss: DeepTFUSLoss
    learning_rate: float = 1e-4
    epochs: int = 10
    from_base: bool = True


# The reproduction tells no rate of A, B, C and E, only that D's is three times as high: 1e-4 is ours.
PRESETS = {
    "base": Preset(DeepTFUSLoss(), learning_rate=1e-3, epochs=50, from_base=False),
    "A": Preset(DeepTFUSLoss(focal=1e-5, temperature=0.05)),
    "B": Preset(DeepTFUSLoss(gradient=0.0, focal=5e-5, temperature=0.03)),
    "C": Preset(DeepTFUSLoss(focal=5e-5, temperature=0.03)),
    "D": Preset(DeepTFUSLoss(focal=1.5e-4, temperature=0.02), learning_rate=3e-4),
    "E": Preset(DeepTFUSLoss(focal=5e-5, temperature=0.03, dice=3e-3)),
}
BATCH_SIZE = 4
