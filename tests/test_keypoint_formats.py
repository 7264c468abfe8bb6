"""Formats of labelled images: there and back, end points in one order, and a sentence for each bad row."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.draw import ellipse_perimeter

from trifocal.keypoints.ellipse import Ellipse, ellipse_from_axes
from trifocal.keypoints.evaluation.metrics import CaseErrors
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.formats.coco import read_coco, write_coco
from trifocal.keypoints.formats.fu_biometry import (
    read_fu_biometry,
    read_fu_predictions,
    write_fu_biometry,
    write_fu_predictions,
)
from trifocal.keypoints.formats.hc18 import write_hc18
from trifocal.keypoints.formats.hc18_rings import read_hc18_rings
from trifocal.keypoints.formats.table import write_table
from trifocal.keypoints.formats.ucl import read_ucl, ucl_patient, write_ucl
from trifocal.keypoints.tasks import TASKS

SIZE = (120, 90)  # columns, rows
ANATOMIES = {"HC": "Head", "FA": "Abdomen", "fetal_femur": "Femur"}


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 50).save(path)
    return path


def example(folder, task_id, name="a.png", patient="p1", mm=0.25, missing=False):
    """Points that are all different and already in canonical order, on a picture below the folder."""
    task = TASKS[task_id]
    points = task.canonical(np.random.default_rng(len(task_id)).uniform(2, 85, (task.count, 2)).round(2))
    if missing:
        points[0] = np.nan
    path = folder / name
    return Example(path if path.exists() else picture(path), task_id, points, patient, "table", mm)


def same(got, wanted, *, patient=True, scale=True):
    assert [e.task_id for e in got] == [e.task_id for e in wanted]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one.points, other.points, atol=6e-3)
        assert one.path == other.path
        assert not patient or one.patient == other.patient
        assert not scale or one.mm_per_px == pytest.approx(other.mm_per_px)


def table(path, header, *rows, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


# There and back


def test_our_own_table_and_coco_keep_every_task_and_missing_points(tmp_path) -> None:
    wanted = [example(tmp_path, task, f"{task}.png", missing=task != "AOP") for task in TASKS]
    write_table(wanted, tmp_path / "points.csv")
    same(read_examples(tmp_path), wanted)
    write_coco(wanted, tmp_path / "coco.json")
    same(read_examples(tmp_path / "coco.json"), wanted)


def test_fu_biometry_keeps_every_task_and_missing_points(tmp_path) -> None:
    wanted = [example(tmp_path, task, f"images/{task}/1.png", missing=True) for task in TASKS]
    files = write_fu_biometry(wanted, tmp_path)
    assert {f.name for f in files} >= {"A4C_train.csv", "Reg-Two_3.fetal_femur.csv"}
    got = sorted(read_examples(tmp_path), key=lambda e: list(TASKS).index(e.task_id))
    same(got, wanted, patient=False, scale=False)


def test_hc18_and_the_multi_centre_tables_keep_heads(tmp_path) -> None:
    heads = [example(tmp_path, "HC", f"images/{n}_HC.png", patient=str(n)) for n in (1, 2)]
    write_hc18(heads, tmp_path / "landmarks.csv")
    same(read_examples(tmp_path), heads)
    others = [example(tmp_path, task, f"images/{task}.png") for task in ("FA", "fetal_femur")]
    for path in write_ucl([*heads, *others], tmp_path / "annotations"):
        same(read_examples(path), [e for e in [*heads, *others] if path.stem == ANATOMIES[e.task_id]])


def test_predictions_are_flat_lists_and_come_back_as_a_teachers_answers(tmp_path) -> None:
    wanted = [example(tmp_path, task, f"{task}/1.png") for task in ("HC", "IVC")]
    write_fu_predictions(wanted, tmp_path / "predictions.json")
    items = json.loads((tmp_path / "predictions.json").read_text())
    assert len(items[0]["predicted_points_pixels"]) == 8
    x, width = items[0]["predicted_points_pixels"][0], SIZE[0]
    assert items[0]["predicted_points_normalized"][0] == pytest.approx(x / width, abs=1e-5)
    got = read_examples(tmp_path / "predictions.json")
    same(got, wanted, patient=False, scale=False)
    assert {e.source for e in got} == {"pseudo"}


# What the public files look like


def test_a_gbk_table_with_chinese_headers_is_the_four_chamber_view(tmp_path) -> None:
    wanted = example(tmp_path, "A4C", "images/A4C/study1_frame3.png")
    axes = [f"{chamber}_{axis}" for chamber in ("LV", "RV", "LA", "RA") for axis in ("上下", "左右")]
    names = [f"{axis}_p{end}_xy" for axis in axes for end in (1, 2)]
    cells = [f'"[{x}, {y}]"' for x, y in wanted.points]
    order = [*range(8, 16), *range(8)]  # columns are found by their names, not by their places
    path = table(
        tmp_path / "csv" / "A4C_train.csv",
        ",".join(["file_path", *(names[i] for i in order)]),
        ",".join(["A4C/study1_frame3.png", *(cells[i] for i in order)]),
        encoding="gbk",
    )
    (got,) = read_fu_biometry(path)
    same([got], [wanted], patient=False, scale=False)
    assert got.patient == "study1"
    assert got.source == "fu_biometry"


def test_named_cardiac_columns_are_found_by_the_folders_name(tmp_path) -> None:
    short = ("LV", "RV", "IVS", "LVPW", "VAO", "STJ", "AAO", "AV", "LVOT", "LA", "RVOT")
    wanted = example(tmp_path, "PLAX", "PLAX/labeled/PLAX/7-12.png")
    header = ",".join(["image_path", *(f"{name}_p{end}_xy" for name in short for end in (1, 2))])
    row = ",".join(["PLAX/7-12.png", *(f'"[{x}, {y}]"' for x, y in wanted.points)])
    (got,) = read_examples(table(tmp_path / "PLAX" / "labeled" / "train.csv", header, row))
    same([got], [wanted], patient=False, scale=False)
    assert got.patient == "7"


def test_the_newer_abdomen_table_stands_for_the_older_one(tmp_path) -> None:
    picture(tmp_path / "1.png")
    header = "image_path,task_id,point_1_xy,point_2_xy,point_3_xy,point_4_xy"
    row = '1.png,FA,"[50, 10]","[50, 80]","[90, 40]","[10, 40]"'
    table(tmp_path / "FA_train_new.csv", header, row)
    table(tmp_path / "FA_train.csv", header, row.replace("10]", "12]"))
    (got,) = read_examples(tmp_path)
    assert got.points[0, 1] == 10.0


def test_ends_in_any_order_are_one_example(tmp_path) -> None:
    truth = example(tmp_path, "HC", "images/a.png")
    (path,) = write_ucl([truth], tmp_path)
    swapped = path.read_text().replace("ofd_1", "ofd_x").replace("ofd_2", "ofd_1").replace("ofd_x", "ofd_2")
    path.write_text(swapped)
    (got,) = read_ucl(path)
    same([got], [truth])


def test_naive_errors_of_exchanged_ends_vanish_in_canonical_order(tmp_path) -> None:
    # The multi-centre example: 140 px when ends are compared as they stand, 1.48 px as they should be.
    ends = np.array([[100.0, 200.0], [101.0, 60.0], [30.0, 130.0], [170.0, 131.0]])
    swapped = ends[[1, 0, 3, 2]] + [1.48, 0.0]
    picture(tmp_path / "a.png", (220, 220))
    header = "image_name,bpd_1_x,bpd_1_y,bpd_2_x,bpd_2_y,ofd_1_x,ofd_1_y,ofd_2_x,ofd_2_y,px_to_mm_rate"
    one, other = (
        read_ucl(table(tmp_path / name, header, f"a.png,{','.join(map(str, points.ravel()))},0.1"))[0]
        for name, points in (("Head.csv", ends), ("Head_other.csv", swapped))
    )
    assert np.linalg.norm(ends - swapped, axis=1).mean() > 139
    errors = CaseErrors.of(TASKS["HC"], other.points, one.points, (220, 220), 0.1)
    assert errors.mre_canonical_px == pytest.approx(1.48)
    assert errors.mre_mm == pytest.approx(0.148)


@pytest.mark.parametrize(
    ("stem", "patient"),
    [("Patient00757_Plane3_1_of_2", "Patient00757"), ("055_2HC", "055"), ("055_HC", "055"), ("x1", "x1")],
)
def test_patients_are_read_off_file_names(stem: str, patient: str) -> None:
    assert ucl_patient(stem) == patient


def ring_set(folder, length_mm=None, border=False):
    """HC18's own files: a drawn ring, perhaps cut off by the border, and its circumference."""
    head = Ellipse((60.0, 28.0 if border else 45.0), (40.0, 31.0), 0.0)
    picture(folder / "training_set" / "003_2HC.png")
    ring = np.zeros(SIZE[::-1], np.uint8)
    rows, columns = ellipse_perimeter(round(head.center[1]), 60, 31, 40, shape=ring.shape)
    ring[rows, columns] = 255
    Image.fromarray(ring).save(folder / "training_set" / "003_2HC_Annotation.png")
    length = head.perimeter * 0.3 if length_mm is None else length_mm
    return head, table(
        folder / "training_set_pixel_size_and_HC.csv",
        "filename,pixel size(mm),head circumference (mm)",
        f"003_2HC.png,0.3,{length}",
    )


