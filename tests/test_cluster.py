from __future__ import annotations

import operator
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import submitit

from small_cases import no_skull, shell_jobs
from trifocal.cli import main
from trifocal.focus import cluster as room
from trifocal.focus.cluster import Cluster, JobLostError
from trifocal.focus.data import HeadJob, read_manifest, simulate
from trifocal.predictor import silent

LOCAL = Cluster("local", 2)


def results(function, calls, folder, cluster=LOCAL):
    return dict(cluster.results(function, calls, folder))


def test_results_come_with_their_index_and_the_logs_go(tmp_path):
    found = results(operator.pow, [(2, 3), (2, 4), (2, 5)], tmp_path / "jobs")
    assert found == {0: 8, 1: 16, 2: 32}
    assert not (tmp_path / "jobs").exists()


def test_a_job_that_is_killed_or_raises_is_lost_with_its_log_and_the_others_go_on(tmp_path):
    calls = [(operator.truediv, 1, 0), (signal.raise_signal, signal.SIGKILL), (operator.truediv, 1, 4)]
    found = results(operator.call, calls, tmp_path)
    assert found[2] == 0.25
    assert isinstance(found[0], JobLostError)
    assert "the job failed: ZeroDivisionError: division by zero; its log is" in str(found[0])
    assert "the job was killed before it ended; its log is" in str(found[1])
    for index in (0, 1):
        log = str(found[index]).rpartition("its log is ")[2]
        assert os.path.getsize(log) >= 0
    assert len(list(tmp_path.glob("*/*_log.err"))) == 2  # that of the third is gone


def test_no_more_jobs_run_at_a_time_than_asked_for(tmp_path, monkeypatch):
    running, most = set(), []

    class Job:
        def __init__(self, number):
            self.number, self.polls = number, 0

        def done(self):
            self.polls += 1
            return self.polls > 2

    def submit(function, number):
        running.add(number)
        most.append(len(running))
        return Job(number)

    def outcome(self, job):
        running.discard(job.number)
        return job.number

    monkeypatch.setattr(room, "POLL_S", 0.0)
    monkeypatch.setattr(Cluster, "_executor", lambda self, home: SimpleNamespace(submit=submit))
    monkeypatch.setattr(Cluster, "_outcome", outcome)
    found = results(None, [(n,) for n in range(10)], tmp_path, Cluster("local", 3))
    assert found == {n: n for n in range(10)}
    assert max(most) == 3


def test_leaving_early_cancels_what_runs(tmp_path):
    iterator = LOCAL.results(time.sleep, [(0,), (600,)], tmp_path)
    next(iterator)
    began = time.monotonic()
    iterator.close()
    assert time.monotonic() - began < room.CANCEL_S + 2
    children = [p for p in os.listdir("/proc") if p.isdecimal() and _parent(p) == os.getpid()]
    assert not any("submitit" in _command(p) for p in children)


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(parent)


def _command(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()


def test_a_job_that_is_preempted_is_queued_again_with_its_arguments():
    again = room._Again(operator.pow)
    delayed = again.checkpoint(2, 3)
    assert (delayed.function, delayed.args) == (again, (2, 3))
    assert delayed.result() == 8


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("local:2", ("local", 2)), ("slurm", ("slurm", room.AT_ONCE)), ("slurm:7", ("slurm", 7))],
)
def test_the_option_says_where_and_how_many_at_a_time(text, wanted):
    found = Cluster.parse(text)
    assert (found.kind, found.at_once) == wanted


@pytest.mark.parametrize(
    "text", ["local", "local:", "local:two", "local:-1", "slurm:x", "lsf", "", "local:0"]
)
def test_another_option_is_refused(text):
    with pytest.raises(ValueError, match="jobs must be local:N, slurm or slurm:N|at_once must be 1 or more"):
        Cluster.parse(text)


@pytest.mark.parametrize(("name", "value"), [("minutes", 0), ("cpus", 0), ("gpus", -1), ("kind", "lsf")])
def test_limits_that_cannot_be_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}.* must be .*, got"):
        Cluster(**{"kind": "slurm", "at_once": 1, name: value})


