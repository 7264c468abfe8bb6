"""What a run leaves in its folder, and what it makes of what it finds there."""

from __future__ import annotations

import errno
import logging
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trifocal.cli import COME_AGAIN, _run
from trifocal.predictor import Cancelled, Stopped
from trifocal.training import Plan, best_weights, fit, loop, setup, state
from trifocal.training.stored import is_whole, read_state, write_state

PLAN = Plan(epochs=3, batch_size=4, learning_rate=0.02, ema=0.9, seed=5)


class Points:
    def __init__(self, samples=12):
        generator = np.random.default_rng(1)
        self.x = generator.normal(size=(samples, 3)).astype(np.float32)
        self.y = (self.x @ np.float32([1, -2, 0.5]))[:, None]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": self.y[index]}


def net(*, width=6):
    torch.manual_seed(11)
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))


def squared(model, batch):
    return {"loss": ((model(batch["x"]) - batch["y"]) ** 2).mean()}


def score(model):
    return {"score": float(squared(model, {n: torch.tensor(getattr(Points(), n)) for n in "xy"})["loss"])}


def trained(out, model=None, train=None, loss=squared, plan=PLAN, **arguments):
    model = model or net()
    arguments = {"validate": score, "device": "cpu", **arguments}
    return model, fit(model, train or Points(), loss, plan, out, **arguments)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def step_of(path):
    return torch.load(path, weights_only=True)["position"]["step"]


def stop_at(step):
    calls = iter(range(10_000))

    def progress(fraction, what):
        if next(calls) == step:
            raise Cancelled

    return progress


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(loop, "draw_curves", lambda path, rows: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts: folder and weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "draw_curves", lambda path, rows: None)
        out = tmp_path_factory.mktemp("whole")
        model, _ = trained(out)
    return out, weights(model)


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "run"))


# ----------------------------------------------------------------------------------------------- two states


def test_the_state_before_the_last_one_is_kept_and_both_know_that_they_are_whole(whole):
    out, _ = whole
    assert (step_of(out / "last.pt"), step_of(out / "before.pt")) == (9, 6)
    assert all(is_whole(out / name) for name in ("last.pt", "before.pt", "best.pt"))


@pytest.mark.parametrize("damage", ["bit", "half", "empty", "gone"])
def test_a_damaged_last_state_falls_back_to_the_one_before_and_says_so(damage, copy, whole, caplog):
    path = copy / "last.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"bit": bytes(data), "half": bytes(data[: len(data) // 2]), "empty": b""}[damage])
    model, result = trained(copy)
    said = {"bit": "is damaged|got something else", "gone": "is gone"}.get(damage, "got something else")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "last.pt" in record.getMessage()
    assert any(word in record.getMessage() for word in said.split("|"))
    assert record.getMessage().endswith("going on from before.pt, after step 6")
    assert same(weights(model), whole[1])
    assert result.steps == 9
    assert is_whole(path)


def test_a_run_without_a_readable_state_is_refused_and_not_begun_anew(copy):
    for name in ("last.pt", "before.pt"):
        (copy / name).write_bytes(b"no state")
    with pytest.raises(ValueError, match=r"last\.pt must be a state of a run"):
        trained(copy)
    assert (copy / "last.pt").read_bytes() == b"no state"


