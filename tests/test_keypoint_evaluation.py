"""The keypoints predictor on images with known points: what is chosen, run, summed up and written."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trifocal.checkpoint import save
from trifocal.cli import main
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.evaluation import EvaluationPlan, Variant, evaluate
from trifocal.keypoints.evaluation.output import save_evaluation
from trifocal.keypoints.evaluation.pictures import draw_sizes
from trifocal.keypoints.evaluation.summary import NETWORK, leading, overall, reviews, summarise
from trifocal.keypoints.evaluation.tables import caption, tables
from trifocal.keypoints.examples import Example, split_by_patient, standard_split
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.learned import Learned, config_record
from trifocal.keypoints.network import CompactConfig, CompactNetwork
from trifocal.keypoints.phantoms.image_set import PhantomSet
from trifocal.keypoints.predictor import KeypointsInput, KeypointsPrediction, KeypointsPredictor
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import silent

TINY = CompactConfig((8, 16, 16, 16), (0, 1, 0, 0))
TASK_IDS = ("HC", "fetal_femur", "AOP")
SEEDS = range(4)
KNOWN = (0, 1)
SHIFT = (3.0, 4.0)


def weights(path, members=2, card=None):
    torch.manual_seed(0)
    networks = [CompactNetwork(TINY) for _ in range(members)]
    state = torch.nn.ModuleList(networks).state_dict()
    config = config_record(TINY, Learned(networks, ("HC",)))
    save(path, state, engine="keypoints", config=config, card={"data": card or {}})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms of three tasks, and weights that know half of their seeds."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("evaluation")
    PhantomSet(TASK_IDS, len(SEEDS), SEEDS[0]).write(folder / "set", workers=1, progress=silent)
    weights(folder / "tiny.safetensors", card={"synthetic_seeds": list(KNOWN)})
    return folder


@pytest.fixture(scope="module")
def examples(folder):
    return read_examples(folder / "set")


@pytest.fixture(scope="module")
def plan(folder):
    return EvaluationPlan(checkpoint=folder / "tiny.safetensors", device="cpu")


@pytest.fixture(scope="module")
def told():
    """The fractions that the evaluation has told."""
    return []


@pytest.fixture(scope="module")
def evaluation(examples, plan, told):
    return evaluate(examples, plan, progress=lambda fraction, what: told.append(fraction))


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    save_evaluation(evaluation, out, ["set"])
    return out


@pytest.fixture
def shifted(examples, monkeypatch):
    """A predictor that is always off by (3, 4) pixels, and surer the later the image comes."""
    known = {np.asarray(Image.open(e.path)).tobytes(): (i, e) for i, e in enumerate(examples)}

    def predict(self, inputs, progress=None):
        i, example = known[inputs.frame.tobytes()]
        points = example.points + SHIFT
        ellipse = ellipse_from_axes(points) if inputs.task.ellipse else None
        score = np.full(len(points), (i + 1) / 100)
        return KeypointsPrediction(
            inputs.task, points, score, 0 * score, 1 - i / 100, ellipse=ellipse, seconds=0.25
        )

    monkeypatch.setattr(KeypointsPredictor, "predict", predict)


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def sentences(capsys):
    return capsys.readouterr().err.strip().splitlines()


def test_every_image_is_judged_by_each_network_alone_and_by_both_mirrored_or_not(evaluation, told):
    assert [(v.name, v.passes) for v in evaluation.variants] == [
        ("network 1", 1),
        ("network 1, mirrored too", 2),
        ("network 2", 1),
        ("network 2, mirrored too", 2),
        ("ensemble of 2", 2),
        ("ensemble of 2, mirrored too", 4),
    ]
    assert evaluation.main.name == "ensemble of 2"
    new = len(SEEDS) - len(KNOWN)
    assert len(evaluation.cases) == 6 * new * len(TASK_IDS)
    assert evaluation.tasks == [t for t in TASKS if t in TASK_IDS]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)


def test_a_case_says_what_the_predictor_that_users_get_says(evaluation, plan):
    predictor = KeypointsPredictor.load(plan.checkpoint, device="cpu")
    for tta in (False, True):
        case = evaluation.of(Variant((0, 1), tta), "AOP")[-1]
        frame = np.asarray(Image.open(case.example.path))
        scale = (case.example.mm_per_px,) * 2
        found = predictor.predict(KeypointsInput(frame, TASKS["AOP"], tta, scale))
        assert case.points == pytest.approx(found.points)
        assert case.review == pytest.approx(found.review)
        expected = np.linalg.norm(found.points - case.example.points, axis=-1)
        assert case.errors.radial_px == pytest.approx(expected)
        assert case.errors.mre_mm == pytest.approx(expected.mean() * case.example.mm_per_px)


def test_a_network_alone_is_that_network(folder, evaluation, plan):
    learned = KeypointsPredictor.load(plan.checkpoint, device="cpu").learned
    second = replace(learned, members=learned.members[1:])
    case = evaluation.of(Variant((1,)), "fetal_femur")[0]
    frame = np.asarray(Image.open(case.example.path))
    found = KeypointsPredictor(second, torch.device("cpu")).predict(KeypointsInput(frame, case.example.task))
    assert case.points == pytest.approx(found.points)


@pytest.mark.parametrize(
    ("members", "tta", "passes"),
    [("1", "no", [1, 1]), ("all", "both", [2, 4]), ("all", "yes", [4]), ("both", "no", [1, 1, 2])],
)
def test_the_plan_says_which_variants_are_run(examples, plan, shifted, members, tta, passes):
    some = [e for e in examples if e.task_id == "fetal_femur"]
    found = evaluate(some, replace(plan, members=members, tta=tta))
    assert [v.passes for v in found.variants] == passes


def test_a_single_network_is_its_own_ensemble(examples, plan, shifted, tmp_path):
    one = weights(tmp_path / "one.safetensors", members=1)
    for members in ("1", "all", "both"):
        found = evaluate(examples, replace(plan, checkpoint=one, members=members, tta="no"))
        assert [v.name for v in found.variants] == ["network 1"]


def test_synthetic_images_that_the_weights_know_are_no_test(examples, plan, evaluation, shifted):
    seeds = {c.example.patient for c in evaluation.cases}
    assert seeds == {f"synthetic-{seed}" for seed in SEEDS if seed not in KNOWN}
    everything = evaluate(examples, replace(plan, part="all"))
    parts = {c.example.patient: c.part for c in everything.cases}
    assert all((parts[f"synthetic-{s}"] == "test") == (s not in KNOWN) for s in SEEDS)
    assert any("may have learned from" in note for note in everything.notes)
    assert not evaluation.notes
    known = [e for e in examples if e.patient in ("synthetic-0", "synthetic-1")]
    with pytest.raises(ValueError, match=r"'test' is left of 6: .* seeds 0 to 1.* --seed 1000000"):
        evaluate(known, plan)


def test_weights_that_do_not_name_their_seeds_are_not_trusted_silently(examples, plan, shifted, tmp_path):
    silent_card = weights(tmp_path / "silent.safetensors", card={"images": {}})
    found = evaluate(examples, replace(plan, checkpoint=silent_card))
    assert len(found.of(found.main)) == len(examples)
    assert any("does not say which synthetic images" in note for note in found.notes)
    none = weights(tmp_path / "none.safetensors", card={"synthetic_seeds": []})
    assert not evaluate(examples, replace(plan, checkpoint=none)).notes


def test_real_images_are_divided_by_their_patients_as_for_the_training(examples, plan, shifted):
    (source,) = [e for e in examples if e.task_id == "fetal_femur"][:1]
    real = [replace(source, source="hc18", patient=str(i // 2)) for i in range(60)]
    for part, expected in zip(("validation", "test"), standard_split(real)[1:], strict=True):
        found = evaluate(real, replace(plan, part=part, members="all", tta="no"))
        assert {c.example.patient for c in found.cases} == {e.patient for e in expected}
        assert {c.part for c in found.cases} == {part}
    assert {e.patient for e in split_by_patient(real, (0.75, 0.10, 0.15))[2]} == {
        e.patient for e in standard_split(real)[2]
    }


def test_answers_of_a_teacher_are_never_a_test(examples, plan):
    pseudo = [replace(e, source="pseudo") for e in examples]
    with pytest.raises(ValueError, match="no image of the part 'test' is left"):
        evaluate(pseudo, plan)


def test_an_error_of_five_pixels_is_one_in_every_table(examples, plan, shifted):
    found = evaluate(examples, replace(plan, part="all"))
    rows = {(r.task, r.quantity, r.unit, r.variant): r.statistic for r in summarise(found)}
    for task in TASK_IDS:
        px = rows[task, "MRE", "px", found.main]
        assert (px.mean, px.median, px.max, px.low, px.high) == pytest.approx((5,) * 5)
        assert (px.cases, px.patients, px.missing) == (len(SEEDS), len(SEEDS), 0)
        mm = [e.mm_per_px * 5 for e in examples if e.task_id == task]
        assert rows[task, "MRE", "mm", found.main].mean == pytest.approx(np.mean(mm))
        assert rows[task, "MRE, canonical order", "px", found.main].mean == pytest.approx(5)
        assert rows[task, f"point {TASKS[task].points[1]}", "px", found.main].max == pytest.approx(5)
    assert rows["HC", "HC", "mm", found.main].max == pytest.approx(0, abs=1e-6)
    mean = overall(found)[found.main]["px"]
    assert (mean.weighted, mean.unweighted, mean.tasks) == pytest.approx((5, 5, 3))
    by_task, by_model, *_ = tables(found)
    column = by_task.header.index("px")
    assert [row[column] for row in by_task.rows] == ["5.00 [5.00, 5.00]"] * 5
    assert [row[0] for row in by_task.rows[-2:]] == ["all images", "mean of tasks"]
    assert {row[by_model.header.index("ms an image")] for row in by_model.rows} == {"250"}


def test_stretched_pixels_are_those_of_a_square_of_256(examples, plan, shifted):
    found = evaluate(examples, replace(plan, part="all", members="all", tta="no"))
    for case in found.cases:
        height, width = np.asarray(Image.open(case.example.path)).shape
        expected = 256 * np.hypot(SHIFT[0] / width, SHIFT[1] / height)
        assert case.errors.mre_network_px == pytest.approx(expected)
    (row, *_) = summarise(found)
    assert (row.quantity, row.unit) == ("MRE", NETWORK)


def test_the_review_is_judged_by_rank_and_by_what_a_second_look_leaves(examples, plan, shifted):
    found = evaluate(examples, replace(plan, part="all", members="all", tta="no"))
    (hc, *_) = [r for r in reviews(found) if r.task == "HC"]
    assert (hc.unit, hc.images) == ("mm", len(SEEDS))
    mm = np.array([c.errors.mre_mm for c in found.of(found.main, "HC")])  # review falls with the index
    assert hc.mean == pytest.approx(mm.mean())
    assert hc.kept_by_review == pytest.approx(mm[1:].mean())  # the first of four is set aside
    assert hc.kept_by_score == hc.kept_by_review
    ranks = np.argsort(np.argsort(mm))
    assert hc.review == pytest.approx(np.corrcoef(ranks, [3, 2, 1, 0])[0, 1])
    assert hc.review == pytest.approx(hc.score)


def test_the_leading_measurement_is_the_circumference_or_the_first_length():
    assert {leading(TASKS[t]) for t in ("HC", "FA")} == {"HC", "AC"}
    assert leading(TASKS["AOP"]) == "AoP"
    assert leading(TASKS["PLAX"]) == "LV"


def test_the_summary_is_that_of_the_rows(evaluation, written):
    rows = read_csv(written / "errors.csv")
    assert len(rows) == len(evaluation.cases)
    flat = read_csv(written / "summary.csv")
    statistics = json.loads((written / "summary.json").read_text())["statistics"]
    assert len(statistics) == len(flat)
    for variant in ("network 2", "ensemble of 2, mirrored too"):
        own = [float(r["mre_px"]) for r in rows if (r["task"], r["variant"]) == ("AOP", variant)]
        key = ("AOP", variant, "MRE", "px")
        found = next(r for r in flat if (r["task"], r["variant"], r["quantity"], r["unit"]) == key)
        assert float(found["mean"]) == pytest.approx(np.mean(own))
        assert float(found["p95"]) == pytest.approx(np.percentile(own, 95))
        assert float(found["low"]) <= float(found["mean"]) <= float(found["high"])
    measured = read_csv(written / "measurement_errors.csv")
    lengths = [r for r in measured if (r["name"], r["variant"]) == ("FL", "network 1")]
    assert len(lengths) == len(SEEDS) - len(KNOWN)
    for row in lengths:
        assert float(row["error"]) == pytest.approx(float(row["found"]) - float(row["true"]))
    assert {r["part"] for r in rows} == {"test"}


def test_everything_promised_is_written_with_its_origin(evaluation, written):
    worst = {f"worst-{i}.png" for i in range(1, 7)}
    tables_ = {"errors.csv", "measurement_errors.csv", "summary.csv", "summary.json", "table.md"}
    pictures = {"reliability.png", "errors.png"} | worst
    assert {p.name for p in written.iterdir()} == tables_ | pictures | {"provenance.json"}
    assert all((written / name).stat().st_size > 5_000 for name in pictures)
    provenance = json.loads((written / "provenance.json").read_text())
    assert set(provenance["outputs"]) == tables_ | pictures
    assert provenance["weights"] == {"name": "tiny", "sha256": evaluation.weights_sha256}
    assert provenance["parameters"]["data"] == ["set"]
    text = "".join((written / name).read_text() for name in (*sorted(tables_), "provenance.json"))
    assert str(evaluation.cases[0].example.path.parent) not in text


def test_the_worst_images_are_those_of_the_main_variant_the_worst_first(evaluation, written):
    errors = sorted((c.errors.mre_network_px for c in evaluation.of(evaluation.main)), reverse=True)
    worst = json.loads((written / "summary.json").read_text())["worst"]
    assert [w["mre_px_of_256"] for w in worst] == pytest.approx(errors[:6])
    assert {w["variant"] for w in worst} == {"ensemble of 2"}


def test_the_classical_ellipse_takes_heads_only_and_may_find_none(examples, folder, tmp_path):
    nothing = folder / "black.png"
    Image.fromarray(np.zeros((200, 300), np.uint8)).save(nothing)
    heads = [e for e in examples if e.task_id == "HC"]
    dark = Example(nothing, "HC", heads[0].points, "synthetic-9", "synthetic", 0.2)
    plan = EvaluationPlan(checkpoint="classical", device="cpu")
    found = evaluate([*examples, dark], plan)
    assert [(v.name, v.passes) for v in found.variants] == [("classical ellipse", 0)]
    assert any(f"{len(examples) - len(heads)} images are left out" in note for note in found.notes)
    assert len(found.cases) == len(heads) + 1
    px = next(r.statistic for r in summarise(found) if (r.quantity, r.unit) == ("MRE", "px"))
    assert px.missing >= 1
    assert px.cases + px.missing == len(found.cases)
    save_evaluation(found, tmp_path / "out")
    (row,) = [r for r in read_csv(tmp_path / "out" / "errors.csv") if r["file"] == "black.png"]
    assert (row["mre_px"], row["not_found"]) == ("", "4")
    assert "without points" in tables(found)[0].rows[0][3]
    femurs = [e for e in examples if e.task_id == "fetal_femur"]
    with pytest.raises(ValueError, match="no image of the part"):
        evaluate(femurs, plan)


def test_images_of_unknown_scale_are_judged_in_pixels(examples, plan, shifted, tmp_path):
    found = evaluate(
        [replace(e, mm_per_px=None) for e in examples], replace(plan, part="all", members="all", tta="no")
    )
    rows = summarise(found)
    assert not [r for r in rows if r.unit == "mm"]
    assert {r.unit for r in rows if r.quantity == "FL"} == {"px"}
    assert {r.unit for r in reviews(found)} == {"px"}
    assert tables(found)[0].rows[0][-1] == "-"
    draw_sizes(found, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 5_000


def test_the_caption_counts_images_and_patients(evaluation):
    said = caption(evaluation)
    assert said[0].startswith("6 images of 6 patients, part: test; weights tiny (")


def command(folder, out, options):
    words = (
        f"evaluate keypoints --data {folder}/set --weights {folder}/tiny.safetensors --device cpu --out {out}"
    )
    return main([*words.split(), *options.split()])


def test_the_command_prints_tables_that_fit_and_writes_the_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(folder, out, "--task aop HC --members all --tta no") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 190
    rows = read_csv(out / "errors.csv")
    assert [row["task"] for row in rows] == ["HC", "HC", "AOP", "AOP"]
    mean = np.mean([float(r["mre_px_of_256"]) for r in rows if r["task"] == "AOP"])
    assert f" {mean:.2f} " in text
    assert "ensemble of 2" in text
    assert "4 images of 4 patients" in text


def test_an_interrupted_run_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    def stop(fraction, what):
        if fraction > 0.3:
            raise KeyboardInterrupt

    monkeypatch.setattr("trifocal.cli.evaluate_keypoints.Bar", lambda: stop)
    assert command(folder, tmp_path / "out", "--task HC") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--task spleen", "the task must be one of HC"),
        ("--task PLAX", "the data must have images of PLAX, got HC"),
        ("--data SET SET", "--data must name everything once, got set more than once"),
        ("--weights nowhere.safetensors", "nowhere.safetensors"),
        ("--part validation --task HC", "no image of the part 'validation' is left"),
        ("--part some", "some"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(folder, tmp_path, capsys, options, sentence):
    assert command(folder, tmp_path / "out", options.replace("SET", str(folder / "set"))) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["nan,20"], "points.csv, line 2: x_px must be a finite number, got 'nan'"),
        (["10,20", "10,20"], "points.csv, line 3: the point BPD 1 of 1.png is there twice"),
    ],
    ids=["NaN", "twice"],
)
def test_a_table_with_a_bad_row_is_refused_with_its_line(tmp_path, capsys, rows, sentence):
    lines = [f"1.png,p,HC,BPD 1,{row}" for row in rows]
    (tmp_path / "points.csv").write_text("\n".join(["file,patient,task,point,x_px,y_px", *lines, ""]))
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--weights", "classical"]
    assert main(["evaluate", "keypoints", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_output_must_be_a_folder(folder, tmp_path, capsys):
    (tmp_path / "out").write_text("x")
    assert command(folder, tmp_path / "out", "") == 2
    (line,) = sentences(capsys)
    assert "--out must be a folder" in line
