"""The model behind the keypoints widget, without a window: the test is the interface thread."""

import csv
import json
import queue
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tyro
from PIL import Image
from pydicom.data import get_testdata_file

from napari_trifocal.array_reel import reel_of_array
from napari_trifocal.keypoints_curve import Curve
from napari_trifocal.keypoints_export import Export, ExportPlan, command_line
from napari_trifocal.keypoints_jobs import nearest
from napari_trifocal.keypoints_layers import outline_of, placed, stack
from napari_trifocal.keypoints_names import HEIGHT, LETTER, NamePlaces
from napari_trifocal.keypoints_session import KeypointsSession
from napari_trifocal.layers import to_layers
from napari_trifocal.reel import Clip, Reel, open_reel, shows_frames, task_named
from napari_trifocal.sample import HC_SEED, hc_reel
from trifocal.cine import Cine
from trifocal.cli.keypoints import PredictKeypoints
from trifocal.image import ImageError
from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.tasks import TASKS
from ultrasound import SIZE, DiscEngine, cine, picture, reel


class Bench:
    def __init__(self):
        self.calls = queue.Queue()
        self.engine, self.loads = DiscEngine(), []
        self.session = KeypointsSession(self.calls.put, "cpu", self.load)
        self.said, self.arrived = [], []
        self.session.said.connect(self.said.append)
        self.session.predicting.arrived.connect(self.arrived.append)

    def load(self, checkpoint, device):
        self.loads.append((checkpoint, device))
        return self.engine

    def pump(self, until=lambda: False):
        while self.session.busy and not until():
            self.calls.get(timeout=60)()

    def values(self):
        return {m.name: m for m in self.session.measurements}


@pytest.fixture
def bench():
    made = Bench()
    made.session.show(reel())
    made.said.clear()
    yield made
    made.session.close()


def predicted(bench, extent="file"):
    bench.session.predicting.start(extent)
    bench.pump()
    return bench


def place_all(session, points):
    session.modes.choose("place")
    for point in points:
        session.place(point)


CROSS = [[60, 20], [60, 60], [30, 40], [90, 40]]  # 40 and 60 pixels


def test_points_placed_by_hand_measure_in_millimetres_without_any_engine(bench):
    place_all(bench.session, CROSS)

    values = bench.values()
    assert (values["BPD"].value, values["BPD"].unit) == (pytest.approx(20.0), "mm")
    assert values["OFD"].value == pytest.approx(30.0)
    assert values["CI"].value == pytest.approx(100 * 40 / 60)
    assert bench.loads == []
    assert bench.session.marks.edited.all()


def test_clicks_place_the_missing_points_by_name_and_then_say_that_none_is_missing(bench):
    session, names = bench.session, []
    session.modes.choose("place")
    while session.next_to_place is not None:
        names.append(session.task.points[session.next_to_place])
        session.place((10 * len(names), 20))

    session.place((1, 1))

    assert names == ["BPD 1", "BPD 2", "OFD 1", "OFD 2"]
    assert "all points are placed" in bench.said[-1].text
    assert not session.marks.missing.size


def test_the_chosen_missing_point_is_placed_first(bench):
    bench.session.modes.choose("place")
    bench.session.modes.select(2)
    bench.session.place((7, 8))

    assert bench.session.marks.points[2].tolist() == [7, 8]
    assert bench.session.marks.missing.tolist() == [0, 1, 3]


def test_a_drag_is_one_step_of_the_history_and_changes_the_numbers_with_every_move(bench):
    session, seen = bench.session, []
    place_all(session, CROSS)
    session.marks_changed.connect(lambda: seen.append(bench.values()["BPD"].value))
    session.begin_drag(0)
    for y in (18, 16, 14):
        session.drag_to(0, (60, y))
    session.end_drag()

    assert seen[:3] == pytest.approx([21.0, 22.0, 23.0])
    session.undo()
    assert bench.values()["BPD"].value == pytest.approx(20.0)
    session.redo()
    assert bench.values()["BPD"].value == pytest.approx(23.0)


def test_a_click_without_a_move_is_no_step(bench):
    bench.session.begin_drag(0)
    bench.session.end_drag()

    assert not bench.session.sheet.can_undo
    assert bench.session.modes.selected == 0


def test_a_point_stays_inside_its_frame(bench):
    bench.session.drag_to(0, (1e4, -50))

    assert bench.session.marks.points[0].tolist() == [SIZE[0] - 0.5, -0.5]


