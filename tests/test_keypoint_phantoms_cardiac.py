"""Cardiac phantoms: landmarks lie where the guideline measures, in the sector, and move with the heart."""

import numpy as np
import pytest

from trifocal.keypoints.phantoms.cardiac import ANATOMIES, cardiac_scene
from trifocal.keypoints.phantoms.cine import phantom_cine
from trifocal.keypoints.phantoms.ivc import CavalVein
from trifocal.keypoints.phantoms.outline import area, crossings, curve, grown, inside, ring, tube, turned
from trifocal.keypoints.phantoms.section import aortic_opening, contraction, mitral_opening
from trifocal.keypoints.tasks import TASKS

SEEDS = range(8)
PHASES = (0.0, 0.2, 0.37, 0.55, 0.8)

# mm: from small children at end-systole to what severe illness makes of it
RANGES = {
    "LV": (12, 85), "RV": (7, 48), "IVS": (4, 32), "LVPW": (3, 28), "aortic annulus": (10, 32),
    "STJ": (12, 48), "ascending aorta": (12, 55), "aortic valve opening": (0.3, 29), "LVOT": (9, 34),
    "LA": (14, 72), "RVOT": (9, 52), "PA": (8, 50), "LV length": (35, 125), "LV width": (15, 85),
    "RV length": (20, 110), "RV width": (11, 70), "LA length": (15, 95), "LA width": (12, 75),
    "RA length": (14, 85), "RA width": (12, 75), "IVC diameter": (0.5, 37),
}  # fmt: skip
# the cavity that the middle of a pair has to lie in; pairs of walls and valves are not named here
CAVITIES = {
    "PLAX": {"LV": "LV", "RV": "RV", "LA": "LA", "STJ": "aorta", "ascending aorta": "aorta", "RVOT": "RV"},
    "PSAX": {"RVOT": "RVOT", "PA": "PA"},
    "A4C": {f"{c} {axis}": c for c in ("LV", "RV", "LA", "RA") for axis in ("length", "width")},
    "IVC": {"IVC diameter": "IVC diameter"},
}


def hearts(task_id):
    return [ANATOMIES[task_id].random(np.random.default_rng(seed)) for seed in SEEDS]


def length(points, pair):
    a, b = (points[..., end, :] for end in pair.ends)
    return np.linalg.norm(b - a, axis=-1)


@pytest.mark.parametrize("task_id", ANATOMIES)
def test_distances_are_those_of_hearts(task_id):
    for heart in hearts(task_id):
        for phase in PHASES:
            points = heart.section(phase).points
            for pair in TASKS[task_id].pairs:
                low, high = RANGES[pair.name]
                assert low <= length(points, pair) <= high, (pair.name, phase)


def test_most_ventricles_are_within_the_normal_limits_at_end_diastole():
    pairs = {pair.name: pair for pair in TASKS["PLAX"].pairs}
    points = np.stack([at_end_diastole(seed) for seed in range(24)])
    for name, low, high in (
        ("LV", 38, 58),
        ("IVS", 6, 12),
        ("LVPW", 6, 12),
        ("LA", 27, 40),
        ("RVOT", 20, 35),
    ):
        got = length(points, pairs[name])
        assert np.mean((got >= low) & (got <= high)) > 0.5, name


def at_end_diastole(seed):
    return ANATOMIES["PLAX"].random(np.random.default_rng(seed)).section(0.0).points


@pytest.mark.parametrize("task_id", ANATOMIES)
def test_the_middle_of_each_pair_lies_in_the_blood_of_its_cavity(task_id):
    for heart in hearts(task_id):
        for phase in PHASES:
            section = heart.section(phase)
            for pair in TASKS[task_id].pairs:
                cavity = CAVITIES[task_id].get(pair.name)
                middle = section.points[list(pair.ends)].mean(axis=0)
                assert cavity is None or inside(section.blood[cavity], middle), (pair.name, phase)


def test_the_walls_of_the_left_ventricle_lie_outside_every_cavity():
    pairs = {pair.name: pair for pair in TASKS["PLAX"].pairs}
    for heart in hearts("PLAX"):
        for phase in PHASES:
            section = heart.section(phase)
            for name in ("IVS", "LVPW"):
                middle = section.points[list(pairs[name].ends)].mean(axis=0)
                assert not any(inside(outline, middle) for outline in section.blood.values()), (name, phase)


def test_the_four_chambers_do_not_overlap():
    for heart in hearts("A4C"):
        blood = heart.section(0.3).blood
        for name, outline in blood.items():
            middle = outline.mean(axis=0)
            assert [other for other in blood if inside(blood[other], middle)] == [name]


def test_the_diameter_of_the_left_ventricle_is_square_to_its_walls_line():
    for heart in hearts("PLAX"):
        points = heart.section(0.0).points
        septum, low, ivs_far, pw_far = points[0], points[1], points[5 - 1], points[7]
        way = (low - septum) / np.linalg.norm(low - septum)
        for other in (ivs_far, pw_far, points[2]):  # one straight line through all four walls
            off = other - septum
            assert abs(off[0] * way[1] - off[1] * way[0]) < 1.0


@pytest.mark.parametrize("task_id", ANATOMIES)
def test_all_landmarks_lie_in_the_sector_at_every_phase(task_id):
    for seed in range(4):
        for phase in (None, 0.4):
            scene = cardiac_scene(task_id, np.random.default_rng(seed), phase)
            beam, depth = scene.probe.beam_depth(scene.points_mm)
            assert (np.abs(beam) < 1).all()
            assert ((depth > 0) & (depth < scene.probe.depth_mm)).all()
            assert scene.points_mm.shape == (TASKS[task_id].count, 2)


