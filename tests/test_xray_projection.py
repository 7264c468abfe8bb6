import subprocess
import sys

import numpy as np
import pytest
import torch

from trifocal.xray import projection
from trifocal.xray.geometry import Geometry, c_arm, frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projector, Projectors
from trifocal.xray.view import View

BOX = Grid((20, 24, 28), (5.0, 4.0, 3.0), (12.0, -7.0, 30.0))
OBLIQUE = ((35.0, 20.0),)


def small(grid=BOX, pixels=32, **options):
    return frontal_and_lateral(
        grid, source_to_detector_mm=900, center_to_detector_mm=150, pixels=pixels, **options
    )


def rays(view):
    """Start and unit direction of each pixel's ray."""
    pixels = view.pixels_mm()
    if view.parallel:
        ahead = view.center_mm - view.source_mm
        return pixels - ahead, np.broadcast_to(ahead / np.linalg.norm(ahead), pixels.shape)
    direction = pixels - view.source_mm
    return np.broadcast_to(view.source_mm, pixels.shape), direction / np.linalg.norm(
        direction, axis=-1, keepdims=True
    )


def chord(view, center, radius):
    """Length of each ray within a sphere."""
    start, direction = rays(view)
    offset = start - center
    closest = (offset**2).sum(-1) - (offset * direction).sum(-1) ** 2
    return 2 * np.sqrt(np.clip(radius**2 - closest, 0, None))


def through_box(view, low, high):
    """Length of each ray within an upright box."""
    start, direction = rays(view)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.stack([(low - start) / direction, (high - start) / direction])
    enter = np.nanmax(np.nanmin(crossings, axis=0), axis=-1)
    leave = np.nanmin(np.nanmax(crossings, axis=0), axis=-1)
    return np.clip(leave - enter, 0, None)


def ball(grid, center, radius, fine=4):
    """Share of each voxel that a ball fills."""
    finer = grid.with_voxels(tuple(fine * n for n in grid.shape))
    axes = [(finer.centers_mm(a) - center[a]) ** 2 for a in range(3)]
    inside = sum(np.meshgrid(*axes, indexing="ij")) < radius**2
    shape = [m for n in grid.shape for m in (n, fine)]
    return torch.as_tensor(inside.reshape(shape).mean((1, 3, 5)), dtype=torch.float32)


@pytest.mark.parametrize("parallel", [False, True])
def test_rays_within_a_filled_box_measure_their_true_length(parallel):
    for view in small(parallel=parallel).views:
        found = Projector(view, BOX).forward(torch.ones(BOX.shape)).numpy()
        main = int(np.argmax(np.abs(view.normal)))
        trimmed = (BOX.extent_mm - 2 * np.array(BOX.spacing_mm)) / 2  # at the sides a voxel fades to the next
        trimmed[main] = BOX.extent_mm[main] / 2
        low, high = BOX.center_mm - trimmed, BOX.center_mm + trimmed
        true = through_box(view, low, high)
        _, direction = rays(view)
        whole = np.abs(true - BOX.extent_mm[main] / np.abs(direction[..., main])) < 1e-6
        assert whole.mean() > 0.3
        np.testing.assert_allclose(found[whole], true[whole], rtol=1e-5)


@pytest.mark.parametrize(
    "views",
    [
        small(Grid.cube(120, 40)).views,
        small(Grid.cube(120, 40), parallel=True).views,
        c_arm(Grid.cube(120, 40), OBLIQUE).views,
    ],
    ids=["cone", "parallel", "askew"],
)
def test_a_sphere_casts_its_closed_form(views):
    grid, center, radius = Grid.cube(120, 40), np.array([8.0, -5.0, 4.0]), 38.0
    volume = ball(grid, center, radius)
    for view in views:
        found = Projector(view, grid).forward(volume).numpy()
        true = chord(view, center, radius)
        assert np.sqrt(((found - true) ** 2).mean()) < 0.02 * 2 * radius  # the rim, blurred by a voxel
        inside = true > 0.6 * 2 * radius
        np.testing.assert_allclose(found[inside], true[inside], atol=0.02 * 2 * radius)
        assert found.max() == pytest.approx(2 * radius, rel=0.01)
        assert found.sum() == pytest.approx(true.sum(), rel=0.005)


