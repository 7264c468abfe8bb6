"""The evaluation: every engine on the same films, beside the baselines, with intervals over patients."""

import csv
import json

import numpy as np
import pytest
import torch

from trifocal import checkpoint, io
from trifocal.cli import main
from trifocal.cli.evaluate_xray import EvaluateXray
from trifocal.image import Image
from trifocal.predictor import Cancelled
from trifocal.xray.evaluation import BASELINES, ORACLE, EvaluationPlan
from trifocal.xray.evaluation.engines import find_checkpoints, names_of
from trifocal.xray.evaluation.output import evaluate_into
from trifocal.xray.evaluation.reliability import Reliability
from trifocal.xray.evaluation.run import evaluate
from trifocal.xray.evaluation.sources import Source
from trifocal.xray.evaluation.summary import Statistic, gains, summarise
from trifocal.xray.evaluation.tables import caption, markdown, tables
from trifocal.xray.films.exposure import Exposure
from trifocal.xray.models.lifting import LiftingConfig, LiftingEnsemble
from trifocal.xray.models.saved import lifting_record


def small_ct(width):
    """(24, 20, 18) of 12 mm: a trunk of water with two lungs, in air."""
    affine = np.diag([12.0, 12.0, 12.0, 1.0])
    x, y, _ = np.meshgrid(*[12.0 * (np.arange(n) - (n - 1) / 2) for n in (24, 20, 18)], indexing="ij")
    hu = np.full(x.shape, -1000, np.int16)
    hu[(x / width) ** 2 + (y / 90) ** 2 < 1] = 30
    for side in (-50, 50):
        hu[((x - side) / 35) ** 2 + (y / 50) ** 2 < 1] = -800
    return Image(hu, affine, "HU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cts")
    for name, width in (("ann", 130), ("bob", 115)):
        io.write(small_ct(width), place / f"{name}.nii.gz")
    return place


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network that has learned nothing: its last layers add little to its least-squares start."""
    torch.manual_seed(0)
    net = LiftingEnsemble(LiftingConfig((16, 16, 16, 16), 4, (16, 16, 16), 16, 2, 0.2))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    record = lifting_record(net.config, 1, 16)
    checkpoint.save(path, net.state_dict(), engine="xray", config=record, card={})
    return path


def plan(*checkpoints, **changes):
    settings = {"voxels": 16, "pixels": 32, "refine": 5, "device": "cpu"} | changes
    return EvaluationPlan(tuple(checkpoints) or ("least-squares",), **settings)


@pytest.fixture(scope="module")
def evaluation(folder, weights):
    return evaluate(Source.of(folder), plan(weights))


def test_every_engine_is_judged_beside_the_baselines_and_the_oracle(evaluation):
    assert evaluation.names == (*BASELINES, "tiny", "tiny + 5 SIRT", ORACLE)
    for case in evaluation.cases:
        assert [r.engine for r in case.rows] == list(evaluation.names)
        assert {r.score.spacing_mm for r in case.rows} == {case.grid.spacing_mm}
        assert case.row("constant").score.psnr_db < case.row("least_squares").score.psnr_db
        assert max(case.row("least_squares").residuals.values()) < 0.1


def test_the_refinement_brings_the_volume_closer_to_the_films(evaluation):
    for case in evaluation.cases:
        before, after = case.row("tiny"), case.row("tiny + 5 SIRT")
        assert sum(after.residuals.values()) < sum(before.residuals.values())


def test_predicted_errors_are_compared_with_actual_ones(evaluation):
    for case in evaluation.cases:
        assert case.reliability is not None
        assert case.reliability.counts.sum() > 100


def test_the_gain_is_the_mean_of_the_paired_differences(evaluation):
    found = summarise(evaluation)
    for gain in gains(evaluation, "tiny + 5 SIRT"):
        if gain.figure in ("psnr_db", "ssim"):
            best = max(found[b][gain.figure].mean for b in BASELINES)
            own = found["tiny + 5 SIRT"][gain.figure].mean
            assert gain.difference.mean == pytest.approx(own - best)


def test_the_same_evaluation_twice_gives_the_same_figures(folder, evaluation, weights):
    again = evaluate(Source.of(folder, 1), plan(weights))
    assert again.cases[0].rows[3].score == evaluation.cases[0].rows[3].score


def test_noise_makes_least_squares_worse(folder):
    noisy = plan(exposure=Exposure(photons=50.0))
    clean, bad = (evaluate(Source.of(folder, 1), p).cases[0].row("least_squares") for p in (plan(), noisy))
    assert bad.score.psnr_db < clean.score.psnr_db
    assert max(bad.residuals.values()) > 2 * max(clean.residuals.values())


def test_one_film_says_less_than_two(folder):
    both = evaluate(Source.of(folder, 1), plan()).cases[0].row("least_squares")
    for side, name in (("frontal", "AP"), ("lateral", "LATERAL")):
        alone = evaluate(Source.of(folder, 1), plan(films=side)).cases[0].row("least_squares")
        assert list(alone.residuals) == [name]
        assert alone.score.psnr_db < both.score.psnr_db


def test_tables_name_window_range_and_spacing(evaluation):
    text = markdown(evaluation)
    assert "[-1000, 1000] HU" in text
    assert "data range of 2000 HU" in text
    assert "voxels of 18.00 to 18.00 mm" in text
    assert "needs the truth" in text
    for table in tables(evaluation):
        assert {len(row) for row in table.rows} == {len(table.header)}
    assert any("resampling patients" in line for line in caption(evaluation))


def test_all_is_written(folder, weights, tmp_path):
    out = tmp_path / "out"
    evaluate_into(out, Source.of(folder, 1), plan(weights))
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [r["engine"] for r in rows] == [*BASELINES, "tiny", "tiny + 5 SIRT", ORACLE]
    assert {r["data_range_hu"] for r in rows} == {"2000.0"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["window_hu"] == [-1000, 1000]
    assert summary["statistics"]["tiny"]["psnr_db"]["low"] is None  # one patient has no interval
    for name in ("table.md", "panel-01-ann.png", "reliability.png", "provenance.json"):
        assert (out / name).stat().st_size > 100
    provenance = (out / "provenance.json").read_text()
    assert str(tmp_path) not in provenance
    assert str(folder) not in provenance


def test_an_interrupted_evaluation_leaves_nothing(folder, tmp_path):
    def stop(fraction, what):
        if fraction > 0.6:
            raise Cancelled

    with pytest.raises(Cancelled):
        evaluate_into(tmp_path / "out", Source.of(folder), plan(), progress=stop)
    assert not list(tmp_path.iterdir())


def test_several_checkpoints_make_an_ablation_table(folder, weights, tmp_path):
    for name in ("with", "without"):
        stored = checkpoint.load(weights, "xray")
        path = tmp_path / "ablation" / f"{name}.safetensors"
        checkpoint.save(path, stored.weights, engine="xray", config=stored.config, card={})
    found = find_checkpoints([tmp_path / "ablation"])
    assert names_of(found) == ["with", "without"]
    table = tables(evaluate(Source.of(folder, 1), plan(*found)))[-1]
    assert table.title.startswith("Ablation")
    assert [row[0] for row in table.rows] == ["with", "without"]
    assert table.rows[0][-1] == table.rows[1][-1]


def test_alike_names_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / "a" / "xray.safetensors", tmp_path / "b" / "xray.safetensors"]
    assert names_of(paths) == ["a/xray", "b/xray"]
    with pytest.raises(ValueError, match="given once"):
        find_checkpoints([paths[0], paths[0]])
    with pytest.raises(ValueError, match="must hold checkpoints"):
        find_checkpoints([tmp_path])


def test_errors_as_large_as_predicted_are_reliable():
    rng = np.random.default_rng(0)
    std = rng.uniform(20, 400, 50_000)
    found = Reliability.of(std, rng.normal(0, std))
    assert found.ratio == pytest.approx(1, abs=0.02)
    assert found.coverage == pytest.approx(0.683, abs=0.01)
    curve = found.curve()
    np.testing.assert_allclose(curve[:, 1] / curve[:, 0], 1, atol=0.15)
    assert found.spearman > 0.4
    small = Reliability.of(std / 2, rng.normal(0, std))
    assert small.ratio == pytest.approx(0.5, abs=0.02)
    both = Reliability.over([found, small])
    assert both.counts.sum() == 100_000


def test_the_interval_holds_the_mean_and_one_patient_has_none():
    values = [20.0, 22.0, 21.0, 25.0]
    found = Statistic.of(values, ["a", "b", "c", "d"])
    assert found.low < found.mean == 22 < found.high
    assert found.median == 21.5
    alone = Statistic.of(values, ["a"] * 4)
    assert np.isnan([alone.low, alone.high]).all()
    assert Statistic.of([np.nan, 3.0], ["a", "b"]).cases == 1


def test_volumes_of_one_patient_are_drawn_together():
    values = [10.0] * 10 + [20.0] * 10
    apart = Statistic.of(values, [str(i) for i in range(20)])
    together = Statistic.of(values, ["a"] * 10 + ["b"] * 10)
    assert together.high - together.low > apart.high - apart.low


def test_the_command_evaluates_and_prints(folder, tmp_path, capsys):
    words = ["--data", str(folder), "--checkpoint", "least-squares", "--max-patients", "1"]
    out = tmp_path / "out"
    code = main(["evaluate", "xray", *words, "--voxels", "16", "--device", "cpu", "--out", str(out)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "data range of 2000 HU" in printed.out
    assert (out / "table.md").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("phantoms:0",), "1 or more"),
        (("phantoms:many",), "must say how many"),
        ((), "give CTs"),
        (("phantoms:1", "phantoms:1"), "every volume once"),
    ],
)
def test_data_that_cannot_be_meant_are_refused(words, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        EvaluateXray(data=words, out=tmp_path / "out", checkpoint=("least-squares",)).run()


def test_phantoms_are_sources_too():
    """Made at 3 mm and averaged: 2 s."""
    ct, grid, region = Source.phantoms(1)[0].load(16)
    assert region
    assert max(grid.shape) == 16
    assert ct.unit == "HU"
