"""Synthetic B-mode images: the physics has its closed forms, and landmarks lie on the anatomy shown."""

import csv
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from scipy.ndimage import map_coordinates

from trifocal.cli import main
from trifocal.keypoints.ellipse import Ellipse, ellipse_from_axes
from trifocal.keypoints.phantoms import mirrored, phantom, scene_of
from trifocal.keypoints.phantoms.canvas import Canvas, spline, wobbled
from trifocal.keypoints.phantoms.image_set import PhantomSet
from trifocal.keypoints.phantoms.imaging import beams_for, bmode, envelope
from trifocal.keypoints.phantoms.labour import nearest_point, tangent_point
from trifocal.keypoints.phantoms.machine import Machine, random_machine
from trifocal.keypoints.phantoms.marks import burn_in
from trifocal.keypoints.phantoms.scene import Probe
from trifocal.keypoints.phantoms.view import View, random_view
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import silent

OBSTETRIC = ("HC", "FA", "fetal_femur", "FUGC", "AOP")
PROBES = (
    Probe("convex", 120, 50, 33, frequency_mhz=4),
    Probe("phased", 150, 2, 42, frequency_mhz=2.5),
    Probe("endocavity", 70, 11, 70, frequency_mhz=6),
    Probe("linear", 40, half_width_mm=19, frequency_mhz=9),
)
IDEAL = Machine("tight", (240, 200), side_lobe=0, haze=0, noise=0, tgc_db=0, reverberation=0, compounding=0)
RANGES_MM = {
    "FL": (12, 77), "cervical length": (9, 59), "BPD": (10, 112), "OFD": (13, 136), "APAD": (22, 135),
    "TAD": (22, 135),
}  # fmt: skip


def canvas_of(probe, seed=0):
    return Canvas(probe, np.random.default_rng(seed))


def whole(scene, machine):
    """A view of the whole sector."""
    left, top, right, bottom = scene.probe.extent_mm
    mm_per_px = max((right - left) / machine.size[0], (bottom - top) / machine.size[1])
    return View(machine.size, mm_per_px, (left, top))


def echoes(canvas, machine=IDEAL, seed=0):
    """Magnitude on the polar grid without depth gain, and the depths (mm) and beams (-1 to 1) of it."""
    scene = canvas.scene([[0.0, 20.0]])
    beams = beams_for(scene, whole(scene, machine), machine)
    rng = np.random.default_rng(seed)
    magnitude = envelope(scene, beams, machine, rng)
    return magnitude, beams.depth, beams.beam


def without_slope(monkeypatch):
    """The gain's slope over the depth is random in every image; the closed forms need none."""
    monkeypatch.setattr("trifocal.keypoints.phantoms.imaging.DEPTH_SLOPE_DB", (0.0, 0.0))


def facing_rim(made, offsets_px):
    """Brightness (points, offsets) across the rim where its normal is within 35 degrees of the vertical."""
    outline = made.ellipse.outline(180)
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    normal *= np.sign(((outline - made.ellipse.center) * normal).sum(axis=1))[:, None]
    upright = np.abs(normal[:, 1]) > 0.8
    places = outline[upright, None] + normal[upright, None] * np.asarray(offsets_px, float)[None, :, None]
    return map_coordinates(made.image.astype(float), (places[..., 1], places[..., 0]), order=1)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.kind)
def test_a_place_on_a_beam_is_found_again(probe):
    beam, depth = np.meshgrid(np.linspace(-1, 1, 7), np.linspace(1, probe.depth_mm, 5))
    points = probe.position(beam, depth)
    left, top, right, bottom = probe.extent_mm
    assert points[..., 0].min() >= left - 1e-9
    assert points[..., 0].max() <= right + 1e-9
    assert points[..., 1].min() >= top - 1e-9
    assert points[..., 1].max() <= bottom + 1e-9
    found = probe.beam_depth(points)
    np.testing.assert_allclose(found[0], beam, atol=1e-9)
    np.testing.assert_allclose(found[1], depth, atol=1e-9)
    ahead = probe.position(beam, depth + 1e-3)
    np.testing.assert_allclose((ahead - points) / 1e-3, probe.direction(points), atol=1e-6)


