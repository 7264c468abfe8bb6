import numpy as np
import pytest
from scipy import ndimage

from trifocal.xray.phantoms import anatomy
from trifocal.xray.phantoms.abdomen import paint_abdomen
from trifocal.xray.phantoms.body import paint_body
from trifocal.xray.phantoms.canvas import Canvas, ellipsoid
from trifocal.xray.phantoms.colon import colon_line, paint_colon
from trifocal.xray.phantoms.contents import GAS_HU, gas_level, layered
from trifocal.xray.phantoms.curves import placed, rotation, rounded_max, spline, tube_along, tube_box
from trifocal.xray.phantoms.findings import paint_findings
from trifocal.xray.phantoms.implants import paint_implants
from trifocal.xray.phantoms.organs import paint_kidneys, paint_liver, paint_spleen
from trifocal.xray.phantoms.pelvis import hip_center
from trifocal.xray.phantoms.stomach import paint_stomach
from trifocal.xray.phantoms.tissue import Tissue
from trifocal.xray.phantoms.trunk import random_trunk

SPACING = 6.0


def person(seed):
    return random_trunk(np.random.default_rng(seed))


def filled_with_fat(trunk, spacing=SPACING):
    """The body of a person with nothing but fat in the abdomen."""
    wide = float(trunk.skin.radius_mm.max()) + 10
    canvas = Canvas.covering([-wide, -wide, trunk.z["bottom"]], [wide, wide, 60 * trunk.scale], spacing)
    paint_body(canvas, trunk, np.random.default_rng(0))
    return canvas


@pytest.fixture(scope="module")
def abdomens():
    """Ten people with painted abdomens, and their organs' masks."""
    out = []
    for seed in range(10):
        trunk = person(seed)
        canvas = filled_with_fat(trunk)
        paint_abdomen(canvas, trunk, np.random.default_rng(seed))
        out.append((trunk, canvas))
    return out


def centroid(canvas, mask):
    weights = [np.asarray(mask, float).sum(tuple(a for a in range(3) if a != n)) for n in range(3)]
    return np.array([(w * canvas.axis(n)).sum() / w.sum() for n, w in enumerate(weights)])


def change(canvas, paint):
    """What a painter changes, HU (X, Y, Z)."""
    before = canvas.hu.copy()
    paint()
    return canvas.hu - before


def blank(shape=(24, 20, 22), spacing=2.0):
    return Canvas(spacing, np.zeros(3), np.zeros(shape, np.float32))


def test_a_tube_has_the_volume_of_a_cylinder_with_round_ends():
    canvas = blank((50, 40, 40), 1.0)
    line = np.array([[15.0, 20, 20, 8], [25, 20, 20, 8], [35, 20, 20, 8]])
    region = canvas.box(*tube_box(line))
    distance, _ = tube_along(region, line)
    expected = np.pi * 8**2 * 20 + 4 / 3 * np.pi * 8**3
    assert canvas.share(distance).sum() == pytest.approx(expected, rel=0.01)


