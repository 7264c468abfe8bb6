"""From pixels to line integrals: units, places, and what is wrong with a film."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from trifocal import io
from trifocal.image import Image, ImageError
from trifocal.radiograph import Radiograph
from trifocal.xray.comparison import on_grid
from trifocal.xray.films.fix import FIXES, Fix, read_fixes
from trifocal.xray.films.from_radiograph import film_from_radiograph, film_warnings, looks_inverted
from trifocal.xray.films.inputs import find_geometry, prepare, with_meaning
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.planning import MOST_MM, plan_grid, project_ct, upright_ct

GRID = Grid.cube(300.0, 16)
AP, LATERAL = frontal_and_lateral(GRID, pixels=32).views


def trunk(rows=64, columns=64, thick=4.5):
    """Line integrals like a chest's: air at the sides, two lungs, a spine between them."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    body = np.clip(1 - (x / 0.85) ** 2, 0, None) ** 0.5
    lungs = 0.7 * np.exp(-(((np.abs(x) - 0.4) / 0.2) ** 2) - ((y + 0.1) / 0.5) ** 2)
    liver = 0.15 * np.exp(-(((x + 0.4) / 0.3) ** 2) - ((y - 0.8) / 0.3) ** 2)
    return (thick * np.clip(body - lungs + liver * body, 0, None)).astype(np.float32)


def radiograph(pixels, scale="display", **options):
    return Radiograph(np.asarray(pixels, np.float32), scale, "film.png", **options)


def test_line_integrals_stay_as_they_are():
    film = film_from_radiograph(radiograph(trunk(32, 32), "line integral"), AP)
    np.testing.assert_allclose(film.line_integrals, trunk(32, 32), atol=1e-6)
    assert film.relative_error == pytest.approx(0.01)
    assert not film_warnings(film, "ap")


def test_finer_pixels_are_averaged_over_the_area_of_the_views():
    fine = trunk(96, 64)
    film = film_from_radiograph(radiograph(fine, "line integral", pixel_mm=_spacing(AP, fine)), AP)
    np.testing.assert_allclose(film.line_integrals, fine.reshape(32, 3, 32, 2).mean((1, 3)), atol=1e-5)


def test_pixels_that_do_not_divide_the_views_keep_their_mean():
    fine = trunk(77, 45)
    film = film_from_radiograph(radiograph(fine, "line integral", pixel_mm=_spacing(AP, fine)), AP)
    assert film.line_integrals.mean() == pytest.approx(fine.mean(), rel=1e-5)


def _spacing(view, pixels):
    return tuple(np.multiply(view.shape, view.pixel_mm) / pixels.shape)


def test_an_exposure_becomes_its_negative_logarithm():
    true = trunk(32, 32)
    exposure = 50000 * np.exp(-true)
    turned = radiograph(60000 - exposure, "linear", notes={"inverted": {"top": 60000.0}})
    film = film_from_radiograph(turned, AP)
    np.testing.assert_allclose(film.line_integrals, true, atol=0.02)
    assert film.relative_error == pytest.approx(0.05)


@pytest.mark.parametrize("scale", ["log", "display"])
def test_grey_values_are_calibrated_by_assumptions_that_are_stated(scale):
    true = trunk(32, 32)
    film = film_from_radiograph(radiograph(200 + 31 * true, scale), AP)
    factor = film.line_integrals.max() / true.max()
    np.testing.assert_allclose(film.line_integrals, factor * true, atol=0.03)
    # 260 mm of water at 70 keV
    shadow = film.line_integrals[film.line_integrals > 0.4]
    assert np.percentile(shadow, 95) == pytest.approx(5.0, abs=0.3)
    assert film.relative_error >= 0.05
    (said,) = film_warnings(film, "the frontal film")
    assert "260 mm of water" in said


