"""A measurement against time, with a cursor that can be dragged. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_trifocal.ticks import ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent

    from napari_trifocal.keypoints_curve import Curve

GROUND, GRID, TEXT, HAIR = "#101214", "#2a2e33", "#c8ccd0", "#ffffff"
LINE, EDITED, EXTREME = "#35c9ff", "#ffffff", "#ffd02f"
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 20, 20


class KeypointsPlot(QWidget):
    """Draws a curve; the pen leaves the paper where a frame has no value.

    Signals:
        picked: The frame nearest to where the mouse is pressed or dragged.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._curve: Curve | None = None
        self._frame = 0
        self.setMinimumHeight(140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Click or drag: look at this frame. White: a frame with points put by hand")

    def show_curve(self, curve: Curve | None) -> None:
        """Plot this, or nothing."""
        self._curve = curve
        self.update()

    def show_frame(self, frame: int) -> None:
        """Put the cursor on a frame."""
        self._frame = frame
        self.update()

    def x_of(self, frame: int) -> float:
        """Where a frame is across the widget, in pixels."""
        assert self._curve is not None
        return float(self._across(self._curve.x[frame]))

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(GROUND))
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        if self._curve is not None:
            self._draw(painter, self._curve)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Go to the frame under the mouse."""
        self._pick(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the mouse while it is pressed."""
        self._pick(event)

    def _pick(self, event: QMouseEvent) -> None:
        if self._curve is not None and event.buttons() & Qt.MouseButton.LeftButton:
            x = self._across(self._curve.x)
            self.picked.emit(int(np.abs(x - event.position().x()).argmin()))

    def _draw(self, painter: QPainter, curve: Curve) -> None:
        pane = QRectF(LEFT, TOP, self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM)
        low, high = _range(curve.values)
        self._draw_axes(painter, pane, curve, (low, high))
        y = pane.bottom() - (curve.values - low) / (high - low) * pane.height()
        x = self._across(curve.x)
        self._draw_line(painter, x, y, curve)
        self._draw_extremes(painter, x, y, curve)
        self._draw_cursor(painter, pane, x, y, curve)

    def _draw_axes(self, painter: QPainter, pane: QRectF, curve: Curve, span: tuple[float, float]) -> None:
        painter.setPen(QPen(QColor(GRID), 1))
        painter.drawRect(pane)
        for value in ticks(*span):
            y = pane.bottom() - (value - span[0]) / (span[1] - span[0]) * pane.height()
            painter.setPen(QPen(QColor(GRID), 1))
            painter.drawLine(QPointF(pane.left(), y), QPointF(pane.right(), y))
            _label(painter, QRectF(0, y - 7, LEFT - 5, 14), f"{value:g}", Qt.AlignmentFlag.AlignRight)
        for value in ticks(float(curve.x[0]), float(curve.x[-1])):
            x = float(self._across(value))
            painter.setPen(QPen(QColor(GRID), 1))
            painter.drawLine(QPointF(x, pane.top()), QPointF(x, pane.bottom()))
            if (
                abs(x - self.x_of(self._frame)) > 34 and x < pane.right() - 30
            ):  # room for the cursor's and the unit
                place = QRectF(x - 30, pane.bottom() + 3, 60, 14)
                _label(painter, place, f"{value:g}", Qt.AlignmentFlag.AlignHCenter)
        name = f"{curve.name}, {curve.unit}"
        _label(painter, QRectF(6, 2, pane.width() / 2, 14), name, Qt.AlignmentFlag.AlignLeft, LINE)
        place = QRectF(pane.right() - 40, pane.bottom() + 3, 46, 14)
        _label(painter, place, curve.x_unit, Qt.AlignmentFlag.AlignRight)

    def _draw_line(
        self, painter: QPainter, x: NDArray[np.float64], y: NDArray[np.float64], curve: Curve
    ) -> None:
        painter.setPen(QPen(QColor(LINE), 1.6))
        there = np.isfinite(y)
        for i in np.flatnonzero(there[1:] & there[:-1]):
            painter.drawLine(QPointF(x[i], y[i]), QPointF(x[i + 1], y[i + 1]))
        painter.setPen(Qt.PenStyle.NoPen)
        radius = 2.2 if len(x) < 100 else 1.2
        for i in np.flatnonzero(there):
            painter.setBrush(QColor(EDITED if curve.edited[i] else LINE))
            painter.drawEllipse(QPointF(x[i], y[i]), radius, radius)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_extremes(
        self, painter: QPainter, x: NDArray[np.float64], y: NDArray[np.float64], curve: Curve
    ) -> None:
        for frame, name in curve.extremes:
            if not np.isfinite(y[frame]):
                continue
            painter.setPen(QPen(QColor(EXTREME), 1.4))
            painter.drawEllipse(QPointF(x[frame], y[frame]), 5, 5)
            above = y[frame] > TOP + 22
            place = QRectF(x[frame] - 40, y[frame] + (-21 if above else 7), 80, 14)
            place.moveLeft(float(np.clip(place.left(), LEFT, self.width() - RIGHT - 80)))
            _label(painter, place, name, Qt.AlignmentFlag.AlignHCenter, EXTREME)

    def _draw_cursor(
        self, painter: QPainter, pane: QRectF, x: NDArray[np.float64], y: NDArray[np.float64], curve: Curve
    ) -> None:
        at, value = float(x[self._frame]), curve.values[self._frame]
        painter.setPen(QPen(QColor(HAIR), 1))
        painter.drawLine(QPointF(at, pane.top()), QPointF(at, pane.bottom()))
        if np.isfinite(value):
            painter.drawEllipse(QPointF(at, y[self._frame]), 4, 4)
        said = "no value here" if np.isnan(value) else f"{value:.1f} {curve.unit}"
        place = QRectF(pane.left() + pane.width() / 2, 2, pane.width() / 2, 14)
        _label(painter, place, said, Qt.AlignmentFlag.AlignRight, HAIR)
        now = curve.x[self._frame]
        text = f"{now:.2f}" if curve.x_unit == "s" else f"{now:.0f}"
        place = QRectF(at - 24, pane.bottom() + 3, 48, 14)
        place.moveLeft(float(np.clip(place.left(), 0, pane.right() - 82)))
        _label(painter, place, text, Qt.AlignmentFlag.AlignHCenter, HAIR)

    def _across(self, x: NDArray[np.float64] | float) -> NDArray[np.float64]:
        assert self._curve is not None
        first, last = self._curve.x[0], self._curve.x[-1]
        share = (np.asarray(x, float) - first) / max(last - first, 1e-9)
        return LEFT + 4 + share * (self.width() - LEFT - RIGHT - 8)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """An axis that holds the values with some room, and not from 0: it is their change that matters."""
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = max(0.12 * (high - low), 0.02 * abs(high), 1e-3)
    return low - room, high + room


def _label(painter: QPainter, place: QRectF, text: str, side: Qt.AlignmentFlag, colour: str = TEXT) -> None:
    painter.setPen(QColor(colour))
    painter.drawText(place, side | Qt.AlignmentFlag.AlignVCenter, text)
