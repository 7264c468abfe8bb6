"""How to reconstruct, and X-rays simulated from a CT. Qt only; it knows no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QSpinBox, QWidget
from superqt.utils import signals_blocked

from napari_trifocal.controls import button, combo
from napari_trifocal.engine_store import DEVICES
from napari_trifocal.rows import column, row
from napari_trifocal.xray_engines import ENGINES

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_trifocal.xray_jobs import Options

ABOUT = {
    "network": "the bundled network, 64 voxels along the longest edge",
    "least squares": "what agrees with the X-rays without anything learned",
}


class RunPanel(QWidget):
    """Engine, device, refinement, samples; reconstruct.

    Signals:
        chosen: A dict of `Options` by name.
        wanted: Reconstruct.
    """

    chosen = Signal(dict)
    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.device = combo(), combo()
        self.engine.addItems(list(ENGINES))
        self.device.addItems(list(DEVICES))
        self.engine.setToolTip("\n".join(f"{name}: {what}" for name, what in ABOUT.items()))
        self.device.setToolTip("auto: the GPU if there is one")
        self.refine = QCheckBox("refine by the X-rays")
        self.refine.setToolTip(
            "Bring the volume into agreement with the X-rays, no closer than their expected error"
        )
        self.samples = QSpinBox()
        self.samples.setRange(0, 32)
        self.samples.setToolTip("Of the uncertainty; 0: the engine's own estimate alone. Each takes time")
        self.run = button("Reconstruct", "A CT from the X-rays above", self.wanted.emit)
        self.run.setStyleSheet("font-weight: bold; padding: 6px;")
        self.engine.activated.connect(lambda _: self.chosen.emit({"engine": self.engine.currentText()}))
        self.device.activated.connect(lambda _: self.chosen.emit({"device": self.device.currentText()}))
        self.refine.toggled.connect(lambda on: self.chosen.emit({"refine": on}))
        self.samples.valueChanged.connect(lambda n: self.chosen.emit({"samples": n}))
        column(
            self,
            row(self.engine, self.device),
            row(self.refine, QLabel("samples"), self.samples),
            self.run,
        ).setContentsMargins(0, 0, 0, 0)

    def show_options(self, options: Options) -> None:
        """Show what is chosen."""
        for box, now in ((self.engine, options.engine), (self.device, options.device)):
            with signals_blocked(box):
                box.setCurrentText(now)
        with signals_blocked(self.refine):
            self.refine.setChecked(options.refine)
        with signals_blocked(self.samples):
            self.samples.setValue(options.samples)


class SimulatePanel(QWidget):
    """X-rays of a CT layer, or of the trunk phantom.

    Signals:
        wanted: An image layer in HU.
        story: Make the phantom, project, reconstruct and compare.
    """

    wanted = Signal(object)
    story = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layers: list[Layer] = []
        self.layer = combo()
        self.layer.setToolTip("A CT in HU; it is also what the reconstruction is compared with")
        self.simulate = QPushButton("Simulate X-rays from this CT")
        self.simulate.setToolTip("In the geometry below, with a box planned around the CT")
        self.simulate.clicked.connect(self._on_simulate)
        self.sample = button(
            "Trunk phantom: X-rays, CT, comparison", "All of it, without any file", self.story.emit
        )
        column(self, self.layer, self.simulate, self.sample).setContentsMargins(0, 0, 0, 0)

    def show_layers(self, layers: list[Layer]) -> None:
        """Offer these image layers; what was chosen stays chosen."""
        index = self.layer.currentIndex()
        chosen = self._layers[index] if 0 <= index < len(self._layers) else None
        self._layers = layers
        with signals_blocked(self.layer):
            self.layer.clear()
            self.layer.addItems([layer.name for layer in layers])
            if not layers:
                self.layer.addItem("open a CT first")
            self.layer.setCurrentIndex(layers.index(chosen) if chosen in layers else 0)
        self.simulate.setEnabled(bool(layers))

    def _on_simulate(self) -> None:
        index = self.layer.currentIndex()
        if 0 <= index < len(self._layers):
            self.wanted.emit(self._layers[index])