def test_a_voxel_beside_a_tube_knows_its_place_along_it():
    canvas = blank()
    line = np.array([[10.0, 20, 10, 5], [10, 20, 20, 5], [10, 20, 30, 5]])
    region = canvas.box([10, 20, 24], [10, 20, 24])
    distance, place = tube_along(region, line)
    index = tuple(n // 2 for n in region.shape)
    z = region.z.ravel()[index[2]]
    assert place[index] == pytest.approx((z - 10) / 10, abs=1e-5)
    assert distance[index] == pytest.approx(-5, abs=1e-5)


def test_a_tube_beyond_the_canvas_is_no_error():
    region = blank().box([500] * 3, [520] * 3)
    distance, place = tube_along(region, np.array([[500.0, 500, 500, 4], [510, 510, 510, 4]]))
    assert distance.size == place.size == 0


def test_a_spline_goes_through_its_knots_and_its_radii_do_not_overshoot():
    knots = np.array([[0.0, 0, 0, 3], [10, 0, 0, 3], [20, 5, 0, 9], [30, 5, 4, 9]])
    line = spline(knots, 400)
    for knot in knots:
        assert np.abs(line - knot).sum(1).min() < 0.4
    assert line[:, 3].min() >= 3 - 1e-9
    assert line[:, 3].max() <= 9 + 1e-9


def test_a_table_is_mirrored_for_the_left_side():
    right = placed([(10, 2, 3, 4)], 1.5, (1, 1, 1))
    left = placed([(10, 2, 3, 4)], 1.5, (1, 1, 1), side=-1)
    np.testing.assert_allclose(right, [[16, 4, 5.5, 6]])
    np.testing.assert_allclose(left, [[-14, 4, 5.5, 6]])


def test_a_rotation_keeps_lengths_and_turns_right_handed():
    np.testing.assert_allclose(rotation((0, 0, 90)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    turn = rotation((20, -30, 50))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)


def test_a_rounded_cut_lies_inside_the_sharp_one_and_is_the_same_far_away():
    a, b = np.array([-9.0, -1.0, 5.0]), np.array([-1.0, -1.0, -20.0])
    out = rounded_max(a, b, 4.0)
    np.testing.assert_allclose(out, [-1, 0, 5], atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_level_of_gas_leaves_that_share_of_a_tube_before_it(share):
    line = np.array([[0.0, 10, z, 12] for z in np.linspace(0, 100, 30)])
    y = np.linspace(-2, 22, 2001)
    half = np.sqrt(np.maximum(144 - (y - 10) ** 2, 0))
    ahead = half[y > gas_level(line, share)].sum() / half.sum()
    assert ahead == pytest.approx(share, abs=0.12)


def test_gas_lies_before_fluid():
    region = blank().box([0] * 3, [40] * 3)
    values = layered(region, 20.0, np.full((1, 1, 1), 15.0, np.float32))
    y = region.y.ravel()
    assert (values[:, y > 22] == GAS_HU).all()
    assert (values[:, y < 18] == 15).all()


def test_liver_right_spleen_left_behind_and_both_under_the_diaphragm(abdomens):
    for trunk, canvas in abdomens:
        liver, spleen = (centroid(canvas, canvas.masks[n]) for n in ("liver", "spleen"))
        assert liver[0] > 25 * trunk.scale
        assert spleen[0] < -45 * trunk.scale
        assert spleen[1] < liver[1] - 20
        for name in ("liver", "spleen"):
            inside = canvas.masks[name] > 0.5
            assert (canvas.masks["abdomen"][inside] > 0.4).all()


def test_livers_and_spleens_have_the_volumes_that_people_have(abdomens):
    for name, low, high in (("liver", 800, 2600), ("spleen", 50, 550)):
        volumes = [c.masks[name].sum() * SPACING**3 / 1000 for _, c in abdomens]
        assert low < min(volumes)
        assert max(volumes) < high
        assert np.std(volumes) > 0.08 * np.mean(volumes)


def test_tissue_is_as_dense_as_the_phase_of_the_contrast_agent_says():
    rows = {"native": [], "arterial": [], "portal": []}
    for seed in range(150):
        trunk = person(seed)
        rows[trunk.contrast].append(Tissue.draw(trunk, np.random.default_rng(seed)))
    mean = {phase: {n: np.mean([t[n] for t in many]) for n in many[0].hu} for phase, many in rows.items()}
    assert 30 < mean["native"]["liver"] < 62
    assert mean["portal"]["liver"] > mean["native"]["liver"] + 30
    assert mean["arterial"]["aorta"] > mean["portal"]["aorta"] + 100 > mean["native"]["aorta"] + 180
    assert mean["arterial"]["cortex"] > mean["arterial"]["medulla"] + 60
    assert -110 < mean["native"]["fat"] < -92


def test_the_painted_liver_has_the_density_that_was_drawn():
    trunk = person(3)
    canvas = filled_with_fat(trunk)
    tissue = Tissue.draw(trunk, np.random.default_rng(1))
    paint_liver(canvas, trunk, tissue, np.random.default_rng(2))
    core = ndimage.binary_erosion(canvas.masks["liver"] > 0.99, iterations=2)
    assert np.median(canvas.hu[core]) == pytest.approx(tissue["liver"], abs=4)


def test_an_organ_has_the_same_volume_at_any_spacing():
    trunk = person(5)
    volumes = []
    for spacing in (4.0, 8.0):
        canvas = filled_with_fat(trunk, spacing)
        tissue = Tissue.draw(trunk, np.random.default_rng(1))
        paint_liver(canvas, trunk, tissue, np.random.default_rng(2))
        paint_spleen(canvas, trunk, tissue, np.random.default_rng(3))
        volumes.append([canvas.masks[n].sum() * spacing**3 for n in ("liver", "spleen")])
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.08)


def test_two_kidneys_of_usual_size_lie_beside_the_spine():
    trunk = person(6)
    canvas = filled_with_fat(trunk, 4.0)
    places = (np.array([62.0, -40, -110]), np.array([-62.0, -40, -100]))
    tissue = Tissue.draw(trunk, np.random.default_rng(0))
    difference = change(
        canvas, lambda: paint_kidneys(canvas, trunk, tissue, places, np.random.default_rng(0))
    )
    painted = difference > 60
    for sign in (1, -1):
        side = painted & (np.sign(canvas.axis(0)) == sign)[:, None, None]
        assert 60 < side.sum() * 0.064 < 330
        assert abs(centroid(canvas, side)[0]) == pytest.approx(62, abs=12)


def test_gas_in_the_stomach_lies_before_what_was_eaten():
    seen = 0
    for seed in range(6):
        trunk = person(seed)
        canvas = filled_with_fat(trunk)
        tissue = Tissue.draw(trunk, np.random.default_rng(seed))
        difference = change(canvas, lambda: paint_stomach(canvas, trunk, tissue, np.random.default_rng(seed)))  # noqa: B023
        gas, filled = canvas.hu < -600, difference > 90
        gas &= canvas.masks["abdomen"] > 0.9
        if gas.sum() > 20:
            seen += 1
            assert centroid(canvas, gas)[1] > centroid(canvas, filled)[1] + 5
        assert centroid(canvas, filled)[0] < -10
    assert seen >= 3


def test_the_colon_goes_up_on_the_right_across_in_front_and_down_on_the_left_to_the_rectum():
    trunk = person(4)
    line, parts = colon_line(trunk, np.random.default_rng(0))
    middle = {n: line[parts == n, :3].mean(0) for n in range(7)}
    assert middle[0][0] > 50 > 0 > -50 > middle[4][0]
    assert middle[2][1] > middle[0][1]
    assert middle[2][2] > middle[5][2] > middle[6][2]
    assert abs(middle[6][0]) < 15
    assert (line[:, 3] > 4).all()
    assert (line[:, 3] < 60).all()


def test_the_colon_holds_gas_before_stool_or_fluid():
    right = columns = 0
    for seed in range(5):
        trunk = person(seed)
        canvas = filled_with_fat(trunk)
        tissue = Tissue.draw(trunk, np.random.default_rng(seed))
        difference = change(canvas, lambda: paint_colon(canvas, trunk, tissue, np.random.default_rng(seed)))  # noqa: B023
        gas = (canvas.hu < -850) & (canvas.masks["abdomen"] > 0.9)
        filled = difference > 80
        y = canvas.axis(1)[None, :, None]
        both = (gas.sum(1) >= 2) & (filled.sum(1) >= 2)
        level = [(y * m).sum(1)[both] / m.sum(1)[both] for m in (gas, filled)]
        right += (level[0] > level[1]).sum()
        columns += both.sum()
    assert columns > 100
    assert right > 0.75 * columns


def test_pelvis_femoral_heads_and_sacrum_are_bone(abdomens):
    for trunk, canvas in abdomens:
        for side in (1, -1):
            spot = (hip_center(trunk, side) - canvas.low_mm) / SPACING
            assert 90 < ndimage.map_coordinates(canvas.hu, spot[:, None], order=1)[0] < 900
        bone = canvas.hu > 220
        below = bone[:, :, canvas.axis(2) < trunk.z["iliac_crest"]].sum() * SPACING**3 / 1000
        assert 200 < below < 2200


def test_fat_stays_between_the_organs_and_more_of_it_in_those_who_have_more(abdomens):
    share, visceral = [], []
    for trunk, canvas in abdomens:
        inside = canvas.masks["abdomen"] > 0.9
        share.append((np.abs(canvas.hu[inside] + 100) < 35).mean())
        visceral.append(trunk.visceral)
    assert 0.08 < min(share) < max(share) < 0.85
    assert np.corrcoef(share, visceral)[0, 1] > 0.3


def test_nothing_is_painted_outside_the_body(abdomens):
    for _, canvas in abdomens:
        assert (canvas.hu[canvas.masks["body"] == 0] == -1000).all()


def test_the_same_seed_paints_the_same_abdomen_and_another_one_another():
    trunk = person(2)
    first, second, other = (filled_with_fat(trunk, 8.0) for _ in range(3))
    paint_abdomen(first, trunk, np.random.default_rng(7))
    paint_abdomen(second, trunk, np.random.default_rng(7))
    paint_abdomen(other, trunk, np.random.default_rng(8))
    np.testing.assert_array_equal(first.hu, second.hu)
    assert np.abs(first.hu - other.hu)[first.masks["abdomen"] > 0.5].mean() > 20


def forced(module, name, seed=0):
    """A whole body, and what one finding or implant changes in it."""
    trunk = person(11)
    canvas = anatomy(trunk, 8.0, np.random.default_rng(seed))
    return (
        trunk,
        canvas,
        change(canvas, lambda: getattr(module, name)(canvas, trunk, np.random.default_rng(seed))),
    )


def test_an_effusion_lies_behind_in_the_lung_and_is_fluid():
    from trifocal.xray.phantoms import findings

    _, canvas, difference = forced(findings, "_effusion")
    changed = difference > 300
    assert changed.sum() > 5
    assert (canvas.masks["lungs"][changed] > 0.2).all()
    assert centroid(canvas, changed)[1] < centroid(canvas, canvas.masks["lungs"])[1]
    assert np.median(canvas.hu[difference > 700]) == pytest.approx(14, abs=60)


def test_emphysema_and_pneumothorax_make_lungs_lighter_and_opacities_denser():
    from trifocal.xray.phantoms import findings

    _, canvas, emphysema = forced(findings, "_emphysema")
    assert emphysema[canvas.masks["lungs"] > 0.9].mean() < -3
    _, canvas, air = forced(findings, "_pneumothorax")
    assert np.median(canvas.hu[(air < -40) & (canvas.masks["lungs"] > 0.97)]) < -950
    assert centroid(canvas, air < -40)[1] > centroid(canvas, canvas.masks["lungs"])[1]
    assert sum(forced(findings, "_opacities", n)[2].sum() for n in range(4)) > 0


def test_ascites_takes_the_place_of_fat_in_the_abdomen_only():
    from trifocal.xray.phantoms import findings

    _, canvas, difference = forced(findings, "_ascites")
    changed = difference > 60
    assert changed.sum() > 20
    assert (canvas.masks["abdomen"][changed] > 0.3).all()
    assert -5 < np.median(canvas.hu[difference > 95]) < 30


@pytest.mark.parametrize(
    "name", ["_pacemaker", "_hip", "_spinal_rods", "_sternal_wires", "_port", "_stomach_tube"]
)
def test_implants_add_mass_within_the_body_or_just_under_the_skin(name):
    from trifocal.xray.phantoms import implants

    _, canvas, difference = forced(implants, name)
    added = difference.clip(0)
    assert added.sum() * 8.0**3 / 1000 > 300  # HU ml
    assert canvas.hu.max() <= 3000
    assert added[canvas.masks["body"] < 0.01].sum() < 0.25 * added.sum()


def test_a_wire_has_the_same_mass_at_any_spacing():
    from trifocal.xray.phantoms.implants import _wire

    mass = []
    for spacing in (2.0, 5.0):
        canvas = Canvas.covering([-20] * 3, [20] * 3, spacing)
        canvas.hu[:] = 0
        _wire(canvas, np.array([[-12.0, 0, 0], [0, 1, 2], [12, 0, 0]]), 0.8, 3000.0)
        mass.append(canvas.hu.sum() * spacing**3)
    assert mass[0] == pytest.approx(mass[1], rel=0.35)


def test_most_people_have_few_findings_and_some_have_implants():
    touched = {"findings": 0, "implants": 0}
    trunk = person(12)
    canvas = anatomy(trunk, 12.0, np.random.default_rng(0))
    clean = canvas.hu.copy()
    for seed in range(60):
        for name, paint in (("findings", paint_findings), ("implants", paint_implants)):
            canvas.hu[:] = clean
            paint(canvas, trunk, np.random.default_rng([1, seed]))
            touched[name] += bool(np.abs(canvas.hu - clean).max() > 5)
    assert 25 < touched["findings"] <= 60
    assert 6 < touched["implants"] < 45


def test_an_ellipsoid_of_an_organ_lies_where_its_centre_is():
    canvas = blank((30, 30, 30), 2.0)
    region = canvas.box([20, 20, 20], [40, 40, 40])
    canvas.paint(region, ellipsoid(region, [30, 30, 30], [8, 5, 6]), 100.0)
    np.testing.assert_allclose(centroid(canvas, canvas.hu), 30, atol=0.05)