def test_what_lies_behind_the_shutter_and_what_is_padding_is_unknown():
    pixels = trunk(32, 32)
    pixels[:, :2] = 9.0
    notes = {"shutter": [4, 32, 0, 32], "padding": {"value": 9.0}}
    film = film_from_radiograph(radiograph(pixels, "line integral", notes=notes), AP)
    assert np.isnan(film.line_integrals[:4]).all()
    assert np.isnan(film.line_integrals[:, :2]).all()
    np.testing.assert_allclose(film.line_integrals[4:, 2:], pixels[4:, 2:], atol=1e-6)


def test_a_film_smaller_than_the_detector_lies_in_its_middle_and_says_so():
    pixels = trunk(16, 16) + 1
    film = film_from_radiograph(radiograph(pixels, "line integral", pixel_mm=AP.pixel_mm), AP)
    np.testing.assert_allclose(film.line_integrals[8:24, 8:24], pixels, atol=1e-6)
    assert np.isnan(film.line_integrals[:8]).all()
    assert any("check that the geometry belongs to this film" in w for w in film_warnings(film, "ap"))


def test_a_film_of_another_shape_without_a_spacing_keeps_its_pixels_square():
    film = film_from_radiograph(radiograph(trunk(32, 16) + 1, "line integral"), AP)
    known = np.isfinite(film.line_integrals)
    assert known[:, 8:24].all()
    assert known.sum() == 32 * 16
    assert any("no pixel size" in w for w in film_warnings(film, "ap"))


def test_an_empty_film_is_refused():
    with pytest.raises(ImageError, match=r"every pixel of film.png is 7: the film is empty"):
        film_from_radiograph(radiograph(np.full((40, 40), 7.0)), AP)


def test_a_film_that_misses_the_detector_is_refused():
    with pytest.raises(ImageError, match="less than a tenth of the detector"):
        film_from_radiograph(radiograph(trunk(), pixel_mm=(0.01, 0.01)), AP)


@pytest.mark.parametrize("view", [AP, LATERAL])
def test_an_inverted_film_is_said_to_look_so(view):
    true = trunk()
    assert not looks_inverted(true, frontal=view is AP)
    assert looks_inverted(-true, frontal=view is AP)
    film = film_from_radiograph(radiograph(255 - 40 * true), view)
    assert any("--fix invert" in w for w in film_warnings(film, "ap"))
    mended = film_from_radiograph(radiograph(255 - 40 * true), view, fix=Fix(invert=True))
    expected = film_from_radiograph(radiograph(40 * true), view)
    np.testing.assert_allclose(mended.line_integrals, expected.line_integrals, atol=1e-3)


def test_an_inverted_film_without_air_is_known_by_its_spine():
    inner = trunk()[:, 12:52]
    assert not looks_inverted(inner, frontal=True)
    assert looks_inverted(-inner, frontal=True)