def test_slurm_gets_the_limits_of_a_job(tmp_path, monkeypatch):
    asked = {}

    class Executor:
        def __init__(self, folder, cluster):
            asked.update(folder=folder, cluster=cluster)

        def update_parameters(self, **parameters):
            asked.update(parameters)

    monkeypatch.setattr(room.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    Cluster("slurm", 9, "gpu", minutes=30, cpus=8, gpus=1)._executor(tmp_path)
    assert asked == {
        "folder": tmp_path,
        "cluster": "slurm",
        "name": "trifocal",
        "timeout_min": 30,
        "gpus_per_node": 1,
        "cpus_per_task": 8,
        "slurm_partition": "gpu",
    }


def test_the_limits_make_the_sbatch_file_that_slurm_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(submitit.slurm.slurm, "_slurm_is_available", lambda: True, raising=False)
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda cls: 2))
    executor = Cluster("slurm", 9, "gpu", minutes=30, cpus=8, gpus=1)._executor(tmp_path)
    lines = executor._executor._make_submission_file_text("srun true", "uid").splitlines()
    wanted = ["--partition=gpu", "--time=30", "--cpus-per-task=8", "--gpus-per-node=1", "--job-name=trifocal"]
    assert {f"#SBATCH {line}" for line in wanted} <= set(lines)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="jobs on slurm must have sbatch, and it is not here"):
        results(operator.pow, [(1, 2)], tmp_path, Cluster("slurm", 1))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install trifocal\[train\]"):
        results(operator.pow, [(1, 2)], tmp_path)


# ----------------------------------------------------------------------------------------- a data set by jobs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A head, and a CT without a skull."""
    folder = tmp_path_factory.mktemp("heads")
    found = shell_jobs(folder, train=1, val=0)
    return [*found, HeadJob(no_skull(folder), 9, 2, found[0].bowls)]


@pytest.fixture(scope="module")
def plain(jobs, tmp_path_factory):
    """What this process makes of them: folder and manifest."""
    out = tmp_path_factory.mktemp("plain")
    return out, simulate(jobs, out, processes=1, device="cpu", progress=silent)


def by_jobs(jobs, out):
    return simulate(jobs, out, processes=1, device="cpu", progress=silent, cluster=LOCAL)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def at_once(self, function, calls, folder):
    """In the place of jobs: the calls, in this process."""
    return ((index, function(*arguments)) for index, arguments in enumerate(calls))


def test_jobs_make_the_same_files_as_this_process_and_a_restart_skips_them(
    jobs, plain, tmp_path, monkeypatch
):
    found = by_jobs(jobs[:1], tmp_path)
    assert found["cases"] == plain[1]["cases"]
    assert read_manifest(tmp_path)["cases"] == read_manifest(plain[0])["cases"]
    assert files(tmp_path) == files(plain[0])

    def refused(*arguments):
        raise AssertionError

    monkeypatch.setattr(Cluster, "_executor", refused)
    assert by_jobs(jobs[:1], tmp_path) == found


def test_what_fails_in_a_job_is_written_down_as_in_this_process(jobs, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(Cluster, "results", at_once)
    assert by_jobs(jobs, tmp_path) == plain[1]
    assert "the CT holds no skull" in plain[1]["failures"][0]["error"]


def test_a_head_whose_job_is_lost_is_written_down_and_run_again_by_the_next_start(
    jobs, plain, tmp_path, monkeypatch
):
    lost = JobLostError("the job was killed before it ended")
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "results", lambda *arguments: iter([(0, lost)]))
        manifest = by_jobs(jobs[:1], tmp_path)
    assert manifest["cases"] == []
    assert manifest["failures"] == [{"head": str(jobs[0].source.head), "error": str(lost)}]
    one = plain[1]["cases"][0]["file"]  # what the job had come to before it was killed
    (tmp_path / one).write_bytes((plain[0] / one).read_bytes())
    monkeypatch.setattr(Cluster, "results", at_once)
    again = by_jobs(jobs[:1], tmp_path)
    assert (again["cases"], again["failures"]) == (plain[1]["cases"], [])
    assert files(tmp_path) == files(plain[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jobs", "local"], "jobs must be local:N, slurm or slurm:N (N at a time), got 'local'"),
        (["--jobs", "local:2", "--processes", "2"], "give --jobs or --processes, not both"),
        (["--jobs", "local:2", "--minutes", "0"], "minutes must be 1 or more, got 0"),
    ],
)
def test_the_command_refuses_jobs_that_cannot_be(options, words, tmp_path, capsys):
    arguments = ["--heads", "1", "--poses", "1", "--out", str(tmp_path / "data"), *options]
    assert main(["simulate", "focus", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
