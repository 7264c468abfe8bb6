"""A window with the focus widget in it, and a hand on the mouse."""

import time

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_trifocal import focus_widget
from napari_trifocal.layers import BOWL

PATIENCE = 300  # s that a busy machine may take


class Bench:
    """A window with the widget in it, and a hand on the mouse."""

    def __init__(self, viewer):
        self.viewer = viewer
        viewer.window._qt_window.resize(900, 640)
        self.widget = focus_widget.FocusWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="Focus", area="right")
        self.session = self.widget.session
        self.session.set_engine("has")
        self.said, self.answers = [], []
        self.session.said.connect(self.said.append)
        self.session.predicted.connect(self.answers.append)

    def load(self, source):
        self.widget.load(source)
        assert self.widget.wait(PATIENCE)
        QTest.qWait(20)

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas

    def pixel(self, point_mm):
        """Where a world point is on the canvas."""
        view = self.canvas.view
        displayed = np.asarray(point_mm, float)[list(self.viewer.dims.displayed)][::-1]
        x, y, _, w = (view.transform * view.scene.transform).map([*displayed, 1.0])
        return QPoint(round(x / w), round(y / w))

    def on_bowl(self):
        return self.pixel(self.session.pose.to_world([0, 0, 0]))

    def drag(
        self,
        start,
        by,
        steps=6,
        modifiers=Qt.KeyboardModifier.NoModifier,
        hold=lambda: False,
        native=None,
    ):
        native = native or self.canvas.native
        QTest.mousePress(native, Qt.MouseButton.LeftButton, modifiers, start)
        for i in range(1, steps + 1):
            at = start + QPoint(round(by[0] * i / steps), round(by[1] * i / steps))
            if modifiers == Qt.KeyboardModifier.NoModifier:
                QTest.mouseMove(native, at)
            else:  # QTest.mouseMove takes no modifiers
                _move(native, at, modifiers)
            QTest.qWait(15)  # napari looks at the mouse every 5 ms
        end = time.monotonic() + 20
        while hold() and time.monotonic() < end:
            QTest.qWait(10)
        QTest.mouseRelease(native, Qt.MouseButton.LeftButton, modifiers, at)

    def click(self, button):
        """Click a button where it is on the screen."""
        area = self.widget.findChild(QScrollArea)
        if area.isAncestorOf(button):
            area.ensureWidgetVisible(button)
            QTest.qWait(20)
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def look_at_bowl(self):
        """From where the whole back of the bowl shows."""
        self.viewer.scene.camera.set_view_direction(tuple(self.session.pose.direction + [0.2, 0.25, 0.1]))
        QTest.qWait(20)

    def colour(self):
        return self.widget.scene.layer(BOWL).colormap.name


def _move(native, at, modifiers):
    left = Qt.MouseButton.LeftButton
    where = QPointF(at), QPointF(native.mapToGlobal(at))
    QApplication.sendEvent(native, QMouseEvent(QEvent.Type.MouseMove, *where, left, left, modifiers))
