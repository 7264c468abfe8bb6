"""What `trifocal predict xray` leaves on disk: the volume and its doubts, the residuals, the figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.files import output_folder
from trifocal.provenance import jsonable, record, write_record
from trifocal.xray.geometry_file import write_geometry
from trifocal.xray.panel import draw_panel, draw_residual

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trifocal.image import Image
    from trifocal.xray.films.inputs import Prepared
    from trifocal.xray.predictor import Reprojection, XrayPrediction

GEOMETRY_USED = "geometry_used.json"
"""Not geometry.json: the folder may be that of the films, and this may hold one view only."""


def save(
    prediction: XrayPrediction,
    prepared: Prepared,
    out: Path | str,
    *,
    summary: Mapping[str, Any],
    truth: Image | None = None,
    weights: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Write a prediction to a folder: all of it, or nothing.

    The files are ct.nii.gz (HU), std.nii.gz (HU; where the engine gives one), null_space.nii.gz (0 to 1),
    residual_NAME.tif (32-bit float: film less re-projection, line integrals) and residual_NAME.png for each
    view, geometry_used.json, summary.json, panel.png and provenance.json; with a truth also truth.nii.gz and
    error.nii.gz (HU, prediction less truth) on the same grid.

    Args:
        prediction: What to write.
        prepared: What it was made from.
        out: The folder; made if it does not exist, other files in it are left alone.
        summary: Of `summarise`.
        truth: The true CT on the prediction's grid.
        weights: Name and sha256, where there are any.
        parameters: For the provenance record.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    with output_folder(out) as folder:
        io.write(prediction.ct, folder / "ct.nii.gz")
        io.write(prediction.null_space, folder / "null_space.nii.gz")
        if has_std(prediction):
            io.write(prediction.std, folder / "std.nii.gz")
        if truth is not None:
            io.write(truth, folder / "truth.nii.gz")
            io.write(error_of(prediction, truth), folder / "error.nii.gz")
        for view in prediction.views:
            _write_residual(view, folder)
        write_geometry(folder / GEOMETRY_USED, prepared.geometry)
        text = json.dumps(jsonable(summary), indent=2, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        draw_panel(prediction, folder / "panel.png", truth=truth, caption=_caption(summary))
        provenance = record(
            f"xray/{prediction.engine}",
            inputs={} if truth is None else {"truth": truth},
            parameters={
                "films": {side: _film_record(r) for side, r in prepared.radiographs.items()},
                "preparation": [film.notes for film in prepared.inputs.films],
                "geometry": prepared.geometry.record(),
                "assumptions": prepared.assumptions,
                "refine": prepared.inputs.refine,
                "samples": prepared.inputs.samples,
                **(parameters or {}),
                "prediction": prediction.notes,
            },
            device=prediction.device,
            weights=weights,
            warnings=summary["warnings"],
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)


def summarise(
    prediction: XrayPrediction,
    prepared: Prepared,
    *,
    metrics: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The figures, residuals and warnings of a prediction as JSON; `metrics` where there is a truth."""
    grid = prepared.inputs.grid
    doubt = prediction.null_space.array
    inside = prediction.ct.array > -500.0
    summary: dict[str, Any] = {
        "notice": RESEARCH_USE_ONLY,
        "engine": prediction.engine,
        "version": __version__,
        "weights": weights,
        "device": prediction.device,
        "seconds": prediction.seconds,
        "grid": grid.record(),
        "energy_kev": prepared.inputs.energy_kev,
        "refine": prepared.inputs.refine,
        "samples": prepared.inputs.samples,
        "views": [
            {
                "name": view.film.view.name,
                "file": radiograph.name,
                "scale": radiograph.scale,
                "relative_error": view.film.relative_error,
                "residual_before": view.residual_before,
                "residual": view.residual,
            }
            for view, radiograph in zip(prediction.views, prepared.radiographs.values(), strict=True)
        ],
        "std_hu": _mean(prediction.std.array, inside) if has_std(prediction) else None,
        "null_space": _mean(doubt, inside),
        "assumptions": prepared.assumptions,
        "warnings": list(dict.fromkeys((*prepared.warnings, *prediction.warnings, *warnings))),
    }
    if metrics is not None:
        summary["metrics"] = metrics
    cleaned: dict[str, Any] = jsonable(summary)
    return cleaned


def has_std(prediction: XrayPrediction) -> bool:
    """Whether the engine says how far its voxels may be off; least squares does not."""
    return bool(np.isfinite(prediction.std.array).all())


def error_of(prediction: XrayPrediction, truth: Image) -> Image:
    """Prediction less truth in HU, on their common grid."""
    difference = prediction.ct.array.astype(np.float32) - truth.array.astype(np.float32)
    return type(truth)(difference, prediction.ct.affine, "HU")


def _mean(values: Any, inside: Any) -> float:
    return float(values[inside].mean()) if inside.any() else float(values.mean())


def _write_residual(view: Reprojection, folder: Path) -> None:
    name = f"residual_{view.film.view.name.lower().replace(' ', '-')}"
    difference = (view.film.line_integrals - view.after).astype(np.float32)
    Picture.fromarray(difference).save(folder / f"{name}.tif", "TIFF")
    draw_residual(view, folder / f"{name}.png")


def _film_record(radiograph: Any) -> dict[str, Any]:
    left_out = ("pixels",)
    return {name: value for name, value in vars(radiograph).items() if name not in left_out}


def _caption(summary: Mapping[str, Any]) -> str:
    residuals = ", ".join(f"{v['name']} {v['residual']:.1%}" for v in summary["views"])
    spacing = " x ".join(f"{s:.3g}" for s in summary["grid"]["spacing_mm"])
    text = f"{summary['engine']} · {spacing} mm · residual {residuals}"
    metrics = summary.get("metrics")
    if metrics:
        low, high = metrics["window_hu"]
        text += (
            f"\nPSNR {metrics['psnr_db']:.2f} dB (range {high - low:g}), MAE {metrics['mae_hu']:.0f} HU on"
            f" [{low:g}, {high:g}] HU, voxels of {spacing} mm"
        )
    return text
