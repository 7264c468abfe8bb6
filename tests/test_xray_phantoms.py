"""Synthetic trunks: one seed is one person at any spacing, and every organ lies where it belongs."""

import numpy as np
import pytest

from trifocal.cli import main
from trifocal.io import read
from trifocal.predictor import silent
from trifocal.xray.grid import average_onto
from trifocal.xray.phantoms import anatomy, field_of_view, torso
from trifocal.xray.phantoms.canvas import Canvas, ellipsoid, tube
from trifocal.xray.phantoms.crop import REGIONS
from trifocal.xray.phantoms.heart import random_heart
from trifocal.xray.phantoms.kernels import paint_branches
from trifocal.xray.phantoms.pose import paint_table
from trifocal.xray.phantoms.shell import STEP_MM, Shell
from trifocal.xray.phantoms.trunk import LEVELS, random_trunk
from trifocal.xray.phantoms.volume_set import VolumeSet, file_name

SPACING_MM = 6.0


def trunk_of(seed):
    return random_trunk(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def bodies():
    """Three people as (trunk, upright canvas with its masks)."""
    rng = np.random.default_rng
    return [(trunk_of(seed), anatomy(trunk_of(seed), SPACING_MM, rng(seed))) for seed in (11, 12, 13)]


def middle(canvas, share):
    """World centre of mass of a share, and its volume in litres."""
    weights = [share.sum(axis=tuple(b for b in range(3) if b != a)) for a in range(3)]
    center = [float(canvas.axis(a) @ w / w.sum()) for a, w in enumerate(weights)]
    return np.array(center), float(share.sum()) * canvas.spacing_mm**3 / 1e6


def mean_hu(canvas, name):
    sure = canvas.masks[name] > 0.99
    return float(canvas.hu[sure].mean())


def blank(spacing_mm=2.0, half_mm=30.0):
    return Canvas.covering([-half_mm] * 3, [half_mm] * 3, spacing_mm)


def test_one_seed_is_one_person():
    first, again = torso(5, spacing_mm=9), torso(5, spacing_mm=9)
    np.testing.assert_array_equal(first.array, again.array)
    np.testing.assert_array_equal(first.affine, again.affine)


def test_seeds_differ_in_size_shape_and_tissue():
    trunks = [trunk_of(seed) for seed in range(60)]
    widths = np.array([float(t.skin.radius(0.0, 0.0)) for t in trunks])
    assert widths.max() / widths.min() > 1.25
    assert len({round(w, 6) for w in widths}) == len(trunks)
    assert {t.contrast for t in trunks} == {"native", "arterial", "portal"}
    assert {t.arms for t in trunks} == {"up", "down"}
    assert {t.female for t in trunks} == {False, True}


@pytest.mark.parametrize("seed", [0, 2])
def test_the_mass_of_a_person_does_not_depend_on_the_spacing(seed):
    tonnes = []
    for spacing in (3.5, 7.0):
        canvas = anatomy(trunk_of(seed), spacing, np.random.default_rng(seed))
        z = canvas.axis(2)
        part = canvas.hu[:, :, (z > -420 * trunk_of(seed).scale) & (z < 250 * trunk_of(seed).scale)]
        tonnes.append((part / 1000 + 1).sum() * spacing**2 / part.shape[2])  # mean section, mm2 of water
    assert tonnes[0] == pytest.approx(tonnes[1], rel=0.02)


def test_layers_lie_inside_each_other():
    for seed in range(40):
        trunk = trunk_of(seed)
        assert (trunk.inner.radius_mm < trunk.muscle.radius_mm).all()
        assert (trunk.muscle.radius_mm < trunk.skin.radius_mm).all()


def test_chests_are_wider_than_deep_and_backs_flatter_than_fronts():
    ratios, backs = [], []
    for seed in range(60):
        skin = trunk_of(seed).skin
        front, back = (float(skin.radius(t * np.pi / 2, 30.0)) for t in (1, -1))
        ratios.append(2 * float(skin.radius(0.0, 30.0)) / (front + back))
        heights = np.arange(-300, 100, 25.0)
        spread = [np.ptp(skin.radius(t * np.pi / 2, heights)) for t in (1, -1)]
        backs.append(spread[1] < spread[0])
    assert 1.2 < np.median(ratios) < 1.5
    assert min(ratios) > 1.0
    assert np.mean(backs) > 0.7


def test_the_diaphragm_has_its_right_dome_at_zero_and_falls_to_the_ribs():
    for seed in range(20):
        trunk = trunk_of(seed)
        s = trunk.scale
        x, y = np.linspace(0, 130, 60) * s, np.linspace(-80, 80, 60) * s
        right = trunk.diaphragm(x[:, None], y[None])
        assert abs(float(right.max())) < 14 * s
        side = float(trunk.inner.radius(0.0, 0.0))
        assert float(trunk.diaphragm(side, 10 * s)) < -25 * s
        back = float(trunk.inner.radius(-np.pi / 2, 0.0))
        assert float(trunk.diaphragm(70 * s, -0.95 * back)) < -40 * s


def test_the_spine_goes_down_in_order_with_discs_between():
    for seed in range(20):
        trunk = trunk_of(seed)
        assert tuple(v.name for v in trunk.vertebrae) == LEVELS
        for upper, lower in zip(trunk.vertebrae, trunk.vertebrae[1:], strict=False):
            gap = upper.center_mm[2] - lower.center_mm[2] - upper.half_mm[2] - lower.half_mm[2]
            assert gap > 0
        assert all(v.center_mm[1] < 0 for v in trunk.vertebrae)  # behind the middle of the chest


def test_lungs_are_filled_with_air_and_as_large_as_lungs(bodies):
    for _, canvas in bodies:
        _, litres = middle(canvas, canvas.masks["lungs"])
        assert 1.2 < litres < 9
        assert -930 < mean_hu(canvas, "lungs") < -600
        assert float((canvas.masks["lungs"] * (1 - canvas.masks["body"])).max()) < 0.51


def test_the_heart_lies_left_and_the_liver_right(bodies):
    for trunk, canvas in bodies:
        heart = random_heart(trunk, np.random.default_rng(0))
        box = canvas.box(heart.center_mm - 110, heart.center_mm + 110)
        share = np.zeros_like(canvas.hu)
        share[box.slices] = canvas.share(heart.envelope(box))
        center, litres = middle(canvas, share)
        assert center[0] - trunk.aside_mm < -8
        assert 0.25 < litres < 1.6
        liver, litres = middle(canvas, canvas.masks["liver"])
        assert liver[0] > 20
        assert liver[2] < 0
        assert 0.6 < litres < 3.5
        assert 0 < mean_hu(canvas, "liver") < 160


def test_the_spine_lies_behind_and_the_sternum_in_front(bodies):
    for trunk, canvas in bodies:
        vertebra = trunk.vertebra("T8")
        x, y, z = vertebra.center_mm
        low, high = np.array([x - 10, y - 8, z - 6]), np.array([x + 10, y + 8, z + 6])
        assert y < -30
        assert canvas.hu[canvas.box(low, high).slices].mean() > 60
        sternum = trunk.inner.point(np.pi / 2, 60 * trunk.scale, inwards_mm=-5)
        assert canvas.hu[canvas.box(sternum - 4, sternum + 4).slices].max() > 80
        # behind the sternum, in front of the spine, there is no bone
        assert sternum[1] > 40


def test_outside_the_body_there_is_air(bodies):
    for _, canvas in bodies:
        outside = canvas.hu[canvas.masks["body"] == 0]
        assert (outside == -1000).mean() > 0.995  # all but electrodes and their leads
        assert canvas.hu.min() >= -1024
        assert np.isfinite(canvas.hu).all()


def test_a_table_lies_behind_most_backs_and_never_in_them():
    tables = 0
    for seed in range(24):
        canvas = Canvas.covering([-250, -210, -20], [250, 140, 20], 5.0)
        whole = canvas.whole
        body = canvas.paint(whole, np.hypot(whole.x / 160, whole.y / 115) * 115 - 115 + 0 * whole.z, 40.0)
        before = canvas.hu.copy()
        paint_table(canvas, np.random.default_rng(seed))
        changed = canvas.hu != before
        tables += changed.any()
        assert not (changed & (body > 0.2)).any()
        assert not changed[:, canvas.axis(1) > 60].any()
        under = changed[np.abs(canvas.axis(0)) < 20]
        assert not under[:, canvas.axis(1) > -110].any()
    assert 15 < tables < 24


def test_a_torso_has_the_range_of_a_ct():
    image = torso(4, spacing_mm=8)
    assert image.unit == "HU"
    assert image.array.dtype == np.float32
    assert image.array.min() >= -1024
    assert image.array.max() <= 3071
    np.testing.assert_allclose(image.spacing_mm, 8)
    assert (np.diag(image.affine)[:3] > 0).all()  # upright RAS
    low, high = image.bounds_mm
    assert high[2] - low[2] > 550


def test_wrong_seeds_and_spacings_are_refused():
    for seed, spacing in ((-1, 4.0), (0, 0.2), (0, 40.0)):
        with pytest.raises(ValueError, match="must have a seed of 0 or more and 1 to 12 mm"):
            torso(seed, spacing_mm=spacing)


def test_fields_of_view_are_like_those_of_files():
    image = torso(7, spacing_mm=8)
    rng = np.random.default_rng(0)
    drawn = [field_of_view(image, rng, voxels=32) for _ in range(150)]
    assert {region for _, region in drawn} == set(REGIONS)
    chest = image.array[:, :, np.abs(image.affine[2, 3] + 8 * np.arange(image.shape[2])) < 30] > -300
    body = np.count_nonzero(chest.any(axis=2).sum(axis=1) * 8 > 110) * 8.0  # arms are slighter
    edges = np.array([grid.extent_mm for grid, _ in drawn])
    for grid, _ in drawn:
        assert max(grid.shape) == 32
        assert len({round(s, 9) for s in grid.spacing_mm}) == 1
    assert (edges[:, 0] < 0.95 * body).any()  # the flanks are cut
    assert (edges[:, 0] > 1.0 * body).any()
    assert edges.max() < 480
    chest = next(grid for grid, region in drawn if region == "chest")
    assert (average_onto(image, chest) < -600).mean() > 0.1


def test_fields_of_view_follow_from_the_draw():
    image = torso(7, spacing_mm=10)
    one, two = (field_of_view(image, np.random.default_rng(3)) for _ in range(2))
    assert one == two


def test_a_sphere_has_the_distance_of_a_sphere():
    canvas = blank()
    box = canvas.box([-15] * 3, [15] * 3)
    found = ellipsoid(box, [1, -2, 0], [10, 10, 10])
    wanted = np.sqrt((box.x - 1) ** 2 + (box.y + 2) ** 2 + box.z**2) - 10
    np.testing.assert_allclose(found[found > -9], wanted[found > -9], atol=1e-3)


def test_painted_volumes_are_those_of_the_bodies():
    canvas = blank()
    ball = ellipsoid(canvas.whole, [0, 0, 0], [18, 12, 9])
    assert canvas.share(ball).sum() * 8 == pytest.approx(4 / 3 * np.pi * 18 * 12 * 9, rel=0.02)
    rod = tube(canvas.whole, [[0, 0, -15], [0, 0, 15]], 8.0)
    assert canvas.share(rod).sum() * 8 == pytest.approx(np.pi * 64 * 30 + 4 / 3 * np.pi * 512, rel=0.03)


def test_paint_covers_what_was_there_and_keeps_within_a_mask():
    canvas = blank()
    canvas.masks["right"] = np.zeros_like(canvas.hu)
    canvas.masks["right"][canvas.axis(0) > 0] = 1
    whole = canvas.whole
    canvas.paint(whole, ellipsoid(whole, [0, 0, 0], [20, 20, 20]), 40.0, within="right")
    assert canvas.hu[canvas.axis(0) > 4][:, 15, 15][0] == 40
    assert (canvas.hu[canvas.axis(0) < 0] == -1000).all()


@pytest.mark.parametrize("radius", [0.4, 1.5, 5.0])
def test_vessels_weigh_the_same_at_any_spacing(radius):
    volumes = []
    for spacing in (1.0, 4.0):
        canvas = blank(spacing, 40.0)
        rows = np.array([[3, 1, -40, 3, 1, 40, radius, radius]], np.float32)
        paint_branches(canvas.hu, np.ones_like(canvas.hu), canvas.low_mm, spacing, rows, 0.0)
        volumes.append((canvas.hu + 1000).sum() / 1000 * spacing**3)
    assert volumes[0] == pytest.approx(volumes[1], rel=0.12)
    assert volumes[0] == pytest.approx(np.pi * radius**2 * 80, rel=0.12)


def test_textures_are_the_same_at_any_spacing():
    fine, coarse = blank(2.0, 31.0), blank(6.0, 33.0)
    one = fine.texture(fine.whole, np.random.default_rng(1), 9.0)
    two = coarse.texture(coarse.whole, np.random.default_rng(1), 9.0)
    shared = [
        np.nonzero(np.isin(np.round(fine.axis(a), 6), np.round(coarse.axis(a), 6)))[0] for a in range(3)
    ]
    inside = [
        np.nonzero(np.isin(np.round(coarse.axis(a), 6), np.round(fine.axis(a), 6)))[0] for a in range(3)
    ]
    assert min(map(len, shared)) > 3
    np.testing.assert_allclose(one[np.ix_(*shared)], two[np.ix_(*inside)], atol=1e-4)
    assert 0.6 < one.std() < 1.5


def test_a_shell_of_one_radius_is_a_cylinder():
    shell = Shell(np.full((96, 20), 50.0, np.float32), -80.0)
    canvas = blank(4.0, 60.0)
    whole = canvas.whole
    found = shell.distance(whole.x, whole.y, whole.z)
    wanted = np.broadcast_to(np.hypot(whole.x, whole.y) - 50, found.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert shell.heights_mm[1] - shell.heights_mm[0] == STEP_MM
    np.testing.assert_allclose(shell.point(np.pi / 2, 10.0, inwards_mm=5), [0, 45, 10], atol=1e-9)


def test_a_folder_of_phantoms_is_resumed(tmp_path):
    out = tmp_path / "trunks"
    wanted = VolumeSet(2, seed=8, spacing_mm=12)
    assert wanted.write(out, workers=1, progress=silent) == 2
    first, second = out / file_name(8), out / file_name(9)
    kept = first.stat().st_mtime_ns
    before = second.read_bytes()
    second.unlink()
    assert wanted.write(out, workers=1, progress=silent) == 1
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == before
    image = read(first)
    assert image.array.dtype == np.int16
    np.testing.assert_allclose(image.array, torso(8, spacing_mm=12).array, atol=0.51)


def test_phantoms_join_only_their_own_kind(tmp_path):
    out = tmp_path / "trunks"
    VolumeSet(1, seed=8, spacing_mm=12).write(out, workers=1, progress=silent)
    with pytest.raises(FileExistsError, match="other phantoms"):
        VolumeSet(1, seed=8, spacing_mm=11).write(out, workers=1, progress=silent)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="empty or a new folder"):
        VolumeSet(1, spacing_mm=12).write(tmp_path / "letters", workers=1, progress=silent)
    with pytest.raises(ValueError, match="a phantom or more"):
        VolumeSet(0)


def test_the_command_makes_phantoms_and_skips_those_made(tmp_path, capsys):
    words = ["simulate", "xray", "--phantoms", "1", "--seed", "3", "--spacing-mm", "12"]
    words += ["--workers", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "1 phantoms made" in capsys.readouterr().out
    assert main(words) == 0
    assert "0 phantoms made, 1 were there" in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "out"), "--spacing-mm", "40"]) == 2
