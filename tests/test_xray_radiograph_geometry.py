from dataclasses import replace

import numpy as np
import pytest

from trifocal.radiograph import Radiograph
from trifocal.xray.films.geometry import Assumption, Known, geometry_from_radiographs
from trifocal.xray.geometry import Geometry, c_arm, frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.plausibility import implausible
from trifocal.xray.view import View

BOX = Grid.cube(320, 16, (5, -10, 40))


def film(rows=430, columns=350, **facts):
    full = {"pixel_mm": (1.0, 1.0), "source_to_detector_mm": 1800.0, "source_to_patient_mm": 1600.0}
    return Radiograph(np.zeros((rows, columns), np.float32), **{**full, **facts})


def assumed(assumptions):
    return {(a.view, a.field): a.value for a in assumptions}


def test_films_that_say_everything_leave_nothing_to_assume():
    geometry, assumptions = geometry_from_radiographs(film(position="PA"), film(position="LL"), BOX)
    assert assumptions == ()
    front, side = geometry.views
    assert (front.name, side.name) == ("PA", "LATERAL")
    for view, ahead in ((front, [0, 1, 0]), (side, [-1, 0, 0])):
        assert view.shape == (430, 350)
        assert view.source_to_detector_mm == pytest.approx(1800)
        np.testing.assert_allclose(view.normal, ahead, atol=1e-9)
        np.testing.assert_allclose(view.source_mm, np.array(BOX.center_mm) - 1600 * np.array(ahead))
        np.testing.assert_allclose(view.project(BOX.center_mm), [214.5, 174.5])


def test_a_film_that_says_nothing_is_assumed_to_be_the_usual_one_and_it_is_listed():
    bare = Radiograph(np.zeros((2000, 1600), np.float32))
    geometry, assumptions = geometry_from_radiographs(bare, bare)
    found = assumed(assumptions)
    assert found["frontal", "position"] == "PA"
    assert found["lateral", "position"] == "LATERAL"
    assert found["frontal", "source_to_detector_mm"] == 1800
    assert found["lateral", "center_to_detector_mm"] == 250
    assert found["frontal", "pixel_mm"] == pytest.approx(430 / 2000)
    assert found["", "edge_mm"] == pytest.approx(430 * 1550 / 1800, abs=0.1)
    assert all(a.why for a in assumptions)
    assert len(found) == len(assumptions) == 9
    assert geometry.views[0].shape == (512, 410)
    np.testing.assert_allclose(np.multiply(geometry.views[0].shape, geometry.views[0].pixel_mm), [430, 344])
    assert implausible(geometry) == []


def test_what_the_user_says_goes_before_the_file():
    known = {"frontal": Known("AP", 1100.0, 200.0, 0.5)}
    geometry, assumptions = geometry_from_radiographs(film(position="PA"), None, BOX, known=known)
    (view,) = geometry.views
    assert assumptions == ()
    assert (view.name, view.source_to_detector_mm) == ("AP", pytest.approx(1100))
    assert view.source_mm[1] > 0
    np.testing.assert_allclose(view.pixel_mm, 0.5)


def test_a_lateral_film_given_as_the_frontal_one_is_listed_not_believed():
    geometry, assumptions = geometry_from_radiographs(film(position="LATERAL"), None, BOX)
    assert geometry.views[0].name == "PA"
    assert "LATERAL" in assumptions[0].why


def test_a_short_distance_speaks_for_ap():
    _, assumptions = geometry_from_radiographs(
        film(source_to_detector_mm=1000.0, source_to_patient_mm=800.0), None, BOX
    )
    assert assumed(assumptions) == {("frontal", "position"): "AP"}


