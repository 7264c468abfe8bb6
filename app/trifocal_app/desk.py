"""The widgets beside a viewer, in tabs: each brings its own layers and its own view when its tab comes up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject

from napari_trifocal.focus_widget import FocusWidget
from napari_trifocal.keypoints_layers import REEL
from napari_trifocal.keypoints_widget import KeypointsWidget
from napari_trifocal.reel import shows_frames
from napari_trifocal.xray_kind import is_film
from napari_trifocal.xray_widget import XrayWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

FOCUS, KEYPOINTS, XRAY = "Focus", "Keypoints", "X-ray"


class Desk(QObject):
    """The widgets of a viewer; only the one whose tab is up has its layers in it.

    Heads are in millimetres and frames in pixels and time: on the same axes neither could be looked at.
    A trunk and a head are both in millimetres, and would lie in each other.

    Args:
        viewer: The viewer.

    Attributes:
        viewer: The viewer.
        begin: By the name of a tab, what to do when it comes up for the first time.
        focus: The focus widget.
        keypoints: The keypoints widget.
        xray: The X-ray widget.
        current: Name of the tab that is up.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer.window._qt_window)
        self.viewer = viewer
        self.begin: dict[str, Callable[[], object]] = {}
        self.focus, self.keypoints = FocusWidget(viewer), KeypointsWidget(viewer)
        self.xray = XrayWidget(viewer)
        self._scenes = {FOCUS: self.focus.scene, KEYPOINTS: self.keypoints.scene, XRAY: self.xray.scene}
        self._aside = {name: ViewerModel() for name in self._scenes}
        self.current = FOCUS
        for name in (KEYPOINTS, XRAY):
            self._scenes[name].move_to(self._aside[name])
        add = viewer.window.add_dock_widget
        self.docks = {
            FOCUS: add(self.focus, name=FOCUS, area="right"),
            KEYPOINTS: add(self.keypoints, name=KEYPOINTS, area="right", tabify=True),
            XRAY: add(self.xray, name=XRAY, area="right", tabify=True),
        }
        viewer.window._qt_viewer.installEventFilter(self)
        for name, dock in self.docks.items():
            dock.visibilityChanged.connect(lambda up, name=name: up and self._turn_to(name))
        # Before the widgets themselves hear of it: what they show then is theirs to see.
        self.focus.session.loaded.connect(self._on_focus_loaded, priority=1)
        self.keypoints.session.opened.connect(self._on_keypoints_opened, priority=1)
        self.xray.session.simulated.connect(self._on_xray_slots, priority=1)
        self.xray.session.arranged.connect(self._on_xray_slots, priority=1)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Take films and ultrasound dropped on the canvas: napari would ask which of its readers should."""
        if event.type() != QEvent.Type.Drop:
            return False
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths and all(map(is_film, paths)):
            self.xray.load(paths)
        elif paths and all(map(shows_frames, paths)):
            self.keypoints.load(paths)
        else:
            return False
        event.acceptProposedAction()
        return True

    def show(self, name: str) -> None:
        """Bring up the tab of a widget."""
        self.docks[name].show()
        self.docks[name].raise_()
        self._turn_to(name)

    def _turn_to(self, name: str) -> None:
        if name != self.current:
            self.focus.comparing.close()  # its second canvas stands in the middle of the window
            self._scenes[self.current].move_to(self._aside[self.current])
            self._scenes[name].move_to(self.viewer)
            self.current = name
        begin = self.begin.pop(name, None)
        if begin is not None:
            begin()

    def _on_focus_loaded(self) -> None:
        self.show(FOCUS)

    def _on_keypoints_opened(self) -> None:
        self.begin.pop(KEYPOINTS, None)
        if self.current != KEYPOINTS:  # frames that were dropped on the head
            for layer in [layer for layer in self.viewer.layers if REEL in layer.metadata]:
                self.viewer.layers.remove(layer)
        self.show(KEYPOINTS)

    def _on_xray_slots(self, simulation: object = None) -> None:
        self.begin.pop(XRAY, None)
        if simulation is not None or self.xray.session.slots:
            self.show(XRAY)
