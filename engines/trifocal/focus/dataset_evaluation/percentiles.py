"""The samples at some percentiles of an engine's error, predicted once more to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.dataset_evaluation.contenders import make_contender
from trifocal.focus.dataset_evaluation.evaluation import home_of, load_scene, open_sets
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.saved import SavedEvaluation
    from trifocal.focus.dataset_evaluation.scene import Scene

PERCENTILES = (5.0, 25.0, 75.0, 95.0)
BY = "focal_position_error_mm"


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
