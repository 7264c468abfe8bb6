"""From points to numbers: units, reasons, missing points, unequal pixels, and a cine's extremes."""

import numpy as np
import pytest

from trifocal.keypoints.cine_measurements import measure_cine
from trifocal.keypoints.ellipse import Ellipse, scaled
from trifocal.keypoints.measurements import Measurement, fetal_weights, measure
from trifocal.keypoints.tasks import TASKS

HEAD = Ellipse((200.0, 140.0), (110.0, 86.0), 20.0)  # px


def by_name(measurements: tuple[Measurement, ...]) -> dict[str, Measurement]:
    return {item.name: item for item in measurements}


def axis_ends(ellipse: Ellipse) -> np.ndarray:
    return TASKS["HC"].canonical(ellipse.axis_ends())


@pytest.mark.parametrize("task", list(TASKS.values()), ids=list(TASKS))
@pytest.mark.parametrize("scale", [None, (0.3, 0.3)])
def test_every_task_measures_all_that_it_names(task, scale) -> None:
    points = np.stack([10.0 * np.arange(task.count), 7.0 * np.arange(task.count) ** 1.5], axis=1)
    got = measure(task, points, scale)
    assert tuple(item.name for item in got) == task.measurements
    assert all(item.value is not None or item.reason for item in got)
    assert all(item.reason for item in got if item.unit == "px")


@pytest.mark.parametrize("task", list(TASKS.values()), ids=list(TASKS))
def test_without_points_nothing_has_a_value_and_the_points_are_named(task) -> None:
    for item in measure(task, np.full((task.count, 2), np.nan), (0.3, 0.3)):
        assert item.value is None
        assert "missing" in item.reason
        assert any(name in item.reason for name in task.points)


def test_a_head_in_square_pixels_is_measured_in_millimetres() -> None:
    got = by_name(measure(TASKS["HC"], axis_ends(HEAD), (0.5, 0.5)))
    assert got["BPD"].value == pytest.approx(86.0)
    assert got["OFD"].value == pytest.approx(110.0)
    assert got["HC"].value == pytest.approx(HEAD.perimeter / 2)
    assert got["CI"].value == pytest.approx(100 * 86 / 110)
    assert got["GA (HC)"].unit == "weeks"
    assert got["GA (HC)"].value == pytest.approx(34.5, abs=0.1)  # 309 mm; GE's table: 34w4d at 310
    assert got["GA (HC)"].reason == "Hadlock 1984 (HC)"
    assert {item.unit for item in got.values()} == {"mm", "%", "weeks"}


def test_without_a_scale_lengths_are_pixels_with_the_reason_and_there_is_no_age() -> None:
    got = by_name(measure(TASKS["HC"], axis_ends(HEAD), None, "the file says nothing"))
    assert (got["HC"].unit, got["HC"].reason) == ("px", "the file says nothing")
    assert got["HC"].value == pytest.approx(HEAD.perimeter)
    assert got["CI"].reason == "assumes square pixels"
    assert got["GA (HC)"].value is None
    assert "the file says nothing" in got["GA (HC)"].reason


def test_unequal_pixels_stretch_the_ellipse_before_it_is_measured() -> None:
    squeezed = scaled(HEAD, 2.0, 1.0)  # the same head in pixels half as wide
    truth = by_name(measure(TASKS["HC"], axis_ends(HEAD), (0.4, 0.4)))["HC"].value
    got = by_name(measure(TASKS["HC"], axis_ends(squeezed), (0.2, 0.4), ellipse=squeezed))
    assert got["HC"].value == pytest.approx(truth)


def test_a_length_in_unequal_pixels_uses_both_sizes() -> None:
    got = measure(TASKS["IVC"], [[0.0, 0.0], [30.0, 40.0]], (0.1, 0.2))
    assert got[0].value == pytest.approx(np.hypot(3.0, 8.0))


def test_a_young_head_has_a_circumference_but_no_age() -> None:
    got = by_name(measure(TASKS["HC"], axis_ends(HEAD), (0.1, 0.1)))
    assert got["HC"].value is not None
    assert got["GA (HC)"].value is None
    assert "14 to 42 weeks" in got["GA (HC)"].reason


def test_a_round_head_is_told_that_its_bpd_misleads() -> None:
    round_head = Ellipse((200.0, 140.0), (100.0, 95.0), 0.0)
    assert "74 to 83" in by_name(measure(TASKS["HC"], axis_ends(round_head), (0.4, 0.4)))["CI"].reason


