"""What came of a reconstruction: windows, before and after, the truth and how far it is. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHeaderView, QPushButton, QTableWidget, QTableWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import combo, text
from napari_trifocal.rows import column, row
from napari_trifocal.xray_layers import ERROR, ERROR_HU, NULL_SPACE, STD, WINDOWS
from napari_trifocal.xray_residual_plot import ResidualPlot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

WINDOW_KEYS = {"bone": "B", "lung": "L", "soft": "S", "all": "A"}
REFINED_KEY = "R"
MAPS = {STD: "uncertainty", NULL_SPACE: "null space", ERROR: "error"}
TIPS = {
    STD: "Expected error of each voxel in HU, as a standard deviation; not every engine gives one",
    NULL_SPACE: "Share of each voxel's structure that the X-rays do not determine, 0 to 1",
    ERROR: f"Reconstruction less truth: blue too thin, red too dense, full at {ERROR_HU:g} HU",
}


class ResultPanel(QWidget):
    """Looks at a result in its several ways, and compares it.

    Signals:
        window_wanted: One of `WINDOWS`.
        refined_wanted: Whether the volume after the refinement is to be seen.
        map_wanted: Role of a layer, and whether it is to be seen.
        truth_chosen: An image layer, or None for no comparison.
    """

    window_wanted = Signal(str)
    refined_wanted = Signal(bool)
    map_wanted = Signal(str, bool)
    truth_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._layers: list[Layer] = []
        self.windows = {}
        for name, key in WINDOW_KEYS.items():
            low, high = WINDOWS[name]
            self.windows[name] = QPushButton(f"{name} ({key})")
            self.windows[name].setToolTip(f"{low:g} to {high:g} HU; key {key}")
            self.windows[name].clicked.connect(lambda _, name=name: self.window_wanted.emit(name))
        self.refined = QCheckBox(f"refined ({REFINED_KEY})")
        self.refined.setToolTip("Off: the volume before the X-rays refined it")
        self.refined.toggled.connect(self.refined_wanted)
        self.maps = {}
        for role, label in MAPS.items():
            self.maps[role] = QCheckBox(label)
            self.maps[role].setToolTip(TIPS[role])
            self.maps[role].toggled.connect(lambda on, role=role: self.map_wanted.emit(role, on))
        self.truth = combo()
        self.truth.setToolTip("A CT in HU that shows what the X-rays show: error and metrics")
        self.truth.activated.connect(lambda i: self.truth_chosen.emit(self._layers[i - 1] if i > 0 else None))
        self.plot, self.about, self.score_text = ResidualPlot(), text(), text()
        self.scores = QTableWidget(0, 0)
        self.scores.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.scores.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.scores.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.scores.verticalHeader().setVisible(False)
        self.scores.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scores.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column(
            self,
            row(*self.windows.values()),
            row(self.refined, self.maps[ERROR]),
            row(self.maps[STD], self.maps[NULL_SPACE]),
            self.plot,
            self.about,
            self.truth,
            self.score_text,
            self.scores,
        ).setContentsMargins(0, 0, 0, 0)
        self.show_scores("", (), ())
        self.show_layers([], None)

    def show_layers(self, layers: list[Layer], chosen: Layer | None) -> None:
        """Offer these image layers as the truth."""
        self._layers = layers
        with signals_blocked(self.truth):
            self.truth.clear()
            self.truth.addItem("compare with a true CT...")
            self.truth.addItems([layer.name for layer in layers])
            self.truth.setCurrentIndex(layers.index(chosen) + 1 if chosen in layers else 0)

    def show_refined(self, refined: bool, *, possible: bool) -> None:
        """Show which volume is looked at, and whether there are two."""
        with signals_blocked(self.refined):
            self.refined.setChecked(refined)
        self.refined.setEnabled(possible)

    def show_map(self, role: str, visible: bool) -> None:
        """Show whether a map is seen."""
        with signals_blocked(self.maps[role]):
            self.maps[role].setChecked(visible)

    def show_scores(self, about: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table, with a sentence that says what its numbers were taken on."""
        self.score_text.setText(about)
        self.score_text.setVisible(bool(about))
        self.scores.setVisible(bool(rows))
        self.scores.setColumnCount(len(titles))
        self.scores.setRowCount(len(rows))
        self.scores.setHorizontalHeaderLabels(list(titles))
        for i, line in enumerate(rows):
            for j, value in enumerate(line):
                item = QTableWidgetItem(value)
                if j:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.scores.setItem(i, j, item)
        header = self.scores.horizontalHeader()
        for j in range(len(titles)):
            mode = QHeaderView.ResizeMode.Stretch if j == 0 else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(j, mode)
        self.scores.resizeRowsToContents()
        height = header.sizeHint().height() + 4
        self.scores.setFixedHeight(height + sum(self.scores.rowHeight(i) for i in range(len(rows))))