def test_a_disk_that_gives_back_something_else_is_found_out_and_the_state_before_is_whole(
    tmp_path, monkeypatch
):
    write, count = Path.write_bytes, []

    def bad(self, data):
        count.append(self.name)
        return write(self, bytes(data)[:-1] + b"?" if len(count) == 4 else data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", bad)
        with pytest.raises(OSError, match="the disk gives back something else than was written") as caught:
            trained(tmp_path)
    assert caught.value.errno == errno.EIO
    assert not is_whole(tmp_path / "last.pt")
    assert step_of(tmp_path / "before.pt") == 3


def test_a_disk_without_links_keeps_two_states_as_well(tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    trained(tmp_path)
    assert (step_of(tmp_path / "last.pt"), step_of(tmp_path / "before.pt")) == (9, 6)


def test_a_state_of_an_older_version_has_no_seal_and_lacks_what_is_new(copy, whole):
    stored = read_state(copy / "before.pt")
    for name in ("accumulate", "patience", "channels_last", "compile"):
        del stored["plan"][name]
    del stored["processes"], stored["position"]["stale"]
    torch.save(stored, copy / "last.pt")
    (copy / "before.pt").unlink()
    assert not is_whole(copy / "last.pt")
    model, _ = trained(copy)
    assert same(weights(model), whole[1])


def test_a_run_that_starts_anew_forgets_both_states(copy, whole):
    with pytest.raises(Cancelled):
        trained(copy, plan=replace(PLAN, seed=1), resume=False, progress=stop_at(1))
    assert not (copy / "before.pt").exists()
    assert step_of(copy / "last.pt") == 1


def test_a_state_comes_back_as_it_was(tmp_path):
    wanted = {"a": torch.arange(5), "b": [1.5, "two"], "c": {"d": torch.randn(3, 4, dtype=torch.float64)}}
    write_state(tmp_path / "state.pt", wanted)
    found = read_state(tmp_path / "state.pt")
    assert found["b"] == wanted["b"]
    assert torch.equal(found["a"], wanted["a"])
    assert torch.equal(found["c"]["d"], wanted["c"]["d"])


# ----------------------------------------------------------------------------------- disks that take nothing


def test_a_disk_that_is_full_in_truth_leaves_the_last_state_whole(tmp_path, whole):
    """The system refuses files above a size, as it refuses blocks on a full disk."""
    with pytest.raises(Cancelled):
        trained(tmp_path, progress=stop_at(4))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(
            OSError, match="File too large.*needs .* MiB; the one before it is whole"
        ) as caught:
            trained(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert caught.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


@pytest.fixture
def folder():
    """A folder that other users can come to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


@pytest.fixture
def no_root():
    """Root may write everywhere: be nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_read_only_folder_is_named_before_anything_is_trained(folder, no_root):
    calls = []
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR) if os.geteuid() == folder.stat().st_uid else None
    with pytest.raises(PermissionError, match="cannot write into .*Permission denied.*choose another folder"):
        trained(folder / "run", loss=lambda *arguments: calls.append(1))
    assert not calls


def test_a_folder_that_becomes_read_only_loses_nothing(folder, whole):
    with pytest.raises(Cancelled):
        trained(folder, progress=stop_at(4))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == 2:
            folder.chmod(0o555)
            if os.geteuid() == 0:
                os.seteuid(65534)
        return squared(model, batch)

    try:
        with pytest.raises(OSError, match="cannot write .*Permission denied.*the one before it is whole"):
            trained(folder, loss=loss)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)
    (folder / ".lock").unlink(missing_ok=True)  # it could not be taken away
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    model, _ = trained(folder)
    assert same(weights(model), whole[1])


# ------------------------------------------------------------------------------------- one run, the same plan


def test_a_second_run_in_the_folder_is_refused_while_the_first_goes_on(tmp_path):
    said = []

    def loss(model, batch):
        if not said:
            with pytest.raises(ValueError, match="is going on") as caught:
                trained(tmp_path)
            said.append(str(caught.value))
        return squared(model, batch)

    trained(tmp_path, loss=loss)
    assert f"process {os.getpid()} on " in said[0]
    assert not (tmp_path / ".lock").exists()
    trained(tmp_path)


def test_the_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from trifocal.training.lock import locked\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment)
    assert done.returncode == -9
    assert (tmp_path / ".lock").exists()
    trained(tmp_path)


def test_a_disk_without_locks_is_said_and_used(tmp_path, monkeypatch, caplog):
    def refused(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("trifocal.training.lock._lock", refused)
    trained(tmp_path)
    assert "is on a disk without locks" in caplog.text


def test_another_plan_goes_on_by_force_at_the_same_epoch_and_says_what_changed(copy, caplog):
    plan = replace(PLAN, epochs=4, batch_size=2, weight_decay=0.5)
    with pytest.raises(ValueError, match="epochs must be 3 .*or force it"):
        trained(copy, plan=plan)
    _, result = trained(copy, plan=plan, force=True)
    for words in ("epochs is 4, was 3", "batch_size is 2, was 4", "weight_decay is 0.5, was 0.01"):
        assert words in caplog.text
    assert (result.epochs, result.steps) == (4, 24)
    stored = read_state(copy / "last.pt")
    assert stored["plan"] == asdict(plan)
    assert stored["parts"]["optimizer"]["param_groups"][0]["weight_decay"] == 0.5
    trained(copy, plan=plan)  # it is the run's plan now


def test_an_average_may_begin_by_force(copy, whole):
    plan = replace(PLAN, ema=0.0)
    trained(copy, plan=plan, resume=False)
    trained(copy, plan=replace(plan, ema=0.5, epochs=4), force=True)
    average = read_state(copy / "last.pt")["parts"]["average"]
    assert not same(average, read_state(copy / "last.pt")["parts"]["model"])


def test_another_network_is_refused_even_by_force(copy):
    for force in (False, True):
        with pytest.raises(ValueError, match=r"the shape of 0\.weight must be \(6, 3\)"):
            trained(copy, model=net(width=7), force=force)
        with pytest.raises(ValueError, match=r"holds a run of another network \(no 1\.weight in it\)"):
            trained(copy, model=nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 1)), force=force)


@pytest.mark.parametrize("name", ["budget_minutes", "workers", "patience"])
def test_what_does_not_change_the_weights_may_change(name, copy, caplog):
    trained(copy, plan=replace(PLAN, **{name: 3}))
    assert not caplog.records


# ------------------------------------------------------------------------------------------------ the signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_run_after_its_step_with_its_state_saved(number, tmp_path, whole):
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), number)
        return squared(model, batch)

    with pytest.raises(Stopped, match=number.name):
        trained(tmp_path, loss=loss)
    assert (len(calls), step_of(tmp_path / "last.pt")) == (5, 5)
    assert signal.getsignal(number) is signal.SIG_DFL
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


