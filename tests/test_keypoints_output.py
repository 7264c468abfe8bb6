"""What is written down about a frame can be read back, says its unit, and says nothing about the patient."""

from __future__ import annotations

import csv
import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
from PIL import Image

from trifocal.image import ImageError
from trifocal.keypoints.calibration import Refusal
from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.formats.fu_biometry import read_fu_predictions, write_fu_predictions
from trifocal.keypoints.frame_result import FrameResult
from trifocal.keypoints.measurements import Measurement
from trifocal.keypoints.output import MEASUREMENT_COLUMNS, POINT_COLUMNS, ResultWriter
from trifocal.keypoints.overlay import draw_overlay
from trifocal.keypoints.predictor import KeypointsPrediction
from trifocal.keypoints.report_sr import MOST_FRAMES, OWN_SCHEME, _own, write_report
from trifocal.keypoints.tasks import TASKS
from ultrasound_files import dataset, pattern, save

HEAD = Ellipse((50.0, 40.0), (30.0, 20.0), 0.0)


def prediction(task=TASKS["HC"], points=None, ellipse=HEAD):
    points = HEAD.axis_ends() if points is None else np.asarray(points, float)
    return KeypointsPrediction(
        task=task,
        points=points,
        scores=np.linspace(0.5, 0.9, task.count),
        spread_px=np.zeros(task.count),
        review=0.0,
        ellipse=ellipse,
        weights_sha256="ab" * 32,
    )


def result(scale=(0.5, 0.5), frame=0, **options):
    return FrameResult.predicted("a.dcm", frame, (100, 80), prediction(**options), scale)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(folder, *results, **options):
    with ResultWriter(folder, **options) as writer:
        for item in results:
            writer.add(item)
    return rows(folder / "keypoints.csv"), rows(folder / "measurements.csv")


# --- tables


def test_points_are_rows_with_pixels_and_millimetres_that_are_pixels_times_the_scale(tmp_path):
    points, measurements = written(tmp_path, result((0.5, 0.25)))
    assert tuple(points[0]) == POINT_COLUMNS
    assert tuple(measurements[0]) == MEASUREMENT_COLUMNS
    assert [row["point"] for row in points] == list(TASKS["HC"].points)
    for row, (x, y) in zip(points, HEAD.axis_ends(), strict=True):
        assert (float(row["x_px"]), float(row["y_px"])) == pytest.approx((x, y))
        assert (float(row["x_mm"]), float(row["y_mm"])) == pytest.approx((0.5 * x, 0.25 * y))
        assert (row["file"], row["frame"], row["edited"]) == ("a.dcm", "0", "0")
        assert row["weights_sha256"] == "ab" * 32
    assert [row["measurement"] for row in measurements] == list(TASKS["HC"].measurements)


def test_the_circumference_is_that_of_the_ellipse_in_millimetres(tmp_path):
    _, measurements = written(tmp_path, result((0.5, 0.5)))
    (hc,) = [row for row in measurements if row["measurement"] == "HC"]
    assert (float(hc["value"]), hc["unit"]) == (pytest.approx(0.5 * HEAD.perimeter, abs=1e-3), "mm")


def test_without_a_scale_there_are_pixels_empty_millimetres_and_the_reason(tmp_path):
    points, measurements = written(tmp_path, result(Refusal("it was resized")))
    assert {(row["x_mm"], row["y_mm"]) for row in points} == {("", "")}
    assert all(row["x_px"] for row in points)
    (bpd,) = [row for row in measurements if row["measurement"] == "BPD"]
    assert (float(bpd["value"]), bpd["unit"], bpd["reason"]) == (40.0, "px", "it was resized")


def test_a_missing_point_has_its_row_with_empty_cells(tmp_path):
    points = HEAD.axis_ends()
    points[2] = np.nan
    found, measurements = written(tmp_path, result(points=points, ellipse=None))
    assert len(found) == 4
    assert (found[2]["x_px"], found[2]["y_px"], found[2]["x_mm"]) == ("", "", "")
    (ofd,) = [row for row in measurements if row["measurement"] == "OFD"]
    assert ofd["value"] == ""
    assert "OFD 1 missing" in ofd["reason"]


def test_a_frame_that_cannot_be_decoded_has_all_its_rows(tmp_path):
    found, measurements = written(tmp_path, FrameResult.unreadable("a.dcm", 7, (9, 9), TASKS["PLAX"]))
    assert len(found) == 22
    assert {row["frame"] for row in found} == {"7"}
    assert {row["x_px"] + row["score"] for row in found} == {""}
    assert {row["value"] for row in measurements} == {""}


def test_measurements_of_a_whole_cine_have_no_frame(tmp_path):
    with ResultWriter(tmp_path) as writer:
        writer.add_measurements("a", None, TASKS["IVC"], [Measurement("IVC collapsibility", 41.5, "%")])
    (row,) = rows(tmp_path / "measurements.csv")
    assert (row["frame"], row["value"]) == ("", "41.5000")


