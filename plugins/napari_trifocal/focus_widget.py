"""The focus widget: drag an ultrasound bowl over a head and watch where it focuses."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as Volume
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QScrollArea, QVBoxLayout, QWidget

from napari_trifocal.focus_compare import Comparing
from napari_trifocal.focus_doubts_panel import DoubtsView
from napari_trifocal.focus_drag import FocusDrag
from napari_trifocal.focus_form import FocusForm
from napari_trifocal.focus_jobs import Source, command_line, save
from napari_trifocal.focus_poses_view import PosesView
from napari_trifocal.focus_scene import VOLUMES, FocusScene
from napari_trifocal.focus_session import FocusSession
from napari_trifocal.focus_sweep import FocusSweep
from napari_trifocal.focus_verify import CompareView
from napari_trifocal.interface import Interface
from napari_trifocal.layers import BOWL, CLOUD, CT, SLICES
from napari_trifocal.settings import cache_folder, default_device
from napari_trifocal.turns import Turns
from napari_trifocal.writer import layer_image
from trifocal.image import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_trifocal.focus_jobs import Answer
    from trifocal.focus.pose import Pose

# While the bowl is dragged it is drawn together with its cloud, or after this time: a frame costs as much as
# a prediction without a GPU, and one for each mouse move would double the way of a cloud to the screen.
HOLD_S = 0.3


class FocusWidget(QWidget):
    """Dock widget of a napari viewer.

    Args:
        napari_viewer: The viewer that it belongs to.

    Attributes:
        session: Head, bowl, pose, target, predictions; without Qt.
        comparing: The solver's field or a pinned prediction, and how far it is; without Qt.
        scene: The layers.
        compared: How the comparison is shown.
        sweep: The bowl going round the head.
        poses: The search for a pose.
        doubts: How sure the focus is.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._docked = self._released = False
        super().__init__()
        self._viewer = napari_viewer
        interface = Interface()
        self.session = FocusSession(interface.call.emit, default_device())
        self.comparing = Comparing(self.session, interface.call.emit)
        self.scene = FocusScene(napari_viewer)
        self._drag = FocusDrag(napari_viewer, self.session, self.scene)
        self._adopting: Layer | None = None
        self._shown_at = 0.0
        self._turns = Turns(self)
        self._hold = QTimer(self, singleShot=True)
        self._hold.timeout.connect(self._show_placing)
        self.form = FocusForm(self.session)
        self.compared = CompareView(napari_viewer, self.scene, self.comparing, self.form.compare)
        self.sweep = FocusSweep(napari_viewer, self.session, self.scene, self.form, interface.call.emit)
        self.doubts = DoubtsView(self.session, self.scene, self.form, interface.call.emit)
        self.poses = PosesView(self.session, self.scene, self.form, interface.call.emit)
        self._arrange()
        self._connect_session()
        self._connect_form()
        self._bind_keys()
        self._on_viewer_layers()
        self.session.find_engines()
        napari_viewer.layers.events.inserted.connect(self._on_viewer_layers)
        napari_viewer.layers.events.removed.connect(self._on_viewer_layers)
        session, comparing, sweep = self.session, self.comparing, self.sweep.model
        finding, doubting = self.poses.finding, self.doubts.doubting
        # `interface` is named to be kept: the threads post through it until they have ended
        self.destroyed.connect(
            lambda *_, kept=interface: (
                session.close(),
                comparing.end(),
                sweep.end(),
                finding.end(),
                doubting.end(),
            )
        )

    def load(self, source: str | Path | Image | Layer, *, resample: bool = False) -> None:
        """Open a head CT: a path, an image, or an image layer of the viewer. Returns at once; see `wait`."""
        self._adopting = None
        if isinstance(source, Image):
            loaded = Source(image=source, label=str(source.notes.get("source") or "CT"))
        elif isinstance(source, str | Path):
            loaded = Source(path=Path(source), resample=resample)
        else:
            self._adopting = source
            path = source.source.path
            image = layer_image(source.data, source.as_layer_data_tuple()[1])
            loaded = Source(None if path is None else Path(path), image, label=source.name)
        self.session.load(loaded)

    def set_pose(self, pose: Pose) -> None:
        """Put the bowl into a pose."""
        self.session.set_pose(pose)

    def set_view(self, name: str) -> None:
        """Choose "3-D", "axial", "coronal" or "sagittal"."""
        self.scene.look(name, self.session.target_mm, self.session.pose)

    def save(self, folder: str | Path) -> None:
        """Write field, figures, pose, pictures and provenance to a folder. Returns at once; see `wait`."""
        order, answer = self.session.order(), self.session.answer
        if order is None:
            self.session.say("open a head CT first: there is nothing to save", is_error=True)
            return
        fits = answer is not None and not answer.order.preview and answer.order.pose is order.pose
        prediction = answer.prediction if fits and not self.session.dragging else None
        picture = np.asarray(self._viewer.screenshot(canvas_only=False, flash=False))
        truth = self.comparing.truth_for(order)
        self.session.run_saving(
            lambda report: save(order, prediction, Path(folder), picture, report, truth),
            lambda path: self.session.say(f"saved to {path}"),
        )

    def copy_command(self) -> None:
        """Copy the command that repeats the prediction to the clipboard. Returns at once; see `wait`."""
        order, source, bowl = self.session.order(), self.session.source, self.session.bowl_name
        if order is None or source is None:
            self.session.say("open a head CT first: there is nothing to repeat", is_error=True)
            return
        folder, verify = cache_folder(), self.comparing.truth_for(order) is not None
        self.session.run_saving(
            lambda _: command_line(order, source, bowl, folder, verify=verify), self._on_command
        )

    def wait(self, timeout: float = 60.0) -> bool:
        """Let the window live until nothing is being computed any more; False if that takes too long."""
        end = time.monotonic() + timeout
        parts = self.session, self.comparing, self.sweep, self.poses, self.doubts
        while any(part.busy for part in parts) or self._turns.waiting:
            if time.monotonic() > end:
                return False
            QApplication.processEvents()
            time.sleep(0.002)  # a loop without it would keep the interpreter's lock from the threads
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
        self._hold.stop()
        self._turns.clear()
        self.session.close()
        self.comparing.end()
        self.compared.close()
        self.sweep.close()
        self.poses.close()
        self.doubts.close()
        self._drag.close()
        self.scene.close()
        self._viewer.layers.events.inserted.disconnect(self._on_viewer_layers)
        self._viewer.layers.events.removed.disconnect(self._on_viewer_layers)
        for key in ("Control-Z", "Control-Shift-Z", "T"):
            self._viewer.bind_key(key, None, overwrite=True)

    def _on_session_loaded(self, layers: list[Any]) -> None:
        adopted = self._adopting if self._adopting in self._viewer.layers else None
        self._adopting = None
        self.form.readout.show_nothing()
        # napari takes up to half a second to add a layer: one in each turn.
        self._turns.clear()
        self._turns.add(
            lambda: self.scene.clear(layers, adopted),
            *(partial(self.scene.show, layer, role) for role, layer in self.scene.missing(layers, adopted)),
            self._on_viewer_layers,
            self._show_placing,
            lambda: self.set_view("3-D"),
        )

    def _on_session_placed(self) -> None:
        if self._turns.waiting and not self.session.dragging:
            self._turns.add(self._show_placing)  # after the head that it lies on
            return
        wait = self._shown_at + HOLD_S - time.monotonic()
        if not self.session.dragging or wait <= 0:
            self._show_placing()
        elif not self._hold.isActive():
            self._hold.start(int(1e3 * wait) + 1)

    def _show_placing(self) -> None:
        self._hold.stop()
        self._shown_at = time.monotonic()
        session = self.session
        self.form.show_placing()
        self.scene.show_bowl(session.bowl, session.pose, session.coupling, dragging=session.dragging)
        self.scene.show_target(session.target_mm)

    def _on_session_bowl_changed(self) -> None:
        self.scene.drop(BOWL)
        if self.session.pose is not None and not self._turns.waiting:
            self.scene.show_bowl(self.session.bowl, self.session.pose, self.session.coupling)

    def _on_session_predicted(self, answer: Answer) -> None:
        if self._hold.isActive():
            self._show_placing()
        hidden = answer.order.preview
        shows = [partial(self.scene.show, layer) for layer in answer.layers]
        hides = [partial(self.scene.hide, role, hidden=hidden) for role in (CLOUD, SLICES)]
        if hidden and not self._turns.waiting:
            for call in (*shows, *hides):
                call()
        else:
            self._turns.add(*shows, *hides)

    def _on_command(self, line: str) -> None:
        QApplication.clipboard().setText(line)
        self.session.say(f"copied: {line}")

    def _on_viewer_layers(self, _: object = None) -> None:
        volumes = [layer for layer in self._viewer.layers if isinstance(layer, Volume) and layer.ndim == 3]
        own = [self.scene.layer(role) for role in VOLUMES]
        self.form.show_layers([layer for layer in volumes if layer not in own], self.scene.layer(CT))

    def _act(self, act: Callable[[], None]) -> None:
        if self.scene.viewer is self._viewer:  # else it is another widget's turn
            act()

    def _target_from_cursor(self, _: object = None) -> None:
        if self.scene.viewer is not self._viewer:  # another widget's turn
            return
        if self._viewer.dims.ndisplay == 3:
            self.session.say("the cursor has a depth in slice views only: choose one first", is_error=True)
        elif len(self._viewer.cursor.position) == 3:
            self.session.set_target(self._viewer.cursor.position)

    def _connect_session(self) -> None:
        self.session.loaded.connect(self._on_session_loaded)
        self.session.placed.connect(self._on_session_placed)
        self.session.bowl_changed.connect(self._on_session_bowl_changed)
        self.session.predicted.connect(self._on_session_predicted)

    def _connect_form(self) -> None:
        form = self.form
        form.file_chosen.connect(lambda path: self.load(path, resample=form.resample.isChecked()))
        form.layer_chosen.connect(self.load)
        form.view_chosen.connect(self.set_view)
        form.folder_chosen.connect(self.save)
        form.copy.connect(self.copy_command)
        form.cancel.clicked.connect(lambda: self.comparing.cancel())
        form.sweep.start.connect(lambda _: self.comparing.close())  # it is of another pose
        form.placing.target_from_cursor.connect(self._target_from_cursor)

    def _bind_keys(self) -> None:
        for key, act in (("Z", self.session.undo), ("Shift-Z", self.session.redo)):
            self._viewer.bind_key(f"Control-{key}", lambda _, act=act: self._act(act), overwrite=True)
            shortcut = QShortcut(QKeySequence(f"Ctrl+{key.replace('-', '+')}"), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
        self._viewer.bind_key("T", self._target_from_cursor, overwrite=True)

    def _arrange(self) -> None:
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(self.form)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.form.notice, area, self.form.footer):
            layout.addWidget(part)
        self.setMinimumWidth(self.form.minimumSizeHint().width() + 24)
