"""The sweep in a real window: computed, cancelled, dragged through by the mouse, filmed."""

import csv
import threading
import time
from itertools import pairwise

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image as Picture
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_trifocal import focus_sweep
from napari_trifocal.layers import BOWL, CLOUD, SHELL, SLICES
from trifocal.focus.predictor import FocusPredictor

LEFT = Qt.MouseButton.LeftButton
PATIENCE_S = 300  # for a machine that is busy with something else


class Sweeping:
    """A window with a head, and a short sweep set."""

    def __init__(self, loaded):
        self.viewer, self.widget, self.click = loaded.viewer, loaded.widget, loaded.click
        self.session, self.sweep = self.widget.session, self.widget.sweep
        self.panel, self.model = self.widget.form.sweep, self.widget.sweep.model
        self.panel.steps.setValue(5)
        self.panel.step.setValue(8.0)

    def compute(self):
        self.panel.begin.click()
        assert self.widget.wait(PATIENCE_S)
        QTest.qWait(30)

    def bowl_apex(self):
        """Where the bowl is drawn."""
        layer = self.widget.scene.layer(BOWL)
        apex = layer.data[0][0]
        return layer.affine.affine_matrix[-4:-1, -4:-1] @ apex + layer.affine.translate[-3:]


@pytest.fixture
def bench(loaded):
    loaded.session.set_engine("free-field")
    assert loaded.widget.wait(PATIENCE_S)
    return Sweeping(loaded)


def show(bench):
    """Bring the panel into view, as a user does before the mouse gets there."""
    if not bench.panel.isVisible():
        bench.click(bench.widget.form.sweep_group.header)
    bar = bench.widget.findChild(QScrollArea).verticalScrollBar()
    QTest.qWait(20)
    bar.setValue(bar.maximum())
    QTest.qWait(20)


def test_the_mouse_on_the_plot_moves_bowl_cloud_and_figures(bench):
    show(bench)
    bench.compute()
    show(bench)
    pose, frames = bench.session.pose, bench.model.frames
    plot, readout = bench.panel.plot, bench.widget.form.readout
    assert bench.model.index == 2
    assert bench.bowl_apex() == pytest.approx(pose.apex_mm, abs=1e-3)

    y = plot.height() // 3
    QTest.mousePress(plot, LEFT, pos=QPoint(round(plot.x_of(0)) + 3, y))
    assert bench.model.index == 0
    assert bench.bowl_apex() == pytest.approx(frames[0].pose.apex_mm, abs=0.01)
    for index in (1, 3, 4):
        QTest.mouseMove(plot, QPoint(round(plot.x_of(index)), y))
        QTest.qWait(20)
        assert bench.model.index == index
    QTest.mouseRelease(plot, LEFT, pos=QPoint(round(plot.x_of(4)), y))

    figures = frames[4].prediction.figures
    assert bench.bowl_apex() == pytest.approx(frames[4].pose.apex_mm, abs=0.01)
    assert readout.values["peak"].text() == f"{figures.peak_pa / 1e3:.0f} kPa"
    shell, cloud = bench.widget.scene.layer(SHELL).data[0], bench.widget.scene.layer(CLOUD)
    assert np.linalg.norm(shell.mean(0) - figures.focus_mm) < 8
    low = cloud.affine.translate[-3:]
    high = low + cloud.affine.scale[-3:] * (np.array(cloud.data.shape) - 1)
    assert (low < figures.focus_mm).all()
    assert (figures.focus_mm < high).all()
    assert "+16.0 deg" in bench.panel.angle.text()
    assert bench.session.pose is pose