def test_a_probe_without_depth_is_refused():
    with pytest.raises(ValueError, match="depth_mm of a probe must be positive, got 0"):
        Probe("convex", 0)


def test_painted_shapes_have_their_area():
    canvas = canvas_of(PROBES[0])
    pixel = canvas.step_mm**2
    assert canvas.ellipse((3, 60), (25, 14), 30).sum() * pixel == pytest.approx(np.pi * 25 * 14, rel=2e-3)
    round_one = Ellipse((3, 60), (25, 14), 30).outline(200)
    assert canvas.polygon(round_one).sum() * pixel == pytest.approx(np.pi * 25 * 14, rel=5e-3)
    line = np.stack([np.linspace(-20, 20, 9), np.full(9, 50.0)], axis=1)
    expected = 40 * 3 + np.pi * 1.5**2
    assert canvas.curve(line, 3.0).sum() * pixel == pytest.approx(expected, rel=0.02)


def test_a_surface_shines_where_it_faces_the_beam():
    canvas = canvas_of(PROBES[3])
    across = np.stack([np.linspace(-10, 0, 9), np.full(9, 20.0)], axis=1)
    along = np.stack([np.full(9, 8.0), np.linspace(15, 30, 9)], axis=1)
    canvas.interface(across, 4.0, diffuse=0.1)
    canvas.interface(along, 4.0, diffuse=0.1)
    middle = canvas.echo[:, canvas.echo.shape[1] // 2 + 20 :].max()
    assert canvas.echo.max() == pytest.approx(4.0, rel=0.01)
    assert middle == pytest.approx(0.4, rel=0.01)


def test_smooth_curves_go_through_their_points_and_wobble_as_far_as_asked():
    knots = np.array([[0.0, 0], [10, 5], [20, 0]])
    curve = spline(knots, 201)
    assert all(np.linalg.norm(curve - knot, axis=1).min() < 0.1 for knot in knots)
    circle = Ellipse((0, 0), (50, 50), 0).outline(400)
    moved = [wobbled(circle, 2.0, np.random.default_rng(s), first=3, waves=6) for s in range(30)]
    away = np.array([np.linalg.norm(m, axis=1) - 50 for m in moved])
    assert away.std() == pytest.approx(2.0, rel=0.25)
    assert np.abs(away.mean(axis=1)).max() < 0.1  # the third wave and higher ones keep the size


@pytest.mark.parametrize("probe", PROBES[:2], ids=lambda p: p.kind)
def test_developed_speckle_is_rayleigh_distributed(probe, monkeypatch):
    without_slope(monkeypatch)
    magnitude = np.concatenate(
        [echoes(canvas_of(probe), seed=s)[0][30:-30, 30:-30].ravel() for s in range(3)]
    )
    assert magnitude.mean() / magnitude.std() == pytest.approx(1.91, abs=0.06)
    assert (magnitude**2).mean() == pytest.approx(1.0, abs=0.08)


def test_fluid_brightens_and_bone_darkens_what_is_behind_by_its_decibels(monkeypatch):
    without_slope(monkeypatch)
    canvas = canvas_of(PROBES[3])
    x, y = canvas.x[None, :], canvas.y[:, None]
    canvas.loss[(y > 5) & (y < 15) & (x < -7)] = -0.4
    canvas.loss[(y > 10) & (y < 12) & (x > 7)] = 5.0
    behind = []
    for seed in range(4):
        magnitude, depth, beam = echoes(canvas, seed=seed)
        deep = magnitude[depth > 20] ** 2
        parts = (beam < -0.5) & (beam > -0.95), np.abs(beam) < 0.25, (beam > 0.5) & (beam < 0.95)
        behind.append([deep[:, part].mean() for part in parts])
    fluid, tissue, bone = 10 * np.log10(np.mean(behind, axis=0))
    assert fluid - tissue == pytest.approx(4.0, abs=0.7)
    assert bone - tissue == pytest.approx(-10.0, abs=0.7)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.kind)
