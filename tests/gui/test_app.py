"""The app as a user starts it: in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from heads import shell_ct
from napari_trifocal.keypoints_layers import LINES, NAMES, POINTS
from napari_trifocal.layers import to_layers
from trifocal import io
from trifocal_app.desk import FOCUS, KEYPOINTS
from trifocal_app.window import make_desk
from ultrasound import picture, reel

CLOSE_WHILE_LOADING = """
import sys
from pathlib import Path
import napari
from qtpy.QtCore import QTimer
from trifocal_app.window import make_window

viewer, widget = make_window([Path(sys.argv[1])])
QTimer.singleShot(300, viewer.window._qt_window.close)
napari.run()
"""


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head.nii.gz"
    io.write(shell_ct(), path)
    return path


def test_a_window_closed_while_it_loads_ends_in_peace(ct):
    done = subprocess.run(
        [sys.executable, "-c", CLOSE_WHILE_LOADING, ct], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_with_no_display_the_app_leaves_pictures_and_volumes(ct, tmp_path):
    hidden = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    out = tmp_path / "out"
    code = "import sys; from trifocal.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "app", ct, "--out", out],
        capture_output=True,
        text=True,
        timeout=300,
        env=hidden,
    )
    assert done.returncode == 0, done.stderr
    assert {"scene_3d.png", "scene.png", "pressure.nii.gz", "summary.json"} <= {p.name for p in out.iterdir()}
    red, green, blue = np.moveaxis(np.asarray(Image.open(out / "scene_3d.png"))[..., :3].astype(int), -1, 0)
    assert (red - np.maximum(green, blue) > 60).sum() > 2000  # the bowl
    assert (blue - np.maximum(red, green) > 30).sum() > 500  # the cloud
    assert ((abs(red - blue) < 12) & (red > 60)).sum() > 20_000  # the skull
    assert str(out / "scene_3d.png") in done.stdout
    assert "not for clinical use" in done.stdout


def test_a_missing_file_is_one_sentence():
    code = "import sys; from trifocal.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "app", "nowhere.nii"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no file or folder nowhere.nii" in done.stderr


def test_ultrasound_comes_up_in_its_own_tab_and_each_tab_has_its_own_layers(tmp_path, qtbot):
    Image.fromarray(picture()).save(tmp_path / "1_HC.png")
    desk = make_desk([tmp_path / "1_HC.png"])
    frames = ["1_HC.png", LINES, POINTS, NAMES]
    try:
        assert desk.keypoints.wait(60)
        assert desk.current == KEYPOINTS
        assert desk.viewer.dims.ndisplay == 2
        assert [layer.name for layer in desk.viewer.layers] == frames
        desk.keypoints.session.drag_to(0, (60, 20))

        desk.begin.clear()  # no sample head
        desk.show(FOCUS)
        assert not desk.viewer.layers
        desk.viewer.add_image(np.zeros((4, 5, 6)), name="volume")
        desk.viewer.dims.ndisplay = 3
        desk.keypoints.session.drag_to(0, (60, 30))  # while it is aside
        assert [layer.name for layer in desk.viewer.layers] == ["volume"]

        desk.docks[KEYPOINTS].raise_()  # as a click on the tab does
        qtbot.waitUntil(lambda: desk.current == KEYPOINTS)
        assert desk.viewer.dims.ndisplay == 2
        assert [layer.name for layer in desk.viewer.layers] == frames
        assert desk.keypoints.scene.layer(POINTS).data[0].tolist() == [30, 60]
        desk.show(FOCUS)
        assert [layer.name for layer in desk.viewer.layers] == ["volume"]
        assert desk.viewer.dims.ndisplay == 3

        ((data, look, _),) = to_layers(reel(3))  # dropped on the head
        desk.viewer.add_image(data, **look)
        qtbot.waitUntil(lambda: desk.current == KEYPOINTS)
        assert len(desk.keypoints.session.reel) == 3
        desk.show(FOCUS)
        assert [layer.name for layer in desk.viewer.layers] == ["volume"]
    finally:
        desk.focus.close()
        desk.keypoints.close()
        desk.viewer.close()