def test_a_signal_that_somebody_else_handles_is_left_alone(tmp_path):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *arguments: heard.append(1))

    def loss(model, batch):
        os.kill(os.getpid(), signal.SIGUSR1)
        return squared(model, batch)

    try:
        trained(tmp_path, loss=loss)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(heard) == 9


def test_the_command_says_what_stopped_it_by_its_exit_code(capsys):
    @dataclass
    class Command:
        """Stops."""

        def run(self):
            raise Stopped("SIGUSR1")

    assert _run(Command, "trifocal train", []) == COME_AGAIN == 75
    assert "stopped by SIGUSR1: start the same command again to go on" in capsys.readouterr().err


# ------------------------------------------------------------------------------ what else a plan may ask for


@pytest.mark.parametrize("samples", [12, 11, 9])
def test_accumulated_gradients_are_those_of_the_large_batch(samples, tmp_path):
    """(11: the last batch of a step has fewer samples; 9: the last step has one batch.)"""
    results = []
    for batch, accumulate in ((8, 1), (2, 4), (4, 2)):
        plan = replace(PLAN, batch_size=batch, accumulate=accumulate)
        model, result = trained(tmp_path / f"{batch}", train=Points(samples), plan=plan)
        results.append((weights(model), result))
    for found, result in results[1:]:
        assert result.steps == results[0][1].steps == 6
        assert [row["train_loss"] for row in result.rows] == pytest.approx(
            [row["train_loss"] for row in results[0][1].rows], rel=1e-5
        )
        for name in found:
            torch.testing.assert_close(found[name], results[0][0][name], rtol=1e-4, atol=1e-5)


def test_an_accumulating_run_goes_on_to_the_same_bits(tmp_path):
    plan = replace(PLAN, batch_size=2, accumulate=3)
    wanted = weights(trained(tmp_path / "whole", plan=plan)[0])
    with pytest.raises(Cancelled):
        trained(tmp_path / "cut", plan=plan, progress=stop_at(3))
    assert same(weights(trained(tmp_path / "cut", plan=plan)[0]), wanted)


def test_a_run_out_of_patience_stops_and_stays_stopped(tmp_path):
    scores = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    plan = replace(PLAN, epochs=9, patience=2)
    model, result = trained(tmp_path, plan=plan, validate=lambda model: {"score": next(scores)})
    assert (result.epochs, result.best_score, result.stopped_by) == (4, 2.0, "patience")
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 6
    again, result = trained(tmp_path, plan=plan, loss=None)
    assert same(weights(again), weights(model))
    assert (result.epochs, result.stopped_by) == (4, "patience")
    _, result = trained(
        tmp_path, plan=replace(plan, patience=3), validate=lambda model: {"score": next(scores, 4.0)}
    )
    assert (result.epochs, result.best_score) == (8, 1.0)


class Cubes:
    """Volumes (1, x, y, z) and their mean."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x = np.random.default_rng(index).normal(size=(2, 4, 4, 4)).astype(np.float32)
        return {"x": x, "parts": [x.mean()], "name": "cube"}


def mean_of(model, batch):
    return {"loss": (model(batch["x"]).mean((1, 2, 3, 4)) - batch["parts"][0]).square().mean()}


def cube_net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv3d(3, 1, 2))


def test_channels_innermost_are_another_layout_and_the_same_training(tmp_path):
    plan, seen = Plan(epochs=2, batch_size=2, channels_last=True), []

    def loss(model, batch):
        seen.append(batch["x"].is_contiguous(memory_format=torch.channels_last_3d))
        return mean_of(model, batch)

    plain = cube_net()
    fit(plain, Cubes(), mean_of, replace(plan, channels_last=False), tmp_path / "plain", device="cpu")
    model = cube_net()
    fit(model, Cubes(), loss, plan, tmp_path / "last", device="cpu")
    assert all(seen)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")  # torch's own compiler
def test_a_compiled_model_trains_as_the_plain_one_and_keeps_its_names(tmp_path):
    plain, _ = trained(tmp_path / "plain")
    model, _ = trained(tmp_path / "compiled", plan=replace(PLAN, compile=True))
    assert best_weights(tmp_path / "compiled").keys() == plain.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_plan_says_whether_to_compile(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: ("compiled", model))
    model = net()
    assert setup.prepared(model, replace(PLAN, compile=True)) == ("compiled", model)
    assert setup.prepared(model, PLAN) is model


@pytest.mark.parametrize("change", [{"accumulate": 0}, {"patience": 0}, {"patience": 1.5}])
def test_a_plan_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be a whole number of 1 or more"):
        Plan(epochs=1, **change)


def test_a_position_keeps_its_epoch_when_steps_change():
    position = state.Position(step=9, reported=6)
    position.rescale(2 / 3)
    assert (position.step, position.reported) == (6, 4)
