"""Every rung against the solver: what is measured, how it is summed up, what is written."""

import csv
import json

import numpy as np
import pytest

from heads import shell_ct
from trifocal import io
from trifocal.checkpoint import save
from trifocal.cli import main
from trifocal.cli.evaluate import EvaluateFocus
from trifocal.focus.box import Box
from trifocal.focus.cases import HeadSource
from trifocal.focus.evaluation import MOST_WORST, RUNGS, EvaluationPlan, evaluate
from trifocal.focus.evaluation_output import save_evaluation
from trifocal.focus.evaluation_pictures import Slice, WorstCase
from trifocal.focus.evaluation_summary import ALL, Statistic, bootstrap_interval, caption, summarise, tables
from trifocal.focus.head import Head
from trifocal.focus.learned import PeakRegression, config_record
from trifocal.focus.limits import Seen
from trifocal.focus.metrics import field_errors
from trifocal.focus.model import CorrectionNet, ModelConfig
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPredictor, water_peak_pa
from trifocal.focus.transducer import Bowl
from trifocal.predictor import Cancelled

BOWL = Bowl(30.0, 25.0, 250e3)
RADII = (46.0, 41.0, 37.0)
POSES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two heads that differ in their bone, in folders of their own, and weights that change nothing."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name, bone in (("thin", 900.0), ("dense", 1900.0)):
        (folder / name).mkdir()
        io.write(shell_ct(RADII, (40.0, bone, 35.0)), folder / name / "head.nii.gz")
    BOWL.to_json(folder / "bowl.json")
    model, whole = ModelConfig((4, 8)), (0.0, 1e9)
    config = config_record(model, PeakRegression(), Seen(*[whole] * 6))
    save(
        folder / "same.safetensors", CorrectionNet(model).state_dict(), engine="focus", config=config, card={}
    )
    return folder


@pytest.fixture(scope="module")
def sources(folder):
    return [HeadSource(folder / name / "head.nii.gz") for name in ("thin", "dense")]


@pytest.fixture(scope="module")
def plan(folder):
    return EvaluationPlan(
        BOWL, POSES, points_per_wavelength=4, checkpoint=folder / "same.safetensors", device="cpu"
    )


@pytest.fixture(scope="module")
def told():
    """The fractions that the evaluation has told."""
    return []


@pytest.fixture(scope="module")
def evaluation(sources, plan, told):
    return evaluate(sources, plan, progress=lambda fraction, what: told.append(fraction))


@pytest.fixture(scope="module")
def dense(sources):
    return Head.from_image(io.read(sources[1].head))


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    save_evaluation(evaluation, out)
    return out


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def sentences(capsys):
    return capsys.readouterr().err.strip().splitlines()


def blob(centre, box, length=20.0):
    x, y, z = np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij")
    cx, cy, cz = centre
    return np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 9 - (z - cz) ** 2 / length**2 * 4)


def test_the_place_of_the_peak_is_given_by_voxels_and_between_them():
    box = Box(2.0, (20, 20, 40), (-19.0, -19.0, 0.0))
    everywhere = np.ones(box.shape, bool)
    truth, shifted = blob((-1, -1, 40), box), blob((-0.5, -1, 40), box)
    errors = field_errors(shifted, truth, everywhere, box)
    assert errors.argmax_error_mm == 0
    assert errors.peak_place_error_mm == pytest.approx(0.5, abs=0.1)
    assert field_errors(blob((1, -1, 40), box), truth, everywhere, box).argmax_error_mm == 2


def test_sizes_are_signed_and_transmission_is_in_parts_of_the_peak_in_water():
    box = Box(1.0, (30, 30, 60), (-14.5, -14.5, 0.0))
    everywhere = np.ones(box.shape, bool)
    truth = blob((-0.5, -0.5, 30), box)
    errors = field_errors(0.9 * blob((-0.5, -0.5, 30), box, length=30.0), truth, everywhere, box, 4.0)
    # exp(-4 z^2 / l^2) is half at z = l sqrt(ln 2) / 2
    assert errors.length_error_mm == pytest.approx(10 * np.sqrt(np.log(2)), abs=0.1)
    assert errors.width_error_mm == pytest.approx(0, abs=1e-6)
    assert errors.transmission_error == pytest.approx(-0.1 / 4, abs=1e-3)
    assert np.isnan(field_errors(truth, truth, everywhere, box).transmission_error)


