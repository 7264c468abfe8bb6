"""The published formulas behind the measurements, each with its paper, its units and its range.

Lengths come in millimetres, as everywhere in this package; the papers' equations are in centimetres. Numbers
outside a formula's range are refused: a regression says nothing there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from trifocal.keypoints.ellipse import Ellipse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Biometry = Literal["BPD", "HC", "AC", "FL"]
"""What a gestational age can be read from."""

AGES_WEEKS = (14.0, 42.0)
"""Menstrual ages of the 361 fetuses that Hadlock et al. (1984) made their regressions from."""

_HADLOCK_1984: dict[Biometry, tuple[float, float, float, float]] = {
    # Weeks from centimetres: coefficients of 1, x, x^2, x^3.
    "BPD": (9.54, 1.482, 0.1676, 0.0),
    "HC": (8.96, 0.540, 0.0, 0.0003),
    "AC": (8.14, 0.753, 0.0036, 0.0),
    "FL": (10.35, 2.460, 0.170, 0.0),
}


def gestational_age(biometry: Biometry, mm: float) -> float:
    """Menstrual age in weeks from one measurement.

    Hadlock, Deter, Harrist, Park, "Estimating fetal age: computer-assisted analysis of multiple fetal growth
    parameters", Radiology 152:497-501, 1984: the four single-parameter regressions. In centimetres,
    9.54 + 1.482 BPD + 0.1676 BPD^2; 8.96 + 0.540 HC + 0.0003 HC^3; 8.14 + 0.753 AC + 0.0036 AC^2;
    10.35 + 2.460 FL + 0.170 FL^2.

    Raises:
        ValueError: If the measurement is not positive, or the age is not one that the paper's fetuses had.
    """
    _positive(**{biometry: mm})
    c0, c1, c2, c3 = _HADLOCK_1984[biometry]
    x = mm / 10
    weeks = c0 + x * (c1 + x * (c2 + x * c3))
    low, high = AGES_WEEKS
    if not low <= weeks <= high:
        msg = (
            f"{biometry} must belong to an age of {low:.0f} to {high:.0f} weeks for Hadlock's regression, "
            f"got {mm:.1f} mm"
        )
        raise ValueError(msg)
    return weeks


def fetal_weight(
    ac_mm: float, fl_mm: float, hc_mm: float | None = None, bpd_mm: float | None = None
) -> float:
    """Estimated fetal weight in grams from the abdomen, the femur and the head.

    Hadlock, Harrist, Sharman, Deter, Park, "Estimation of fetal weight with the use of head, body, and femur
    measurements", Am J Obstet Gynecol 151:333-337, 1985. In centimetres, log10 of the weight is
    1.326 - 0.00326 AC FL + 0.0107 HC + 0.0438 AC + 0.158 FL with HC,
    1.335 - 0.0034 AC FL + 0.0316 BPD + 0.0457 AC + 0.1623 FL with BPD, and
    1.3596 - 0.00386 AC FL + 0.0064 HC + 0.00061 BPD AC + 0.0424 AC + 0.174 FL with both.

    Args:
        ac_mm: Abdominal circumference.
        fl_mm: Femur length.
        hc_mm: Head circumference; without it, BPD is needed.
        bpd_mm: Biparietal diameter; without it, HC is needed.

    Raises:
        ValueError: If there is neither HC nor BPD, or a measurement is outside `gestational_age`'s range: the
            two papers are of one series, and neither regression has seen such a fetus.
    """
    given: dict[Biometry, float] = {"AC": ac_mm, "FL": fl_mm}
    if hc_mm is not None:
        given["HC"] = hc_mm
    if bpd_mm is not None:
        given["BPD"] = bpd_mm
    for biometry, mm in given.items():
        gestational_age(biometry, mm)
    ac, fl = ac_mm / 10, fl_mm / 10
    if hc_mm is not None and bpd_mm is not None:
        hc, bpd = hc_mm / 10, bpd_mm / 10
        exponent = 1.3596 - 0.00386 * ac * fl + 0.0064 * hc + 0.00061 * bpd * ac + 0.0424 * ac + 0.174 * fl
    elif hc_mm is not None:
        exponent = 1.326 - 0.00326 * ac * fl + 0.0107 * hc_mm / 10 + 0.0438 * ac + 0.158 * fl
    elif bpd_mm is not None:
        exponent = 1.335 - 0.0034 * ac * fl + 0.0316 * bpd_mm / 10 + 0.0457 * ac + 0.1623 * fl
    else:
        msg = "a fetal weight must have HC or BPD beside AC and FL, got neither"
        raise ValueError(msg)
    return float(10.0**exponent)


def circumference(axis: float, other: float) -> float:
    """Perimeter of the ellipse with these two whole axes: HC from BPD and OFD, AC from APAD and TAD.

    Ramanujan's second formula, as the HC18 challenge has it (van den Heuvel et al., PLoS ONE 13(8), 2018).
    """
    _positive(axis=axis, other=other)
    return Ellipse((0.0, 0.0), (max(axis, other) / 2, min(axis, other) / 2), 0.0).perimeter


def cephalic_index(bpd: float, ofd: float) -> float:
    """100 BPD / OFD, in percent; one standard deviation about its mean is 74 to 83.

    Hadlock, Deter, Carpenter, Park, "Estimating fetal age: effect of head shape on BPD", AJR 137:83-85, 1981.
    """
    _positive(BPD=bpd, OFD=ofd)
    return 100.0 * bpd / ofd


def lv_mass(ivsd_mm: float, lvidd_mm: float, pwd_mm: float) -> float:
    """Mass of the left ventricle in grams, by the corrected cube formula.

    Devereux et al., "Echocardiographic assessment of left ventricular hypertrophy: comparison to necropsy
    findings", Am J Cardiol 57:450-458, 1986, as in Lang et al. 2015 (ASE/EACVI), table 6: in centimetres,
    0.8 x 1.04 x ((IVSd + LVIDd + PWd)^3 - LVIDd^3) + 0.6.

    Args:
        ivsd_mm: Thickness of the interventricular septum at end-diastole.
        lvidd_mm: Inner diameter of the left ventricle at end-diastole.
        pwd_mm: Thickness of the posterior wall at end-diastole.
    """
    _positive(IVSd=ivsd_mm, LVIDd=lvidd_mm, PWd=pwd_mm)
    outer, inner = (ivsd_mm + lvidd_mm + pwd_mm) / 10, lvidd_mm / 10
    return 0.8 * 1.04 * (outer**3 - inner**3) + 0.6


def relative_wall_thickness(pwd: float, lvidd: float) -> float:
    """2 PWd / LVIDd at end-diastole; above 0.42 the geometry is concentric (Lang et al. 2015, ASE/EACVI)."""
    _positive(PWd=pwd, LVIDd=lvidd)
    return 2.0 * pwd / lvidd


def fractional_shortening(lvidd: float, lvids: float) -> float:
    """100 (LVIDd - LVIDs) / LVIDd, in percent (Lang et al. 2015, ASE/EACVI)."""
    _positive(LVIDd=lvidd, LVIDs=lvids)
    return 100.0 * (lvidd - lvids) / lvidd


def collapsibility_index(largest: float, smallest: float) -> float:
    """100 (largest - smallest) / largest diameter of the inferior vena cava over a breath, in percent.

    Rudski et al. 2010 (ASE guideline on the right heart), J Am Soc Echocardiogr 23:685-713.
    """
    _positive(largest=largest, smallest=smallest)
    return 100.0 * (largest - smallest) / largest


def angle_of_progression(lower: ArrayLike, upper: ArrayLike, tangent: ArrayLike) -> float:
    """Angle in degrees at the symphysis' lower end between its axis and the tangent to the fetal skull.

    Barbera et al., Ultrasound Obstet Gynecol 33:313-319, 2009; ISUOG (Ghi et al. 2018).

    Args:
        lower: (2,) lower end of the symphysis, x and y on one scale (millimetres, or square pixels).
        upper: (2,) its upper end.
        tangent: (2,) where the tangent from the lower end touches the skull.

    Raises:
        ValueError: If two of the points are in one place.
    """
    apex = np.asarray(lower, dtype=np.float64)
    axis, line = np.asarray(upper, dtype=np.float64) - apex, np.asarray(tangent, dtype=np.float64) - apex
    if not (np.linalg.norm(axis) > 0 and np.linalg.norm(line) > 0):
        msg = "the points of an angle of progression must be apart, got two in one place"
        raise ValueError(msg)
    cross = axis[0] * line[1] - axis[1] * line[0]
    return float(np.rad2deg(np.arctan2(abs(cross), axis @ line)))


def _positive(**lengths: float) -> None:
    for name, value in lengths.items():
        if not (np.isfinite(value) and value > 0):
            msg = f"{name} must be a positive length, got {value}"
            raise ValueError(msg)
