"""The sweep in the viewer: frames computed beside the window, played over the scene, exported as films."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QFileDialog

from napari_trifocal.focus_sweep_model import Shown, SweepModel
from napari_trifocal.layers import slices_layer
from napari_trifocal.turns import Turns
from trifocal.files import atomic_file
from trifocal.film import write_gif, write_mp4

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_trifocal.focus_form import FocusForm
    from napari_trifocal.focus_scene import FocusScene
    from napari_trifocal.focus_session import FocusSession
    from napari_trifocal.worker import Post
    from trifocal.focus.sweep import Sweep
    from trifocal.predictor import Progress

PLAY_MS = 80
PLOT_WIDTH = 440
GIF_WIDTH = 900
WRITERS = {"MP4": write_mp4, "GIF": partial(write_gif, width=GIF_WIDTH)}


class FocusSweep(QObject):
    """Binds a sweep to the panel and to the scene.

    The pose of the session stays what it was: while a frame is looked at, bowl and cloud are only shown
    there, in colours that are the same for all frames.

    Args:
        viewer: Whose canvas is filmed.
        session: Head, bowl, pose, engine.
        scene: The layers.
        form: The controls, and where the figures of a frame are shown.
        post: Runs a function on the interface thread, later.
    """

    def __init__(
        self, viewer: Viewer, session: FocusSession, scene: FocusScene, form: FocusForm, post: Post
    ) -> None:
        super().__init__(form)
        self._viewer, self._session, self._scene = viewer, session, scene
        self._panel, self._readout = form.sweep, form.readout
        self.model = SweepModel(session, post)
        self._forward = 1
        self._pictures: list[NDArray[np.uint8]] = []
        self._turns = Turns(self)
        self._clock = QTimer(self, singleShot=True, interval=PLAY_MS)
        self._clock.timeout.connect(self._on_clock)
        self._connect()
        viewer.dims.events.ndisplay.connect(self._on_viewer_ndisplay)

    @property
    def busy(self) -> bool:
        """Whether frames are being computed or filmed."""
        return self.model.busy or self.filming

    @property
    def filming(self) -> bool:
        """Whether pictures are being taken."""
        return self._turns.waiting

    @property
    def playing(self) -> bool:
        """Whether the frames go by on their own."""
        return bool(self._clock.isActive())

    def close(self) -> None:
        """Stop, and let go of the viewer."""
        self._clock.stop()
        self._turns.clear()
        self.model.end()
        self._viewer.dims.events.ndisplay.disconnect(self._on_viewer_ndisplay)

    def play(self) -> None:
        """Let the frames go by, to and fro; or stop."""
        if self.playing:
            self.stop()
        elif len(self.model.shown) > 1 and not self.filming:
            self._clock.start()
            self._panel.show_playing(playing=True)

    def stop(self) -> None:
        """Stand still."""
        self._clock.stop()
        self._panel.show_playing(playing=False)

    def film(self, kind: str, path: Path) -> None:
        """Film every frame as the canvas shows it, with the curves beside it. Returns at once.

        Args:
            kind: "MP4" or "GIF".
            path: The file.
        """
        self.stop()
        before = self.model.index
        self._pictures = []
        self._panel.show_busy(busy=True)
        for i in range(len(self.model.shown)):
            self._turns.add(partial(self.model.look, i), partial(self._shoot, i))
        self._turns.add(partial(self._write, kind, path, before))

    def _shoot(self, index: int) -> None:
        if self.model.index != index:  # the user has gone elsewhere
            self._give_up("the sweep was left")
            return
        count = len(self.model.shown)
        self._panel.show_progress((index + 1) / (count + 1), f"filming frame {index + 1} of {count}")
        canvas = np.asarray(self._viewer.screenshot(canvas_only=True, flash=False))[..., :3]
        plot = self._panel.plot.picture(PLOT_WIDTH, canvas.shape[0])
        self._pictures.append(np.concatenate([canvas, plot], axis=1))

    def _write(self, kind: str, path: Path, before: int | None) -> None:
        pictures, self._pictures = self._pictures, []
        self._panel.show_busy(busy=False)
        if before is None:
            self.model.leave()
        else:
            self.model.look(before)

        def write(report: Progress) -> Path:
            report(0.5, f"writing {path.name}")
            with atomic_file(path) as part:
                WRITERS[kind](part, pictures)
            return path

        self._session.run_saving(write, self._on_written)

    def _give_up(self, reason: str) -> None:
        self._turns.clear()
        self._pictures = []
        self._panel.show_busy(busy=self.model.running)
        self._session.say(f"no film was written: {reason}")

    def _on_written(self, path: Path) -> None:
        self._session.progress.emit(1.0, "")
        self._session.say(f"saved to {path}")

    def _on_model_changed(self) -> None:
        model = self.model
        self._panel.show_frames(model.frames, model.sweep, running=model.running)
        self._panel.show_index(model.index)
        if not model.shown:
            self.stop()

    def _on_model_moved(self) -> None:
        self._panel.show_index(self.model.index)
        if self.model.now is None:
            self.stop()
            self._restore()
        else:
            self._show(self.model.now)

    def _show(self, shown: Shown) -> None:
        """Bowl, cloud and figures of a frame."""
        prediction, scene = shown.frame.prediction, self._scene
        scene.show_bowl(prediction.inputs.bowl, shown.frame.pose, shown.problem)
        # slices are as large as the CT is fine: they are made only where they are seen
        slices = [] if self._viewer.dims.ndisplay == 3 else [slices_layer(prediction)]
        for data, look, kind in (*shown.layers, *slices):
            if kind == "image":
                low, high = (limit / look["contrast_limits"][1] for limit in look["contrast_limits"])
                look = look | {"contrast_limits": (low * self.model.most_kpa, high * self.model.most_kpa)}
            scene.show((data, look, kind))
        self._readout.show_prediction(prediction, preview=False)

    def _restore(self) -> None:
        """What the session has."""
        session, scene = self._session, self._scene
        if session.pose is None:
            return
        scene.show_bowl(session.bowl, session.pose, session.coupling)
        answer = session.answer
        if answer is not None and answer.order.pose is session.pose:
            for layer in answer.layers:
                scene.show(layer)
            self._readout.show_prediction(answer.prediction, preview=answer.order.preview)

    def _on_viewer_ndisplay(self) -> None:
        if self.model.now is not None:
            self._show(self.model.now)

    def _on_clock(self) -> None:
        count, index = len(self.model.shown), self.model.index
        if index is None:
            index = count // 2 - 1
        elif not 0 <= index + self._forward < count:
            self._forward = -self._forward
        self.model.look(index + self._forward)
        self._clock.start()

    def _on_panel_start(self, wanted: Sweep | ValueError) -> None:
        if isinstance(wanted, ValueError):
            self._session.say(str(wanted), is_error=True)
        else:
            self.model.start(wanted)

    def _on_panel_cancel(self) -> None:
        if self.filming:
            self._give_up("cancelled")
        else:
            self.model.cancel()

    def _on_panel_looked(self, index: int) -> None:
        if not self.filming:
            self.stop()
            self.model.look(index)

    def _on_panel_film(self, kind: str) -> None:
        path = self._ask(f"Save the film as {kind}", f"sweep.{kind.lower()}")
        if path is not None:
            self.film(kind, path)

    def _on_panel_csv(self) -> None:
        path = self._ask("Save the figures", "sweep.csv")
        if path is not None:
            self.model.save_csv(path)

    def _ask(self, title: str, name: str) -> Path | None:
        suffix = Path(name).suffix
        path, _ = QFileDialog.getSaveFileName(self._panel, title, name, f"{suffix[1:].upper()} (*{suffix})")
        if not path:
            return None
        return Path(path) if Path(path).suffix else Path(path).with_suffix(suffix)

    def _connect(self) -> None:
        model, panel = self.model, self._panel
        model.changed.connect(self._on_model_changed)
        model.moved.connect(self._on_model_moved)
        model.progress.connect(panel.show_progress)
        panel.start.connect(self._on_panel_start)
        panel.cancel.connect(self._on_panel_cancel)
        panel.looked.connect(self._on_panel_looked)
        panel.play.connect(self.play)
        panel.film.connect(self._on_panel_film)
        panel.csv.connect(self._on_panel_csv)
        panel.keep.connect(model.keep)
        panel.back.connect(model.leave)
