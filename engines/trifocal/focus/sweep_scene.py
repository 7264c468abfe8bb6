"""Pictures of a sweep: the plane that the bowl moves in, and the curves with a cross-hair."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.scene import PLANES, draw_bowl, draw_scale_bar
from trifocal.focus.sweep import distances_mm

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec
    from numpy.typing import NDArray

    from trifocal.focus.sweep import Frame, SweepResult

STEP_MM = 0.75
MARGIN_MM = 6.0
FAINT = 0.1  # of the highest peak: weaker fields are not drawn
ORANGE = "#ff9010"
POSTER_FRAMES = 5


@dataclass(frozen=True, eq=False)
class Plane:
    """The world plane across the sweep's axis through the geometric focus of the given pose.

    Attributes:
        axes: (2, 3) unit vectors to the right and upward; the patient's left is on the left.
        points_mm: (x, y, 3) world points of its pixels.
        extent: Left, right, bottom and top, in mm along `axes`.
        hu: (x, y) the CT in it.
    """

    axes: NDArray[np.float64]
    points_mm: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    hu: NDArray[np.float32]

    @classmethod
    def of(cls, result: SweepResult) -> Plane:
        """The plane that holds the head and every bowl of a sweep."""
        head, bowl, normal = result.inputs.head, result.inputs.bowl, result.axis
        axes = _axes(normal)
        through = result.inputs.pose.to_world([0, 0, bowl.radius_of_curvature_mm])
        bowls = np.concatenate([frame.pose.to_world(bowl.mesh(2, 24)[0]) for frame in result.frames])
        corners = np.array(np.meshgrid(*head.bounds_mm.T, indexing="ij")).reshape(3, -1).T
        x, y = (np.arange(low, high, 2.0) for low, high in _span(np.concatenate([corners, bowls]) @ axes.T))
        inside = head.distance_mm(_points(x, y, axes, normal, through)) <= 0
        shown = np.stack([x[inside.nonzero()[0]], y[inside.nonzero()[1]]], axis=-1)
        x, y = (np.arange(low, high, STEP_MM) for low, high in _span(np.concatenate([shown, bowls @ axes.T])))
        points = _points(x, y, axes, normal, through)
        extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
        return cls(axes, points, extent, head.ct.sample(points, fill=-1000))

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """Directions of the body at the left, right, bottom and top edge."""
        right, up = self.axes
        return _letters(-right), _letters(right), _letters(-up), _letters(up)


class SweepFilm:
    """The frames of a sweep as pictures: the plane on the left, the curves on the right."""

    def __init__(self, result: SweepResult) -> None:
        self._frames = result.frames
        self._plane = Plane.of(result)
        self._peak = max(frame.prediction.figures.peak_pa for frame in result.frames)
        self._figure = Figure(figsize=(11.6, 5.6), dpi=100, facecolor="black")
        FigureCanvasAgg(self._figure)
        grid = self._figure.add_gridspec(
            1, 2, width_ratios=(1.15, 1), left=0.01, right=0.93, bottom=0.1, top=0.9, wspace=0.16
        )
        self._ax = self._figure.add_subplot(grid[0])
        _draw_plane(self._ax, self._plane, result)
        self._curves = _draw_curves(self._figure, grid[1], result)
        self._title = self._figure.text(0.5, 0.97, "", color="white", ha="center", va="top", fontsize=11)
        self._warning = self._figure.text(0.5, 0.925, "", color=ORANGE, ha="center", va="top", fontsize=9)
        self._figure.text(0.995, 0.008, RESEARCH_USE_ONLY, color="0.6", ha="right", va="bottom", fontsize=8)
        self._drawn: list[Artist] = []

    def picture(self, index: int) -> NDArray[np.uint8]:
        """One frame, (rows, columns, 3)."""
        frame = self._frames[index]
        for artist in self._drawn:
            artist.remove()
        self._drawn = _draw_frame(self._ax, self._plane, frame, self._peak)
        for ax in self._curves:
            self._drawn.append(ax.axvline(frame.angle_deg, color="0.75", linewidth=1))
        self._title.set_text(_caption(frame))
        self._warning.set_text("; ".join(frame.prediction.warnings)[:130])
        raw = BytesIO()
        self._figure.savefig(raw, format="rgba")
        width, height = (round(inches * self._figure.dpi) for inches in self._figure.get_size_inches())
        return np.frombuffer(raw.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]


def draw_poster(result: SweepResult, path: Path | str) -> None:
    """Write five frames and the curves as one PNG."""
    figure = Figure(figsize=(16, 8.4), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 1, height_ratios=(1, 1.05), left=0.04, right=0.95, bottom=0.07, top=0.93, hspace=0.05
    )
    chosen = draw_row(figure, grid[0], result)
    for ax in _draw_curves(figure, grid[1], result):
        for index in chosen:
            ax.axvline(result.frames[index].angle_deg, color="0.35", linewidth=1, zorder=0)
    figure.suptitle(_summary(result), color="white", fontsize=12)
    figure.text(0.995, 0.008, RESEARCH_USE_ONLY, color="0.6", ha="right", va="bottom", fontsize=9)
    figure.savefig(path, format="png")


def draw_row(figure: Figure, cell: SubplotSpec, result: SweepResult) -> list[int]:
    """Draw five frames of a sweep side by side; returns which."""
    plane = Plane.of(result)
    peak = max(frame.prediction.figures.peak_pa for frame in result.frames)
    chosen = [int(i) for i in np.linspace(0, len(result.frames) - 1, POSTER_FRAMES).round()]
    row = cell.subgridspec(1, POSTER_FRAMES, wspace=0.03)
    for column, index in enumerate(chosen):
        frame = result.frames[index]
        ax = figure.add_subplot(row[column])
        _draw_plane(ax, plane, result)
        _draw_frame(ax, plane, frame, peak)
        ax.set_title(f"{frame.angle_deg:+.1f} deg", color="white", fontsize=11)
    return chosen


def _draw_plane(ax: Axes, plane: Plane, result: SweepResult) -> None:
    """What stays the same in every frame."""
    ax.imshow(plane.hu.T, cmap="gray", vmin=-200, vmax=1800, extent=plane.extent, origin="lower")
    path = np.array([plane.axes @ frame.focus_mm for frame in result.frames])
    ax.plot(*path.T, color="white", linewidth=0.7, alpha=0.5)
    if result.inputs.target_mm is not None:
        ax.plot(*(plane.axes @ result.inputs.target_mm), "x", color="#50ff50", markersize=8, zorder=5)
    for text, x, y in zip(plane.labels, (0.02, 0.98, 0.5, 0.5), (0.5, 0.5, 0.02, 0.98), strict=True):
        ax.text(x, y, text, color="white", transform=ax.transAxes, ha="center", va="center", fontsize=10)
    draw_scale_bar(ax, plane.extent)
    ax.set(xlim=plane.extent[:2], ylim=plane.extent[2:], aspect="equal")
    ax.set_axis_off()


def _draw_frame(ax: Axes, plane: Plane, frame: Frame, peak_pa: float) -> list[Artist]:
    """What one frame adds: the field in colours that are the same for all of them, bowl and focus."""
    field = frame.prediction.pressure.sample(plane.points_mm) / peak_pa
    shown = np.ma.masked_less(field, FAINT)
    alpha = np.clip(field.T, 0, 0.75)
    image = ax.imshow(
        shown.T, cmap="cool", vmin=0, vmax=1, extent=plane.extent, origin="lower", alpha=alpha, zorder=2
    )
    bowl = draw_bowl(ax, frame.prediction.inputs.bowl, frame.pose, plane.axes)
    focus = ax.plot(*(plane.axes @ frame.focus_mm), "+", color="white", markersize=9, zorder=4)
    return [image, *bowl, *focus]


def _draw_curves(figure: Figure, cell: SubplotSpec, result: SweepResult) -> list[Axes]:
    """Distance, and the peak with transmission as a second scale: the one is a multiple of the other."""
    grid = cell.subgridspec(2, 1, hspace=0.16)
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    angles = np.array([frame.angle_deg for frame in result.frames])
    figures = [frame.prediction.figures for frame in result.frames]
    warned = np.array([bool(frame.prediction.warnings) for frame in result.frames])
    to_target = result.inputs.target_mm is not None
    peak = np.array([f.peak_pa for f in figures]) / 1e3
    percent = 100 * figures[0].transmission / peak[0]
    for ax, values, colour, label in (
        (upper, distances_mm(result.frames), "#50ff50", "focus to target, mm" if to_target else "shift, mm"),
        (lower, peak, "#58a6ff", "peak, kPa"),
    ):
        ax.plot(angles, values, "o-", color=colour, markersize=3, linewidth=1.4)
        ax.plot(angles[warned], values[warned], "o", color=ORANGE, markersize=4)
        ax.set_ylim(0, 1.08 * max(float(values.max()), 1e-3))
        ax.set_ylabel(label, color=colour)
        _dark(ax)
    right: Any = lower.secondary_yaxis("right", functions=(lambda p: p * percent, lambda t: t / percent))
    right.set_ylabel("transmission, % of water", color="#58a6ff")
    right.tick_params(colors="0.75", labelsize=9)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("angle, deg", color="0.85")
    return [upper, lower]


def _dark(ax: Axes) -> None:
    ax.set_facecolor("#101010")
    ax.grid(color="0.2", linewidth=0.6)
    ax.tick_params(colors="0.75", labelsize=9)
    for spine in ax.spines.values():
        spine.set_color("0.4")


def _caption(frame: Frame) -> str:
    found = frame.prediction.figures
    text = f"{frame.prediction.engine} · {frame.angle_deg:+.1f} deg"
    if found.distance_to_target_mm is not None:
        text += f" · focus {found.distance_to_target_mm:.1f} mm from the target"
    return f"{text} · peak {found.peak_pa / 1e3:.0f} kPa · transmission {100 * found.transmission:.0f} %"


def _summary(result: SweepResult) -> str:
    prediction = result.frames[0].prediction
    axis = ", ".join(f"{c:.2f}" for c in result.axis)
    return (
        f"{prediction.engine} · {result.inputs.bowl.frequency_hz / 1e3:g} kHz · "
        f"{len(result.frames)} frames of {result.sweep.step_deg:g} deg about ({axis})"
    )


def _axes(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) to the right and upward in the plane across a normal, as in the nearest of the slice views."""
    side = int(np.abs(normal).argmax())
    right, up = next(np.eye(3)[[r, u]] for _, r, u, _ in PLANES if side not in (r, u))
    up = up - (up @ normal) * normal
    up /= np.linalg.norm(up)
    across = np.cross(up, normal)
    return np.stack([across * np.sign(across @ right), up])


def _points(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    axes: NDArray[np.float64],
    normal: NDArray[np.float64],
    through: NDArray[np.float64],
) -> NDArray[np.float64]:
    """World points (x, y, 3) of a plane."""
    points: NDArray[np.float64] = x[:, None, None] * axes[0] + y[:, None] * axes[1]
    return points + float(through @ normal) * normal


def _span(points: NDArray[np.float64]) -> list[tuple[float, float]]:
    low, high = points.min(0) - MARGIN_MM, points.max(0) + MARGIN_MM
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _letters(direction: NDArray[np.float64]) -> str:
    """The directions of the body that a vector (3,) has most of, the largest first."""
    order = np.argsort(-np.abs(direction))
    return "".join("LPI"[a] if direction[a] < 0 else "RAS"[a] for a in order if abs(direction[a]) > 0.35)
