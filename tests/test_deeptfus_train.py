from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from heads import shell_ct
from trifocal.checkpoint import CheckpointError
from trifocal.cli import main
from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.data import Volumes
from trifocal.focus.deeptfus.inputs import Task
from trifocal.focus.deeptfus.predictor import DeepTFUSPredictor
from trifocal.focus.head import Head
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput
from trifocal.focus.tfuscapes import DataSet, SampleFacts
from trifocal.focus.transducer import Bowl

if TYPE_CHECKING:
    from pathlib import Path

N = 16
SPACING = 8.0  # the bowl fits
BOWL = Bowl(63.2, 64.0, 250e3)
WORDS = [
    "train",
    "deeptfus",
    "--voxels",
    "8",
    "--base-width",
    "8",
    "--epochs",
    "2",
    "--batch-size",
    "2",
    "--device",
    "cpu",
]


def write_set(folder: Path, *, facts: bool = True, march: bool = False) -> Path:
    """Four subjects of two samples: a blob of pressure before a bowl, on a grid of 16 voxels."""
    rng = np.random.default_rng(0)
    for subject in "abcd":
        place = folder / "data" / subject
        place.mkdir(parents=True)
        for k in range(2):
            focus = rng.integers(6, 10, 3)
            grid = np.stack(np.indices((N, N, N)), -1)
            blob = np.exp(-((grid - focus) ** 2).sum(-1) / 8).astype(np.float32)
            ct = np.where(grid[..., 2] < 4, 1500, 40).astype(np.float32)
            points = np.unique(np.clip(focus + rng.integers(-3, 3, (60, 3)) - [0, 0, 5], 0, N - 1), axis=0)
            np.savez(place / f"exp_{k}.npz", ct=ct, pmap=3e5 * blob, tr_coords=points.astype(np.int64))
            if facts:
                affine = np.diag([SPACING] * 3 + [1.0])
                about = SampleFacts(affine, BOWL, Pose(np.eye(4)), 6e5, subject, "world", "case", "train")
                about.save(place / f"exp_{k}.json")
            if march:
                np.save(place / f"exp_{k}_has.npy", 3e5 * blob)
    if facts:
        record = {"format": 1, "frame": "world", "shape": N, "spacing_mm": SPACING}
        (folder / "data_set.json").write_text(json.dumps(record))
    (folder / "splits").mkdir()
    for split, subjects in (("train", "abc"), ("val", "d")):
        lines = [f"{s}/exp_{k}.npz\n" for s in subjects for k in range(2)]
        (folder / "splits" / f"{split}.txt").write_text("".join(lines))
    return folder


