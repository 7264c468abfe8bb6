"""Engines, verify and pin without a window: the test is the interface thread."""

import queue
import threading
from dataclasses import replace

import numpy as np
import pytest

from heads import shell_ct
from napari_trifocal import focus_jobs
from napari_trifocal.focus_badge import AMBER, GREEN, PLAIN, Badge
from napari_trifocal.focus_choice import EngineChoice
from napari_trifocal.focus_compare import Comparing, with_time_left
from napari_trifocal.focus_engines import LADDER, EngineError, Engines, rung_below
from napari_trifocal.focus_session import FocusSession
from trifocal import checkpoint
from trifocal.focus import predictor
from trifocal.focus.transducer import Bowl


@pytest.fixture(scope="module")
def ready():
    return focus_jobs.Source(image=shell_ct(radii_mm=(62.0, 56.0, 51.0))).load(Bowl(30.0, 25.0, 250e3))


class Bench:
    def __init__(self):
        self.calls = queue.Queue()
        self.session = FocusSession(self.calls.put, "cpu")
        self.session.bowl = Bowl(30.0, 25.0, 250e3)
        self.session.choice.engine = "has"
        self.comparing = Comparing(self.session, self.calls.put)
        self.said, self.progress = [], []
        self.session.said.connect(self.said.append)
        self.session.progress.connect(lambda *report: self.progress.append(report))

    def pump(self, until=lambda: False):
        while (self.session.busy or self.comparing.busy) and not until():
            self.calls.get(timeout=60)()


@pytest.fixture
def bench(ready, monkeypatch):
    made = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(focus_jobs.Source, "load", lambda *_: ready)
        made.session.load(focus_jobs.Source(label="shell"))
        made.pump()
    yield made
    made.comparing.end()
    made.session.close()


@pytest.fixture
def damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "bundled", lambda name: tmp_path / f"{name}.safetensors")


def test_the_ladder_goes_from_the_best_engine_down_and_offers_no_solver():
    assert LADDER == ("network", "has", "free-field")
    assert set(LADDER) <= set(predictor.ENGINES)
    assert rung_below("network") == "has"
    assert rung_below("has") == "free-field"
    assert rung_below("free-field") is None


def test_an_engine_is_loaded_once_for_each_device():
    engines = Engines()

    assert engines.get("has", "cpu") is engines.get("has", "cpu")
    assert engines.get("has", "cpu") is not engines.get("free-field", "cpu")
    with pytest.raises(ValueError, match="device must be"):
        engines.get("has", "tpu")


def test_an_engine_that_cannot_be_loaded_says_which_and_why(damaged):
    with pytest.raises(EngineError, match=r"the engine network cannot be loaded: .*missing") as caught:
        Engines().get("network", "cpu")
    assert caught.value.engine == "network"


def test_falling_back_leaves_an_engine_that_was_chosen_since():
    choice = EngineChoice()
    choice.choose("free-field")

    assert choice.give_up(EngineError("network", "gone"))
    assert choice.engine == "free-field"
    assert "gone" in choice.missing["network"]
    assert not choice.give_up(EngineError("has", "gone"))


def test_missing_weights_give_way_to_has_and_nothing_else_is_lost(bench, damaged):
    placing, head = bench.session.placing, bench.session.head
    bench.session.set_engine("network")
    bench.pump()

    assert bench.session.prediction.engine == "has"
    assert bench.said[-1].is_error
    assert bench.said[-1].text.endswith("; has is used")
    assert (bench.session.placing, bench.session.head) == (placing, head)
    assert bench.session.choice.problems == (bench.session.choice.missing["network"],)


def test_a_device_that_is_not_there_gives_way_to_auto(bench, monkeypatch):
    monkeypatch.setattr("napari_trifocal.focus_choice.missing_devices", lambda: {"cuda": "no GPU"})
    bench.session.choice.device = "cuda"
    bench.session.find_engines()
    bench.pump()

    assert bench.session.choice.device == "auto"
    assert bench.said[-1].text == "device cuda: no GPU; auto is used"


def test_verify_compares_with_the_solver_on_the_same_box(bench):
    bench.comparing.verify()
    bench.pump()
    found = bench.comparing.found

    assert bench.comparing.is_truth
    assert found.reference.prediction.engine == "solver"
    assert found.comparison.errors == found.answer.prediction.errors_against(found.reference.prediction)
    assert bench.comparing.truth_for(bench.session.order()) is found.reference.prediction
    assert bench.progress[-1] == (1.0, "")
    assert 0 < found.comparison.errors.rel_l2 < 0.3


def test_the_truth_holds_for_every_engine_and_only_at_its_place(bench):
    bench.comparing.verify()
    bench.pump()
    truth, first = bench.comparing.reference, bench.comparing.found
    bench.session.set_engine("free-field")
    bench.pump()
    assert bench.comparing.reference is truth
    assert bench.comparing.found.answer.prediction.engine == "free-field"
    assert bench.comparing.found.comparison.errors.peak_error > first.comparison.errors.peak_error

    bench.session.set_pose(bench.session.pose.moved(-3.0))
    assert bench.comparing.found is None
    assert not bench.comparing.is_current
    bench.pump()
    assert bench.comparing.found is None
    assert bench.comparing.truth_for(bench.session.order()) is None
    bench.session.undo()
    bench.pump()
    assert bench.comparing.is_current
    assert bench.comparing.found is not None


