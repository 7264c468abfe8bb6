"""The buttons that verify and pin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from napari_trifocal.focus_badge import RULE
from napari_trifocal.rows import column, row

if TYPE_CHECKING:
    from napari_trifocal.focus_compare import Comparing


class ComparePanel(QWidget):
    """Verify, pin, show the difference, and close what the first two have opened."""

    verify = Signal()
    pin = Signal()
    closed = Signal()
    map_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.verify_button, self.pin_button = QPushButton("Verify"), QPushButton("Pin")
        self.map_button, self.close_button = QPushButton(), QPushButton()
        self.map_button.setCheckable(True)
        self.verify_button.setToolTip(f"Run the solver on the same box and compare.\n{RULE}")
        self.pin_button.setToolTip("Keep this prediction, to compare another engine or pose with it")
        self.map_button.setToolTip("Show prediction - reference (red: more, blue: less) instead of the field")
        self.verify_button.clicked.connect(self.verify)
        self.pin_button.clicked.connect(self.pin)
        self.map_button.toggled.connect(lambda _: self.map_wanted.emit())
        self.close_button.clicked.connect(self.closed)
        self.rule = QLabel(RULE)
        self.rule.setWordWrap(True)
        buttons = row(self.verify_button, self.pin_button, self.map_button, self.close_button)
        column(self, buttons, self.rule).setContentsMargins(0, 0, 0, 0)

    def show_state(self, comparing: Comparing) -> None:
        """Offer what can be done now."""
        pinned = comparing.reference is not None and not comparing.is_truth
        self.verify_button.setEnabled(comparing.verifying is None)
        self.map_button.setEnabled(comparing.found is not None)
        self.map_button.setText("Difference" if pinned else "Error map")
        self.close_button.setEnabled(comparing.reference is not None)
        self.close_button.setText("Unpin" if pinned else "Close verify")
        self.rule.setVisible(comparing.is_truth)
        if comparing.reference is None:
            self.map_button.setChecked(False)
