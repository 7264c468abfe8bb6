from __future__ import annotations

import csv
import errno
import json
import math
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trifocal.predictor import Cancelled
from trifocal.training import Plan, best_weights, fit, learning_rate_at, loop, sample_order, setup

SAMPLES = 14  # not a multiple of the batch size: an epoch's last batch is smaller
STEPS = 4  # of 4 samples at most


class Points:
    """y = A x + b with noise, and a small augmentation that seed, epoch and index decide."""

    def __init__(self, samples=SAMPLES, jitter=0.1):
        generator = np.random.default_rng(1)
        self.x = generator.normal(size=(samples, 3)).astype(np.float32)
        self.y = self.x @ np.float32([1, -2, 0.5]) + 0.3 + 0.1 * self.x[:, 0] ** 2
        self.jitter, self.epoch = jitter, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        if not self.jitter:
            return {"x": self.x[index], "y": self.y[index]}
        noise = np.random.default_rng([7, self.epoch, index]).normal(size=3).astype(np.float32)
        return {"x": self.x[index] + self.jitter * noise, "y": self.y[index]}


class Net(nn.Module):
    """Has what could break exactness: dropout (random numbers) and a batch norm (buffers)."""

    def __init__(self, width=6):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1)
        )

    def forward(self, x):
        return self.layers(x)[:, 0]


def net(**arguments):
    torch.manual_seed(11)
    return Net(**arguments)


def squared(model, batch):
    error = model(batch["x"]) - batch["y"]
    return {"loss": (error**2).mean(), "absolute": error.abs().mean()}


def score(model):
    data = Points(jitter=0)
    error = model(torch.tensor(data.x)).detach() - torch.tensor(data.y)
    return {"score": float((error**2).mean()), "samples": 14}


PLAN = Plan(epochs=3, batch_size=4, learning_rate=0.02, ema=0.9, seed=5)


def trained(out, model=None, train=None, loss=squared, plan=PLAN, **arguments):
    model = model or net()
    arguments = {"validate": score, "device": "cpu", **arguments}
    return model, fit(model, Points() if train is None else train, loss, plan, out, **arguments)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Of the runs in a test; `whole` draws its own."""
    monkeypatch.setattr(loop, "draw_curves", lambda path, rows: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts: folder, weights, result."""
    out = tmp_path_factory.mktemp("whole")
    model, result = trained(out)
    return out, weights(model), result


def stop_at(step, error=Cancelled):
    calls = iter(range(10_000))

    def progress(fraction, what):
        if next(calls) == step:
            raise error

    return progress


def test_a_linear_model_reaches_the_least_squares_answer(tmp_path):
    data = Points(32, jitter=0)
    plan = Plan(epochs=150, batch_size=32, learning_rate=0.1, weight_decay=0.0)
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    result = fit(model, data, lambda m, b: {"loss": ((m(b["x"])[:, 0] - b["y"]) ** 2).mean()}, plan, tmp_path)
    columns = np.c_[data.x, np.ones(32)].astype(float)
    answer, rest, *_ = np.linalg.lstsq(columns, data.y.astype(float), rcond=None)
    np.testing.assert_allclose(model.weight.detach().numpy()[0], answer[:3], atol=2e-3)
    np.testing.assert_allclose(model.bias.item(), answer[3], atol=2e-3)
    assert result.rows[-1]["train_loss"] == pytest.approx(rest[0] / 32, rel=1e-3)
    assert (result.epochs, result.steps, result.best_score, result.stopped_by) == (150, 150, None, "epochs")
    assert same(best_weights(tmp_path), weights(model))  # where nothing validates, the last are the best


def test_the_learning_rate_rises_in_a_line_and_falls_as_half_a_cosine():
    plan = Plan(epochs=1, learning_rate=2e-3, warmup=0.2)
    rates = [learning_rate_at(p, plan) for p in (0, 0.1, 0.2, 0.4, 0.6, 1, 1.3)]
    np.testing.assert_allclose(rates, [0, 1e-3, 2e-3, 1e-3 * (1 + math.sqrt(0.5)), 1e-3, 0, 0], atol=1e-18)
    assert learning_rate_at(0.0, Plan(epochs=1, learning_rate=3.0, warmup=0.0)) == 3.0


