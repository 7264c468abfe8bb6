"""A window with the X-ray widget in it, and a hand on the mouse."""

import time

import numpy as np
from bench import PATIENCE
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_trifocal import xray_widget
from napari_trifocal.layers import to_layers
from xray_cases import TrunkEngine, trunk

VOXELS = 24


class XrayBench:
    """A window with the widget in it; its engine knows the small trunk."""

    def __init__(self, viewer, monkeypatch):
        self.viewer, self.engine = viewer, TrunkEngine()
        monkeypatch.setattr(xray_widget, "load_engine", lambda checkpoint, device: self.engine)
        viewer.window._qt_window.resize(1200, 860)
        self.widget = xray_widget.XrayWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="X-ray", area="right")
        self.session, self.form, self.scene = self.widget.session, self.widget.form, self.widget.scene
        self.session.take(lambda: self.session.arrangement.with_voxels(VOXELS))
        self.said = []
        self.session.said.connect(self.said.append)

    def add_ct(self):
        ((data, look, _),) = to_layers(trunk(), name="small trunk")
        return self.viewer.add_image(data, **look)

    def wait(self):
        assert self.widget.wait(PATIENCE)
        QTest.qWait(20)

    def wait_for(self, happens):
        """Let the window live until something is so."""
        end = time.monotonic() + PATIENCE
        while not happens():
            assert time.monotonic() < end
            QTest.qWait(5)

    def click(self, button):
        """Click a button where it is on the screen."""
        area = self.widget.findChild(QScrollArea)
        if area.isAncestorOf(button):
            area.ensureWidgetVisible(button)
            QTest.qWait(20)
        assert button.isVisible()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def type(self, field, text):
        """Type a number into a field, as from the keyboard."""
        area = self.widget.findChild(QScrollArea)
        area.ensureWidgetVisible(field)
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Return)

    def press(self, key):
        """Press a key with the canvas in focus."""
        QTest.keyClick(self.viewer.window._qt_viewer.canvas.native, key)
        QTest.qWait(10)

    def world_of(self, layer, values):
        """World position of the middle of what is true in a layer."""
        at = np.argwhere(values).mean(0)
        return np.asarray(layer.data_to_world(at))


def drop(target, *paths):
    """Drop files on a widget."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    where, left = target.rect().center(), Qt.MouseButton.LeftButton
    copy, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(target, QDragEnterEvent(QPoint(where), copy, data, left, none))
    QApplication.sendEvent(target, QDropEvent(QPointF(where), copy, data, left, none))
