"""Renders the pictures of the keypoints widget.

    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX" .venv/bin/python docs/keypoints_window.py A B

A is a folder with HC18 images and their table of scales (landmarks.csv), B one with pydicom's ultrasound test
files. Written are docs/keypoints-window-hc.png, -caliper.png and -a4c.png.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from trifocal_app.window import make_desk

DOCS = Path(__file__).parent
SIZE = (1380, 980)
HC_IMAGE = "images/294_HC.png"  # of a patient that the bundled networks have not seen
CALIPER = (459.5, 290.5), (498.5, 301.5)  # the burnt-in crosses: 1.06 cm


def open_desk(path, task=None):
    """The app with a file in the keypoints tab."""
    desk = make_desk([path])
    desk.viewer.window._qt_window.resize(*SIZE)
    settle(desk)
    if task is not None:
        desk.keypoints.session.set_task(task)
    desk.viewer.fit_to_view()
    return desk


def settle(desk, seconds=1.0):
    """Let the window live until everything is computed and drawn."""
    assert desk.keypoints.wait(300)
    QTest.qWait(int(1e3 * seconds))
    assert desk.keypoints.wait(300)


def click(desk, at):
    """Click the canvas at a pixel (x, y) of the frame."""
    canvas = desk.viewer.window._qt_viewer.canvas
    x, y, _, w = (canvas.view.transform * canvas.view.scene.transform).map([*at, 0.0, 1.0])
    QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=QPoint(round(x / w), round(y / w)))
    QTest.qWait(30)


def shoot(desk, name, first=None):
    """Write a picture of the whole window, a part of the panel scrolled to its top, and close it."""
    bar = desk.keypoints.findChild(QScrollArea).verticalScrollBar()
    heading = None if first is None else first.parent().parent()
    bar.setValue(0 if heading is None else heading.pos().y() - 4)
    settle(desk)
    picture = desk.viewer.screenshot(canvas_only=False, flash=False)
    Picture.fromarray(np.asarray(picture)[..., :3]).save(DOCS / f"keypoints-window-{name}.png", optimize=True)
    desk.focus.close()
    desk.keypoints.close()
    desk.viewer.close()


def head(folder):
    """A prediction on a fetal head, in millimetres by the table of scales."""
    desk = open_desk(folder / HC_IMAGE)
    assert desk.keypoints.session.set_scale_table(folder / "landmarks.csv")
    desk.keypoints.form.predict.buttons["frame"].click()
    settle(desk)
    shoot(desk, "hc")


def caliper(folder):
    """The burnt-in caliper, measured by two clicks."""
    desk = open_desk(folder / "pydicom_examples_palette.dcm", "fetal_femur")
    camera = desk.viewer.scene.camera
    camera.center, camera.zoom = (296.0, 479.0), 5.0
    QTest.qWait(200)
    desk.keypoints.form.edit.place.click()
    for at in CALIPER:
        click(desk, at)
    desk.keypoints.form.edit.place.click()
    assert abs(desk.keypoints.session.measurements[0].value - 10.6) < 0.05
    camera.center, camera.zoom = (205.0, 322.0), 1.35  # with what the machine itself says
    shoot(desk, "caliper")


def heart(folder):
    """A cine whose regions do not fit its pixels: pixels, and the reason."""
    desk = open_desk(folder / "pydicom_examples_ybr_color.dcm", "A4C")
    camera = desk.viewer.scene.camera
    camera.center, camera.zoom = (118.0, 152.0), 3.0
    desk.keypoints.form.predict.buttons["file"].click()
    settle(desk)
    shoot(desk, "a4c", first=desk.keypoints.form.edit)


if __name__ == "__main__":
    hc18, dicom = (Path(word) for word in sys.argv[1:])
    head(hc18)
    caliper(dicom)
    heart(dicom)