def test_a_deleted_point_is_missing_with_its_measurements_and_comes_back(bench):
    session = bench.session
    place_all(session, CROSS)
    session.delete(1)

    assert np.isnan(session.marks.points[1]).all()
    assert bench.values()["BPD"].value is None
    assert "BPD 2" in bench.values()["BPD"].reason
    assert bench.values()["OFD"].value == pytest.approx(30.0)
    session.undo()
    assert bench.values()["BPD"].value == pytest.approx(20.0)


def test_undo_shows_the_frame_that_it_changes(bench):
    session = bench.session
    session.drag_to(0, (5, 5))
    session.set_step(3)
    session.undo()

    assert session.step == 0
    assert session.marks.missing.size == 4


def test_the_frame_that_is_looked_at_is_predicted_first_and_then_its_neighbours(bench):
    bench.session.set_step(3)
    predicted(bench)

    assert bench.arrived == [3, 4, 2, 1, 0]
    assert bench.session.marks.predicted[:, 0].max() == pytest.approx(73.0)
    assert set(bench.engine.seen) == {"trifocal-keypoints"}
    assert bench.loads == [("keypoints", "cpu")]


def test_where_the_user_looks_meanwhile_comes_next():
    assert nearest({0, 1, 5, 9}, 6) == 5
    assert nearest({4, 8}, 6) == 8  # time goes on
    assert nearest({2}, 100) == 2


def test_predictions_lie_beneath_edits_and_are_kept(bench):
    session = bench.session
    session.drag_to(0, (11, 12))
    predicted(bench, "frame")

    assert session.marks.points[0].tolist() == [11, 12]
    assert session.marks.edited.tolist() == [True, False, False, False]
    assert np.isnan(session.marks.scores[0])
    assert session.marks.scores[1] == pytest.approx(0.9)
    session.reset()
    assert session.marks.points[0].tolist() == [50, 25]
    session.undo()  # the reset
    assert session.marks.points[0].tolist() == [11, 12]
    session.undo()  # the edit: the prediction that came since stays
    assert session.marks.points[0].tolist() == [50, 25]


def test_the_fitted_ellipse_gives_way_to_the_points_once_they_are_edited(bench):
    session = predicted(bench, "frame").session
    fitted = session.book.ellipse(session.task, 0)
    assert fitted is session.marks.prediction.ellipse
    session.drag_to(3, (90, 45))

    edited = session.book.ellipse(session.task, 0)
    assert edited.semi_axes[0] == pytest.approx(30.0)
    assert bench.values()["HC"].value == pytest.approx(edited.perimeter * 0.5)
    session.delete(0)
    assert session.book.ellipse(session.task, 0) is None


def test_an_edit_is_carried_by_its_displacement_where_there_is_a_prediction_and_by_its_place_elsewhere(bench):
    session = bench.session
    session.set_step(1)
    for step in (1, 2):
        session.set_step(step)
        predicted(bench, "frame")
    session.set_step(1)
    session.drag_to(0, session.marks.points[0] + [4, -3])
    session.carry()

    before = session.sheet[2].predicted[0]
    assert session.sheet[2].points[0] == pytest.approx(before + [4, -3])
    assert session.sheet[2].edited.tolist() == [True, False, False, False]
    assert session.sheet[3].points[0] == pytest.approx(session.sheet[1].points[0])
    assert session.sheet[0].missing.size == 4
    session.undo()
    assert not session.sheet[2].edited.any()
    assert session.sheet[1].edited.any()


def test_carrying_leaves_what_was_edited_there_and_takes_a_number_of_frames(bench):
    session = bench.session
    session.set_step(2)
    session.drag_to(0, (1, 1))
    session.set_step(1)
    session.drag_to(0, (9, 9))
    session.carry(2)

    assert session.sheet[2].points[0].tolist() == [1, 1]
    assert session.sheet[3].points[0].tolist() == [9, 9]
    assert session.sheet[4].missing.size == 4


def test_nothing_to_carry_is_said(bench):
    bench.session.carry()

    assert bench.said[-1].is_error


def test_frames_that_deserve_a_second_look_come_by_how_much(bench):
    session = predicted(bench).session  # the engine doubts the later frames more
    visited = []
    for _ in range(5):
        session.look_again(1)
        visited.append(session.step)

    assert session.sheet.review_queue == [4, 3, 2, 1, 0]
    assert visited == [4, 3, 2, 1, 0]
    session.look_again(-1)
    assert session.step == 1


