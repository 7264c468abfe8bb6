"""The five regimes of pseudo-labels under which the teachers are trained, as data.

The card names them, R1, R2, R3, "Selective/FUGC-capped" and "r3capped/balanced", and says that the five
teachers start from the same pretrained backbone, that R3's is the best alone, and that the student sees
32,722 labelled and pseudo-labelled samples. It does not say what a regime is. What follows is our reading:

- R is a round. A first model learns from the labels alone (it is no member of the ensemble) and labels the
  unlabelled images for the first round; the teacher of one round labels for the next, the third round's
  labels being the median of the first two.
- "Selective" keeps a label only where the labellers agree within some pixels, "FUGC-capped" few of the
cervix. - "r3capped" limits the labels of every task to as many as it has true ones; "balanced" shows every
task equally often.

All numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trifocal.keypoints.sonichu.pseudo_label import PseudoLabel

LABELS_ONLY = "labels"
"""Name of the model that knows no pseudo-labels."""


@dataclass(frozen=True)
class Regime:
    """Which pseudo-labels a teacher learns from.

    Attributes:
        name: Of the teacher.
        labellers: Models whose median labels the images; none for the true labels alone.
        share: Keep this fraction of each task's labels, those on which the labellers agree best.
        agreement_px: Of these, keep those on which they agree within so many pixels of the 256 x 256 square.
        cap: Of these, keep at most so many for each true label of the task.
        caps: The same for single tasks.
        balanced: Whether an epoch shows every task as often as the one with the most images.
    """

    name: str
    labellers: tuple[str, ...]
    share: float = 1.0
    agreement_px: float | None = None
    cap: float | None = None
    caps: Mapping[str, float] = field(default_factory=dict)
    balanced: bool = False

    def cap_of(self, task_id: str) -> float | None:
        """Most pseudo-labels for each true label of a task; None for no limit."""
        return self.caps.get(task_id, self.cap)


REGIMES: dict[str, Regime] = {
    regime.name: regime
    for regime in (
        Regime("R1", (LABELS_ONLY,)),
        Regime("R2", ("R1",), share=0.9),
        Regime("R3", ("R1", "R2"), share=0.8),
        Regime("selective", ("R1", "R2"), share=0.8, agreement_px=8.0, caps={"FUGC": 0.25}),
        Regime("r3capped", ("R1", "R2"), share=0.8, cap=1.0, balanced=True),
    )
}
"""In the order in which they are trained: a labeller comes before those whom it labels for."""


def select(
    labels: Sequence[PseudoLabel], true_labels: Mapping[str, int], regime: Regime
) -> list[PseudoLabel]:
    """The pseudo-labels that a regime keeps, best agreed ones first within each task.

    Args:
        labels: Of its labellers.
        true_labels: How many images of each task have a true label.
        regime: Whose rules.
    """
    kept = []
    for task_id in dict.fromkeys(label.example.task_id for label in labels):
        own = [label for label in labels if label.example.task_id == task_id]
        own.sort(key=lambda label: (label.spread_px, str(label.example.path)))
        own = own[: round(regime.share * len(own))]
        if regime.agreement_px is not None:
            own = [label for label in own if label.spread_px <= regime.agreement_px]
        cap = regime.cap_of(task_id)
        if cap is not None:
            own = own[: round(cap * true_labels.get(task_id, 0))]
        kept += own
    return kept
