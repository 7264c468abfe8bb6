import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from trifocal.xray.attenuation import hu_to_mu, mu_to_hu, mu_water, water_mm
from trifocal.xray.film import Film
from trifocal.xray.films.display import Display, from_signal, to_signal
from trifocal.xray.films.exposure import Exposure, blurred, expose, without_scatter
from trifocal.xray.geometry import Geometry, angle_name, c_arm, frontal_and_lateral
from trifocal.xray.geometry_file import PixelMeaning, read_geometry, read_pixel_meaning, write_geometry
from trifocal.xray.grid import Grid
from trifocal.xray.view import View

BOX = Grid((20, 24, 28), (5.0, 4.0, 3.0), (12.0, -7.0, 30.0))
VECTORS = ("source_mm", "origin_mm", "u_mm", "v_mm")


def same(one, other):
    for name in VECTORS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)
    assert (one.shape, one.parallel) == (other.shape, other.parallel)


# Attenuation


@pytest.mark.parametrize(("energy", "per_cm"), [(60, 0.2059), (70, 0.1929), (100, 0.1707), (59.54, 0.2067)])
def test_water_attenuates_as_xcom_says(energy, per_cm):
    assert 10 * mu_water(energy) == pytest.approx(per_cm, rel=2e-3)


def test_air_and_padding_attenuate_nothing_and_bone_more_than_water():
    mu = hu_to_mu(np.array([-2048.0, -1000.0, 0.0, 1000.0]), 70)
    np.testing.assert_allclose(mu, np.array([0, 0, 1, 2]) * mu_water(70))


def test_hounsfield_units_come_back_from_attenuation_in_numpy_and_torch():
    hu = torch.linspace(-1000, 3000, 9)
    torch.testing.assert_close(mu_to_hu(hu_to_mu(hu, 80), 80), hu, atol=1e-3, rtol=1e-6)
    array = hu.numpy()
    np.testing.assert_allclose(hu_to_mu(array, 80), hu_to_mu(hu, 80).numpy(), rtol=1e-6)
    assert hu_to_mu(array, 80).dtype == np.float32


def test_a_line_integral_is_so_much_water():
    assert water_mm(np.array([200 * mu_water(65)]), 65)[0] == pytest.approx(200)


@pytest.mark.parametrize("energy", [5.0, 1000.0, float("nan")])
def test_energies_beyond_the_table_are_refused(energy):
    with pytest.raises(ValueError, match="energy must be within 10 to 500 keV"):
        mu_water(energy)


# Views and presets


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("frontal", ["AP", "PA"])
def test_the_detectors_hold_the_shadow_of_the_box_and_no_more(frontal, parallel):
    geometry = frontal_and_lateral(BOX, frontal=frontal, parallel=parallel, pixels=50)
    corners = np.asarray(BOX.center_mm) + np.array(list(product((-0.5, 0.5), repeat=3))) * BOX.extent_mm
    for view in geometry.views:
        shadow = view.project(corners)
        assert shadow.min() >= -0.5 - 1e-6
        assert shadow.max() <= 49.5 + 1e-6
        assert min(shadow.min() + 0.5, 49.5 - shadow.max()) < 1e-6


def test_presets_stand_as_far_as_they_say():
    geometry = frontal_and_lateral(BOX, source_to_detector_mm=1500, center_to_detector_mm=200)
    for view in geometry.views:
        assert view.source_to_detector_mm == pytest.approx(1500)
        assert np.linalg.norm(view.source_mm - BOX.center_mm) == pytest.approx(1300)
    front, side = geometry.views
    assert front.source_mm[1] > 0  # AP: the source is in front of the patient
    assert side.source_mm[0] > 0  # left lateral: it is at the right, the detector at the left
    np.testing.assert_allclose(front.u_mm / front.pixel_mm[1], [-1, 0, 0])
    np.testing.assert_allclose(side.u_mm / side.pixel_mm[1], [0, -1, 0])