def test_the_order_of_samples_is_a_permutation_that_seed_and_epoch_decide():
    orders = {(seed, epoch): sample_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert sample_order(50, 1, 1) == orders[1, 1]


def test_every_sample_is_seen_once_in_an_epoch_in_that_order(tmp_path):
    seen = []

    class Indices(Points):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "index": index}

    def loss(model, batch):
        seen.append(batch["index"].tolist())
        return squared(model, batch)

    trained(tmp_path, train=Indices(), loss=loss)
    assert [len(batch) for batch in seen] == [4, 4, 4, 2] * 3
    for epoch in range(3):
        flat = [index for batch in seen[STEPS * epoch : STEPS * (epoch + 1)] for index in batch]
        assert flat == sample_order(SAMPLES, PLAN.seed, epoch)


def test_two_runs_of_the_same_seed_are_equal_and_another_seed_is_not(tmp_path, whole):
    _, expected, result = whole
    model, again = trained(tmp_path / "same")
    assert same(weights(model), expected)
    assert timeless(again.rows) == timeless(result.rows)
    other, _ = trained(tmp_path / "other", plan=Plan(**{**vars(PLAN), "seed": 6}))
    assert not same(weights(other), expected)


@pytest.mark.parametrize(
    ("error", "step"),
    [*((Cancelled, step) for step in (1, 4, 7, 11)), *((KeyboardInterrupt, step) for step in (0, 3, 10))],
)
def test_a_run_that_is_interrupted_goes_on_to_the_same_bits(tmp_path, whole, step, error):
    out, expected, result = whole
    with pytest.raises(error):
        trained(tmp_path, progress=stop_at(step, error))
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == step
    model, again = trained(tmp_path, model=net(width=6).apply(blank))
    assert same(weights(model), expected)
    assert same(best_weights(tmp_path), best_weights(out))
    assert timeless(again.rows) == timeless(result.rows)
    assert (again.best_score, again.steps, again.stopped_by) == (result.best_score, 12, "epochs")


@torch.no_grad()
def blank(module):
    """So that nothing of the first part comes from the model that is handed in."""
    for parameter in module.parameters(recurse=False):
        parameter.zero_()


def test_a_run_can_be_interrupted_again_and_again(tmp_path, whole):
    for _ in range(4):  # each part does three steps: its first call of progress is before a step
        with pytest.raises(Cancelled):
            trained(tmp_path, progress=stop_at(3))
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


def test_ctrl_c_within_a_step_lets_the_step_end(tmp_path, whole):
    calls = []

    def loss(model, batch):
        values = squared(model, batch)
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return values

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, loss=loss)
    assert len(calls) == 6
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


def test_an_interruption_of_the_validation_repeats_it(tmp_path, whole):
    calls = []

    def validate(model):
        calls.append(1)
        if len(calls) == 2:
            raise Cancelled
        return score(model)

    with pytest.raises(Cancelled):
        trained(tmp_path, validate=validate)
    model, again = trained(tmp_path)
    assert same(weights(model), whole[1])
    assert timeless(again.rows) == timeless(whole[2].rows)


def test_a_half_done_step_is_not_saved(tmp_path, whole):
    def loss(model, batch):
        values = squared(model, batch)  # the batch norm has changed by now
        if model.training and len(batch["x"]) == 2:
            raise Cancelled
        return values

    with pytest.raises(Cancelled):
        trained(tmp_path, loss=loss)
    assert not (tmp_path / "last.pt").exists()
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