def test_the_picture_is_black_outside_the_sector_only(probe):
    scene = canvas_of(probe).scene([[0.0, 20.0]])
    machine = replace(IDEAL, white_db=10)
    view = whole(scene, machine)
    image, inside = bmode(scene, view, machine, np.random.default_rng(0))
    assert image.shape == inside.shape == machine.size[::-1]
    assert not image[~inside].any()
    assert (image[inside] > 0).mean() > 0.95
    beam, depth = probe.beam_depth(view.grid_mm())
    np.testing.assert_array_equal(inside, (np.abs(beam) <= 1) & (depth >= 0) & (depth <= probe.depth_mm))


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_is_one_image_with_all_points_inside_in_canonical_order(task):
    images = []
    for seed in range(6):
        made = phantom(task, seed)
        images.append(made.image)
        height, width = made.image.shape
        assert made.image.dtype == np.uint8
        assert made.points.shape == (TASKS[task].count, 2)
        assert (made.points >= 0).all()
        assert (made.points <= [width - 1, height - 1]).all()
        np.testing.assert_array_equal(made.points, TASKS[task].canonical(made.points))
        assert 0.05 < made.mm_per_px < 1.6
        assert (made.ellipse is not None) == TASKS[task].ellipse
    again = phantom(task, 0)
    np.testing.assert_array_equal(again.image, images[0])
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()


def test_an_unknown_task_and_a_negative_seed_are_refused():
    with pytest.raises(ValueError, match="the task must be one of HC"):
        phantom("heart", 0)
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        phantom("HC", -1)


def test_sizes_are_those_of_people():
    found = {"HC": [], "FA": []}
    for seed in range(30):
        for task in OBSTETRIC:
            scene = scene_of(TASKS[task], np.random.default_rng(seed))
            for pair in TASKS[task].pairs:
                a, b = scene.points_mm[list(pair.ends)]
                least, most = RANGES_MM[pair.name]
                assert least <= np.linalg.norm(b - a) <= most, (task, seed)
            if task in found:
                found[task].append(scene.ellipse_mm.perimeter)
    assert 44 <= min(found["HC"]) < 100
    assert 250 < max(found["HC"]) <= 350
    assert min(found["FA"]) >= 90
    assert max(found["FA"]) <= 370


@pytest.mark.parametrize("task", ["HC", "FA"])
def test_the_ellipse_is_that_of_the_points(task):
    for seed in range(4):
        made = phantom(task, seed)
        drawn = ellipse_from_axes(made.points)
        np.testing.assert_allclose(drawn.center, made.ellipse.center, atol=1e-6)
        np.testing.assert_allclose(drawn.semi_axes, made.ellipse.semi_axes, rtol=1e-6)


def test_the_skull_is_bright_just_inside_its_outer_rim():
    inside, rim, outside = [], [], []
    for seed in range(20):
        made = phantom("HC", seed)
        short = made.ellipse.semi_axes[1]
        profile = facing_rim(made, short * np.array([-0.3, -0.035, 0.12]))
        a, b, c = profile.mean(axis=0)
        inside.append(a)
        rim.append(b)
        outside.append(c)
    assert np.mean(rim) > 2 * np.mean(outside)
    assert np.mean(rim) > 2 * np.mean(inside)
    assert np.mean(np.array(rim) > np.maximum(inside, outside)) > 0.85


def test_the_femur_is_bright_and_its_end_points_are_where_it_ends():
    on, beyond = [], []
    for seed in range(20):
        made = phantom("fetal_femur", seed)
        a, b = made.points
        along = (b - a) / np.linalg.norm(b - a)
        ends = np.stack([a + along * 4, b - along * 4, a - along * 9, b + along * 9])
        reach = np.arange(-3, 4)[:, None] * np.array([-along[1], along[0]])  # the shaft is a little bent
        places = ends[:, None] + reach
        values = map_coordinates(made.image.astype(float), (places[..., 1], places[..., 0]), order=1).max(
            axis=1
        )
        on.append(values[:2].mean())
        beyond.append(values[2:].mean())
    assert np.mean(on) > 1.7 * np.mean(beyond)
    assert np.mean(np.array(on) > beyond) > 0.85


