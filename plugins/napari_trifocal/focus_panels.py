"""The parts of the focus widget: fields for the placement, read-outs. Qt only; they know no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QLabeledDoubleSlider
from superqt.utils import signals_blocked

from napari_trifocal.focus_placing import AXES, MOST_STANDOFF_MM, angles_of, direction_of
from napari_trifocal.rows import form, row
from trifocal.focus.pose import Pose

if TYPE_CHECKING:
    from napari_trifocal.focus_placing import Placing
    from trifocal.focus.predictor import FocusPrediction

AXIS_NAMES = {"target": "on the target", "normal": "normal to the skin", "free": "free (as tilted or typed)"}
NOTHING = "-"


class MillimetreFields(QWidget):
    """Three number fields for a point in world millimetres."""

    edited = Signal()

    def __init__(self, labels: str = "RAS") -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.fields = [_number(-2000, 2000, 0.5, 1) for _ in labels]
        for field, label in zip(self.fields, labels, strict=True):
            field.setPrefix(f"{label} ")
            field.valueChanged.connect(self.edited)
            layout.addWidget(field)

    def show_point(self, point_mm: np.ndarray) -> None:
        """Show a point (3,) without telling anybody."""
        for field, value in zip(self.fields, point_mm, strict=True):
            with signals_blocked(field):
                field.setValue(float(value))

    def point(self, now: np.ndarray) -> np.ndarray:
        """The point (3,) typed; coordinates that were not touched keep their digits from `now`."""
        return np.array([_typed(f, float(v)) for f, v in zip(self.fields, now, strict=True)])


class PlacingPanel(QWidget):
    """Axis rule, stand-off, pose and target, in step with the mouse.

    Signals:
        axis_chosen: "target", "normal" or "free".
        standoff_chosen: mm.
        pose_typed: A `Pose`.
        target_typed: (3,) mm.
    """

    axis_chosen = Signal(str)
    standoff_chosen = Signal(float)
    pose_typed = Signal(object)
    target_typed = Signal(object)
    target_from_cursor = Signal()
    undo = Signal()
    redo = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._placing: Placing | None = None
        self.axis = QComboBox()
        for axis in AXES:
            self.axis.addItem(AXIS_NAMES[axis], axis)
        self.axis.setToolTip("What the beam axis follows while the bowl slides over the head")
        self.axis.activated.connect(lambda _: self.axis_chosen.emit(self.axis.currentData()))
        self.standoff = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.standoff.setRange(0.0, MOST_STANDOFF_MM)
        self.standoff.setDecimals(1)
        self.standoff.setToolTip("Gap between the bowl and the skin, in mm")
        self.standoff.valueChanged.connect(self.standoff_chosen)
        self.apex = MillimetreFields()
        self.azimuth = _number(-180, 180, 1, 1, " deg")
        self.elevation = _number(-90, 90, 1, 1, " deg")
        self.azimuth.setPrefix("az ")
        self.elevation.setPrefix("el ")
        self.azimuth.setWrapping(True)
        self.azimuth.setToolTip("Direction of the beam: from R toward A")
        self.elevation.setToolTip("Direction of the beam: toward S. A round bowl has no roll")
        self.target = MillimetreFields()
        self.apex.edited.connect(self._on_pose_typed)
        self.azimuth.valueChanged.connect(self._on_pose_typed)
        self.elevation.valueChanged.connect(self._on_pose_typed)
        self.target.edited.connect(self._on_target_typed)
        self.cursor = QPushButton("Target from cursor")
        self.cursor.setToolTip("In a slice view: put the target where the cursor is (key T)")
        self.cursor.clicked.connect(self.target_from_cursor)
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.undo_button.setToolTip("The pose before (Ctrl+Z)")
        self.redo_button.setToolTip("The pose that was undone (Ctrl+Shift+Z)")
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
        self._arrange()
        self.setEnabled(False)

    def show_placing(self, placing: Placing, *, can_undo: bool, can_redo: bool) -> None:
        """Bring all fields up to date without telling anybody."""
        self._placing = placing
        self.setEnabled(True)
        azimuth, elevation = angles_of(placing.pose.direction)
        with signals_blocked(self.standoff), signals_blocked(self.azimuth), signals_blocked(self.elevation):
            self.standoff.setValue(placing.standoff_mm)
            self.azimuth.setValue(azimuth)
            self.elevation.setValue(elevation)
        self.axis.setCurrentIndex(AXES.index(placing.axis))
        self.apex.show_point(placing.pose.apex_mm)
        self.target.show_point(placing.target_mm)
        self.undo_button.setEnabled(can_undo)
        self.redo_button.setEnabled(can_redo)

    def _on_pose_typed(self) -> None:
        if self._placing is None:
            return
        pose = self._placing.pose
        azimuth, elevation = angles_of(pose.direction)
        typed = _typed(self.azimuth, azimuth), _typed(self.elevation, elevation)
        direction = pose.direction if typed == (azimuth, elevation) else direction_of(*typed)
        self.pose_typed.emit(Pose.from_apex(self.apex.point(pose.apex_mm), direction))

    def _on_target_typed(self) -> None:
        if self._placing is not None:
            self.target_typed.emit(self.target.point(self._placing.target_mm))

    def _arrange(self) -> None:
        rows = form(self)
        rows.addRow("axis", self.axis)
        rows.addRow("stand-off", self.standoff)
        rows.addRow("apex, mm", self.apex)
        rows.addRow("beam", row(self.azimuth, self.elevation))
        rows.addRow("target, mm", self.target)
        rows.addRow("", row(self.cursor, self.undo_button, self.redo_button))


class ReadoutPanel(QWidget):
    """The figures of what is shown."""

    ROWS = ("focus", "to target", "peak", "transmission", "-6 dB", "computed")

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        self.values: dict[str, QLabel] = {}
        for line, name in enumerate(self.ROWS):
            value = QLabel(NOTHING)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            grid.addWidget(QLabel(name), line, 0)
            grid.addWidget(value, line, 1)
            self.values[name] = value
        self.values["focus"].setToolTip("Pressure-weighted centroid at -3 dB, world mm (R, A, S)")
        self.values["transmission"].setToolTip("Peak over the peak of the same bowl in water")
        self.values["-6 dB"].setToolTip("Length along the beam and width across it at half of the peak")

    def show_nothing(self) -> None:
        """There is no prediction."""
        for value in self.values.values():
            value.setText(NOTHING)

    def show_prediction(self, prediction: FocusPrediction, *, preview: bool) -> None:
        """Show the figures of a prediction."""
        f = prediction.figures
        length, width = f.fwhm_mm
        distance = NOTHING if f.distance_to_target_mm is None else f"{f.distance_to_target_mm:.1f} mm"
        texts = {
            "focus": "{:.1f}, {:.1f}, {:.1f} mm".format(*f.focus_mm),
            "to target": distance,
            "peak": f"{f.peak_pa / 1e3:.0f} kPa",
            "transmission": f"{100 * f.transmission:.0f} % of water",
            "-6 dB": f"{length:.1f} x {width:.1f} mm",
            "computed": f"{1e3 * prediction.seconds:.0f} ms, {prediction.engine} on {prediction.device}"
            + (", preview" if preview else ""),
        }
        for name, text in texts.items():
            self.values[name].setText(text)


def _number(low: float, high: float, step: float, decimals: int, suffix: str = "") -> QDoubleSpinBox:
    field = QDoubleSpinBox()
    field.setRange(low, high)
    field.setSingleStep(step)
    field.setDecimals(decimals)
    field.setSuffix(suffix)
    field.setKeyboardTracking(False)
    field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)  # the wheel and the arrow keys step too
    field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    field.setMinimumWidth(60)
    return field


def _typed(field: QDoubleSpinBox, now: float) -> float:
    """The value of a field, or `now` where the field only shows that with fewer digits."""
    value = float(field.value())
    return now if abs(value - now) <= 0.51 * 10 ** -field.decimals() else value
