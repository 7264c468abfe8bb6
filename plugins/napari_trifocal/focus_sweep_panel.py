"""The controls of a sweep. Qt only; they know no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QProgressBar,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_trifocal.focus_sweep_plot import Curves, SweepPlot
from napari_trifocal.rows import form, row
from trifocal.focus.sweep import MOST_STEPS, Sweep

if TYPE_CHECKING:
    from trifocal.focus.sweep import Frame

AXES = {
    "across the beam": None,
    "x (to the right)": "x",
    "y (to the front)": "y",
    "z (upward)": "z",
    "free": "",
}
CENTRES = {"the head": "head", "the target": "target"}
FILMS = ("MP4", "GIF")


class SweepPanel(QWidget):
    """How the bowl goes round; then a slider, the curves and what can be exported.

    Signals:
        start: A `Sweep` to compute; or a `ValueError` that says why there is none.
        looked: Index of a frame.
        film: "MP4" or "GIF".
    """

    start = Signal(object)
    cancel = Signal()
    looked = Signal(int)
    play = Signal()
    film = Signal(str)
    csv = Signal()
    keep = Signal()
    back = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._angles = np.zeros(0)
        self._make_settings()
        self._make_run()
        self._make_results()
        self._arrange()
        self.show_frames((), None, running=False)

    def sweep(self) -> Sweep:
        """What is set.

        Raises:
            ValueError: If it is no sweep.
        """
        axis = AXES[self.axis.currentText()]
        free = tuple(field.value() for field in self.direction)
        centre = CENTRES[self.centre.currentText()]
        return Sweep(free if axis == "" else axis, centre, self.steps.value(), self.step.value())

    def show_frames(self, frames: tuple[Frame, ...], sweep: Sweep | None, *, running: bool) -> None:
        """Bring everything up to date with the frames that are there."""
        self._angles = np.array([frame.angle_deg for frame in frames])
        self.results.setVisible(bool(frames))
        self.plot.show_curves(Curves.of(frames, sweep) if frames and sweep else None)
        with signals_blocked(self.slider):
            self.slider.setRange(0, max(len(frames) - 1, 0))
        self.show_busy(busy=running)

    def show_index(self, index: int | None) -> None:
        """Show which frame is looked at."""
        with signals_blocked(self.slider):
            self.slider.setValue(len(self._angles) // 2 if index is None else index)
        text = "" if index is None else f"{self._angles[index]:+.1f} deg, {index + 1} of {len(self._angles)}"
        self.angle.setText(text)
        self.plot.show_index(index)
        for button in (self.keep_button, self.back_button):
            button.setEnabled(index is not None)

    def show_progress(self, fraction: float, what: str) -> None:
        """Show how far it is."""
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")

    def show_playing(self, *, playing: bool) -> None:
        """Name the button after what it does."""
        self.play_button.setText("Stop" if playing else "Play")

    def show_busy(self, *, busy: bool) -> None:
        """While frames are computed or filmed there is only Cancel."""
        self.stop.setEnabled(busy)
        for button in (self.begin, *self.films, self.csv_button):
            button.setEnabled(not busy)
        if not busy:
            self.show_progress(1.0, "")

    def _make_settings(self) -> None:
        self.axis, self.centre = QComboBox(), QComboBox()
        self.axis.addItems(AXES)
        self.axis.setToolTip("What the bowl is turned about; across the beam is as near to z as that allows")
        self.axis.currentTextChanged.connect(self._on_axis)
        self.centre.addItems(CENTRES)
        self.direction = [QDoubleSpinBox() for _ in "RAS"]
        for field, letter in zip(self.direction, "RAS", strict=True):
            field.setRange(-1.0, 1.0)
            field.setSingleStep(0.1)
            field.setPrefix(f"{letter} ")
            field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.direction[2].setValue(1.0)
        self.steps, self.step = QSpinBox(), QDoubleSpinBox()
        self.steps.setRange(2, MOST_STEPS)
        self.steps.setValue(35)
        self.steps.setSuffix(" frames")
        self.step.setRange(0.1, 90.0)
        self.step.setValue(1.6)
        self.step.setDecimals(1)
        self.step.setSingleStep(0.2)
        self.step.setSuffix(" deg")
        self.step.setToolTip("From one frame to the next; the present pose is the middle")

    def _make_run(self) -> None:
        self.begin, self.stop = QPushButton("Sweep"), QPushButton("Cancel")
        self.begin.setToolTip("Compute every frame from the present pose, with the engine chosen above")
        self.begin.clicked.connect(self._on_begin)
        self.stop.clicked.connect(self.cancel)
        self.bar = QProgressBar()

    def _make_results(self) -> None:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setPageStep(1)
        self.slider.valueChanged.connect(self.looked)
        self.play_button = QPushButton("Play")
        self.play_button.clicked.connect(self.play)
        self.angle = QLabel()
        self.angle.setMinimumWidth(self.angle.fontMetrics().horizontalAdvance("+00.0 deg, 00 of 00 "))
        self.plot = SweepPlot()
        self.plot.picked.connect(self.looked)
        self.films = [QPushButton(f"{name}...") for name in FILMS]
        for button, name in zip(self.films, FILMS, strict=True):
            button.setToolTip("A film of the view with the curves beside it")
            button.clicked.connect(lambda _, name=name: self.film.emit(name))
        self.csv_button = QPushButton("CSV...")
        self.csv_button.setToolTip("The figures of every frame")
        self.csv_button.clicked.connect(self.csv)
        self.keep_button, self.back_button = QPushButton("Keep pose"), QPushButton("Back")
        self.keep_button.setToolTip("Put the bowl into the pose that is shown")
        self.back_button.setToolTip("Show the pose from before the sweep")
        self.keep_button.clicked.connect(self.keep)
        self.back_button.clicked.connect(self.back)

    def _arrange(self) -> None:
        settings = QWidget()
        rows = form(settings)
        rows.addRow("axis", self.axis)
        self._free = row(*self.direction)
        rows.addRow("", self._free)
        rows.addRow("about", self.centre)
        rows.addRow("steps", row(self.steps, self.step))
        self._free.setVisible(False)
        self.results = QWidget()
        inner = QVBoxLayout(self.results)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(3)
        inner.addWidget(row(self.slider, self.angle, self.play_button))
        inner.addWidget(self.plot)
        inner.addWidget(row(*self.films, self.csv_button, self.keep_button, self.back_button))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (settings, row(self.begin, self.bar, self.stop), self.results):
            layout.addWidget(widget)

    def _on_axis(self, name: str) -> None:
        self._free.setVisible(AXES[name] == "")

    def _on_begin(self) -> None:
        try:
            wanted: Sweep | ValueError = self.sweep()
        except ValueError as error:
            wanted = error
        self.start.emit(wanted)