def test_a_bad_frame_is_reported_and_does_not_stop_the_others(bench):
    frames = [picture(), np.zeros_like(picture()), picture()]
    bench.session.show(Reel([Clip.of(Cine(frames, SIZE, "gap.avi"))], "gap.avi"))
    predicted(bench)

    assert sorted(bench.arrived) == [0, 2]
    assert bench.said[-1].is_error
    assert "gap.avi frame 1: there is no disc" in bench.said[-1].text
    assert "predicted 2 of 3" in bench.said[-1].text


def test_an_engine_that_cannot_be_loaded_leaves_the_hand(bench, monkeypatch):
    def refuse(checkpoint, device):
        raise ValueError("there are no weights")

    bench.session.predicting._engines._load = refuse
    predicted(bench)
    place_all(bench.session, CROSS)

    assert "there are no weights" in bench.said[0].text
    assert "by hand" in bench.said[0].text
    assert bench.values()["BPD"].value == pytest.approx(20.0)


def test_cancelling_keeps_what_has_come_and_drops_what_comes_late(bench):
    session = bench.session
    session.predicting.start("file")
    bench.pump(until=lambda: len(bench.arrived) == 2)
    session.cancel()
    bench.pump()

    assert len(bench.arrived) == 2
    assert len(session.sheet.steps) == 2
    assert "cancelled: 2 of 5" in bench.said[-1].text
    assert not session.predicting.running


def test_another_task_drops_the_predictions_that_were_asked_for_and_keeps_the_points(bench):
    session = bench.session
    bench.engine.gate.clear()
    session.drag_to(0, (5, 6))
    session.predicting.start("file")
    session.set_task("IVC")
    bench.engine.gate.set()
    bench.pump()

    assert session.sheet.steps == []
    assert session.marks.points.shape == (2, 2)
    session.set_task("HC")
    assert session.marks.points[0].tolist() == [5, 6]
    assert session.sheet.steps == [0]


def test_tta_device_and_scale_reach_the_engine(bench):
    bench.session.predicting.choose("classical", "cpu", tta=True)
    predicted(bench, "frame")

    assert bench.loads == [("classical", "cpu")]
    assert bench.engine.inputs[0].tta
    assert bench.engine.inputs[0].mm_per_px == (0.5, 0.5)


def test_heat_maps_of_long_cines_do_not_pile_up(bench):
    bench.session.show(reel(40))
    predicted(bench)
    heats = [step for step in range(40) if bench.session.sheet[step].prediction.heat is not None]

    assert len(bench.session.sheet.review_queue) == 40
    assert heats == list(range(8, 40))


def test_without_a_scale_there_are_pixels_and_the_reason(bench):
    bench.session.show(reel(mm_per_px=None))
    place_all(bench.session, CROSS)
    value = bench.values()["BPD"]

    assert (value.value, value.unit) == (pytest.approx(40.0), "px")
    assert "does not say" in value.reason
    said, known = bench.session.book.scales.said(0, bench.session.marks.points)
    assert not known
    assert "does not say" in said


def test_a_known_distance_gives_millimetres_and_is_forgotten_again(bench):
    session = bench.session
    session.show(reel(mm_per_px=None))
    place_all(session, CROSS)
    assert not session.set_known_distance(10.0)
    session.modes.choose("ruler")
    session.modes.measure_from((0, 0))
    session.modes.measure_from((30, 40))

    assert session.modes.mode == "move"
    assert session.set_known_distance(25.0)
    assert bench.values()["BPD"].value == pytest.approx(20.0)
    assert "known distance" in session.book.scales.said(0, session.marks.points)[0]
    session.drop_scale()
    assert bench.values()["BPD"].unit == "px"


def test_a_known_distance_of_nothing_is_refused(bench):
    for at in ((3, 3), (3, 3)):
        bench.session.modes.measure_from(at)

    assert not bench.session.set_known_distance(5.0)
    assert bench.said[-1].is_error


@pytest.fixture
def folder(tmp_path):
    for i, size in ((10, (80, 60)), (2, (100, 50))):
        Image.fromarray(picture((30.0, 25.0), 10, size)).save(tmp_path / f"{i}_HC.png")
    (tmp_path / "9_HC.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not a picture either")
    return tmp_path


