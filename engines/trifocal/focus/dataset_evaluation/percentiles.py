"""The samples at some percentiles of an engine's error, predicted once more to be looked at."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.dataset_evaluation.contenders import make_contender
from trifocal.focus.dataset_evaluation.evaluation import DataSetPlan, home_of, load_scene, open_sets
from trifocal.focus.dataset_evaluation.output import PROVENANCE, ROWS
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.scene import Scene

PERCENTILES = (5.0, 25.0, 75.0, 95.0)
BY = "focal_position_error_mm"


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
            told = about["parameters"]
            plan = DataSetPlan(
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
            with (folder / ROWS).open(newline="", encoding="utf-8") as file:
                rows = tuple({k: _number(k, v) for k, v in row.items()} for row in csv.DictReader(file))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            msg = f"{folder} must be of `trifocal evaluate focus --data`, and is not or is damaged ({error})"
            raise ValueError(msg) from error
        return cls(plan, rows, about["weights"] or {})


@dataclass(frozen=True, eq=False)
class GalleryCase:
    """One sample to be looked at.

    Attributes:
        percentile: Of the engine's error.
        error_mm: That error.
        scene: The sample on both grids.
        found: (x, y, z) predicted amplitude in Pa on the box of the bowl.
        row: All figures of the engine on the sample, by name.
    """

    percentile: float
    error_mm: float
    scene: Scene
    found: NDArray[np.float32]
    row: dict[str, Any]


def at_percentiles(
    rows: Sequence[dict[str, Any]], engine: str, percentiles: Sequence[float] = PERCENTILES, by: str = BY
) -> list[tuple[float, dict[str, Any]]]:
    """The rows whose error is nearest to each percentile of an engine's errors, by magnitude.

    Raises:
        ValueError: If there is no such engine or figure, or a percentile is not between 0 and 100.
    """
    chosen = [row for row in rows if row["engine"] == engine]
    if not chosen:
        known = list(dict.fromkeys(row["engine"] for row in rows))
        msg = f"the engine must be one of the evaluation's, {known}, got {engine!r}"
        raise ValueError(msg)
    if not isinstance(chosen[0].get(by), float):
        known = [key for key, value in chosen[0].items() if isinstance(value, float)]
        msg = f"the error must be one of {known}, got {by!r}"
        raise ValueError(msg)
    sizes = np.abs([row[by] for row in chosen])
    if not np.isfinite(sizes).all():
        msg = f"the error must be known for every sample, and {by} is not"
        raise ValueError(msg)
    found = []
    for percentile in percentiles:
        if not 0 <= percentile <= 100:
            msg = f"percentiles must be 0 to 100, got {percentile:g}"
            raise ValueError(msg)
        index = int(np.abs(sizes - np.percentile(sizes, percentile)).argmin())
        found.append((percentile, chosen[index]))
    return found


def gallery_cases(
    evaluation: SavedEvaluation,
    engine: str,
    percentiles: Sequence[float] = PERCENTILES,
    by: str = BY,
    *,
    progress: Progress = silent,
) -> list[GalleryCase]:
    """Predict the samples at the percentiles again.

    Raises:
        ValueError: If there is no such engine or figure, or its weights are not those of the evaluation.
        FileNotFoundError: If the data set or a case is not where it was.
        Cancelled: If `progress` raises it.
    """
    chosen = at_percentiles(evaluation.rows, engine, percentiles, by)
    plan = evaluation.plan
    source = plan.engines[plan.called.index(engine)]
    contender = make_contender(source, device=plan.device)
    if contender.weights != evaluation.weights.get(engine):
        msg = f"{source} must hold the weights that were evaluated, and holds others: evaluate again"
        raise ValueError(msg)
    sets = open_sets(plan)
    data = sets[home_of(contender, sets)]
    found = []
    for i, (percentile, row) in enumerate(chosen):
        progress(i / len(chosen), f"{percentile:g}th percentile: {row['sample']}")
        scene = load_scene(data, row["sample"], plan, (contender,))
        answer = contender.answer(scene, data)
        found.append(GalleryCase(percentile, abs(row[by]), scene, answer.box, row))
    progress(1.0, "done")
    return found


def _number(key: str, text: str) -> Any:
    return text if key in ("sample", "head", "engine") else float(text)
