"""What `trifocal project` leaves on disk: films, their geometry, a picture, the provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY, io
from trifocal.files import output_folder
from trifocal.io.radiograph_write import AT_ZERO, PER_COUNT
from trifocal.provenance import record, write_record
from trifocal.xray.geometry_file import PixelMeaning, write_geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from trifocal.image import Image
    from trifocal.xray.geometry import Geometry
    from trifocal.xray.view import View

GEOMETRY = "geometry.json"
SUFFIXES = {"dicom": ".dcm", "tiff": ".tif"}


def save_films(
    out: Path | str,
    geometry: Geometry,
    films: Sequence[NDArray[np.float32]],
    *,
    ct: Image,
    form: str = "dicom",
    expected_errors: Sequence[float] | None = None,
    parameters: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> list[str]:
    """Write films of line integrals with their geometry to a folder: all of it, or nothing.

    The files are one for each view, named after it (ap.dcm, lateral.dcm), geometry.json, picture.png and
    provenance.json.

    Args:
        out: The folder; made if it does not exist.
        geometry: Whose views the films are.
        films: (rows, columns) line integrals of each view.
        ct: That was projected.
        form: "dicom" or "tiff".
        expected_errors: Of each film, as a share of its largest line integral.
        parameters: For the provenance record.
        warnings: Sentences that the user was shown.

    Returns:
        The names of the films' files.

    Raises:
        OSError: If the folder cannot be written; nothing is left behind.
    """
    names = [f"{view.name.lower().replace(' ', '-')}{SUFFIXES[form]}" for view in geometry.views]
    errors = expected_errors or [0.0] * len(films)
    with output_folder(out) as folder:
        for name, view, film, error in zip(names, geometry.views, films, errors, strict=True):
            to_center = float((np.asarray(geometry.grid.center_mm) - view.source_mm) @ view.normal)
            io.write_film(
                folder / name,
                film,
                pixel_mm=view.pixel_mm,
                position=view.name,
                source_to_detector_mm=view.source_to_detector_mm,
                source_to_patient_mm=to_center,
                expected_error=error,
            )
        write_geometry(folder / GEOMETRY, geometry, PixelMeaning("line integral", PER_COUNT, AT_ZERO))
        draw_films(geometry.views, films, folder / "picture.png")
        provenance = record(
            "xray/project",
            inputs={"ct": ct},
            parameters={"geometry": geometry.record(), **(parameters or {})},
            warnings=warnings,
            outputs=sorted(folder.iterdir()),
        )
        write_record(folder / "provenance.json", provenance)
    return names


def draw_films(views: Sequence[View], films: Sequence[NDArray[np.float32]], path: Path) -> None:
    """Write a picture of the films side by side, on one scale of line integrals, as PNG."""
    figure = Figure(figsize=(4.6 * len(films) + 0.6, 4.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(films), squeeze=False)[0]
    top = max(float(np.nanmax(film)) for film in films)
    for ax, view, film in zip(axes, views, films, strict=True):
        show_film(ax, view, film, top)
        ax.set_title(view.name)
    figure.colorbar(axes[0].images[0], ax=list(axes), shrink=0.8, label="line integral -ln(I/I0)")
    figure.supxlabel(RESEARCH_USE_ONLY, color="0.4", fontsize=8)
    figure.savefig(path, format="png", dpi=110)


def show_film(ax: Axes, view: View, film: NDArray[np.float32], top: float, **options: Any) -> None:
    """Draw a film bone white, with the sides of the patient at its edges."""
    ax.set_facecolor("#44506a")  # shows where the film has no value
    options = {"cmap": "gray", "vmin": 0.0, "vmax": top, **options}
    ax.imshow(film, aspect=view.pixel_mm[0] / view.pixel_mm[1], **options)
    ax.set_xticks([])
    ax.set_yticks([])
    for text, place in zip((*_sides(view.u_mm), *_sides(view.v_mm)), _PLACES, strict=True):
        ax.text(*place, text, transform=ax.transAxes, color="#ffc83d", ha="center", va="center", fontsize=9)


_PLACES = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))  # left, right, top, bottom


def _sides(step: NDArray[np.float64]) -> tuple[str, str]:
    """Letters of the patient's sides that a step on the detector leads away from, and to."""
    axis = int(np.argmax(np.abs(step)))
    low, high = ("LR", "PA", "IS")[axis]
    return (low, high) if step[axis] > 0 else (high, low)