def test_the_slider_goes_through_the_frames_and_back_restores_everything(bench):
    shell = bench.widget.scene.layer(SHELL).data[0].copy()
    texts = {name: label.text() for name, label in bench.widget.form.readout.values.items()}
    show(bench)
    bench.compute()
    show(bench)
    slider, pose = bench.panel.slider, bench.session.pose

    QTest.keyClick(slider, Qt.Key.Key_Left)
    assert bench.model.index == 1
    at = QPoint(slider.width() - 6, slider.height() // 2)
    while bench.model.index < 4:  # a click beside the handle is one page, one frame
        before = bench.model.index
        QTest.mouseClick(slider, LEFT, pos=at)
        assert bench.model.index > before
    QTest.mouseClick(bench.panel.back_button, LEFT)

    assert bench.model.index is None
    assert bench.session.pose is pose
    assert bench.bowl_apex() == pytest.approx(pose.apex_mm, abs=1e-3)
    assert bench.widget.scene.layer(SHELL).data[0] == pytest.approx(shell)
    assert {n: label.text() for n, label in bench.widget.form.readout.values.items()} == texts


def test_the_window_lives_while_a_sweep_is_computed_and_cancel_keeps_what_is_there(bench, monkeypatch):
    gate, ticks = threading.Semaphore(2), []
    predict = FocusPredictor.predict

    def slow(self, inputs, /, *, progress):
        while not gate.acquire(timeout=0.01):
            progress(0.5, "waiting")
        return predict(self, inputs, progress=progress)

    monkeypatch.setattr(FocusPredictor, "predict", slow)
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    show(bench)
    pose = bench.session.pose
    QTest.mouseClick(bench.panel.begin, LEFT)
    timer.start(10)
    end = time.monotonic() + PATIENCE_S
    while len(bench.model.shown) < 2 and time.monotonic() < end:
        QTest.qWait(20)
    QTest.qWait(200)
    timer.stop()
    text = bench.panel.bar.format()
    QTest.mouseClick(bench.panel.stop, LEFT)
    assert not bench.model.running
    assert bench.widget.wait(PATIENCE_S)

    assert len(ticks) > 5
    assert "frame 3 of 5" in text
    assert "left" in text
    assert bench.panel.begin.isEnabled()
    assert "2 of 5 frames are there" in bench.widget.form.message.text()
    assert bench.session.pose is pose
    bench.model.look(0)
    assert bench.bowl_apex() == pytest.approx(bench.model.frames[0].pose.apex_mm, abs=0.01)


def test_playing_goes_to_and_fro_until_it_is_stopped(bench, monkeypatch):
    bench.sweep._clock.setInterval(1)
    bench.compute()
    seen = []
    bench.model.moved.connect(lambda: seen.append(bench.model.index))
    bench.panel.play_button.click()
    assert bench.sweep.playing
    end = time.monotonic() + PATIENCE_S
    while len(seen) < 9 and time.monotonic() < end:
        QTest.qWait(5)
    bench.panel.play_button.click()

    assert not bench.sweep.playing
    assert seen[:9] == [3, 4, 3, 2, 1, 0, 1, 2, 3]


def test_slices_show_the_field_of_the_frame(bench):
    bench.compute()
    bench.model.look(0)
    bench.widget.set_view("axial")
    QTest.qWait(30)
    layer = bench.widget.scene.layer(SLICES)
    prediction = bench.model.frames[0].prediction

    def peak_at(prediction):
        index = np.array(np.unravel_index(layer.data.argmax(), layer.data.shape))
        world = layer.affine.affine_matrix[-4:-1, -4:-1] @ index + layer.affine.translate[-3:]
        return np.linalg.norm(world - prediction.figures.argmax_mm)

    assert layer.visible
    assert peak_at(prediction) < 6
    bench.model.look(4)
    assert peak_at(bench.model.frames[4].prediction) < 6
    assert layer.contrast_limits[1] == pytest.approx(bench.model.most_kpa)
    bench.model.leave()
    assert peak_at(bench.session.prediction) < 6


def test_the_view_is_filmed_frame_by_frame_with_the_plot_beside_it(bench, tmp_path, monkeypatch):
    bench.compute()
    bench.model.leave()
    names = iter([tmp_path / "sweep.gif", tmp_path / "sweep.mp4", tmp_path / "sweep.csv"])
    monkeypatch.setattr(
        focus_sweep.QFileDialog, "getSaveFileName", staticmethod(lambda *_: (str(next(names)), ""))
    )
    for button in (bench.panel.films[1], bench.panel.films[0], bench.panel.csv_button):
        button.click()
        assert bench.widget.wait(PATIENCE_S)

    with Picture.open(tmp_path / "sweep.gif") as film:
        assert film.n_frames == 5
        shots = []
        for i in range(5):
            film.seek(i)
            shots.append(np.asarray(film.convert("RGB")).astype(float))
    scene = [shot[:, : shot.shape[1] // 3] for shot in shots]
    assert all(np.abs(a - b).max() > 60 for a, b in pairwise(scene))
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "sweep.mp4"))[0] == 5
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["angle_deg"]) for row in rows] == [-16, -8, 0, 8, 16]
    assert bench.model.index is None


def test_filming_can_be_cancelled_and_leaves_no_file(bench, tmp_path):
    bench.compute()
    bench.sweep.film("MP4", tmp_path / "sweep.mp4")
    QTest.qWait(1)
    assert bench.sweep.filming
    bench.panel.stop.click()
    assert not bench.sweep.filming
    assert bench.widget.wait(PATIENCE_S)

    assert not list(tmp_path.iterdir())
    assert "no film was written" in bench.widget.form.message.text()
    assert bench.panel.begin.isEnabled()


def test_a_free_axis_of_nothing_is_refused_in_a_sentence(bench):
    bench.panel.axis.setCurrentText("free")
    for field in bench.panel.direction:
        field.setValue(0.0)
    bench.panel.begin.click()

    assert not bench.model.running
    assert "not all zero" in bench.widget.form.message.text()


def test_keeping_a_pose_makes_it_the_pose_of_the_session(bench):
    bench.compute()
    bench.model.look(0)
    wanted = bench.model.now.frame.pose
    bench.panel.keep_button.click()
    assert bench.widget.wait(PATIENCE_S)

    assert bench.session.pose is wanted
    assert bench.bowl_apex() == pytest.approx(wanted.apex_mm, abs=1e-3)
    assert bench.session.prediction.inputs.pose is wanted


def test_closing_the_dock_ends_the_sweep(bench, monkeypatch):
    predict = FocusPredictor.predict

    def slow(self, inputs, /, *, progress):
        for _ in range(200):
            progress(0.5, "waiting")
            time.sleep(0.01)
        return predict(self, inputs, progress=progress)

    monkeypatch.setattr(FocusPredictor, "predict", slow)
    bench.panel.begin.click()
    bench.viewer.window.remove_dock_widget(bench.widget)

    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-")]