def test_a_box_off_centre_casts_its_closed_form():
    grid = Grid.cube(120, 40, (5, 6, 7))
    volume = torch.zeros(grid.shape)
    volume[4:20, 10:33, 8:15] = 1
    low = grid.low_mm + 3.0 * np.array([4, 10, 8])
    high = grid.low_mm + 3.0 * np.array([20, 33, 15])
    for view in small(grid, pixels=256).views:
        found = Projector(view, grid).forward(volume).numpy()
        true = through_box(view, low, high)
        assert found.sum() == pytest.approx(true.sum(), rel=0.005)
        assert np.median(np.abs(found - true)[true > 0]) < 0.01 * true.max()


def test_finer_voxels_come_closer_to_the_sphere():
    errors = []
    for voxels in (16, 32, 64):
        grid = Grid.cube(100, voxels)
        view = small(grid, pixels=64).views[0]
        found = Projector(view, grid).forward(ball(grid, np.zeros(3), 35.0)).numpy()
        errors.append(np.sqrt(((found - chord(view, np.zeros(3), 35.0)) ** 2).mean()))
    assert errors[2] < errors[1] / 1.8 < errors[0] / 3.2


@pytest.mark.parametrize(
    "geometry",
    [small(pixels=9), small(pixels=9, parallel=True), c_arm(BOX, OBLIQUE, pixels=9)],
    ids=["cone", "parallel", "askew"],
)
def test_the_adjoint_is_the_transpose(geometry):
    torch.manual_seed(0)
    projectors = Projectors.of(geometry.views, BOX)
    volume = torch.randn(2, *BOX.shape, dtype=torch.float64)
    images = [torch.randn(2, *view.shape, dtype=torch.float64) for view in geometry.views]
    there = sum((p * q).sum() for p, q in zip(projectors.forward(volume), images, strict=True))
    back = (volume * projectors.adjoint(images)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-10)


