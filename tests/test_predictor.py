"""One contract for the predictors of all engines, and one for every rung of the focus ladder."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from heads import shell_ct
from trifocal import checkpoint
from trifocal.checkpoint import CheckpointError
from trifocal.focus import predictor as room
from trifocal.focus.acoustics import AcousticModel
from trifocal.focus.head import Head
from trifocal.focus.learned import PeakRegression, config_record
from trifocal.focus.limits import Seen
from trifocal.focus.model import CorrectionNet, ModelConfig
from trifocal.focus.placement import aim
from trifocal.focus.predictor import ENGINES, LEARNED, FocusInput, FocusPredictor, water_peak_pa
from trifocal.focus.skull import NearSkull
from trifocal.focus.transducer import PRESETS
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.predictor import KeypointsInput, KeypointsPredictor
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import Cancelled, pick_device
from trifocal.provenance import jsonable
from trifocal.xray.film import Film
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.predictor import XrayInput, XrayPredictor

BOWL = PRESETS["default"]
TARGET = np.array([10.0, 25.0, 50.0])
SEEN = Seen((55, 75), (48, 68), (220e3, 280e3), (3, 12), (500, 1900), (3, 6))
REGRESSION = PeakRegression((0.1, -0.02, 0.03, 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def inputs():
    head = Head.from_image(shell_ct())
    pose, _ = aim(head, BOWL, TARGET)
    return FocusInput(head, BOWL, pose, TARGET, points_per_wavelength=4.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that corrects a little, and at random: what it is worth does not matter here."""
    torch.manual_seed(0)
    net = CorrectionNet(ModelConfig((8, 8)))
    torch.nn.init.normal_(net.head.weight, std=0.1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    config = config_record(net.config, REGRESSION, SEEN)
    checkpoint.save(path, net.state_dict(), engine="focus", config=config, card={})
    return path


@pytest.fixture(scope="module")
def load(weights):
    def load(engine):
        return FocusPredictor(engine, device="cpu", checkpoint=weights)

    return load


@pytest.fixture(scope="module")
def predictions(inputs, load):
    return {name: load(name).predict(inputs) for name in ENGINES}


# --- all engines

PREDICTORS = {
    "focus, has": lambda: FocusPredictor.load("has", device="cpu"),
    "keypoints, classical": lambda: KeypointsPredictor.load("classical", device="cpu"),
    "keypoints, bundled": lambda: KeypointsPredictor.load("keypoints", device="cpu"),
    "xray, least squares": lambda: XrayPredictor.load("least-squares", device="cpu"),
    "xray, bundled": lambda: XrayPredictor.load("xray", device="cpu"),
}


@pytest.fixture
def one_thread():
    """Small networks on a machine that others use: a second thread costs more than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=PREDICTORS)
def engine(request, inputs):
    """A predictor, what it predicts from, and the arrays of what it predicts."""
    predictor = PREDICTORS[request.param]()
    if isinstance(predictor, FocusPredictor):
        return predictor, inputs.preview(), lambda p: [p.pressure.array, p.hu]
    if isinstance(predictor, XrayPredictor):
        grid = Grid.cube(300, 24)
        views = frontal_and_lateral(grid, pixels=48).views
        films = tuple(Film(view, np.full(view.shape, 2.0, np.float32)) for view in views)
        return predictor, XrayInput(films, grid, samples=1), lambda p: [p.ct.array, p.std.array]
    head = KeypointsInput(phantom("HC", 1).image, TASKS["HC"], mm_per_px=(0.2, 0.2))
    return predictor, head, lambda p: [p.points, p.scores, p.spread_px]


@pytest.mark.usefixtures("one_thread")
def test_progress_rises_from_nought_to_one_and_a_prediction_is_frozen_and_repeats(engine):
    predictor, asked, arrays = engine
    told = []
    first = predictor.predict(asked, progress=lambda fraction, what: told.append((fraction, what)))
    fractions = [fraction for fraction, _ in told]
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert fractions == sorted(fractions)
    assert all(what for _, what in told)
    assert (first.device, first.seconds > 0) == ("cpu", True)
    assert isinstance(first.warnings, tuple)
    with pytest.raises(FrozenInstanceError):
        first.device = "cuda"
    for one, other in zip(arrays(first), arrays(predictor.predict(asked)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_progress_callback_raises_stops_every_engine(engine):
    def stop(fraction, what):
        raise Cancelled

    predictor, asked, _ = engine
    with pytest.raises(Cancelled):
        predictor.predict(asked, progress=stop)


@pytest.mark.parametrize("kind", [FocusPredictor, KeypointsPredictor, XrayPredictor])
def test_weights_that_are_not_there_and_devices_that_are_none_are_refused(kind, tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors"):
        kind.load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match='must be "auto", "cpu" or "cuda"'):
        weightless = {FocusPredictor: "has", KeypointsPredictor: "classical", XrayPredictor: "least-squares"}
        kind.load(weightless[kind], device="tpu")


def test_weights_of_another_engine_are_refused():
    with pytest.raises(CheckpointError, match="weights of the focus engine"):
        KeypointsPredictor.load("focus", device="cpu")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("checkpoint", ["classical", "keypoints"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (64, 64, 3)], ids=str)
def test_frames_without_a_head_have_points_or_none_and_a_place_in_the_queue(checkpoint, shape):
    predictor = KeypointsPredictor.load(checkpoint, device="cpu")
    for grey_level in (0, 9):
        frame = np.full(shape, grey_level, np.uint8)
        found = predictor.predict(KeypointsInput(frame, TASKS["HC"], tta=True, cross_check=True))
        assert found.points.shape == (4, 2)
        assert not np.isinf(found.points).any()
        assert 0 <= found.review <= 1
        if found.ellipse is None:
            assert (found.review, len(found.warnings)) == (1.0, 1)
        np.testing.assert_array_equal(frame, grey_level)


# --- the focus ladder


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


@pytest.mark.parametrize("engine", ENGINES)
def test_every_rung_says_what_it_was_and_the_learned_ones_by_which_weights(engine, predictions, weights):
    prediction = predictions[engine]
    record = json.loads(json.dumps(jsonable(prediction.record())))
    assert (record["engine"], record["device"]) == (engine, "cpu")
    if engine in LEARNED:
        assert record["weights"] == checkpoint.load(weights).record()
        assert record["weights"]["name"] == "small"
    else:
        assert record["weights"] is None
    assert prediction.out_of_range == ()


def test_the_regression_is_the_march_times_one_factor(inputs, predictions):
    has, found = predictions["has"], predictions["regression"]
    skull = NearSkull.measure(has.hu, has.region, BOWL, has.box)
    assert 6 < skull.thickness_mm < 9  # 6 mm of 1200 HU, as thick as it is above 300 HU
    t, h = skull.thickness_mm / BOWL.wavelength_mm, skull.hu / 1000
    factor = np.exp(0.1 - 0.02 * t + 0.03 * h)
    np.testing.assert_allclose(found.pressure.array, factor * has.pressure.array, rtol=1e-5)
    assert found.figures.peak_pa == pytest.approx(factor * has.figures.peak_pa, rel=1e-5)


def test_the_network_corrects_the_march_within_its_bounds(predictions):
    has, found = (predictions[name].pressure.array for name in ("has", "network"))
    ratio = np.log(found[has > 0] / has[has > 0])
    assert 1e-3 < np.abs(ratio).max() <= 3
    assert ratio.std() > 1e-4


def test_a_file_of_weights_is_loaded_as_the_network(weights, inputs, predictions):
    for path in (weights, str(weights)):
        predictor = FocusPredictor.load(path, device="cpu")
        assert predictor.engine == "network"
        assert predictor.learned.checkpoint.record() == predictions["network"].weights
    again = predictor.predict(inputs)
    np.testing.assert_array_equal(again.pressure.array, predictions["network"].pressure.array)


def test_weights_that_cannot_be_used_are_refused_before_anything_is_computed(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors are missing"):
        FocusPredictor.load(tmp_path / "nothing.safetensors")
    path = tmp_path / "xray.safetensors"
    checkpoint.save(path, checkpoint.load(weights).weights, engine="xray", config={}, card={})
    with pytest.raises(CheckpointError, match="focus engine, got weights of the xray engine"):
        FocusPredictor("regression", checkpoint=path)


@pytest.mark.parametrize("engine", LEARNED)
def test_a_frequency_never_seen_is_told_with_the_rung_to_take_instead(engine, load, inputs):
    unseen = replace(inputs.preview(), bowl=replace(BOWL, frequency_hz=400e3))
    prediction = load(engine).predict(unseen)
    (reason,) = prediction.out_of_range
    assert reason.startswith(
        "the frequency, 400 kHz, is outside of what the network has seen (220 to 280 kHz)"
    )
    assert reason.endswith("prefer the rung below, has")
    assert reason in prediction.warnings
    assert np.isfinite(prediction.pressure.array).all()
    physics = load("has").predict(unseen)
    assert physics.out_of_range == ()
    assert reason not in physics.warnings


def test_another_mapping_from_hu_and_another_grid_are_told(load, inputs):
    other = replace(inputs.preview(), model=AcousticModel(hu_dense_bone=2500.0), points_per_wavelength=2.5)
    reasons = load("network").predict(other).out_of_range
    assert len(reasons) == 2
    assert "the grid, 2.5 points per wavelength, is outside" in reasons[0]
    assert "another mapping from HU to acoustic properties" in reasons[1]


@pytest.mark.parametrize("engine", ["has", "network"])
def test_a_gpu_that_runs_out_of_memory_gives_way_to_the_cpu_and_the_prediction_says_so(
    engine, load, inputs, monkeypatch
):
    sample, asked = room.sample_medium, []

    def too_large(inputs, device):
        asked.append(device.type)
        if device.type == "cuda":
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        return sample(inputs, device)

    preview = inputs.preview()
    on_cpu = load(engine).predict(preview)
    predictor = load(engine)
    predictor.device = torch.device("cuda")
    monkeypatch.setattr(room, "sample_medium", too_large)
    prediction = predictor.predict(preview)
    assert asked == ["cuda", "cpu"]
    assert prediction.device == prediction.record()["device"] == "cpu"
    (warning,) = set(prediction.warnings) - set(on_cpu.warnings)
    assert warning == "the GPU has too little memory for this box: it was computed on the CPU"
    np.testing.assert_array_equal(prediction.pressure.array, on_cpu.pressure.array)


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
