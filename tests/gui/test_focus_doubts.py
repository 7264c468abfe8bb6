"""The doubts in a real window: asked, said, shown, out of date, cancelled."""

import numpy as np
import pytest
from qtpy.QtTest import QTest

from napari_trifocal.layers import ELLIPSOID, SPREAD

PATIENCE_S = 300


@pytest.fixture
def bench(loaded):
    loaded.widget.form.doubts.samples.setValue(8)
    loaded.click(loaded.widget.form.doubts_group.header)
    QTest.qWait(30)
    return loaded


def test_the_ellipsoid_is_shown_about_the_focus_and_goes_when_the_bowl_moves(bench):
    panel, scene, session = bench.widget.form.doubts, bench.widget.scene, bench.session
    bench.click(panel.begin)
    assert bench.widget.wait(PATIENCE_S)
    QTest.qWait(20)
    found = bench.widget.doubts.doubting.found
    vertices, faces, _ = scene.layer(ELLIPSOID).data
    np.testing.assert_allclose(found.ellipsoid.distance(vertices), 1, atol=1e-3)
    assert faces.max() < len(vertices)
    assert "95 % ellipsoid" in panel.said.text()
    assert "research use only" in panel.said.text().lower()
    assert scene.layer(SPREAD).data.max() == pytest.approx(
        np.where(found.prediction.region, found.std_pa.array, 0).max() / 1e3, rel=0.3
    )

    session.set_pose(session.pose.moved(-3.0))
    assert bench.widget.wait(PATIENCE_S)
    assert scene.layer(ELLIPSOID) is None
    assert scene.layer(SPREAD) is None
    assert not panel.said.isVisible()


def test_doubts_that_are_cancelled_leave_nothing(bench):
    panel = bench.widget.form.doubts
    panel.samples.setValue(200)
    bench.click(panel.begin)
    QTest.qWait(100)
    bench.click(panel.stop)
    assert bench.said[-1].text.startswith("cancelled")
    assert panel.begin.isEnabled()
    assert bench.widget.wait(PATIENCE_S)
    assert bench.widget.doubts.doubting.found is None
