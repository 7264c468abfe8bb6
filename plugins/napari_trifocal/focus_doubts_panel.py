"""The controls of the doubts, and what they say. Qt only; and the view that binds both to the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_trifocal.controls import button, text
from napari_trifocal.focus_doubts import Doubting
from napari_trifocal.layers import ELLIPSOID, SPREAD, ellipsoid_layer, spread_layer
from napari_trifocal.rows import row
from trifocal import RESEARCH_USE_ONLY
from trifocal.focus.doubts_output import doubts_text

if TYPE_CHECKING:
    from napari_trifocal.focus_form import FocusForm
    from napari_trifocal.focus_scene import FocusScene
    from napari_trifocal.focus_session import FocusSession
    from napari_trifocal.worker import Post
    from trifocal.focus.uncertainty import Doubts


class DoubtsPanel(QWidget):
    """How many samples, and the sentences.

    Signals:
        ask: How many samples.
        cancel: Stop.
    """

    ask = Signal(int)
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.samples = QSpinBox()
        self.samples.setRange(8, 200)
        self.samples.setValue(32)
        self.samples.setSuffix(" samples")
        tip = "Predict again with other skull properties and other poses, within what is not known of them"
        self.begin = button("How sure?", tip, lambda: self.ask.emit(self.samples.value()))
        self.stop = QPushButton("Cancel")
        self.stop.clicked.connect(self.cancel)
        self.bar = QProgressBar()
        self.said = text()
        self.said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for part in (row(self.samples, self.begin, self.bar, self.stop), self.said):
            layout.addWidget(part)
        self.show_found(None, running=False)

    def show_found(self, found: Doubts | None, *, running: bool) -> None:
        """Say what was found."""
        self.begin.setEnabled(not running)
        self.stop.setEnabled(running)
        self.said.setText("" if found is None else f"{doubts_text(found).strip()}\n{RESEARCH_USE_ONLY}")
        self.said.setVisible(found is not None)

    def show_progress(self, fraction: float, what: str) -> None:
        """Show how far it is."""
        self.bar.setValue(int(100 * fraction) if fraction < 1 else 0)
        self.bar.setFormat(what if fraction < 1 else "")


class DoubtsView(QObject):
    """Shows the ellipsoid of the focus in 3-D and the standard deviation on slices.

    Args:
        session: Head, bowl, pose, target.
        scene: The layers.
        form: Holds the panel.
        post: Runs a function on the interface thread, later.

    Attributes:
        doubting: The work; without Qt.
    """

    def __init__(self, session: FocusSession, scene: FocusScene, form: FocusForm, post: Post) -> None:
        super().__init__(form)
        self._scene, self._panel = scene, form.doubts
        self.doubting = Doubting(session, post)
        self.doubting.changed.connect(self._on_doubting_changed)
        self.doubting.progress.connect(self._panel.show_progress)
        self._panel.ask.connect(self.doubting.ask)
        self._panel.cancel.connect(self._on_panel_cancel)

    @property
    def busy(self) -> bool:
        """Whether a thread is at work."""
        return self.doubting.busy

    def close(self) -> None:
        """Stop."""
        self.doubting.end()

    def _on_doubting_changed(self) -> None:
        found = self.doubting.found
        self._panel.show_found(found, running=self.doubting.running)
        for role in (ELLIPSOID, SPREAD):
            self._scene.drop(role)
        if found is not None:
            self._scene.show(ellipsoid_layer(found.ellipsoid))
            self._scene.show(spread_layer(found))

    def _on_panel_cancel(self) -> None:
        self.doubting.cancel()
