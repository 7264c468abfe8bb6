"""`trifocal predict keypoints`: folders, cines and everything that can be wrong with a file among others."""

from __future__ import annotations

import csv
import json

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import CTImageStorage

from data import shared_data
from trifocal.cli import main
from trifocal.keypoints import batch
from trifocal.keypoints.batch import BatchPlan, run_batch
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.predictor import KeypointsPrediction, KeypointsPredictor
from trifocal.keypoints.sources import collect_sources
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import Cancelled, silent
from ultrasound_files import PATIENT, dataset, jpeg_dataset, pattern, region, save, smooth_colour

CLASSICAL = ("--task", "HC", "--engine", "classical")


class Scripted:
    """A predictor that always answers the same points: what is asked of it is recorded."""

    device = "cpu"
    learned = None

    def __init__(self, points=None, doubt=None):
        self.asked = []
        self.points = points
        self.doubt = doubt or (lambda _: (0.0, ()))

    def predict(self, inputs, /, *, progress=silent):
        self.asked.append(inputs)
        count = inputs.task.count
        points = np.stack([np.arange(count) + 5.0, 3.0 * np.arange(count) + 5], axis=1)
        review, hints = self.doubt(inputs.frame)
        return KeypointsPrediction(
            task=inputs.task,
            points=points if self.points is None else self.points(inputs.frame),
            scores=np.full(count, 0.5),
            spread_px=np.zeros(count),
            review=review,
            hints=hints,
            weights_sha256="cd" * 32,
            warnings=("trained on phantoms",),
        )


@pytest.fixture
def scripted(monkeypatch):
    predictor = Scripted()
    monkeypatch.setattr(KeypointsPredictor, "load", lambda *_, **__: predictor)
    return predictor


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    made = phantom("HC", 1)
    path = tmp_path_factory.mktemp("head") / "head.png"
    Image.fromarray(made.image).save(path)
    return path, made


def run(*words):
    return main(["predict", "keypoints", *map(str, words)])


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def picture(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pattern(**options)[0]).save(path)
    return path


# --- what is written


def test_a_head_is_found_and_measured_without_any_weights(head, tmp_path, capsys):
    path, made = head
    out = tmp_path / "out"
    assert run(path, *CLASSICAL, "--out", out, "--mm-per-px", made.mm_per_px) == 0
    tables = {"keypoints.csv", "measurements.csv", "review.csv"}
    assert {p.name for p in out.iterdir()} == {*tables, "provenance.json"}
    found = {row["measurement"]: row for row in rows(out / "measurements.csv")}
    true_hc = made.ellipse.perimeter * made.mm_per_px
    assert float(found["HC"]["value"]) == pytest.approx(true_hc, rel=0.15)
    assert found["HC"]["unit"] == "mm"
    assert len(rows(out / "keypoints.csv")) == 4
    printed = capsys.readouterr().out
    assert "HC" in printed
    assert "1 frame of 1 file, classical on" in printed


def test_overlay_json_and_provenance_come_when_asked(head, tmp_path):
    out = tmp_path / "out"
    assert run(head[0], *CLASSICAL, "--out", out, "--overlay", "--json") == 0
    with Image.open(out / "overlays" / "head.png") as drawn:
        assert drawn.width >= 480
    (item,) = json.loads((out / "predictions.json").read_text())
    assert (item["image_path"], item["task_id"]) == ("head.png", "HC")
    record = json.loads((out / "provenance.json").read_text())
    assert record["engine"]["name"] == "keypoints/classical"
    assert record["inputs"][0]["name"] == "head.png"
    assert len(record["inputs"][0]["sha256"]) == 64
    tables = {"keypoints.csv", "measurements.csv", "review.csv"}
    assert set(record["outputs"]) == {*tables, "predictions.json"}
    assert "not for clinical use" in record["notice"]
    assert any("in pixels" in warning for warning in record["warnings"])


def test_folders_are_searched_with_their_subfolders_and_names_are_relative(tmp_path, scripted):
    folder = tmp_path / "in"
    for name in ("b.png", "a/c.png", "a/b.png"):
        picture(folder / name)
    (folder / "notes.txt").write_text("x")
    assert run(folder, "--task", "fetal_femur", "--out", tmp_path / "out", "--overlay") == 0
    points = rows(tmp_path / "out" / "keypoints.csv")
    assert [row["file"] for row in points[::2]] == ["b.png", "a/b.png", "a/c.png"]
    made = {
        p.relative_to(tmp_path / "out" / "overlays").as_posix() for p in (tmp_path / "out").rglob("*.png")
    }
    assert made == {"b.png", "a/b.png", "a/c.png"}


