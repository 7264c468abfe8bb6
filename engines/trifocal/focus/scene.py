"""One picture of a prediction: three slices through the focus with CT, field, bowl and target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

    from trifocal.focus.pose import Pose
    from trifocal.focus.predictor import FocusPrediction
    from trifocal.focus.transducer import Bowl

# (title, world axis to the right, world axis upward, labels at left, right, bottom, top)
PLANES = (
    ("axial", 0, 1, "LRPA"),
    ("coronal", 0, 2, "LRIS"),
    ("sagittal", 1, 2, "PAIS"),
)
STEP_MM = 0.75
CONTOURS = (0.25, 0.5, 0.708)  # of the peak: -12, -6 and -3 dB


def draw_scene(prediction: FocusPrediction, path: Path | str) -> None:
    """Write the picture as PNG.

    Each slice is a world plane through the focus, seen with the patient's left on the left (neurological
    convention); the bowl and its beam are drawn as their projection onto the plane.
    """
    figure = Figure(figsize=(15, 6.2), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    size = [np.ptp(_extent(prediction), axis=0)[right] for _, right, _, _ in PLANES]
    axes = figure.subplots(1, 3, width_ratios=size)  # the same scale in each
    for ax, (title, right, up, labels) in zip(axes, PLANES, strict=True):
        _slice(ax, prediction, right, up)
        ax.set_title(title, color="white", fontsize=12)
        for text, x, y in zip(labels, (0.02, 0.98, 0.5, 0.5), (0.5, 0.5, 0.02, 0.98), strict=True):
            ax.text(x, y, text, color="white", transform=ax.transAxes, ha="center", va="center", fontsize=11)
    figure.suptitle(_caption(prediction), color="white", fontsize=11)
    figure.text(0.995, 0.005, RESEARCH_USE_ONLY, color="0.6", ha="right", va="bottom", fontsize=9)
    figure.savefig(path, format="png")


def _caption(prediction: FocusPrediction) -> str:
    found, inputs = prediction.figures, prediction.inputs
    focus = ", ".join(f"{c:.1f}" for c in found.focus_mm)
    text = (
        f"{prediction.engine} · {inputs.bowl.frequency_hz / 1e3:g} kHz · focus ({focus}) mm · "
        f"peak {found.peak_pa / 1e3:.0f} kPa · transmission {found.transmission:.2f} · "
        f"-6 dB {found.fwhm_mm[0]:.1f} x {found.fwhm_mm[1]:.1f} mm"
    )
    if found.distance_to_target_mm is not None:
        text += f" · {found.distance_to_target_mm:.1f} mm from the target"
    return text


def _slice(ax: Axes, prediction: FocusPrediction, right: int, up: int) -> None:
    inputs = prediction.inputs
    focus = np.array(prediction.figures.focus_mm)
    x, y, points = _plane(prediction, right, up)
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    hu = inputs.head.ct.sample(points, fill=-1000)
    ax.imshow(hu.T, cmap="gray", vmin=-200, vmax=1800, extent=extent, origin="lower")
    field = prediction.pressure.sample(points) / prediction.figures.peak_pa
    shown = np.ma.masked_less(field, 0.1)
    ax.imshow(
        shown.T, cmap="cool", vmin=0, vmax=1, extent=extent, origin="lower", alpha=np.clip(field.T, 0, 0.75)
    )
    ax.contour(x, y, field.T, CONTOURS, colors=["#3060ff", "#30c0ff", "white"], linewidths=0.9)
    draw_bowl(ax, inputs.bowl, inputs.pose, np.eye(3)[[right, up]])
    ax.plot(focus[right], focus[up], "+", color="white", markersize=9)
    if inputs.target_mm is not None:
        ax.plot(inputs.target_mm[right], inputs.target_mm[up], "x", color="#50ff50", markersize=8)
    draw_scale_bar(ax, extent)
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    ax.set_axis_off()


def draw_bowl(ax: Axes, bowl: Bowl, pose: Pose, axes: NDArray[np.float64]) -> list[Line2D]:
    """Draw a bowl with its beam and geometric focus, as seen along the normal of a plane.

    Args:
        ax: Where to draw.
        bowl: The bowl.
        pose: Bowl frame -> world.
        axes: (2, 3) unit vectors of the plane, to the right and upward.

    Returns:
        What was drawn.
    """
    vertices, faces = bowl.mesh(6, 48)
    x, y = axes @ pose.to_world(vertices).T
    beam = axes @ pose.to_world(np.diag([0.0, 0.0, bowl.radius_of_curvature_mm])[1:]).T
    rim = [*range(-48, 0), -48]
    return [
        *ax.triplot(x, y, faces, color="#e03030", linewidth=0.3),
        *ax.plot(x[rim], y[rim], color="#ff4040", linewidth=1.2),
        *ax.plot(*beam, "--", color="#ff8080", linewidth=0.9),
        *ax.plot(*beam[:, 1:], "o", color="#ff8080", markersize=5, fillstyle="none"),
    ]


def draw_scale_bar(ax: Axes, extent: tuple[float, float, float, float]) -> None:
    """Draw 50 mm in the lower left corner of a slice that spans `extent` (left, right, bottom, top)."""
    x, y = extent[0] + 8, extent[2] + 8
    ax.plot([x, x + 50], [y, y], color="white", linewidth=3)
    ax.text(x + 25, y + 3, "50 mm", color="white", ha="center", va="bottom", fontsize=9)


def _plane(
    prediction: FocusPrediction, right: int, up: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates along the two axes of a world plane through the focus, and its points (x, y, 3)."""
    low, high = _extent(prediction)
    x = np.arange(low[right], high[right], STEP_MM)
    y = np.arange(low[up], high[up], STEP_MM)
    points = np.empty((len(x), len(y), 3))
    points[:] = prediction.figures.focus_mm
    points[..., right] = x[:, None]
    points[..., up] = y
    return x, y, points


def _extent(prediction: FocusPrediction) -> NDArray[np.float64]:
    """(2, 3) world bounds that hold the head and the bowl."""
    inputs = prediction.inputs
    bowl = inputs.pose.to_world(inputs.bowl.mesh(2, 24)[0])
    low, high = inputs.head.bounds_mm
    return np.stack([np.minimum(low, bowl.min(0)) - 6, np.maximum(high, bowl.max(0)) + 6])
