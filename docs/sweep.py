"""Renders the pictures of a sweep for the docs: docs/sweep.png (the window) and docs/sweep.gif (the scene).

    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX" .venv/bin/python docs/sweep.py [CT]

With no argument the sample head; the engine is the best that there is.
"""

import sys
from pathlib import Path

from pictures import DOCS, SIZE, settle, shoot
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from trifocal_app.window import make_window

MOST_BYTES = 2_500_000  # the picture is in the README
SHOWN = 9  # the frame that the window is shown with


def show_panel(widget):
    """Unfold the panel of the sweep and scroll to its plot."""
    group, area = widget.form.sweep_group, widget.findChild(QScrollArea)
    group.header.setChecked(True)
    QTest.qWait(200)
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    QTest.qWait(200)


def main(words):
    """Sweep, and write both pictures."""
    viewer, widget = make_window([Path(w) for w in words])
    viewer.window._qt_window.resize(*SIZE)
    settle(widget)
    widget.form.sweep.begin.click()
    assert widget.wait(600)
    show_panel(widget)
    widget.sweep.model.look(SHOWN)
    settle(widget, 1.0)
    shoot(viewer, "sweep")
    widget.sweep.film("GIF", DOCS / "sweep.gif")
    assert widget.wait(600)
    size = (DOCS / "sweep.gif").stat().st_size
    assert size <= MOST_BYTES, f"sweep.gif is too large: {size} bytes"
    sys.stdout.write(f"{len(widget.sweep.model.shown)} frames, {size / 1e6:.1f} MB\n")
    widget.close()
    viewer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