def test_two_files_of_one_name_stay_apart_and_one_given_twice_counts_once(tmp_path, scripted):
    first, second = picture(tmp_path / "x" / "a.png"), picture(tmp_path / "y" / "a.png", seed=1)
    assert run(first, second, first, "--task", "IVC", "--out", tmp_path / "out", "--overlay") == 0
    names = [row["file"] for row in rows(tmp_path / "out" / "keypoints.csv")[::2]]
    assert names == [first.as_posix(), second.as_posix()]
    assert len(list((tmp_path / "out" / "overlays").rglob("*.png"))) == 2


def test_pictures_never_leave_their_folder_and_never_replace_each_other(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        picture(tmp_path / name)
    stems = [source.stem.as_posix() for source in collect_sources([tmp_path])]
    assert stems == ["a_jpg", "a_png", "b"]
    (odd,) = collect_sources([tmp_path / "sub" / ".." / "b.png"])
    assert ".." not in odd.stem.parts
    assert not odd.stem.is_absolute()


def test_every_frame_of_a_cine_has_its_rows_and_its_report(tmp_path, scripted):
    path = save(
        dataset(pattern(3), regions=[region((0, 0, 39, 29), (0.02, 0.03))], FrameTime=30), tmp_path / "c.dcm"
    )
    assert run(path, "--task", "IVC", "--out", tmp_path / "out", "--sr", "--overlay", "--json") == 0
    points = rows(tmp_path / "out" / "keypoints.csv")
    assert [row["frame"] for row in points] == ["0", "0", "1", "1", "2", "2"]
    assert float(points[1]["x_mm"]) == pytest.approx(0.2 * float(points[1]["x_px"]))
    assert float(points[1]["y_mm"]) == pytest.approx(0.3 * float(points[1]["y_px"]))
    diameter = rows(tmp_path / "out" / "measurements.csv")[0]
    assert (float(diameter["value"]), diameter["unit"]) == (pytest.approx(np.hypot(0.2, 0.9), abs=1e-3), "mm")
    report = hd.sr.srread(tmp_path / "out" / "reports" / "c.dcm")
    assert len(report.content.get_image_measurement_groups()) == 3
    assert sorted(p.name for p in (tmp_path / "out" / "overlays").iterdir())[2] == "c_0002.png"
    assert [item["frame"] for item in json.loads((tmp_path / "out" / "predictions.json").read_text())] == [
        0,
        1,
        2,
    ]
    assert scripted.asked[0].mm_per_px == pytest.approx((0.2, 0.3))


def test_a_cine_of_a_vena_cava_has_its_collapsibility(tmp_path, monkeypatch):
    widths = [10, 12, 20, 12, 10, 8, 5, 8, 10, 12]
    frames = np.repeat(np.array(widths, np.uint8), 900).reshape(len(widths), 30, 30)
    path = save(dataset(frames), tmp_path / "c.dcm")
    breathing = Scripted(lambda frame: np.array([[5.0, 5.0], [5.0, 5.0 + frame[0, 0]]]))
    monkeypatch.setattr(KeypointsPredictor, "load", lambda *_, **__: breathing)
    assert run(path, "--task", "IVC", "--out", tmp_path / "out") == 0
    whole = [row for row in rows(tmp_path / "out" / "measurements.csv") if row["frame"] == ""]
    (share,) = [row for row in whole if row["measurement"] == "IVC collapsibility"]
    assert 20 < float(share["value"]) < 75


def test_a_cine_of_2000_frames_is_streamed(tmp_path, scripted, monkeypatch):
    path = save(dataset(np.ones((2000, 16, 16), np.uint8)), tmp_path / "long.dcm")
    held = []
    monkeypatch.setattr(batch.FrameResult, "predicted", spy(batch.FrameResult.predicted, held))
    assert run(path, "--task", "fetal_femur", "--out", tmp_path / "out") == 0
    assert len(rows(tmp_path / "out" / "keypoints.csv")) == 4000
    assert held[-1] <= 3  # results that are alive at a time: no one keeps them


def spy(make, held):
    """Count how many of the results that `make` has made are still alive."""
    import weakref

    alive = weakref.WeakSet()

    def made(*args, **options):
        result = make(*args, **options)
        alive.add(result)
        held.append(len(alive))
        return result

    return made


# --- the review queue


def test_frames_are_queued_for_review_the_most_doubtful_first_and_warnings_are_said_once(
    tmp_path, monkeypatch, capsys
):
    doubts = np.array([10, 95, 50, 99, 95], np.uint8)
    for number, doubt in enumerate(doubts):
        Image.new("L", (40, 30), int(doubt)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"")
    unsure = Scripted(doubt=lambda frame: (frame[0, 0] / 100, ("far apart", "small") * int(frame[0, 0] > 90)))
    monkeypatch.setattr(KeypointsPredictor, "load", lambda *_, **__: unsure)
    assert run(tmp_path, "--task", "IVC", "--out", tmp_path / "out") == 2
    queue = rows(tmp_path / "out" / "review.csv")
    assert [(row["file"], row["review"]) for row in queue] == [
        ("3.png", "0.9900"), ("1.png", "0.9500"), ("4.png", "0.9500"), ("0.png", "0.1000"),
    ]  # fmt: skip
    assert {(row["frame"], row["task"], row["warnings"]) for row in queue} == {
        ("0", "IVC", "trained on phantoms")
    }
    assert [row["hints"] for row in queue] == ["far apart; small"] * 3 + [""]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "trained on" in line] == ["warning: trained on phantoms (4 times)"]
    named = [line for line in lines if line.startswith("look at:")]
    assert named[0] == "look at: 3.png, frame 0 (review 0.99): far apart; small"
    assert len(named) == 3