def test_one_missing_point_takes_only_what_needs_it() -> None:
    points = axis_ends(HEAD)
    points[0] = np.nan
    got = by_name(measure(TASKS["HC"], points, (0.5, 0.5)))
    assert got["OFD"].value == pytest.approx(110.0)
    assert got["BPD"].reason == "BPD 1 missing"
    assert got["HC"].value is got["CI"].value is got["GA (HC)"].value is None
    assert by_name(measure(TASKS["HC"], points, (0.5, 0.5), ellipse=HEAD))["HC"].value is not None


def test_angle_and_distance_of_a_head_in_labour() -> None:
    points = [[100.0, 100.0], [60.0, 100.0], [100.0, 130.0], [140.0, 140.0]]
    got = by_name(measure(TASKS["AOP"], points, (0.2, 0.2)))
    assert got["AoP"].value == pytest.approx(135.0)
    assert got["HSD"].value == pytest.approx(6.0)
    stretched = by_name(measure(TASKS["AOP"], points, (0.2, 0.4)))
    assert stretched["AoP"].value == pytest.approx(180.0 - np.rad2deg(np.arctan(2.0)))
    assert by_name(measure(TASKS["AOP"], points, None))["AoP"].reason == "assumes square pixels"


@pytest.mark.parametrize(("length", "note"), [(24.0, "short: under 25 mm"), (26.0, "")])
def test_a_short_cervix_is_said(length: float, note: str) -> None:
    got = measure(TASKS["FUGC"], [[0.0, 0.0], [length / 0.1, 0.0]], (0.1, 0.1))
    assert got[0].value == pytest.approx(length)
    assert got[0].reason == note


def plax(**lengths: float) -> np.ndarray:
    """Vertical pairs of these lengths, 40 where none is given."""
    task = TASKS["PLAX"]
    points = np.zeros((task.count, 2))
    for pair in task.pairs:
        x = 5.0 * pair.ends[0]
        points[list(pair.ends)] = [[x, 0.0], [x, lengths.get(pair.name, 40.0)]]
    return points


def test_mass_and_wall_thickness_say_that_they_are_of_diastole() -> None:
    got = by_name(measure(TASKS["PLAX"], plax(IVS=20.0, LV=90.0, LVPW=18.0), (0.5, 0.5)))
    assert got["LV mass"].value == pytest.approx(142.9, abs=0.05)
    assert got["RWT"].value == pytest.approx(2 * 9 / 45)
    assert "end-diastolic" in got["LV mass"].reason
    assert "end-diastolic" in got["RWT"].reason
    pixels = by_name(measure(TASKS["PLAX"], plax(IVS=20.0, LV=90.0, LVPW=18.0), None))
    assert pixels["LV mass"].value is None
    assert pixels["RWT"].value == pytest.approx(0.4)


def test_no_task_offers_an_ejection_fraction() -> None:
    assert not any("EF" in name.split() for task in TASKS.values() for name in task.measurements)


def test_the_weight_is_made_of_three_tasks_and_named() -> None:
    parts = [Measurement("HC", 338.0, "mm"), Measurement("AC", 310.0, "mm"), Measurement("FL", 73.0, "mm")]
    (got,) = fetal_weights(parts)
    assert got.value == pytest.approx(2903, rel=0.02)  # perinatology.com's, with BPD
    assert got.reason == "Hadlock 1985 (HC, AC, FL)"
    bpd = Measurement("BPD", 93.0, "mm")
    assert [w.reason for w in fetal_weights([*parts[1:], bpd])] == ["Hadlock 1985 (BPD, AC, FL)"]
    heads = [w.reason.removeprefix("Hadlock 1985 (") for w in fetal_weights([*parts, bpd])]
    assert heads == ["HC, AC, FL)", "BPD, AC, FL)", "BPD, HC, AC, FL)"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (Measurement("FL", 73.0, "px", "no scale"), "needs FL"),
        (Measurement("FL", None, "mm", "missing"), "needs FL"),
        (Measurement("FL", 5.0, "mm"), "FL must"),
    ],
)
def test_a_weight_is_refused_with_the_reason(changed: Measurement, said: str) -> None:
    (got,) = fetal_weights([Measurement("HC", 338.0, "mm"), Measurement("AC", 310.0, "mm"), changed])
    assert got.value is None
    assert said in got.reason