def test_every_rung_is_judged_at_the_same_poses(evaluation):
    assert RUNGS == ("free-field", "has", "regression", "network")
    assert len(evaluation.samples) == 2 * POSES * len(RUNGS)
    for start in range(0, len(evaluation.samples), len(RUNGS)):
        four = evaluation.samples[start : start + len(RUNGS)]
        assert tuple(s.rung for s in four) == RUNGS
        assert len({(s.head, s.index, s.true_transmission, tuple(s.pose.apex_mm)) for s in four}) == 1
    for head in evaluation.heads:
        assert len({tuple(s.pose.apex_mm) for s in evaluation.samples if s.head == head}) == POSES


def test_learned_rungs_that_change_nothing_have_the_errors_of_the_march(evaluation):
    by_rung = {r: [s.errors for s in evaluation.samples if s.rung == r] for r in RUNGS}
    assert by_rung["regression"] == by_rung["has"]
    for network, has in zip(by_rung["network"], by_rung["has"], strict=True):
        assert network.rel_l2 == pytest.approx(has.rel_l2, abs=1e-4)
        assert network.centroid_error_mm == pytest.approx(has.centroid_error_mm, abs=1e-2)


def test_the_transmission_error_is_the_difference_of_the_transmissions(evaluation):
    for sample in evaluation.samples:
        difference = sample.transmission - sample.true_transmission
        assert sample.errors.transmission_error == pytest.approx(difference, abs=1e-6)


def test_the_poses_of_a_head_do_not_depend_on_the_other_heads(sources, plan, evaluation):
    small = EvaluationPlan(BOWL, 1, points_per_wavelength=4, rungs=("free-field",), device="cpu")
    (alone,) = evaluate(sources[1:], small).samples
    among = next(s for s in evaluation.samples if s.head == "head.nii.gz (2)")
    np.testing.assert_allclose(alone.pose.matrix, among.pose.matrix)
    assert alone.errors == among.errors


def test_the_rows_repeat_what_a_prediction_says_of_itself(evaluation, written, dense):
    rows = read_csv(written / "errors.csv")
    assert len(rows) == len(evaluation.samples)
    row = next(r for r in rows if r["head"] == "head.nii.gz (2)" and r["rung"] == "has" and r["pose"] == "2")
    apex, direction = (
        [float(row[f"{n}_{a}{u}"]) for a in "xyz"] for n, u in (("apex", "_mm"), ("direction", ""))
    )
    inputs = FocusInput(dense, BOWL, Pose.from_apex(apex, direction), points_per_wavelength=4)
    has, truth = (FocusPredictor(e, device="cpu").predict(inputs) for e in ("has", "solver"))
    errors = has.errors_against(truth).record()
    assert set(errors) <= set(row)
    assert {k: float(row[k]) for k in errors} == pytest.approx(errors, abs=1e-4)
    assert float(row["true_transmission"]) == pytest.approx(truth.figures.peak_pa / water_peak_pa(BOWL))


def test_percentiles_and_means_of_known_numbers():
    values = np.arange(101.0) * np.where(np.arange(101) % 2, -1, 1)
    found = Statistic.of(values, ["a"] * 50 + ["b"] * 51)
    assert (found.poses, found.heads) == (101, 2)
    assert (found.mean, found.median, found.p5, found.p95) == (50, 50, 5, 95)
    assert found.signed_mean == pytest.approx(50 / 101)
    assert found.low < 50 < found.high


def test_the_interval_of_constant_errors_has_no_width():
    low, high = bootstrap_interval(np.full(30, 0.7), ["a"] * 10 + ["b"] * 20)
    assert (low, high) == pytest.approx((0.7, 0.7))


def test_the_interval_of_two_heads_spans_their_means_whatever_the_number_of_poses():
    a, b = np.full(200, 1.0), np.full(200, 3.0)
    low, high = bootstrap_interval(np.concatenate([a, b]), ["a"] * 200 + ["b"] * 200)
    # a quarter of the draws is the first head twice, another quarter the second
    assert (low, high) == pytest.approx((1, 3))
    # as if of one head, the poses count, and the interval is that of 400 draws: 2 +- 1.96 / sqrt(400)
    low, high = bootstrap_interval(np.concatenate([a, b]), ["a"] * 400)
    assert (low, high) == pytest.approx((1.902, 2.098), abs=0.02)


def test_heads_are_weighted_by_their_poses():
    low, high = bootstrap_interval(np.array([1.0, 1, 1, 5]), ["a", "a", "a", "b"])
    assert (low, high) == pytest.approx((1, 5))
    found = Statistic.of([1.0, 1, 1, 5], ["a", "a", "a", "b"])
    assert found.mean == 2


