"""The model behind the sweep panel, without a window: the test is the interface thread."""

import csv
import queue
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from heads import shell_ct
from napari_trifocal import focus_jobs
from napari_trifocal.focus_session import FocusSession
from napari_trifocal.focus_sweep_model import SweepModel
from trifocal.focus.predictor import FocusPredictor
from trifocal.focus.sweep import Sweep
from trifocal.focus.transducer import PRESETS, Bowl


@pytest.fixture(scope="module")
def ready():
    made = focus_jobs.Source(image=shell_ct(radii_mm=(62.0, 56.0, 51.0))).load(PRESETS["default"])
    return replace(made, warnings=())


class Bench:
    def __init__(self):
        self.calls = queue.Queue()
        self.session = FocusSession(self.calls.put, "cpu")
        self.session.choice.engine = "free-field"
        self.model = SweepModel(self.session, self.calls.put)
        self.moves, self.said, self.progress = [], [], []
        self.session.said.connect(self.said.append)
        self.model.moved.connect(lambda: self.moves.append(self.model.index))
        self.model.progress.connect(lambda *report: self.progress.append(report))

    def pump(self, until=lambda: False):
        while (self.session.busy or self.model.busy) and not until():
            self.calls.get(timeout=60)()


@pytest.fixture
def bench(ready, monkeypatch):
    made = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(focus_jobs.Source, "load", lambda *_: ready)
        made.session.load(focus_jobs.Source(label="shell"))
        made.pump()
    made.said.clear()
    yield made
    made.model.end()
    made.session.close()


@pytest.fixture
def gate(monkeypatch):
    """Lets only so many frames be computed until it is opened."""
    allowed, opened = threading.Semaphore(0), threading.Event()
    predict = FocusPredictor.predict

    def slow(self, inputs, /, *, progress=lambda *_: None):
        while not opened.is_set() and not allowed.acquire(timeout=0.01):
            progress(0.0, "waiting")
        return predict(self, inputs, progress=progress)

    monkeypatch.setattr(FocusPredictor, "predict", slow)
    yield allowed
    opened.set()


def test_a_sweep_ends_at_its_middle_frame_with_the_pose_of_the_session(bench):
    pose, placings = bench.session.pose, []
    bench.session.placed.connect(lambda: placings.append(1))
    bench.model.start(Sweep(steps=5))
    assert bench.model.running
    bench.pump()

    model = bench.model
    assert not model.running
    assert [frame.angle_deg for frame in model.frames] == pytest.approx([-3.2, -1.6, 0, 1.6, 3.2])
    assert model.index == 2
    assert model.now.frame.pose is pose
    assert model.now.frame.prediction.engine == "free-field"
    assert [look["name"] for _, look, _ in model.now.layers] == ["-6 dB shell", "Focal cloud (kPa)"]
    assert not placings
    assert "left" in bench.progress[-1][1]


def test_a_sweep_cancelled_half_way_keeps_its_frames_and_the_pose(bench, gate):
    pose = bench.session.pose
    bench.model.start(Sweep(steps=5))
    gate.release(2)
    bench.pump(until=lambda: len(bench.model.shown) == 2)
    bench.model.cancel()
    assert not bench.model.running
    bench.pump()
    bench.model.look(1)

    assert len(bench.model.shown) == 2
    assert bench.model.now.frame.angle_deg == pytest.approx(-1.6)
    assert bench.session.pose is pose
    assert bench.said[-1].text == "sweep cancelled: 2 of 5 frames are there"


def test_a_sweep_can_be_started_again_while_the_one_before_ends(bench, gate):
    bench.model.start(Sweep(steps=5))
    bench.model.cancel()
    bench.model.start(Sweep(steps=3, step_deg=10.0))
    gate.release(3)
    bench.pump()

    assert [frame.angle_deg for frame in bench.model.frames] == [-10, 0, 10]


def test_whatever_else_is_done_leaves_the_sweep_and_its_frames_stay(bench):
    session, model = bench.session, bench.model
    for act in (
        lambda: session.set_standoff(20.0),
        lambda: session.set_pose(session.pose.moved(-1.0)),
        session.predict,
        session.undo,
        model.leave,
    ):
        if not model.shown:
            model.start(Sweep(steps=3))
        bench.pump()
        model.look(0)
        assert model.index == 0
        act()
        bench.pump()
        assert model.index is None
        assert len(model.shown) == 3


def test_a_pose_of_the_sweep_can_be_kept_and_undone(bench):
    before = bench.session.pose
    bench.model.start(Sweep("z", steps=3, step_deg=10.0))
    bench.pump()
    bench.model.look(0)
    wanted = bench.model.now.frame.pose
    bench.model.keep()

    assert bench.session.pose is wanted
    assert bench.model.index is None
    bench.session.undo()
    assert bench.session.pose is before


def test_another_head_or_bowl_drops_the_frames(bench, ready, monkeypatch, tmp_path):
    Bowl(50.0, 40.0, 250e3).to_json(tmp_path / "small.json")
    model, session = bench.model, bench.session
    monkeypatch.setattr(focus_jobs.Source, "load", lambda *_: ready)
    for act in (
        lambda: session.set_bowl(tmp_path / "small.json"),
        lambda: session.load(focus_jobs.Source(label="b")),
    ):
        model.start(Sweep(steps=2))
        bench.pump()
        assert len(model.shown) == 2
        act()
        bench.pump()
        assert not model.shown
        assert model.index is None


def test_frames_that_arrive_after_the_head_was_changed_are_dropped(bench, gate):
    bench.model.start(Sweep(steps=3))
    gate.release(1)
    while bench.calls.empty():
        time.sleep(0.001)
    gate.release(1)
    bench.session.bowl_changed.emit()
    bench.pump()

    assert not bench.model.shown
    assert not bench.model.running


def test_without_a_head_there_is_nothing_to_sweep_about():
    bench = Bench()
    bench.model.start(Sweep())

    assert bench.said[-1].is_error
    assert not bench.model.running
    bench.session.close()
    bench.model.end()


def test_a_sweep_that_fails_says_why_and_keeps_what_there_is(bench, monkeypatch):
    predict, calls = FocusPredictor.predict, []

    def failing(self, inputs, /, *, progress):
        calls.append(inputs)
        if len(calls) == 3:
            raise MemoryError
        return predict(self, inputs, progress=progress)

    monkeypatch.setattr(FocusPredictor, "predict", failing)
    bench.model.start(Sweep(steps=5))
    bench.pump()

    assert len(bench.model.shown) == 2
    assert not bench.model.running
    assert bench.said[-1].text == "MemoryError"


def test_the_figures_are_written_as_csv(bench, tmp_path):
    bench.model.start(Sweep(steps=3))
    bench.pump()
    bench.model.save_csv(tmp_path / "sweep.csv")
    bench.pump()

    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [frame.prediction.figures for frame in bench.model.frames]
    assert [float(row["peak_pa"]) for row in rows] == [f.peak_pa for f in found]
    target = bench.session.target_mm
    focus = np.array([[float(row[f"focus_{a}_mm"]) for a in "xyz"] for row in rows])
    assert [float(row["distance_to_target_mm"]) for row in rows] == pytest.approx(
        np.linalg.norm(focus - target, axis=1)
    )
    assert "sweep.csv" in bench.said[-1].text