def test_a_c_arm_at_0_and_90_degrees_is_the_usual_pair():
    turned = c_arm(BOX, source_to_detector_mm=1800, source_to_isocenter_mm=1550)
    for one, other in zip(turned.views, frontal_and_lateral(BOX, frontal="PA").views, strict=True):
        same(one, other)


def test_angles_turn_the_detector_as_dicom_counts_them():
    lao, cranial = c_arm(BOX, ((30.0, 0.0), (0.0, 25.0))).views
    center = np.asarray(BOX.center_mm)
    assert (lao.center_mm - center)[0] < 0  # towards the patient's left
    assert (cranial.center_mm - center)[2] > 0  # towards the head
    angle = np.degrees(np.arccos(lao.normal @ [0, 1, 0]))
    assert angle == pytest.approx(30)
    assert [lao.name, cranial.name, angle_name((-45, -10)), angle_name((0, 0))] == [
        "LAO 30",
        "CRA 25",
        "RAO 45 CAU 10",
        "PA",
    ]


def test_pictures_from_behind_and_from_the_front_have_the_same_orientation():
    for angle in (10.0, 80.0, 100.0, 170.0, 190.0, -80.0):
        view = c_arm(BOX, ((angle, 0.0),)).views[0]
        towards_left = view.u_mm[0] < 0
        assert towards_left
        assert view.v_mm[2] < 0


