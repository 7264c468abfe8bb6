"""The X-ray widget in a real window, by real mouse and keyboard events."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from xray_bench import XrayBench, drop

from napari_trifocal.layers import to_layers
from napari_trifocal.xray_layers import (
    BONE,
    ERROR,
    FILMS,
    FRONTAL_FILM,
    LATERAL_FILM,
    LUNG,
    RAYS,
    RECONSTRUCTION,
    SKIN,
    SOURCES,
    STD,
    WINDOWS,
)
from napari_trifocal.xray_slot import FRONTAL, LATERAL
from trifocal import io
from trifocal.xray.films.output import save_films
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.planning import plan_grid, project_ct
from xray_cases import MARKER_MM, trunk

MARKER = np.array([10.0, -20.0, 300.0]) + MARKER_MM


@pytest.fixture
def bench(make_napari_viewer, monkeypatch):
    made = XrayBench(make_napari_viewer(show=True), monkeypatch)
    yield made
    made.engine.gate.set()
    made.widget.close()


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """What `trifocal project` writes for the trunk."""
    folder, ct = tmp_path_factory.mktemp("films") / "films", trunk()
    geometry = frontal_and_lateral(plan_grid(ct, 24), pixels=64)
    save_films(folder, geometry, project_ct(ct, geometry), ct=ct)
    return folder


def test_x_rays_of_a_ct_are_simulated_reconstructed_and_compared_by_mouse_and_keys(bench):
    ct = bench.add_ct()
    bench.click(bench.form.simulate.simulate)
    bench.wait()
    assert bench.form.slots[FRONTAL].picture.pixmap().width() > 50
    assert "AP of small trunk" in bench.form.slots[FRONTAL].about.text()
    bench.click(bench.form.run.run)
    bench.wait()

    reconstruction = bench.scene.layer(RECONSTRUCTION)
    assert bench.world_of(reconstruction, reconstruction.data > 1500) == pytest.approx(MARKER, abs=6.0)
    assert bench.viewer.dims.ndisplay == 3
    assert bench.scene.layer(SKIN).visible
    assert not reconstruction.visible
    assert not ct.visible  # in 3-D it would hide the surfaces
    for role in (LUNG, BONE, RAYS, SOURCES):
        assert bench.scene.layer(role).visible
    for side, role in zip((FRONTAL, LATERAL), FILMS, strict=True):
        view = bench.session.arrangement.resolved.view(side)
        assert bench.scene.layer(role).vertices.mean(0) == pytest.approx(view.center_mm, abs=1e-2)

    bench.click(bench.form.views["coronal"])
    assert bench.viewer.dims.ndisplay == 2
    assert reconstruction.visible
    assert not bench.scene.layer(SKIN).visible
    assert bench.viewer.dims.range[1].stop < 200  # the slider does not go as far as the sources
    for key, name in ((Qt.Key.Key_B, "bone"), (Qt.Key.Key_L, "lung"), (Qt.Key.Key_S, "soft")):
        bench.press(key)
        assert tuple(reconstruction.contrast_limits) == WINDOWS[name]
        assert tuple(ct.contrast_limits) == WINDOWS[name]

    refined = reconstruction.data.mean()
    assert bench.form.result.plot.rows[0].title.startswith("AP: residual ")
    after = bench.form.result.plot.rows[0].residual
    bench.press(Qt.Key.Key_R)
    bench.wait()
    assert bench.scene.layer(RECONSTRUCTION).data.mean() == pytest.approx(refined + 95.0, abs=0.5)
    assert bench.form.result.plot.rows[0].residual > after
    assert not bench.form.result.refined.isChecked()
    assert bench.scene.layer(ERROR).data == pytest.approx(100.0, abs=0.1)

    table = bench.form.result.scores
    names = [table.item(i, 0).text() for i in range(table.rowCount())]
    assert names == ["refined", "not refined", "constant", "visual hull", "least squares", "silhouette *"]
    assert "[-1000, 1000] HU, range 2000 HU, voxels" in bench.form.result.score_text.text()
    bench.click(bench.form.result.maps[STD])
    assert bench.scene.layer(STD).visible


def test_files_are_dropped_exchanged_views_are_offered_and_not_applied_and_the_result_says_so(
    bench, films, tmp_path
):
    drop(bench.form.slots[FRONTAL], films / "lateral.dcm")
    bench.wait()
    drop(bench.form.slots[LATERAL], films / "ap.dcm")
    bench.wait()

    assert "Exchange the views" in bench.form.offers.buttons
    assert bench.session.slots[FRONTAL].radiograph.name == "lateral.dcm"
    bench.click(bench.form.run.run)
    bench.wait()
    assert bench.session.slots[FRONTAL].radiograph.name == "lateral.dcm"
    assert "made in spite of: " in bench.form.doubt.text()
    assert bench.form.doubt.isVisible()

    bench.click(bench.form.offers.buttons["Exchange the views"])
    bench.wait()
    assert bench.session.slots[FRONTAL].radiograph.name == "ap.dcm"
    assert not bench.form.offers.buttons
    assert "reconstruct again" in bench.form.doubt.text()
    bench.click(bench.form.run.run)
    bench.wait()
    assert "made in spite of" not in bench.form.doubt.text()

    bench.form.folder_chosen.emit(str(tmp_path / "out"))
    bench.wait()
    assert "saved to" in bench.said[-1].text
    assert io.read(tmp_path / "out" / "ct.nii.gz").shape == bench.scene.layer(RECONSTRUCTION).data.shape


def test_a_geometry_is_typed_and_one_that_makes_no_sense_goes_back(bench, films):
    drop(bench.form.slots[FRONTAL], films / "ap.dcm", films / "lateral.dcm")
    bench.wait()
    source = bench.form.geometry.source[FRONTAL]
    assert source.value() == pytest.approx(1800.0)
    assert "known exactly" in bench.form.geometry.box.text()

    bench.type(source, "1500")
    assert bench.session.arrangement.resolved.view(FRONTAL).source_to_detector_mm == pytest.approx(1500.0)
    bench.type(bench.form.geometry.center[FRONTAL], "1490")
    assert bench.form.geometry.center[FRONTAL].value() == pytest.approx(250.0)
    assert bench.said[-1].is_error
    bench.type(source, "450")
    bench.wait()
    assert "1000 to 2000 mm is usual" in bench.form.geometry.doubts.text()


def test_the_window_lives_while_it_reconstructs_and_cancel_stops_it(bench):
    bench.add_ct()
    bench.click(bench.form.simulate.simulate)
    bench.wait()
    bench.engine.gate.clear()
    bench.click(bench.form.run.run)
    bench.wait_for(lambda: bench.engine.seen)
    bench.click(bench.form.views["axial"])  # still answers
    assert bench.viewer.dims.order == (2, 1, 0)
    assert bench.engine.seen[0][1] == "trifocal-xray"

    bench.wait_for(bench.form.cancel.isEnabled)
    bench.click(bench.form.cancel)
    bench.wait()
    assert bench.said[-1].text == "cancelled"
    assert bench.scene.layer(RECONSTRUCTION) is None


def test_a_film_that_is_dropped_on_the_viewer_goes_into_its_slot_and_one_alone_is_enough(bench, films):
    ((data, look, _),) = to_layers(io.read_radiograph(films / "lateral.dcm"))
    bench.viewer.add_image(data, **look)
    bench.wait_for(lambda: bench.session.slots)
    assert list(bench.session.slots) == [LATERAL]
    assert not bench.viewer.layers  # flat, it has no place among volumes
    bench.wait()
    bench.click(bench.form.run.run)
    bench.wait()

    assert bench.scene.layer(LATERAL_FILM) is not None
    assert bench.scene.layer(FRONTAL_FILM) is None
    assert len(bench.form.result.plot.rows) == 1


def test_a_truth_is_chosen_among_the_layers_and_taken_back(bench, films):
    bench.widget.load([films / "ap.dcm", films / "lateral.dcm"])
    bench.wait()
    bench.add_ct()
    bench.click(bench.form.run.run)
    bench.wait()
    assert bench.scene.layer(ERROR) is None

    truth = bench.form.result.truth
    truth.setFocus()
    QTest.keyClick(truth, Qt.Key.Key_Down)
    truth.activated.emit(truth.currentIndex())
    bench.wait()
    assert bench.scene.layer(ERROR).data == pytest.approx(5.0, abs=0.1)
    truth.setCurrentIndex(0)
    truth.activated.emit(0)
    bench.wait()
    assert bench.scene.layer(ERROR) is None


def test_closing_its_dock_while_it_reconstructs_ends_its_threads_and_lets_go_of_the_viewer(bench):
    bench.add_ct()
    bench.click(bench.form.simulate.simulate)
    bench.wait()
    bench.engine.gate.clear()
    bench.click(bench.form.run.run)
    bench.wait_for(lambda: bench.engine.seen)
    bench.viewer.window.remove_dock_widget(bench.widget)

    assert not [t for t in threading.enumerate() if t.name.startswith("trifocal-xray")]
    bench.press(Qt.Key.Key_B)
    bench.viewer.dims.ndisplay = 3
    assert bench.session.answer is None


def test_films_come_up_in_a_tab_of_the_app_and_their_layers_leave_with_it():
    # in a process of its own: napari registers the commands of all plugins once in a process
    words = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).with_name("xray_tab.py"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
