"""The desktop window: a napari viewer with the focus widget and a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: F401 - before Qt: the other order has crashed on some machines

import napari  # isort: skip
from napari_trifocal.focus_widget import FocusWidget
from napari_trifocal.settings import cache_folder
from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.focus.phantoms import sample_head

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from trifocal.predictor import Progress


def open_window(files: list[Path], *, resample: bool = False) -> int:
    """Open the window with the first file, or the sample head; blocks until it is closed.

    Further files are opened as plain layers.
    """
    make_window(files, resample=resample)
    napari.run()
    return 0


def make_window(files: list[Path], *, resample: bool = False) -> tuple[Viewer, FocusWidget]:
    """Make the window and start loading; returns at once."""
    viewer = napari.Viewer(title=f"trifocal {__version__} · {RESEARCH_USE_ONLY}", ndisplay=3)
    widget = FocusWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Focus", area="right")
    if files:
        widget.load(files[0], resample=resample)
        for path in files[1:]:
            viewer.open(path, plugin="trifocal")
    else:
        widget.session.run_saving(_sample_file, widget.load)
    return viewer, widget


def _sample_file(progress: Progress) -> Path:
    """The sample head as a file in the cache folder, made on first use."""
    path = cache_folder() / f"sample head {__version__}.nii.gz"
    if not path.exists():
        progress(0.0, "making the sample head, once")
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(sample_head(), path)
    return path
