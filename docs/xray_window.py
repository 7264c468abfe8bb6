"""Renders the pictures of the X-ray widget: the trunk phantom, its X-rays, and the CT made from them.

    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX" .venv/bin/python docs/xray_window.py [ENGINE]

ENGINE is "network" (the default) or "least squares". Written are
docs/xray-window.png and docs/xray-scene.png.
"""

import sys
from pathlib import Path

import napari
import numpy as np
from PIL import Image as Picture
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from trifocal_app.desk import XRAY, Desk

DOCS = Path(__file__).parent
SIZE = (1380, 980)


def settle(desk, seconds=1.0):
    """Let the window live until everything is computed and drawn."""
    assert desk.xray.wait(600)
    QTest.qWait(int(1e3 * seconds))
    assert desk.xray.wait(600)


def save(picture, name):
    """Write a picture of the window or of its canvas."""
    Picture.fromarray(np.asarray(picture)[..., :3]).save(DOCS / f"xray-{name}.png", optimize=True)


def draw(engine):
    """Tell the whole story of the sample, and look at it twice."""
    desk = Desk(napari.Viewer(title="trifocal"))
    desk.viewer.window._qt_window.resize(*SIZE)
    desk.show(XRAY)
    desk.xray.session.choose(engine=engine)
    desk.xray.form.simulate.sample.click()
    settle(desk)
    assert desk.xray.session.comparison is not None, desk.xray.form.message.text()
    scenes = []
    for view in ("3-D", "set-up"):
        desk.xray.set_view(view)
        settle(desk)
        scene = np.asarray(desk.viewer.screenshot(canvas_only=True, flash=False))
        scenes.append(scene[scene.shape[0] // 6 :])
    save(np.concatenate(scenes, axis=1), "scene")
    desk.xray.set_view("coronal")
    bar = desk.xray.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(desk.xray.form.result_group.pos().y() - 4)
    settle(desk)
    save(desk.viewer.screenshot(canvas_only=False, flash=False), "window")
    for widget in (desk.focus, desk.keypoints, desk.xray):
        widget.close()
    desk.viewer.close()


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else "network")
