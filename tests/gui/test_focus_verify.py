"""Engines, verify and the difference view in a real window, by real mouse and key events."""

import json
import shlex
import shutil
import threading
import time

import numpy as np
import pytest
import tyro
from bench import PATIENCE
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_trifocal import focus_jobs, focus_widget
from napari_trifocal.focus_badge import AMBER, GREEN, RULE, Badge
from napari_trifocal.focus_verify import BADGE
from napari_trifocal.layers import CLOUD, CT, DIFFERENCE, PINNED_CLOUD, PINNED_SHELL, SHELL, SKULL, SLICES
from trifocal import checkpoint
from trifocal.cli.focus import PredictFocus
from trifocal.focus.transducer import Bowl
from trifocal.predictor import Cancelled

BESIDE = QPoint(15, 200)


@pytest.fixture
def small(loaded, tmp_path):
    """A bowl whose box the solver fills in a moment."""
    Bowl(30.0, 25.0, 250e3).to_json(tmp_path / "small.json")
    loaded.viewer.window._qt_window.resize(1250, 700)
    assert loaded.session.set_bowl(tmp_path / "small.json")
    assert loaded.widget.wait(PATIENCE)
    return loaded


@pytest.fixture
def verified(small):
    small.click(small.widget.form.compare.verify_button)
    assert small.widget.wait(PATIENCE)
    return small


def choose(bench, combo, text):
    """Go through a chooser with the arrow keys."""
    for key in [Qt.Key.Key_Up] * combo.count() + [Qt.Key.Key_Down] * combo.count():
        if combo.currentText() == text:
            break
        QTest.keyClick(combo, key)
    assert bench.widget.wait(PATIENCE)


