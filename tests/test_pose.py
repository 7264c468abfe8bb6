import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trifocal.focus.pose import Pose

vectors = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(vectors, vectors, st.floats(-180, 180))
def test_a_pose_points_where_it_is_told_and_maps_there_and_back(apex, direction, roll):
    pose = Pose.from_apex(apex, direction, roll)
    np.testing.assert_allclose(pose.direction, np.array(direction) / np.linalg.norm(direction), atol=1e-9)
    np.testing.assert_allclose(pose.to_world([0, 0, 0]), apex)
    np.testing.assert_allclose(pose.to_world([0, 0, 5]), np.array(apex) + 5 * pose.direction)
    points = np.array([[1.0, 2, 3], [-4, 5, -6]])
    np.testing.assert_allclose(pose.from_world(pose.to_world(points)), points, atol=1e-9)


def test_json_in_both_forms(tmp_path):
    pose = Pose.from_apex([1, 2, 3], [1, 1, 0], 30)
    pose.to_json(tmp_path / "pose.json")
    np.testing.assert_allclose(Pose.from_json(tmp_path / "pose.json").matrix, pose.matrix)
    (tmp_path / "short.json").write_text(json.dumps({"apex_mm": [1, 2, 3], "direction": [2, 2, 0]}))
    short = Pose.from_json(tmp_path / "short.json")
    np.testing.assert_allclose(short.apex_mm, [1, 2, 3])
    np.testing.assert_allclose(short.direction, pose.direction)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "must be rigid"),
        ({"matrix": np.diag([-1.0, 1, 1, 1]).tolist()}, "no flip"),
        ({"matrix": [[1, 0], [0, 1]]}, r"finite \(4, 4\)"),
        ({"matrix": "abc"}, "matrix of numbers"),
        ({"apex_mm": [0, 0, 0], "direction": [0, 0, 0]}, "not all zero"),
        ({"apex_mm": [0, 0], "direction": [0, 0, 1]}, "three numbers"),
        ({"apex": 3}, "must hold"),
    ],
)
def test_a_pose_file_that_cannot_be_used_is_refused(tmp_path, record, sentence):
    path = tmp_path / "pose.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=sentence):
        Pose.from_json(path)