def test_file_names_with_commas_quotes_and_umlauts_come_back(tmp_path):
    name = 'b\u00fccher/"a", 1.png'
    item = FrameResult.predicted(name, 0, (100, 80), prediction(), (1.0, 1.0))
    found, _ = written(tmp_path, item)
    assert {row["file"] for row in found} == {name}


def test_predictions_are_the_challenges_json_flat_lists_over_width_and_height(tmp_path):
    points = HEAD.axis_ends()
    points[1] = np.nan
    written(tmp_path, result(), result(points=points, ellipse=None), predictions=True)
    first, second = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert set(first) == {
        "image_path", "task_id", "predicted_points_normalized", "predicted_points_pixels",
    }  # fmt: skip
    assert first["task_id"] == "HC"
    np.testing.assert_allclose(first["predicted_points_pixels"], HEAD.axis_ends().ravel(), atol=1e-3)
    normalized = np.reshape(first["predicted_points_normalized"], (4, 2))
    np.testing.assert_allclose(normalized * [100, 80], HEAD.axis_ends(), atol=1e-3)
    assert second["predicted_points_pixels"][1:4] == [points[0][1].round(3), None, None]
    assert second["predicted_points_normalized"][2:4] == [None, None]


def test_predictions_come_back_as_points_and_are_what_the_format_itself_writes(tmp_path):
    Image.new("L", (100, 80)).save(tmp_path / "a.dcm", format="png")
    points = HEAD.axis_ends()
    points[1] = np.nan
    written(tmp_path, result(points=points, ellipse=None), predictions=True)
    (lacking,) = read_fu_predictions(tmp_path / "predictions.json")
    np.testing.assert_allclose(lacking.points, points, atol=1e-3)
    written(tmp_path, result(), predictions=True)
    (example,) = read_fu_predictions(tmp_path / "predictions.json")
    write_fu_predictions([example], tmp_path / "again.json")
    first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("predictions", "again"))
    assert first == again


def test_no_predictions_is_an_empty_list_and_unwanted_ones_are_not_written(tmp_path):
    written(tmp_path, predictions=True)
    assert json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8")) == []
    (tmp_path / "b").mkdir()
    written(tmp_path / "b", result())
    assert not (tmp_path / "b" / "predictions.json").exists()


# --- overlay


def test_the_overlay_shows_the_points_the_frame_and_a_strip_with_the_numbers():
    frame = np.full((80, 100), 60, np.uint8)
    drawn = draw_overlay(frame, result())
    factor = drawn.shape[1] // 100
    assert factor == 10  # small frames are enlarged, for legible names
    for x, y in HEAD.axis_ends():
        r, g, b = drawn[int((y + 0.5) * factor), int((x + 0.5) * factor)].astype(int)
        assert max(r, g, b) - min(r, g, b) > 60  # a coloured dot on grey
    assert (drawn[5, 5] == 60).all()
    assert (drawn[80 * factor :] > 200).any()
    assert drawn.shape[0] > 80 * factor


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_every_task_is_drawn_with_whatever_points_there_are(task):
    points = np.random.default_rng(0).uniform(0, 79, (task.count, 2))
    points[0] = np.nan
    frame = np.zeros((80, 100, 3), np.uint8)
    some = draw_overlay(frame, result(task=task, points=points, ellipse=None))
    none = draw_overlay(frame, FrameResult.unreadable("a", 0, (100, 80), task))
    assert some.dtype == np.uint8
    assert (some[:800] > 100).any()
    assert not none[:800].any()


# --- DICOM SR


@pytest.fixture
def cine_path(tmp_path):
    return save(dataset(pattern(3, 80, 100)), tmp_path / "a.dcm")


def groups_of(path):
    report = hd.sr.srread(path)
    return report, report.content.get_image_measurement_groups()


def test_a_report_reads_back_with_its_numbers_units_and_places(tmp_path, cine_path):
    write_report([result(frame=2)], cine_path, tmp_path / "sr.dcm")
    report, (group,) = groups_of(tmp_path / "sr.dcm")
    found = {m.name.meaning: m for m in group.get_measurements()}
    bpd = found["Biparietal Diameter"]
    assert (bpd.name.value, bpd.name.scheme_designator) == ("11820-8", "LN")
    assert (bpd.value, bpd.unit.value, bpd.unit.scheme_designator) == (pytest.approx(20.0), "mm", "UCUM")
    (place,) = bpd.referenced_coordinates
    # PS3.3 C.18.6.1: the outer corner of the first pixel is (0, 0), so centres lie at halves
    np.testing.assert_allclose(place.value, HEAD.axis_ends()[:2] + 0.5)
    source = pydicom.dcmread(cine_path)
    reference = place.ContentSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.ReferencedFrameNumber == 3  # DICOM counts from 1
    assert report.StudyInstanceUID == source.StudyInstanceUID
    assert report.SeriesInstanceUID != source.SeriesInstanceUID
    assert (report.VerificationFlag, report.Modality) == ("UNVERIFIED", "SR")


