"""One picture of a prediction: films, re-projections, residuals, and three planes of the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY
from trifocal.xray.films.output import show_film

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from trifocal.image import Image
    from trifocal.xray.predictor import Reprojection, XrayPrediction

PLANES = (
    ("axial", 2, ("R", "L", "A", "P")),
    ("coronal", 1, ("R", "L", "S", "I")),
    ("sagittal", 0, ("A", "P", "S", "I")),
)
"""(name, axis across, letters at left, right, top, bottom): as a radiologist sees them."""

HU_WINDOW = (-1000.0, 1000.0)
_ERROR_HU = 500.0
_LETTER = "#ffc83d"


def draw_panel(
    prediction: XrayPrediction, path: Path, *, truth: Image | None = None, caption: str = ""
) -> None:
    """Write the picture as PNG.

    Rows: one for each film (film, re-projection, residual), then the CT, its standard deviation and its null
    space in an axial, a coronal and a sagittal plane through the middle; with a truth also it and the error.
    """
    volumes = _volumes(prediction, truth)
    rows = len(prediction.views) + len(volumes)
    figure = Figure(figsize=(9.6, 2.9 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 3, squeeze=False)
    for line, view in zip(axes, prediction.views, strict=False):
        _draw_view(figure, line, view)
    for line, (title, image, options, unit) in zip(axes[len(prediction.views) :], volumes, strict=True):
        _draw_planes(line, title, image, options)
        figure.colorbar(line[-1].images[0], ax=list(line), shrink=0.85, label=unit)
    figure.suptitle(caption, fontsize=9)
    figure.supxlabel(RESEARCH_USE_ONLY, color="0.4", fontsize=8)
    figure.savefig(path, format="png", dpi=90)


def draw_residual(view: Reprojection, path: Path) -> None:
    """Write film less re-projection as PNG."""
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    _show_residual(ax, view)
    ax.set_title(f"{view.film.view.name}: film less re-projection, {view.residual:.1%}", fontsize=10)
    figure.colorbar(ax.images[0], ax=ax, shrink=0.85, label="line integral")
    figure.savefig(path, format="png", dpi=90)


def _volumes(prediction: XrayPrediction, truth: Image | None) -> list[tuple[str, Image, dict[str, Any], str]]:
    low, high = HU_WINDOW
    hu = {"cmap": "gray", "vmin": low, "vmax": high}
    out: list[tuple[str, Image, dict[str, Any], str]] = [("CT", prediction.ct, hu, "HU")]
    if truth is not None:
        error = type(truth)(prediction.ct.array - truth.array, prediction.ct.affine, "HU")
        off = {"cmap": "RdBu_r", "vmin": -_ERROR_HU, "vmax": _ERROR_HU}
        out += [("truth", truth, hu, "HU"), ("CT less truth", error, off, "HU")]
    if np.isfinite(prediction.std.array).all():
        top = float(max(np.percentile(prediction.std.array, 99.5), 1.0))
        out.append(("std", prediction.std, {"cmap": "magma", "vmin": 0.0, "vmax": top}, "HU"))
    share = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    return [*out, ("null space", prediction.null_space, share, "share")]


def _draw_view(figure: Figure, line: Any, view: Reprojection) -> None:
    name, film = view.film.view.name, view.film.line_integrals
    top = float(np.nanmax(film))
    show_film(line[0], view.film.view, film, top)
    show_film(line[1], view.film.view, view.after, top)
    _show_residual(line[2], view)
    line[0].set_title(f"{name} film", fontsize=9)
    line[1].set_title(f"{name} of the volume", fontsize=9)
    line[2].set_title(f"film less re-projection, {view.residual:.1%}", fontsize=9)
    figure.colorbar(line[2].images[0], ax=list(line), shrink=0.85, label="line integral")


def _show_residual(ax: Axes, view: Reprojection) -> None:
    film = view.film.line_integrals
    limit = max(0.1 * float(np.nanmax(film)), 1e-3)
    show_film(ax, view.film.view, film - view.after, limit, cmap="RdBu_r", vmin=-limit)
    for text in ax.texts:
        text.set_color("0.2")


def _draw_planes(line: Any, title: str, image: Image, options: dict[str, Any]) -> None:
    for ax, (name, axis, letters) in zip(line, PLANES, strict=True):
        plane, ratio = plane_of(image, axis)
        ax.imshow(plane, aspect=ratio, interpolation="nearest", **options)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(f"{title}, {name}", fontsize=9)
        places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))
        for text, place in zip(letters, places, strict=True):
            ax.text(*place, text, transform=ax.transAxes, color=_LETTER, ha="center", va="center", fontsize=8)


def plane_of(image: Image, axis: int) -> tuple[NDArray[Any], float]:
    """(rows, columns) of the middle plane of an upright volume as it is shown, and its pixels' aspect.

    The axial plane from below with the front up, the coronal one from the front, the sagittal one with the
    patient facing left.
    """
    plane = np.take(image.array, image.shape[axis] // 2, axis=axis)  # (first, second) of the other axes
    across, down = (a for a in range(3) if a != axis)
    return plane[::-1, ::-1].T, float(image.spacing_mm[down] / image.spacing_mm[across])
