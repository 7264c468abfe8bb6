"""The controls of the search for a pose: what is asked, the poses found, the map. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDoubleSpinBox,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_trifocal.controls import button
from napari_trifocal.focus_poses import Wish
from napari_trifocal.rows import form, row
from trifocal.focus.pose_search import PoseLimits

if TYPE_CHECKING:
    from trifocal.focus.pose_search import PoseCandidate

COLUMNS = {
    "off, mm": "Distance of the focus from the target",
    "by": "Who says so: the network, or the solver after its simulations",
    "through": "Transmission: peak pressure over that of the bowl in water",
    "angle": "Between the beam and the normal of the skin where it goes in, in degrees",
    "gap, mm": "Smallest distance between bowl and skin",
}
ROWS_SHOWN = 5


class PosesPanel(QWidget):
    """What is asked for, and the ranked poses: a click on a row flies there.

    Signals:
        find: A `Wish`.
        flown: Index of the pose that was clicked.
        scalp: Whether the map is wanted, with the `PoseLimits`.
        cancel: Stop.
    """

    find = Signal(object)
    flown = Signal(int)
    scalp = Signal(bool, object)
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._make_settings()
        self.begin = button("Find pose", "Search for poses that bring the focus to the target", self._on_find)
        self.stop = QPushButton("Cancel")
        self.stop.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.map = QCheckBox("map of the scalp: transmission to the target")
        self.map.toggled.connect(lambda wanted: self.scalp.emit(wanted, self.limits()))
        self._make_table()
        self._arrange()
        self.show_found((), running=False)

    def limits(self) -> PoseLimits:
        """What a pose may be."""
        return PoseLimits(standoff_mm=self.standoff.value(), most_incidence_deg=self.angle.value())

    def show_found(self, found: tuple[PoseCandidate, ...], *, running: bool) -> None:
        """Bring the table up to date."""
        self.begin.setEnabled(not running)
        self.stop.setEnabled(running)
        self.table.setVisible(bool(found))
        self.table.setRowCount(len(found))
        for i, candidate in enumerate(found):
            by = f"solver ({candidate.simulations})" if candidate.verified else "network"
            cells = (
                f"{candidate.distance_mm:.1f}",
                by,
                f"{candidate.transmission:.2f}",
                f"{candidate.incidence_deg:.0f}",
                f"{candidate.clearance_mm:.1f}",
            )
            for j, text in enumerate(cells):
                self.table.setItem(i, j, QTableWidgetItem(text))
        if not running:
            self.show_progress(1.0, "")

    def show_map(self, *, shown: bool) -> None:
        """Say whether the map is shown, unasked."""
        with signals_blocked(self.map):
            self.map.setChecked(shown)

    def show_progress(self, fraction: float, what: str) -> None:
        """Show how far it is."""
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")

    def _on_find(self) -> None:
        self.find.emit(
            Wish(starts=self.starts.value(), simulations=self.simulations.value(), limits=self.limits())
        )

    def _make_settings(self) -> None:
        self.starts, self.simulations = QSpinBox(), QSpinBox()
        self.starts.setRange(1, 100)
        self.starts.setValue(Wish.starts)
        self.starts.setSuffix(" starts")
        self.starts.setToolTip("Places on the head that the search begins at")
        self.simulations.setRange(0, 10)
        self.simulations.setValue(2)
        self.simulations.setSuffix(" simulations")
        self.simulations.setToolTip(
            "Runs of the solver for each pose: shift by the error, simulate again; 0: none"
        )
        self.standoff, self.angle = QDoubleSpinBox(), QDoubleSpinBox()
        self.standoff.setRange(0.0, 50.0)
        self.standoff.setValue(PoseLimits().standoff_mm)
        self.standoff.setSuffix(" mm gap")
        self.standoff.setToolTip("Least distance between bowl and skin")
        self.angle.setRange(1.0, 60.0)
        self.angle.setDecimals(0)
        self.angle.setValue(PoseLimits().most_incidence_deg)
        self.angle.setSuffix(" deg")
        self.angle.setToolTip("Most that the beam may be off the normal of the skin")

    def _make_table(self) -> None:
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        for i, tip in enumerate(COLUMNS.values()):
            self.table.horizontalHeaderItem(i).setToolTip(tip)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        height = self.table.verticalHeader().defaultSectionSize()
        self.table.setFixedHeight(height * (ROWS_SHOWN + 1) + 4)
        self.table.cellClicked.connect(lambda line, _: self.flown.emit(line))

    def _arrange(self) -> None:
        settings = QWidget()
        rows = form(settings)
        rows.addRow("search", row(self.starts, self.simulations))
        rows.addRow("limits", row(self.standoff, self.angle))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for part in (settings, row(self.begin, self.bar, self.stop), self.table, self.map):
            layout.addWidget(part)
