"""The curves of a sweep against the angle, with a cross-hair that can be dragged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_trifocal.layers import COLOURS, SHELL, TARGET
from napari_trifocal.ticks import ticks
from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.sweep import distances_mm

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent

    from trifocal.focus.sweep import Frame, Sweep

GROUND, GRID, TEXT, HAIR = "#101214", "#2a2e33", "#c8ccd0", "#ffffff"
LEFT, RIGHT, TOP, BOTTOM, BETWEEN, NOTICE = 42, 42, 20, 20, 26, 14


@dataclass(frozen=True, eq=False)
class Curves:
    """What is plotted of a sweep, each (n,).

    Attributes:
        angles_deg: Of the frames that are there.
        span_deg: First and last angle of the whole sweep.
        distance_mm: From focus to target; displacement of the focus without one.
        peak_kpa: Highest pressure.
        transmission: That in per cent of the same bowl in water.
        warned: Which frames have warnings.
        aims: Whether there is a target.
    """

    angles_deg: NDArray[np.float64]
    span_deg: tuple[float, float]
    distance_mm: NDArray[np.float64]
    peak_kpa: NDArray[np.float64]
    transmission: NDArray[np.float64]
    warned: NDArray[np.bool_]
    aims: bool

    @classmethod
    def of(cls, frames: tuple[Frame, ...], sweep: Sweep) -> Curves:
        """The curves of the finished frames (one or more) of a sweep."""
        figures = [frame.prediction.figures for frame in frames]
        first, last = float(sweep.angles_deg[0]), float(sweep.angles_deg[-1])
        return cls(
            np.array([frame.angle_deg for frame in frames]),
            (min(first, last), max(first, last)),
            distances_mm(frames),
            np.array([f.peak_pa for f in figures]) / 1e3,
            np.array([f.transmission for f in figures]) * 100,
            np.array([bool(frame.prediction.warnings) for frame in frames]),
            figures[0].distance_to_target_mm is not None,
        )


class SweepPlot(QWidget):
    """Distance above; below, the peak with the transmission as a second scale: a multiple of it.

    Signals:
        picked: Index of the frame nearest to where the mouse is pressed or dragged.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._curves: Curves | None = None
        self._index: int | None = None
        self.setMinimumHeight(225)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Click or drag: show the frame at this angle. Orange: the frame has a warning")

    def show_curves(self, curves: Curves | None) -> None:
        """Plot these, or nothing."""
        self._curves = curves
        self.update()

    def show_index(self, index: int | None) -> None:
        """Put the cross-hair on a frame, or take it away."""
        self._index = index
        self.update()

    def x_of(self, index: int) -> float:
        """Where a frame is across the widget, in pixels."""
        assert self._curves is not None
        return self._x(float(self._curves.angles_deg[index]), self.width())

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        """The plot as (height, width, 3)."""
        image = QImage(width, height, QImage.Format.Format_RGB888)
        painter = QPainter(image)
        self._paint(painter, width, height, notice=True)
        painter.end()
        rows = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
        return rows.reshape(height, image.bytesPerLine())[:, : 3 * width].reshape(height, width, 3).copy()

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        self._paint(painter, self.width(), self.height())
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go to the frame under the mouse."""
        self._pick(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the mouse while it is pressed."""
        self._pick(event)

    def _pick(self, event: QMouseEvent) -> None:
        if self._curves is not None and event.buttons() & Qt.MouseButton.LeftButton:
            x = [self._x(float(angle), self.width()) for angle in self._curves.angles_deg]
            self.picked.emit(int(np.abs(np.array(x) - event.position().x()).argmin()))

    def _x(self, angle: float, width: int) -> float:
        assert self._curves is not None
        low, high = self._curves.span_deg
        return LEFT + 4 + (angle - low) / (high - low) * (width - LEFT - RIGHT - 8)

    def _paint(self, painter: QPainter, width: int, height: int, *, notice: bool = False) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(0, 0, width, height, QColor(GROUND))
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        curves = self._curves
        if curves is None:
            return
        each = (height - TOP - BETWEEN - BOTTOM - notice * NOTICE) / 2
        upper = QRectF(LEFT, TOP, width - LEFT - RIGHT, each)
        lower = upper.translated(0, each + BETWEEN)
        for pane in (upper, lower):
            self._draw_frame(painter, pane, curves)
        name = "focus to target" if curves.aims else "shift of the focus"
        self._draw_curve(painter, upper, curves.distance_mm, COLOURS[TARGET], f"{name}, mm")
        self._draw_curve(painter, lower, curves.peak_kpa, COLOURS[SHELL], "peak, kPa")
        self._draw_transmission(painter, lower, curves)
        self._draw_angles(painter, lower, curves)
        self._draw_hair(painter, upper, lower, curves)
        if notice:
            painter.setPen(QColor(TEXT))
            foot = QRectF(0, height - NOTICE - 2, width - 6, NOTICE)
            painter.drawText(foot, Qt.AlignmentFlag.AlignRight, RESEARCH_USE_ONLY)

    def _draw_frame(self, painter: QPainter, pane: QRectF, curves: Curves) -> None:
        painter.setPen(QPen(QColor(GRID), 1))
        painter.drawRect(pane)
        for angle in ticks(*curves.span_deg):
            x = self._x(angle, int(pane.right()) + RIGHT)
            painter.drawLine(QPointF(x, pane.top()), QPointF(x, pane.bottom()))

    def _draw_curve(
        self, painter: QPainter, pane: QRectF, values: NDArray[np.float64], colour: str, label: str
    ) -> None:
        assert self._curves is not None
        for value in ticks(0, most(values)):
            y = _y(value, values, pane)
            painter.setPen(QPen(QColor(GRID), 1))
            painter.drawLine(QPointF(pane.left(), y), QPointF(pane.right(), y))
            _label(painter, QRectF(0, y - 7, LEFT - 5, 14), f"{value:g}", Qt.AlignmentFlag.AlignRight)
        points = self._points(values, pane)
        painter.setPen(QPen(QColor(colour), 1.6))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(Qt.PenStyle.NoPen)
        for point, warned in zip(points, self._curves.warned, strict=True):
            painter.setBrush(QColor(COLOURS["uncoupled"] if warned else colour))
            painter.drawEllipse(point, 2.2, 2.2)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        _label(painter, QRectF(6, pane.top() - 17, 200, 14), label, Qt.AlignmentFlag.AlignLeft, colour)

    def _draw_transmission(self, painter: QPainter, pane: QRectF, curves: Curves) -> None:
        for value in ticks(0, most(curves.transmission)):
            y = _y(value, curves.transmission, pane)
            place = QRectF(pane.right() + 5, y - 7, RIGHT - 5, 14)
            _label(painter, place, f"{value:g}", Qt.AlignmentFlag.AlignLeft)
        place = QRectF(pane.right() + RIGHT - 206, pane.top() - 17, 200, 14)
        colour = COLOURS[SHELL]
        _label(painter, place, "transmission, % of water", Qt.AlignmentFlag.AlignRight, colour)

    def _draw_angles(self, painter: QPainter, pane: QRectF, curves: Curves) -> None:
        for angle in ticks(*curves.span_deg):
            x = self._x(angle, int(pane.right()) + RIGHT)
            place = QRectF(x - 30, pane.bottom() + 3, 60, 14)
            _label(painter, place, f"{angle:g}", Qt.AlignmentFlag.AlignHCenter)
        place = QRectF(pane.right() + 5, pane.bottom() + 3, RIGHT, 14)
        _label(painter, place, "deg", Qt.AlignmentFlag.AlignLeft)

    def _draw_hair(self, painter: QPainter, upper: QRectF, lower: QRectF, curves: Curves) -> None:
        i = self._index
        if i is None or i >= len(curves.angles_deg):
            return
        angle = float(curves.angles_deg[i])
        x = self._x(angle, int(upper.right()) + RIGHT)
        said = (
            (upper, curves.distance_mm, f"{curves.distance_mm[i]:.1f} mm"),
            (lower, curves.peak_kpa, f"{curves.peak_kpa[i]:.0f} kPa, {curves.transmission[i]:.0f} %"),
        )
        for pane, values, text in said:
            y = _y(float(values[i]), values, pane)
            painter.setPen(QPen(QColor(HAIR), 0.6, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(pane.left(), y), QPointF(pane.right(), y))
            painter.setPen(QPen(QColor(HAIR), 1))
            painter.drawEllipse(QPointF(x, y), 4, 4)
            place = QRectF(pane.left(), pane.top() - 17, pane.width(), 14)
            side = Qt.AlignmentFlag.AlignHCenter if pane is lower else Qt.AlignmentFlag.AlignRight
            _label(painter, place, text, side, HAIR)
        painter.drawLine(QPointF(x, upper.top()), QPointF(x, lower.bottom()))
        place = QRectF(x - 24, lower.bottom() + 3, 48, 14)
        painter.fillRect(place, QColor(GROUND))
        _label(painter, place, f"{angle:+.1f}", Qt.AlignmentFlag.AlignHCenter, HAIR)

    def _points(self, values: NDArray[np.float64], pane: QRectF) -> list[QPointF]:
        assert self._curves is not None
        width = int(pane.right()) + RIGHT
        return [
            QPointF(self._x(float(angle), width), _y(float(value), values, pane))
            for angle, value in zip(self._curves.angles_deg, values, strict=True)
        ]


def most(values: NDArray[np.float64]) -> float:
    """The top of an axis from 0 that holds these."""
    return 1.1 * max(float(values.max()), 1e-3)


def _y(value: float, values: NDArray[np.float64], pane: QRectF) -> float:
    return pane.bottom() - value / most(values) * pane.height()


def _label(painter: QPainter, place: QRectF, text: str, side: Qt.AlignmentFlag, colour: str = TEXT) -> None:
    painter.setPen(QColor(colour))
    painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, text)
