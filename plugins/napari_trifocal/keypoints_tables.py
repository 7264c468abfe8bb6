"""The tables of the keypoints widget: what was measured, and where the points are. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem
from superqt.utils import signals_blocked

from napari_trifocal.keypoints_layers import colours_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_trifocal.keypoints_marks import Marks
    from trifocal.keypoints.measurements import Measurement
    from trifocal.keypoints.tasks import Task

DECIMALS = {"ratio": 2, "g": 0}
NOTHING = "-"
ROW = 20  # pixels


class _Table(QTableWidget):
    """A table as high as its rows."""

    def __init__(self, *headings: str) -> None:
        super().__init__(0, len(headings))
        self.setHorizontalHeaderLabels(headings)
        self.verticalHeader().hide()
        self.verticalHeader().setMinimumSectionSize(ROW)
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        for column in range(len(headings) - 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(headings) - 1, QHeaderView.ResizeMode.Stretch)
        # Once all columns have their widths: only then it is known where lines break.
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._fit)
        header.sectionResized.connect(lambda *_: self._later.start())

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show these texts; the last column breaks its lines."""
        grown = self.rowCount() != len(rows)
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, text in enumerate(row):
                item = self.item(i, j)
                if item is not None and item.text() == text:
                    continue
                if item is None:
                    self.setItem(i, j, QTableWidgetItem(text))
                else:
                    item.setText(text)
                grown = grown or j == len(row) - 1
        if grown:
            self._later.start()

    def _fit(self) -> None:
        self.resizeRowsToContents()
        rows = sum(self.rowHeight(i) for i in range(self.rowCount()))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + rows + 4)

    def texts(self) -> list[tuple[str, ...]]:
        """What the table shows."""
        return [
            tuple(self.item(i, j).text() for j in range(self.columnCount())) for i in range(self.rowCount())
        ]


class MeasurementTable(_Table):
    """Name, value with unit, and what is to be said about it."""

    def __init__(self) -> None:
        super().__init__("measurement", "value", "note")

    def show_measurements(self, measurements: tuple[Measurement, ...], known: str) -> None:
        """Show these.

        Args:
            measurements: In their order.
            known: The reason for pixels that stands above the table already.
        """
        self.show_rows([(m.name, value_text(m), _note(m, known)) for m in measurements])
        for i, measurement in enumerate(measurements):
            for j in range(3):
                self.item(i, j).setToolTip(measurement.reason)


class PointTable(_Table):
    """Where each point is, how sharp it is, and whether it was edited.

    Signals:
        picked: Index of the point whose row is clicked.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__("point", "x, y", "peak", "state")
        self.horizontalHeaderItem(2).setToolTip("of the heat map: how sharp it is, not how right")
        self.cellClicked.connect(lambda row, _: self.picked.emit(row))

    def show_marks(self, task: Task, marks: Marks) -> None:
        """Show the points of a frame."""
        states = np.where(marks.edited, "edited", "predicted")
        states[marks.missing] = "missing"
        self.show_rows(
            [
                (name, _place(x, y), NOTHING if np.isnan(score) else f"{score:.2f}", str(state))
                for name, (x, y), score, state in zip(
                    task.points, marks.points, marks.scores, states, strict=True
                )
            ]
        )
        for i, colour in enumerate(colours_of(task)[1]):
            self.item(i, 0).setForeground(QColor(colour))

    def show_chosen(self, index: int | None) -> None:
        """Mark the row of the chosen point."""
        with signals_blocked(self):
            self.clearSelection()
            if index is not None and index < self.rowCount():
                self.selectRow(index)


def value_text(measurement: Measurement) -> str:
    """A value with its unit."""
    if measurement.value is None:
        return NOTHING
    text = f"{measurement.value:.{DECIMALS.get(measurement.unit, 1)}f}"
    return text if measurement.unit == "ratio" else f"{text} {measurement.unit}"


def _note(measurement: Measurement, known: str) -> str:
    reason = measurement.reason
    if known and reason == known:
        return "no scale, see above"
    return reason.removesuffix(f": {known}") if known else reason


def _place(x: float, y: float) -> str:
    return NOTHING if np.isnan([x, y]).any() else f"{x:.1f}, {y:.1f}"