def run(*words: object) -> int:
    return main([*WORDS, *map(str, words)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    assert run("--data", write_set(folder / "set"), "--out", folder / "run") == 0
    return folder


@pytest.fixture(scope="module")
def head() -> Head:
    return Head.from_image(shell_ct())


def test_a_run_leaves_weights_that_predict_what_was_judged(base: Path) -> None:
    card = json.loads((base / "run" / "deeptfus.json").read_text())
    assert card["engine"] == "deeptfus"
    assert card["config"]["task"]["cube_voxels"] == N
    assert card["config"]["mean_transmission"] == pytest.approx(0.5, rel=1e-3)
    assert (base / "run" / "curves.png").exists()
    data = DataSet.open(base / "set", "val")
    sample = data.load(data.names[0])
    field = DeepTFUSPredictor.load(base / "run" / "deeptfus.safetensors", device="cpu").predict_sample(
        sample, data
    )
    assert field.shape == (N, N, N)
    assert field.dtype == np.float32
    assert (field >= 0).all()
    assert field.max() > 0


def test_a_placement_is_predicted_on_the_bowls_box(base: Path, head: Head) -> None:
    predictor = DeepTFUSPredictor.load(base / "run" / "deeptfus.safetensors", device="cpu")
    pose = Pose.from_apex(head.centre_mm + [0, 0, 70], [0, 0, -1])
    inputs = FocusInput(head, BOWL, pose, points_per_wavelength=2.0)
    found = predictor.predict(inputs)
    assert found.pressure.shape == inputs.box.shape
    assert found.engine == "deeptfus"
    assert any("tells no pressure" in warning for warning in found.warnings)
    assert found.weights is not None
    assert predictor.bottleneck(inputs).shape == (64,)


def test_a_fine_tune_goes_on_from_the_base_and_says_so(base: Path) -> None:
    weights = base / "run" / "deeptfus.safetensors"
    assert run("--data", base / "set", "--out", base / "e", "--preset", "E", "--init-from", weights) == 0
    card = json.loads((base / "e" / "deeptfus.json").read_text())["card"]
    assert card["recipe"]["loss"]["dice"] == 3e-3
    assert card["init_from"]["sha256"] == json.loads(weights.with_suffix(".json").read_text())["sha256"]


def test_a_march_and_an_absolute_answer_need_what_the_data_hold(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", march=True)
    assert run("--data", data, "--out", tmp_path / "run", "--prior", "--absolute") == 0
    opened = DataSet.open(data, "val")
    predictor = DeepTFUSPredictor.load(tmp_path / "run" / "deeptfus.safetensors", device="cpu")
    assert predictor.predict_sample(opened.load(opened.names[0]), opened).shape == (N, N, N)


def test_published_data_train_a_network_whose_scale_is_their_mean_peak(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", facts=False)
    assert run("--data", data, "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run" / "deeptfus.json").read_text())["config"]
    assert config["mean_transmission"] is None
    assert config["mean_peak_pa"] == pytest.approx(3e5, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "facts", "message"),
    [
        (["--preset", "C"], True, "preset C must go on from a base run"),
        (["--frame", "bowl"], True, "must be of the frame bowl, got one of the frame world"),
        (["--prior"], True, "_has.npy"),
        (["--absolute"], False, "must come with its facts"),
        (["--voxels", "12"], True, "must divide the 16"),
    ],
)
def test_what_cannot_be_trained_is_said(
    words: list[str], facts: bool, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(tmp_path / "set", facts=facts)
    assert run("--data", data, "--out", tmp_path / "run", *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_weights_of_another_engine_or_size_are_no_start(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--data", base / "set", "--preset", "A"
    assert run(*words, "--out", base / "a", "--init-from", base / "none.safetensors") == 2
    weights = base / "run" / "deeptfus.safetensors"
    assert run(*words, "--out", base / "b", "--init-from", weights, "--film") == 2
    assert "same network" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(CheckpointError, match="deeptfus engine, got weights of the focus engine"):
        DeepTFUSPredictor.load("focus")


def test_a_folder_with_another_run_is_refused(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", base / "set", "--out", base / "run", "--film") == 2
    assert "holds a run of another network" in " ".join(capsys.readouterr().err.split())


def test_mirrors_and_points_depend_on_seed_and_epoch_alone(base: Path) -> None:
    data = DataSet.open(base / "set", "train")
    config = DeepTFUSConfig(points=16)
    first, again, later = (Volumes(data, Task(8), config, 3, mirror=True) for _ in range(3))
    later.set_epoch(1)
    same, other = first[2], later[2]
    assert all((same[key] == again[2][key]).all() for key in same)
    assert (same["points"] != other["points"]).any()


def test_a_mirrored_sample_keeps_bowl_and_focus_together(base: Path) -> None:
    data = DataSet.open(base / "set", "train")
    config = DeepTFUSConfig(points=400)
    plain, mirrored = (Volumes(data, Task(N), config, 0, mirror=m) for m in (False, True))

    def offset(item: dict) -> np.ndarray:
        centres = (np.arange(N) + 0.5) / N * 2 - 1
        weight = item["truth"].numpy()
        focus = [np.average(centres, weights=weight.sum(tuple({0, 1, 2} - {a}))) for a in range(3)]
        return np.array(focus) - item["points"].numpy().mean(0)

    for epoch in range(4):
        mirrored.set_epoch(epoch)
        there, back = offset(mirrored[0]), offset(plain[0])
        np.testing.assert_allclose(np.abs(there), np.abs(back), atol=0.05)
