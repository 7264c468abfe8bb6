import numpy as np
import pytest
import torch

from heads import shell_ct
from trifocal.focus import placement
from trifocal.focus.box import Box
from trifocal.focus.head import Head
from trifocal.focus.pose import Pose
from trifocal.focus.transducer import PRESETS
from trifocal.image import Image, ImageError

BOWL = PRESETS["default"]


@pytest.fixture(scope="module")
def head():
    return Head.from_image(shell_ct(centre_mm=(5.0, -8.0, 12.0)))


def test_distance_to_the_skin_of_a_sphere(head):
    for radius in (60, 85, 95, 120):
        for axis in np.concatenate([np.eye(3), -np.eye(3)]):
            point = np.array([5, -8, 12]) + radius * axis
            assert float(head.distance_mm(point)) == pytest.approx(radius - 90, abs=1.5)


def test_normal_points_away_from_the_centre(head):
    direction = np.array([0.6, -0.5, 0.62])
    direction /= np.linalg.norm(direction)
    normal = head.normal(np.array([5, -8, 12]) + 90 * direction)
    assert normal @ direction > 0.99


def test_surroundings_become_water_and_the_skull_stays(head):
    pose = Pose.from_apex([5, -8, 12 + 110], [0, 0, -1])
    hu, water = head.sample(torch.tensor(pose.matrix)[None], Box(1.0, (3, 3, 90), (-1.0, -1.0, 0.0)))
    along, wet = hu[0, 1, 1].numpy(), water[0, 1, 1].numpy()  # skin at 20, skull 26 to 32
    assert (wet[:17] > 0.99).all()
    assert (np.abs(along[:17]) < 1).all()
    assert (wet[24:] < 0.01).all()
    assert along[28:31].min() > 900
    np.testing.assert_allclose(along[40:], 35, atol=1)


def test_storage_order_changes_nothing():
    plain, flipped = shell_ct(centre_mm=(5, 0, 0)), shell_ct(centre_mm=(5, 0, 0), flip=True)
    pose = torch.tensor(Pose.from_apex([5, 40, 95], [0.1, -0.4, -1]).matrix)[None]
    box = Box(2.0, (8, 8, 30), (-8.0, -8.0, 0.0))
    a, b = (Head.from_image(ct).sample(pose, box)[0] for ct in (plain, flipped))
    torch.testing.assert_close(a, b, atol=2.0, rtol=0)


def test_sampling_is_differentiable_in_the_pose(head):
    box = Box(2.0, (6, 6, 20), (-5.0, -5.0, 0.0))
    base = torch.tensor(Pose.from_apex([5.07, -8.11, 112.13], [0, 0, -1]).matrix)

    def total(shift):
        pose = base.clone()
        pose[:3, 3] = base[:3, 3] + shift
        hu, _ = head.sample(pose[None], box)
        return hu[..., 5:9].sum().double()

    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(shift), shift)
    step = torch.tensor([0, 0, 0.05], dtype=torch.float64)
    numeric = (total(step) - total(-step)) / 0.1
    assert float(slope[2]) == pytest.approx(float(numeric), rel=0.05)


def test_an_empty_skull_is_filled_with_water():
    head = Head.from_image(shell_ct(radii_mm=(85, 84, 76), hu=(900, 900, -1000)))
    assert any("filled with water" in w for w in head.warnings)
    hu, water = head.sample(torch.eye(4, dtype=torch.float64)[None], Box(1.0, (3, 3, 3), (-1.0, -1.0, -1.0)))
    assert float(hu.abs().max()) < 1
    assert float(water.min()) > 0.99


def test_saturated_ct_is_reported():
    ct = shell_ct()
    ct.array[35:37, 35:37, 4:6] = 3071
    assert any("saturated: 8 voxels at 3071 HU" in w for w in Head.from_image(ct).warnings)


def test_ct_without_bone_is_refused():
    with pytest.raises(ImageError, match="holds no skull: 0 mL above 250 HU"):
        Head.from_image(shell_ct(hu=(40, 60, 35)))