@pytest.mark.parametrize("border", [False, True], ids=["whole", "cut off by the border"])
def test_the_published_hc18_gives_the_axes_of_the_drawn_ring(tmp_path, border: bool) -> None:
    head, _ = ring_set(tmp_path, border=border)
    (got,) = read_examples(tmp_path)
    found = ellipse_from_axes(got.points)
    assert found.perimeter == pytest.approx(head.perimeter, rel=0.01)
    assert found.center == pytest.approx(head.center, abs=0.5)
    assert (got.patient, got.mm_per_px, got.source) == ("003", 0.3, "hc18")


def test_a_ring_that_is_not_as_long_as_the_table_says_is_refused(tmp_path) -> None:
    _, path = ring_set(tmp_path, length_mm=100.0)
    with pytest.raises(ValueError, match=r"line 2: the ring must be as long as the table says, 100\.0"):
        read_hc18_rings(path)


# Bad rows

FU = "image_path,task_id,point_1_xy,point_2_xy"
GOOD = '1.png,IVC,"[10, 20]","[10, 40]"'


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([GOOD, '1.png,IVC,"[nan, 20]","[10, 40]"'], "line 3: IVC of 1.png is there twice"),
        (['1.png,IVC,"[nan, 20]","[10, 40]"'], r"line 2: point_1_xy must be two finite numbers \[x, y\]"),
        (['1.png,IVC,"[10 20]","[10, 40]"'], "line 2: point_1_xy must be two finite numbers"),
        (['1.png,IVD,"[10, 20]","[10, 40]"'], "line 2: the task must be one of HC, FA"),
        (['1.png,HC,"[10, 20]","[10, 40]"'], "line 2: HC must have 4 points, got point_1_xy, point_2_xy"),
        (['2.png,IVC,"[10, 20]","[10, 40]"'], "line 2: there is no image 2.png"),
        (['1.png,IVC,"[10, 20]","[10, 140]"'], "line 2: point 2 must lie on the image of 120 x 90 pixels"),
        ([',IVC,"[10, 20]","[10, 40]"'], "line 2: the column image_path must not be empty"),
        (['1.png,,"[10, 20]","[10, 40]"'], "line 2: the task must be in a column task_id or in the name"),
    ],
    ids=["twice", "NaN", "no comma", "task", "too few", "no image", "outside", "no name", "no task"],
)
def test_each_bad_row_is_one_sentence_with_its_line(tmp_path, rows, said: str) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(ValueError, match=said):
        read_examples(table(tmp_path / "labels.csv", FU, *rows))


