"""The bundled networks: what their card says, and how well they do on what they have not seen."""

import json

import numpy as np
import pytest
import torch

from data import shared_data
from trifocal import io
from trifocal.checkpoint import bundled
from trifocal.keypoints.calibration import calibrate
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.examples import standard_split
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.learned import BUNDLED
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.predictor import KeypointsInput, KeypointsPredictor
from trifocal.keypoints.tasks import TASKS

UNSEEN = 3_000_000
MOST_PX_OF_320 = {
    "HC": 8,
    "FA": 30,
    "fetal_femur": 6,
    "AOP": 18,
    "FUGC": 16,
    "PLAX": 5,
    "PSAX": 9,
    "A4C": 5,
    "IVC": 14,
}


@pytest.fixture(scope="module")
def predictor():
    torch.set_num_threads(1)
    return KeypointsPredictor.load(BUNDLED, device="cpu")


def test_the_card_says_what_was_seen_and_how_to_make_the_weights_again():
    path = bundled(BUNDLED)
    about = json.loads(path.with_suffix(".json").read_text())
    card = about["card"]
    assert path.stat().st_size <= 16 * 2**20
    assert card["command"].startswith("trifocal train keypoints --recipe compact ")
    assert about["config"]["real"] == ["HC"]
    assert "10.5281/zenodo.1327317" in card["data"]["real"]
    assert not any("hc18" in name for name in card["data"]["images"] if not name.startswith("HC"))
    first, last = card["data"]["synthetic_seeds"]
    assert not first <= UNSEEN <= last


@pytest.mark.parametrize("task_id", TASKS)
def test_new_phantoms_of_every_task_get_their_points(predictor, task_id):
    errors, warned = [], set()
    for seed in range(UNSEEN, UNSEEN + 6):
        made = phantom(task_id, seed)
        found = predictor.predict(KeypointsInput(made.image, TASKS[task_id]))
        matched = TASKS[task_id].matched(found.points, made.points)
        scale = min(320 / made.image.shape[1], 224 / made.image.shape[0])
        errors.append(float(np.linalg.norm(matched - made.points, axis=-1).mean()) * scale)
        warned |= {any("synthetic images only" in w for w in found.warnings)}
    assert np.median(errors) < MOST_PX_OF_320[task_id]
    assert warned == {task_id != "HC"}


def test_heads_of_patients_that_no_training_saw_are_measured_to_some_millimetres(predictor):
    _, _, test = standard_split(read_examples(shared_data("hc18")))
    errors, radial = [], []
    for example in test[::5]:
        frame, scale = io.read_cine(example.path).frames[0], example.mm_per_px
        found = predictor.predict(KeypointsInput(frame, example.task, mm_per_px=(scale, scale)))
        assert found.ellipse is not None
        true = ellipse_from_axes(example.points).perimeter
        errors.append(abs(found.ellipse.perimeter - true) * scale)
        matched = example.task.matched(found.points, example.points)
        radial.append(float(np.linalg.norm(matched - example.points, axis=-1).mean()) * scale)
    assert np.mean(errors) < 2.2
    assert max(errors) < 12
    assert np.median(radial) < 1.6


def test_a_mirrored_head_has_the_mirrored_points(predictor):
    made = phantom("HC", UNSEEN)
    task = TASKS["HC"]
    plain = predictor.predict(KeypointsInput(made.image, task, tta=True)).points
    mirrored = predictor.predict(KeypointsInput(made.image[:, ::-1].copy(), task, tta=True)).points
    expected = task.mirror(plain, made.image.shape[1])
    size = ellipse_from_axes(plain).perimeter
    assert np.linalg.norm(task.matched(mirrored, expected) - expected, axis=-1).max() < 0.01 * size


def test_the_classical_ellipse_contradicts_an_outline_only_when_asked(predictor):
    noise = np.random.default_rng(0).integers(0, 60, (270, 400), dtype=np.uint8)
    task = TASKS["HC"]
    asked = predictor.predict(KeypointsInput(noise, task, cross_check=True))
    silent = predictor.predict(KeypointsInput(noise, task))
    assert not any("classical" in hint for hint in silent.hints)
    assert asked.ellipse is None or any("classical" in hint for hint in asked.hints)


def test_the_real_heart_gets_points_in_pixels_and_the_reason(predictor):
    cine = io.read_cine(shared_data("ultrasound_dicom/pydicom_examples_ybr_color.dcm"))
    found = predictor.predict(KeypointsInput(cine.frames[0], TASKS["A4C"]))
    assert np.isfinite(found.points).all()
    assert not isinstance(calibrate(cine).scale(found.points), tuple)
