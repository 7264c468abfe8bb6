from __future__ import annotations

import errno
import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import trifocal
from small_cases import BOWLS, no_skull, shell_jobs
from trifocal.checkpoint import CheckpointError, save
from trifocal.cli import main
from trifocal.focus.analysis import refined_peak
from trifocal.focus.cases import Case, HeadSource
from trifocal.focus.data import MANIFEST, HeadJob, read_manifest, simulate
from trifocal.focus.learned import Learned
from trifocal.focus.losses import LossWeights
from trifocal.focus.model import CorrectionNet, ModelConfig, corrected_amplitude
from trifocal.focus.predictor import FocusPredictor
from trifocal.focus.samples import View
from trifocal.focus.skull import NearSkull
from trifocal.focus.train import FIGURES, Recipe, Split, train
from trifocal.predictor import Cancelled, one_core, silent
from trifocal.training import Plan, best_weights

RECIPE = Recipe(
    Plan(epochs=2, batch_size=2, learning_rate=3e-3, seed=4, ema=0.5), ModelConfig((4, 8)), LossWeights()
)
ARGUMENTS = ["--epochs", "1", "--batch-size", "2", "--widths", "4", "8", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    with one_core():
        yield


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Two heads to train with and, last, one to validate with; two cases each."""
    return shell_jobs(tmp_path_factory.mktemp("heads"), train=2, val=1)


@pytest.fixture(scope="module")
def data(jobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    simulate(jobs, out, processes=1, device="cpu", progress=silent)
    return out


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Folder, course and checkpoint of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["/usr/bin/trifocal", "train", "focus", "--data", "my data"])
        fitted, checkpoint = run(data, out)
    return out, fitted, checkpoint


@pytest.fixture(scope="module")
def split(data):
    return Split.read([data])


def run(data, out, recipe=RECIPE, progress=silent):
    return train([data], out, recipe, device="cpu", progress=progress)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def names(folder):
    return {path.name for path in folder.iterdir()}


# ----------------------------------------------------------------------------------------------- the weights


def test_a_run_writes_weights_card_and_curves(whole):
    out, fitted, _ = whole
    assert names(out) == {
        "focus.safetensors",
        "focus.json",
        "before.pt",
        "best.pt",
        "last.pt",
        "curves.csv",
        "curves.png",
        "plan.json",
        "recipe.json",
    }
    assert (fitted.epochs, fitted.steps, fitted.stopped_by) == (2, 4, "epochs")
    assert all(math.isfinite(row["val_score"]) for row in fitted.rows)
    wanted = {"train_loss", "train_field", "train_focus", "train_log", "val_preview_rel_l2"}
    assert wanted | {f"val_{name}" for name in FIGURES} <= fitted.rows[-1].keys()


def test_the_written_weights_predict_what_the_trained_network_did(whole, split):
    out, _, checkpoint = whole
    learned, net = Learned.load(out / "focus.safetensors"), CorrectionNet(RECIPE.model)
    net.load_state_dict(best_weights(out))
    assert same(learned.checkpoint.weights, checkpoint.weights)
    for view in (View.full(Case.load(split.validation[0])), View.preview(Case.load(split.train[0]))):
        inputs = view.medium, view.field, view.bowl, view.box
        with torch.no_grad():
            wanted, found = corrected_amplitude(net, *inputs), learned.amplitude(*inputs, 1.0)
        assert not torch.equal(wanted, view.field.abs())  # it has learned something
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-6)


def test_the_figures_are_those_of_the_predictor_on_the_held_back_heads(whole, jobs):
    out, _, checkpoint = whole
    network, solver = (
        FocusPredictor.load(name, device="cpu") for name in (out / "focus.safetensors", "solver")
    )
    head = jobs[-1].source.load()
    errors = []
    for spec in jobs[-1].specs():
        inputs = spec.inputs(head)
        errors.append(network.predict(inputs).errors_against(solver.predict(inputs)))
    for name, tolerance in {"rel_l2": 5e-3, "shape_l2": 5e-3, "peak_error": 5e-3, "iou_6db": 0.05}.items():
        mean = np.mean([abs(getattr(e, name)) for e in errors])
        assert checkpoint.card["validation"][name] == pytest.approx(mean, abs=tolerance)


def test_the_card_says_of_what_how_and_how_good(whole, split):
    _, fitted, checkpoint = whole
    card = checkpoint.card
    assert card["notice"] == trifocal.RESEARCH_USE_ONLY
    assert card["data"].items() >= {"heads": 2, "cases": 4, "validation_cases": 2}.items()
    assert (len(split.train), len(split.validation)) == (4, 2)
    assert card["command"] == "trifocal train focus --data 'my data'"
    assert card["recipe"] == json.loads(json.dumps(asdict(RECIPE)))
    assert card["run"].items() >= {"epochs": 2, "steps": 4, "seconds": round(fitted.seconds)}.items()
    assert card["validation"].keys() >= {"score", "preview_rel_l2", *FIGURES}
    assert all(math.isfinite(value) for value in card["validation"].values())
    assert card["validation"]["score"] == pytest.approx(fitted.best_score, abs=1e-4)
    assert card["version"] == trifocal.__version__
    assert card["licence"] == "BSD-3-Clause"
    assert "config.seen" in card["limits"]


def test_the_bounds_are_those_of_the_training_cases(whole, split):
    seen = Learned.load(whole[0] / "focus.safetensors").seen
    bowls = [Case.load(path).bowl for path in split.train]
    for name in ("radius_of_curvature_mm", "aperture_mm", "frequency_hz"):
        values = [getattr(bowl, name) for bowl in bowls]
        assert getattr(seen, name) == (min(values), max(values))
    assert seen.points_per_wavelength == (3, 6)
    assert 2 < seen.thickness_mm[0] < seen.thickness_mm[1] < 25
    assert 300 < seen.skull_hu[0] <= seen.skull_hu[1] < 1400


def test_the_regression_brings_the_peaks_of_the_march_to_those_of_the_solver(whole, split):
    regression = Learned.load(whole[0] / "focus.safetensors").regression
    for path in split.train:  # fewer than the coefficients: they are met exactly
        view = View.full(Case.load(path))
        skull = NearSkull.measure(view.medium.hu[0].numpy(), view.region, view.bowl, view.box)
        fields = view.truth[0].numpy(), view.field[0].abs().numpy()
        true, marched = (refined_peak(field, view.region, view.box)[1] for field in fields)
        assert marched * regression.factor(skull, view.bowl) == pytest.approx(true, rel=1e-3)


# --------------------------------------------------------------------------------------- what may go wrong


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_run_ends_with_the_same_weights(data, whole, tmp_path, step):
    calls = []

    def stop(fraction, what):
        calls.append(fraction)
        if len(calls) > step:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(data, tmp_path, progress=stop)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == step
    assert "focus.safetensors" not in names(tmp_path)
    _, checkpoint = run(data, tmp_path)
    assert same(checkpoint.weights, whole[2].weights)
    assert checkpoint.sha256 == whole[2].sha256
    assert checkpoint.config == whole[2].config
    assert checkpoint.card["validation"] == whole[2].card["validation"]


def disk_full_after(writes):
    """Stand in for Path.write_bytes: the disk takes so many files and half of the next."""
    write, done = Path.write_bytes, []

    def full(self, content):
        done.append(self)
        if len(done) > writes:
            write(self, bytes(content)[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    return full


def test_a_disk_that_fills_up_in_the_middle_costs_nothing_but_time(data, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", disk_full_after(2))
        with pytest.raises(OSError, match="No space left on device.* is whole: make room"):
            run(data, tmp_path)
    assert names(tmp_path) <= {"best.pt", "last.pt", "curves.csv", "curves.png", "plan.json", "recipe.json"}
    assert torch.load(tmp_path / "last.pt", weights_only=True)["position"]["step"] == 2
    _, checkpoint = run(data, tmp_path)
    assert same(checkpoint.weights, whole[2].weights)


def test_a_disk_that_is_full_at_the_end_leaves_the_earlier_checkpoint_whole(
    data, whole, tmp_path, monkeypatch
):
    out = Path(shutil.copytree(whole[0], tmp_path / "run"))
    before = {name: (out / name).read_bytes() for name in names(out)}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", disk_full_after(0))
        with pytest.raises(OSError, match=r"cannot write .*focus\.\w+ \(No space left on device\)"):
            run(data, out)
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    assert same(Learned.load(out / "focus.safetensors").checkpoint.weights, whole[2].weights)


def test_a_folder_with_a_run_of_another_plan_is_refused(data, whole):
    other = replace(RECIPE, plan=replace(RECIPE.plan, learning_rate=1e-3))
    with pytest.raises(ValueError, match=r"learning_rate must be 0\.003 to go on with the run in"):
        run(data, whole[0], other)
    for part in ({"model": ModelConfig((4, 6))}, {"loss": LossWeights(focus=2.0)}):
        with pytest.raises(ValueError, match="another network, loss or data set: choose another folder"):
            run(data, whole[0], replace(RECIPE, **part))


def test_a_folder_without_data_says_how_to_make_some(tmp_path):
    with pytest.raises(ValueError, match=r"holds no manifest\.json: make the data first"):
        run(tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_with_no_head_to_validate_with_are_refused(data, tmp_path):
    manifest = read_manifest(data)
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    cases = [case for case in manifest["cases"] if case["split"] == "train"]
    (folder / MANIFEST).write_text(json.dumps(manifest | {"cases": cases}))
    with pytest.raises(ValueError, match="train and to validate with, got 4 and 0: simulate more heads"):
        Split.read([folder])


def test_a_case_that_is_gone_is_named(data, tmp_path):
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    gone = folder / read_manifest(data)["cases"][2]["file"]
    gone.unlink()
    with pytest.raises(ValueError, match=f"1 cases of the manifest are gone, first .*{gone.name}"):
        Split.read([folder])


def test_a_damaged_case_ends_the_run_with_its_name(data, tmp_path):
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    for case in read_manifest(data)["cases"]:
        if case["split"] == "train":
            (folder / case["file"]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"\.safetensors is not what the manifest says: delete it"):
        run(folder, tmp_path / "run")


def test_a_run_of_other_data_or_loss_goes_on_by_force_and_says_so(data, whole, tmp_path, caplog):
    out = Path(shutil.copytree(whole[0], tmp_path / "run"))
    other = replace(RECIPE, loss=LossWeights(focus=2.0), plan=replace(RECIPE.plan, epochs=3))
    fitted, _ = train([data], out, other, force=True, device="cpu", progress=silent)
    assert fitted.steps == 6
    assert "by force: another loss" in caplog.text
    assert "by force: epochs is 3, was 2" in caplog.text
    with pytest.raises(ValueError, match="another network, loss or data set"):
        run(data, out)
    with pytest.raises(ValueError, match="another network, loss or data set"):
        train(
            [data], out, replace(other, model=ModelConfig((4, 6))), force=True, device="cpu", progress=silent
        )


def test_training_begins_with_the_weights_of_a_checkpoint(data, whole, tmp_path):
    source = whole[0] / "focus.safetensors"
    still = replace(RECIPE, plan=Plan(epochs=1, batch_size=2, learning_rate=1e-12, weight_decay=0.0))
    _, checkpoint = train([data], tmp_path / "a", still, init_from=source, device="cpu", progress=silent)
    assert same(checkpoint.weights, whole[2].weights)
    assert checkpoint.card["init_from"] == whole[2].record()
    with pytest.raises(ValueError, match="another network, loss or data set"):
        run(data, tmp_path / "a", still)  # which would begin at random


def test_weights_of_another_size_or_engine_are_refused_before_anything_is_written(data, whole, tmp_path):
    source, out = whole[0] / "focus.safetensors", tmp_path / "run"
    larger = replace(RECIPE, model=ModelConfig((4, 8, 8)))
    with pytest.raises(CheckpointError, match=r"give --widths 4 8 --blocks 1, or leave --init-from out"):
        train([data], out, larger, init_from=source, device="cpu", progress=silent)
    other = tmp_path / "other.safetensors"
    save(other, {"weight": torch.zeros(2)}, engine="deeptfus", config={}, card={})
    with pytest.raises(
        CheckpointError, match=r"must hold weights of the focus engine, got weights of the deep"
    ):
        train([data], out, RECIPE, init_from=other, device="cpu", progress=silent)
    assert not out.exists()


# --------------------------------------------------------------------------------------------------- the data


def test_heads_to_train_and_to_validate_with_are_different_ones(data, split):
    heads = {data / case["file"]: case["head"] for case in read_manifest(data)["cases"]}
    train_heads, validation_heads = ({heads[p] for p in s} for s in (split.train, split.validation))
    assert len(train_heads) == split.heads == 2
    assert len(validation_heads) == 1
    assert not train_heads & validation_heads


def test_fewer_heads_may_be_used_while_the_held_back_ones_stay(data, split):
    one = Split.read([data], heads=1)
    assert (one.heads, len(one.train)) == (1, 2)
    assert set(one.train) < set(split.train)
    assert one.validation == split.validation


def test_several_data_sets_are_read_as_one(data, jobs, split, tmp_path):
    simulate([replace(jobs[0], seed=77, poses=1)], tmp_path, processes=1, device="cpu", progress=silent)
    both = Split.read([data, tmp_path])
    assert both.heads == 2  # it is one of the two
    assert {*both.train} == {*split.train, *tmp_path.glob("*.safetensors")}
    assert both.validation == split.validation


# -------------------------------------------------------------------------------------------- the command


def test_the_command_trains_and_says_what_came_of_it(data, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "focus", "--data", str(data), "--out", str(out), *ARGUMENTS]) == 0
    told = capsys.readouterr().out
    assert "1.0 epochs in 0 min, ended by the epochs" in told
    assert all(name in told for name in FIGURES)
    assert f"written to {out / 'focus.safetensors'}" in told
    assert Learned.load(out / "focus.safetensors").net.config == ModelConfig((4, 8))


def test_the_command_simulates_a_data_set_of_a_folder_of_cts(jobs, tmp_path, capsys):
    folder, out = tmp_path / "heads", tmp_path / "data"
    folder.mkdir()
    for job in (jobs[0], jobs[-1]):
        shutil.copy(job.source.head, folder)
    no_skull(folder)
    paths = sorted(folder.iterdir())  # water.nii is the last
    bowls = {"radius-of-curvature-mm": "30 35", "aperture-mm": "20 25", "frequency-khz": "80 90"}
    options = [w for name, value in bowls.items() for w in (f"--{name}", *value.split())]
    words = ["--ct", str(folder), "--poses", "2", "--seed", "5", "--processes", "1", "--device", "cpu"]
    assert main(["simulate", "focus", *words, *options, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert f"4 cases of 2 heads in {out / MANIFEST}, 2 of them held back" in told.out
    assert "water.nii was left out: the CT holds no skull" in told.err
    wanted = [HeadJob(HeadSource(path), 5 + i, 2, BOWLS) for i, path in enumerate(paths[:2])]
    assert {path.name for path in out.glob("*.safetensors")} == {
        s.file_name for j in wanted for s in j.specs()
    }
    assert len(Split.read([out]).train) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "holds no manifest.json: make the data first, with `trifocal simulate focus --heads"),
        (["--accumulate", "0"], "accumulate must be a whole number of 1 or more, got 0"),
        (["--patience", "0"], "patience must be a whole number of 1 or more, got 0"),
        (["--epochs", "0"], "epochs must be a whole number of 1 or more, got 0"),
        (["--learning-rate", "-1"], "learning_rate must be above 0"),
        (["--widths", "8"], "widths must be two or more positive numbers"),
        (["--precision", "double"], "precision"),
    ],
)
def test_the_command_refuses_what_cannot_be_with_a_sentence(options, words, tmp_path, capsys):
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), *options]
    assert main(["train", "focus", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
