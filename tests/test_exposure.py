import csv
import io
import json

import numpy as np
import pytest

from heads import shell_ct
from trifocal.focus.exposure import (
    Bounded,
    PulseProtocol,
    exposure,
    intensity_w_cm2,
    mechanical_index,
)
from trifocal.focus.exposure_output import sheet_csv, sheet_json, sheet_text
from trifocal.focus.head import Head
from trifocal.focus.heating import (
    BLOOD_HEAT,
    BRAIN,
    Thermal,
    absorbed_power,
    cem43,
    warm,
)
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.transducer import Bowl

PROTOCOL = PulseProtocol(0.02, 5.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def solved():
    head = Head.from_image(shell_ct())
    bowl = Bowl(40.0, 30.0, 150e3)
    inputs = FocusInput(head, bowl, Pose.from_apex([0, 0, 98], [0, 0, -1]), points_per_wavelength=6.0)
    return FocusPredictor("solver", device="cpu").predict(inputs)


@pytest.fixture(scope="module")
def sheet(solved):
    return exposure(solved, PROTOCOL, solved=solved)


def test_one_megapascal_at_500_khz_in_water():
    assert mechanical_index(1e6, 500e3) == pytest.approx(1.4142, abs=1e-4)
    assert intensity_w_cm2(1e6, 1000.0, 1500.0) == pytest.approx(33.33, abs=0.01)


def test_the_dose_of_a_minute_at_43_degrees_is_one():
    assert cem43(np.array([43.0]), np.array([60.0])) == pytest.approx(1)
    assert cem43(np.array([44.0]), np.array([60.0])) == pytest.approx(2)
    assert cem43(np.array([42.0]), np.array([60.0])) == pytest.approx(0.25)


def test_without_conduction_and_perfusion_the_rise_is_that_of_the_absorbed_power():
    ones = np.ones((4, 4, 4), np.float32)
    pressure, speed, density, attenuation = 1e6, 1500.0, 1000.0, 1.0
    power = absorbed_power(pressure * ones, speed * ones, density * ones, attenuation * ones)
    alpha, intensity = 100 / 8.685889638, pressure**2 / (2 * density * speed)  # Np/m, W/m2
    thermal = (Thermal(1e-9, 3600.0, 0.0),)
    found = warm(power, density * ones, ones.astype(int) * 0, thermal, 1.0, 2.0, cooling_s=0)
    expected = 2 * 2 * alpha * intensity / (density * 3600)
    np.testing.assert_allclose(found.rise, expected, rtol=1e-4)


def test_with_perfusion_alone_the_rise_settles_where_blood_takes_the_heat_away():
    ones = np.ones((3, 3, 3), np.float32)
    found = warm(1e4 * ones, 1040 * ones, ones.astype(int) * 0, (BRAIN,), 1.0, 800.0, cooling_s=0)
    settled = 1e4 / (1040 * BRAIN.perfusion * BLOOD_HEAT)
    np.testing.assert_allclose(found.rise, settled, rtol=1e-3)


def test_conduction_spreads_heat_and_loses_none():
    tissue = Thermal(0.5, 3600.0, 0.0)
    power = np.zeros((9, 9, 9), np.float32)
    power[4, 4, 4] = 1e6
    density = np.full(power.shape, 1000.0, np.float32)
    index = np.zeros(power.shape, int)
    still = warm(power, density, index, (Thermal(1e-9, 3600.0, 0.0),), 1.0, 3.0, cooling_s=0).rise
    spread = warm(power, density, index, (tissue,), 1.0, 3.0, cooling_s=0).rise
    assert spread.max() < 0.9 * still.max()
    assert spread.sum() == pytest.approx(float(still.sum()), rel=1e-3)


def test_a_hotter_scale_gives_the_dose_of_its_own_temperature():
    ones = np.ones((2, 2, 2), np.float32)
    thermal = (Thermal(1e-9, 3600.0, 0.0),)
    density = 1000 * ones
    found = warm(
        1e5 * ones, density, ones.astype(int) * 0, thermal, 1.0, 60.0, scales=(1.0, 3.0), cooling_s=0
    )
    t = (np.arange(60) + 1) * 1e5 / 3.6e6
    assert found.doses[0].max() == pytest.approx(cem43(37 + t, np.ones(60)), rel=0.02)
    assert found.doses[1].max() == pytest.approx(cem43(37 + 3 * t, np.ones(60)), rel=0.02)


def test_the_sheet_follows_from_the_peak_and_the_protocol(solved, sheet):
    peak = 2 * solved.figures.peak_pa
    assert sheet["MItc"].value == pytest.approx(peak / 1e6 / np.sqrt(0.15))
    assert sheet["Isppa"].value == pytest.approx(peak**2 / (2 * 1040 * 1560) / 1e4)
    assert sheet["Ispta"].value == pytest.approx(0.1 * sheet["Isppa"].value)
    assert sheet["MItc"].level == 1.9
    assert {f.name for f in sheet.figures} >= {"MI", "rise in brain", "rise in bone", "CEM43 in skin"}
    assert 0 < sheet["rise in brain"].value < sheet["rise in bone"].value


def test_heat_goes_with_the_square_of_the_drive(solved, sheet):
    once = exposure(solved, PulseProtocol(0.02, 5.0, 2.0, 1.0), solved=solved)
    assert sheet["rise in bone"].value == pytest.approx(4 * once["rise in bone"].value, rel=1e-4)


def test_without_a_solver_the_sheet_says_that_there_is_no_thermal_estimate(solved):
    sheet = exposure(solved, PROTOCOL)
    assert not [f for f in sheet.figures if "rise" in f.name]
    assert any("no thermal estimate" in note for note in sheet.notes)


def test_a_field_that_is_not_the_solvers_gives_no_heat(solved):
    other = FocusPredictor("free-field", device="cpu").predict(solved.inputs)
    with pytest.raises(ValueError, match="from the solver's field, got that of free-field"):
        exposure(solved, PROTOCOL, solved=other)


def test_bounds_that_cross_a_level_are_said_to():
    assert Bounded("MItc", "", 1.5, (1.2, 2.0), 1.9).verdict == "may exceed"
    assert Bounded("MItc", "", 1.5, (1.2, 1.8), 1.9).verdict == "within"
    assert Bounded("MItc", "", 2.5, None, 1.9).verdict == "exceeds"
    assert Bounded("Isppa", "W/cm2", 2.5, None).verdict == ""


def test_every_form_of_the_sheet_is_marked_and_says_the_same(sheet):
    text, table, record = sheet_text(sheet), sheet_csv(sheet), json.loads(sheet_json(sheet))
    rows = list(csv.DictReader(io.StringIO(table)))
    assert "research use only" in text.lower()
    assert all("research use only" in row["notice"].lower() for row in rows)
    assert "research use only" in record["notice"].lower()
    assert [r["figure"] for r in rows] == [r["name"] for r in record["figures"]]
    for row, figure in zip(rows, sheet.figures, strict=True):
        assert float(row["value"]) == pytest.approx(figure.value)
        assert figure.name in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"pulse_s": 0.5, "prf_hz": 5.0}, "pulses would overlap"),
        ({"total_s": 0.0}, "total_s of a pulse protocol must be a positive number"),
        ({"drive_scale": float("nan")}, "drive_scale"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(words, reason):
    with pytest.raises(ValueError, match=reason):
        PulseProtocol(**words)
