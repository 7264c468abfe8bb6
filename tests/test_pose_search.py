"""Poses that bring the focus to a target: limits, search, solver loop, map of the scalp, command."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from heads import shell_ct
from trifocal import io
from trifocal.cli import main
from trifocal.focus.head import Head
from trifocal.focus.learned import Learned
from trifocal.focus.placement import aim, clearance_mm, hit_skin
from trifocal.focus.pose import Pose
from trifocal.focus.pose_search import (
    PoseCandidate,
    PoseLimits,
    aim_by_solver,
    find_poses,
    refine_by_solver,
    scalp_map,
    shortfall,
    solver_loop,
)
from trifocal.focus.pose_search.limits import incidence_deg
from trifocal.focus.pose_search.search import within, within_gap
from trifocal.focus.pose_search.surrogate import Surrogate, moved
from trifocal.focus.pose_search.targets import random_targets
from trifocal.focus.transducer import Bowl
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from pathlib import Path

BOWL = Bowl(63.2, 64.0, 110e3)  # long waves: small boxes
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def head() -> Head:
    return Head.from_image(shell_ct())


@pytest.fixture(scope="module")
def target(head: Head) -> np.ndarray:
    return head.centre_mm + [10.0, 20.0, 45.0]


def apex_pose(head: Head, gap: float = 10.0) -> Pose:
    return Pose.from_apex(head.centre_mm + [0, 0, 90 + gap], [0, 0, -1])


def test_a_motion_of_nothing_leaves_the_pose() -> None:
    pose = Pose.from_apex([3, 4, 90], [0.1, 0.2, -1])
    still = moved(pose, torch.zeros(5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    np.testing.assert_allclose(still.numpy(), pose.matrix, atol=1e-12)


def test_a_turn_keeps_what_it_is_about_at_its_place_in_the_bowl() -> None:
    pose = Pose.from_apex([3, 4, 90], [0.1, 0.2, -1])
    about = torch.tensor([1.0, 2.0, 30.0], dtype=torch.float64)
    turned = Pose(moved(pose, torch.tensor([0, 0, 0, 7.0, -4.0], dtype=torch.float64), about).numpy())
    np.testing.assert_allclose(turned.from_world(about), pose.from_world(about), atol=1e-9)
    angle = np.rad2deg(np.arccos(turned.direction @ pose.direction))
    assert angle == pytest.approx(np.hypot(7, 4), abs=1e-6)


def test_the_gradient_of_the_focus_is_what_a_small_motion_does(head: Head) -> None:
    surrogate = Surrogate(head, BOWL, Learned.load(), CPU)
    pose, about = apex_pose(head), torch.from_numpy(head.centre_mm)
    motion = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    focus, _ = surrogate.focus(moved(pose, motion, about))
    (slope,) = torch.autograd.grad(focus[0], motion)
    ends = []
    for step in (-0.5, 0.5):
        shift = torch.zeros(5, dtype=torch.float64)
        shift[0] = step
        with torch.no_grad():
            ends.append(surrogate.focus(moved(pose, shift, about))[0][0].item())
    assert slope[0].item() == pytest.approx(ends[1] - ends[0], abs=0.1)
    assert abs(slope[0].item()) == pytest.approx(1, abs=0.3)  # the focus goes about where the bowl goes


def test_poses_are_found_that_hold_the_limits_and_bring_the_focus_to_the_target(
    head: Head, target: np.ndarray
) -> None:
    limits = PoseLimits(standoff_mm=2.0, most_incidence_deg=30.0)
    found = find_poses(head, BOWL, target, limits=limits, starts=3, keep=2, device="cpu")
    assert 1 <= len(found) <= 2
    for candidate in found:
        assert limits.problem(head, BOWL, candidate.pose) is None
        assert candidate.clearance_mm >= 1.9
        assert not candidate.verified
        np.testing.assert_allclose(np.linalg.norm(candidate.focus_mm - target), candidate.distance_mm)
    assert found[0].distance_mm < 1.0


def test_the_solver_has_the_last_word_and_is_never_worse_than_the_geometric_aim(
    head: Head, target: np.ndarray
) -> None:
    aimed = aim_by_solver(head, BOWL, target, starts=2, keep=1, simulations=2, device="cpu")
    assert all(c.verified for c in aimed.poses)
    assert aimed.poses[0].distance_mm <= aimed.geometric.distance_mm
    assert aimed.distance_after(2) <= aimed.distance_after(1)
    assert aimed.poses[0].distance_mm == aimed.distance_after(2)


def measured_with(error_of):
    """A solver whose focus is off the geometric one by what a function of the pose says."""

    def judge(_, head: Head, bowl: Bowl, pose: Pose, target_mm: np.ndarray, **__: object) -> PoseCandidate:
        focus = pose.to_world([0, 0, bowl.radius_of_curvature_mm]) + error_of(pose)
        distance = float(np.linalg.norm(focus - target_mm))
        entry = hit_skin(head, pose.apex_mm, pose.direction)
        angle, gap = incidence_deg(head, entry, pose.direction), clearance_mm(head, bowl, pose)
        return PoseCandidate(pose, focus, distance, 0.3, angle, gap, 1, True)

    return judge


def refined(head: Head, pose: Pose, target: np.ndarray, simulations: int, **limits: float) -> PoseCandidate:
    start = PoseCandidate(pose, target, 0.0, 0.3, 0.0, 0.0)
    return refine_by_solver(
        start, head, BOWL, target, limits=PoseLimits(**limits), simulations=simulations, device="cpu"
    )


def test_the_loop_takes_an_error_that_stays_away_in_two_simulations(
    head: Head, target: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = np.array([1.5, -1.0, 2.0])
    monkeypatch.setattr(solver_loop, "judge", measured_with(lambda _: off))
    pose, _ = aim(head, BOWL, target)
    assert refined(head, pose, target, 1).distance_mm == pytest.approx(np.linalg.norm(off))
    after = refined(head, pose, target, 3)
    assert after.distance_mm == pytest.approx(0, abs=1e-6)
    assert after.simulations == 2


def test_the_loop_settles_where_the_focus_goes_further_than_the_bowl(
    head: Head, target: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = aim(head, BOWL, target)[0]
    focus = start.to_world([0, 0, BOWL.radius_of_curvature_mm])
    wrong = target + 1.2 * start.matrix[:3, 0] - focus  # 1.2 mm beside the target
    twice = measured_with(lambda pose: 1.5 * (pose.apex_mm - start.apex_mm) - wrong)
    monkeypatch.setattr(solver_loop, "judge", twice)
    found = [refined(head, start, target, n).distance_mm for n in (1, 2, 3)]
    assert found[1] == found[0]  # the whole shift made it worse, and the first pose stays
    assert found[2] < found[0] / 2  # half of it did not


def test_the_loop_holds_the_limits(head: Head, target: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_loop, "judge", measured_with(lambda pose: -4.0 * pose.direction))
    pose = within_gap(head, BOWL, aim(head, BOWL, target)[0], 6.0)
    gap = clearance_mm(head, BOWL, pose)
    after = refined(head, pose, target, 3, standoff_mm=gap - 2)  # 4 mm nearer would put it on the target
    assert after.clearance_mm >= gap - 2.1
    assert after.distance_mm < 4


def test_the_aim_that_is_compared_with_is_within_the_limits(
    head: Head, target: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver_loop, "judge", measured_with(lambda _: np.zeros(3)))
    top = tuple(head.centre_mm + [0, 0, 88])
    limits = PoseLimits(region_mm=top, region_radius_mm=25, most_incidence_deg=40)
    assert limits.problem(head, BOWL, aim(head, BOWL, target)[0]) is not None
    aimed = aim_by_solver(head, BOWL, target, limits=limits, starts=1, keep=1, simulations=1, device="cpu")
    for candidate in aimed.poses:
        assert limits.problem(head, BOWL, candidate.pose) is None


def test_a_focus_that_falls_short_is_said_where_the_bowl_can_go_no_nearer(head: Head) -> None:
    pose, limits = apex_pose(head), PoseLimits(standoff_mm=1.0)
    target = head.centre_mm + [0.0, 0.0, 40.0]
    near, far = (PoseCandidate(pose, target + [0, 0, 4.0], 4.0, 0.3, 0.0, gap) for gap in (1.2, 9.0))
    assert "4.0 mm short of the target" in str(shortfall(near, target, limits))
    assert shortfall(far, target, limits) is None
    beyond = PoseCandidate(pose, target - [0, 0, 4.0], 4.0, 0.3, 0.0, 1.2)
    assert shortfall(beyond, target, limits) is None


def test_a_bowl_that_is_too_slanted_is_turned_about_the_target(head: Head, target: np.ndarray) -> None:
    limits = PoseLimits(standoff_mm=1.0, most_incidence_deg=10.0)
    outward = (target - head.centre_mm) / np.linalg.norm(target - head.centre_mm)
    slanted = -outward + 0.5 * np.cross(outward, [1.0, 0, 0])
    slanted /= np.linalg.norm(slanted)
    pose = Pose.from_apex(target - BOWL.radius_of_curvature_mm * slanted, slanted)
    entry = hit_skin(head, pose.apex_mm, pose.direction)
    assert incidence_deg(head, entry, pose.direction) > 11
    turned = within(head, BOWL, pose, target, limits)
    assert limits.problem(head, BOWL, turned) is None


def test_a_target_deeper_than_the_bowl_reaches_is_refused_with_what_is_missing(head: Head) -> None:
    with pytest.raises(ValueError, match=r"lies \d+ mm deeper than the bowl's focus reaches"):
        find_poses(head, BOWL, head.centre_mm, device="cpu")


def test_a_region_where_nothing_couples_is_named(head: Head, target: np.ndarray) -> None:
    far = tuple(head.centre_mm + [0, 0, -85])
    limits = PoseLimits(lowest=-1, region_mm=far, region_radius_mm=10)
    with pytest.raises(ValueError, match="deeper than|from the region"):
        find_poses(head, BOWL, target, limits=limits, device="cpu")
    with pytest.raises(ValueError, match="too low on the head"):
        find_poses(head, BOWL, target, limits=PoseLimits(lowest=1.0), device="cpu")


def test_a_region_is_where_the_beam_goes_in(head: Head, target: np.ndarray) -> None:
    top = head.centre_mm + [0, 30, 85]
    limits = PoseLimits(region_mm=tuple(top), region_radius_mm=30, most_incidence_deg=40)
    (found,) = find_poses(head, BOWL, target, limits=limits, starts=1, keep=1, device="cpu")
    entry = hit_skin(head, found.pose.apex_mm, found.pose.direction)
    assert np.linalg.norm(entry - top) <= 30


def test_a_search_that_is_cancelled_ends(head: Head, target: np.ndarray) -> None:
    def stop(fraction: float, _: str) -> None:
        if fraction > 0.04:
            raise Cancelled

    with pytest.raises(Cancelled):
        find_poses(head, BOWL, target, device="cpu", progress=stop)


def test_a_beam_along_the_normal_has_no_incidence(head: Head) -> None:
    entry = head.centre_mm + [0, 0, 90]
    assert incidence_deg(head, entry, np.array([0, 0, -1.0])) < 3
    slanted = np.array([np.sin(np.deg2rad(20)), 0, -np.cos(np.deg2rad(20))])
    assert incidence_deg(head, entry, slanted) == pytest.approx(20, abs=3)


def test_a_bowl_too_near_is_moved_back(head: Head) -> None:
    pose = within_gap(head, BOWL, apex_pose(head, 1.0), 6.0)
    assert clearance_mm(head, BOWL, pose) == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize(
    "wrong", [{"standoff_mm": -1}, {"most_incidence_deg": 91}, {"lowest": 2}, {"region_radius_mm": 0}]
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PoseLimits(**wrong)


def test_the_map_of_the_scalp_has_values_where_the_bowl_may_stand(head: Head, target: np.ndarray) -> None:
    limits = PoseLimits(region_mm=tuple(head.centre_mm + [0, 30, 80]), region_radius_mm=30)
    found = scalp_map(head, BOWL, target, limits=limits, device="cpu")
    known = np.isfinite(found.transmission)
    assert known.any()
    assert not known.all()
    away = np.linalg.norm(found.points_mm[known] - np.array(limits.region_mm), axis=1)
    assert away.max() < 30 + 16
    assert (found.transmission[known] > 0).all()
    assert found.faces.max() < len(found.points_mm)
    assert np.abs(head.distance_mm(found.points_mm)).max() < 3


def test_random_targets_are_the_same_for_a_seed_and_lie_within_reach(head: Head) -> None:
    first, again = (random_targets(head, BOWL, 4, 5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    depths = -head.distance_mm(np.array(first))
    assert (depths > 20).all()
    assert (depths < BOWL.radius_of_curvature_mm).all()


def test_the_command_writes_a_table_the_poses_a_map_and_the_provenance(
    tmp_path: Path, head: Head, target: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, bowl = tmp_path / "head.nii.gz", tmp_path / "bowl.json"
    io.write(shell_ct(), ct)
    BOWL.to_json(bowl)
    words = f"optimise focus --ct {ct} --bowl {bowl} --device cpu --starts 2 --keep 1 --simulations 2 --scalp"
    place = f"--region-radius-mm 35 --region={','.join(map(str, target + [0, 10, 40]))}"
    deep = head.centre_mm  # out of reach: said, and the other target is still aimed at
    table = "x,y,z\n" + "\n".join(",".join(map(str, point)) for point in (target, deep))
    (tmp_path / "targets.csv").write_text(table)
    line = f"{words} {place} --targets {tmp_path / 'targets.csv'} --out {tmp_path / 'poses'}"
    assert main(line.split()) == 0
    with (tmp_path / "poses" / "poses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["found_by"] for row in rows} == {"aim", "search"}
    assert float(rows[0]["distance_mm"]) <= float(rows[1]["distance_mm"])
    pose = Pose.from_json(tmp_path / "poses" / "pose-1.json")
    np.testing.assert_allclose(pose.apex_mm, [float(rows[0][f"apex_{a}_mm"]) for a in "xyz"], atol=1e-3)
    assert (tmp_path / "poses" / "scalp-map.png").stat().st_size > 5000
    about = json.loads((tmp_path / "poses" / "provenance.json").read_text())
    assert "research use only" in about["notice"].lower()
    said = capsys.readouterr()
    assert "distance from the target by the solver" in said.out
    assert "deeper than the bowl's focus reaches" in said.err
    assert any("deeper than the bowl's focus reaches" in warning for warning in about["warnings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give one of --target"),
        ("--target 1,2,3 --random-targets 2", "give one of --target"),
        ("--target 1,2", "three numbers"),
        ("--targets {csv}", "columns x, y and z"),
    ],
)
def test_targets_that_cannot_be_read_are_named(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "targets.csv"
    table.write_text("a,b\n1,2\n")
    line = f"optimise focus --ct {tmp_path / 'none.nii'} --out {tmp_path / 'o'} {words.format(csv=table)}"
    assert main(line.split()) == 2
    assert message in " ".join(capsys.readouterr().err.split())