def test_a_folder_is_a_list_of_pictures_in_the_order_of_their_numbers(bench, folder):
    session = bench.session
    session.open([folder])
    bench.pump()
    names = [clip.name for clip in session.reel.clips]

    assert names == ["2_HC.png", "10_HC.png"]
    assert session.reel.size == (100, 60)
    assert "9_HC.png" in bench.said[-1].text
    assert bench.said[-1].is_error
    assert session.task.id == "HC"
    session.go_to_clip(1)
    assert session.step == 1
    assert session.clip.name == "10_HC.png"
    assert session.reel.frame(1).shape == (60, 80)
    assert session.reel.picture(1).shape == (60, 100)
    assert not session.reel.picture(1)[:, 80:].any()


def test_all_files_of_a_folder_are_predicted_and_each_has_its_own_scale(bench, folder, tmp_path):
    table = tmp_path / "scales.csv"
    table.write_text("file,mm_per_px\n2_HC.png,0.1\n10_HC.png,0.2\n")
    session = bench.session
    session.open([folder])
    bench.pump()
    predicted(bench, "all")
    assert session.set_scale_table(table)

    assert session.sheet.steps == [0, 1]
    assert [session.book.measurements(session.task, step)[0].value for step in (0, 1)] == pytest.approx(
        [2.0, 4.0]
    )


def test_reopening_a_file_finds_its_points_again(bench, folder):
    session = bench.session
    session.open([folder / "2_HC.png"])
    bench.pump()
    session.drag_to(0, (3, 4))
    session.show(reel())
    session.open([folder / "2_HC.png"])
    bench.pump()

    assert session.marks.points[0].tolist() == [3, 4]


def test_a_file_that_cannot_be_read_leaves_everything_as_it_is(bench, folder):
    before = bench.session.book
    bench.session.open([folder / "9_HC.png"])
    bench.pump()

    assert bench.session.book is before
    assert bench.said[-1].is_error
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        open_reel([folder / "nowhere.png"])
    with pytest.raises(ImageError, match="got none"):
        (folder / "empty").mkdir()
        open_reel([folder / "empty"])


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("010_2HC.png", "HC"),
        ("images/FUGC/7.png", "FUGC"),
        ("fetal_femur/001.png", "fetal_femur"),
        ("echo a4c.avi", "A4C"),
        ("FACE.png", None),
        ("HC or FA.png", None),
    ],
)
def test_the_task_is_the_one_that_the_name_says(path, task):
    found = task_named(Path(path))

    assert (found and found.id) == task


def test_the_curve_has_a_value_for_each_frame_that_has_points_and_marks_the_extremes(bench):
    bench.session.show(reel(7, "IVC", radii=[20, 22, 24, 21, 18, 16, 19]))
    predicted(bench)
    bench.session.set_step(2)
    bench.session.delete(0)
    book, task = bench.session.book, bench.session.task

    curve = Curve.of(book, task, 0, "IVC diameter")
    assert curve.values[[0, 1, 3]] == pytest.approx([20.0, 22.0, 21.0])
    assert np.isnan(curve.values[2])
    assert curve.edited.tolist() == [False, False, True, False, False, False, False]
    assert [label for _, label in curve.extremes] == ["largest", "smallest"]
    assert curve.x_unit == "s"
    assert curve.x[-1] == pytest.approx(0.3)
    assert any("collapsibility" in said for said in curve.said)
    assert any("1 of 7 frames" in said for said in curve.said)


def test_a_curve_of_any_measurement_has_its_largest_and_smallest_value(bench):
    predicted(bench)
    bench.session.set_step(3)
    bench.session.drag_to(0, (53, 10))
    curve = Curve.of(bench.session.book, TASKS["HC"], 0, "BPD")

    assert curve.extremes[0] == (3, "max")
    assert Curve.of(bench.session.book, TASKS["HC"], 0, "GA (BPD)").unit == "weeks"


def test_a_still_picture_has_no_curve(bench):
    bench.session.show(reel(1))

    assert Curve.of(bench.session.book, TASKS["HC"], 0, "BPD") is None


def test_frames_lie_on_pixels_and_are_decoded_when_they_are_looked_at():
    asked = []

    class Frames:
        def __len__(self):
            return 2000

        def __getitem__(self, index):
            asked.append(index)
            return np.full((4, 6), index % 256, np.uint8)

    ((data, look, kind),) = to_layers(Cine(Frames(), (6, 4), "long"))
    asked.clear()

    assert (kind, data.shape, look["rgb"]) == ("image", (2000, 4, 6), False)
    assert "scale" not in look
    assert "affine" not in look
    assert np.asarray(data[300]).tolist() == np.full((4, 6), 300 % 256).tolist()
    assert asked == [300]


