"""An evaluation as it lies on the disk: read back to be looked at, or to go on from."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trifocal.focus.dataset_evaluation.evaluation import BEYOND, DataSetPlan, Row
from trifocal.focus.dataset_evaluation.output import PROVENANCE, ROWS
from trifocal.focus.metrics import FieldErrors
from trifocal.focus.published_metrics import PublishedMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS = tuple(field.name for field in fields(FieldErrors))
PUBLISHED = tuple(field.name for field in fields(PublishedMetrics))


@dataclass(frozen=True, eq=False)
class SavedEvaluation:
    """An evaluation as it was written.

    Attributes:
        plan: What was evaluated.
        rows: Of errors.csv, numbers as numbers.
        weights: Engine -> what the record says of its weights.
    """

    plan: DataSetPlan
    rows: tuple[dict[str, Any], ...]
    weights: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> SavedEvaluation:
        """Read a folder of `evaluate focus --data`.

        Raises:
            FileNotFoundError: If it is none.
            ValueError: If it is damaged, or of another kind of evaluation.
        """
        for name in (PROVENANCE, ROWS):
            if not (folder / name).is_file():
                msg = f"{folder} must hold {name} of `trifocal evaluate focus --data`: there is none"
                raise FileNotFoundError(msg)
        try:
            about = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            plan = _plan(about["parameters"])
            with (folder / ROWS).open(newline="", encoding="utf-8") as file:
                rows = tuple({k: _number(k, v) for k, v in row.items()} for row in csv.DictReader(file))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            msg = f"{folder} must be of `trifocal evaluate focus --data`, and is not or is damaged ({error})"
            raise ValueError(msg) from error
        return cls(plan, rows, about["weights"] or {})

    def known(
        self, plan: DataSetPlan, weights: Mapping[str, dict[str, str] | None]
    ) -> dict[str, dict[str, Row]]:
        """What need not be measured again: engine -> sample -> row.

        An engine is the same if it has the same name, source and weights; nothing is known of other data,
        other cases or another spacing.

        Args:
            plan: What is to be evaluated now.
            weights: Of its engines.
        """
        if _data_of(plan) != _data_of(self.plan):
            return {}
        sources = dict(zip(plan.called, plan.engines, strict=True))
        found: dict[str, dict[str, Row]] = {}
        for called, source in zip(self.plan.called, self.plan.engines, strict=True):
            if sources.get(called) == source and weights.get(called) == self.weights.get(called):
                found[called] = {row["sample"]: _row(row) for row in self.rows if row["engine"] == called}
        return found


def _plan(told: dict[str, Any]) -> DataSetPlan:
    return DataSetPlan(
        tuple(Path(p) for p in told["data"]),
        tuple(told["engines"]),
        tuple(told["names"]),
        told["split"],
        tuple(Path(p) for p in told["cases"]),
        told["spacing_mm"],
        told["most"],
        told["device"],
        told["against"],
    )


def _data_of(plan: DataSetPlan) -> tuple[object, ...]:
    return [p.resolve() for p in plan.data], [p.resolve() for p in plan.cases], plan.spacing_mm


def _row(row: dict[str, Any]) -> Row:
    names = [*PUBLISHED, *(f"{BEYOND}{key}" for key in PUBLISHED)]
    return Row(
        row["sample"],
        row["head"],
        row["engine"],
        {key: row[key] for key in names},
        {key: row[key] for key in OURS},
        (row["peak_pa"], row["true_peak_pa"]),
        row["seconds"],
    )


def _number(key: str, text: str) -> Any:
    return text if key in ("sample", "head", "engine") else float(text)