def test_of_many_doubtful_frames_some_are_named_and_all_are_in_the_queue(tmp_path, monkeypatch, capsys):
    path = save(dataset(np.full((9, 16, 16), 7, np.uint8)), tmp_path / "c.dcm")
    unsure = Scripted(doubt=lambda _: (1.0, ("far apart",)))
    monkeypatch.setattr(KeypointsPredictor, "load", lambda *_, **__: unsure)
    assert run(path, "--task", "IVC", "--out", tmp_path / "out") == 0
    assert [row["frame"] for row in rows(tmp_path / "out" / "review.csv")] == list("012345678")
    error = capsys.readouterr().err
    assert error.count("look at: c.dcm") == 5
    assert "look at: 4 more, see review.csv" in error


def test_the_cross_check_is_asked_for_and_is_the_heads_alone(tmp_path, scripted, capsys):
    path = picture(tmp_path / "a.png")
    for words, asked in (((), False), (("--cross-check",), True)):
        assert run(path, "--task", "HC", "--out", tmp_path / "out", *words) == 0
        assert scripted.asked[-1].cross_check is asked
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["parameters"]["cross_check"] is True
    for words in (("--task", "FA"), CLASSICAL):
        capsys.readouterr()
        assert run(path, *words, "--cross-check", "--out", tmp_path / "no") == 2
        assert "--cross-check compares the network's HC" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


# --- scales


def test_the_file_counts_before_the_users_number_and_that_where_the_file_does_not_say(tmp_path, scripted):
    good = save(dataset(pattern(), regions=[region()]), tmp_path / "good.dcm")
    stale = save(dataset(pattern(), regions=[region((0, 0, 300, 200))]), tmp_path / "stale.dcm")
    assert run(good, stale, "--task", "IVC", "--out", tmp_path / "out", "--mm-per-px", "0.5") == 0
    points = rows(tmp_path / "out" / "keypoints.csv")
    ratio = [float(row["y_mm"]) / float(row["y_px"]) for row in points]
    assert ratio == pytest.approx([0.2, 0.2, 0.5, 0.5])


def test_a_table_gives_each_file_its_scale_and_others_stay_in_pixels_with_the_reason(
    tmp_path, scripted, capsys
):
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "s.csv").write_text("file,mm_per_px\na.png,0.25\n")
    assert (
        run(tmp_path / "in", "--task", "IVC", "--out", tmp_path / "out", "--mm-per-px", tmp_path / "s.csv")
        == 0
    )
    first, second = rows(tmp_path / "out" / "measurements.csv")
    assert (first["unit"], second["unit"]) == ("mm", "px")
    assert "does not say" in second["reason"]
    assert "measured in pixels" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "nothing.csv"])
