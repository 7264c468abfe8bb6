"""The focus widget in a real window, by real mouse events."""

import shlex
import threading
import time

import numpy as np
import pytest
import tyro
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_trifocal import focus_jobs, focus_widget
from napari_trifocal.layers import BOWL, CLOUD, COLOURS, CT, SHELL, SKULL, SLICES, TARGET, to_layers
from trifocal.cli.focus import PredictFocus
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import PREVIEW_POINTS_PER_WAVELENGTH
from trifocal.image import Image

BESIDE = QPoint(15, 15)


def test_dragging_the_bowl_slides_it_over_the_skin_and_the_camera_stays(loaded):
    session, camera = loaded.session, loaded.viewer.scene.camera
    before, angles, target = session.pose, camera.angles, session.target_mm

    loaded.answers.clear()
    loaded.drag(loaded.on_bowl(), (60, 40), hold=lambda: not loaded.answers)
    while_dragged = list(loaded.answers)
    assert loaded.widget.wait(60)

    entry = session.placing.entry_mm(session.head)
    assert np.linalg.norm(session.pose.apex_mm - before.apex_mm) > 10
    assert abs(session.head.distance_mm(entry)) < 0.5
    toward = (target - entry) / np.linalg.norm(target - entry)
    assert session.pose.direction == pytest.approx(toward, abs=1e-3)
    assert camera.angles == angles
    assert while_dragged
    assert while_dragged[0].order.preview
    assert while_dragged[0].prediction.inputs.points_per_wavelength == PREVIEW_POINTS_PER_WAVELENGTH
    assert not loaded.answers[-1].order.preview
    assert loaded.answers[-1].order.pose is session.pose
    vertices = loaded.widget.scene.layer(BOWL).data[0]
    assert np.linalg.norm(vertices - session.pose.apex_mm, axis=1).min() < 1e-3


def test_dragging_beside_the_bowl_turns_the_camera_and_leaves_the_pose(loaded):
    before, angles = loaded.session.pose, loaded.viewer.scene.camera.angles

    loaded.drag(BESIDE, (60, 40))

    assert loaded.session.pose is before
    assert loaded.viewer.scene.camera.angles != angles


def test_shift_tilts_the_bowl_about_its_entry_point(loaded):
    session = loaded.session
    before, entry = session.pose, session.placing.entry_mm(session.head)

    loaded.drag(loaded.on_bowl(), (40, 0), modifiers=Qt.KeyboardModifier.ShiftModifier)

    turned = np.rad2deg(np.arccos(before.direction @ session.pose.direction))
    assert 5 < turned < 60
    assert session.placing.entry_mm(session.head) == pytest.approx(entry, abs=1.0)
    assert session.placing.axis == "free"


