"""Results as layer data: where they lie, which way they face, and that no window is needed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heads import shell_ct
from napari_trifocal.layers import (
    BOWL,
    CLOUD,
    CT,
    DIFFERENCE,
    PINNED_CLOUD,
    PINNED_SHELL,
    SHELL,
    SKULL,
    SLICES,
    TARGET,
    VIEWS,
    bowl_layer,
    difference_layer,
    pinned_layers,
    to_layers,
    upright,
)
from napari_trifocal.meshes import bowl_mesh, decimate, skull_mesh
from trifocal.focus.comparison import compare
from trifocal.focus.head import Head
from trifocal.focus.placement import aim
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.transducer import PRESETS
from trifocal.image import Image


@pytest.fixture(scope="module")
def head():
    return Head.from_image(shell_ct(radii_mm=(62.0, 56.0, 51.0), flip=True))


@pytest.fixture(scope="module")
def prediction(head):
    pose, _ = aim(head, PRESETS["default"], [10.0, 5.0, 20.0], [30.0, 30.0, 60.0])
    return FocusPredictor("free-field").predict(FocusInput(head, PRESETS["default"], pose, [10.0, 5.0, 20.0]))


def named(layers):
    return {look["name"]: (data, look, kind) for data, look, kind in layers}


def asymmetric(order=(0, 1, 2), flips=(1, 1, 1)):
    """A volume of 0 with one voxel of 1 at the world point (30, 40, 50), stored along any axes."""
    canonical = np.zeros((40, 50, 60), np.float32)
    canonical[30, 40, 50] = 1
    array = canonical.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * flips
    last = np.array([canonical.shape[axis] - 1 for axis in order])
    affine[:3, 3] = -affine[:3, :3] @ np.where(np.array(flips) < 0, last, 0)
    return Image(array, affine, "HU")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_an_image_lies_along_the_world_axes_however_it_is_stored(order, flips):
    image = asymmetric(order, flips)
    assert image.sample([[30.0, 40.0, 50.0]]) == pytest.approx(1)

    data, look, kind = to_layers(image)[0]
    shown = Image(data, look["affine"])

    assert kind == "image"
    assert (np.diag(look["affine"])[:3] > 0).all()
    assert np.count_nonzero(look["affine"][:3, :3]) == 3
    assert shown.index_to_world(np.argwhere(data == 1)[0]) == pytest.approx([30, 40, 50])
    assert np.shares_memory(data, image.array)


def test_an_oblique_image_is_resampled_and_says_so():
    image = asymmetric()
    turned = image.affine.copy()
    c, s = np.cos(0.3), np.sin(0.3)
    turned[:2, :2] = [[c, -s], [s, c]]
    oblique = Image(image.array, turned, "HU")

    data, look, _ = to_layers(oblique, name="head")[0]

    assert "resampled" in look["name"]
    assert upright(oblique).is_axis_aligned
    peak = np.unravel_index(data.argmax(), data.shape)
    where = Image(data, look["affine"]).index_to_world(peak)
    assert where == pytest.approx(oblique.index_to_world([30, 40, 50]), abs=1.0)


@pytest.mark.parametrize("name", VIEWS)
def test_no_view_shows_left_as_right(name):
    view = VIEWS[name]
    points = {"away": -1, "towards": 1, "down": -1, "up": 1, "left": -1, "right": 1}
    depth, vertical, horizontal = (points[o] for o in view.orientation)
    # Columns: what each world axis is on the screen, as (to the right, up, toward the viewer).
    screen = np.zeros((3, 3))
    screen[:, view.order[0]] = [0, 0, depth]
    screen[:, view.order[1]] = [0, vertical, 0]
    screen[:, view.order[2]] = [horizontal, 0, 0]

    assert np.linalg.det(screen) == pytest.approx(1)


def test_a_head_is_its_ct_and_a_closed_light_skull(head):
    layers = named(to_layers(head))
    vertices, faces, values = layers[SKULL][0]

    assert list(layers) == [CT, SKULL]
    radii = np.linalg.norm(vertices, axis=1)
    assert radii[values == 1] == pytest.approx(56.0, abs=2.5)
    assert (radii[values == 0] < radii[values == 1]).all()
    assert 1000 < len(faces) <= 10_000
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).mean() > 0.99
    assert len(values) == len(vertices)


def test_fewer_triangles_keep_the_shape(head):
    vertices, faces = skull_mesh(head)
    fewer, corners = decimate(vertices, faces, 1500)

    assert 500 < len(corners) <= 1500
    assert np.linalg.norm(fewer, axis=1) == pytest.approx(56.0, abs=3.0)


def test_a_prediction_is_the_field_on_slices_a_cloud_a_shell_the_bowl_and_the_target(prediction):
    layers = named(to_layers(prediction))

    assert list(layers) == [SLICES, CLOUD, SHELL, BOWL, TARGET]
    assert layers[TARGET][0] == pytest.approx(np.array([[10.0, 5.0, 20.0]]))
    for name in (SLICES, CLOUD):
        assert (
            np.count_nonzero(layers[name][1]["affine"][:3, :3]) == 3
        )  # nothing that napari's 2-D view turns


@pytest.mark.parametrize("name", [SLICES, CLOUD])
def test_the_field_is_shown_where_it_is(prediction, name):
    data, look, _ = named(to_layers(prediction))[name]
    shown = Image(data, look["affine"])
    peak = shown.index_to_world(np.unravel_index(data.argmax(), data.shape))

    inside = np.where(prediction.region, prediction.pressure.array, 0)
    assert inside.max() / 1e3 >= data.max() * 0.99
    if name == CLOUD:
        truth = prediction.pressure.index_to_world(np.unravel_index(inside.argmax(), inside.shape))
        assert peak == pytest.approx(truth, abs=4.0)
        assert max(data.shape) <= 50
    else:
        index = np.round(shown.world_to_index(prediction.figures.focus_mm)).astype(int) + [1, -2, 2]
        truth = prediction.pressure.sample(shown.index_to_world(index)) / 1e3
        assert data[tuple(index)] == pytest.approx(truth, rel=1e-3)


def test_slices_lie_on_the_grid_of_the_ct(prediction, head):
    _, look, _ = named(to_layers(prediction))[SLICES]
    index = upright(head.ct).world_to_index(look["affine"][:3, 3])

    assert index == pytest.approx(np.round(index), abs=1e-6)


def test_the_shell_holds_the_focus_and_has_the_length_of_the_figures(prediction):
    (vertices, faces, _), _, _ = named(to_layers(prediction))[SHELL]
    along = (vertices - prediction.figures.focus_mm) @ prediction.inputs.pose.direction

    assert len(faces)
    assert along.min() < 0 < along.max()
    assert np.ptp(along) == pytest.approx(prediction.figures.fwhm_mm[0], abs=2.5)


def test_the_bowl_lies_in_its_pose_with_its_focus(prediction):
    bowl, pose = prediction.inputs.bowl, prediction.inputs.pose
    (vertices, faces, _), look, _ = bowl_layer(bowl, pose)
    orange = bowl_layer(bowl, pose, "the bowl cuts 3 mm into the head")[1]
    focus = pose.to_world([0, 0, bowl.radius_of_curvature_mm])

    assert np.linalg.norm(vertices - pose.apex_mm, axis=1).min() < 1e-3
    assert np.linalg.norm(vertices - focus, axis=1).min() < 3.0
    assert faces.max() == len(vertices) - 1
    assert look["colormap"] != orange["colormap"]
    assert len(bowl_mesh(bowl)[1]) < 2000


def test_a_difference_lies_where_it_is_signed_and_centred_on_zero(prediction):
    pressure = prediction.pressure.array.copy()
    pressure[30:36, 30:36, 70:76] -= 4e4  # weaker here
    weaker = replace(prediction, pressure=replace(prediction.pressure, array=pressure))
    comparison = compare(weaker, prediction)
    data, look, kind = difference_layer(comparison)
    shown = Image(data, look["affine"])
    there = prediction.pressure.index_to_world([32.5, 32.5, 72.5])

    assert (look["name"], kind) == (DIFFERENCE, "image")
    assert np.count_nonzero(look["affine"][:3, :3]) == 3
    assert look["contrast_limits"] == pytest.approx((-40.0, 40.0), rel=1e-3)  # kPa
    assert shown.sample(there) == pytest.approx(-40.0, rel=0.01)
    assert data.max() == pytest.approx(0.0, abs=1e-3)
    plane = look["plane"]
    assert shown.index_to_world(plane["position"]) == pytest.approx(prediction.figures.focus_mm)
    assert plane["normal"] @ prediction.inputs.pose.direction == pytest.approx(0.0, abs=1e-9)


def test_a_pinned_prediction_has_its_own_names_and_colours_at_the_same_place(prediction):
    pinned, own = named(pinned_layers(prediction)), named(to_layers(prediction))

    assert list(pinned) == [PINNED_CLOUD, PINNED_SHELL]
    assert pinned[PINNED_CLOUD][0] == pytest.approx(own[CLOUD][0])
    assert pinned[PINNED_CLOUD][1]["affine"] == pytest.approx(own[CLOUD][1]["affine"])
    for mine, other in ((PINNED_CLOUD, CLOUD), (PINNED_SHELL, SHELL)):
        assert pinned[mine][1]["colormap"] != own[other][1]["colormap"]


def test_nothing_is_known_of_other_results():
    with pytest.raises(TypeError, match="no layers are known for a str"):
        to_layers("a result")


def test_layers_and_reader_import_no_gui():
    blocked = ("qtpy", "superqt", "magicgui", "vispy", "PyQt6", "PySide6", "pyvista")
    code = f"import sys\nfor m in {blocked!r}: sys.modules[m] = None\n"
    code += "import napari_trifocal.layers, napari_trifocal.reader, napari_trifocal.worker\n"
    code += "import napari_trifocal.focus_session\nassert 'napari' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent
    )

    assert done.returncode == 0, done.stderr
