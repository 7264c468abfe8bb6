"""One contract for every rung of the focus ladder."""

import numpy as np
import pytest

from heads import shell_ct
from trifocal.focus.head import Head
from trifocal.focus.placement import aim
from trifocal.focus.predictor import ENGINES, FocusInput, FocusPredictor, water_peak_pa
from trifocal.focus.transducer import PRESETS
from trifocal.predictor import Cancelled, pick_device

BOWL = PRESETS["default"]
TARGET = np.array([10.0, 25.0, 50.0])


@pytest.fixture(scope="module")
def inputs():
    head = Head.from_image(shell_ct())
    pose, _ = aim(head, BOWL, TARGET)
    return FocusInput(head, BOWL, pose, TARGET, points_per_wavelength=4.0)


@pytest.fixture(scope="module")
def predictions(inputs):
    return {name: FocusPredictor.load(name, device="cpu").predict(inputs) for name in ENGINES}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_rung_gives_pascals_placed_in_the_world(engine, inputs, predictions):
    prediction = predictions[engine]
    figures = prediction.figures
    assert prediction.pressure.unit == "Pa"
    assert prediction.pressure.array.dtype == np.float32
    assert np.isfinite(prediction.pressure.array).all()
    assert prediction.pressure.shape == inputs.box.shape == prediction.hu.shape == prediction.region.shape
    # the affine of the box takes the focal spot to where the figures say that it is
    assert prediction.pressure.sample(figures.argmax_mm) == pytest.approx(figures.peak_pa, rel=0.05)
    assert prediction.pressure.sample(figures.focus_mm) > 0.7 * figures.peak_pa
    assert figures.distance_to_target_mm == pytest.approx(np.linalg.norm(np.array(figures.focus_mm) - TARGET))
    assert figures.transmission == pytest.approx(figures.peak_pa / water_peak_pa(BOWL))


def test_the_ladder_rises_toward_the_solver(predictions):
    truth = predictions["solver"]
    free, has = (predictions[name].errors_against(truth) for name in ("free-field", "has"))
    assert has.rel_l2 < 0.5 * free.rel_l2
    assert has.shape_l2 < free.shape_l2
    assert abs(has.peak_error) < 0.15 < abs(free.peak_error)
    assert has.lateral_mm < 0.5


def test_progress_runs_from_nought_to_one_and_predictions_repeat(inputs, predictions):
    told = []
    again = FocusPredictor("has", device="cpu").predict(inputs, progress=lambda f, what: told.append(f))
    assert told[0] == 0
    assert told[-1] == 1
    np.testing.assert_array_equal(again.pressure.array, predictions["has"].pressure.array)


def test_a_preview_is_near_the_full_prediction(inputs, predictions):
    full = predictions["has"].figures
    preview = FocusPredictor("has", device="cpu").predict(inputs.preview()).figures
    assert np.linalg.norm(np.subtract(preview.focus_mm, full.focus_mm)) < 3
    assert preview.peak_pa == pytest.approx(full.peak_pa, rel=0.15)


def test_a_cancelled_solver_stops(inputs):
    told = []

    def stop(fraction, what):
        told.append(fraction)
        if fraction > 0.05:
            raise Cancelled

    with pytest.raises(Cancelled):
        FocusPredictor("solver", device="cpu").predict(inputs, progress=stop)
    assert told[-1] < 0.9  # it was asked often enough to stop on the way


def test_unknown_rungs_and_devices_are_named():
    with pytest.raises(ValueError, match="engine must be one of"):
        FocusPredictor.load("magic")
    with pytest.raises(ValueError, match='must be "auto", "cpu" or "cuda"'):
        pick_device("tpu")