def test_angles_place_a_film_that_has_no_position():
    facts = {"source_to_detector_mm": 1200.0, "source_to_patient_mm": 780.0, "angles_deg": (30.0, -10.0)}
    geometry, assumptions = geometry_from_radiographs(film(**facts), None, BOX)
    usual = c_arm(BOX, ((30.0, -10.0),), source_to_detector_mm=1200, source_to_isocenter_mm=780).views[0]
    assert assumptions == ()
    np.testing.assert_allclose(geometry.views[0].source_mm, usual.source_mm)
    np.testing.assert_allclose(geometry.views[0].normal, usual.normal)
    assert geometry.views[0].name == "LAO 30 CAU 10"


def test_a_distance_that_ends_at_the_support_is_carried_to_the_middle_of_the_box():
    geometry, assumptions = geometry_from_radiographs(
        film(position="PA", source_to_patient_mm=1740.0), None, BOX
    )
    assert assumed(assumptions) == {("frontal", "center_to_detector_mm"): 60 + 160}
    assert np.linalg.norm(geometry.views[0].source_mm - BOX.center_mm) == pytest.approx(1800 - 220)


def test_a_distance_to_the_patient_beyond_the_detector_is_not_believed():
    _, assumptions = geometry_from_radiographs(film(position="PA", source_to_patient_mm=1900.0), None, BOX)
    assert assumptions == (
        Assumption(
            "frontal",
            "center_to_detector_mm",
            250.0,
            "the file's source to patient distance is 1900 mm; half a trunk and the detector's cover",
        ),
    )


@pytest.mark.parametrize(
    "wrong", [{"position": "OBLIQUE"}, {"pixel_mm": 0.0}, {"source_to_detector_mm": float("nan")}]
)
def test_what_a_user_says_must_be_possible(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Known(**wrong)


def test_no_film_and_a_source_inside_the_box_are_refused():
    with pytest.raises(ValueError, match="a frontal or a lateral film is needed"):
        geometry_from_radiographs(None, None)
    near = {"frontal": Known("AP", 300.0, 200.0)}
    with pytest.raises(ValueError, match="source of the AP view must stand outside"):
        geometry_from_radiographs(film(), None, BOX, known=near)


# Plausibility


def test_the_usual_arrangements_are_plausible():
    assert implausible(frontal_and_lateral(BOX)) == []
    assert implausible(frontal_and_lateral(BOX, frontal="PA", parallel=True)) == []
    assert implausible(c_arm(BOX, pixels=256)) == []


def scaled(view, **changes):
    return replace(view, **changes)


FRONT, SIDE = frontal_and_lateral(BOX).views


@pytest.mark.parametrize(
    ("views", "grid", "match"),
    [
        (frontal_and_lateral(BOX, source_to_detector_mm=5000).views, BOX, "5000 mm from the detector"),
        ((FRONT,), Grid.cube(40, 16), "the box is 40 x 40 x 40 mm"),
        ((scaled(FRONT, u_mm=FRONT.u_mm / 100, v_mm=FRONT.v_mm / 100),), BOX, "a pixel is"),
        ((scaled(FRONT, u_mm=FRONT.u_mm / 2),), BOX, "not square"),
        ((scaled(FRONT, u_mm=FRONT.u_mm + 0.3 * FRONT.v_mm),), BOX, "right angles"),
        ((scaled(FRONT, origin_mm=FRONT.origin_mm + 200 * FRONT.u_mm),), BOX, "sees only 0%"),
        ((scaled(FRONT, origin_mm=FRONT.origin_mm + [0, 150, 0]),), BOX, "60 mm behind the detector"),
        ((FRONT, replace(FRONT, name="again")), BOX, "AP and again look along nearly the same line"),
        (c_arm(BOX, ((0, 0), (50, 0))).views, BOX, "50 degrees apart"),
    ],
)
def test_what_is_odd_is_said(views, grid, match):
    said = implausible(Geometry(tuple(views), grid))
    assert any(match in text for text in said), said


def test_a_source_beside_the_box_is_said():
    beside = View("AP", [400, -10, 40], [100, -250, -100], [-1, 0, 0], [0, 0, 1], (200, 200))
    assert any("beside the box" in text for text in implausible(Geometry((beside,), BOX)))
