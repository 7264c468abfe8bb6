"""Which patients are learned from, which are validated on and which are kept for the end; written down."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.xray.datasets.folders import Patient

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class PatientSplit:
    """Names of patients; each is in one part only, with all of its scans.

    Attributes:
        train: Learned from.
        validation: Looked at during training.
        test: Kept for the end.
        seed: Of the draw.

    Raises:
        ValueError: If a patient is in two parts or twice in one.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        names = (*self.train, *self.validation, *self.test)
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            msg = f"a patient must be in one part of a split only, got {', '.join(twice[:5])} in several"
            raise ValueError(msg)

    def of(self, patients: Sequence[Patient], part: Part) -> tuple[Patient, ...]:
        """The patients of one part, in the order of the list.

        Raises:
            ValueError: If a patient is in no part: the split was made for other patients.
        """
        known = {*self.train, *self.validation, *self.test}
        if new := [patient.id for patient in patients if patient.id not in known]:
            msg = f"{len(new)} patients are in no part of the split ({', '.join(new[:5])}): make a new one"
            raise ValueError(msg)
        chosen = set(getattr(self, part))
        return tuple(patient for patient in patients if patient.id in chosen)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        with atomic_file(path) as part:
            part.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> PatientSplit:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is no split.
        """
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            parts = [tuple(map(str, record[name])) for name in PARTS]
            seed = int(record.get("seed", 0))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            msg = f"{path.name} must be JSON with train, validation and test, lists of patients ({error})"
            raise ValueError(msg) from error
        return cls(parts[0], parts[1], parts[2], seed)


def split(
    patients: Sequence[Patient], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> PatientSplit:
    """Draw the parts; the same patients and seed give the same parts, in whatever order they come.

    Args:
        patients: With all their scans.
        fractions: Of train, validation, test; a part with a fraction gets one patient at least.
        seed: Of the draw.

    Raises:
        ValueError: If the fractions are no shares of one, or there are fewer patients than parts.
    """
    shares = np.asarray(fractions, float)
    if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        msg = f"the fractions must be three shares that add up to 1, got {tuple(fractions)}"
        raise ValueError(msg)
    if len(patients) < np.count_nonzero(shares):
        msg = f"a split into {np.count_nonzero(shares)} parts needs as many patients, got {len(patients)}"
        raise ValueError(msg)
    names = sorted(
        (patient.id for patient in patients),
        key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest(),
    )
    counts = np.maximum(np.floor(shares * len(names) + 1e-9).astype(int), shares > 0)
    largest = int(shares.argmax())
    counts[largest] += len(names) - counts.sum()
    ends = np.cumsum(counts)
    parts = [tuple(sorted(names[end - count : end])) for end, count in zip(ends, counts, strict=True)]
    return PatientSplit(parts[0], parts[1], parts[2], seed)