def test_a_scale_that_is_none_is_an_error_before_anything_is_done(tmp_path, value, capsys):
    picture(tmp_path / "a.png")
    assert run(tmp_path / "a.png", *CLASSICAL, "--out", tmp_path / "out", "--mm-per-px", value) == 2
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("file,mm_per_px\na.png,nan\n", "line 2"),
        ("file,mm_per_px\na.png,0.1\na.png,0.2\n", "two sizes"),
        ("x,y\n1,2\n", "must have a column"),
    ],
)
def test_a_table_with_nan_or_contradicting_rows_is_an_error_that_says_where(tmp_path, text, what, capsys):
    picture(tmp_path / "a.png")
    (tmp_path / "s.csv").write_text(text)
    assert (
        run(tmp_path / "a.png", *CLASSICAL, "--out", tmp_path / "out", "--mm-per-px", tmp_path / "s.csv") == 2
    )
    assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- bad inputs


def test_bad_files_are_reported_at_the_end_and_do_not_stop_the_others(tmp_path, scripted, capsys):
    folder = tmp_path / "in"
    picture(folder / "good.png")
    picture(folder / "last.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    save(dataset(pattern(), Modality="CT"), folder / "ct.dcm")
    assert run(folder, tmp_path / "missing.png", "--task", "IVC", "--out", tmp_path / "out") == 2
    assert {row["file"] for row in rows(tmp_path / "out" / "keypoints.csv")} == {"good.png", "last.png"}
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed:")]
    assert len(errors) == 4
    for part in (
        "empty.png is an empty file",
        "half.jpg",
        "ct.dcm is a CT, not an ultrasound",
        "missing.png",
    ):
        assert sum(part in line for line in errors) == 1
    assert "empty.png" in (tmp_path / "out" / "provenance.json").read_text()


def test_a_frame_that_cannot_be_decoded_has_empty_rows_and_is_reported(tmp_path, scripted, capsys):
    ds = jpeg_dataset(smooth_colour(3))
    path = save(ds, tmp_path / "c.dcm")
    data = path.read_bytes()
    start = data.rfind(b"\xff\xd8\xff", 0, data.rfind(b"\xff\xd8\xff"))  # of the second frame
    path.write_bytes(data[: start + 20] + bytes(200) + data[start + 220 :])
    assert run(path, "--task", "IVC", "--out", tmp_path / "out") == 2
    points = rows(tmp_path / "out" / "keypoints.csv")
    assert [row["x_px"] != "" for row in points] == [True, True, False, False, True, True]
    first = rows(tmp_path / "out" / "review.csv")[0]
    assert (first["frame"], first["review"]) == ("1", "1.0000")
    assert "frame 1" in first["warnings"]
    assert "frame 1 of c.dcm" in capsys.readouterr().err


def test_a_truncated_cine_is_predicted_as_far_as_it_goes_with_a_warning(tmp_path, scripted, capsys):
    path = save(dataset(pattern(4)), tmp_path / "c.dcm")
    path.write_bytes(path.read_bytes()[:-2000])
    assert run(path, "--task", "IVC", "--out", tmp_path / "out") == 0
    assert len(rows(tmp_path / "out" / "keypoints.csv")) == 4
    assert "2 of its 4 frames are whole" in capsys.readouterr().err


def test_odd_pictures_give_rows_or_a_sentence(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("L", (1, 1), 9).save(folder / "one.png")
    Image.fromarray(pattern()[0].astype(np.uint16) * 200).save(folder / "deep.png")
    Image.new("CMYK", (40, 30), (9, 99, 9, 0)).save(folder / "cmyk.jpg")
    assert run(folder, *CLASSICAL, "--out", tmp_path / "out") == 0
    points = rows(tmp_path / "out" / "keypoints.csv")
    assert {row["file"] for row in points} == {"one.png", "deep.png", "cmyk.jpg"}
    assert len(points) == 12
    assert "found no head" in capsys.readouterr().err


def test_a_ct_alone_is_refused_by_what_it_is_and_nothing_is_written(tmp_path, capsys):
    unnamed = dataset(pattern(), Modality=None)
    unnamed.SOPClassUID = unnamed.file_meta.MediaStorageSOPClassUID = CTImageStorage
    (tmp_path / "ct.nii.gz").write_bytes(b"\x1f\x8b")
    for path, what in (
        (save(dataset(pattern(), Modality="CT"), tmp_path / "ct.dcm"), "is a CT, not an ultrasound"),
        (save(unnamed, tmp_path / "unnamed.dcm"), "is of no stated modality, not an ultrasound"),
        (tmp_path / "ct.nii.gz", "is of an unknown kind"),
    ):
        assert run(path, *CLASSICAL, "--out", tmp_path / "out") == 2
        assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_when_no_file_can_be_read(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"")
    assert run(tmp_path / "a.png", *CLASSICAL, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "empty file" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--task", "head"), "must be one of HC"),
        (("--task", "IVC", "--engine", "classical"), "HC only"),
        (("--task", "HC", "--engine", "classical", "--out", "FILE"), "must be a folder"),
        (("--task", "HC", "--weights", "nothing.safetensors"), "nothing.safetensors"),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(tmp_path, words, what, capsys):
    path = picture(tmp_path / "a.png")
    out = [] if "--out" in words else ["--out", tmp_path / "out"]
    assert run(path, *(str(path) if w == "FILE" else w for w in words), *out) == 2
    assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_ultrasound_is_said_to_be_one(tmp_path, capsys):
    assert run(tmp_path, *CLASSICAL, "--out", tmp_path / "out") == 2
    assert "no ultrasound" in capsys.readouterr().err


def test_an_interrupted_run_leaves_nothing_behind(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "in" / name)

    def stop(fraction, what):
        if fraction > 0.5:
            raise Cancelled

    plan = BatchPlan(TASKS["IVC"], overlay=True)
    with pytest.raises(Cancelled):
        run_batch(collect_sources([tmp_path / "in"]), Scripted(), plan, tmp_path / "out", stop)
    assert {p.name for p in tmp_path.iterdir()} == {"in"}


def test_results_of_an_earlier_run_are_replaced_and_other_files_stay(tmp_path, scripted):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    for number in (1, 2):
        paths = [picture(tmp_path / f"{i}.png") for i in range(number)]
        assert run(*paths, "--task", "IVC", "--out", tmp_path / "out") == 0
        assert len(rows(tmp_path / "out" / "keypoints.csv")) == 2 * number
    assert (tmp_path / "out" / "mine.txt").exists()


def test_nothing_about_the_patient_is_printed_or_written_unless_a_report_is_asked_for(
    tmp_path, scripted, capfd
):
    path = save(dataset(pattern(2), regions=[region()]), tmp_path / "c.dcm")
    bad = save(dataset(pattern(), Modality="MR"), tmp_path / "bad.dcm")
    assert run(path, bad, "--task", "IVC", "--out", tmp_path / "out", "--overlay", "--json") == 2
    said = "".join(capfd.readouterr())
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    written = b"".join(p.read_bytes() for p in files)
    for secret in (PATIENT, "secret-id", "secret-acc", "19700101"):
        assert secret not in said
        assert secret.encode() not in written


# --- real files


def test_the_real_cine_without_a_valid_scale_is_measured_in_pixels_with_the_reason(
    tmp_path, scripted, capsys
):
    path = shared_data("ultrasound_dicom/pydicom_examples_ybr_color.dcm")
    assert run(path, "--task", "A4C", "--out", tmp_path / "out") == 0
    points = rows(tmp_path / "out" / "keypoints.csv")
    assert len(points) == 30 * 16
    assert {row["x_mm"] for row in points} == {""}
    assert "595" in rows(tmp_path / "out" / "measurements.csv")[0]["reason"]
    assert "(30 times)" in capsys.readouterr().err


def test_real_heads_are_measured_by_the_classical_ellipse_and_a_table(tmp_path):
    folder = shared_data("hc18")
    images = [folder / "images" / f"{name}_HC.png" for name in ("010", "100", "200")]
    table = folder / "landmarks.csv"
    assert run(*images, *CLASSICAL, "--out", tmp_path / "out", "--mm-per-px", table) == 0
    truth = {row["filename"]: float(row["head_circumference_mm"]) for row in rows(table)}
    found = [row for row in rows(tmp_path / "out" / "measurements.csv") if row["measurement"] == "HC"]
    errors = [abs(float(row["value"]) - truth[row["file"]]) for row in found]
    assert len(errors) == 3
    assert np.median(errors) < 15
