"""Renders the pictures of the docs.

    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX" .venv/bin/python docs/pictures.py [NAME CT]

With no argument the sample head, as docs/window.png and docs/slices.png. With a name and a CT, the window
before and after a drag by real mouse events, as docs/NAME-before.png and docs/NAME-after.png.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from trifocal_app.window import make_window

DOCS = Path(__file__).parent
SIZE = (1380, 940)


def settle(widget, seconds=2.0):
    """Let the window live until nothing is being computed and everything is drawn."""
    assert widget.wait(300)
    QTest.qWait(int(1e3 * seconds))
    assert widget.wait(300)


def shoot(viewer, name):
    """Write a picture of the whole window."""
    picture = viewer.screenshot(canvas_only=False, flash=False)
    Picture.fromarray(np.asarray(picture)[..., :3]).save(DOCS / f"{name}.png", optimize=True)


def pixel(viewer, point_mm):
    """Where a world point is on the canvas."""
    view = viewer.window._qt_viewer.canvas.view
    displayed = np.asarray(point_mm, float)[list(viewer.dims.displayed)][::-1]
    x, y, _, w = (view.transform * view.scene.transform).map([*displayed, 1.0])
    return QPoint(round(x / w), round(y / w))


def drag(viewer, widget, by, steps=25):
    """Take the bowl at its apex and drag it by (x, y) pixels."""
    native = viewer.window._qt_viewer.canvas.native
    start = pixel(viewer, widget.session.pose.apex_mm)
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=start)
    for i in range(1, steps + 1):
        QTest.mouseMove(native, start + QPoint(round(by[0] * i / steps), round(by[1] * i / steps)))
        QTest.qWait(30)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=start + QPoint(*by))


def main(words):
    """Render what is asked for."""
    viewer, widget = make_window([Path(w) for w in words[1:]])
    viewer.window._qt_window.resize(*SIZE)
    started = time.monotonic()
    settle(widget)
    sys.stdout.write(f"ready after {time.monotonic() - started:.1f} s\n")
    if not words:
        shoot(viewer, "window")
        widget.set_view("sagittal")
        settle(widget)
        shoot(viewer, "slices")
    else:
        shoot(viewer, f"{words[0]}-before")
        before = widget.session.pose
        drag(viewer, widget, (-120, 5))
        settle(widget)
        assert widget.session.pose is not before, "the drag missed the bowl"
        shoot(viewer, f"{words[0]}-after")
    widget.close()
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
