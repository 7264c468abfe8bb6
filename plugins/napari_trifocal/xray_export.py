"""A reconstruction as files, as the command line writes them, in a thread of its own. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trifocal.predictor import Progress, silent
from trifocal.xray.comparison import against_truth, on_grid
from trifocal.xray.films.output import save_films
from trifocal.xray.output import save as save_prediction
from trifocal.xray.output import summarise

if TYPE_CHECKING:
    from pathlib import Path

    from napari_trifocal.xray_compare import Comparison, Truth
    from napari_trifocal.xray_jobs import Answer


def save(
    answer: Answer,
    truth: Truth | None,
    comparison: Comparison | None,
    folder: Path,
    progress: Progress = silent,
) -> Path:
    """Write volumes, residuals, geometry, figures, a picture and the provenance to a folder.

    X-rays that were simulated here are in no file yet: they go into films/, as `trifocal project` does it.

    Args:
        answer: What to write.
        truth: The true CT, if one is chosen.
        comparison: Of the two, if it has been made.
        folder: Made if it does not exist.
        progress: Gets the progress.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
        ValueError: If the truth lies elsewhere.
    """
    prediction, prepared = answer.prediction, answer.prepared
    true, metrics = None, None
    if comparison is not None:
        true, metrics = comparison.on_grid, comparison.metrics
    elif truth is not None:
        progress(0.2, f"comparing with {truth.name}")
        true = on_grid(truth.ct, prepared.inputs.grid)
        metrics = against_truth(prediction, true)
    progress(0.5, f"writing to {folder.name}")
    weights = {"sha256": prediction.weights_sha256} if prediction.weights_sha256 else None
    summary = summarise(prediction, prepared, metrics=metrics, weights=weights, warnings=answer.doubts)
    parameters = {
        "fixes": {side: slot.fix.record() for side, slot in answer.order.arrangement.slots.items()},
        "findings_left": answer.order.checked.left if answer.order.checked else (),
        "engine": answer.order.options.engine,
    }
    save_prediction(
        prediction, prepared, folder, summary=summary, truth=true, weights=weights, parameters=parameters
    )
    simulated = all(slot.simulated for slot in answer.order.arrangement.slots.values())
    if simulated and truth is not None:
        films = [radiograph.pixels for radiograph in prepared.radiographs.values()]
        if all(film.shape == view.shape for film, view in zip(films, prepared.geometry.views, strict=True)):
            save_films(folder / "films", prepared.geometry, films, ct=truth.ct)
    return folder
