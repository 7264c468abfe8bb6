"""The model behind the focus widget, without a window: the test is the interface thread."""

import queue
import threading
from dataclasses import replace

import numpy as np
import pytest

from heads import shell_ct
from napari_trifocal import focus_jobs
from napari_trifocal.focus_drag import BowlMover, entry_on, hit_bowl, sees_bowl
from napari_trifocal.focus_placing import angles_of, direction_of
from napari_trifocal.focus_session import FocusSession
from trifocal.focus.pose import Pose
from trifocal.focus.transducer import PRESETS, Bowl


@pytest.fixture(scope="module")
def ready():
    return focus_jobs.Source(image=shell_ct(radii_mm=(62.0, 56.0, 51.0))).load(PRESETS["default"])


class Bench:
    def __init__(self):
        self.calls = queue.Queue()
        self.session = FocusSession(self.calls.put, "cpu")
        self.session.set_engine("has")
        self.answers, self.said = [], []
        self.session.predicted.connect(self.answers.append)
        self.session.said.connect(self.said.append)

    def pump(self, until=lambda: False):
        while self.session.busy and not until():
            self.calls.get(timeout=60)()


@pytest.fixture
def bench(ready, monkeypatch):
    made = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(focus_jobs.Source, "load", lambda *_: ready)
        made.session.load(focus_jobs.Source(label="shell"))
        made.pump()
    yield made
    made.session.close()


def gap(session):
    return session.head.distance_mm(session.pose.to_world(session.bowl.mesh()[0])).min()


def test_a_head_comes_with_a_coupled_bowl_on_a_target_and_a_full_prediction(bench):
    session = bench.session

    assert session.coupling is None
    assert not bench.answers[-1].order.preview
    assert bench.answers[-1].layers[0][1]["name"] == "-6 dB shell"
    assert session.placing.axis == "target"


def test_dragging_asks_for_previews_and_letting_go_for_the_full_field(bench):
    session = bench.session
    bench.answers.clear()
    session.begin_drag()
    for x in (5.0, 10.0, 15.0):
        entry = session.placing.entry_mm(session.head) + [x, 0, 0]
        session.drag_to(session.placing.slid(session.head, session.bowl, entry))
    session.end_drag()
    bench.pump()

    assert bench.answers[-1].order.pose is session.pose
    assert not bench.answers[-1].order.preview
    assert session.history.can_undo


def test_a_drag_is_one_step_of_the_history(bench):
    session = bench.session
    before = session.placing
    session.begin_drag()
    for _ in range(5):
        session.drag_to(session.placing.slid(session.head, session.bowl, [0, 60.0, 0]))
    session.end_drag()

    session.undo()

    assert session.placing is before
    assert not session.history.can_undo
    assert session.history.can_redo


def test_a_click_without_a_move_is_no_step(bench):
    bench.session.begin_drag()
    bench.session.end_drag()

    assert not bench.session.history.can_undo


def test_the_slider_is_one_step_however_far_it_goes(bench):
    before = bench.session.placing
    for standoff in (5.0, 10.0, 20.0):
        bench.session.set_standoff(standoff)

    assert gap(bench.session) == pytest.approx(20.0, abs=0.3)
    bench.session.undo()
    assert bench.session.placing is before


def test_the_axis_rules(bench):
    session = bench.session
    session.set_pose(Pose.from_apex(session.pose.apex_mm, session.pose.direction + [0.2, 0.1, 0]))
    assert session.placing.axis == "free"

    session.set_axis("normal")
    entry = session.placing.entry_mm(session.head)
    assert session.pose.direction == pytest.approx(-session.head.normal(entry), abs=0.02)
    session.set_target([10.0, 0, 10.0])
    session.set_axis("target")
    entry = session.placing.entry_mm(session.head)
    toward = (session.target_mm - entry) / np.linalg.norm(session.target_mm - entry)
    assert session.pose.direction == pytest.approx(toward, abs=1e-3)
    with pytest.raises(ValueError, match="axis must be one of"):
        session.set_axis("sideways")


def test_a_target_outside_the_head_is_refused_in_a_sentence(bench):
    before = bench.session.placing

    assert not bench.session.set_target([400.0, 0, 0])

    assert bench.session.placing is before
    assert bench.said[-1].is_error
    assert "outside the head" in bench.said[-1].text


def test_another_bowl_keeps_its_place_and_an_unknown_one_is_refused(bench, tmp_path):
    session = bench.session
    entry = session.placing.entry_mm(session.head)
    Bowl(50.0, 40.0, 300e3).to_json(tmp_path / "small.json")

    assert session.set_bowl(tmp_path / "small.json")
    assert session.bowl.aperture_mm == 40.0
    assert session.placing.entry_mm(session.head) == pytest.approx(entry, abs=0.5)
    assert not session.set_bowl("no such bowl")
    assert session.bowl.aperture_mm == 40.0