def until(condition, seconds=PATIENCE):
    """Let the window live until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        QTest.qWait(10)


def numbers(text):
    """All numbers in a text."""
    words = text.replace(",", " ").replace("%", " ").split()
    return [float(w) for w in words if w.lstrip("+-").replace(".", "", 1).isdigit()]


def test_another_engine_gives_another_cloud_and_says_so(small):
    before, lossy = small.widget.scene.layer(CLOUD).data.copy(), small.session.prediction.figures

    choose(small, small.widget.form.engines.engine, "free-field")

    after = small.widget.scene.layer(CLOUD)
    assert "free-field" in small.widget.form.readout.values["computed"].text()
    assert before.shape != after.data.shape or not np.allclose(before, after.data)
    assert after.contrast_limits[1] == pytest.approx(small.session.prediction.figures.peak_pa / 1e3)
    assert small.session.prediction.figures.transmission > lossy.transmission + 0.1

    devices, missing = small.widget.form.engines.device, small.session.choice.missing
    row = devices.findText("cuda")
    assert devices.model().item(row).isEnabled() == ("cuda" not in missing)
    assert devices.model().item(row).toolTip() == missing.get("cuda", "")


def test_while_the_bowl_is_dragged_the_chosen_engine_previews(small):
    choose(small, small.widget.form.engines.engine, "free-field")
    small.look_at_bowl()
    small.answers.clear()

    small.drag(small.on_bowl(), (25, 20), hold=lambda: not small.answers)
    assert small.widget.wait(PATIENCE)

    assert small.answers[0].order.preview
    assert {answer.prediction.engine for answer in small.answers} == {"free-field"}


def test_weights_with_one_changed_byte_give_a_sentence_and_has(make_napari_viewer, tmp_path, monkeypatch):
    whole = checkpoint.bundled("focus")
    for suffix in (".json", ".safetensors"):
        shutil.copy(whole.with_suffix(suffix), tmp_path / f"focus{suffix}")
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "focus.safetensors").write_bytes(data)
    monkeypatch.setattr(checkpoint, "bundled", lambda name: tmp_path / f"{name}.safetensors")

    widget = focus_widget.FocusWidget(make_napari_viewer(show=True))
    assert widget.session.choice.engine == "network"
    assert widget.wait(PATIENCE)

    assert widget.session.choice.engine == "has"
    assert "sha256" in widget.form.message.text()
    assert "has is used" in widget.form.message.text()
    chooser = widget.form.engines.engine
    assert chooser.currentText() == "has"
    row = chooser.findText("network")
    assert not chooser.model().item(row).isEnabled()
    assert "sha256" in chooser.model().item(row).toolTip()
    widget.close()


def test_the_window_lives_while_weights_are_read_and_then_has_the_network(
    make_napari_viewer, ready, monkeypatch
):
    gate, find = threading.Event(), checkpoint.bundled

    def slow(name):
        assert gate.wait(PATIENCE)
        return find(name)

    monkeypatch.setattr(focus_jobs.Source, "load", lambda source, bowl, report: ready)
    monkeypatch.setattr(checkpoint, "bundled", slow)
    widget = focus_widget.FocusWidget(make_napari_viewer(show=True))
    until(lambda: "loading the engine network" in widget.form.bar.text())
    widget.load("any.nii.gz")
    until(lambda: widget.session.head is ready.head)
    assert widget.session.prediction is None
    gate.set()
    assert widget.wait(PATIENCE)

    assert widget.form.engines.engine.currentText() == "network"
    assert widget.session.prediction.engine == "network"
    assert widget.session.prediction.weights["name"] == "focus"
    widget.close()


def test_what_the_network_has_not_seen_is_said_and_has_is_one_click_away(small, tmp_path):
    panel = small.widget.form.engines
    assert not panel.instead.isVisible()
    Bowl(30.0, 25.0, 400e3).to_json(tmp_path / "high.json")
    assert small.session.set_bowl(tmp_path / "high.json")
    choose(small, panel.engine, "network")
    reasons = small.session.prediction.out_of_range

    assert reasons
    for reason in reasons:
        assert reason.partition(":")[0] in panel.warning.text()
    assert panel.instead.text() == "Use HAS"
    small.click(panel.instead)
    assert small.widget.wait(PATIENCE)
    assert small.session.prediction.engine == "has"
    assert panel.engine.currentText() == "has"
    assert not panel.instead.isVisible()


def test_verify_shows_the_truth_beside_and_the_figures_to_the_printed_digits(verified):
    comparing, view = verified.widget.comparing, verified.widget.compared
    truth = comparing.reference.prediction
    errors = verified.session.prediction.errors_against(truth)

    assert truth.engine == "solver"
    assert truth.box == verified.session.prediction.box
    assert numbers(view.badge) == [
        round(errors.centroid_error_mm, 2),
        round(errors.lateral_mm, 2),
        round(errors.axial_mm, 2),
        round(errors.rel_l2, 3),
        round(100 * errors.peak_error, 1),
        -6.0,
        round(errors.iou_6db, 2),
    ]
    assert view.pane.isVisible()
    assert view.pane.scene.layer(CLOUD).visible
    assert view.pane.scene.layer(CLOUD).data == pytest.approx(focus_jobs.cloud_layer(truth)[0])
    assert {CT, SKULL, SHELL, SLICES} <= {layer.name for layer in view.pane.model.layers}
    assert RULE in verified.widget.form.compare.rule.text()
    picture = view.pane.canvas.screenshot(flash=False)
    assert (picture[..., 2].astype(int) - picture[..., 0] > 40).sum() > 20  # the blue cloud is on the screen
    good = errors.centroid_error_mm <= 1.5 and abs(errors.peak_error) <= 0.10
    assert Badge.of(comparing.found).colour == (GREEN if good else AMBER)

    choose(verified, verified.widget.form.engines.engine, "free-field")
    assert Badge.of(comparing.found).colour == AMBER  # the skull takes away more than 10 %
    assert view.badge.startswith("free-field - solver")
    assert comparing.reference.prediction is truth


def test_the_cameras_are_linked_both_ways_and_so_are_the_slices(verified):
    main, pane = verified.viewer, verified.widget.compared.pane
    QTest.qWait(50)
    start = main.scene.camera.angles
    verified.drag(BESIDE, (50, 30))
    turned = main.scene.camera.angles
    assert turned != start
    assert pane.model.scene.camera.angles == pytest.approx(turned)

    verified.drag(BESIDE, (-40, 20), native=pane.canvas.canvas.native)
    assert pane.model.scene.camera.angles != pytest.approx(turned)
    assert main.scene.camera.angles == pytest.approx(pane.model.scene.camera.angles)

    verified.click(verified.widget.form.views[2])
    assert pane.model.dims.ndisplay == 2
    assert pane.model.dims.order == main.dims.order
    assert pane.scene.layer(SLICES).visible
    assert not pane.scene.layer(CLOUD).visible
    pane.model.dims.point = (3.0, 6.0, 9.0)  # each viewer rounds it to the finest of its own grids
    assert main.dims.point == pytest.approx((3.0, 6.0, 9.0), abs=1.5)
    main.scene.camera.zoom *= 1.5
    assert pane.model.scene.camera.zoom == main.scene.camera.zoom


def test_the_error_map_is_signed_and_takes_the_place_of_the_field(verified):
    scene, button = verified.widget.scene, verified.widget.form.compare.map_button
    difference = verified.widget.comparing.found.comparison.difference
    assert not scene.layer(DIFFERENCE).visible

    verified.click(button)

    layer = scene.layer(DIFFERENCE)
    assert layer.visible
    assert layer.colorbar.visible
    assert not scene.layer(CLOUD).visible
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]
    assert layer.contrast_limits[1] == pytest.approx(np.abs(difference.array).max() / 1e3)
    at = difference.index_to_world(np.unravel_index(np.abs(difference.array).argmax(), difference.shape))
    assert layer.get_value(at, world=True) is not None
    verified.click(verified.widget.form.views[1])
    assert layer.visible
    assert not scene.layer(SLICES).visible
    verified.click(button)
    assert not layer.visible
    assert scene.layer(SLICES).visible
    verified.click(verified.widget.form.views[0])
    assert scene.layer(CLOUD).visible


def test_a_verification_goes_out_of_date_comes_back_by_undo_and_is_closed(verified):
    view, badge = verified.widget.compared, verified.widget.compared.badge
    scene, width = verified.widget.scene, verified.canvas.native.width()
    verified.session.set_pose(verified.session.pose.moved(-4.0))
    assert "out of date" in view.badge
    assert scene.layer(DIFFERENCE) is None
    assert verified.widget.wait(PATIENCE)
    assert "out of date" in view.badge

    verified.click(verified.widget.form.placing.undo_button)
    assert verified.widget.wait(PATIENCE)
    assert view.badge == badge
    assert scene.layer(DIFFERENCE) is not None

    verified.click(verified.widget.form.compare.close_button)
    QTest.qWait(100)
    assert view.pane is None
    assert view.badge == ""
    assert scene.layer(DIFFERENCE) is None
    assert verified.canvas.native.width() > 1.5 * width
    here, angles = verified.session.pose, verified.viewer.scene.camera.angles
    verified.drag(BESIDE, (40, 30))  # mouse and keys still work
    assert verified.viewer.scene.camera.angles != angles
    verified.session.set_pose(here.moved(-4.0))
    QTest.keyClick(verified.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert verified.session.pose is here


def test_cancelling_a_verification_ends_it_and_the_window_is_idle(loaded, monkeypatch):
    ends, predict = [], focus_jobs.Order.predict

    def slow(order, progress):
        def report(fraction, what):
            progress(fraction, what)
            time.sleep(0.1)

        try:
            return predict(order, report)
        except Cancelled as error:
            ends.append(error)
            raise

    monkeypatch.setattr(focus_jobs.Order, "predict", slow)
    form = loaded.widget.form
    loaded.click(form.compare.verify_button)
    until(lambda: "s left" in form.bar.text())
    assert not form.compare.verify_button.isEnabled()

    loaded.click(form.cancel)

    assert form.compare.verify_button.isEnabled()
    assert not form.cancel.isEnabled()
    assert form.message.text() == "cancelled: not verified"
    assert loaded.widget.wait(PATIENCE)
    assert len(ends) == 1
    assert loaded.widget.comparing.reference is None
    assert loaded.widget.compared.pane is None


def test_what_is_verified_is_saved_and_in_the_command(verified, tmp_path, monkeypatch):
    monkeypatch.setattr(focus_widget, "cache_folder", lambda: tmp_path)
    errors = verified.widget.comparing.found.comparison.errors
    verified.widget.save(tmp_path / "out")
    assert verified.widget.wait(PATIENCE)
    verified.widget.copy_command()
    assert verified.widget.wait(PATIENCE)
    words = shlex.split(QApplication.clipboard().text())

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (tmp_path / "out" / "solver.nii.gz").is_file()
    assert summary["verify"]["centroid_error_mm"] == pytest.approx(errors.centroid_error_mm)
    job = tyro.cli(PredictFocus, args=words[3:], config=(tyro.conf.FlagCreatePairsOff,))
    assert job.verify
    assert job.engine == "has"

    verified.session.set_pose(verified.session.pose.moved(-3.0))
    assert verified.widget.wait(PATIENCE)
    verified.widget.save(tmp_path / "moved")
    verified.widget.copy_command()
    assert verified.widget.wait(PATIENCE)
    assert not (tmp_path / "moved" / "solver.nii.gz").exists()
    assert "--verify" not in QApplication.clipboard().text()


def test_a_pinned_prediction_and_another_engine_at_one_place(small):
    compare = small.widget.form.compare
    small.click(compare.pin_button)
    pinned = small.session.answer
    assert "pinned has at" in small.widget.compared.badge
    choose(small, small.widget.form.engines.engine, "free-field")

    scene, found = small.widget.scene, small.widget.comparing.found
    errors = small.session.prediction.errors_against(pinned.prediction)
    assert found.comparison.errors == errors
    assert f"{errors.rel_l2:.3f}" in small.widget.compared.badge
    assert f"{100 * errors.peak_error:+.1f} %" in small.widget.compared.badge
    assert scene.layer(PINNED_CLOUD).visible
    assert scene.layer(PINNED_SHELL).visible
    assert scene.layer(CLOUD).visible
    assert scene.layer(PINNED_CLOUD).colormap.name != scene.layer(CLOUD).colormap.name
    assert small.widget.compared.pane is None
    assert compare.map_button.text() == "Difference"
    assert compare.close_button.text() == "Unpin"
    small.click(compare.close_button)
    assert scene.layer(PINNED_CLOUD) is None
    assert small.widget.compared.badge == ""


def test_a_pinned_prediction_and_another_pose(small):
    small.click(small.widget.form.compare.pin_button)
    first = np.array(small.session.prediction.figures.focus_mm)
    beam = small.session.pose.direction
    small.look_at_bowl()
    small.drag(small.on_bowl(), (25, 15))
    assert small.widget.wait(PATIENCE)
    shift = np.array(small.session.prediction.figures.focus_mm) - first

    comparison = small.widget.comparing.found.comparison
    assert comparison.errors is None
    assert comparison.distance_mm == pytest.approx(np.linalg.norm(shift))
    assert f"{np.linalg.norm(shift):.1f} mm" in small.widget.compared.badge
    assert f"along pinned beam {shift @ beam:+.1f}" in small.widget.compared.badge
    small.click(small.widget.form.compare.map_button)
    assert small.widget.scene.layer(DIFFERENCE).visible
    assert np.abs(small.widget.scene.layer(DIFFERENCE).data).max() > 1.0  # kPa


def test_another_head_ends_a_verification_and_so_does_closing_the_dock(verified, ready, monkeypatch):
    comparing, view = verified.widget.comparing, verified.widget.compared
    monkeypatch.setattr(focus_jobs.Source, "load", lambda source, bowl, report: ready)
    verified.widget.load("other.nii.gz")
    assert verified.widget.wait(PATIENCE)
    assert comparing.reference is None
    assert view.pane is None
    assert view.badge == ""

    comparing.verify()
    assert verified.widget.wait(PATIENCE)
    assert view.pane is not None
    verified.viewer.window.remove_dock_widget(verified.widget)
    QTest.qWait(50)
    assert view.pane is None
    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-")]
    assert not verified.viewer.canvas.overlays[BADGE].visible