def test_it_is_darker_behind_the_femur_than_in_front_of_it():
    front, behind = [], []
    for seed in range(20):
        scene = scene_of(TASKS["fetal_femur"], np.random.default_rng(seed))
        a, b = scene.points_mm
        beam, depth = scene.probe.beam_depth(a + np.linspace(0.25, 0.75, 9)[:, None] * (b - a))
        quiet = replace(IDEAL, size=(400, 300))
        beams = beams_for(scene, whole(scene, quiet), quiet)
        magnitude = envelope(scene, beams, quiet, np.random.default_rng(seed))
        for one, at in zip(beam, depth, strict=True):
            column = magnitude[:, np.argmin(np.abs(beams.beam - one))] ** 2
            far = (beams.depth > at + 6) & (beams.depth < at + 16)
            near = (beams.depth < at - 6) & (beams.depth > at - 16)
            front.append(column[near].mean())
            behind.append(column[far].mean())
    assert np.median(behind) < 0.35 * np.median(front)


def test_tangent_and_nearest_point_of_a_circle_are_the_closed_forms():
    circle, lower, upper = Ellipse((10, 60), (40, 40), 0), np.array([20.0, 5.0]), np.array([-10.0, 0.0])
    distance = np.linalg.norm(lower - circle.center)
    touch = tangent_point(circle, lower, upper)
    assert np.linalg.norm(touch - lower) == pytest.approx(np.sqrt(distance**2 - 40**2), abs=0.1)
    assert (touch - lower) @ (touch - circle.center) == pytest.approx(0, abs=4)
    assert touch[0] > circle.center[0]  # of the two, the one further from the symphysis
    nearest = nearest_point(circle, lower)
    expected = circle.center + 40 * (lower - circle.center) / distance
    np.testing.assert_allclose(nearest, expected, atol=0.05)


def test_the_angle_of_progression_is_one_of_labour_and_the_head_clear_of_the_tangent():
    for seed in range(20):
        lower, upper, nearest, touch = scene_of(TASKS["AOP"], np.random.default_rng(seed)).points_mm
        axis, ray, gap = upper - lower, touch - lower, nearest - lower
        angle = np.rad2deg(np.arccos(axis @ ray / np.linalg.norm(axis) / np.linalg.norm(ray)))
        assert 60 < angle < 180
        assert np.linalg.norm(gap) <= np.linalg.norm(ray)
        # the nearest point lies on the symphysis' side of the tangent
        side = ray[0] * gap[1] - ray[1] * gap[0]
        assert side * (ray[0] * axis[1] - ray[1] * axis[0]) > 0


@pytest.mark.parametrize("task", ["HC", "AOP", "FA"])
def test_a_mirrored_image_has_its_landmarks_mirrored(task):
    made = phantom(task, 3)
    flipped = mirrored(made)
    np.testing.assert_array_equal(flipped.image, made.image[:, ::-1])
    np.testing.assert_allclose(mirrored(flipped).points, made.points, atol=1e-9)
    if task == "AOP":  # nothing changes places
        np.testing.assert_allclose(flipped.points[:, 0], made.image.shape[1] - 1 - made.points[:, 0])
    else:
        np.testing.assert_allclose(
            ellipse_from_axes(flipped.points).center, flipped.ellipse.center, atol=1e-6
        )
        assert ellipse_from_axes(flipped.points).angle == pytest.approx(flipped.ellipse.angle, abs=1e-6)


