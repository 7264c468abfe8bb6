"""Pictures of the worst cases of an evaluation: prediction, solver and signed error in two planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.analysis import HALF_PRESSURE
from trifocal.focus.pose import Pose
from trifocal.focus.scene import draw_bowl
from trifocal.image import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from trifocal.focus.metrics import FieldErrors
    from trifocal.focus.predictor import AnyEngine, FocusPrediction
    from trifocal.focus.transducer import Bowl

STEP_MM = 0.5
HALF_SIDE_MM = 45.0  # of the axial plane
FAINT = 0.1  # of the higher peak: weaker fields are not drawn
PREDICTION, SOLVER = "#ff9010", "white"
# dark in the middle, as the pictures are, and lighter with the size of the error to both sides
SIGNED = LinearSegmentedColormap.from_list("signed", ["#a0e0ff", "#1868e0", "#000000", "#d82818", "#ffc090"])


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane through the true focus.

    Attributes:
        title: Which plane.
        labels: Of the axis to the right and the axis upward.
        x: (n,) coordinates to the right in mm.
        y: (m,) coordinates upward in mm.
        hu: (n, m) the CT.
        prediction: (n, m) pressure amplitude in Pa.
        truth: (n, m) the same by the solver.
        region: (n, m) where the errors are taken: beyond the near skull, inside the box.
        foci: (2, 2) predicted and true focus in the plane's coordinates.
        axes: (2, 3) unit vectors to the right and upward, of the world or of the bowl's frame.
    """

    title: str
    labels: tuple[str, str]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    hu: NDArray[np.float32]
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]
    region: NDArray[np.bool_]
    foci: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def axial(cls, prediction: FocusPrediction, truth: FocusPrediction) -> Slice:
        """The axial plane of the world, the patient's left on the left."""
        focus, axes = np.array(truth.figures.focus_mm), np.eye(3)[:2]
        x, y = (np.arange(-HALF_SIDE_MM, HALF_SIDE_MM + STEP_MM, STEP_MM) + c for c in focus[:2])
        points = _grid(x, y, axes) + np.array([0, 0, focus[2]])
        foci = np.array([p.figures.focus_mm for p in (prediction, truth)]) @ axes.T
        title = f"axial plane, S = {focus[2]:.0f} mm"
        fields = _sample(prediction, truth, points)
        return cls(title, ("R, mm", "A, mm"), x, y, *fields, foci, axes)

    @classmethod
    def along_beam(cls, prediction: FocusPrediction, truth: FocusPrediction) -> Slice:
        """The plane along the beam through both foci; upward is from the true to the predicted one."""
        pose, box = truth.inputs.pose, truth.box
        predicted, true = (pose.from_world(p.figures.focus_mm) for p in (prediction, truth))
        across = np.array([*(predicted - true)[:2], 0.0])
        size = float(np.linalg.norm(across))
        across = across / size if size > 1e-6 else np.eye(3)[0]
        axes = np.stack([np.eye(3)[2], across])
        depth, half = box.axis_mm(2), float(box.axis_mm(0)[-1])
        x, y = np.arange(depth[0], depth[-1], STEP_MM), np.arange(-half, half, STEP_MM)
        points = pose.to_world(_grid(x, y, axes) + true * [1, 1, 0] - (true @ across) * across)
        labels = ("along the beam from the apex, mm", "across, mm")
        foci = np.array([predicted, true]) @ axes.T
        fields = _sample(prediction, truth, points)
        return cls("plane along the beam", labels, x, y, *fields, foci, axes)

    @property
    def error(self) -> NDArray[np.float32]:
        """(n, m) prediction - truth in Pa; 0 outside the region."""
        return np.where(self.region, self.prediction - self.truth, np.float32(0))


