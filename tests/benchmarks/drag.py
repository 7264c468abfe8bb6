"""From a mouse move to the new focal cloud on screen, by real mouse events in a real window."""

import time

import numpy as np

MOVES = 80
EVERY_MS = 20


def measure(ct=None):
    """Drag the bowl over a head and look at the clock.

    Args:
        ct: An `Image`; the sample head if None.

    Returns:
        Milliseconds by name: from each mouse move to the first frame that shows its cloud or a later one (a
        move is skipped when the next comes before a worker is free), and what the interface thread spends on
        our own code per mouse move and per cloud.
    """
    from trifocal_app.command import spare_a_core

    spare_a_core()
    import torch  # noqa: F401, I001 - before Qt
    import napari
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    from napari_trifocal.focus_widget import FocusWidget
    from trifocal.focus.phantoms import sample_head

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1200, 800)
    widget = FocusWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Focus", area="right")
    widget.load(sample_head() if ct is None else ct)
    assert widget.wait(300)
    QTest.qWait(500)
    clock = Clock(viewer, widget)

    canvas, left = viewer.window._qt_viewer.canvas, Qt.MouseButton.LeftButton
    pose = widget.session.pose
    at = pixel(canvas, viewer, pose.to_world([0, 0, 1.0]))
    viewer.scene.camera.set_view_direction(tuple(pose.direction + [0.3, 0.5, 0.2]), (0, 0, 1))
    QTest.qWait(200)
    at = pixel(canvas, viewer, pose.to_world([0, 0, 0]))
    QTest.mousePress(canvas.native, left, pos=at)
    for i in range(1, MOVES + 1):
        turn = 2 * np.pi * i / MOVES
        to = at + QPoint(int(70 * np.sin(turn)), int(45 * (1 - np.cos(turn))))
        clock.moved()
        QTest.mouseMove(canvas.native, to)
        QTest.qWait(EVERY_MS)
    QTest.mouseRelease(canvas.native, left, pos=to)
    assert widget.wait(300)
    assert widget.session.pose is not pose
    widget.close()
    viewer.close()
    return clock.figures()


def pixel(canvas, viewer, point_mm):
    """Where a world point is on the canvas."""
    from qtpy.QtCore import QPoint

    view = canvas.view
    displayed = np.asarray(point_mm, float)[list(viewer.dims.displayed)][::-1]
    x, y, _, w = (view.transform * view.scene.transform).map([*displayed, 1.0])
    return QPoint(round(x / w), round(y / w))


class Clock:
    """Notes when poses are asked for and when their clouds are drawn."""

    def __init__(self, viewer, widget):
        self._session = widget.session
        self._moved_at, self._asked, self._arrived, self.frames = 0.0, [], [], 0
        self.latency, self.own, self.predicting, self.move, self.cloud = [], [], [], [], []
        drag_to, show = self._session.drag_to, widget._on_session_predicted

        def timed_drag_to(placing):
            start = time.perf_counter()
            drag_to(placing)
            self.move.append(time.perf_counter() - start)
            self._asked.append((self._moved_at, placing))

        def timed_show(answer):
            start = time.perf_counter()
            show(answer)
            if answer.order.preview:
                self.cloud.append(time.perf_counter() - start)
                self.predicting.append(answer.prediction.seconds)
                self._arrived.append(answer.order.pose)

        self._session.drag_to = timed_drag_to
        self._session.predicted.disconnect(show)
        self._session.predicted.connect(timed_show)
        self._keep = timed_show
        viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(self._drawn, position="last")

    def moved(self):
        """The mouse moves now."""
        self._moved_at = time.perf_counter()

    def figures(self):
        """Milliseconds by name."""
        ms = {
            name: 1e3 * np.array(getattr(self, name))
            for name in ("latency", "own", "predicting", "move", "cloud")
        }
        return {
            "mouse move to cloud on screen, median": float(np.median(ms["latency"])),
            "mouse move to cloud on screen, p95": float(np.percentile(ms["latency"], 95)),
            "the same for moves with a cloud of their own, p95": float(np.percentile(ms["own"], 95)),
            "preview prediction, median": float(np.median(ms["predicting"])),
            "own code per mouse move, worst": float(ms["move"].max()),
            "own code per cloud, worst": float(ms["cloud"].max()),
            "clouds shown, of 80 moves": self.frames,
        }

    def _drawn(self, _=None):
        now = time.perf_counter()
        for pose in self._arrived:
            # a cloud answers its own mouse move and all before it that are still unanswered
            asked = next((i for i, (_, p) in enumerate(self._asked) if p.pose is pose), -1)
            self.latency += [now - moved_at for moved_at, _ in self._asked[: asked + 1]]
            self.own += [now - self._asked[asked][0]] if asked >= 0 else []
            self._asked = self._asked[asked + 1 :]
        self.frames += bool(self._arrived)
        self._arrived.clear()


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(measure(), indent=1) + "\n")