def test_ct_with_nan_is_refused():
    ct = shell_ct()
    ct.array[10, 10, 10] = np.nan
    with pytest.raises(ImageError, match="not numbers"):
        Head.from_image(ct)


def test_a_table_beside_the_head_is_left_out():
    ct = shell_ct()
    array = ct.array.copy()
    array[:, 2, :] = 150  # a plate 10 mm behind the head
    head = Head.from_image(Image(array, ct.affine, "HU"))
    y = ct.index_to_world([0, 2, 0])[1]
    assert float(head.distance_mm([0, y, 0])) > 5


def test_a_ray_hits_the_skin_where_the_sphere_is(head):
    centre = np.array([5, -8, 12])
    hit = placement.hit_skin(head, centre + [0, 200, 0], [0, -2, 0])
    np.testing.assert_allclose(hit, centre + [0, 90, 0], atol=1.5)
    assert placement.hit_skin(head, centre + [0, 200, 0], [1, 0, 0]) is None


def test_placing_keeps_the_stand_off(head):
    centre = np.array([5, -8, 12])
    for standoff in (2, 5, 15):
        pose = placement.place(head, BOWL, centre + [0, 0, 90], [0, 0, -1], standoff)
        assert placement.clearance_mm(head, BOWL, pose) == pytest.approx(standoff, abs=0.5)
        assert placement.coupling_problem(head, BOWL, pose) is None


def test_aiming_puts_the_geometric_focus_on_a_target_near_the_skull(head):
    target = np.array([5, -8, 12]) + [0, 45, 30]
    pose, warnings = placement.aim(head, BOWL, target)
    assert warnings == ()
    focus = pose.to_world([0, 0, BOWL.radius_of_curvature_mm])
    np.testing.assert_allclose(focus, target, atol=1e-6)
    # the nearest skin lies on the line from the centre through the target
    outward = (target - [5, -8, 12]) / np.linalg.norm(target - [5, -8, 12])
    assert -pose.direction @ outward > 0.98


def test_a_target_too_deep_says_how_far_the_focus_falls_short(head):
    _, warnings = placement.aim(head, BOWL, [5, -8, 12])
    assert "mm short of the target" in warnings[0]


def test_aiming_from_an_entry_point(head):
    centre = np.array([5, -8, 12])
    target = centre + [50, 0, 0]
    pose, _ = placement.aim(head, BOWL, target, centre + [88, 20, 0])
    to_target = target - pose.apex_mm
    np.testing.assert_allclose(to_target / np.linalg.norm(to_target), pose.direction, atol=1e-6)
    assert pose.direction[1] < -0.2


def test_target_outside_the_head_is_refused(head):
    with pytest.raises(ValueError, match=r"target \[5.0, -8.0, 132.0\] lies (29|3[0-2]) mm outside"):
        placement.aim(head, BOWL, [5, -8, 132])


def test_bowl_inside_the_head_and_beam_past_it_are_told(head):
    centre = np.array([5, -8, 12])
    inside = Pose.from_apex(centre + [0, 0, 60], [0, 0, -1])
    assert "cuts" in placement.coupling_problem(head, BOWL, inside)
    past = Pose.from_apex(centre + [0, 0, 110], [0, 0, 1])
    assert "looks past the head" in placement.coupling_problem(head, BOWL, past)
    far = Pose.from_apex(centre + [0, 0, 260], [0, 0, -1])
    assert "too far away" in placement.coupling_problem(head, BOWL, far)


def test_a_beam_through_the_cut_end_of_a_scan_is_told():
    ct = shell_ct()
    cut = ct.crop([0, 0, 0], [ct.shape[0], ct.shape[1], 50])  # the vertex is missing
    head = Head.from_image(cut)
    top = ct.index_to_world([0, 0, 49])[2]
    pose = Pose.from_apex([0, 0, top + 20], [0, 0, -1])
    assert "scan ends" in placement.coupling_problem(head, BOWL, pose)