@pytest.mark.parametrize("coarser", [1, 2, 3, 4])
def test_a_film_read_on_coarser_pixels_is_not_displaced(coarser):
    view = frontal_and_lateral(BOX, pixels=48).views[0]
    ramp = np.indices(view.shape).sum(0).astype(np.float32)
    seen = Film(view, ramp).onto(view.resized((48 // coarser, 48 // coarser))).line_integrals
    blocks = ramp.reshape(48 // coarser, coarser, 48 // coarser, coarser).mean((1, 3))
    np.testing.assert_allclose(seen[1:-1, 1:-1], blocks[1:-1, 1:-1], atol=1e-3)


def test_a_resized_view_covers_the_same_area():
    view = frontal_and_lateral(BOX, pixels=64).views[0]
    other = view.resized((32, 128))
    for point in (BOX.center_mm, BOX.low_mm):
        edges = (view.project(point) + 0.5) / view.shape
        np.testing.assert_allclose((other.project(point) + 0.5) / other.shape, edges)


@pytest.mark.parametrize("frontal", ["LATERAL", "ap", ""])
def test_a_frontal_view_is_ap_or_pa(frontal):
    with pytest.raises(ValueError, match='"AP" or "PA"'):
        frontal_and_lateral(BOX, frontal=frontal)


def test_a_source_inside_the_volume_is_refused():
    with pytest.raises(ValueError, match="source must stand outside the volume"):
        frontal_and_lateral(BOX, source_to_detector_mm=280)
    with pytest.raises(ValueError, match="source must stand outside the volume"):
        c_arm(BOX, source_to_isocenter_mm=20)


# The file


def test_a_geometry_comes_back_from_its_file(tmp_path):
    for geometry in (
        frontal_and_lateral(BOX, frontal="PA", energy_kev=62.5),
        frontal_and_lateral(BOX, parallel=True, pixels=31),
        c_arm(BOX, ((33.3, -12.5),)),
    ):
        path = tmp_path / "geometry.json"
        write_geometry(path, geometry, PixelMeaning("line integral", per_count=1e-4))
        back = read_geometry(path)
        assert (back.grid, back.energy_kev) == (geometry.grid, geometry.energy_kev)
        for one, other in zip(back.views, geometry.views, strict=True):
            same(one, other)
            assert one.name == other.name
        assert read_pixel_meaning(path) == PixelMeaning("line integral", 1e-4, 0.0)


def changed(tmp_path, change):
    path = tmp_path / "geometry.json"
    write_geometry(path, frontal_and_lateral(BOX))
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return path


def inside(record):
    record["views"][1]["source_mm"] = [12.0, -7.0, 30.0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r.pop("grid"), "must have views .*, grid and energy_kev, got the keys"),
        (lambda r: r.pop("views"), "must have views"),
        (lambda r: r.update(views=[]), "at least one view"),
        (lambda r: r.update(views=[3]), "a view must have name, source_mm"),
        (lambda r: r.update(grid=[1]), "must have views .*, grid"),
        (lambda r: r.update(energy_kev="hard"), "must have views .* energy_kev"),
        (lambda r: r.update(energy_kev=2), "energy must be within"),
        (lambda r: r["views"][0].pop("u_mm"), "a view must have name, source_mm"),
        (
            lambda r: r["views"][0].update(source_mm=[0, float("nan"), 0]),
            "source_mm .*AP view must be 3 finite",
        ),
        (lambda r: r["views"][0].update(shape=[0, 5]), "must have rows and columns"),
        (lambda r: r["views"][0].update(u_mm=r["views"][0]["v_mm"]), "must span a plane"),
        (lambda r: r["grid"].update(spacing_mm=[1, 1, -1]), "3 positive sizes and spacings"),
        (inside, "source of the LATERAL view must stand outside the volume"),
        (lambda r: r.update(format=99), "reads up to 1: update it"),
    ],
)
def test_a_wrong_geometry_file_is_refused_with_its_name(tmp_path, change, match):
    with pytest.raises(ValueError, match="geometry.json.*" + match):
        read_geometry(changed(tmp_path, change))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\udcff"])
def test_what_is_no_geometry_file_is_refused(tmp_path, text):
    path = tmp_path / "g.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="g.json must"):
        read_geometry(path)


def test_pixels_are_line_integrals_unless_the_file_says_else(tmp_path):
    assert read_pixel_meaning(changed(tmp_path, lambda r: r.pop("pixels"))) == PixelMeaning()
    for wrong in ({"scale": "density"}, {"per_count": 0}, {"per_count": None}, {"colour": 1}, 5):
        with pytest.raises(ValueError, match=r"geometry.json: pixels must have scale"):
            read_pixel_meaning(changed(tmp_path, lambda r, w=wrong: r.update(pixels=w)))


# Exposure


def disc(batch=(), size=64, depth=4.0):
    r = torch.linspace(-1, 1, size)
    one = depth * (1 - (r[:, None] ** 2 + r**2) / 0.5).clamp(min=0).sqrt()
    return one.expand(*batch, size, size).clone()


def test_an_exposure_of_nothing_changes_nothing():
    torch.testing.assert_close(expose(disc((2,)), Exposure()), disc((2,)), atol=1e-5, rtol=1e-5)


def test_noise_grows_with_the_attenuation_as_counting_demands():
    """The variance of -ln(n) of n counted photons is 1 / n."""
    flat = torch.tensor([0.5, 3.0])[:, None, None].expand(2, 200, 200)
    noisy = expose(flat, Exposure(photons=1e4), torch.Generator().manual_seed(1))
    deviation = (noisy - flat).std((-2, -1)) * torch.sqrt(1e4 * torch.exp(-flat[:, 0, 0]))
    np.testing.assert_allclose(deviation, 1, atol=0.02)


def test_the_same_seed_gives_the_same_noise_and_starved_pixels_stay_finite():
    film = disc(depth=20.0)
    one, other = (expose(film, Exposure(photons=100.0), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.max() <= np.log(200) + 1e-5  # half a photon of 100


def test_scatter_has_the_share_that_is_asked_for_and_lifts_the_darkest_most():
    film = disc()
    shown = expose(film, Exposure(scatter_fraction=0.2))
    shadow = film > 0.1
    share = 1 - torch.exp(-film)[shadow].sum() / torch.exp(-shown)[shadow].sum()
    assert float(share) == pytest.approx(0.2, abs=1e-4)
    assert (shown <= film + 1e-5).all()
    lost = film - shown
    assert lost[32, 32] > 2 * lost[shadow].min()


def test_scatter_that_is_known_can_be_taken_off():
    film = disc((2,))
    exposure = Exposure(scatter_fraction=torch.tensor([0.05, 0.3]))
    back = without_scatter(expose(film, exposure), exposure, rounds=30)
    torch.testing.assert_close(back, film, atol=2e-3, rtol=0)


def test_blur_keeps_the_mean_and_spreads_as_a_gaussian_does():
    point = torch.zeros(2, 41, 41)
    point[:, 20, 20] = 1
    out = blurred(point, torch.tensor([0.0, 3.0]))
    torch.testing.assert_close(out[0], point[0])
    assert float(out[1].sum()) == pytest.approx(1, abs=1e-4)
    at = torch.arange(41.0) - 20
    assert float((out[1].sum(0) * at**2).sum()) == pytest.approx(9, rel=0.01)
    torch.testing.assert_close(blurred(torch.ones(5, 7), 2.0), torch.ones(5, 7))


def test_each_film_of_a_batch_has_its_own_exposure():
    films = disc((2, 3))
    fractions = torch.tensor([[0.0, 0.1, 0.2], [0.3, 0.0, 0.4]])
    together = expose(films, Exposure(scatter_fraction=fractions, blur_px=fractions * 3))
    alone = expose(films[1, 2], Exposure(scatter_fraction=0.4, blur_px=1.2))
    torch.testing.assert_close(together[1, 2], alone)
    torch.testing.assert_close(together[0, 0], films[0, 0], atol=1e-5, rtol=1e-5)


def test_exposure_has_its_derivative():
    film = (disc(size=6) + 0.2).double().requires_grad_()
    exposure = Exposure(photons=1e5, scatter_fraction=0.2, scatter_width=0.3, blur_px=0.7)
    assert torch.autograd.gradcheck(lambda p: expose(p, exposure, torch.Generator().manual_seed(0)), film)


@pytest.mark.parametrize(
    "wrong", [{"photons": 0}, {"scatter_fraction": 1.0}, {"blur_px": -1.0}, {"scatter_width": float("nan")}]
)
def test_an_impossible_exposure_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be within"):
        Exposure(**wrong)


# Display


def test_a_signal_gives_its_line_integrals_back_whatever_the_exposure():
    film = disc((3,))
    beam = torch.tensor([1.0, 200.0, 4095.0])[:, None, None]
    torch.testing.assert_close(from_signal(to_signal(film, beam), beam), film, atol=1e-4, rtol=1e-4)


def test_a_signal_of_nothing_counts_as_the_least_that_was_measured():
    signal = torch.tensor([[[1.0, 0.5], [0.0, -3.0]]])
    torch.testing.assert_close(from_signal(signal, 1.0)[0, 1], torch.full((2,), float(np.log(2))))


@pytest.mark.parametrize("monochrome1", [False, True])
def test_a_display_is_undone_within_its_window(monochrome1):
    display = Display(
        low=0.5, high=torch.tensor([4.0, 9.0])[:, None, None], gamma=0.6, white=4095, monochrome1=monochrome1
    )
    film = disc((2,), depth=3.0) + 0.6
    grey = display.grey(film)
    assert (grey[:, 32, 32] > grey[:, 0, 0]).all() != monochrome1
    torch.testing.assert_close(display.line_integrals(grey), film, atol=1e-3, rtol=1e-3)


def test_monochrome1_counts_the_other_way_round():
    film = disc()
    shown = Display(white=255).grey(film)
    torch.testing.assert_close(Display(white=255, monochrome1=True).grey(film), 255 - shown)


def test_an_impossible_display_is_refused():
    for wrong in ({"low": 6.0}, {"gamma": 0.0}, {"white": -1.0}):
        with pytest.raises(ValueError, match="high over low, and a gamma and a white"):
            Display(**wrong)


def test_views_and_grids_are_values_that_nobody_changes():
    view = frontal_and_lateral(BOX).views[0]
    with pytest.raises(ValueError, match="read-only"):
        view.source_mm[0] = 3
    assert isinstance(replace(view, name="PA"), View)
    assert isinstance(Geometry((view,), BOX), Geometry)