def test_the_ellipse_is_given_by_its_long_axis_then_its_short(tmp_path, cine_path):
    write_report([result()], cine_path, tmp_path / "sr.dcm")
    _, (group,) = groups_of(tmp_path / "sr.dcm")
    (hc,) = [m for m in group.get_measurements() if m.name.value == "11984-2"]
    (place,) = hc.referenced_coordinates
    assert place.graphic_type == hd.sr.GraphicTypeValues.ELLIPSE
    np.testing.assert_allclose(place.value, HEAD.axis_ends()[[2, 3, 0, 1]] + 0.5)


def test_a_gestational_age_names_its_equation(tmp_path, cine_path):
    write_report([result((2.0, 2.0))], cine_path, tmp_path / "sr.dcm")
    _, (group,) = groups_of(tmp_path / "sr.dcm")
    ages = [m for m in group.get_measurements() if m.name.meaning == "Gestational Age"]
    assert {m.method.meaning for m in ages} == {"HC, Hadlock 1984", "BPD, Hadlock 1984"}
    assert {m.unit.value for m in ages} == {"wk"}


def test_pixels_are_called_pixels(tmp_path, cine_path):
    write_report([result(Refusal("no scale"))], cine_path, tmp_path / "sr.dcm")
    _, (group,) = groups_of(tmp_path / "sr.dcm")
    lengths = [m for m in group.get_measurements() if m.name.value in ("11820-8", "11851-3", "11984-2")]
    assert {m.unit.value for m in lengths} == {"{pixels}"}
    assert not [m for m in group.get_measurements() if m.name.meaning == "Gestational Age"]


def test_what_the_standard_has_no_exact_code_for_gets_an_own_one(tmp_path, cine_path):
    task = TASKS["PLAX"]
    points = np.random.default_rng(0).uniform(0, 79, (22, 2))
    write_report([result(task=task, points=points, ellipse=None)], cine_path, tmp_path / "sr.dcm")
    _, (group,) = groups_of(tmp_path / "sr.dcm")
    (lv,) = [m for m in group.get_measurements() if m.name.meaning == "LV"]
    assert lv.name.scheme_designator == OWN_SCHEME


def test_own_codes_are_as_many_as_their_meanings():
    names = {name.upper() for task in TASKS.values() for name in (*task.measurements, task.title)}
    assert len({_own(name).value for name in names}) == len(names)


def test_every_frame_of_a_cine_is_a_group_and_one_without_numbers_is_left_out(tmp_path, cine_path):
    results = [result(frame=0), FrameResult.unreadable("a.dcm", 1, (100, 80), TASKS["HC"]), result(frame=2)]
    write_report(results, cine_path, tmp_path / "sr.dcm")
    _, groups = groups_of(tmp_path / "sr.dcm")
    assert [g.tracking_identifier for g in groups] == ["HC frame 0", "HC frame 2"]


def test_a_report_takes_the_patient_from_the_image_and_nothing_else(tmp_path):
    source = dataset(pattern(1, 80, 100), InstitutionName="Secret Hospital", OperatorsName="Secret^Op")
    path = save(source, tmp_path / "a.dcm")
    write_report([result()], path, tmp_path / "sr.dcm")
    report = pydicom.dcmread(tmp_path / "sr.dcm")
    assert (report.PatientName, report.PatientID) == (source.PatientName, source.PatientID)
    assert "InstitutionName" not in report
    assert "OperatorsName" not in report
    assert "research use only" in report.SeriesDescription.lower()


def test_an_image_without_identifiers_gets_no_report(tmp_path):
    path = save(dataset(pattern(1, 80, 100), StudyInstanceUID=None), tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="StudyInstanceUID"):
        write_report([result()], path, tmp_path / "sr.dcm")
    assert not (tmp_path / "sr.dcm").exists()


def test_an_image_without_a_patient_gets_a_report_without_one(tmp_path):
    path = save(
        dataset(pattern(1, 80, 100), PatientName=None, PatientID=None, StudyDate=None), tmp_path / "a.dcm"
    )
    write_report([result()], path, tmp_path / "sr.dcm")
    assert not pydicom.dcmread(tmp_path / "sr.dcm").PatientID


def test_a_report_of_nothing_or_of_too_much_is_refused(tmp_path, cine_path):
    for results in ([], [result()] * (MOST_FRAMES + 1)):
        with pytest.raises(ValueError, match="1 to 200 frames"):
            write_report(results, cine_path, tmp_path / "sr.dcm")
