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

ABOUT = {
    "network": "learned correction of the march",
    "has": "hybrid angular spectrum march through the skull",
    "free-field": "water only",
}


class EnginePanel(QWidget):
    """Engine and device; below them, what the engine has not seen, with the engine to use instead.

    Signals:
        chosen: Engine and device.
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
        self.warning = QLabel()
        self.warning.setWordWrap(True)
        self.warning.setStyleSheet(f"color: {COLOURS['uncoupled']};")
        self.instead = QPushButton()
        self.instead.clicked.connect(self._on_instead)
        self._below: str | None = None
        self._arrange()
        self._show_doubts((), None)

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

    def show_prediction(self, prediction: FocusPrediction) -> None:
        """Show by how much a prediction leaves what its engine has seen."""
        self._show_doubts(getattr(prediction, "out_of_range", ()), rung_below(prediction.engine))

    def _show_doubts(self, reasons: tuple[str, ...], below: str | None) -> None:
        self._below = below
        self._doubts.setVisible(bool(reasons))
        self.warning.setText("out of range: " + "; ".join(reasons))
        self.instead.setVisible(below is not None)
        self.instead.setText(f"Use {'HAS' if below == 'has' else below}")

    def _on_activated(self, _: int) -> None:
        self.chosen.emit(self.engine.currentText(), self.device.currentText())

    def _on_instead(self) -> None:
        if self._below is not None:
            self.chosen.emit(self._below, self.device.currentText())

    def _arrange(self) -> None:
        choice = QHBoxLayout()
        choice.addWidget(self.engine)
        choice.addWidget(self.device)
        self._doubts = QWidget()
        doubts = QHBoxLayout(self._doubts)
        doubts.setContentsMargins(0, 0, 0, 0)
        doubts.addWidget(self.warning, 1)
        doubts.addWidget(self.instead)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(choice)
        layout.addWidget(self._doubts)
