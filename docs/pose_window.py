"""The picture of a search for a pose in the window.

In the environment that `make app` sets up, on a virtual display:

    xvfb-run -a -s "-screen 0 1500x1000x24 +extension GLX" python docs/pose_window.py docs

The CT is a procedural head from `trifocal.focus.phantoms` that no training has seen.
"""

import sys
from pathlib import Path

import napari
import numpy as np
from PIL import Image as Picture
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_trifocal.focus_widget import FocusWidget
from trifocal.focus.phantoms import head_ct, random_spec


def main(folder: Path) -> None:
    """Search on a head, fly to the best pose, and save the window."""
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1400, 900)
    widget = FocusWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Focus", area="right")
    widget.load(head_ct(random_spec(990_001)))
    assert widget.wait(600)
    session, form = widget.session, widget.form
    session.set_target(np.asarray(session.target_mm) + [12.0, 8.0, 0.0])
    assert widget.wait(600)
    panel = form.poses
    form.poses_group.header.setChecked(True)
    panel.starts.setValue(6)
    panel.simulations.setValue(2)
    panel.begin.click()
    assert widget.wait(3000)
    panel.map.click()
    assert widget.wait(3000)
    panel.table.cellClicked.emit(0, 0)
    panel.table.selectRow(0)
    assert widget.wait(600)
    QTest.qWait(300)
    widget.findChild(QScrollArea).ensureWidgetVisible(panel)
    QTest.qWait(300)
    shot = np.asarray(viewer.screenshot(canvas_only=False, flash=False))[..., :3]
    Picture.fromarray(shot).quantize(200).save(folder / "pose-window.png", optimize=True)
    widget.close()
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
