"""Engines on a data set in the published format: what is judged, how it is summed up, what is written."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from tfuscapes_cases import POSES, VOXELS, shell_data_set, untrained
from trifocal.cli import main
from trifocal.focus.cases import Case, HeadSource
from trifocal.focus.dataset_evaluation.attributes import azimuth_deg, focal_depth_mm
from trifocal.focus.dataset_evaluation.contenders import Answer, default_name, make_contender
from trifocal.focus.dataset_evaluation.evaluation import DataSetPlan, Row, evaluate_data_set, judge
from trifocal.focus.dataset_evaluation.output import markdown, save_data_set_evaluation
from trifocal.focus.dataset_evaluation.paired import COLUMNS, ratio_table, ratios
from trifocal.focus.dataset_evaluation.percentiles import at_percentiles, gallery_cases
from trifocal.focus.dataset_evaluation.saved import SavedEvaluation
from trifocal.focus.dataset_evaluation.scene import Scene, find_case
from trifocal.focus.dataset_evaluation.summary import Spread, caption, summarise, tables
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.tfuscapes import DataSet
from trifocal.focus.tfuscapes.cube import CubeSpec
from trifocal.focus.tfuscapes.writer import write_data_set

FLOOR = f"grid-{VOXELS // 2}"
ENGINES = ("free-field", "has", "regression", "network", FLOOR)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "run").mkdir()
    untrained(folder / "run")
    (folder / "run" / "curves.csv").write_text("epoch,val_relative_l2\n1,0.6\n2,0.5\n")
    return folder, *shell_data_set(folder)


@pytest.fixture(scope="module")
def plan(folders):
    folder, cases, cubes = folders
    weights = str(folder / "run" / "deeptfus.safetensors")
    return DataSetPlan((cubes,), (*ENGINES, weights), cases=(cases,), device="cpu")


@pytest.fixture(scope="module")
def evaluation(plan):
    return evaluate_data_set(plan)


@pytest.fixture(scope="module")
def data(folders):
    return DataSet.open(folders[2], "test")


@pytest.fixture(scope="module")
def scene(data, folders):
    sample = data.load(data.names[0])
    return Scene.of(sample, find_case(sample, [folders[1]]))


@pytest.fixture(scope="module")
def saved(evaluation, tmp_path_factory):
    out = tmp_path_factory.mktemp("saved") / "table"
    save_data_set_evaluation(evaluation, out)
    return out


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_truth_itself_has_no_error_on_either_grid(scene):
    cube = np.array(scene.sample.pressure)
    row = judge(scene, "truth", Answer(cube, scene.truth, cube))
    assert row.published["relative_l2"] == row.published["focal_position_error_mm"] == 0
    assert row.published["max_pressure_error"] == 0
    assert row.ours["rel_l2"] == row.ours["centroid_error_mm"] == row.ours["peak_error"] == 0
    assert row.ours["iou_6db"] == 1
    assert row.peak_pa[0] == row.peak_pa[1]


def test_half_of_the_truth_is_half_wrong_in_pascals_and_right_in_shape(scene):
    cube = 0.5 * scene.sample.pressure
    row = judge(scene, "half", Answer(cube, 0.5 * scene.truth, cube))
    assert row.ours["rel_l2"] == pytest.approx(0.5)
    assert row.ours["peak_error"] == pytest.approx(-0.5)
    assert row.ours["shape_l2"] == pytest.approx(0, abs=1e-6)
    assert row.published["focal_position_error_mm"] == 0
    # log(1 + 1/2) against log 2
    assert row.published["max_pressure_error"] == pytest.approx(1 - np.log(1.5) / np.log(2), rel=1e-4)


def test_rungs_on_the_stored_case_are_those_that_users_get(scene, folders):
    head = HeadSource(next(folders[0].glob("*.nii"))).load()
    heads = {HeadSource(p).identity()["ct"]: p for p in folders[0].glob("*.nii")}
    case = find_case(scene.sample, [folders[1]])
    head = HeadSource(heads[case.inputs["spec"]["head"]["ct"]]).load()
    inputs = FocusInput(head, scene.bowl, scene.pose)
    data = DataSet.open(folders[2], "test")
    for engine in ("free-field", "has", "regression", "network"):
        wanted = FocusPredictor(engine, device="cpu").predict(inputs).pressure.array
        found = make_contender(engine).answer(scene, data).box
        assert np.linalg.norm(found - wanted) < 2e-3 * np.linalg.norm(wanted), engine


def test_the_floor_of_the_datas_own_grid_is_the_truth_on_the_cube(scene, data):
    same = make_contender(f"grid-{VOXELS}").answer(scene, data)
    np.testing.assert_allclose(same.cube, scene.sample.pressure, rtol=1e-4, atol=1)
    coarse = make_contender(FLOOR).answer(scene, data)
    assert 0 < judge(scene, "coarse", coarse).published["relative_l2"] < 0.6


def test_every_engine_is_zero_where_nothing_was_simulated(scene, data, plan):
    assert 0.05 < scene.inside.mean() < 0.9
    for source in plan.engines:
        assert not make_contender(source, device="cpu").answer(scene, data).cube[~scene.inside].any()


def test_a_normalised_network_is_judged_as_it_answers_in_the_published_metrics(
    scene, data, folders, tmp_path
):
    answer = make_contender(str(folders[0] / "run" / "deeptfus.safetensors"), device="cpu").answer(
        scene, data
    )
    unit = 0.5 * scene.water_peak_pa  # its mean transmission
    np.testing.assert_allclose(
        answer.published, answer.cube * scene.sample.pressure.max() / unit, rtol=1e-4, atol=1
    )
    absolute = make_contender(str(untrained(tmp_path, absolute=True)), device="cpu").answer(scene, data)
    np.testing.assert_array_equal(absolute.published, absolute.cube)


def test_without_the_case_the_truth_on_the_box_is_interpolated_from_the_cube(scene):
    without = Scene.of(scene.sample)
    assert without.view is None
    np.testing.assert_array_equal(without.inside, scene.inside)
    assert np.corrcoef(without.truth.ravel(), scene.truth.ravel())[0, 1] > 0.9


def test_rows_are_by_sample_and_engine(evaluation, plan, data):
    assert len(data.names) == 2 * POSES
    assert [(r.sample, r.engine) for r in evaluation.rows] == [
        (s, e) for s in data.names for e in plan.called
    ]
    assert plan.called[-1] == "run"
    seconds = {r.engine: r.seconds for r in evaluation.rows}
    assert seconds["run"] > 0
    assert np.isnan(seconds["has"])
    assert evaluation.weights["run"]["engine"] == "deeptfus"
    assert evaluation.weights["has"] is None


def test_a_spread_is_of_magnitudes_and_leaves_out_what_is_not_known():
    found = Spread.of([-1.0, 3.0, np.nan], ["a", "b", "b"])
    assert (found.samples, found.heads, found.mean, found.signed_mean) == (2, 2, 2.0, 1.0)
    assert (found.std, found.median) == (1.0, 2.0)
    assert (found.p05, found.p95) == (pytest.approx(1.1), pytest.approx(2.9))
    assert found.low <= found.mean <= found.high
    assert Spread.of([np.nan], ["a"]) is None


def test_what_is_written_repeats_what_was_measured(evaluation, saved):
    rows = read_csv(saved / "errors.csv")
    assert len(rows) == len(evaluation.rows)
    assert float(rows[0]["rel_l2"]) == evaluation.rows[0].ours["rel_l2"]
    spreads = summarise(evaluation.rows)
    summary = {(r["engine"], r["figure"]): r for r in read_csv(saved / "summary.csv")}
    values = [r.published["relative_l2"] for r in evaluation.rows if r.engine == "has"]
    assert float(summary["has", "relative_l2"]["mean"]) == pytest.approx(np.mean(values))
    assert float(summary["has", "relative_l2"]["std"]) == pytest.approx(np.std(values))
    text = markdown(evaluation, spreads)
    assert (saved / "table.md").read_text() == text
    assert f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}" in text
    assert "counts as zero" in text
    about = json.loads((saved / "provenance.json").read_text())
    assert about["weights"]["run"]["sha256"]
    written = {"errors.csv", "errors.png", "summary.csv", "summary.json", "table.md"}
    assert set(about["outputs"]) == written


def test_tables_name_every_engine_and_the_caption_counts(evaluation, plan):
    spreads = summarise(evaluation.rows)
    shown = tables(spreads)
    assert all([row[0] for row in t.rows] == list(plan.called) for t in shown)
    assert any("-3 dB centroid" in t.header for t in shown)
    assert caption(spreads).startswith("4 samples")
    assert "drawing 2 heads" in caption(spreads)


def test_percentiles_take_the_nearest_sample_of_an_engine():
    rows = [{"engine": "a", "sample": str(i), "mm": float(-i)} for i in range(101)]
    rows += [{"engine": "b", "sample": "b", "mm": 1.0}]
    found = at_percentiles(rows, "a", (5, 25, 75, 95), "mm")
    assert [row["sample"] for _, row in found] == ["5", "25", "75", "95"]
    with pytest.raises(ValueError, match=r"one of the evaluation's, \['a', 'b'\]"):
        at_percentiles(rows, "c", by="mm")
    with pytest.raises(ValueError, match="must be one of"):
        at_percentiles(rows, "a", by="no figure")
    with pytest.raises(ValueError, match="0 to 100"):
        at_percentiles(rows, "a", (101,), "mm")


def test_the_gallery_predicts_again_what_was_judged(saved, evaluation):
    read = SavedEvaluation.read(saved)
    assert read.plan == replace(evaluation.plan, data=evaluation.plan.data, names=evaluation.plan.called)
    cases = gallery_cases(read, "has", (5, 95), "centroid_error_mm")
    assert cases[0].error_mm <= cases[1].error_mm
    for case in cases:
        cube = case.scene.to_cube(case.found)
        again = judge(case.scene, "has", Answer(cube, case.found, cube))
        assert again.ours["centroid_error_mm"] == pytest.approx(case.error_mm, abs=1e-6)


def test_an_evaluation_goes_on_from_an_earlier_one(saved, plan, evaluation, monkeypatch):
    earlier = SavedEvaluation.read(saved)
    shorter = replace(plan, engines=("has", FLOOR), most=2)
    asked = []
    monkeypatch.setattr("trifocal.focus.dataset_evaluation.evaluation.load_scene", asked.append)
    again = evaluate_data_set(shorter, earlier=earlier)
    assert not asked
    before = {(r.sample, r.engine): r for r in evaluation.rows}
    for row in again.rows:
        np.testing.assert_equal(row.errors(), before[row.sample, row.engine].errors())
        assert row.peak_pa == before[row.sample, row.engine].peak_pa
    assert earlier.known(replace(plan, cases=()), evaluation.weights) == {}
    assert "run" not in earlier.known(plan, evaluation.weights | {"run": None})
    renamed = replace(plan, engines=("has",), names=("march",))
    assert earlier.known(renamed, {"march": None}) == {}


def test_a_gallery_of_other_weights_is_refused(saved, folders, tmp_path):
    read = SavedEvaluation.read(saved)
    other = replace(read, weights=read.weights | {"run": {"sha256": "0"}})
    with pytest.raises(ValueError, match="holds others: evaluate again"):
        gallery_cases(other, "run", (5,), "centroid_error_mm")
    with pytest.raises(FileNotFoundError, match="must hold provenance.json"):
        SavedEvaluation.read(tmp_path)
    (tmp_path / "provenance.json").write_text('{"parameters": {}}')
    (tmp_path / "errors.csv").write_text("")
    with pytest.raises(ValueError, match="is damaged"):
        SavedEvaluation.read(tmp_path)


def test_azimuth_and_depth_are_those_of_the_shell(scene, data):
    x, y, _ = scene.pose.apex_mm
    assert azimuth_deg(scene) == pytest.approx(
        np.degrees(np.arctan2(y, x)), abs=25
    )  # it aims near the middle
    focus = scene.pose.to_world([0, 0, scene.bowl.radius_of_curvature_mm])
    below = 33.0 - float(np.linalg.norm(focus))  # the bone's outer radius
    assert focal_depth_mm(scene) == pytest.approx(below, abs=12)


def test_published_samples_need_no_facts_for_engines_that_take_a_cube(folders, tmp_path, scene, data):
    cubes = tmp_path / "published"
    name = data.names[0]
    (cubes / "data" / name).parent.mkdir(parents=True)
    (cubes / "splits").mkdir()
    (cubes / "splits" / "test.txt").write_text(name)
    (cubes / "data" / name).write_bytes((folders[2] / "data" / name).read_bytes())
    found = evaluate_data_set(DataSetPlan((cubes,), (FLOOR,), spacing_mm=3.0, device="cpu"))
    assert np.isnan(found.rows[0].ours["transmission_error"])
    assert found.rows[0].ours["centroid_error_mm"] < 6
    assert any("fitted to its voxels" in note for note in found.notes)
    with pytest.raises(ValueError, match="only networks that take the cube"):
        evaluate_data_set(DataSetPlan((cubes,), ("has",), spacing_mm=3.0))


def test_a_network_of_the_bowls_frame_is_judged_on_cubes_of_its_frame(folders, tmp_path):
    _, cases, world = folders
    bowl = tmp_path / "bowl"
    spec = CubeSpec("bowl", VOXELS, 3.0)
    write_data_set([cases], bowl, spec, cts=sorted(folders[0].glob("*.nii")), split="test")
    weights = str(untrained(tmp_path, frame="bowl"))
    with pytest.raises(ValueError, match="takes cubes in the frame of the bowl"):
        evaluate_data_set(DataSetPlan((world,), (weights,), device="cpu"))
    found = evaluate_data_set(DataSetPlan((world, bowl), (FLOOR, weights), most=1, device="cpu"))
    alone = evaluate_data_set(DataSetPlan((bowl,), (weights,), most=1, device="cpu"))
    assert found.rows[1].published == alone.rows[0].published
    with pytest.raises(ValueError, match="must be of different frames"):
        evaluate_data_set(DataSetPlan((bowl, bowl), (FLOOR,)))


def test_errors_are_multiples_of_those_of_one_engine_on_the_same_samples():
    def row(sample, head, engine, error):
        figures = dict.fromkeys(COLUMNS, error)
        return Row(sample, head, engine, figures, {}, (1.0, 1.0))

    rows = [row(str(i), "ab"[i % 2], "base", 2.0 + i) for i in range(4)]
    rows += [row(str(i), "ab"[i % 2], "ours", -(2.0 + i) / 2) for i in range(4)]
    rows += [row(str(i), "ab"[i % 2], "other", 7.0 - i) for i in range(4)]
    found = {(r.engine, r.figure): r for r in ratios(rows, "base")}
    half, other = found["ours", "rel_l2"], found["other", "rel_l2"]
    # a half on every sample is a half of whatever heads are drawn
    assert (half.value, half.low, half.high, half.samples) == (0.5, 0.5, 0.5, 4)
    assert other.value == pytest.approx(22 / 14)
    assert other.low < other.value < other.high
    table = ratio_table(list(found.values()))
    assert [r[0] for r in table.rows] == ["ours", "other"]
    assert table.rows[0][1] == "0.50\n[0.50, 0.50]"


def test_the_command_writes_tables_and_curves(folders, tmp_path, capsys):
    folder, cases, cubes = folders
    weights = folder / "run" / "deeptfus.safetensors"
    words = ["evaluate", "focus", "--data", str(cubes), "--cases", str(cases), "--samples", "2"]
    words += ["--engines", "has", str(weights), "--names", "march", "base", "--device", "cpu"]
    words += ["--against", "march", "--reference", "relative_l2=0.4"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "multiples of those of march" in said
    assert "multiples of those of march" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "ratios.csv").exists()
    assert "relative L2, %" in said
    assert "march" in said
    assert (tmp_path / "out" / "curves.png").exists()
    assert len((tmp_path / "out" / "errors.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engines", "nonsense"], "an engine must be one of"),
        (["--engines", "has", "--against", "has"], "must be one of several engines"),
        (["--engines", "has", "has"], "must differ in what they are called"),
        (["--engines", "has", "--names", "a", "b"], "one for each of the 1 engines"),
        (["--engines", "has"], "name the folder of `simulate focus`"),
        (["--engines", "none.safetensors"], "none.safetensors"),
        (["--engines", FLOOR, "--samples", "0"], "1 or more"),
        (["--engines", "grid-5"], "must divide"),
        (["--engines", FLOOR, "--split", "val"], "val.txt"),
        (["--engines", FLOOR, "--heads", "1"], "not on both"),
    ],
)
def test_the_command_refuses_what_cannot_be(folders, tmp_path, capsys, words, message):
    out = tmp_path / "out"
    assert main(["evaluate", "focus", "--data", str(folders[2]), "--out", str(out), *words]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_case_of_another_bowl_is_refused(scene, folders):
    other = next(c for c in map(Case.load, folders[1].glob("*.safetensors")) if c.bowl != scene.bowl)
    with pytest.raises(ValueError, match="export the data again"):
        Scene.of(scene.sample, other)


def test_weights_are_called_like_their_run(tmp_path):
    assert default_name("has") == "has"
    assert default_name(str(tmp_path / "base" / "deeptfus.safetensors")) == "base"
