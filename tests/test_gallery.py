"""The percentile gallery: its surfaces, its picture and its page."""

import base64
import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from tfuscapes_cases import shell_data_set
from trifocal.focus.dataset_evaluation.evaluation import DataSetPlan, evaluate_data_set
from trifocal.focus.dataset_evaluation.output import save_data_set_evaluation
from trifocal.focus.dataset_evaluation.percentiles import GalleryCase
from trifocal.focus.dataset_evaluation.scene import Scene, find_case
from trifocal.focus.tfuscapes import DataSet

if sys.platform == "linux":  # VTK would look for an X server first
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

from trifocal_app.gallery import GalleryScene, draw_gallery, shell, skull_surface
from trifocal_app.gallery_command import Gallery
from trifocal_app.gallery_page import write_page

RADIUS_MM = 33.0  # of the bone


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return folder, *shell_data_set(folder)


@pytest.fixture(scope="module")
def case(folders):
    data = DataSet.open(folders[2], "test")
    sample = data.load(data.names[0])
    scene = Scene.of(sample, find_case(sample, [folders[1]]))
    return GalleryCase(5.0, 1.25, scene, scene.truth, {})


@pytest.fixture(scope="module")
def scene(case):
    return GalleryScene.of(case)


def test_the_skull_is_the_shell_of_bone(case):
    vertices, faces = skull_surface(case.scene)
    radius = np.linalg.norm(vertices, axis=1)
    assert len(faces) > 100
    assert np.percentile(radius, 95) == pytest.approx(RADIUS_MM, abs=3)
    boneless = replace(case.scene.sample, ct=np.zeros_like(case.scene.sample.ct))
    assert len(skull_surface(Scene.of(boneless))[1]) == 0


def test_a_shell_lies_where_the_field_has_its_level(case):
    scene = case.scene
    axes = [scene.box.axis_mm(a) for a in range(3)]
    middle = np.array([axis[n // 2] for axis, n in zip(axes, scene.box.shape, strict=True)])
    distance = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij"), -1) - middle, axis=-1)
    everywhere = Scene.of(scene.sample)
    everywhere.region[:] = True
    vertices, _ = shell(everywhere, np.maximum(1 - distance / 20, 0), 0.5)
    radius = np.linalg.norm(scene.pose.from_world(vertices) - middle, axis=1)
    assert radius.mean() == pytest.approx(10, abs=1.0)
    assert len(shell(everywhere, np.zeros(scene.box.shape), 0.5)[1]) == 0


def test_prediction_and_truth_are_the_same_where_they_agree(scene):
    assert scene.title == "5th percentile: 1.2 mm"
    for found, true in zip(scene.found, scene.true, strict=True):
        np.testing.assert_array_equal(found[0], true[0])
    assert np.linalg.norm(scene.viewpoint) == pytest.approx(1)


def test_the_picture_has_grey_red_and_blue_in_both_rows(scene, tmp_path):
    draw_gallery(tmp_path / "gallery.png", [scene, scene], "truth")
    picture = imread(tmp_path / "gallery.png")[..., :3]
    assert picture.shape[:2] == (960, 960)
    for row in (picture[:480], picture[480:]):
        red, green, blue = row[..., 0], row[..., 1], row[..., 2]
        assert ((red > 0.5) & (green < 0.3)).sum() > 500
        assert ((blue > 0.4) & (blue > red + 0.15)).sum() > 100
        assert ((np.ptp(row, axis=-1) < 0.05) & (red > 0.1)).sum() > 1000
    with pytest.raises(ValueError, match="at least one sample"):
        draw_gallery(tmp_path / "none.png", [], "")


def test_the_page_holds_the_surfaces_and_needs_no_network(scene, tmp_path):
    write_page(tmp_path / "gallery.html", [scene], "a < b")
    page = (tmp_path / "gallery.html").read_text()
    assert "a &lt; b" in page
    assert "http" not in page
    start = page.index("const SCENES = ") + len("const SCENES = ")
    (shown,) = json.loads(page[start : page.index(";\n", start)])
    assert shown["sides"][0][0] == shown["sides"][1][0] == 0
    bowl = shown["meshes"][0]
    packed = np.frombuffer(base64.b64decode(bowl["vertices"]), "<u2").reshape(-1, 3)
    vertices = np.array(bowl["low"]) + packed / 65535 * np.array(bowl["size"])
    np.testing.assert_allclose(vertices, scene.bowl[0], atol=0.01)
    faces = np.frombuffer(base64.b64decode(bowl["faces"]), "<u2").reshape(-1, 3)
    np.testing.assert_array_equal(faces, scene.bowl[1])


def test_the_command_writes_picture_and_page(folders, tmp_path, capsys):
    evaluation = evaluate_data_set(DataSetPlan((folders[2],), ("has",), cases=(folders[1],), device="cpu"))
    save_data_set_evaluation(evaluation, tmp_path / "table")
    out = tmp_path / "out"
    Gallery(evaluation=tmp_path / "table", engine="has", percentiles=(5.0, 95.0), out=out).run()
    assert sorted(p.name for p in out.iterdir()) == ["gallery.html", "gallery.png"]
    assert capsys.readouterr().out.count("percentile") == 2
    with pytest.raises(ValueError, match="must be one of the evaluation's"):
        Gallery(evaluation=tmp_path / "table", engine="no", out=tmp_path / "no").run()