def test_a_colour_clip_makes_the_reel_colour_and_a_still_is_a_flat_picture():
    colour = np.zeros((90, 120, 3), np.uint8)
    colour[..., 0] = 7
    mixed = Reel([Clip.of(cine(2)), Clip.of(Cine([colour], SIZE, "red"))], "both")

    assert stack(mixed).shape == (3, 90, 120, 3)
    assert np.asarray(stack(mixed)[2])[0, 0].tolist() == [7, 0, 0]
    assert (np.diff(np.asarray(stack(mixed)[0]), axis=-1) == 0).all()
    assert to_layers(reel(1))[0][0].shape == (90, 120)
    assert mixed.locate(2) == (1, 0)
    with pytest.raises(IndexError, match="from 0 to 2"):
        mixed.locate(3)


def test_an_array_of_another_reader_becomes_a_reel_by_its_contrast_limits():
    deep = reel_of_array(np.array([[0.0, 500.0], [1000.0, np.nan]]), "deep", limits=(0.0, 1000.0))
    colour = reel_of_array(np.full((3, 4, 5, 4), 9, np.uint8), "rgba", rgb=True)

    assert deep.frame(0).tolist() == [[0, 128], [255, 0]]
    assert (len(colour), colour.frame(2).shape) == (3, (4, 5, 3))
    with pytest.raises(ImageError, match="2 or 3"):
        reel_of_array(np.zeros((2, 2, 2, 2)), "4-D")


def test_missing_points_are_not_shown_and_the_others_are_rows_and_columns(bench):
    bench.session.drag_to(1, (30, 20))
    data, there = placed(bench.session.marks)

    assert there.tolist() == [False, True, False, False]
    assert data[1].tolist() == [20, 30]
    assert np.isfinite(data).all()


def test_the_outline_closes():
    lines = outline_of(Ellipse((10.0, 20.0), (8.0, 5.0), 30.0))

    assert lines[:, 0] + lines[:, 1] == pytest.approx(np.roll(lines[:, 0], -1, axis=0))


def test_names_stand_clear_of_each_other_and_stay_inside_the_picture():
    points = np.array([[100.0, 100], [104, 103], [108, 100], [380, 5], [np.nan, np.nan], [50, 50]])
    names = ["BPD 1", "BPD 2", "OFD 1", "aortic annulus", "missing", ""]
    bounds = np.array([[0.0, 0.0], [400.0, 300.0]])
    found = NamePlaces().find(points, names, bounds)

    assert np.isnan(found[4:]).all()
    half = np.array([[LETTER * len(name), HEIGHT] for name in names[:4]]) / 2
    low, high = found[:4] - half, found[:4] + half
    assert (low >= 0).all()
    assert (high <= bounds[1]).all()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (np.minimum(high[i], high[j]) - np.maximum(low[i], low[j])).min() <= 0


def test_a_name_keeps_its_side_while_its_point_is_dragged():
    places = NamePlaces()
    bounds = np.array([[0.0, 0.0], [400.0, 300.0]])
    sides = []
    for y in range(100, 140, 4):
        points = np.array([[100.0, y], [100.0, 108.0]])
        sides.append(places.find(points, ["LV", "RV"], bounds)[1] - points[1])

    assert len({tuple(np.sign(side)) for side in sides}) <= 2


