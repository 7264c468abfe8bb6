"""The size of a pixel: what the file says, or a known distance by the user. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QFileDialog, QLabel, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import button, text
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import column, row

if TYPE_CHECKING:
    from napari_trifocal.keypoints_modes import Modes


class ScalePanel(QWidget):
    """How large a pixel is and who says so; a known distance by the user.

    Signals:
        ruler_wanted: Whether two clicks mark a known distance.
        distance_given: Its length in mm, and whether it holds for all files.
        table_chosen: Path of a table of scales.
        drop: What the user said is to be forgotten.
    """

    ruler_wanted = Signal(bool)
    distance_given = Signal(float, bool)
    table_chosen = Signal(str)
    drop = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.scale = text()
        self.scale.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.ruler = QPushButton("Draw known distance")
        self.ruler.setCheckable(True)
        self.ruler.setToolTip(
            "Click the two ends of something whose length is known: a caliper, the depth scale"
        )
        self.ruler.toggled.connect(self.ruler_wanted)
        self.table = QPushButton("Table...")
        self.table.setToolTip("A CSV with the columns file and mm_per_px")
        self.table.clicked.connect(self._on_table)
        self.mm = QDoubleSpinBox()
        self.mm.setRange(0.01, 1000.0)
        self.mm.setValue(10.0)
        self.mm.setSuffix(" mm")
        self.everywhere = QCheckBox("all files")
        self.set_button = QPushButton("Set")
        self.set_button.clicked.connect(
            lambda: self.distance_given.emit(self.mm.value(), self.everywhere.isChecked())
        )
        self.forget = button("Forget", "Go by the file again", self.drop.emit)
        self._given = row(QLabel("is"), self.mm, self.everywhere, self.set_button)
        column(self, self.scale, row(self.ruler, self.table, self.forget), self._given).setContentsMargins(
            0, 0, 0, 0
        )

    def show_scale(self, said: str, *, known: bool, by_hand: bool) -> None:
        """Show what is said about the size of a pixel."""
        self.scale.setText(said)
        self.scale.setStyleSheet("" if known else f"color: {COLOURS['uncoupled']};")
        self.forget.setVisible(by_hand)

    def show_modes(self, modes: Modes, *, several: bool) -> None:
        """Show whether a known distance is being marked."""
        with signals_blocked(self.ruler):
            self.ruler.setChecked(modes.mode == "ruler")
        waiting = ("Click its two ends", "Click its other end", "")[len(modes.ruler)]
        self.ruler.setText(waiting if modes.mode == "ruler" else "Draw known distance")
        self._given.setVisible(len(modes.ruler) == 2)
        self.everywhere.setVisible(several)

    def _on_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a table of scales", filter="Table (*.csv);;All files (*)"
        )
        if path:
            self.table_chosen.emit(path)
