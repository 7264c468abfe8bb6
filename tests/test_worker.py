"""The job queue: one in flight, the newest waiting, nothing stale shown. No window, no Qt."""

import queue
import threading

import pytest

from napari_trifocal.worker import JobQueue
from trifocal.predictor import Cancelled


class Bench:
    """A job queue whose interface thread is the test."""

    def __init__(self):
        self.calls = queue.Queue()
        self.jobs = JobQueue(self.calls.put)
        self.shown, self.failures, self.progress = [], [], []
        self.gates = {}
        self.started = {}

    def submit(self, name, **options):
        gate, started = threading.Event(), threading.Event()
        self.gates[name], self.started[name] = gate, started

        def work(report):
            started.set()
            assert gate.wait(10)
            report(0.5, name)
            return name

        return self.jobs.submit(
            work,
            self.shown.append,
            self.failures.append,
            lambda f, w: self.progress.append((f, w)),
            **options,
        )

    def let(self, name):
        assert self.started[name].wait(10)
        self.gates[name].set()

    def pump(self):
        while self.jobs.busy:
            self.calls.get(timeout=10)()
        while not self.calls.empty():
            self.calls.get()()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    for gate in bench.gates.values():
        gate.set()
    bench.jobs.close()


def test_what_runs_is_shown_although_something_newer_waits(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    bench.submit("second")
    bench.let("first")
    bench.let("second")
    bench.pump()

    assert bench.shown == ["first", "second"]


def test_of_several_that_wait_only_the_newest_runs(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    for name in ("second", "third", "fourth"):
        bench.submit(name)
    bench.let("first")
    bench.let("fourth")
    bench.pump()

    assert bench.shown == ["first", "fourth"]
    assert not bench.started["second"].is_set()


def test_an_answer_older_than_what_is_shown_is_dropped(bench):
    bench.submit("first")
    bench.let("first")
    late = bench.calls.get(timeout=10)  # progress at the start
    while "first" not in bench.shown:
        late()
        late = bench.calls.get(timeout=10) if "first" not in bench.shown else late
    shown = list(bench.shown)
    late()

    assert bench.shown == shown


def test_forgotten_answers_are_dropped_and_the_work_is_told_to_stop(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    bench.jobs.forget()
    bench.submit("second")
    bench.let("first")
    bench.let("second")
    bench.pump()

    assert bench.shown == ["second"]
    assert bench.failures == []


def test_replacing_the_running_job_drops_its_answer(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    bench.submit("second", replace_running=True)
    bench.let("first")
    bench.let("second")
    bench.pump()

    assert bench.shown == ["second"]


def test_cancel_stops_the_work_at_its_next_report_and_is_reported(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    bench.jobs.cancel()
    bench.let("first")
    bench.pump()

    assert bench.shown == []
    assert [type(f) for f in bench.failures] == [Cancelled]


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError("full"), BaseException("from a decoder")])
def test_whatever_is_raised_is_reported_and_the_queue_goes_on(bench, error):
    def work(report):
        raise error

    bench.jobs.submit(work, bench.shown.append, bench.failures.append)
    bench.pump()
    bench.submit("next")
    bench.let("next")
    bench.pump()

    assert bench.failures == [error]
    assert bench.shown == ["next"]


def test_close_joins_the_thread_and_delivers_nothing_more(bench):
    bench.submit("first")
    assert bench.started["first"].wait(10)
    bench.gates["first"].set()
    bench.jobs.close()
    while not bench.calls.empty():
        bench.calls.get()()

    assert bench.shown == []
    assert not [t for t in threading.enumerate() if t.name == "trifocal" and t.is_alive()]
    assert bench.submit("after") == 0