def test_cancelling_is_immediate_and_nothing_comes_after(bench, monkeypatch):
    started, gate, predict = threading.Event(), threading.Event(), focus_jobs.Order.predict

    def slow(order, progress):
        started.set()
        assert gate.wait(30)
        return predict(order, progress)

    monkeypatch.setattr(focus_jobs.Order, "predict", slow)
    bench.comparing.verify()
    assert started.wait(10)
    bench.comparing.cancel()
    assert bench.comparing.verifying is None
    assert bench.said[-1].text == "cancelled: not verified"
    gate.set()
    bench.pump()

    assert bench.comparing.reference is None
    assert not bench.said[-1].is_error


def test_moving_the_bowl_while_the_solver_runs_stops_it(bench, monkeypatch):
    gate, predict = threading.Event(), focus_jobs.Order.predict

    def slow(order, progress):
        assert order.engine != "solver" or gate.wait(30)
        return predict(order, progress)

    monkeypatch.setattr(focus_jobs.Order, "predict", slow)
    bench.comparing.verify()
    bench.session.set_pose(bench.session.pose.moved(-3.0))
    gate.set()
    bench.pump()

    assert [m.text for m in bench.said].count("the bowl moved: not verified") == 1
    assert bench.comparing.reference is None


def test_a_box_that_does_not_fit_the_memory_is_one_sentence(bench, monkeypatch):
    monkeypatch.setattr("trifocal.focus.solver.memory_bytes", lambda *_: 2**50)
    bench.comparing.verify()
    bench.pump()

    assert "GiB of memory" in bench.said[-1].text
    assert bench.said[-1].is_error
    assert bench.comparing.verifying is None


def test_a_verification_can_follow_one_that_was_cancelled(bench):
    bench.comparing.verify()
    bench.comparing.cancel()
    bench.comparing.verify()
    bench.pump()

    assert bench.comparing.found is not None


def test_a_pinned_prediction_is_compared_wherever_the_bowl_goes(bench):
    bench.comparing.pin()
    pinned = bench.session.answer
    bench.pump()
    assert bench.comparing.found is None  # with itself it is not compared

    bench.session.set_pose(bench.session.pose.moved(-3.0))
    bench.pump()
    found = bench.comparing.found
    assert found.reference is pinned
    assert found.comparison.errors is None
    assert found.comparison.distance_mm > 0
    assert not bench.comparing.is_truth
    bench.comparing.close()
    assert bench.comparing.found is None


def test_a_preview_cannot_be_pinned(bench):
    bench.session.begin_drag()
    bench.comparing.pin()
    bench.session.end_drag()

    assert bench.comparing.reference is None
    assert "preview" in bench.said[-1].text


def test_without_a_head_there_is_nothing_to_verify_or_pin():
    made = Bench()
    made.comparing.verify()
    made.comparing.pin()

    assert [message.is_error for message in made.said] == [True, True]
    assert not made.comparing.busy


def test_the_command_verifies_only_if_asked(bench, tmp_path):
    order, source = bench.session.order(), focus_jobs.Source(path=tmp_path / "head.nii.gz")

    plain = focus_jobs.command_line(order, source, "default", tmp_path)
    verified = focus_jobs.command_line(
        replace(order, engine="network"), source, "default", tmp_path, verify=True
    )

    assert "--verify" not in plain
    assert "--engine has" in plain
    assert verified.endswith("--engine network --device cpu --verify")


def test_the_badge_is_coloured_by_its_rule_and_only_against_the_solver(bench):
    bench.comparing.verify()
    bench.pump()
    found = bench.comparing.found

    def badge(**errors):
        made = replace(found.comparison, errors=replace(found.comparison.errors, **errors))
        return Badge.of(replace(found, comparison=made))

    assert badge(centroid_error_mm=1.5, peak_error=-0.1).colour == GREEN
    assert badge(centroid_error_mm=1.51, peak_error=0.0).colour == AMBER
    assert badge(centroid_error_mm=0.0, peak_error=0.101).colour == AMBER
    assert "axial -2.50" in badge(axial_mm=-2.5).text
    pinned = replace(found.reference, order=replace(found.reference.order, engine="has"))
    assert Badge.of(replace(found, reference=pinned)).colour == PLAIN


def test_the_time_left_follows_from_the_time_it_took(monkeypatch):
    now, said = [100.0], []
    monkeypatch.setattr("napari_trifocal.focus_compare.time.monotonic", lambda: now[0])
    report = with_time_left(lambda fraction, what: said.append(what))
    for at, fraction in ((100.1, 0.01), (110.0, 0.25), (140.0, 1.0)):
        now[0] = at
        report(fraction, "solving")

    assert said == ["solving", "solving, 30 s left", "solving"]


def test_an_order_is_at_a_place_whatever_its_engine_or_target(bench):
    order = bench.session.order()

    assert order.at_place_of(replace(order, engine="solver", target_mm=np.zeros(3)))
    assert not order.at_place_of(replace(order, pose=order.pose.moved(1.0)))
    assert not order.at_place_of(replace(order, bowl=Bowl(30.0, 25.0, 251e3)))
    assert not order.at_place_of(replace(order, head=replace(order.head)))