def test_a_finished_run_is_not_trained_further(tmp_path, whole):
    trained(tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    model, again = trained(tmp_path, loss=None)
    assert same(weights(model), whole[1])
    assert again.steps == 12
    assert (tmp_path / "last.pt").read_bytes() == before


def test_loading_in_workers_changes_nothing(tmp_path, whole):
    model, _ = trained(tmp_path, plan=Plan(**{**vars(PLAN), "workers": 1}))
    assert same(weights(model), whole[1])


def test_the_folder_holds_table_picture_plan_and_best_weights(whole):
    out, final, result = whole
    assert sorted(f.name for f in out.iterdir()) == [
        "before.pt",
        "best.pt",
        "curves.csv",
        "curves.png",
        "last.pt",
        "plan.json",
    ]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    wanted = {"seconds", "learning_rate", "train_loss", "train_absolute", "val_score", "val_samples"}
    assert wanted <= rows[0].keys()
    assert [float(r["val_score"]) for r in rows] == pytest.approx(
        [r["val_score"] for r in result.rows], rel=1e-7
    )
    assert float(rows[-1]["learning_rate"]) == 0
    assert result.best_score == min(row["val_score"] for row in result.rows)
    best = net()
    best.load_state_dict(best_weights(out))
    assert score(best.eval())["score"] == pytest.approx(result.best_score, rel=1e-6)
    assert not same(best_weights(out), final)  # they are averaged
    assert json.loads((out / "plan.json").read_text())["seed"] == PLAN.seed


def test_the_average_follows_its_formula(tmp_path):
    seen = [weights(net())["layers.0.weight"]]

    def validate(model):
        return {"score": 0.0}

    def loss(model, batch):
        seen.append(model.layers[0].weight.detach().clone())
        return squared(model, batch)

    model, _ = trained(tmp_path, loss=loss, validate=validate)
    passed = [*seen[2:], weights(model)["layers.0.weight"]]  # after steps 1, 2, ..., 12
    mean = seen[0]
    for step, now in enumerate(passed, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * now
    found = torch.load(tmp_path / "last.pt", weights_only=True)["parts"]["average"]["layers.0.weight"]
    torch.testing.assert_close(found, mean)


def test_validation_sees_the_model_in_evaluation_mode_without_gradients_as_often_as_planned(tmp_path):
    seen = []

    def validate(model):
        seen.append((model.training, torch.is_grad_enabled()))
        return {"score": -len(seen)}

    plan = Plan(epochs=2, batch_size=4, validate_every=0.5)
    model, result = trained(tmp_path, plan=plan, validate=validate)
    assert seen == [(False, False)] * 4
    assert [row["step"] for row in result.rows] == [2, 4, 6, 8]
    assert result.best_score == -4
    assert model.training


def test_a_budget_ends_the_run_annealed(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop, "monotonic", lambda: now[0])

    def loss(model, batch):
        now[0] += 6.0
        return squared(model, batch)

    plan = Plan(epochs=1000, batch_size=4, budget_minutes=1.0, warmup=0.0)
    model, result = trained(tmp_path, plan=plan, loss=loss)
    assert (result.steps, result.epochs, result.seconds, result.stopped_by) == (10, 2.5, 60.0, "budget")
    assert [row["step"] for row in result.rows] == [4, 8, 10]
    expected = [learning_rate_at(p, plan) for p in (0.4, 0.8, 1)]
    assert [row["learning_rate"] for row in result.rows] == pytest.approx(expected)
    assert "val_score" in result.rows[-1]
    after = weights(model)
    model, again = trained(tmp_path, model=model, plan=plan, loss=loss)  # nothing is left of the budget
    assert again.steps == 10
    assert same(weights(model), after)
    longer = Plan(**{**vars(plan), "budget_minutes": 2.0})
    assert trained(tmp_path, plan=longer, loss=loss)[1].steps == 20


def test_long_epochs_are_saved_every_five_minutes(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop, "monotonic", lambda: now[0])

    def loss(model, batch):
        now[0] += 200.0
        if now[0] > 700:
            raise ZeroDivisionError
        return squared(model, batch)

    with pytest.raises(ZeroDivisionError):
        trained(tmp_path, loss=loss)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == 2


@pytest.mark.parametrize("writes", [2, 3, 4])
def test_a_full_disk_leaves_the_last_state_whole_and_the_run_can_go_on(tmp_path, monkeypatch, whole, writes):
    write, count = Path.write_bytes, []

    def full(self, data):
        count.append(self.name)
        if len(count) > writes:
            write(self, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            OSError, match=r"needs \d+\.\d MiB; the one before it is whole: make room"
        ) as caught:
            trained(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert {f.name for f in tmp_path.iterdir()} <= {
        "before.pt",
        "best.pt",
        "last.pt",
        "curves.csv",
        "curves.png",
        "plan.json",
    }
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == 4 * (writes // 2)
    assert best_weights(tmp_path)
    model, result = trained(tmp_path)
    assert same(weights(model), whole[1])
    assert timeless(result.rows) == timeless(whole[2].rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"epochs": 4}, "epochs must be 3"), ({"ema": 0.0}, "ema must be 0.9"), ({"seed": 1}, "seed must be 5")],
)
def test_a_differing_plan_is_refused_with_the_field(tmp_path, whole, change, words):
    out, *_ = whole
    with pytest.raises(ValueError, match=f"{words} to go on with the run .* choose another folder"):
        trained(out, plan=Plan(**{**vars(PLAN), **change}))


def test_another_model_data_set_or_file_is_refused(tmp_path, whole):
    out, *_ = whole
    with pytest.raises(ValueError, match=r"the shape of layers\.0\.weight must be \(6, 3\)"):
        trained(out, model=net(width=7))
    with pytest.raises(ValueError, match="samples must be 14"):
        trained(out, train=Points(15))
    (tmp_path / "last.pt").write_bytes(b"no state")
    with pytest.raises(ValueError, match="must be a state of a run"):
        trained(tmp_path)


def test_without_resuming_a_run_starts_anew(tmp_path, whole):
    with pytest.raises(Cancelled):
        trained(tmp_path, plan=Plan(**{**vars(PLAN), "seed": 1}), progress=stop_at(5))
    model, _ = trained(tmp_path, resume=False)
    assert same(weights(model), whole[1])


def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_nothing(tmp_path, whole):
    calls = []

    def loss(model, batch):
        values = squared(model, batch)
        calls.append(1)
        return {"loss": values["loss"] * math.nan} if len(calls) == 7 else values

    with pytest.raises(
        FloatingPointError, match=r"loss must be finite, got nan at epoch 2, step 7, learning rate"
    ):
        trained(tmp_path, loss=loss)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == 4
    model, _ = trained(tmp_path)
    assert same(weights(model), whole[1])


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path):
    def loss(model, batch):
        return {"loss": torch.sqrt(model(batch["x"]).sum() * 0)}

    with pytest.raises(FloatingPointError, match="gradient must be finite"):
        trained(tmp_path, loss=loss)


