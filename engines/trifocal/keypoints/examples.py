"""Images with known points: what training and evaluation read, wherever they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trifocal.keypoints.tasks import Task


@dataclass(frozen=True, eq=False)
class Example:
    """One labelled image.

    Attributes:
        path: Of the image.
        task_id: One of the nine.
        points: (K, 2) x, y in pixels of the image as read, canonical order; NaN for a missing point.
        patient: Whom it is from; images of one patient never lie on both sides of a split.
        source: "synthetic", "hc18", "fu_biometry", "ucl", "coco" or "pseudo" (a teacher's answer).
        mm_per_px: Size of a (square) pixel; None if not known.

    Raises:
        ValueError: If the task is unknown or the points are not its points.
    """

    path: Path
    task_id: str
    points: NDArray[np.float64]
    patient: str
    source: str
    mm_per_px: float | None = None

    def __post_init__(self) -> None:
        if self.task_id not in TASKS:
            msg = f"the task of {self.path.name} must be one of {', '.join(TASKS)}, got {self.task_id!r}"
            raise ValueError(msg)
        object.__setattr__(self, "points", self.task.canonical(self.points))

    @property
    def task(self) -> Task:
        """The task itself."""
        return TASKS[self.task_id]


def split_by_patient(
    examples: Sequence[Example], fractions: Sequence[float], seed: int = 0
) -> tuple[list[Example], ...]:
    """Divide examples so that all images of a patient fall into one part.

    A patient's part depends on the patient and the seed alone: adding or removing others moves nobody.

    Args:
        examples: What to divide.
        fractions: Of the patients, one a part; sum to 1.
        seed: Another seed, another division.

    Raises:
        ValueError: If the fractions do not sum to 1.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        msg = f"the fractions of a split must be 0 or more and sum to 1, got {list(fractions)}"
        raise ValueError(msg)
    parts: tuple[list[Example], ...] = tuple([] for _ in fractions)
    for example in examples:
        text = f"{seed}/{example.source}/{example.patient}".encode()
        place = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
        last = len(fractions) - 1
        part = next((i for i in range(last) if place < sum(fractions[: i + 1])), last)
        parts[part].append(example)
    return parts


def synthetic_seeds(examples: Sequence[Example]) -> list[int]:
    """Seeds of the synthetic images among them, ascending: their patients are called synthetic-SEED."""
    found = {e.patient.removeprefix("synthetic-") for e in examples if e.source == "synthetic"}
    return sorted(int(seed) for seed in found if seed.isdecimal())


SYNTHETIC = "synthetic"
"""Source of phantoms."""

SPLITS = {SYNTHETIC: (0.94, 0.06, 0.0), "pseudo": (1.0, 0.0, 0.0)}
"""Fractions to learn from, to validate with and to test on, by source: phantoms to test on are made anew."""

REAL_SPLIT = (0.75, 0.10, 0.15)
"""The same for every source of real images."""


def standard_split(examples: Sequence[Example]) -> tuple[list[Example], list[Example], list[Example]]:
    """Divide examples as the bundled weights were: those to learn from, to validate with, to test on.

    Images of the third part are never seen in training; `trifocal evaluate keypoints --part test` finds them
    again by the hash of the patient.
    """
    parts: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    for source in sorted({e.source for e in examples}):
        own = [e for e in examples if e.source == source]
        for part, more in zip(parts, split_by_patient(own, SPLITS.get(source, REAL_SPLIT)), strict=True):
            part += more
    return parts