@dataclass(frozen=True, eq=False)
class WorstCase:
    """What a picture of one case needs, without its head and fields.

    Attributes:
        head: Name of the head.
        index: Of the pose on its head.
        rung: Of the ladder.
        bowl: The transducer.
        errors: Against the solver.
        peaks_pa: Predicted and true peak beyond the near skull.
        transmission: Predicted and true.
        out_of_range: Why the rung should not be trusted there.
        slices: The planes.
    """

    head: str
    index: int
    rung: AnyEngine
    bowl: Bowl
    errors: FieldErrors
    peaks_pa: tuple[float, float]
    transmission: tuple[float, float]
    out_of_range: tuple[str, ...]
    slices: tuple[Slice, ...]

    @classmethod
    def of(cls, head: str, index: int, prediction: FocusPrediction, truth: FocusPrediction) -> WorstCase:
        """Cut the planes of a case."""
        return cls(
            head,
            index,
            prediction.engine,
            truth.inputs.bowl,
            prediction.errors_against(truth),
            (prediction.figures.peak_pa, truth.figures.peak_pa),
            (prediction.figures.transmission, truth.figures.transmission),
            prediction.out_of_range,
            (Slice.along_beam(prediction, truth), Slice.axial(prediction, truth)),
        )

    def draw(self, path: Path | str, rank: int, count: int) -> None:
        """Write the picture as PNG; it is the `rank`-th worst of `count` poses."""
        figure = Figure(
            figsize=(17, 9),
            facecolor="black",
        )
        figure.set_layout_engine("constrained", h_pad=0.08)
        FigureCanvasAgg(figure)
        heights = [np.ptp(part.y) / np.ptp(part.x) for part in self.slices]
        axes = figure.subplots(len(self.slices), 4, height_ratios=heights)
        top = max(self.peaks_pa) / 1e3
        limit = max(float(np.abs(part.error).max()) for part in self.slices) / 1e3
        images: list[Any] = []
        for row, part in zip(axes, self.slices, strict=True):
            images = _draw_row(row, part, top, max(limit, 1e-9))
        draw_bowl(axes[0, 0], self.bowl, Pose(np.eye(4)), self.slices[0].axes)
        for ax, title in zip(
            axes[0], ("CT", self.rung, "solver", f"{self.rung} - solver, beyond the near skull"), strict=True
        ):
            ax.set_title(title, color="white", fontsize=12)
        bars = (
            (images[0], axes[:, 0], "HU"),
            (images[1], axes[:, 1:3], "pressure amplitude, kPa"),
            (images[2], axes[:, 3], f"kPa, to {1e3 * limit / self.peaks_pa[1]:.0%} of the solver's peak"),
        )
        for image, where, label in bars:
            bar = figure.colorbar(image, ax=where, location="bottom", aspect=30, pad=0.03)
            _white(bar.ax)
            bar.set_label(label, color="0.85")
        figure.suptitle("\n".join(self._caption(rank, count)), color="white", fontsize=12)
        note = f"contours: -6 dB, orange {self.rung}, white solver; crosses: -3 dB centroids"
        figure.supxlabel(f"{note}   ·   {RESEARCH_USE_ONLY}", color="0.6", fontsize=9)
        figure.savefig(path, format="png")

    def _caption(self, rank: int, count: int) -> list[str]:
        e, (found, true) = self.errors, self.transmission
        lines = [
            f"{self.head}, pose {self.index + 1} · {self.rung}, {self.bowl.frequency_hz / 1e3:g} kHz · "
            f"worst no. {rank} of {count} poses by the centroid error of {self.rung}",
            f"centroid {e.centroid_error_mm:.2f} mm (lateral {e.lateral_mm:.2f}, axial {e.axial_mm:+.2f}) · "
            f"rel L2 {e.rel_l2:.3f} · shape L2 {e.shape_l2:.3f} · peak {e.peak_error:+.1%} · transmission "
            f"{found:.1%} (solver {true:.1%}) · -6 dB IoU {e.iou_6db:.2f}",
        ]
        if self.out_of_range:
            lines.append(f"out of range: {self.out_of_range[0]}"[:150])
        return lines


def draw_worst(cases: Sequence[WorstCase], folder: Path, count: int) -> None:
    """Write worst-1.png, worst-2.png and so on; `count` is of all poses."""
    for rank, case in enumerate(cases, 1):
        case.draw(folder / f"worst-{rank}.png", rank, count)


def _draw_row(row: Sequence[Axes], part: Slice, top_kpa: float, limit_kpa: float) -> list[Any]:
    """CT, prediction, solver, error; returns an image of HU, one of pressure and one of the error."""
    extent = (float(part.x[0]), float(part.x[-1]), float(part.y[0]), float(part.y[-1]))
    for ax in row[:3]:
        ct = ax.imshow(part.hu.T, cmap="gray", vmin=-200, vmax=1800, extent=extent, origin="lower")
    field: Any = None
    for ax, values in ((row[1], part.prediction / 1e3), (row[2], part.truth / 1e3)):
        shown = np.ma.masked_less(values, FAINT * top_kpa)
        alpha = np.clip(values.T / top_kpa, 0, 0.75)
        field = ax.imshow(
            shown.T, cmap="cool", vmin=0, vmax=top_kpa, extent=extent, origin="lower", alpha=alpha
        )
    known = np.ma.array(part.error / 1e3, mask=~part.region)
    error = row[3].imshow(
        known.T, cmap=SIGNED, vmin=-limit_kpa, vmax=limit_kpa, extent=extent, origin="lower"
    )
    for ax in row:
        _draw_both(ax, part)
        ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal", facecolor="0.16", xlabel=part.labels[0])
        _white(ax)
    row[0].set_ylabel(f"{part.title}\n{part.labels[1]}", color="0.85")
    return [ct, field, error]


def _draw_both(ax: Axes, part: Slice) -> None:
    """-6 dB contours of both fields, each of its own peak in the region, and their foci."""
    for values, focus, colour, width in (  # the thinner one on top: both are seen where they coincide
        (part.truth, part.foci[1], SOLVER, 2.2),
        (part.prediction, part.foci[0], PREDICTION, 1.0),
    ):
        inside = np.where(part.region, values, 0)
        ax.contour(part.x, part.y, inside.T, [HALF_PRESSURE * inside.max()], colors=colour, linewidths=width)
        ax.plot(*focus, "+", color=colour, markersize=10, markeredgewidth=width)


def _white(ax: Axes) -> None:
    ax.tick_params(colors="0.75", labelsize=9)
    ax.xaxis.label.set_color("0.85")
    for spine in ax.spines.values():
        spine.set_color("0.4")


def _sample(
    prediction: FocusPrediction, truth: FocusPrediction, points: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """HU, prediction, truth and region (n, m) at world points (n, m, 3)."""
    region = Image(prediction.region.astype(np.float32), prediction.pressure.affine).sample(points) > 0.5
    hu = prediction.inputs.head.ct.sample(points, fill=-1000)
    return hu, prediction.pressure.sample(points), truth.pressure.sample(points), region


def _grid(x: NDArray[np.float64], y: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m, 3) points of a plane through the origin."""
    points: NDArray[np.float64] = x[:, None, None] * axes[0] + y[:, None] * axes[1]
    return points
