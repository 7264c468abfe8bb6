"""The app as a user starts it: in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from heads import shell_ct
from trifocal import io

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