@pytest.mark.parametrize("layout", ["crop", "tight", "screen"])
@pytest.mark.parametrize("task", TASKS)
def test_every_layout_keeps_the_landmarks_in_the_picture_and_in_the_sector(task, layout):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        scene = scene_of(TASKS[task], rng)
        machine = replace(random_machine(task, rng), layout=layout)
        view = random_view(scene, machine, rng)
        pixels = view.to_pixels(scene.points_mm)
        assert (pixels >= 0).all()
        assert (pixels <= np.array(view.size) - 1).all()
        # a large head may leave the sector at its sides, as real ones do
        beam, depth = scene.probe.beam_depth(scene.points_mm)
        assert np.abs(beam).max() < (1.35 if task in ("HC", "FA") else 1.02)
        assert depth.min() > 0
        assert depth.max() < scene.probe.depth_mm


def marked(layout, ground, count=300):
    """Whether each of the HC points still has the ground's grey around it, over many ways of marking."""
    points = np.array([[120.0, 30], [125, 165], [40, 100], [205, 96]])
    view = View((240, 200), 0.5, (-60.0, 0.0))
    machine = replace(IDEAL, layout=layout)
    kept = []
    for seed in range(count):
        image, inside = np.full((200, 240), ground, np.uint8), np.ones((200, 240), bool)
        rng = np.random.default_rng(seed)
        out = burn_in(image, inside, view, machine, TASKS["HC"], points, rng)
        assert out.shape == image.shape
        assert out.dtype == np.uint8
        kept.append([out[int(y), int(x)] == ground for x, y in points])
    return np.array(kept)


def test_boxes_that_hide_names_spare_the_landmarks():
    kept = marked("crop", 254)
    # what is drawn over a landmark is a caliper or a word, and rare
    assert kept.mean() > 0.95
    assert not kept.all()


def test_calipers_lie_on_landmarks_so_seldom_that_they_give_nothing_away():
    touched = ~marked("tight", 0)
    assert 0 < touched.any(axis=1).mean() < 0.15


def test_a_set_holds_its_images_and_points_and_is_not_mixed_with_another(tmp_path, capsys):
    out = tmp_path / "set"
    words = ["simulate", "keypoints", "--images", "2", "--seed", "7", "--workers", "1", "--out", str(out)]
    assert main([*words, "--task", "FUGC"]) == 0
    assert "2 images" in capsys.readouterr().out
    with (out / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["patient"], row["point"]) for row in rows] == [
        (f"images/FUGC/00000{seed}.png", f"synthetic-{seed}", point)
        for seed in (7, 8)
        for point in TASKS["FUGC"].points
    ]
    made = phantom("FUGC", 8)
    np.testing.assert_array_equal(np.asarray(Picture.open(out / rows[2]["file"])), made.image)
    assert float(rows[3]["x_px"]) == pytest.approx(made.points[1, 0], abs=1e-3)
    assert float(rows[3]["mm_per_px"]) == pytest.approx(made.mm_per_px, abs=1e-6)

    assert main([*words, "--task", "HC"]) == 2
    assert "holds another set of phantoms" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="must be an empty or a new folder"):
        PhantomSet(("HC",), 1).write(tmp_path / "mine", workers=1, progress=silent)


def test_an_interrupted_set_is_finished_by_the_same_command(tmp_path):
    def stop(_fraction, _what):
        raise KeyboardInterrupt

    wanted = PhantomSet(("IVC",), 2)
    with pytest.raises(KeyboardInterrupt):
        wanted.write(tmp_path, workers=1, progress=stop)
    assert not (tmp_path / "points.csv").exists()
    assert wanted.write(tmp_path, workers=1, progress=silent) == 2
    assert (tmp_path / "points.csv").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_set_of_nothing_is_refused():
    with pytest.raises(ValueError, match="must have a task, an image and a seed of 0 or more"):
        PhantomSet((), 1)


def test_the_picture_for_the_docs_can_be_drawn():
    path = Path(__file__).parents[1] / "docs" / "keypoint_phantoms.py"
    spec = importlib.util.spec_from_file_location("keypoint_phantoms", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    picture = script.tile(phantom("AOP", 0))
    assert picture.size == script.TILE
    assert len(picture.getcolors(1 << 20)) > 100
