"""Linear probes find what is in the features linearly, and nothing where there is nothing."""

import numpy as np
import pytest

from trifocal.focus.probes import Attributes, cyclic_distance, probe, r_squared

SUBJECTS, EACH = 12, 10


@pytest.fixture(scope="module")
def attributes():
    rng = np.random.default_rng(0)
    n = SUBJECTS * EACH
    subject = np.repeat([f"head {i}" for i in range(SUBJECTS)], EACH)
    return Attributes(subject, rng.uniform(-180, 180, n), rng.uniform(48, 68, n), rng.uniform(20, 60, n))


@pytest.fixture(scope="module")
def told(attributes):
    """Features that hold each attribute in a direction of its own."""
    rng = np.random.default_rng(1)
    angle = np.radians(attributes.azimuth_deg)
    subject = np.unique(attributes.subject, return_inverse=True)[1]
    figures = (np.sin(angle), np.cos(angle), attributes.aperture_mm, attributes.depth_mm)
    known = np.stack([(f - f.mean()) / f.std() for f in figures], axis=-1)
    mixed = np.column_stack([known @ rng.normal(size=(4, 16)), np.eye(SUBJECTS)[subject]])
    return {(p.name, p.split): p for p in probe(mixed, attributes)}


def test_what_is_in_the_features_is_found_for_samples_and_for_subjects_held_out(told):
    assert told["subject", "samples"].figures["top1"] > 0.95
    assert told["subject", "samples"].figures["top5"] > 0.99
    for split in ("samples", "subjects"):
        assert told["azimuth", split].figures["mae_deg"] < 10
        assert told["aperture", split].figures["r2"] > 0.95
        assert told["depth", split].figures["r2"] > 0.95


def test_noise_tells_nothing(attributes):
    noise = np.random.default_rng(2).normal(size=(SUBJECTS * EACH, 32))
    found = {(p.name, p.split): p for p in probe(noise, attributes)}
    assert abs(found["subject", "samples"].figures["top1"] - 1 / SUBJECTS) < 0.1
    for split in ("samples", "subjects"):
        assert abs(found["azimuth", split].figures["mae_deg"] - 90) < 12
        assert found["aperture", split].figures["r2"] < 0.1


def test_shuffled_answers_are_no_better_than_chance(told):
    for p in told.values():
        for key, chance in p.chance.items():
            slack = 15 if key == "mae_deg" else 0.2
            assert abs(p.shuffled[key] - chance) < slack, (p.name, p.split, key)
    assert told["subject", "samples"].chance == {"top1": 1 / SUBJECTS, "top5": 5 / SUBJECTS}


def test_a_subject_held_out_is_not_recognised_by_its_features(attributes):
    subject = np.unique(attributes.subject, return_inverse=True)[1]
    own = np.random.default_rng(3).uniform(20, 60, SUBJECTS)[subject]
    only = Attributes(attributes.subject, attributes.azimuth_deg, attributes.aperture_mm, own)
    found = {(p.name, p.split): p for p in probe(np.eye(SUBJECTS)[subject], only)}
    assert found["depth", "samples"].figures["r2"] > 0.9  # learned by heart
    assert found["depth", "subjects"].figures["r2"] < 0.3  # nothing to go by


def test_angles_are_compared_around_the_circle():
    assert cyclic_distance(np.array([179.0, 10.0]), np.array([-179.0, -20.0])).tolist() == [2.0, 30.0]


def test_the_mean_explains_nothing():
    truth = np.array([1.0, 2.0, 6.0])
    assert r_squared(np.full(3, 3.0), truth) == 0
    assert r_squared(truth, truth) == 1


def test_what_is_unknown_or_never_varies_is_left_out(attributes):
    depth = np.where(np.arange(SUBJECTS * EACH) < 5, np.nan, attributes.depth_mm)
    known = Attributes(attributes.subject, attributes.azimuth_deg, np.full(len(depth), 64.0), depth)
    found = {
        (p.name, p.split): p for p in probe(np.random.default_rng(4).normal(size=(len(depth), 4)), known)
    }
    assert len(found["depth", "samples"].truth) == len(depth) - 5
    assert ("aperture", "samples") not in found


def test_a_subject_with_one_sample_is_not_asked_for(attributes):
    subject = attributes.subject.copy()
    subject[0] = "seen once"
    once = Attributes(subject, attributes.azimuth_deg, attributes.aperture_mm, attributes.depth_mm)
    (found,) = (p for p in probe(np.eye(len(subject))[:, :20], once) if p.name == "subject")
    assert (len(found.truth), found.subjects) == (len(subject) - 1, SUBJECTS)


def test_too_few_samples_and_bad_features_are_refused(attributes):
    few = Attributes(*(getattr(attributes, k)[:9] for k in vars(attributes)))
    with pytest.raises(ValueError, match="must have 10 samples of 5 subjects"):
        probe(np.zeros((9, 4)), few)
    with pytest.raises(ValueError, match="must be finite"):
        probe(np.full((SUBJECTS * EACH, 4), np.nan), attributes)
    with pytest.raises(ValueError, match="must have shape"):
        probe(np.zeros((3, 4)), attributes)
