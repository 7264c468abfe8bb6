"""Films in a tab of the whole app; run by test_xray_widget.py in a process of its own."""

import pytest
from bench import PATIENCE
from xray_bench import drop

from napari_trifocal import xray_widget
from napari_trifocal.xray_layers import RECONSTRUCTION
from napari_trifocal.xray_slot import FRONTAL, LATERAL
from trifocal.xray.films.output import save_films
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.planning import plan_grid, project_ct
from trifocal_app.desk import FOCUS, XRAY
from trifocal_app.window import make_desk
from xray_cases import TrunkEngine, trunk


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """What `trifocal project` writes for the trunk."""
    folder, ct = tmp_path_factory.mktemp("films") / "films", trunk()
    geometry = frontal_and_lateral(plan_grid(ct, 24), pixels=64)
    save_films(folder, geometry, project_ct(ct, geometry), ct=ct)
    return folder


def test_films_come_up_in_a_tab_of_the_app_and_their_layers_leave_with_it(films, qtbot, monkeypatch):
    engine = TrunkEngine()
    monkeypatch.setattr(xray_widget, "load_engine", lambda checkpoint, device: engine)
    desk = make_desk([films / "ap.dcm"])
    try:
        assert desk.xray.wait(PATIENCE)
        assert desk.current == XRAY
        desk.begin.clear()  # no sample head
        desk.show(FOCUS)
        drop(desk.viewer.window._qt_viewer, films / "lateral.dcm")
        qtbot.waitUntil(lambda: desk.current == XRAY, timeout=1000 * PATIENCE)
        assert desk.xray.wait(PATIENCE)
        assert set(desk.xray.session.slots) == {FRONTAL, LATERAL}
        desk.xray.session.reconstruct()
        assert desk.xray.wait(PATIENCE)
        names = [layer.name for layer in desk.viewer.layers]
        assert RECONSTRUCTION in names

        desk.show(FOCUS)
        assert not desk.viewer.layers
        desk.xray.session.show_refined(False)  # while it is aside
        assert desk.xray.wait(PATIENCE)
        assert not desk.viewer.layers
        desk.show(XRAY)
        assert [layer.name for layer in desk.viewer.layers] == names
        assert desk.viewer.dims.ndisplay == 3
    finally:
        for widget in (desk.focus, desk.keypoints, desk.xray):
            widget.close()
        desk.viewer.close()