@pytest.mark.parametrize("task_id", ANATOMIES)
def test_blood_is_darker_than_the_walls_around_it(task_id):
    scene = cardiac_scene(task_id, np.random.default_rng(3), 0.1)
    pair = TASKS[task_id].pairs[0]
    middle = scene.points_mm[list(pair.ends)].mean(axis=0)
    column, row = np.rint((middle - scene.origin_mm) / scene.step_mm).astype(int)
    assert scene.scatter[row, column] < 0.35 * np.median(scene.scatter)


@pytest.mark.parametrize("task_id", ANATOMIES)
def test_the_same_state_gives_the_same_scene(task_id):
    a, b, c = (cardiac_scene(task_id, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(a.scatter, b.scatter)
    assert np.array_equal(a.points_mm, b.points_mm)
    assert not np.array_equal(a.points_mm, c.points_mm)


def test_landmarks_of_a_scene_are_in_canonical_order():
    for task_id in ANATOMIES:
        points = cardiac_scene(task_id, np.random.default_rng(1)).points_mm
        assert np.array_equal(points, TASKS[task_id].canonical(points))


def test_a_phase_changes_neither_probe_nor_what_is_drawn_next():
    states = []
    for phase in (None, 0.0, 0.4):
        rng = np.random.default_rng(9)
        scene = cardiac_scene("A4C", rng, phase)
        states.append((scene.probe, rng.random()))
    assert states[0] == states[1] == states[2]


def test_the_heart_contracts_and_the_valves_take_turns():
    assert contraction(0.0) == 0
    assert contraction(0.36) > 0.95
    for phase in np.linspace(0, 1, 101):
        assert 0 <= contraction(phase) <= 1
        assert min(aortic_opening(phase), mitral_opening(phase)) < 0.05
    assert contraction(0.999) == pytest.approx(contraction(0.0), abs=0.01)


def test_the_left_ventricle_is_smaller_and_its_wall_thicker_in_systole():
    pairs = {pair.name: pair for pair in TASKS["PLAX"].pairs}
    for heart in hearts("PLAX"):
        diastole, systole = heart.section(0.0).points, heart.section(0.36).points
        assert length(systole, pairs["LV"]) < length(diastole, pairs["LV"])
        assert length(systole, pairs["LVPW"]) > length(diastole, pairs["LVPW"])
        assert length(systole, pairs["LA"]) > length(diastole, pairs["LA"])


def test_a_breath_collapses_the_vein_and_lets_it_re_expand():
    for seed in SEEDS:
        vein = CavalVein.random(np.random.default_rng(seed))
        widths = [length(vein.section(p).points, TASKS["IVC"].pairs[0]) for p in np.arange(9) / 8]
        assert np.argmin(widths) == 4
        assert widths[0] == pytest.approx(widths[8], abs=1e-6)
        assert widths[0] == pytest.approx(vein.diameter, rel=0.02)
        assert 1 - widths[4] / widths[0] == pytest.approx(vein.collapse, abs=0.03)


def test_a_cine_shows_the_collapse_in_pixels_and_mm_with_one_window():
    frames, points, mm_per_px = phantom_cine("IVC", 4, frames=6)
    assert frames.shape[0] == len(points) == 6
    assert frames.dtype == np.uint8
    mm = mm_per_px * length(points, TASKS["IVC"].pairs[0])
    assert np.argmax(mm) == 0
    assert np.argmin(mm) == 3
    assert ((points >= 0) & (points <= np.array(frames.shape[:0:-1]) - 1)).all()


def test_a_cine_moves_smoothly_and_is_deterministic():
    frames, points, _ = phantom_cine("A4C", 2, frames=8)
    again = phantom_cine("A4C", 2, frames=8)
    assert np.array_equal(frames, again[0])
    steps = np.abs(np.diff(points, axis=0)).max()
    assert 0 < steps < 0.15 * max(frames.shape[1:])
    outside = frames.max(axis=0) == frames.min(axis=0)
    assert 0.05 < outside.mean() < 0.9  # black and marks stay, the heart moves


def test_a_task_without_a_heart_is_refused():
    with pytest.raises(ValueError, match=r"must be one of PLAX, PSAX, A4C, IVC, got 'HC'"):
        cardiac_scene("HC", np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"frames 1 or more, got 0 and 0"):
        phantom_cine("IVC", 0, frames=0)


def test_a_ring_through_the_corners_of_a_square_is_round():
    circle = ring([[1, 0], [0, 1], [-1, 0], [0, -1]])
    assert np.allclose(np.linalg.norm(circle, axis=1), 1, atol=0.05)
    assert area(circle) == pytest.approx(np.pi, rel=0.03)
    assert np.linalg.norm(grown(circle, 0.5), axis=1).mean() == pytest.approx(1.5, rel=0.03)
    assert inside(circle, [0.2, -0.3])
    assert not inside(circle, [0.9, 0.9])


def test_a_line_through_a_square_meets_its_sides():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    assert np.allclose(crossings(square, [1.0, 2.0], [1.0, 0.0]), [[0, 2], [4, 2]])
    with pytest.raises(ValueError, match="must meet the outline on both sides"):
        crossings(square, [9.0, 2.0], [1.0, 0.0])


def test_a_tube_has_its_width_and_turning_keeps_lengths():
    straight = curve([[0.0, 0.0], [5.0, 0.0], [10.0, 0.0]], 11)
    outline = tube(straight, 4.0)
    assert abs(area(outline)) == pytest.approx(40)
    assert np.allclose(turned(np.array([1.0, 0.0]), 90), [0, 1])
