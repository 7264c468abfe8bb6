"""What is left on disk after a prediction: the field, its figures, its pose, a picture, its provenance."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.files import output_folder
from trifocal.focus.predictor import sample_medium
from trifocal.focus.scene import draw_scene
from trifocal.image import Image
from trifocal.predictor import pick_device
from trifocal.provenance import jsonable, record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.focus.predictor import FocusPrediction


def save(
    prediction: FocusPrediction,
    out: Path | str,
    *,
    truth: FocusPrediction | None = None,
    medium: bool = False,
    warnings: tuple[str, ...] = (),
) -> None:
    """Write a prediction to a folder: all of it, or nothing.

    The files are pressure.nii.gz (Pa), summary.json, pose.json, figures.csv, scene.png and provenance.json;
    with a truth also solver.nii.gz (Pa), with `medium` sound_speed.nii.gz (m/s), density.nii.gz (kg/m3) and
    attenuation.nii.gz (dB/cm at the bowl's frequency).

    Args:
        prediction: What to write.
        out: The folder; made if it does not exist, other files in it are left alone.
        truth: The solver's field on the same box, compared in summary.json under "verify".
        medium: Also write the acoustic medium.
        warnings: What there is to warn of beside the prediction's own warnings.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    summary = summarise(prediction, truth, warnings)
    with output_folder(out) as folder:
        io.write(prediction.pressure, folder / "pressure.nii.gz")
        if truth is not None:
            io.write(truth.pressure, folder / "solver.nii.gz")
        if medium:
            for name, image in _medium(prediction).items():
                io.write(image, folder / f"{name}.nii.gz")
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        prediction.inputs.pose.to_json(folder / "pose.json")
        _write_csv(summary, folder / "figures.csv")
        draw_scene(prediction, folder / "scene.png")
        provenance = record(
            f"focus/{prediction.engine}",
            inputs={"ct": prediction.inputs.head.ct},
            parameters=prediction.record(),
            device=prediction.device,
            weights=prediction.weights,
            warnings=summary["warnings"],
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def summarise(
    prediction: FocusPrediction, truth: FocusPrediction | None = None, warnings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The figures, times and warnings of a prediction as JSON; against a truth under "verify"."""
    summary: dict[str, Any] = {
        "notice": RESEARCH_USE_ONLY,
        "engine": prediction.engine,
        "version": __version__,
        "weights": prediction.weights,
        "device": prediction.device,
        **prediction.figures.record(),
        "seconds": prediction.seconds,
        "warnings": list(dict.fromkeys((*warnings, *prediction.warnings))),
    }
    if truth is not None:
        errors = prediction.errors_against(truth)
        summary["verify"] = {**errors.record(), "solver_seconds": truth.seconds}
    cleaned: dict[str, Any] = jsonable(summary)
    return cleaned


def _medium(prediction: FocusPrediction) -> dict[str, Image]:
    medium = sample_medium(prediction.inputs, pick_device("cpu"))
    units = {"sound_speed": "m/s", "density": "kg/m3", "attenuation": "dB/cm"}
    arrays = zip(units.items(), medium.arrays(), strict=True)
    return {name: Image(array, prediction.pressure.affine, unit) for (name, unit), array in arrays}


def _write_csv(summary: dict[str, Any], path: Path) -> None:
    """One row of figures; a vector becomes a column for each axis."""
    row: dict[str, Any] = {}
    for name, value in summary.items():
        if name in ("notice", "weights", "warnings", "verify"):
            continue
        if name == "fwhm_mm":
            row["length_6db_mm"], row["width_6db_mm"] = value
        elif isinstance(value, list):
            row |= {f"{name.removesuffix('_mm')}_{axis}_mm": v for axis, v in zip("xyz", value, strict=True)}
        else:
            row[name] = value
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
