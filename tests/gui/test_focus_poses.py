"""The search for a pose in a real window: found, flown to, taken back, mapped, out of date."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_trifocal.layers import BOWL, SCALP
from trifocal.focus.pose_search import scalp, search

PATIENCE_S = 300
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def bench(loaded, monkeypatch):
    monkeypatch.setattr(search, "STEPS", 1)
    monkeypatch.setattr(scalp, "APART_MM", 45.0)
    panel = loaded.widget.form.poses
    panel.starts.setValue(2)
    panel.simulations.setValue(0)
    panel.standoff.setValue(1.0)
    loaded.click(loaded.widget.form.poses_group.header)
    QTest.qWait(30)
    return loaded


def find(bench):
    bench.click(bench.widget.form.poses.begin)
    assert bench.widget.wait(PATIENCE_S)
    QTest.qWait(20)
    return bench.widget.poses.finding.found


def test_a_click_on_a_pose_flies_there_and_undo_comes_back(bench):
    session, panel = bench.session, bench.widget.form.poses
    before = session.pose
    found = find(bench)
    assert found
    assert panel.table.rowCount() == len(found)
    assert panel.table.item(0, 0).text() == f"{found[0].distance_mm:.1f}"
    assert session.pose is before  # nothing is flown to unasked

    cell = panel.table.visualItemRect(panel.table.item(0, 0)).center()
    QTest.mouseClick(panel.table.viewport(), LEFT, pos=cell)
    assert bench.widget.wait(PATIENCE_S)
    np.testing.assert_allclose(session.pose.matrix, found[0].pose.matrix)
    apex = bench.widget.scene.layer(BOWL).data[0][0]
    np.testing.assert_allclose(apex, found[0].pose.apex_mm, atol=0.01)
    assert session.prediction.inputs.pose is session.pose

    session.undo()
    assert bench.widget.wait(PATIENCE_S)
    assert session.pose is before


def test_poses_and_map_go_when_the_target_moves(bench):
    panel, scene = bench.widget.form.poses, bench.widget.scene
    assert find(bench)
    bench.click(panel.map)
    assert bench.widget.wait(PATIENCE_S)
    layer = scene.layer(SCALP)
    vertices, faces, values = layer.data
    assert faces.max() < len(vertices)
    assert np.isfinite(values).all()
    assert layer.visible

    bench.session.set_target(bench.session.target_mm + [4.0, 0, 0])
    assert bench.widget.wait(PATIENCE_S)
    assert scene.layer(SCALP) is None
    assert not panel.map.isChecked()
    assert panel.table.rowCount() == 0


def test_cancel_ends_the_search_and_says_so(bench):
    panel = bench.widget.form.poses
    panel.starts.setValue(60)
    bench.click(panel.begin)
    QTest.qWait(200)
    assert panel.stop.isEnabled()
    bench.click(panel.stop)
    assert bench.said[-1].text.startswith("cancelled")
    assert panel.begin.isEnabled()
    assert bench.widget.wait(PATIENCE_S)
    assert panel.table.rowCount() == 0
