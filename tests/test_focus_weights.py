"""The bundled weights: what their card says, and that they are worth having on a head never seen."""

import json

import numpy as np
import pytest

from trifocal.checkpoint import bundled
from trifocal.focus.head import Head
from trifocal.focus.learned import BUNDLED, Learned
from trifocal.focus.phantoms import sample_head
from trifocal.focus.placement import random_pose
from trifocal.focus.predictor import FocusInput, FocusPredictor
from trifocal.focus.transducer import PRESETS

BOWL = PRESETS["default"]


@pytest.fixture(scope="module")
def cases():
    """Two poses on the sample head, whose seed is not among those that were trained on."""
    head, rng = Head.from_image(sample_head()), np.random.default_rng(3)
    found = []
    for _ in range(2):
        inputs = FocusInput(head, BOWL, random_pose(head, BOWL, rng))
        truth = FocusPredictor("solver", device="cpu").predict(inputs)
        rungs = {e: FocusPredictor(e, device="cpu").predict(inputs) for e in ("has", "network")}
        preview = FocusPredictor("network", device="cpu").predict(inputs.preview())
        found.append((truth, rungs, preview))
    return found


def test_the_network_is_ahead_of_the_march_it_stands_on(cases):
    for truth, rungs, _ in cases:
        has, network = (rungs[e].errors_against(truth) for e in ("has", "network"))
        assert network.centroid_error_mm < min(has.centroid_error_mm, 0.8)
        assert network.shape_l2 < min(has.shape_l2, 0.15)
        assert network.iou_6db > max(has.iou_6db, 0.85)
        assert abs(network.peak_error) < 0.1


def test_its_previews_put_the_focus_where_the_full_prediction_does(cases):
    for _, rungs, preview in cases:
        apart = np.subtract(preview.figures.focus_mm, rungs["network"].figures.focus_mm)
        assert np.linalg.norm(apart) < 1.5
        assert preview.figures.peak_pa == pytest.approx(rungs["network"].figures.peak_pa, rel=0.1)


def test_the_default_bowl_on_an_ordinary_skull_lies_within_what_it_has_seen(cases):
    for _, rungs, preview in cases:
        assert rungs["network"].out_of_range == ()
        assert preview.out_of_range == ()
        assert rungs["network"].weights == Learned.load().checkpoint.record()


def test_the_card_says_how_to_make_the_weights_again():
    path = bundled(BUNDLED)
    card = json.loads(path.with_suffix(".json").read_text())["card"]
    assert path.stat().st_size <= 16 * 2**20
    assert card["command"].startswith("trifocal train focus ")
    assert card["data"]["cases"] > 0
    assert len(card["commit"]) == 40
    assert card["licence"] == "BSD-3-Clause"
    text = path.with_suffix(".md").read_text()
    assert Learned.load().checkpoint.sha256 in text  # the card for people is that of these weights
    assert "must not be used" in text