def test_the_summary_is_that_of_the_rows(written):
    rows = read_csv(written / "errors.csv")
    summary = json.loads((written / "summary.json").read_text())
    for name, heads in (("head.nii.gz (1)", {"head.nii.gz (1)"}), (ALL, {r["head"] for r in rows})):
        values = [float(r["axial_mm"]) for r in rows if r["rung"] == "has" and r["head"] in heads]
        found = summary["statistics"][name]["has"]["axial_mm"]
        assert found["mean"] == pytest.approx(np.abs(values).mean())
        assert found["p95"] == pytest.approx(np.percentile(np.abs(values), 95))
        assert found["signed_mean"] == pytest.approx(np.mean(values))
        assert found["low"] <= found["mean"] <= found["high"]
    flat = read_csv(written / "summary.csv")
    row = next(r for r in flat if (r["head"], r["rung"], r["error"]) == (ALL, "network", "iou_6db"))
    assert float(row["p5"]) == pytest.approx(summary["statistics"][ALL]["network"]["iou_6db"]["p5"])
    assert len(flat) == 3 * len(RUNGS) * 12


def test_the_worst_cases_are_those_of_the_best_rung_the_worst_first(evaluation, written):
    errors = sorted(
        (s.errors.centroid_error_mm for s in evaluation.samples if s.rung == "network"), reverse=True
    )
    assert len(errors) > MOST_WORST
    assert [c.errors.centroid_error_mm for c in evaluation.worst] == errors[:MOST_WORST]
    assert {c.rung for c in evaluation.worst} == {"network"}
    assert [w["centroid_error_mm"] for w in json.loads((written / "summary.json").read_text())["worst"]] == (
        pytest.approx(errors[:MOST_WORST])
    )


def test_everything_promised_is_written_with_its_origin(evaluation, written):
    pictures = {f"worst-{i}.png" for i in range(1, MOST_WORST + 1)}
    tables = {"errors.csv", "summary.csv", "summary.json", "table.md"}
    assert {p.name for p in written.iterdir()} == pictures | tables | {"provenance.json"}
    provenance = json.loads((written / "provenance.json").read_text())
    assert set(provenance["outputs"]) == pictures | tables
    assert set(provenance["parameters"]["heads"]) == {"head.nii.gz (1)", "head.nii.gz (2)"}
    assert provenance["parameters"]["checkpoint"] == "same.safetensors"
    assert provenance["weights"]["sha256"] == evaluation.samples[-1].weights["sha256"]
    assert (provenance["seed"], provenance["parameters"]["poses"]) == (0, POSES)


def test_the_picture_shows_the_whole_error_in_the_plane_along_the_beam(evaluation):
    for case in evaluation.worst:
        along, axial = case.slices
        assert np.linalg.norm(along.foci[0] - along.foci[1]) == pytest.approx(
            case.errors.centroid_error_mm, abs=1e-6
        )
        assert along.foci[0, 0] - along.foci[1, 0] == pytest.approx(case.errors.axial_mm, abs=1e-6)
        for part in (along, axial):
            i, j = (int(np.abs(c - f).argmin()) for c, f in zip((part.x, part.y), part.foci[1], strict=True))
            assert part.truth[i, j] > 0.7 * case.peaks_pa[1]
            inside = part.region
            np.testing.assert_array_equal(part.error[inside], (part.prediction - part.truth)[inside])
            assert not part.error[~inside].any()


def test_a_case_without_error_can_be_drawn(dense, tmp_path):
    pose = Pose.from_apex([0, 0, 51.0], [0, 0, -1.0])
    same = FocusPredictor("free-field", device="cpu").predict(
        FocusInput(dense, BOWL, pose, points_per_wavelength=4)
    )
    WorstCase.of("head", 0, same, same).draw(tmp_path / "none.png", 1, 1)
    assert (tmp_path / "none.png").stat().st_size > 10_000
    assert not Slice.axial(same, same).error.any()


def test_the_table_has_a_block_for_each_head_and_one_for_all(evaluation):
    blocks = summarise(evaluation.samples)
    place, field = tables(blocks)
    assert [b[0][0] for b in place.blocks] == ["head.nii.gz (1)", "head.nii.gz (2)", ALL]
    assert [row[0] for row in field.blocks[0][1:]] == list(RUNGS)
    statistic = blocks[-1].rungs["has"]["lateral_mm"]
    cell = place.blocks[-1][2][place.header.index("lateral")]
    assert cell == (
        f"{statistic.mean:.2f} / {statistic.median:.2f} / {statistic.p95:.2f}\n"
        f"[{statistic.low:.2f}, {statistic.high:.2f}]"
    )
    overlap = blocks[-1].rungs["has"]["iou_6db"]
    assert f"{overlap.p5:.3f}".lstrip("0") in field.blocks[-1][2][field.header.index("-6 dB IoU")]
    assert "resampling 2 heads" in caption(blocks)