def test_a_gpu_that_is_too_small_names_the_batch_size(tmp_path):
    def loss(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match="too little memory for batch_size 4: lower it"):
        trained(tmp_path, loss=loss)


def test_progress_says_epoch_loss_and_time_left(tmp_path):
    said = []
    trained(tmp_path, progress=lambda fraction, what: said.append((fraction, what)))
    fractions = [fraction for fraction, _ in said]
    assert fractions == pytest.approx([step / 12 for step in range(13)])
    assert said[0][1] == "epoch 1 of 3"
    assert said[5][1].startswith("epoch 2 of 3, loss ")
    assert said[5][1].endswith(" left")
    assert said[-1][1].startswith("epoch 3 of 3, loss ")


def test_biases_and_norms_do_not_decay():
    groups = setup.adamw(net(), Plan(epochs=1, weight_decay=0.1)).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.1, 2), (0.0, 4)]


def test_training_in_bfloat16_goes_down(tmp_path):
    plan = Plan(epochs=5, batch_size=4, learning_rate=0.02, precision="bf16-mixed")
    model, result = trained(tmp_path, plan=plan)
    assert result.rows[-1]["train_loss"] < result.rows[0]["train_loss"]
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs must be a whole number of 1 or more, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"warmup": 1.0}, "warmup must be"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"gradient_clip": 0.0}, "gradient_clip must be above 0, or None"),
        ({"budget_minutes": -1.0}, "budget_minutes must be"),
        ({"precision": "64"}, "precision must be one of"),
        ({"ema": 1.0}, "ema must be"),
        ({"validate_every": 0}, "validate_every must be"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Plan(**{"epochs": 1, **change})


def test_what_cannot_be_trained_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="at least one sample"):
        trained(tmp_path, train=Points(0))
    with pytest.raises(ValueError, match='one of them called "loss"'):
        trained(tmp_path, loss=lambda m, b: {"error": squared(m, b)["loss"]})
    with pytest.raises(ValueError, match='must return "score"'):
        trained(tmp_path / "a", validate=lambda m: {"dice": 1.0})
    with pytest.raises(ValueError, match="precision must be 32-true or bf16-mixed on the device cpu"):
        trained(tmp_path / "b", plan=Plan(epochs=1, precision="16-mixed"))
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"pip install trifocal\[train\]"):
        trained(tmp_path / "c")
