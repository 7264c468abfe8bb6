"""Training by several processes that die, and one run in a folder at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import ranks
from trifocal.training import Group, Plan, sample_order
from trifocal.training.batches import steps_in_epoch, steps_of
from trifocal.training.plan import seed_of

SCRIPT = Path(ranks.__file__)
CALLS = 7 * ranks.PLAN.epochs  # of the loss in each process: 41 samples, 2 processes, 3 a batch
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def environment(**more):
    """One thread a process; the packages wherever this process has them from."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more


def run(out, kills=(), command=(sys.executable,), **more):
    out.mkdir(exist_ok=True)
    words = [*command, str(SCRIPT), str(out), *kills]
    return subprocess.run(words, env=environment(**more), capture_output=True, text=True, timeout=500)


def hashes(out):
    return [(out / f"rank{rank}.hash").read_text() for rank in (0, 1)]


def rows(out):
    """Of the table, without the seconds."""
    return [[c for i, c in enumerate(line.split(",")) if i != 2] for line in _lines(out)]


def _lines(out):
    return (out / "curves.csv").read_text().splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of two processes that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole")
    done = run(out)
    assert done.returncode == 0, done.stderr
    return out


def assert_same(out, whole, kills):
    assert len(list(out.glob("killed*"))) == len(kills)
    assert hashes(out) == hashes(whole), kills
    assert (out / "best.pt").read_bytes() == (whole / "best.pt").read_bytes()
    assert rows(out) == rows(whole)


def drawn(count, signals):
    """Ranks and calls at random; the message of a failing test says which."""
    rng = np.random.default_rng()
    return [f"{rng.integers(2)}:{rng.integers(1, 12)}:{int(rng.choice(signals))}" for _ in range(count)]


def test_two_processes_killed_at_random_steps_end_with_the_same_bits(whole, tmp_path):
    kills = [
        *drawn(2, [signal.SIGKILL]),
        f"1:5:{int(signal.SIGUSR1)}",
        f"0:4:{int(signal.SIGTERM)}",
    ]
    done = run(tmp_path, kills)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, whole, kills)


def test_the_processes_end_with_the_same_parameters(whole):
    """(Their batch norms have seen other samples: the first one's are those that are kept.)"""
    state = torch.load(whole / "last.pt", weights_only=True)
    assert state["processes"] == 2
    assert ranks.digest(state["parts"]["model"]) == hashes(whole)[0]


@pytest.mark.slow
def test_torchrun_starts_killed_processes_again_and_they_end_with_the_same_bits(whole, tmp_path):
    kills = drawn(8, [signal.SIGKILL])
    done = run(tmp_path, kills, [*TORCHRUN, "--max-restarts", "12"])
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, whole, kills)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_torchrun_hands_a_signal_on_and_the_same_command_goes_on(whole, tmp_path, number):
    command = [*TORCHRUN, "--signals-to-handle", "SIGTERM,SIGUSR1", str(SCRIPT), str(tmp_path)]
    process = subprocess.Popen(command, env=environment(PAUSE="0.2"), stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "plan.json").exists():
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"Stopped: {number.name}" in said
    step = torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"]
    assert 0 < step < 16
    assert run(tmp_path, command=TORCHRUN).returncode == 0
    assert_same(tmp_path, whole, [])


@pytest.mark.slow
def test_srun_starts_the_same_run(whole, tmp_path):
    """Two processes with what srun gives the tasks of a step."""
    step = {
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_JOB_ID": "4321",
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "localhost",
        "MASTER_ADDR": "127.0.0.1",
    }
    tasks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path)],
            env=environment(**step, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)),
        )
        for rank in (0, 1)
    ]
    assert [task.wait(200) for task in tasks] == [0, 0]
    assert_same(tmp_path, whole, [])


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, Group()),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, Group()),  # the script of a batch job
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Group()),
        (
            {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"},
            Group(5, 8, 4),
        ),
        (
            {"TORCHELASTIC_RUN_ID": "a", "RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
            Group(3, 8, 4),
        ),
    ],
)
def test_a_process_knows_its_place_from_its_environment(said, wanted, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert Group.here() == wanted


@pytest.mark.parametrize(
    ("samples", "size", "batch", "accumulate"), [(41, 2, 3, 2), (8, 3, 2, 1), (1, 4, 2, 3)]
)
def test_the_processes_share_one_order_of_the_samples(samples, size, batch, accumulate):
    plan = Plan(epochs=1, batch_size=batch, accumulate=accumulate, seed=3)
    shares = [steps_of(samples, plan, 7, Group(rank, size, size)) for rank in range(size)]
    assert {len(share) for share in shares} == {steps_in_epoch(samples, plan, size)}
    order = sample_order(samples, 3, 7)
    seen = []
    for steps in zip(*shares, strict=True):
        assert len({tuple(map(len, pieces)) for pieces in steps}) == 1  # as many samples in each process
        assert all(len(pieces) <= accumulate and len(piece) <= batch for pieces in steps for piece in pieces)
        turns = zip(*([i for piece in pieces for i in piece] for pieces in steps), strict=True)
        seen += [index for turn in turns for index in turn]
    assert seen[:samples] == order
    assert len(seen) - samples < size


def test_the_processes_draw_unlike_random_numbers_and_the_first_those_of_a_process_alone():
    assert seed_of(5, 1, 9, 0) == seed_of(5, 1, 9)
    assert len({seed_of(5, 1, step, rank) for step in range(20) for rank in range(4)}) == 80
