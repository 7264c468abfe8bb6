"""The analysis of a network's features: what is gathered, what is followed along a sweep, what is written."""

import csv
import json

import numpy as np
import pytest
from matplotlib.image import imread

from heads import shell_ct
from small_cases import BOWLS
from tfuscapes_cases import shell_data_set, untrained
from trifocal import io
from trifocal.cli import main
from trifocal.focus.dataset_evaluation.attributes import gather
from trifocal.focus.deeptfus.predictor import DeepTFUSPredictor
from trifocal.focus.head import Head
from trifocal.focus.placement import random_pose
from trifocal.focus.predictor import FocusInput
from trifocal.focus.probe_output import Analysis, save_analysis
from trifocal.focus.probes import Probe
from trifocal.focus.smoothness import sweep_features
from trifocal.focus.sweep import Sweep, run_sweep
from trifocal.focus.tfuscapes import DataSet

STEPS = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    untrained(folder)
    return folder, *shell_data_set(folder)


@pytest.fixture(scope="module")
def predictor(folders):
    return DeepTFUSPredictor.load(folders[0] / "deeptfus.safetensors", device="cpu")


@pytest.fixture(scope="module")
def features(predictor, folders):
    data = DataSet.open(folders[2], "test")
    return gather(predictor, data, data.names)


@pytest.fixture(scope="module")
def inputs():
    head = Head.from_image(shell_ct((36.0, 33.0, 27.0), (40.0, 1200.0, 35.0)))
    bowl = BOWLS.draw(np.random.default_rng(0))
    return FocusInput(head, bowl, random_pose(head, bowl, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def followed(predictor, inputs):
    sweep = Sweep(steps=STEPS)
    return sweep_features(predictor, inputs, sweep), run_sweep(predictor, inputs, sweep)


def test_what_is_gathered_belongs_to_the_samples(features, predictor, folders):
    data = DataSet.open(folders[2], "test")
    assert features.names == data.names
    assert features.values.shape == (4, 16)
    for name, subject, row in zip(features.names, features.attributes.subject, features.values, strict=True):
        assert name.startswith(subject)
        np.testing.assert_array_equal(row, predictor.features(data.load(name), data))
    facts = data.load(data.names[0]).facts
    assert features.attributes.aperture_mm[0] == facts.bowl.aperture_mm


def test_features_along_a_sweep_are_those_of_each_placement(followed, predictor, inputs):
    curves, fields = followed
    assert curves.features.shape == (STEPS, 16)
    middle = fields.frames[STEPS // 2]
    assert middle.angle_deg == curves.angles_deg[STEPS // 2] == 0
    np.testing.assert_allclose(curves.features[STEPS // 2], predictor.bottleneck(inputs), rtol=1e-6)
    assert len(curves.shown) == 8


def test_an_analysis_is_written_whole(features, followed, tmp_path):
    one = Probe("aperture", "subjects", {"r2": 0.5}, {"r2": 0.0}, {"r2": -0.1}, np.arange(4.0), np.ones(4), 2)
    weights = {"name": "base", "engine": "deeptfus", "version": "1", "sha256": "0" * 64}
    analysis = Analysis(weights, features, (one,), *followed, {"seed": 0})
    save_analysis(analysis, tmp_path / "out")
    out = tmp_path / "out"
    with (out / "probes.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["probe"], row["held_out"], row["figure"], float(row["value"])) == (
        "aperture",
        "subjects",
        "r2",
        0.5,
    )
    with (out / "channels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["channel_3"]) for r in rows] == pytest.approx(followed[0].features[:, 3].tolist())
    assert imread(out / "probes.png").shape[:2] == (1000, 1100)
    assert imread(out / "channels.png")[..., :3].std() > 0.05
    summary = json.loads((out / "summary.json").read_text())
    assert summary["sweep"]["found"]["bend"] == followed[0].found.bend
    assert "aperture (subjects held out): r2 0.500, chance 0.000, shuffled -0.100" in analysis.lines()


def test_the_command_refuses_a_set_that_is_too_small(folders, tmp_path, capsys):
    ct, bowl = tmp_path / "head.nii", tmp_path / "bowl.json"
    io.write(shell_ct((36.0, 33.0, 27.0), (40.0, 1200.0, 35.0)), ct)
    BOWLS.draw(np.random.default_rng(0)).to_json(bowl)
    words = ["analyse", "deeptfus", "--weights", str(folders[0] / "deeptfus.safetensors"), "--ct", str(ct)]
    words += ["--data", str(folders[2]), "--bowl", str(bowl), "--device", "cpu", "--steps", "4"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "probes must have 10 samples of 5 subjects at least, got 4 of 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_analyses_a_set_of_six_heads(tmp_path, capsys):
    _, cubes = shell_data_set(tmp_path, heads=6)
    ct, bowl = tmp_path / "head.nii", tmp_path / "bowl.json"
    io.write(shell_ct((36.0, 33.0, 27.0), (40.0, 1200.0, 35.0)), ct)
    BOWLS.draw(np.random.default_rng(0)).to_json(bowl)
    words = ["analyse", "deeptfus", "--weights", str(untrained(tmp_path)), "--data", str(cubes)]
    words += ["--ct", str(ct), "--bowl", str(bowl), "--device", "cpu", "--steps", "4"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "sweep of 4: step" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 7