def test_a_folder_of_dicom_is_a_volume_unless_it_is_ultrasound(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert shows_frames(tmp_path)
    assert shows_frames(tmp_path / "a.png")
    assert not shows_frames(tmp_path / "none")
    (tmp_path / "ct.dcm").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    assert not shows_frames(tmp_path)
    assert not shows_frames(tmp_path / "ct.dcm")
    header = pydicom.dcmread(tmp_path / "ct.dcm", stop_before_pixels=True)
    header.Modality = "US"
    header.save_as(tmp_path / "ct.dcm")
    assert shows_frames(tmp_path)
    (tmp_path / "ct.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    assert not shows_frames(tmp_path / "ct.dcm")


def test_the_session_imports_no_gui():
    blocked = ("qtpy", "superqt", "magicgui", "vispy", "PyQt6", "PySide6", "napari")
    code = f"import sys\nfor m in {blocked!r}: sys.modules[m] = None\n"
    code += (
        "import napari_trifocal.keypoints_session, napari_trifocal.keypoints_curve, napari_trifocal.reader\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stderr


def exported(bench, folder, plan=None):
    export = Export.of(bench.session.book, plan or ExportPlan())
    return export, export.write(folder)


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_frame_of_a_file_with_points_is_exported_and_missing_points_are_empty_cells(bench, tmp_path):
    session = predicted(bench, "frame").session
    session.drag_to(0, (51, 24))
    session.delete(3)
    exported(bench, tmp_path / "out", ExportPlan(predictions=True))

    points = rows(tmp_path / "out" / "keypoints.csv")
    assert len(points) == 5 * 4
    assert [p["point"] for p in points[:4]] == list(session.task.points)
    assert [p["edited"] for p in points[:4]] == ["1", "0", "0", "1"]
    assert (float(points[0]["x_px"]), float(points[0]["x_mm"])) == (51.0, 25.5)
    assert points[0]["score"] == ""
    assert float(points[1]["score"]) == pytest.approx(0.9)
    assert points[1]["weights_sha256"] == "0" * 64
    assert points[3]["x_px"] == points[4]["x_px"] == ""
    measured = {(m["frame"], m["measurement"]): m for m in rows(tmp_path / "out" / "measurements.csv")}
    assert float(measured["0", "BPD"]["value"]) == pytest.approx(bench.values()["BPD"].value, abs=1e-3)
    assert measured["0", "OFD"]["value"] == ""
    assert "missing" in measured["0", "OFD"]["reason"]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())[0]["task_id"] == "HC"
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["inputs"][0]["frames_with_points"] == 1
    assert record["warnings"] == ["it has only ever seen discs"]


def test_ends_that_were_dragged_past_each_other_are_exported_in_their_order(bench, tmp_path):
    place_all(bench.session, [CROSS[1], CROSS[0], *CROSS[2:]])
    exported(bench, tmp_path / "out")

    points = rows(tmp_path / "out" / "keypoints.csv")
    assert [float(p["y_px"]) for p in points[:2]] == [20.0, 60.0]


def test_pictures_and_the_numbers_of_a_whole_cine_are_exported(bench, tmp_path):
    bench.session.show(reel(6, "IVC", radii=[20, 22, 24, 21, 18, 16]))
    predicted(bench)
    exported(bench, tmp_path / "out", ExportPlan(overlays=True))

    whole = [m for m in rows(tmp_path / "out" / "measurements.csv") if m["frame"] == ""]
    assert "IVC collapsibility" in {m["measurement"] for m in whole}
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 6
    assert [r["frame"] for r in rows(tmp_path / "out" / "review.csv")] == ["5", "4", "3", "2", "1", "0"]


def test_nothing_is_exported_without_a_point_and_files_without_points_are_left_out(bench, folder, tmp_path):
    with pytest.raises(ValueError, match="no point"):
        Export.of(bench.session.book, ExportPlan())
    bench.session.open([folder])
    bench.pump()
    bench.session.go_to_clip(1)
    predicted(bench, "frame")
    exported(bench, tmp_path / "out")

    assert {p["file"] for p in rows(tmp_path / "out" / "keypoints.csv")} == {"10_HC.png"}


def test_the_copied_command_is_one_that_the_command_line_takes(bench, folder):
    with pytest.raises(ValueError, match="not a file"):
        command_line(bench.session.book, bench.session.task, bench.session.predicting, ExportPlan())
    bench.session.open([folder])
    bench.pump()
    bench.session.predicting.choose("classical", "cpu", tta=True)
    for at in ((0, 0), (10, 0)):
        bench.session.modes.measure_from(at)
    bench.session.set_known_distance(5.0, everywhere=True)
    line = command_line(bench.session.book, bench.session.task, bench.session.predicting, ExportPlan(True))

    words = shlex.split(line)
    job = tyro.cli(PredictKeypoints, args=words[3:], config=(tyro.conf.FlagCreatePairsOff,))
    assert words[:3] == ["trifocal", "predict", "keypoints"]
    assert job.paths == (folder,)
    assert (job.task, job.engine, job.device, job.tta) == ("HC", "classical", "cpu", True)
    assert float(job.mm_per_px) == pytest.approx(0.5)
    assert job.json
    assert not job.overlay


def test_the_bundled_network_finds_the_sample_head():
    calls = queue.Queue()
    session = KeypointsSession(calls.put, "cpu")
    made = phantom("HC", HC_SEED)
    try:
        session.show(hc_reel())
        session.predicting.start("frame")
        while session.busy:
            calls.get(timeout=120)()
        measured = {m.name: m for m in session.measurements}
    finally:
        session.close()

    assert measured["HC"].unit == "mm"
    assert measured["HC"].value == pytest.approx(made.ellipse.perimeter * made.mm_per_px, rel=0.08)
    assert session.marks.prediction.weights_sha256