@pytest.mark.parametrize(("turn", "mirror", "flip"), [(90, False, False), (270, True, False), (180, 0, True)])
def test_fixes_turn_the_film_its_spacing_and_its_shutter_together(turn, mirror, flip):
    pixels = trunk(20, 32)
    inside = np.zeros((20, 32), bool)
    inside[2:15, 5:31] = True
    film = radiograph(pixels, pixel_mm=(2.0, 1.0), notes={"shutter": [2, 15, 5, 31]})
    fixed = Fix(turn, mirror, flip).apply(film)
    expected = np.rot90(inside, turn // 90)[:: -1 if flip else 1, :: -1 if mirror else 1]
    top, bottom, left, right = fixed.notes["shutter"]
    found = np.zeros(fixed.pixels.shape, bool)
    found[top:bottom, left:right] = True
    np.testing.assert_array_equal(found, expected)
    assert fixed.pixel_mm == ((1.0, 2.0) if turn in (90, 270) else (2.0, 1.0))
    assert film.notes == {"shutter": [2, 15, 5, 31]}


def test_words_of_fixes_add_up():
    fixes, swap = read_fixes(["swap", "turn-90-ap", "turn-180-ap", "mirror-lateral"])
    assert swap
    assert fixes == {"frontal": Fix(turn_deg=270), "lateral": Fix(mirror=True)}
    for word in FIXES:
        read_fixes([word])
    with pytest.raises(ValueError, match="a fix must be one of swap, mirror-ap"):
        read_fixes(["upside-down"])


def test_a_film_of_40_megapixels_takes_no_second_copy():
    rows, columns = 7300, 5480
    pixels = np.tile(np.linspace(0, 4000, columns, dtype=np.float32), (rows, 1))
    big = Radiograph(pixels, "display", pixel_mm=(0.06, 0.08))
    tracemalloc.start()
    film_from_radiograph(big, AP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * pixels.nbytes


def box_ct(shape=(40, 30, 50), spacing=(8.0, 8.0, 8.0), hu=0):
    array = np.full(shape, -1000, np.int16)
    array[8:-8, 8:-8, 5:-5] = hu
    affine = np.diag([*spacing, 1.0])
    return Image(array, affine, "HU")


def test_the_box_of_a_ct_has_cubic_voxels_and_64_along_its_longest_edge():
    grid = plan_grid(box_ct(spacing=(8.0, 8.0, 8.0)))
    assert grid.shape == (51, 38, 64)
    np.testing.assert_allclose(grid.spacing_mm, 400 / 64)
    np.testing.assert_allclose(grid.center_mm, (156, 116, 196))


def test_a_longer_ct_is_cut_to_450_mm_about_the_body():
    ct = box_ct(shape=(40, 30, 100))
    ct.array[:, :, 40:] = -1000  # the body lies in the lower part
    grid = plan_grid(ct)
    assert grid.extent_mm.max() == pytest.approx(MOST_MM)
    low, high = grid.low_mm[2], grid.low_mm[2] + grid.extent_mm[2]
    assert low == pytest.approx(-4.0)  # the CT's own end: nothing is made up beyond it
    assert high < 796


def test_an_oblique_ct_is_made_upright_and_keeps_its_mass():
    turn = np.radians(20)
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:2, :2] = 6 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    oblique = Image(box_ct().array, affine, "HU")
    upright = upright_ct(oblique)
    assert upright.is_axis_aligned
    mass = [float((ct.array + 1000.0).sum()) * np.prod(ct.spacing_mm) for ct in (oblique, upright)]
    assert mass[1] == pytest.approx(mass[0], rel=0.01)
    assert plan_grid(oblique).extent_mm[2] == pytest.approx(300, rel=0.02)


def test_the_projection_of_water_is_its_thickness():
    ct = box_ct()
    geometry = frontal_and_lateral(plan_grid(ct), pixels=33, parallel=True)
    ap, lateral = project_ct(ct, geometry)
    assert ap[16, 16] == pytest.approx(0.0193 * 14 * 8, rel=0.01)
    assert lateral[16, 16] == pytest.approx(0.0193 * 24 * 8, rel=0.01)
    with pytest.raises(ImageError, match="in Pa"):
        project_ct(replace(ct, unit="Pa"), geometry)


def test_what_a_scanner_stores_outside_its_circle_weighs_nothing():
    ct = box_ct()
    padded = Image(np.where(ct.array == -1000, -3024, ct.array).astype(np.int16), ct.affine, "HU")
    geometry = frontal_and_lateral(plan_grid(ct), pixels=16)
    for clean, other in zip(project_ct(ct, geometry), project_ct(padded, geometry), strict=True):
        np.testing.assert_array_equal(clean, other)
    one, other = (on_grid(image, geometry.grid).array for image in (ct, padded))
    np.testing.assert_array_equal(one, other)


def two():
    lateral = trunk(32, 32)[:, :24] * 1.1
    return {"frontal": radiograph(trunk(32, 32), "line integral"), "lateral": radiograph(lateral)}


def test_one_view_given_twice_is_refused_and_one_alone_is_not():
    film = radiograph(trunk() + np.linspace(0, 3, 64), "line integral")
    geometry = frontal_and_lateral(GRID, pixels=32)
    for other in (film, replace(film, pixels=film.pixels[:, ::-1])):
        with pytest.raises(ValueError, match="the same picture"):
            prepare({"frontal": film, "lateral": other}, geometry=geometry)
    alone = prepare({"lateral": film}, geometry=geometry)
    assert [f.view.name for f in alone.inputs.films] == ["LATERAL"]


def test_the_films_of_a_cylinder_may_be_equal():
    pixels = trunk() + trunk()[:, ::-1]
    film = radiograph(pixels, "line integral")
    geometry = frontal_and_lateral(GRID, pixels=32)
    assert len(prepare({"frontal": film, "lateral": film}, geometry=geometry).inputs.films) == 2


def test_exchanged_films_are_noticed_by_what_they_say_and_exchanged_on_request():
    geometry = frontal_and_lateral(GRID, pixels=32)
    said = {"frontal": "LL", "lateral": "PA"}
    films = {side: replace(film, position=said[side]) for side, film in two().items()}
    said = prepare(films, geometry=geometry).warnings
    assert any("--fix swap" in w for w in said)
    mended = prepare(films, geometry=geometry, fixes=["swap"])
    assert not any("--fix swap" in w for w in mended.warnings)
    assert mended.radiographs["frontal"].position == "PA"


@pytest.mark.parametrize(
    ("orientation", "fix"),
    [(["R", "F"], "mirror-ap"), (["L", "H"], "flip-ap"), (["F", "R"], "turn-90-ap"), (["L", "F"], None)],
)
def test_a_film_stored_otherwise_than_its_view_is_noticed(orientation, fix):
    film = radiograph(trunk(), "line integral", notes={"patient_orientation": orientation})
    said = prepare({"frontal": film}, geometry=frontal_and_lateral(GRID, pixels=32)).warnings
    assert any(f"--fix {fix}" in w for w in said) == (fix is not None)


def test_films_of_different_geometries_are_not_mixed(tmp_path):
    for name, text in (("a", "{}"), ("b", "{ }")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "geometry.json").write_text(text)
    paths = [tmp_path / "a" / "ap.dcm", tmp_path / "b" / "lateral.dcm"]
    assert find_geometry(paths[:1]) == tmp_path / "a" / "geometry.json"
    with pytest.raises(ValueError, match="different geometry.json"):
        find_geometry(paths)


def test_a_picture_that_lost_its_description_is_explained_by_the_geometry_file(tmp_path):
    path = tmp_path / "geometry.json"
    path.write_text('{"pixels": {"scale": "line integral", "per_count": 0.001, "at_zero": -0.5}}')
    film = radiograph(1000 * (trunk() + 0.5), notes={"format": "PNG, I;16"})
    np.testing.assert_allclose(with_meaning(film, path).pixels, trunk(), atol=1e-5)
    assert with_meaning(film, path).scale == "line integral"
    assert with_meaning(replace(film, pixels=film.pixels * 1e3), path).scale == "display"
    assert with_meaning(replace(film, notes={"format": "DICOM CR"}), path).scale == "display"


@pytest.mark.parametrize("name", ["film.dcm", "film.tif"])
def test_films_written_come_back_as_the_line_integrals_that_they_were(tmp_path, name):
    true, mm, path = trunk(30, 20) - 0.01, (1.5, 1.25), tmp_path / name
    io.write_film(path, true, pixel_mm=mm, position="PA", source_to_detector_mm=1800.0, expected_error=0.03)
    film = io.read_radiograph(tmp_path / name)
    np.testing.assert_allclose(film.pixels, true, atol=3e-4)
    assert film.scale == "line integral"
    assert film.pixel_mm == pytest.approx((1.5, 1.25), rel=1e-4)
    assert film.notes["expected_error"] == pytest.approx(0.03)
    if name.endswith("dcm"):
        assert (film.position, film.source_to_detector_mm) == ("PA", 1800.0)
    view = replace(AP, u_mm=AP.u_mm / 10, v_mm=AP.v_mm / 10)
    assert film_from_radiograph(film, view).relative_error == pytest.approx(0.03)