OWN = "file,patient,task,point,x_px,y_px"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["1.png,p,IVC,IVC diameter 1,nan,20"], "line 2: x_px must be a finite number, got 'nan'"),
        (["1.png,p,IVC,IVC diameter 1,10,"], "line 2: the column y_px must not be empty"),
        (
            ["1.png,p,IVC,IVC diameter 1,10,20"] * 2,
            "line 3: the point IVC diameter 1 of 1.png is there twice",
        ),
        (["1.png,p,IVD,IVC diameter 1,10,20"], "line 2: the task must be one of HC, FA"),
    ],
    ids=["NaN", "half a point", "twice", "task"],
)
def test_each_bad_row_of_our_own_table_is_one_sentence_with_its_line(tmp_path, rows, said: str) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(ValueError, match=said):
        read_examples(table(tmp_path / "points.csv", OWN, *rows))


def test_a_picture_of_no_bytes_is_refused_with_the_line(tmp_path) -> None:
    (tmp_path / "1.png").touch()
    with pytest.raises(ValueError, match=r"line 2: 1.png must be an image that can be read"):
        read_examples(table(tmp_path / "labels.csv", FU, GOOD))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"category_id": 9}, "annotation 1: image 1 and category 9 must be in the file's lists"),
        ({"keypoints": [1, 2, 2]}, "annotation 1: keypoints of IVC must be 6 finite numbers, got 3"),
        ({"keypoints": [1, 2, 2, float("nan"), 4, 2]}, "annotation 1: keypoints of IVC must be 6 finite"),
        ({"keypoints": [1, 2, 2, 500, 4, 2]}, "annotation 1: point 2 must lie on the image"),
    ],
)
def test_each_bad_annotation_is_one_sentence_with_its_number(tmp_path, change, said: str) -> None:
    write_coco([example(tmp_path, "IVC")], tmp_path / "coco.json")
    data = json.loads((tmp_path / "coco.json").read_text())
    data["annotations"][0] |= change
    (tmp_path / "coco.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=said):
        read_coco(tmp_path / "coco.json")


def test_coco_keypoints_in_another_order_are_found_by_name(tmp_path) -> None:
    wanted = example(tmp_path, "AOP")
    write_coco([wanted], tmp_path / "coco.json")
    data = json.loads((tmp_path / "coco.json").read_text())
    data["categories"][0]["keypoints"].reverse()
    triples = np.reshape(data["annotations"][0]["keypoints"], (4, 3))
    data["annotations"][0]["keypoints"] = triples[::-1].ravel().tolist()
    (tmp_path / "coco.json").write_text(json.dumps(data))
    same(read_coco(tmp_path / "coco.json"), [wanted])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"task_id": "IVC"}, "item 1: 'image_path' is missing"),
        ({"task_id": "IVC", "image_path": "no.png"}, "item 1: there is no image no.png"),
        (
            {"task_id": "IVC", "image_path": "1.png", "predicted_points_pixels": [1]},
            "item 1: IVC must have 4 numbers",
        ),
        (7, "item 1: a prediction must be an object, got int"),
    ],
)
def test_each_bad_prediction_is_one_sentence_with_its_number(tmp_path, item, said: str) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "p.json").write_text(json.dumps([item]))
    with pytest.raises(ValueError, match=said):
        read_fu_predictions(tmp_path / "p.json")


def test_unknown_tables_are_refused_with_those_that_are_known(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        read_examples(tmp_path / "nowhere")
    table(tmp_path / "other.csv", "a,b", "1,2")
    for path in (tmp_path, tmp_path / "other.csv"):
        with pytest.raises(ValueError, match=r"points.csv, landmarks.csv"):
            read_examples(path)


def test_what_a_format_cannot_say_is_refused(tmp_path) -> None:
    lacking = example(tmp_path, "HC", missing=True)
    with pytest.raises(ValueError, match="all its points"):
        write_ucl([lacking], tmp_path)
    with pytest.raises(ValueError, match="all points"):
        write_fu_predictions([lacking], tmp_path / "p.json")
    with pytest.raises(ValueError, match="must be one of HC, FA, fetal_femur, got IVC"):
        write_ucl([example(tmp_path, "IVC")], tmp_path)
    assert not (tmp_path / "Head.csv").exists()