def test_undo_and_redo_go_through_the_poses(loaded):
    session, placing = loaded.session, loaded.widget.form.placing
    first = session.pose
    loaded.drag(loaded.on_bowl(), (50, 30))
    second = session.pose

    assert placing.undo_button.isEnabled()
    placing.undo_button.click()
    assert session.pose is first
    placing.redo_button.click()
    assert session.pose is second
    QTest.keyClick(loaded.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.pose is first


def test_each_view_shows_its_own_layers_and_napari_has_nothing_to_warn_of(loaded):
    scene = loaded.widget.scene
    for name in ("axial", "coronal", "sagittal"):
        loaded.widget.set_view(name)
        assert scene.layer(CT).visible
        assert scene.layer(SLICES).visible
        assert not scene.layer(SKULL).visible
        assert not scene.layer(BOWL).visible
    loaded.session.set_pose(loaded.session.pose.moved(-5.0))
    assert loaded.widget.wait(60)
    loaded.viewer.dims.ndisplay = 3  # by napari's own button

    assert loaded.viewer.dims.order == (0, 1, 2)
    assert scene.layer(BOWL).visible
    assert not scene.layer(CT).visible


def test_a_broken_file_gives_a_sentence_and_leaves_everything_as_it_is(loaded, tmp_path):
    before = loaded.session.head, loaded.session.placing, list(loaded.viewer.layers)
    (tmp_path / "broken.nii.gz").write_bytes(b"this is no volume")

    loaded.load(tmp_path / "broken.nii.gz")

    assert loaded.said[-1].is_error
    assert "broken.nii.gz" in loaded.widget.form.message.text()
    assert (loaded.session.head, loaded.session.placing, list(loaded.viewer.layers)) == before


def test_the_window_lives_while_a_head_is_made_ready(bench, ct, monkeypatch):
    gate, ticks = threading.Event(), []
    make = focus_jobs.Head.from_image

    def slow(image, *, progress):
        assert gate.wait(30)
        return make(image, progress=progress)

    monkeypatch.setattr(focus_jobs.Head, "from_image", slow)
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    start = time.perf_counter()
    bench.widget.load(ct)
    assert time.perf_counter() - start < 0.5
    timer.start(10)
    QTest.qWait(200)
    timer.stop()
    gate.set()

    assert len(ticks) > 5
    assert bench.widget.wait(60)
    assert bench.session.head is not None


def test_closing_its_dock_ends_its_threads_and_lets_go_of_the_viewer(loaded):
    callbacks = list(loaded.viewer.mouse_drag_callbacks)
    loaded.viewer.window.remove_dock_widget(loaded.widget)

    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-")]
    assert len(loaded.viewer.mouse_drag_callbacks) == len(callbacks) - 1


def test_a_head_appears_upright_with_everything_on_it_and_readouts(loaded):
    figures = loaded.session.prediction.figures
    texts = {name: label.text() for name, label in loaded.widget.form.readout.values.items()}
    loaded.widget.set_view("3-D")

    assert {layer.name for layer in loaded.viewer.layers} == {CT, SKULL, BOWL, TARGET, SHELL, CLOUD, SLICES}
    assert loaded.viewer.dims.ndisplay == 3
    assert loaded.viewer.dims.axis_labels == ("R", "A", "S")
    assert loaded.viewer.scene.camera.up_direction[2] > 0.8
    assert loaded.viewer.canvas.overlays["axes"].visible
    assert loaded.viewer.canvas.overlays["scale_bar"].visible
    assert "not for clinical use" in loaded.widget.form.notice.text()
    assert texts["peak"] == f"{figures.peak_pa / 1e3:.0f} kPa"
    assert texts["to target"] == f"{figures.distance_to_target_mm:.1f} mm"
    assert "has on cpu" in texts["computed"]


def test_the_fields_move_the_bowl_and_follow_it(loaded):
    session, placing = loaded.session, loaded.widget.form.placing
    fields = placing.apex.fields
    first = session.pose

    fields[0].setValue(fields[0].value() + 7.0)
    moved = session.pose
    placing.elevation.setValue(-30.0)
    turned = session.pose
    placing.standoff.setValue(20.0)
    placing.target.fields[0].setValue(400.0)

    assert moved.apex_mm[0] == pytest.approx(first.apex_mm[0] + 7.0, abs=0.06)
    assert moved.apex_mm[1:] == pytest.approx(first.apex_mm[1:])
    assert np.rad2deg(np.arcsin(turned.direction[2])) == pytest.approx(-30.0)
    gap = session.head.distance_mm(session.pose.to_world(session.bowl.mesh()[0])).min()
    assert gap == pytest.approx(20.0, abs=0.5)
    assert "outside the head" in loaded.widget.form.message.text()
    assert placing.target.fields[0].value() == pytest.approx(session.target_mm[0], abs=0.06)
    loaded.widget.set_pose(Pose.from_apex([10.0, -20.0, 100.0], [0, 0.2, -1]))
    assert [f.value() for f in fields] == [10.0, -20.0, 100.0]


def test_a_bowl_in_the_head_turns_orange_and_says_why(loaded):
    session = loaded.session
    assert loaded.colour() == COLOURS[BOWL]

    loaded.widget.set_pose(session.pose.moved(15.0))

    assert loaded.colour() == COLOURS["uncoupled"]
    assert "cuts" in loaded.widget.form.coupling.text()
    session.undo()
    assert loaded.colour() == COLOURS[BOWL]


def test_save_and_copy_as_command(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(focus_widget, "cache_folder", lambda: tmp_path)
    loaded.widget.save(tmp_path / "out")
    assert loaded.widget.wait(60)
    loaded.widget.copy_command()
    assert loaded.widget.wait(60)

    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"pressure.nii.gz", "pose.json", "figures.csv", "scene.png", "window.png"} <= names
    assert "provenance.json" in names
    words = shlex.split(QApplication.clipboard().text())
    job = tyro.cli(PredictFocus, args=words[3:], config=(tyro.conf.FlagCreatePairsOff,))
    assert words[:3] == ["trifocal", "predict", "focus"]
    assert Pose.from_json(job.pose).matrix == pytest.approx(loaded.session.pose.matrix)
    assert job.ct.is_file()


def test_an_image_layer_serves_as_ct_with_all_of_its_transforms(bench, ct, ready, monkeypatch):
    sources = []
    monkeypatch.setattr(focus_jobs.Source, "load", lambda source, *_: sources.append(source) or ready)
    layer = bench.viewer.add_image(
        ct.array, name="mine", affine=ct.affine, translate=(4, 0, 0), units=("mm",) * 3
    )

    bench.load(layer)

    assert sources[0].image.affine[:3, 3] == pytest.approx(ct.affine[:3, 3] + [12.0, 0, 0])
    assert bench.widget.scene.layer(CT) is layer
    assert [x.name for x in bench.viewer.layers].count(layer.name) == 1
    assert bench.widget.form.layer.currentText() == "mine"


@pytest.mark.parametrize("flip", [1, -1])
def test_right_front_and_top_are_where_the_slice_views_say(bench, flip):
    """An asymmetric phantom: its right front upper corner is bright, however it is stored."""
    array = np.full((40, 50, 60), 0.1, np.float32)
    array[30:, 38:, 46:] = 1.0
    affine = np.diag([flip, 1.0, 1, 1])
    affine[0, 3] = 0 if flip == 1 else 39
    ((data, look, _),) = to_layers(Image(array[::flip], affine))
    bench.viewer.add_image(data, **(look | {"contrast_limits": (0.0, 1.0)}))

    for name in ("axial", "coronal", "sagittal"):  # right of the canvas: R, R, A; top of it: A, S, S
        bench.widget.scene.look(name, np.array([35.0, 44.0, 53.0]))
        bench.viewer.fit_to_view()
        bench.viewer.canvas.overlays["axes"].visible = False
        bench.viewer.canvas.overlays["scale_bar"].visible = False
        QTest.qWait(50)
        picture = bench.viewer.screenshot(flash=False)[..., 0].astype(float)
        rows, columns = np.nonzero(picture > 200)
        inside = np.nonzero(picture > 15)
        assert rows.mean() < inside[0].mean()
        assert columns.mean() > inside[1].mean()