@pytest.mark.parametrize("views", [small, lambda grid, pixels: c_arm(grid, OBLIQUE, pixels=pixels)])
def test_both_ways_have_their_derivatives(views):
    grid = Grid((3, 4, 2), (30.0, 20.0, 40.0))
    projector = Projector(views(grid, pixels=3).views[0], grid)
    volume = torch.rand(2, *grid.shape, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(projector.forward, volume)
    assert torch.autograd.gradcheck(projector.adjoint, image)
    assert torch.autograd.gradgradcheck(projector.forward, volume)


@pytest.mark.parametrize("geometry", [small(), c_arm(BOX, OBLIQUE, pixels=32)], ids=["upright", "askew"])
def test_chunks_give_what_the_whole_gives(geometry, monkeypatch):
    volume = torch.rand(3, *BOX.shape)
    image = torch.rand(3, 32, 32)
    for view in geometry.views:
        whole = Projector(view, BOX)
        there, back = whole.forward(volume), whole.adjoint(image)
        with monkeypatch.context() as patch:
            patch.setattr(projection, "_CHUNK_BYTES", 20_000)
            pieces = Projector(view, BOX)
            torch.testing.assert_close(pieces.forward(volume), there)
            torch.testing.assert_close(pieces.adjoint(image), back)


@pytest.mark.parametrize("parallel", [False, True])
def test_the_askew_way_agrees_with_the_upright_one(parallel):
    volume = torch.rand(2, *BOX.shape)
    for view in small(parallel=parallel).views:
        upright, askew = Projector(view, BOX), Projector(view, BOX)
        assert upright.separable
        askew.separable = False
        torch.testing.assert_close(askew.forward(volume), upright.forward(volume), rtol=1e-4, atol=1e-3)


def test_a_detector_turned_in_its_plane_shows_the_same_things_elsewhere():
    frontal = small().views[0]
    turned = View(
        "turned",
        frontal.source_mm,
        frontal.origin_mm + 31 * frontal.u_mm,
        frontal.v_mm,
        -frontal.u_mm,
        (32, 32),
    )
    volume = torch.rand(BOX.shape)
    there, here = (Projector(view, BOX).forward(volume) for view in (frontal, turned))
    torch.testing.assert_close(here, torch.rot90(there, 1), rtol=1e-5, atol=1e-4)


def asymmetric():
    """A body with a dense "heart" at the patient's left, in front, in the upper half."""
    grid = Grid.cube(100, 20)
    volume = torch.full(grid.shape, 0.001)
    volume[3:7, 14:18, 12:16] = 1.0  # low x: left; high y: front; high z: up
    return grid, volume


@pytest.mark.parametrize("frontal", ["AP", "PA"])
@pytest.mark.parametrize("parallel", [False, True])
def test_films_show_the_patient_facing_us_and_facing_left(frontal, parallel):
    grid, volume = asymmetric()
    views = small(grid, frontal=frontal, parallel=parallel).views
    front, side = (Projector(view, grid).forward(volume).numpy() for view in views)
    for film, where in ((front, "right"), (side, "left")):
        row, column = np.unravel_index(film.argmax(), film.shape)
        assert row < 14
        assert column > 17 if where == "right" else column < 14


def test_what_is_near_the_detector_is_magnified_less():
    grid, volume = asymmetric()
    widths = {}
    for name in ("AP", "PA"):
        view = small(grid, frontal=name, pixels=128).views[0]
        film = Projector(view, grid).forward(volume)
        columns = film.amax(0) > 0.5 * film.max()
        widths[name] = int(columns.sum()) * view.pixel_mm[1]
    assert widths["PA"] < widths["AP"]  # the heart is in front, and so is the detector in PA
    near = 900 / (750 - 20 - 30)  # SID over the distance of the heart's nearest face, AP
    assert widths["AP"] == pytest.approx(20 * near, abs=2 * 1.2)


def test_a_point_falls_where_the_view_says():
    grid = Grid.cube(90, 45)
    index = (30, 12, 33)
    volume = torch.zeros(grid.shape)
    volume[index] = 1
    point = grid.image(volume.numpy(), "").index_to_world(index)
    for view in (*small(grid, pixels=64).views, *c_arm(grid, OBLIQUE, pixels=64).views):
        film = Projector(view, grid).forward(volume).numpy()
        center = [(film * n).sum() / film.sum() for n in np.indices(film.shape)]
        np.testing.assert_allclose(center, view.project(point), atol=0.2)


def test_nothing_behind_the_detector_is_seen():
    grid = Grid.cube(100, 20)
    view = small(grid).views[0]  # AP: towards -y
    within = View("AP", view.source_mm, view.origin_mm + [0, 150, 0], view.u_mm, view.v_mm, view.shape)
    behind = torch.zeros(grid.shape)
    behind[:, :10] = 1
    for separable in (True, False):
        projector = Projector(within, grid)
        projector.separable = separable
        assert projector.forward(behind).abs().max() == 0
        assert projector.forward(1 - behind).max() > 40


def test_all_that_a_projector_makes_lives_on_its_device():
    """The meta device refuses to mix with the CPU as a GPU would."""
    for view in small().views:
        projector = Projector(view, BOX, "meta")
        film = projector.forward(torch.empty(2, *BOX.shape, device="meta"))
        assert film.device.type == "meta"
        assert film.shape == (2, *view.shape)
        assert projector.adjoint(film).shape == (2, *BOX.shape)


def test_views_keep_the_leading_axes_of_a_batch():
    projectors = Projectors.of(small().views, BOX)
    volume = torch.rand(2, 1, *BOX.shape)
    films = projectors.forward(volume)
    assert [film.shape for film in films] == [(2, 1, 32, 32)] * 2
    assert projectors.adjoint(films).shape == volume.shape
    torch.testing.assert_close(projectors.forward(volume[0, 0])[1], films[1][0, 0])


def test_memory_of_a_large_volume_is_bounded():
    """256^3 to 256^2, there and back for the gradient: the volume is 64 MiB, its gradient as much."""
    script = """
import resource, torch
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.projection import Projector
grid = Grid.cube(400, 256)
view = frontal_and_lateral(grid, pixels=256).views[0]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
volume = torch.zeros(grid.shape, requires_grad=True)
Projector(view, grid).forward(volume).sum().backward()
assert volume.grad.max() > 0
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert float(ran.stdout) < 700


def test_a_geometry_needs_its_source_outside():
    frontal = small().views[0]
    inside = View(
        "AP", np.array(BOX.center_mm) + 1, frontal.origin_mm, frontal.u_mm, frontal.v_mm, frontal.shape
    )
    with pytest.raises(ValueError, match="source of the AP view must stand outside the volume"):
        Geometry((inside,), BOX)
