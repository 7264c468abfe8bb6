"""Renders the pictures of the docs that compare: docs/verify.png, docs/verify-error.png, docs/difference.png.

    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX" .venv/bin/python docs/verify.py [CT]

The sample head, or a CT, as a user sees it who clicks Verify and then Error map, and who pins a prediction
and drags the bowl.
"""

import sys
from pathlib import Path

from pictures import SIZE, drag, settle, shoot
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from trifocal_app.window import make_window


def click(widget, button):
    """Click a button and let everything settle."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    settle(widget)


def main(words):
    """Render them all."""
    viewer, widget = make_window([Path(w) for w in words])
    viewer.window._qt_window.resize(*SIZE)
    settle(widget)
    panel = widget.form.compare
    click(widget, panel.verify_button)
    assert widget.comparing.found is not None, widget.form.message.text()
    shoot(viewer, "verify")
    widget.set_view("sagittal")
    click(widget, panel.map_button)
    shoot(viewer, "verify-error")
    click(widget, panel.close_button)
    widget.set_view("3-D")
    click(widget, panel.pin_button)
    before = widget.session.pose
    drag(viewer, widget, (-60, 5))
    settle(widget)
    assert widget.session.pose is not before, "the drag missed the bowl"
    shoot(viewer, "difference")
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