def test_a_device_that_is_not_there_is_said_and_the_field_stays(bench):
    shown = bench.session.answer
    bench.session.set_engine("has", "tpu")
    bench.pump()

    assert bench.session.answer is shown
    assert "device" in bench.said[-1].text


def test_an_answer_for_the_head_before_is_dropped(bench, ready, monkeypatch):
    gate, predict = threading.Event(), focus_jobs.Order.predict
    other = replace(ready, head=replace(ready.head))

    def slow(order, progress):
        assert order.head is other.head or gate.wait(30)
        return predict(order, progress)

    monkeypatch.setattr(focus_jobs.Order, "predict", slow)
    monkeypatch.setattr(focus_jobs.Source, "load", lambda *_: other)
    bench.session.predict()
    bench.answers.clear()
    bench.session.load(focus_jobs.Source(label="other"))
    bench.pump(until=lambda: bench.session.head is other.head)
    gate.set()
    bench.pump()

    assert [answer.order.head for answer in bench.answers] == [other.head]


def test_a_file_that_cannot_be_read_leaves_everything_as_it_is(bench, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"this is no volume")
    before = bench.session.head, bench.session.placing, bench.session.answer
    bench.session.load(focus_jobs.Source(tmp_path / "broken.nii.gz"))
    bench.pump()

    assert (bench.session.head, bench.session.placing, bench.session.answer) == before
    assert bench.said[-1].is_error
    assert "broken.nii.gz" in bench.said[-1].text


def test_cancelling_while_a_head_is_made_ready(bench, monkeypatch):
    started, gate = threading.Event(), threading.Event()

    def load(source, bowl, progress):
        started.set()
        assert gate.wait(30)
        progress(0.5, "half way")

    monkeypatch.setattr(focus_jobs.Source, "load", load)
    before = bench.session.head
    bench.session.load(focus_jobs.Source(label="slow"))
    assert started.wait(10)
    bench.session.cancel()
    gate.set()
    bench.pump()

    assert bench.said[-1].text == "cancelled"
    assert bench.session.head is before


def test_a_ray_meets_the_cap_and_not_the_rest_of_its_sphere(bench):
    bowl, pose = bench.session.bowl, bench.session.pose
    behind = pose.to_world([0, 0, -50.0])

    assert hit_bowl(bowl, pose, behind, pose.direction) == pytest.approx(50.0)
    beside = pose.to_world([bowl.aperture_mm, 0, -50.0])
    assert hit_bowl(bowl, pose, beside, pose.direction) is None
    assert hit_bowl(bowl, pose, behind, -pose.direction) is None


def test_a_bowl_behind_the_head_cannot_be_taken(bench):
    session = bench.session
    far = session.pose.to_world([0, 0, 300.0])

    assert not sees_bowl(session.head, session.bowl, session.pose, far, -session.pose.direction)
    near = session.pose.to_world([0, 0, -100.0])
    assert sees_bowl(session.head, session.bowl, session.pose, near, session.pose.direction)


@pytest.mark.parametrize("beside", [70.0, 100.0, 300.0])
def test_a_ray_beside_the_head_slides_along_its_edge(bench, beside):
    entry = entry_on(bench.session.head, np.array([beside, 300.0, 0]), np.array([0, -1.0, 0]))

    assert abs(bench.session.head.distance_mm(entry)) < 0.3
    assert entry == pytest.approx([62.0, 0, 0], abs=6.0)


def test_the_bowl_follows_the_point_where_the_mouse_took_it(bench):
    session = bench.session
    session.set_pose(Pose.from_apex([0, 75.0, 0], [0, -1.0, 0]))
    session.set_axis("target")
    grip = np.array([12.0, 300.0, 5.0])  # off the middle of the bowl
    toward = np.array([0, -1.0, 0])
    mover = BowlMover(session, grip, toward)
    entry = session.placing.entry_mm(session.head)

    mover.move(grip, toward, tilt=False)
    assert session.placing.entry_mm(session.head) == pytest.approx(entry, abs=0.5)
    mover.move(grip + [20.0, 0, 0], toward, tilt=False)
    assert session.placing.entry_mm(session.head)[0] == pytest.approx(entry[0] + 20.0, abs=1.0)


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, -1, 0), (-0.3, 0.4, -0.9)])
def test_angles_and_directions_are_two_names_of_one(direction):
    unit = np.array(direction) / np.linalg.norm(direction)

    assert direction_of(*angles_of(direction)) == pytest.approx(unit)
