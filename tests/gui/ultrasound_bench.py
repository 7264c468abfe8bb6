"""A window with the keypoints widget in it, and a hand on the mouse."""

import time

import numpy as np
from bench import PATIENCE
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_trifocal import keypoints_widget
from ultrasound import DiscEngine


class UltrasoundBench:
    """A window with the widget in it; its engine finds bright discs."""

    def __init__(self, viewer, monkeypatch):
        self.viewer, self.engine = viewer, DiscEngine()
        monkeypatch.setattr(keypoints_widget, "load_engine", lambda checkpoint, device: self.engine)
        viewer.window._qt_window.resize(1100, 760)
        self.widget = keypoints_widget.KeypointsWidget(viewer)
        viewer.window.add_dock_widget(self.widget, name="Keypoints", area="right")
        self.session, self.form, self.scene = self.widget.session, self.widget.form, self.widget.scene
        self.said = []
        self.session.said.connect(self.said.append)

    def load(self, source, task=None):
        self.widget.load(source)
        assert self.widget.wait(PATIENCE)
        if task is not None:
            self.session.set_task(task)
        QTest.qWait(30)

    def predict(self, extent="file"):
        self.form.predict.buttons[extent].click()
        assert self.widget.wait(PATIENCE)
        QTest.qWait(10)

    def wait_for(self, happens):
        """Let the window live until something is so."""
        end = time.monotonic() + 30
        while not happens():
            assert time.monotonic() < end
            QTest.qWait(5)

    @property
    def native(self):
        return self.viewer.window._qt_viewer.canvas.native

    def pixel(self, x, y):
        """Where a pixel of the frame is on the canvas."""
        view = self.viewer.window._qt_viewer.canvas.view
        left, top, _, w = (view.transform * view.scene.transform).map([x, y, 0.0, 1.0])
        return QPoint(round(left / w), round(top / w))

    def click(self, x, y):
        """Click the canvas at a pixel of the frame."""
        QTest.mouseMove(self.native, self.pixel(x, y))
        QTest.qWait(15)
        QTest.mouseClick(self.native, Qt.MouseButton.LeftButton, pos=self.pixel(x, y))
        QTest.qWait(15)

    def drag(self, start, stop, steps=5, each=lambda: None):
        """Drag from a pixel (x, y) of the frame to another."""
        start, stop = np.array(start, float), np.array(stop, float)
        QTest.mousePress(self.native, Qt.MouseButton.LeftButton, pos=self.pixel(*start))
        for share in np.linspace(0, 1, steps + 1)[1:]:
            QTest.mouseMove(self.native, self.pixel(*(start + share * (stop - start))))
            QTest.qWait(15)  # napari looks at the mouse every 5 ms
            each()
        QTest.mouseRelease(self.native, Qt.MouseButton.LeftButton, pos=self.pixel(*stop))
        QTest.qWait(10)

    def value(self, name):
        """What the table shows for a measurement."""
        return next(value for measured, value, _ in self.form.measured.texts() if measured == name)

    def number(self, name):
        return float(self.value(name).split()[0])
