"""The desktop window: a napari viewer with the widgets, a head and a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: F401 - before Qt: the other order has crashed on some machines

import napari  # isort: skip
from napari_trifocal.reel import shows_frames
from napari_trifocal.sample import hc_reel
from napari_trifocal.settings import cache_folder
from napari_trifocal.xray_kind import is_film
from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.focus.phantoms import sample_head
from trifocal_app.desk import FOCUS, KEYPOINTS, XRAY, Desk

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_trifocal.focus_widget import FocusWidget
    from napari_trifocal.reel import Reel
    from trifocal.predictor import Progress


def open_window(files: list[Path], *, resample: bool = False) -> int:
    """Open the window with these files, or the sample data; blocks until it is closed.

    X-ray films come up in the tab X-ray, ultrasound in the tab Keypoints, the first volume in the tab Focus;
    other volumes are plain layers.
    """
    make_window(files, resample=resample)
    napari.run()
    return 0


def make_window(files: list[Path], *, resample: bool = False) -> tuple[Viewer, FocusWidget]:
    """Make the window and start loading; returns at once."""
    desk = make_desk(files, resample=resample)
    return desk.viewer, desk.focus


def make_desk(files: list[Path], *, resample: bool = False) -> Desk:
    """Make the window with the widgets in it and start loading; returns at once."""
    viewer = napari.Viewer(title=f"trifocal {__version__} · {RESEARCH_USE_ONLY}", ndisplay=3)
    films = [path for path in files if is_film(path)]
    frames = [path for path in files if path not in films and shows_frames(path)]
    volumes = [path for path in files if path not in frames and path not in films]
    desk = Desk(viewer)
    desk.begin[FOCUS] = lambda: desk.focus.session.run_saving(_sample_file, desk.focus.load)
    desk.begin[KEYPOINTS] = lambda: desk.keypoints.session.run_saving(_sample_frame, desk.keypoints.load)
    desk.begin[XRAY] = desk.xray.session.tell_story
    if volumes:
        desk.begin.pop(FOCUS)
        desk.focus.load(volumes[0], resample=resample)
        for path in volumes[1:]:
            viewer.open(path, plugin="trifocal")
    if frames:
        desk.begin.pop(KEYPOINTS)
        desk.keypoints.load(frames)
    if films:
        desk.begin.pop(XRAY)
        desk.xray.load(films)
    desk.show(FOCUS if volumes or not (frames or films) else KEYPOINTS if frames else XRAY)
    return desk


def _sample_frame(progress: Progress) -> Reel:
    """The sample image of a fetal head."""
    progress(0.0, "making the sample image")
    return hc_reel()


def _sample_file(progress: Progress) -> Path:
    """The sample head as a file in the cache folder, made on first use."""
    path = cache_folder() / f"sample head {__version__}.nii.gz"
    if not path.exists():
        progress(0.0, "making the sample head, once")
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(sample_head(), path)
    return path
