"""The keypoints widget in a real window, by real mouse events."""

import csv
import threading

import numpy as np
import pydicom
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from ultrasound_bench import UltrasoundBench

from data import shared_data
from napari_trifocal.keypoints_layers import ELLIPSE, FRAMES, HEAT, LINES, POINTS, RULER
from napari_trifocal.layers import to_layers
from ultrasound import picture, reel

CALIPER = (
    (459.5, 290.5),
    (498.5, 301.5),
)  # burnt-in crosses: 1.06 cm on the screen


@pytest.fixture
def bench(make_napari_viewer, monkeypatch):
    made = UltrasoundBench(make_napari_viewer(show=True), monkeypatch)
    yield made
    made.engine.gate.set()
    made.widget.close()


def test_points_are_placed_dragged_and_taken_back_by_mouse_and_the_numbers_follow(bench):
    bench.load(reel(3))
    bench.form.edit.place.click()
    for x, y in ((60, 20), (60, 60), (30, 40), (90, 40)):
        bench.click(x, y)

    assert bench.form.edit.next.text() == "all points are placed"
    assert bench.number("BPD") == pytest.approx(20.0, abs=0.3)
    assert bench.number("OFD") == pytest.approx(30.0, abs=0.3)
    assert bench.session.marks.points[0] == pytest.approx([60, 20], abs=0.5)
    bench.form.edit.place.click()

    centre, seen = bench.viewer.scene.camera.center, []
    bench.drag((60, 20), (60, 10), each=lambda: seen.append(bench.number("BPD")))
    assert seen == sorted(seen)
    assert len(set(seen)) >= 4
    assert seen[-1] == pytest.approx(25.0, abs=0.3)
    assert bench.viewer.scene.camera.center == centre
    assert bench.scene.layer(POINTS).data[0] == pytest.approx([10, 60], abs=0.5)

    QTest.keyClick(bench.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert bench.number("BPD") == pytest.approx(20.0, abs=0.3)
    bench.form.edit.redo_button.click()
    assert bench.number("BPD") == pytest.approx(25.0, abs=0.3)
    QTest.keyClick(bench.native, Qt.Key.Key_Delete)
    assert bench.value("BPD") == "-"
    assert bench.scene.layer(POINTS).shown.tolist() == [False, True, True, True]
    assert len(bench.scene.layer(LINES).data) == 1
    assert len(bench.viewer.layers) == 5  # napari's own Delete has not taken a layer


def test_two_points_that_lie_close_can_be_placed_and_one_be_dragged_while_placing(bench):
    bench.load(reel(1))
    bench.form.edit.place.click()
    bench.click(60, 20)
    bench.click(61, 21)
    bench.drag((61, 21), (70, 60))

    assert bench.session.marks.missing.tolist() == [2, 3]
    assert bench.session.marks.points[0] == pytest.approx([60, 20], abs=0.5)
    assert bench.session.marks.points[1] == pytest.approx([70, 60], abs=0.7)


def test_dragging_beside_the_points_pans_and_leaves_them(bench):
    bench.load(reel(1))
    bench.session.drag_to(0, (60, 20))
    before, centre = bench.session.marks, bench.viewer.scene.camera.center
    bench.drag((20, 70), (40, 60))

    assert bench.session.marks is before
    assert bench.viewer.scene.camera.center != centre


def test_a_cine_is_predicted_beside_the_window_stepped_through_and_plotted(bench):
    bench.load(reel(6, "IVC", radii=[20, 22, 24, 21, 18, 16]))
    bench.engine.gate.clear()
    bench.form.predict.buttons["file"].click()
    bench.wait_for(bench.form.cancel.isEnabled)  # the window lives while the engine works
    assert bench.session.busy
    bench.engine.gate.set()
    assert bench.widget.wait(60)

    assert set(bench.engine.seen) == {"trifocal-keypoints"}
    assert bench.value("IVC diameter") == "20.0 mm"
    bench.viewer.dims.set_current_step(0, 2)  # napari's own slider
    assert bench.session.step == 2
    assert bench.value("IVC diameter") == "24.0 mm"
    assert bench.scene.layer(POINTS).data[0] == pytest.approx([21, 52])
    assert "it has only ever seen discs" in bench.form.predict.doubt.text()
    assert "collapsibility" in bench.form.extremes.text()

    at = bench.form.plot.mapFromGlobal(bench.form.plot.mapToGlobal(bench.form.plot.rect().center()))
    at.setX(round(bench.form.plot.x_of(5)))
    QTest.mouseClick(bench.form.plot, Qt.MouseButton.LeftButton, pos=at)
    assert bench.viewer.dims.current_step[0] == 5
    assert bench.value("IVC diameter") == "16.0 mm"
    bench.form.predict.after.click()
    assert bench.session.step == bench.session.sheet.review_queue[0]

    bench.form.predict.heat.click()
    assert bench.scene.layer(HEAT).data.shape == (90, 120)
    bench.form.predict.heat.click()
    assert bench.scene.layer(HEAT) is None


def test_the_caliper_of_the_palette_file_placed_by_hand_is_10_6_mm_and_is_exported_so(bench, tmp_path):
    bench.load(shared_data("ultrasound_dicom/pydicom_examples_palette.dcm"), "fetal_femur")
    bench.viewer.scene.camera.center, bench.viewer.scene.camera.zoom = (296.0, 479.0), 6.0
    bench.form.edit.place.click()
    for x, y in CALIPER:
        bench.click(x, y)

    assert bench.value("FL") == "10.6 mm"
    assert "region" in bench.form.scale.scale.text()
    bench.form.export.overlays.click()
    bench.form.export.reports.click()
    bench.form.export.folder_chosen.emit(str(tmp_path / "out"))
    assert bench.widget.wait(60)
    with (tmp_path / "out" / "measurements.csv").open() as file:
        measured = {row["measurement"]: row for row in csv.DictReader(file)}
    assert float(measured["FL"]["value"]) == pytest.approx(10.6, abs=0.1)
    assert measured["FL"]["unit"] == "mm"
    (report,) = (tmp_path / "out" / "reports").iterdir()
    numbers = [
        float(item.value) for item in pydicom.dcmread(report).iterall() if item.keyword == "NumericValue"
    ]
    assert numbers == pytest.approx([10.6], abs=0.1)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 1
    assert "exported to" in bench.said[-1].text


def test_the_cine_with_stale_regions_is_measured_in_pixels_until_a_distance_is_known(bench):
    bench.load(shared_data("ultrasound_dicom/pydicom_examples_ybr_color.dcm"), "IVC")
    assert bench.viewer.dims.nsteps[0] == 30
    for index, at in enumerate(((150, 100), (150, 140))):
        bench.session.drag_to(index, at)

    assert bench.value("IVC diameter") == "40.0 px"
    assert "resized" in bench.form.scale.scale.text()
    bench.form.scale.ruler.click()
    bench.click(100, 60)
    bench.click(100, 160)
    assert bench.scene.layer(RULER).data.shape[0] == 3
    bench.form.scale.mm.setValue(50.0)
    bench.form.scale.set_button.click()
    assert bench.number("IVC diameter") == pytest.approx(20.0, abs=0.3)
    assert "known distance of 50 mm" in bench.form.scale.scale.text()
    bench.form.scale.forget.click()
    assert bench.value("IVC diameter") == "40.0 px"


def test_frames_that_are_dropped_on_the_viewer_are_worked_on(bench):
    ((data, look, _),) = to_layers(reel(4, "PLAX"))
    bench.viewer.add_image(data, **look)
    QTest.qWait(20)

    assert len(bench.session.reel) == 4
    assert bench.session.task.id == "PLAX"
    assert bench.scene.layer(FRAMES).data is data
    other = bench.viewer.add_image(np.stack([picture()] * 2), name="plain")
    bench.form.source.layer_chosen.emit(other)
    QTest.qWait(20)
    assert len(bench.session.reel) == 2
    assert not other.visible
    assert [layer.name for layer in bench.viewer.layers].count(POINTS) == 1


def test_the_ellipse_is_drawn_through_the_points(bench):
    bench.load(reel(1))
    bench.predict("frame")

    outline = bench.scene.layer(ELLIPSE).data[:, 0, ::-1]
    assert np.linalg.norm(outline - [50, 45], axis=1) == pytest.approx(20.0, abs=0.5)


def test_closing_its_dock_ends_its_threads_and_lets_go_of_the_viewer(bench):
    bench.load(reel(2))
    bench.predict()
    callbacks = len(bench.viewer.mouse_drag_callbacks)
    bench.viewer.window.remove_dock_widget(bench.widget)

    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-")]
    assert len(bench.viewer.mouse_drag_callbacks) == callbacks - 1
    bench.viewer.dims.set_current_step(0, 1)
    assert bench.session.step == 0
