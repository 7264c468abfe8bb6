"""Engines, what to predict, and which frames to look at again. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import arrow, combo, text
from napari_trifocal.engine_store import DEVICES
from napari_trifocal.keypoints_engines import ENGINES
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import column, row

if TYPE_CHECKING:
    from napari_trifocal.keypoints_sheet import Sheet
    from napari_trifocal.reel import Reel
    from trifocal.keypoints.predictor import KeypointsPrediction

ABOUT = {
    "network": "the bundled networks, all nine tasks",
    "classical": "an ellipse without weights, HC only",
}


class PredictPanel(QWidget):
    """Engine and device, what to predict, and what the prediction itself doubts.

    Signals:
        chosen: Engine and device.
        tta_chosen: Whether to average with the mirrored image.
        wanted: "frame", "file" or "all".
        heat_wanted: Whether the heat map is to be seen.
        review_wanted: 1 for the next frame that deserves a second look, -1 for the one before.

    Attributes:
        doubt: What the prediction doubts, a widget of its own: it is not to be scrolled away.
    """

    chosen = Signal(str, str)
    tta_chosen = Signal(bool)
    wanted = Signal(str)
    heat_wanted = Signal(bool)
    review_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.device = combo(), combo()
        self.engine.addItems(list(ENGINES))
        self.device.addItems(list(DEVICES))
        self.engine.setToolTip("\n".join(f"{name}: {what}" for name, what in ABOUT.items()))
        self.device.setToolTip("auto: the GPU if there is one")
        for box in (self.engine, self.device):
            box.activated.connect(
                lambda _: self.chosen.emit(self.engine.currentText(), self.device.currentText())
            )
        self.tta, self.heat = QCheckBox("mirrored too (TTA)"), QCheckBox("heat map")
        self.tta.setToolTip("Average with the prediction on the mirrored image: twice the time")
        self.heat.setToolTip("Show where the network saw the points")
        self.tta.toggled.connect(self.tta_chosen)
        self.heat.toggled.connect(self.heat_wanted)
        self.buttons = {name: QPushButton(label) for name, label in
                        (("frame", "This frame"), ("file", "All frames"), ("all", "All files"))}  # fmt: skip
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _, name=name: self.wanted.emit(name))
            button.setToolTip("Predict; points that were edited stay where they are")
        self.doubt, self.review = text(), text()
        self.doubt.setStyleSheet(f"color: {COLOURS['uncoupled']};")
        self.before = arrow(Qt.ArrowType.LeftArrow, "The frame before it in this order")
        self.after = arrow(Qt.ArrowType.RightArrow, "The next frame by how much it deserves a second look")
        self.before.clicked.connect(lambda: self.review_wanted.emit(-1))
        self.after.clicked.connect(lambda: self.review_wanted.emit(1))
        self.review.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._queue = row(self.before, self.review, self.after)
        column(
            self,
            row(self.engine, self.device),
            row(self.tta, self.heat),
            row(*self.buttons.values()),
            self._queue,
        ).setContentsMargins(0, 0, 0, 0)
        self.show_prediction(None, None, 0)

    def show_choice(self, engine: str, device: str) -> None:
        """Show which engine and device are chosen."""
        for box, now in ((self.engine, engine), (self.device, device)):
            with signals_blocked(box):
                box.setCurrentText(now)

    def show_reel(self, reel: Reel | None) -> None:
        """Offer what there is to predict."""
        self.buttons["file"].setVisible(reel is not None and any(clip.count > 1 for clip in reel.clips))
        self.buttons["all"].setVisible(reel is not None and len(reel.clips) > 1)
        for button in self.buttons.values():
            button.setEnabled(reel is not None)

    def show_prediction(self, prediction: KeypointsPrediction | None, sheet: Sheet | None, step: int) -> None:
        """Show what the prediction of a frame doubts, and its place among those to look at again."""
        doubts = () if prediction is None else (*prediction.warnings, *prediction.hints)
        self.doubt.setText("\n".join(doubts))
        self.doubt.setVisible(bool(doubts))
        queue = [] if sheet is None else sheet.review_queue
        self._queue.setVisible(len(queue) > 1)
        if prediction is None:
            self.review.setText(f"{len(queue)} frames are predicted")
        elif step in queue:
            place = f"second look {queue.index(step) + 1} of {len(queue)}"
            self.review.setText(f"{place}, doubt {prediction.review:.2f}")
            self.review.setToolTip("From 0, surest, to 1: a hint for sorting, not an error bar")
