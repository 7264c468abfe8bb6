"""The choice of engine and device, and what the engine itself doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.focus_engines import DEVICES, LADDER, rung_below
from napari_trifocal.layers import COLOURS

if TYPE_CHECKING:
    from qtpy.QtGui import QStandardItemModel

    from napari_trifocal.focus_choice import EngineChoice
    from trifocal.focus.predictor import FocusPrediction

ADVICE = ": prefer the rung below, has"  # the button says so
ABOUT = {
    "network": "learned correction of the march",
    "has": "hybrid angular spectrum march through the skull",
    "free-field": "water only",
}


class EnginePanel(QWidget):
    """Engine and device, and what the prediction warns of with the engine to use instead.

    Signals:
        chosen: Engine and device.

    Attributes:
        doubts: The warnings, a widget of its own: they need more room than the choosers.
    """

    chosen = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.device = QComboBox(), QComboBox()
        self.engine.addItems(LADDER)
        self.device.addItems(DEVICES)
        self.engine.setToolTip("\n".join(f"{name}: {ABOUT[name]}" for name in LADDER))
        self.device.setToolTip("auto: the GPU if there is one")
        for box in (self.engine, self.device):
            box.activated.connect(self._on_activated)
        self.doubts, self.warning = QWidget(), QLabel()
        self.warning.setWordWrap(True)
        self.warning.setStyleSheet(f"color: {COLOURS['uncoupled']};")
        self.instead = QPushButton()
        self.instead.clicked.connect(self._on_instead)
        self._below: str | None = None
        self._arrange()
        self.doubts.hide()

    def show_choice(self, choice: EngineChoice) -> None:
        """Bring both up to date; what is not there cannot be chosen, and says why."""
        for box, now in ((self.engine, choice.engine), (self.device, choice.device)):
            model: QStandardItemModel = box.model()
            for i in range(box.count()):
                reason = choice.missing.get(box.itemText(i))
                item = model.item(i)
                item.setEnabled(reason is None)
                item.setToolTip(reason or ABOUT.get(box.itemText(i), ""))
            with signals_blocked(box):
                box.setCurrentText(now)

    def show_prediction(self, prediction: FocusPrediction, coupling: str | None) -> None:
        """Show what a prediction warns of; if its engine has not seen the like, the one to use instead.

        Args:
            prediction: A full one.
            coupling: What is wrong with the coupling, which is shown elsewhere; so is what the head warns of.
        """
        known = (*prediction.inputs.head.warnings, coupling)
        self._below = rung_below(prediction.engine) if prediction.out_of_range else None
        reasons = [reason for reason in prediction.warnings if reason not in known]
        self.warning.setText("\n".join(reason.removesuffix(ADVICE) for reason in reasons))
        self.instead.setText(f"Use {'HAS' if self._below == 'has' else self._below}")
        self.doubts.setVisible(bool(reasons))
        self.instead.setVisible(self._below is not None)

    def _on_activated(self, _: int) -> None:
        self.chosen.emit(self.engine.currentText(), self.device.currentText())

    def _on_instead(self) -> None:
        if self._below is not None:
            self.chosen.emit(self._below, self.device.currentText())

    def _arrange(self) -> None:
        choice = QHBoxLayout()
        choice.addWidget(self.engine)
        choice.addWidget(self.device)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(choice)
        doubts = QVBoxLayout(self.doubts)
        doubts.setContentsMargins(0, 0, 0, 0)
        doubts.setSpacing(3)
        doubts.addWidget(self.warning)
        doubts.addWidget(self.instead)
