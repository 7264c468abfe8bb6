import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trifocal.focus.transducer import PRESETS, Bowl, find_bowl, fit_sphere


def test_default_bowl_is_250_khz_and_focuses_near_63_mm():
    bowl = find_bowl("default")
    assert bowl.frequency_hz == 250e3
    assert bowl.radius_of_curvature_mm == pytest.approx(63, abs=1)


def test_every_preset_names_its_source():
    assert all(bowl.source for bowl in PRESETS.values())


def test_hemisphere_is_as_deep_as_its_radius_and_has_half_the_area_of_a_sphere():
    bowl = Bowl(50, 100, 500e3)
    assert bowl.depth_mm == pytest.approx(50)
    assert bowl.area_mm2 == pytest.approx(2 * np.pi * 50**2)


@given(st.floats(20, 150), st.floats(0.3, 1.9))
def test_surface_and_mesh_lie_on_the_sphere_within_the_rim(radius, ratio):
    bowl = Bowl(radius, radius * ratio, 500e3)
    for points in (bowl.surface_points(radius / 15), bowl.mesh()[0]):
        np.testing.assert_allclose(np.linalg.norm(points - [0, 0, radius], axis=1), radius, rtol=1e-9)
        assert points[:, 2].max() <= bowl.depth_mm * (1 + 1e-9)
        assert points[:, 2].min() >= -1e-9


def test_mesh_has_the_area_of_the_bowl_and_faces_the_focus():
    bowl = PRESETS["default"]
    vertices, faces = bowl.mesh(24, 96)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(bowl.area_mm2, rel=2e-3)
    to_focus = [0, 0, bowl.radius_of_curvature_mm] - (a + b + c) / 3
    assert ((normal * to_focus).sum(1) > 0).all()


def test_json_round_trip(tmp_path):
    bowl = Bowl(80.5, 61.5, 650e3, 1e5, "data sheet")
    bowl.to_json(tmp_path / "bowl.json")
    assert find_bowl(tmp_path / "bowl.json") == bowl


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"radius_of_curvature_mm": 60, "aperture_mm": 60}, "must hold a bowl: the keys"),
        (
            {"radius_of_curvature_mm": 60, "aperture_mm": 60, "frequency_hz": 1, "colour": 3},
            "must hold a bowl",
        ),
        ({"radius_of_curvature_mm": 60, "aperture_mm": 130, "frequency_hz": 5e5}, "at most twice"),
        (
            {"radius_of_curvature_mm": "60", "aperture_mm": 60, "frequency_hz": 5e5},
            "must be a positive number",
        ),
        ({"radius_of_curvature_mm": 60, "aperture_mm": 60, "frequency_hz": float("nan")}, "positive number"),
        ([1, 2], "must hold a bowl"),
    ],
)
def test_a_bowl_file_that_cannot_be_used_is_refused(tmp_path, record, sentence):
    path = tmp_path / "bowl.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        find_bowl(path)


def test_unknown_bowl_names_the_presets():
    with pytest.raises(ValueError, match=r"no bowl named 'nope': give one of .*default"):
        find_bowl("nope")


@given(st.integers(0, 2**31), st.floats(10, 200))
def test_sphere_fit_finds_centre_and_radius(seed, radius):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=3) * 50
    bowl = Bowl(radius, radius, 500e3)
    points = bowl.surface_points(radius / 10) - [0, 0, radius] + centre
    found, r = fit_sphere(points)
    np.testing.assert_allclose(found, centre, atol=1e-6 * radius)
    assert r == pytest.approx(radius, rel=1e-6)


def test_sphere_fit_refuses_a_plane():
    with pytest.raises(ValueError, match="one plane"):
        fit_sphere([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [3, 2, 0]])
