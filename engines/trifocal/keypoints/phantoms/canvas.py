"""Paints tissue in front of a probe: shapes, thick curves, interfaces that shine where they face it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw
from scipy.ndimage import gaussian_filter

from trifocal.keypoints.phantoms.kernels import raise_to_capsules
from trifocal.keypoints.phantoms.scene import Scene

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.phantoms.scene import Probe

GRID = 420  # samples over the depth, unless the anatomy asks for a finer step
FINER = 4  # polygons are drawn that much finer, and averaged


class Canvas:
    """The maps of a scene while they are being painted.

    Masks are (rows, columns) float32 from 0 to 1, as `ellipse`, `polygon` and `curve` return them; multiply
    them, take 1 - mask or np.maximum of several for compound shapes, then `fill`. Paint from the back to the
    front: maternal tissue first, organs, fluid inside them, interfaces last.

    Attributes:
        probe: What looks at the scene.
        rng: For everything random.
        step_mm: Of the grid.
        x: (columns,) mm of the grid's columns.
        y: (rows,) mm of its rows.
        scatter: (rows, columns) float32, see `Scene`; starts as ordinary tissue, 1.0.
        echo: The same, 0.
        loss: The same, 0.
    """

    def __init__(self, probe: Probe, rng: np.random.Generator, *, step_mm: float | None = None) -> None:
        self.probe, self.rng = probe, rng
        self.step_mm = step_mm or probe.depth_mm / GRID
        left, top, right, bottom = probe.extent_mm
        self.x = np.arange(left, right + self.step_mm, self.step_mm, dtype=np.float32)
        self.y = np.arange(top, bottom + self.step_mm, self.step_mm, dtype=np.float32)
        shape = len(self.y), len(self.x)
        self.scatter = np.ones(shape, np.float32)
        self.echo = np.zeros(shape, np.float32)
        self.loss = np.zeros(shape, np.float32)

    def ellipse(
        self, center: ArrayLike, semi_axes: tuple[float, float], angle: float = 0.0, *, edge_mm: float = 0.8
    ) -> NDArray[np.float32]:
        """Mask of an ellipse.

        Args:
            center: (x, y) mm.
            semi_axes: mm, along and across `angle`.
            angle: Degrees from +x towards +y.
            edge_mm: Over which the mask falls from 1 to 0, centred on the outline.
        """
        (cx, cy), (a, b) = np.asarray(center, float), semi_axes
        mask = np.zeros(self.scatter.shape, np.float32)
        rows, columns = self._box((cx, cy), max(a, b) + edge_mm)
        dx, dy = self.x[None, columns] - np.float32(cx), self.y[rows, None] - np.float32(cy)
        if dx.size == 0 or dy.size == 0:
            return mask
        turn = np.deg2rad(angle)
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        u, v = (cos * dx + sin * dy) / np.float32(a), (cos * dy - sin * dx) / np.float32(b)
        k = np.sqrt(u * u + v * v) + np.float32(1e-6)
        slope = np.sqrt((u / np.float32(a)) ** 2 + (v / np.float32(b)) ** 2) + np.float32(1e-6)
        distance = k * (k - 1) / slope  # to first order, in mm (Taubin 1991)
        mask[rows, columns] = np.clip(np.float32(0.5) - distance / np.float32(edge_mm), 0, 1)
        return mask

    def polygon(self, points: ArrayLike, *, edge_mm: float = 0.8) -> NDArray[np.float32]:
        """Mask inside a closed outline (N, 2) mm; use `spline` or `wobbled` first for a smooth one."""
        outline = np.asarray(points, float)
        mask = np.zeros(self.scatter.shape, np.float32)
        low, high = outline.min(axis=0) - 2 * edge_mm, outline.max(axis=0) + 2 * edge_mm
        rows, columns = self._slices(low, high)
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if tall <= 0 or wide <= 0:
            return mask
        start = np.array([self.x[columns.start], self.y[rows.start]])
        fine = ((outline - start) / self.step_mm + 0.5) * FINER - 0.5
        picture = Picture.new("L", (wide * FINER, tall * FINER))
        ImageDraw.Draw(picture).polygon([tuple(p) for p in fine.tolist()], fill=255)
        inside = np.asarray(picture.reduce(FINER), np.float32) / 255
        mask[rows, columns] = gaussian_filter(inside, 0.4 * edge_mm / self.step_mm, truncate=2.5)
        return mask

    def curve(
        self, points: ArrayLike, width_mm: ArrayLike, *, closed: bool = False, edge_mm: float = 0.6,
        value: ArrayLike = 1.0,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Mask of a thick line through points (N, 2) mm.

        Args:
            points: (N, 2) mm.
            width_mm: Whole width, one or (N,) along the line.
            closed: Whether the last point is joined to the first.
            edge_mm: Of the smooth edge, centred on the half width.
            value: Height of the mask, one or (N,) along the line.
        """
        line = np.asarray(points, float)
        half = np.broadcast_to(np.asarray(width_mm, float) / 2, len(line))
        height = np.broadcast_to(np.asarray(value, float), len(line))
        order = np.append(np.arange(len(line)), 0) if closed else np.arange(len(line))
        mask = np.zeros(self.scatter.shape, np.float32)
        corner = np.array([self.x[0], self.y[0]], float)
        raise_to_capsules(mask, corner, self.step_mm, line[order], half[order], height[order], edge_mm)
        return mask

    def fill(
        self, mask: NDArray[np.float32], *, scatter: ArrayLike | None = None,
        loss: float | None = None, echo: float | None = None,
    ) -> None:  # fmt: skip
        """Replace what is under a mask; what is None stays. Give echo=0 to wipe interfaces away."""
        for layer, value in ((self.scatter, scatter), (self.loss, loss), (self.echo, echo)):
            if value is not None:
                layer += mask * (np.asarray(value, np.float32) - layer)

    def interface(
        self, points: ArrayLike, strength: ArrayLike, width_mm: ArrayLike = 0.8, *, closed: bool = False,
        specular: float = 1.5, diffuse: float = 0.15,
    ) -> None:  # fmt: skip
        """Add a reflecting surface along points (N, 2) mm: bright where it is at right angles to the beam.

        Its amplitude is strength * (diffuse + (1 - diffuse) * |cos|^specular), cos between normal and beam.

        Args:
            points: (N, 2) mm.
            strength: One or (N,), see the scale in `scene`.
            width_mm: Of the line, one or (N,).
            closed: Whether the last point is joined to the first.
            specular: The larger, the narrower the bright part (a smooth surface 3-6, a rough one 1).
            diffuse: Part that does not depend on the angle.
        """
        line = np.asarray(points, float)
        cos = self.facing(line, closed=closed)
        value = np.asarray(strength, float) * (diffuse + (1 - diffuse) * cos**specular)
        np.maximum(self.echo, self.curve(line, width_mm, closed=closed, value=value), out=self.echo)

    def facing(self, points: ArrayLike, *, closed: bool = False) -> NDArray[np.float64]:
        """(N,) |cos| of the angle between a curve's (N, 2) normal and the beam: 1 where it faces it."""
        line = np.asarray(points, float)
        if closed:
            tangent = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
        else:
            tangent = np.gradient(line, axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        beam = self.probe.direction(line)
        cos: NDArray[np.float64] = np.abs(tangent[:, 0] * beam[:, 1] - tangent[:, 1] * beam[:, 0])
        return cos

    def texture(self, size_mm: float, stretch: float = 1.0) -> NDArray[np.float32]:
        """(rows, columns) smooth noise of mean 0 and deviation 1, with blobs of about that size.

        Args:
            size_mm: Of the blobs, along y.
            stretch: How many times wider than high they are: tissue lies in layers across the beam.
        """
        coarse = max(size_mm / 2 / self.step_mm, 1.0)
        wide = max(stretch * size_mm / 2 / self.step_mm, 1.0)
        shape = int(self.scatter.shape[0] / coarse) + 4, int(self.scatter.shape[1] / wide) + 4
        noise = gaussian_filter(self.rng.standard_normal(shape, dtype=np.float32), 1.0)
        noise /= max(float(noise.std()), 1e-6)
        rows, columns = self.scatter.shape
        fine = Picture.fromarray(noise).resize((columns, rows), Picture.Resampling.BILINEAR)
        return np.asarray(fine, np.float32)

    def scene(
        self, points_mm: ArrayLike, *, ellipse_mm: Ellipse | None = None,
        focus_mm: tuple[float, float, float, float] | None = None,
    ) -> Scene:  # fmt: skip
        """The finished scene; see `Scene` for the arguments."""
        return Scene(
            probe=self.probe,
            step_mm=self.step_mm,
            origin_mm=(float(self.x[0]), float(self.y[0])),
            scatter=np.maximum(self.scatter, 0),
            echo=np.maximum(self.echo, 0),
            loss=self.loss,
            points_mm=np.asarray(points_mm, float),
            ellipse_mm=ellipse_mm,
            focus_mm=focus_mm,
        )

    def _box(self, center: tuple[float, float], reach: float) -> tuple[slice, slice]:
        return self._slices(np.array(center) - reach, np.array(center) + reach)

    def _slices(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[slice, slice]:
        """Rows and columns of the grid within a box of mm, cut to the grid."""
        start = np.array([self.x[0], self.y[0]])
        first = np.maximum(np.floor((low - start) / self.step_mm).astype(int), 0)
        last = np.maximum(np.ceil((high - start) / self.step_mm).astype(int) + 1, first)
        size = np.array([len(self.x), len(self.y)])
        first, last = np.minimum(first, size), np.minimum(last, size)
        return slice(int(first[1]), int(last[1])), slice(int(first[0]), int(last[0]))


def spline(points: ArrayLike, count: int = 60, *, closed: bool = False) -> NDArray[np.float64]:
    """(count, 2) points of a smooth curve through (N, 2) ones: a cubic over the chord length."""
    from scipy.interpolate import CubicSpline

    knots = np.asarray(points, float)
    if closed:
        knots = np.concatenate([knots, knots[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    smooth = CubicSpline(length, knots, bc_type="periodic" if closed else "natural")
    return np.asarray(smooth(np.linspace(0, length[-1], count, endpoint=not closed)), float)


def wobbled(
    points: ArrayLike,
    mm: float,
    rng: np.random.Generator,
    *,
    waves: int = 4,
    closed: bool = True,
    first: int = 1,
) -> NDArray[np.float64]:
    """Points (N, 2) moved across the curve by a smooth random offset of deviation `mm`.

    Args:
        points: (N, 2) mm.
        mm: Deviation of the offset.
        rng: For the offset.
        waves: Most waves along the curve.
        first: Least waves: 3 keeps place, size and flattening of a closed curve.
        closed: Whether the curve is closed; an open one keeps its ends.
    """
    line = np.asarray(points, float)
    t = np.linspace(0, 2 * np.pi if closed else np.pi, len(line), endpoint=not closed)
    order = np.arange(first, waves + 1)[:, None]
    weights = rng.standard_normal((2, len(order), 1)) / order
    offset = weights[0] * np.sin(order * t) + (weights[1] * np.cos(order * t) if closed else 0)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    scale = mm / np.sqrt((1 / order**2).sum())
    return np.asarray(line + scale * offset.sum(axis=0)[:, None] * across, float)