def test_wrong_shapes_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match=r"points of HC must have the shape \(4, 2\), got \(3, 2\)"):
        measure(TASKS["HC"], np.zeros((3, 2)), None)
    with pytest.raises(ValueError, match="two positive numbers"):
        measure(TASKS["IVC"], np.zeros((2, 2)), (0.0, 0.1))


def ivc(diameters: np.ndarray) -> np.ndarray:
    """(T, 2, 2): a vertical pair."""
    points = np.zeros((len(diameters), 2, 2))
    points[:, 1, 1] = diameters
    return points


def breath(frames: int = 60, cycles: float = 2.0) -> np.ndarray:
    """Diameters from 100 to 60 px."""
    return 80.0 + 20.0 * np.cos(2 * np.pi * cycles * np.arange(frames) / frames)


def test_collapsibility_is_read_off_the_extremes_of_a_cine() -> None:
    got = measure_cine(TASKS["IVC"], ivc(breath()), (0.2, 0.2))
    assert got is not None
    assert got.largest_frame in (0, 1, 30)
    assert got.smallest_frame in (15, 45)
    numbers = by_name(got.measurements)
    assert numbers["IVC collapsibility"].value == pytest.approx(40.0, abs=1.0)
    assert numbers["IVC diameter largest"].value == pytest.approx(20.0, abs=0.2)
    assert numbers["IVC diameter largest"].unit == "mm"
    assert got.hints == ()


def test_wrong_and_missing_frames_change_neither_extreme() -> None:
    diameters = breath()
    diameters[[0, 7, 23]] = [400.0, 400.0, 1.0]
    diameters[[12, 13, 40]] = np.nan
    got = measure_cine(TASKS["IVC"], ivc(diameters), None, "no scale")
    assert got is not None
    assert by_name(got.measurements)["IVC collapsibility"].value == pytest.approx(40.0, abs=1.0)
    assert np.isnan(got.values[12])
    assert np.isnan(got.smoothed[12])
    assert got.values[7] == 400.0
    assert got.hints == ("3 of 60 frames have no IVC diameter: a point is missing",)
    assert "no scale" in by_name(got.measurements)["IVC diameter smallest"].reason


def test_less_than_a_cycle_is_hinted_at() -> None:
    got = measure_cine(TASKS["IVC"], ivc(breath(cycles=0.5)), None)
    assert got is not None
    assert "less than one whole breath" in got.hints[0]
    still = measure_cine(TASKS["IVC"], ivc(np.full(20, 50.0)), None)
    assert still is not None
    assert by_name(still.measurements)["IVC collapsibility"].value == 0.0
    assert still.hints


def test_shortening_and_the_mass_of_diastole_come_from_plax() -> None:
    cavity = 30.0 + 15.0 * np.cos(2 * np.pi * np.arange(40) / 40)  # 45 down to 15 mm
    points = np.stack([plax(IVS=10.0, LV=float(mm), LVPW=9.0) for mm in cavity])
    got = measure_cine(TASKS["PLAX"], points, (1.0, 1.0))
    assert got is not None
    numbers = by_name(got.measurements)
    assert got.names == ("ED", "ES")
    assert got.largest_frame <= 1
    assert got.smallest_frame == 20
    assert numbers["FS"].value == pytest.approx(100 * 30 / 45, abs=1.0)
    assert numbers["LV mass"].value == pytest.approx(142.9, abs=0.05)
    assert numbers["LV mass"].reason.endswith("the largest LV diameter")


def test_a4c_gives_both_frames_and_no_ejection_fraction() -> None:
    task = TASKS["A4C"]
    points = np.zeros((30, task.count, 2))
    points[:, 1, 1] = 80.0  # LV length
    points[:, 3, 1] = 40.0 + 8.0 * np.sin(2 * np.pi * np.arange(30) / 30)  # LV width
    got = measure_cine(task, points, (1.0, 1.0))
    assert got is not None
    names = [item.name for item in got.measurements]
    assert names == ["LV width ED", "LV width ES", "LV length ED", "LV length ES"]
    assert got.measurements[0].value == pytest.approx(48.0, abs=0.5)


def test_a_cine_without_points_has_nothing_to_follow() -> None:
    assert measure_cine(TASKS["IVC"], np.full((5, 2, 2), np.nan), None) is None
    with pytest.raises(ValueError, match="IVC, PLAX, A4C, got HC"):
        measure_cine(TASKS["HC"], np.zeros((5, 4, 2)), None)
    with pytest.raises(ValueError, match=r"\(T, 2, 2\), got \(2, 2\)"):
        measure_cine(TASKS["IVC"], np.zeros((2, 2)), None)
