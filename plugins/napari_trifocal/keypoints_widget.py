"""The keypoints widget: named points on ultrasound, by the engine or by hand, and what they measure."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image as Picture
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget

from napari_trifocal.array_reel import reel_of_array
from napari_trifocal.interface import Interface
from napari_trifocal.keypoints_engines import load_engine
from napari_trifocal.keypoints_export import Export, command_line
from napari_trifocal.keypoints_form import KeypointsForm
from napari_trifocal.keypoints_layers import FRAMES, REEL
from napari_trifocal.keypoints_mouse import KeypointsMouse
from napari_trifocal.keypoints_scene import KeypointsScene
from napari_trifocal.keypoints_session import NOTHING_OPEN, KeypointsSession
from napari_trifocal.reel import Reel
from napari_trifocal.settings import default_device
from trifocal.image import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer
    from napari.viewer import Viewer


class KeypointsWidget(QWidget):
    """Dock widget of a napari viewer.

    Args:
        napari_viewer: The viewer that it belongs to.

    Attributes:
        session: Frames, task, points, predictions, scale; without Qt.
        scene: The layers.
        form: The controls.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._docked = self._released = False
        super().__init__()
        self._viewer = napari_viewer
        interface = Interface()
        self.session = KeypointsSession(interface.call.emit, default_device(), load_engine)
        keys = {
            "Control-Z": self.session.undo,
            "Control-Shift-Z": self.session.redo,
            "Delete": self.session.delete,
            "Backspace": self.session.delete,
        }
        self.scene = KeypointsScene(napari_viewer, keys)
        self._mouse = KeypointsMouse(napari_viewer, self.session, self.scene)
        self.form = KeypointsForm(self.session)
        self._moving = False
        self._arrange()
        self._bind_keys()
        self._connect()
        session = self.session
        # `interface` is named to be kept: the threads post through it until they have ended
        self.destroyed.connect(lambda *_, kept=interface: session.close())
        self._on_viewer_layers()
        for layer in [layer for layer in napari_viewer.layers if REEL in layer.metadata][-1:]:
            self.load(layer)

    def load(self, source: str | Path | Reel | Layer | Iterable[str | Path]) -> None:
        """Work on files, folders, a reel, or an image layer of the viewer. Files take a while; see `wait`."""
        if isinstance(source, Reel):
            self.session.show(source)
        elif isinstance(source, str | Path):
            self.session.open([source])
        elif not isinstance(source, Picture):
            self.session.open(source)
        elif REEL in source.metadata:
            self.session.show(source.metadata[REEL])
        elif source.source.path is not None and Path(source.source.path).is_file():
            self.session.open([source.source.path])  # the file itself says more than the layer
        else:
            self._load_array(source)

    def export(self, folder: str | Path) -> None:
        """Write what was found in all files to a folder. Returns at once; see `wait`."""
        session = self.session
        if session.book is None:
            session.say(f"{NOTHING_OPEN}: there is nothing to export", is_error=True)
            return
        try:
            export = Export.of(session.book, self.form.export.plan)
        except ValueError as error:
            session.refuse(error)
            return
        session.run_saving(
            lambda report: export.write(Path(folder), report),
            lambda path: session.say(
                "; ".join([f"exported to {path}", *export.problems]), is_error=bool(export.problems)
            ),
        )

    def copy_command(self) -> None:
        """Copy the command that predicts the same files in the same way to the clipboard."""
        session = self.session
        if session.book is None:
            session.say(NOTHING_OPEN, is_error=True)
            return
        try:
            line = command_line(session.book, session.task, session.predicting, self.form.export.plan)
        except ValueError as error:
            session.refuse(error)
            return
        QApplication.clipboard().setText(line)
        session.say(f"copied: {line}")

    def wait(self, timeout: float = 60.0) -> bool:
        """Let the window live until nothing is being computed any more; False if that takes too long."""
        end = time.monotonic() + timeout
        while self.session.busy:
            if time.monotonic() > end:
                return False
            QApplication.processEvents()
            time.sleep(0.002)  # a loop without it would keep the interpreter's lock from the threads
        self.form.show_curve()
        return True

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop the threads and let go of the viewer."""
        self._release()
        super().closeEvent(event)

    def event(self, event: QEvent) -> bool:
        """Also let go when napari takes the widget out of its dock: it is never docked again."""
        if event.type() == QEvent.Type.ParentChange:
            was_docked, self._docked = self._docked, self.parent() is not None
            if was_docked and not self._docked:
                self._release()
        return bool(super().event(event))

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        self.session.close()
        self._mouse.close()
        self.scene.close()
        self._viewer.dims.events.point.disconnect(self._on_viewer_step)
        self._viewer.layers.events.inserted.disconnect(self._on_viewer_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_viewer_layers)

    def _load_array(self, layer: Picture) -> None:
        try:
            reel = reel_of_array(layer.data, layer.name, rgb=layer.rgb, limits=tuple(layer.contrast_limits))
        except ImageError as error:
            self.session.refuse(error)
            return
        layer.visible = False
        self.session.show(reel)

    def _on_session_opened(self) -> None:
        assert self.session.reel is not None
        self._moving = True
        try:
            self.scene.show_reel(self.session.reel, self.session.task)
        finally:
            self._moving = False
        self.scene.go(self.session.step)
        self._show_all()

    def _on_session_task(self) -> None:
        if self.scene.layer(FRAMES) is not None:
            self.scene.show_task(self.session.task)
            self._show_all()

    def _on_session_step(self) -> None:
        self._moving = True
        try:
            self.scene.go(self.session.step)
        finally:
            self._moving = False
        self._show_all()

    def _show_all(self) -> None:
        self._on_session_marks()
        self._on_modes()

    def _on_session_marks(self) -> None:
        session = self.session
        if session.book is None or session.marks is None:
            return
        self.scene.show_marks(session.task, session.marks, session.book.ellipse(session.task, session.step))
        self._show_heat()

    def _on_modes(self) -> None:
        modes = self.session.modes
        self.scene.show_chosen(modes.selected)
        self.scene.show_ruler(modes.ruler)

    def _on_heat_wanted(self, wanted: bool) -> None:
        prediction = None if self.session.marks is None else self.session.marks.prediction
        if wanted and (prediction is None or prediction.heat is None) and self.session.book is not None:
            self.session.predicting.start("frame")
        self._show_heat()

    def _show_heat(self) -> None:
        marks = self.session.marks
        wanted = self.form.predict.heat.isChecked() and marks is not None and marks.prediction is not None
        self.scene.show_heat(marks.prediction.heat if wanted else None)

    def _on_viewer_step(self, _: object = None) -> None:
        step = self.scene.step
        if step is not None and not self._moving:
            self.session.set_step(step)

    def _on_viewer_inserted(self, event: Any) -> None:
        self._on_viewer_layers()
        reel = event.value.metadata.get(REEL)
        if reel is not None and reel is not self.session.reel:
            # Later: layers cannot be taken away while one is being added.
            QTimer.singleShot(0, lambda: self._adopt(event.value))

    def _adopt(self, layer: Layer) -> None:
        if layer in self._viewer.layers and not self._released:
            self.load(layer)

    def _on_viewer_layers(self, _: object = None) -> None:
        own = list(self.scene.layers.values())
        layers = [x for x in self._viewer.layers if isinstance(x, Picture) and x not in own]
        self.form.source.show_layers([x for x in layers if 2 <= x.ndim <= 3 and not x.multiscale])

    def _connect(self) -> None:
        session, viewer = self.session, self._viewer
        session.opened.connect(self._on_session_opened)
        session.task_changed.connect(self._on_session_task)
        session.step_changed.connect(self._on_session_step)
        session.marks_changed.connect(self._on_session_marks)
        session.modes.changed.connect(self._on_modes)
        viewer.dims.events.point.connect(self._on_viewer_step)
        viewer.layers.events.inserted.connect(self._on_viewer_inserted)
        viewer.layers.events.removed.connect(self._on_viewer_layers)
        self.form.source.layer_chosen.connect(self.load)
        self.form.predict.heat_wanted.connect(self._on_heat_wanted)
        self.form.export.folder_chosen.connect(self.export)
        self.form.export.command_wanted.connect(self.copy_command)

    def _bind_keys(self) -> None:
        for key, act in (("Z", self.session.undo), ("Shift+Z", self.session.redo)):
            shortcut = QShortcut(QKeySequence(f"Ctrl+{key}"), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    def _arrange(self) -> None:
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.form.notice, self.form.predict.doubt, area, self.form.footer):
            layout.addWidget(part)
        self.setMinimumWidth(self.form.minimumSizeHint().width() + 24)
