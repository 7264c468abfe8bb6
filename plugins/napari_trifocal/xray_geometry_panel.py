"""Where the sources and the detectors stood, and the box that is reconstructed, as fields. Qt only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QGridLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import combo, text
from napari_trifocal.layers import COLOURS
from napari_trifocal.rows import column, row
from napari_trifocal.xray_setup import POSITIONS, center_to_detector_mm
from napari_trifocal.xray_slot import SIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QComboBox

    from napari_trifocal.xray_setup import Resolved
    from napari_trifocal.xray_slot import Side

ASSUMED = f"color: {COLOURS['uncoupled']};"
POSITION, SOURCE, CENTER = "position", "source_to_detector_mm", "center_to_detector_mm"
"""Fields of `Known`."""


class GeometryPanel(QWidget):
    """Fields of the views and the box; orange where a value is an assumption.

    Signals:
        typed: A side, a field of `Known` and its value.
        extent_typed: Edges of the box, mm.
        energy_typed: keV.
    """

    typed = Signal(str, str, object)
    extent_typed = Signal(tuple)
    energy_typed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.position: dict[Side, QComboBox] = {}
        self.source: dict[Side, QDoubleSpinBox] = {}
        self.center: dict[Side, QDoubleSpinBox] = {}
        for side in SIDES:
            self.position[side] = combo()
            self.position[side].addItems(list(POSITIONS[side]))
            self.position[side].activated.connect(lambda _, side=side: self._on_position(side))
            for fields, name, limits in (
                (self.source, SOURCE, (200.0, 6000.0)),
                (self.center, CENTER, (10.0, 2000.0)),
            ):
                fields[side] = _number(*limits, " mm")
                fields[side].valueChanged.connect(
                    lambda mm, side=side, name=name: self.typed.emit(side, name, mm)
                )
        self.extent = [_number(20, 1000, "") for _ in range(3)]
        self.energy = _number(20, 200, " keV")
        self.energy.setToolTip("Effective energy of the beam, at which attenuation becomes HU")
        for field in self.extent:
            field.valueChanged.connect(self._on_extent)
        self.energy.valueChanged.connect(self.energy_typed)
        self.doubts, self.assumed, self.box = text(), text(), text()
        self.doubts.setStyleSheet(ASSUMED)
        self._arrange()
        self.show_doubts(())

    def show_geometry(self, resolved: Resolved, *, exact: bool) -> None:
        """Show where things stand, what of it was assumed, and whether it is known exactly."""
        grid = resolved.geometry.grid
        for side in SIDES:
            view = resolved.view(side)
            fields = (self.position[side], self.source[side], self.center[side])
            for field, name in zip(fields, (POSITION, SOURCE, CENTER), strict=True):
                field.setEnabled(view is not None)
                found = resolved.assumed(side, name)
                field.setStyleSheet("" if found is None else ASSUMED)
                field.setToolTip("" if found is None else f"Assumed: {found.why}. Type what is true")
            if view is None:
                continue
            _put(self.source[side], view.source_to_detector_mm)
            _put(self.center[side], center_to_detector_mm(view, grid))
            named = "RL" if view.name == "LATERAL" and view.normal[0] > 0 else view.name
            with signals_blocked(self.position[side]):
                self.position[side].setCurrentText(named)
        for field, edge in zip(self.extent, grid.extent_mm, strict=True):
            _put(field, float(edge))
            field.setStyleSheet("" if resolved.assumed("", "edge_mm") is None else ASSUMED)
        _put(self.energy, resolved.geometry.energy_kev)
        shape = " x ".join(map(str, grid.shape))
        known = "known exactly" if exact else ""
        self.box.setText(f"{shape} voxels of {grid.spacing_mm[0]:.2f} mm{'; ' + known if known else ''}")
        count = len(resolved.assumptions)
        self.assumed.setVisible(bool(count))
        self.assumed.setText("orange: assumed, no file says it; type what is true")
        self.assumed.setToolTip(
            "\n".join(f"{a.view} {a.field}: {a.value} ({a.why})" for a in resolved.assumptions)
        )

    def show_doubts(self, doubts: Sequence[str]) -> None:
        """Show what does not look plausible."""
        self.doubts.setText("\n".join(doubts))
        self.doubts.setVisible(bool(doubts))

    def _on_position(self, side: Side) -> None:
        self.typed.emit(side, POSITION, self.position[side].currentText())

    def _on_extent(self, _: float) -> None:
        self.extent_typed.emit(tuple(field.value() for field in self.extent))

    def _arrange(self) -> None:
        fields = QWidget()
        grid = QGridLayout(fields)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        labels = ("view", "source to detector", "centre to detector")
        for line, label in enumerate(labels):
            grid.addWidget(QLabel(label), line, 0)
        for place, side in enumerate(SIDES):
            for line, field in enumerate((self.position[side], self.source[side], self.center[side])):
                grid.addWidget(field, line, 1 + place)
        for label, field in zip(("R-L", "A-P", "S-I"), self.extent, strict=True):
            field.setToolTip(f"Edge of the reconstructed box, {label}, mm")
        grid.addWidget(QLabel("energy"), 3, 0)
        grid.addWidget(self.energy, 3, 1)
        extent = row(QLabel("box, mm"), *self.extent)
        column(self, fields, extent, self.box, self.assumed, self.doubts).setContentsMargins(0, 0, 0, 0)


def _put(field: QDoubleSpinBox, value: float) -> None:
    with signals_blocked(field):
        field.setValue(value)


def _number(low: float, high: float, suffix: str) -> QDoubleSpinBox:
    field = QDoubleSpinBox()
    field.setRange(low, high)
    field.setDecimals(1)
    field.setSuffix(suffix)
    field.setKeyboardTracking(False)
    field.setMinimumWidth(64)
    return field