def test_a_single_head_is_one_block_and_the_interval_says_so(evaluation):
    blocks = summarise([s for s in evaluation.samples if s.head == "head.nii.gz (1)"])
    (place, _) = tables(blocks)
    (block,) = place.blocks
    assert block[0][0] == "head.nii.gz (1)"
    assert "\n[" in block[1][1]
    assert "resampling poses, for there is one head" in caption(blocks)


def command(folder, out, options):
    words = f"evaluate focus --bowl {folder}/bowl.json --points-per-wavelength 4 --device cpu --out {out}"
    return main([*words.split(), *options.split()])


def test_the_command_prints_a_table_that_fits_and_writes_the_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    ct = folder / "thin" / "head.nii.gz"
    options = f"--ct {ct} --poses 1 --rungs free-field network --weights {folder}/same.safetensors"
    assert command(folder, out, options) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 160
    assert {"free-field", "network"} <= set(text.split())
    assert "sub-voxel peak" in text
    rows = read_csv(out / "errors.csv")
    assert [row["rung"] for row in rows] == ["free-field", "network"]
    assert f"{float(rows[0]['lateral_mm']):.2f} / " in text
    assert [p.name for p in out.glob("worst-*.png")] == ["worst-1.png"]


def test_an_interrupted_run_leaves_nothing(folder, sources, tmp_path, capsys, monkeypatch):
    told = []

    def stop(fraction, what):
        told.append(fraction)
        if fraction > 0.3:
            raise KeyboardInterrupt

    monkeypatch.setattr("trifocal.cli.evaluate.Bar", lambda: stop)
    out = tmp_path / "out"
    options = f"--ct {sources[0].head} --poses 2 --rungs free-field"
    assert command(folder, out, options) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert told == sorted(told)


def test_progress_rises_from_nought_to_one(evaluation, told):
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "give heads to evaluate on: --ct"),
        ("--ct CT --poses 0", "poses must be 1 or more, got 0"),
        ("--ct CT --seed -1", "seed must be 0 or more, got -1"),
        ("--heads -1", "--heads must be 0 or more, got -1"),
        ("--ct CT --points-per-wavelength 1", "points per wavelength must be 2 or more, got 1"),
        ("--ct CT --rungs solver", "rungs must be one or more of"),
        ("--ct CT CT", "must name every head once, got head.nii.gz"),
        ("--ct nowhere.nii.gz", "there is no file or folder"),
        ("--ct CT --weights nowhere.safetensors", "the weights nowhere.safetensors are missing"),
        ("--ct CT --bowl nothing", "no bowl named 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(folder, tmp_path, capsys, options, sentence):
    ct = str(folder / "thin" / "head.nii.gz")
    assert command(folder, tmp_path / "out", options.replace("CT", ct)) == 2
    (line,) = sentences(capsys)
    assert sentence in line
    assert not list(tmp_path.iterdir())


def test_results_do_not_go_into_a_file(folder, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert command(folder, tmp_path / "out", "--heads 1") == 2
    assert "--out must be a folder" in sentences(capsys)[0]
    assert (tmp_path / "out").read_text() == "mine"


def test_a_ct_that_cannot_be_used_is_refused_before_the_first_simulation(folder, sources, plan, tmp_path):
    io.write(shell_ct(RADII, (40.0, 50.0, 35.0)), tmp_path / "soft.nii.gz")
    told = []
    with pytest.raises(ValueError, match="holds no skull"):
        evaluate(
            [sources[0], HeadSource(tmp_path / "soft.nii.gz")],
            plan,
            progress=lambda f, what: told.append(what),
        )
    assert not any("pose 1" in what for what in told)


def test_procedural_heads_are_drawn_from_the_seed_on(monkeypatch, tmp_path):
    asked = []

    def stop(sources, plan, *, progress):
        asked.extend(sources)
        raise Cancelled

    monkeypatch.setattr("trifocal.cli.evaluate.evaluate", stop)
    with pytest.raises(Cancelled):
        EvaluateFocus(heads=2, head_seed=77, out=tmp_path).run()
    assert [source.head.seed for source in asked] == [77, 78]
    assert asked[0].head != asked[1].head
