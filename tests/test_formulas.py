"""Formulas against published values, not against their own equations."""

import pytest
from scipy.special import ellipe

from trifocal.keypoints.formulas import (
    Biometry,
    angle_of_progression,
    cephalic_index,
    circumference,
    collapsibility_index,
    fetal_weight,
    fractional_shortening,
    gestational_age,
    lv_mass,
    relative_wall_thickness,
)

# GE LOGIQ 500 Advanced Reference Manual, chapter 18 (OB tables), tables 18-7, -8, -10, -11: Hadlock,
# Radiology 1984. Millimetres -> weeks, days.
GE_TABLES: dict[Biometry, dict[int, tuple[int, int]]] = {
    "BPD": {25: (14, 2), 35: (16, 6), 44: (19, 3), 50: (21, 1), 62: (25, 2), 75: (30, 1), 93: (37, 6)},
    "HC": {100: (14, 5), 130: (16, 4), 175: (20, 0), 220: (24, 0), 252: (27, 2), 293: (32, 2), 340: (39, 1)},
    "AC": {100: (16, 0), 148: (20, 0), 195: (24, 1), 242: (28, 3), 278: (31, 5), 310: (34, 6)},
    "FL": {20: (16, 0), 36: (21, 3), 48: (26, 1), 55: (29, 0), 63: (32, 4), 73: (37, 3)},
}  # fmt: skip

# Hologic SuperSonic MACH Obstetrical References (PM.LAB.175-A), "GA by HC - Hadlock1984": cm -> weeks.
HOLOGIC_HC = {15.1: 18.1469, 22.4: 24.4278, 30.1: 33.3953}

# perinatology.com Fetal Biometry 5.0, Hadlock 1985 with four parameters: BPD, HC, AC, FL in mm -> grams.
WEIGHTS = {
    (50, 175, 148, 36): 367,
    (60, 213, 188, 46): 674,
    (70, 252, 222, 55): 1103,
    (80, 293, 260, 63): 1739,
    (93, 338, 310, 73): 2903,
}


@pytest.mark.parametrize("biometry", list(GE_TABLES))
def test_ages_are_those_of_a_manufacturers_hadlock_tables_to_the_day(biometry: Biometry) -> None:
    for mm, (weeks, days) in GE_TABLES[biometry].items():
        assert gestational_age(biometry, mm) == pytest.approx(weeks + days / 7, abs=1.5 / 7)


def test_ages_by_head_circumference_are_those_of_a_second_manufacturer() -> None:
    for cm, weeks in HOLOGIC_HC.items():
        assert gestational_age("HC", 10 * cm) == pytest.approx(weeks, abs=6e-4)


@pytest.mark.parametrize(
    ("biometry", "mm"),
    [("HC", 68), ("HC", 360), ("BPD", 20), ("AC", 400), ("FL", 10), ("HC", 0), ("HC", float("nan"))],
)
def test_ages_outside_the_papers_are_refused(biometry: Biometry, mm: float) -> None:
    with pytest.raises(ValueError, match=f"{biometry} must"):
        gestational_age(biometry, mm)


def test_weights_with_four_parameters_are_those_of_a_public_calculator() -> None:
    for (bpd, hc, ac, fl), grams in WEIGHTS.items():
        assert fetal_weight(ac, fl, hc, bpd) == pytest.approx(grams, abs=1.0)


def test_weights_with_three_parameters_agree_with_those_of_four() -> None:
    for (bpd, hc, ac, fl), grams in WEIGHTS.items():
        assert fetal_weight(ac, fl, hc_mm=hc) == pytest.approx(grams, rel=0.025)
        assert fetal_weight(ac, fl, bpd_mm=bpd) == pytest.approx(grams, rel=0.025)


def test_a_weight_needs_a_head_and_inputs_in_range() -> None:
    with pytest.raises(ValueError, match="HC or BPD"):
        fetal_weight(278, 67)
    with pytest.raises(ValueError, match="FL must"):
        fetal_weight(278, 6.7, hc_mm=305)


def test_the_circumference_is_the_elliptic_integral_whichever_axis_is_longer() -> None:
    exact = 2 * 100.0 * ellipe(1 - 0.78**2)
    assert circumference(78.0, 100.0) == pytest.approx(exact, rel=1e-7)
    assert circumference(100.0, 78.0) == pytest.approx(exact, rel=1e-7)


def test_the_cephalic_index_is_in_percent() -> None:
    assert cephalic_index(78.3, 100.0) == pytest.approx(78.3)  # the mean of Hadlock et al. 1981


def test_lv_mass_and_wall_thickness_are_those_of_public_examples() -> None:
    # IVSd 10, LVIDd 45, PWd 9 mm: 142.9 g. Wall 9 in 48 mm: 0.38 and, with a septum of 9, 147.8 g.
    assert lv_mass(10.0, 45.0, 9.0) == pytest.approx(142.9, abs=0.05)
    assert lv_mass(9.0, 48.0, 9.0) == pytest.approx(147.8, abs=0.05)
    assert relative_wall_thickness(9.0, 48.0) == pytest.approx(0.38, abs=0.006)


def test_shortening_and_collapse_are_shares_of_the_larger_diameter() -> None:
    assert fractional_shortening(50.0, 33.0) == pytest.approx(34.0)
    assert collapsibility_index(20.0, 10.0) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("tangent", "degrees"), [((0, 5), 90.0), ((5, 5), 135.0), ((-5, 5), 45.0), ((3, 0), 180.0)]
)
def test_the_angle_of_progression_opens_as_the_head_descends(
    tangent: tuple[float, float], degrees: float
) -> None:
    assert angle_of_progression((0, 0), (-10, 0), tangent) == pytest.approx(degrees)


def test_an_angle_of_two_points_is_refused() -> None:
    with pytest.raises(ValueError, match="apart"):
        angle_of_progression((1, 1), (1, 1), (3, 4))


def test_lengths_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="OFD must be a positive length, got 0"):
        cephalic_index(80.0, 0.0)
