"""The training story of the SONICHU card, step by step and as a whole, on images of bright dots."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from trifocal.cli import main
from trifocal.keypoints.augment import Augmentation
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.formats.table import write_table
from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel, SonichuOutput
from trifocal.keypoints.sonichu.distil import TEACHER_WEIGHT, distil, teachers_say
from trifocal.keypoints.sonichu.ensemble import MedianEnsemble, median_points, soup
from trifocal.keypoints.sonichu.jepa import Jepa, JepaConfig, encode, sample_masks, sincos_positions
from trifocal.keypoints.sonichu.model_tables import Entry, judge, model_rows, task_rows
from trifocal.keypoints.sonichu.pretrain import PretrainRecipe, begin_from, pretrain
from trifocal.keypoints.sonichu.pseudo_label import PseudoLabel, pseudo_label, read_labels, write_labels
from trifocal.keypoints.sonichu.regimes import LABELS_ONLY, REGIMES, Regime, select
from trifocal.keypoints.sonichu.squares import Squares, TaskGroups
from trifocal.keypoints.sonichu.story import StoryRecipe, tell
from trifocal.keypoints.sonichu.teach import TeachRecipe, points_loss, task_means, teach
from trifocal.keypoints.sonichu.train import (
    Sides,
    count_tasks,
    run_distil,
    run_pretrain,
    run_pseudo_label,
    run_teacher,
)
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import Cancelled
from trifocal.training import Plan

NANO = SonichuConfig(
    hidden=32,
    layers=2,
    heads=2,
    mlp=64,
    image=64,
    head_filters=8,
    tasks={"HC": 4, "fetal_femur": 2, "IVC": 2},
)
STILL = Augmentation(turn=0, scale=0, aspect=0, shift=0, mirror=0, gain=0, shadow=0, blur=0, noise=0)
PLAN = Plan(epochs=2, batch_size=2, learning_rate=2e-3, warmup=0.1, validate_every=2)


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def dots(folder, task_id, seed, size=(90, 70)):
    """An image of a bright dot at each point of a task, on noise."""
    rng = np.random.default_rng([seed, list(TASKS).index(task_id)])
    columns, rows = size
    task = TASKS[task_id]
    points = task.canonical(rng.uniform((12, 12), (columns - 13, rows - 13), (task.count, 2)))
    y, x = np.mgrid[:rows, :columns]
    image = rng.uniform(0, 40, (rows, columns))
    for i, (px, py) in enumerate(points):
        image += (120 + 20 * i) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    path = folder / f"{task_id}-{seed}.png"
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    return Example(path, task_id, points, f"patient-{seed}", "synthetic", 0.5)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dots")
    return [dots(folder, task, seed) for task in NANO.tasks for seed in range(30)]


@pytest.fixture(scope="module")
def squares(examples):
    return Squares(examples, NANO.image)


def model(seed=0, config=NANO):
    torch.manual_seed(seed)
    return SonichuModel(config).eval()


# -- images and groups


def test_points_follow_their_image_through_every_augmentation(squares):
    how = replace(STILL, turn=20.0, scale=0.1, aspect=0.05, shift=0.05, mirror=0.5)
    torch.manual_seed(1)
    batch = squares.batch(torch.arange(12).view(3, 4), how)
    truth = torch.cat([batch.truth(i) for i in range(3)])
    for image, points in zip(batch.images[:, 0], truth, strict=True):
        for x, y in (points * NANO.image).nan_to_num(-1).tolist():
            if 2 < x < NANO.image - 3 and 2 < y < NANO.image - 3:
                column, row = int(x), int(y)
                near = image[row - 2 : row + 3, column - 2 : column + 3]
                assert near.max() > image.flatten().quantile(0.95)


def test_points_of_a_batch_are_in_canonical_order_and_those_outside_are_missing(squares):
    torch.manual_seed(0)
    groups = torch.arange(30, 60).view(-1, 5)  # the femur: left end first
    batch = squares.batch(groups, replace(STILL, mirror=1.0, shift=0.3))
    assert batch.tasks == ["fetal_femur"] * 6
    truth = torch.cat([batch.truth(i) for i in range(6)])
    assert torch.isnan(truth).any()
    both = truth[torch.isfinite(truth).all(-1).all(-1)]
    assert len(both) > 5
    assert (both[:, 0, 0] <= both[:, 1, 0]).all()
    known = truth[torch.isfinite(truth)]
    assert ((known >= 0) & (known <= 1)).all()


def test_pixels_come_back_from_the_unit_square(squares, examples):
    batch = squares.batch(torch.arange(4)[None], None)
    pixels = squares.in_pixels(batch.truth(0).double().numpy(), range(4))
    for found, example in zip(pixels, examples, strict=False):
        np.testing.assert_allclose(found, example.points, atol=1e-4)


def test_every_epoch_shows_every_image_in_groups_of_one_task():
    tasks = ["HC"] * 7 + ["IVC"] * 2 + ["FA"] * 4
    groups = TaskGroups(tasks, 4, seed=3)
    for epoch in range(3):
        groups.set_epoch(epoch)
        own = [groups[i] for i in range(len(groups))]
        assert {len(group) for group in own} == {4}
        assert all(len({tasks[i] for i in group}) == 1 for group in own)
        assert set(torch.cat(own).tolist()) == set(range(13))
    first = [g.tolist() for g in own]
    groups.set_epoch(0)
    assert [g.tolist() for g in (groups[i] for i in range(len(groups)))] != first
    groups.set_epoch(2)
    assert [g.tolist() for g in (groups[i] for i in range(len(groups)))] == first


def test_balanced_groups_show_every_task_equally_often():
    tasks = ["HC"] * 9 + ["IVC"] * 2
    groups = TaskGroups(tasks, 3, balanced=True)
    shown = [tasks[int(groups[i][0])] for i in range(len(groups))]
    assert shown.count("HC") == shown.count("IVC") == 3


# -- I-JEPA


def test_context_and_targets_never_overlap_and_have_the_published_sizes():
    torch.manual_seed(0)
    for _ in range(20):
        context, targets = sample_masks(3, 16, JepaConfig())
        assert context.shape[0] == targets.shape[0] == 3
        assert targets.shape[1] == 4
        assert 0.13 <= targets.shape[2] / 256 <= 0.22
        for visible, blocks in zip(context.tolist(), targets.tolist(), strict=True):
            assert len(set(visible)) == len(visible)
            hidden = set(itertools.chain(*blocks))
            assert not hidden & set(visible)
            for block in blocks:
                rows, columns = np.unique(np.array(block) // 16), np.unique(np.array(block) % 16)
                assert len(rows) * len(columns) == len(block)
                assert np.ptp(rows) + 1 == len(rows)
                assert np.ptp(columns) + 1 == len(columns)


def test_position_embeddings_are_as_alike_as_places_are_near():
    places = sincos_positions(8, 64)[0]
    alike = (places @ places.T).view(8, 8, 8, 8)
    assert torch.allclose(alike[2, 3, 2, 3], torch.tensor(32.0))  # half of the 64 are sines, half cosines
    assert alike[2, 3, 2, 3] > alike[2, 3, 2, 4] > alike[2, 3, 2, 6]
    assert torch.allclose(alike[2, 3, 2, 4], alike[2, 3, 3, 3])


def test_looking_at_all_patches_is_looking_at_the_image():
    backbone, images = model().backbone, torch.randn(2, 3, 64, 64)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(encode(backbone, images, everything), backbone(images).last_hidden_state)
    some = torch.tensor([[0, 5, 7], [1, 2, 3]])
    assert encode(backbone, images, some).shape == (2, 3, 32)


def test_what_is_hidden_does_not_reach_the_context():
    jepa = Jepa(model().backbone, JepaConfig(predictor_width=16, predictor_heads=2), 10).eval()
    images = torch.randn(1, 3, 64, 64)
    other = images.clone()
    other[..., :16, :16] += 1.0  # patch 0
    seen = torch.tensor([[1, 5, 9]])
    assert torch.equal(encode(jepa.encoder, images, seen), encode(jepa.encoder, other, seen))
    targets = torch.tensor([[[0, 2]]])
    assert jepa(images, seen, targets)["loss"] != jepa(other, seen, targets)["loss"]


def test_the_target_is_the_moving_average_with_a_rising_momentum_and_has_no_gradient():
    config = JepaConfig(momentum=(0.5, 1.0), predictor_width=16, predictor_heads=2)
    jepa = Jepa(model().backbone, config, steps=4)
    images, (context, targets) = torch.randn(2, 3, 64, 64), sample_masks(2, 4, config)
    name = "layernorm.weight"
    new, mean = (dict(m.named_parameters())[name] for m in (jepa.encoder, jepa.target))
    expected = mean.clone()
    for step, momentum in enumerate((0.5, 0.625, 0.75, 0.875, 1.0, 1.0)):
        with torch.no_grad():
            new += step
        jepa(images, context, targets)["loss"].backward()
        expected = momentum * expected + (1 - momentum) * new.detach()
        torch.testing.assert_close(mean, expected)
    assert all(p.grad is None for p in jepa.target.parameters())
    assert jepa.encoder.embeddings.position_embeddings.grad is None
    assert jepa.encoder.layers[0].mlp.fc1.weight.grad.abs().sum() > 0


def stripes(folder, seed):
    """An image that any part of tells the rest of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    angle, waves, phase = rng.uniform(0, np.pi), rng.uniform(0.05, 0.35), rng.uniform(0, 6)
    image = 127 + 100 * np.sin(waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    path = folder / f"{seed}.png"
    Image.fromarray((image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)).save(path)
    return Example(path, "HC", np.full((4, 2), np.nan), str(seed), "synthetic")


def test_pretraining_lowers_its_loss_and_does_not_collapse(tmp_path):
    images = Squares([stripes(tmp_path, seed) for seed in range(64)], 64)
    plan = Plan(epochs=12, batch_size=16, learning_rate=3e-3, warmup=0.1)
    recipe = PretrainRecipe(plan, JepaConfig(predictor_width=32, predictor_layers=1, predictor_heads=2))
    found, fitted = pretrain(images, NANO, tmp_path / "run", recipe, device="cpu")
    first, last = fitted.rows[0], fitted.rows[-1]
    assert last["train_loss"] < 0.8 * first["train_loss"]
    assert last["train_spread"] > first["train_spread"]
    assert found.config.tasks == {}
    student, view = begin_from(NANO, found, seed=1), images.view(torch.arange(2))
    assert torch.equal(student.features(view), found.features(view))
    with pytest.raises(ValueError, match="must be of the model's size"):
        begin_from(replace(NANO, layers=3), found, seed=1)


# -- regimes


def labelled(task, spread, number=0):
    points = np.zeros((TASKS[task].count, 2))
    return PseudoLabel(Example(f"{task}-{number:03d}.png", task, points, str(number), "pseudo"), spread)


def test_the_five_regimes_of_the_card_are_there_and_labellers_come_before_their_pupils():
    assert list(REGIMES) == ["R1", "R2", "R3", "selective", "r3capped"]
    trained = [LABELS_ONLY]
    for name, regime in REGIMES.items():
        assert set(regime.labellers) <= set(trained)
        trained.append(name)
    assert REGIMES["selective"].cap_of("FUGC") < 1
    assert REGIMES["selective"].cap_of("HC") is None
    assert REGIMES["r3capped"].balanced
    assert REGIMES["r3capped"].cap_of("AOP") == 1


def test_a_regime_keeps_the_best_agreed_labels_within_share_agreement_and_cap():
    labels = [labelled("HC", float(s), s) for s in (9, 1, 5, 3, 7, 2, 8, 4, 6, 0)]
    labels += [labelled("FUGC", 0.5, n) for n in range(10)]
    spreads = lambda kept, task: [x.spread_px for x in kept if x.example.task_id == task]  # noqa: E731
    counts = {"HC": 3, "FUGC": 8}
    everything = select(labels, counts, Regime("all", ()))
    assert len(everything) == 20
    half = select(labels, counts, Regime("half", (), share=0.5))
    assert spreads(half, "HC") == [0, 1, 2, 3, 4]
    near = select(labels, counts, Regime("near", (), agreement_px=2.0))
    assert spreads(near, "HC") == [0, 1, 2]
    capped = select(labels, counts, Regime("capped", (), cap=1.0, caps={"FUGC": 0.25}))
    assert spreads(capped, "HC") == [0, 1, 2]
    assert len(spreads(capped, "FUGC")) == 2
    order = lambda given: [str(x.example.path) for x in select(given, counts, Regime("capped", (), cap=1.0))]  # noqa: E731
    assert sorted(order(labels[::-1])) == sorted(order(labels))
    assert select(labels, {}, Regime("no true labels", (), cap=1.0)) == []


# -- losses, ensembles, pseudo-labels


def sharp(points, side=16):
    """Heat maps of a peak in the cell of each point, and the points."""
    maps = torch.zeros(1, len(points), side, side)
    for i, (x, y) in enumerate(points):
        maps[0, i, int(y * side), int(x * side)] = 12.0
    return SonichuOutput(maps, torch.tensor(points)[None])


def test_the_loss_is_lowest_at_the_truth_and_does_not_know_missing_points():
    task = TASKS["fetal_femur"]
    truth = torch.tensor([[[0.28125, 0.53125], [0.71875, 0.21875]]])
    right = points_loss(sharp(truth[0].tolist()), truth, task)
    wrong = points_loss(sharp([[0.28125, 0.53125], [0.21875, 0.71875]]), truth, task)
    assert right[2] == wrong[2] == 2
    assert right[0] < wrong[0]
    assert right[1] == 0 < wrong[1]
    one = truth.clone()
    one[0, 1] = torch.nan
    assert points_loss(sharp([[0.28125, 0.53125], [0.9, 0.9]]), one, task)[1:] == (0, 1)
    assert points_loss(sharp([[0.1, 0.1], [0.9, 0.9]]), truth * torch.nan, task)[2] == 0


def test_ends_of_a_pair_whose_order_is_chance_may_change_places_in_the_loss_and_no_others():
    a, b, far = [0.28125, 0.53125], [0.71875, 0.53125], [0.71875, 0.90625]
    level, clear = torch.tensor([[a, b]]), torch.tensor([[a, far]])
    upper, left = TASKS["IVC"], TASKS["fetal_femur"]  # which end comes first
    for task, truth, same in ((upper, level, True), (left, level, False), (upper, clear, False)):
        ends = truth[0].tolist()
        straight = points_loss(sharp(ends), truth, task)
        crossed = points_loss(sharp(ends[::-1]), truth, task)
        assert straight[1] == 0
        assert (crossed[1] == 0) == same
        assert torch.allclose(crossed[0], straight[0]) == same


def test_the_wing_is_continuous_and_as_steep_as_the_distance_far_away():
    def wing(pixels):
        truth = torch.full((1, 2, 2), 0.5)
        found = SonichuOutput(torch.zeros(1, 2, 16, 16), truth + pixels / 256)
        return points_loss(found, truth, TASKS["IVC"])[1].item() / 2

    assert wing(9.999) == pytest.approx(wing(10.001), abs=0.01)
    assert wing(40.0) - wing(30.0) == pytest.approx(10.0, abs=1e-3)
    assert wing(1.0) == pytest.approx(10 * np.log(1.5), abs=1e-3)


def test_a_median_is_of_the_same_ends_though_some_members_call_them_the_other_way():
    level = np.array([[[0.2, 0.50], [0.8, 0.51]], [[0.8, 0.50], [0.2, 0.51]], [[0.2, 0.5], [0.8, 0.5]]])
    found = median_points(level[:, None], TASKS["IVC"])[0]
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], [[0.2, 0.50], [0.8, 0.50]], atol=1e-9)
    outlier = np.array([[[0.2, 0.2], [0.3, 0.8]], [[0.2, 0.2], [0.3, 0.8]], [[0.9, 0.1], [0.9, 0.9]]])
    np.testing.assert_allclose(median_points(outlier, TASKS["IVC"]), outlier[0])


def test_an_ensemble_and_a_soup_of_one_and_the_same_model_are_the_model(squares):
    x, one = squares.view(torch.arange(3)), model()
    expected = one.predict(x, "HC")
    torch.testing.assert_close(MedianEnsemble([one] * 5).predict(x, "HC"), expected)
    torch.testing.assert_close(soup([one, one]).predict(x, "HC"), expected)
    mixed = soup([one, model(1)]).state_dict()
    other = model(1).state_dict()
    for name, tensor in one.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(mixed[name], (tensor + other[name]) / 2)
    with pytest.raises(ValueError, match="of one size"):
        soup([one, model(0, replace(NANO, layers=1))])
    with pytest.raises(ValueError, match="at least one member"):
        MedianEnsemble([])


class Fixed:
    """A model that knows each image's points by its brightness pattern, and is off by some pixels."""

    def __init__(self, squares, offset_px):
        self.answers = {}
        for i, image in enumerate(squares.view(torch.arange(len(squares)))):
            truth = squares.batch(torch.tensor([[i]]), None).truth(0)[0]
            self.answers[image.sum().item()] = (image, truth + offset_px / 256)

    def parameters(self):
        yield torch.zeros(1)

    def predict(self, pixel_values, task, tta=True):
        rows = []
        for image in pixel_values:
            known, points = min(self.answers.values(), key=lambda a: (a[0].sum() - image.sum()).abs())
            flipped = not torch.equal(known, image)
            rows.append(torch.stack([1 - points[:, 0], points[:, 1]], -1) if flipped else points)
        return torch.stack(rows)


def test_pseudo_labels_are_medians_in_pixels_of_the_image_with_the_labellers_disagreement(squares):
    part = squares.chosen([0, 1, 35])
    labels = pseudo_label([Fixed(part, 0.0), Fixed(part, 0.0), Fixed(part, 6.0)], part)
    for label, example in zip(labels, part.examples, strict=True):
        np.testing.assert_allclose(label.example.points, example.points, atol=1e-3)
        assert label.example.source == "pseudo"
        assert (label.example.path, label.example.patient) == (example.path, example.patient)
        # two of six answers lie 6 px away in x and in y
        assert label.spread_px == pytest.approx(6 * np.sqrt(2) / 3, abs=0.01)


def test_pseudo_labels_come_back_from_their_table(squares, tmp_path):
    part = squares.chosen([0, 40, 80])
    labels = pseudo_label([Fixed(part, 3.0)], part)
    write_labels(labels, tmp_path / "labels")
    for found, label in zip(read_labels(tmp_path / "labels"), labels, strict=True):
        assert found.example.path == label.example.path
        assert found.example.path.exists()
        np.testing.assert_allclose(found.example.points, label.example.points, atol=1e-3)
        assert found.spread_px == pytest.approx(label.spread_px, abs=1e-3)
        assert found.example.mm_per_px == 0.5
    table = tmp_path / "labels" / "points.csv"
    table.write_text(table.read_text().replace("pseudo,", "pseudo,x"))
    with pytest.raises(ValueError, match="line 2: spread_px must be a finite number"):
        read_labels(tmp_path / "labels")
    assert [e.source for e in read_examples(tmp_path / "labels")] == ["pseudo"] * 3


# -- training


def test_a_teacher_learns_to_find_the_dots(squares, tmp_path):
    learner = model()
    before = task_means(learner, squares)
    plan = replace(PLAN, epochs=14, learning_rate=3e-3, validate_every=14)
    fitted = teach(learner, squares, squares, tmp_path, TeachRecipe(plan, 4, STILL), device="cpu")
    after = task_means(learner, squares)
    assert all(after[task] < before[task] for task in before)
    assert np.mean(list(after.values())) < 0.7 * np.mean(list(before.values()))
    assert not learner.training
    assert fitted.best_score == pytest.approx(np.mean(list(after.values())), rel=1e-4)


def test_a_teacher_that_was_interrupted_ends_where_one_that_was_not_does(squares, tmp_path):
    recipe = TeachRecipe(replace(PLAN, epochs=1), 4)
    part = squares.chosen(range(0, 90, 4))
    whole = model()
    teach(whole, part, part, tmp_path / "whole", recipe, device="cpu")
    calls = iter(range(100))

    def stop(fraction, what):
        if next(calls) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        teach(model(), part, part, tmp_path / "twice", recipe, device="cpu", progress=stop)
    again = model(7)
    teach(again, part, part, tmp_path / "twice", recipe, device="cpu")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_student_is_taught_by_labels_and_half_as_much_by_the_median_of_its_teachers(squares, tmp_path):
    part = squares.chosen(range(0, 90, 3))
    teachers = [model(seed) for seed in (1, 2, 3)]
    recipe = TeachRecipe(replace(PLAN, epochs=1), 4, STILL)
    fitted = distil(model(), teachers, part, part, tmp_path, recipe, device="cpu")
    row = fitted.rows[-1]
    assert TEACHER_WEIGHT == 0.5
    assert row["train_loss"] == pytest.approx(row["train_real"] + 0.5 * row["train_teacher"], rel=1e-5)
    batch = part.batch(torch.tensor([[0, 1, 2, 3]]), None)
    expected = MedianEnsemble(teachers).predict(batch.images, "HC", tta=False)
    torch.testing.assert_close(teachers_say(MedianEnsemble(teachers), batch)[0], expected)
    assert not torch.allclose(expected, teachers[0].predict(batch.images, "HC", tta=False))


# -- the tables


def test_the_tables_have_the_errors_of_known_models(squares):
    entries = [Entry("off", Fixed(squares, 8.0)), Entry("right", Fixed(squares, 0.0), members=5)]
    judged = judge(entries, squares)
    rows = model_rows(judged, squares)
    assert [(r["model"], r["tta"], r["passes"]) for r in rows] == [
        ("off", 0, 1), ("off", 1, 2), ("right", 0, 5), ("right", 1, 10),
    ]  # fmt: skip
    for row, expected in zip(rows, (8 * np.sqrt(2), 8 * np.sqrt(2), 0, 0), strict=True):
        assert row["weighted_network_px"] == pytest.approx(expected, abs=1e-3)
        assert row["unweighted_network_px"] == pytest.approx(expected, abs=1e-3)
        assert row["HC_network_px"] == pytest.approx(expected, abs=1e-3)
    (heads, *_), ids = task_rows(judged, squares, "off"), squares.task_ids()
    assert (heads["task"], heads["points"], heads["images"]) == ("HC", 4, ids.count("HC"))
    in_image = 8 * np.hypot(90 / 256, 70 / 256)
    assert heads["px_tta"] == pytest.approx(in_image, abs=1e-3)
    assert heads["mm_tta"] == pytest.approx(0.5 * in_image, abs=1e-3)


# -- the whole story


RECIPE = StoryRecipe(
    model=NANO,
    pretraining=PretrainRecipe(
        replace(PLAN, batch_size=16), JepaConfig(predictor_width=16, predictor_layers=1, predictor_heads=2)
    ),
    teaching=TeachRecipe(PLAN, 4),
    distilling=TeachRecipe(PLAN, 4),
)


def test_the_whole_story_is_told_at_nano_size_and_goes_on_where_it_was_interrupted(examples, tmp_path):
    seen = []

    def stop_at_the_student(fraction, what):
        seen.append(fraction)
        if what.startswith("student"):
            raise Cancelled

    with pytest.raises(Cancelled):
        tell(examples, tmp_path, RECIPE, device="cpu", progress=stop_at_the_student)
    assert not (tmp_path / "tables").exists()
    kept = tmp_path / "teachers" / "R3" / "model" / "model.safetensors"
    written = kept.stat().st_mtime_ns
    told = tell(examples, tmp_path, RECIPE, device="cpu")
    assert kept.stat().st_mtime_ns == written
    assert max(seen) <= 1

    for name in ("pretrain", "student", *(f"teachers/{n}" for n in (LABELS_ONLY, *REGIMES))):
        assert (tmp_path / name / "curves.csv").exists()
        about = json.loads((tmp_path / name / "model" / "card.json").read_text())
        assert about["notice"].startswith("Research use only")
        assert SonichuModel.from_pretrained(tmp_path / name / "model").config.image == 64
    sides = Sides.of(examples)
    held = {e.patient for e in [*sides.validate, *sides.test]}
    for folder in ("labels", "R1", "R1+R2", "R1+R2+R3+selective+r3capped"):
        labels = read_labels(tmp_path / "labels" / folder)
        assert labels
        assert not {label.example.patient for label in labels} & held

    with (tmp_path / "tables" / "models.csv").open() as file:
        rows = list(csv.DictReader(file))
    cost = {row["model"]: int(row["passes"]) for row in rows if row["tta"] == "1"}
    assert cost == {
        "true labels alone": 2,
        **{f"teacher {name}": 2 for name in REGIMES},
        "4-model median": 8,
        "5-model median": 10,
        "soup of the weights": 2,
        "distilled student": 2,
    }
    test = Squares(sides.test, 64)
    student = SonichuModel.from_pretrained(tmp_path / "student" / "model")
    means = task_means(student, test)
    row = next(r for r in rows if r["model"] == "distilled student" and r["tta"] == "0")
    assert float(row["unweighted_network_px"]) == pytest.approx(np.mean(list(means.values())), abs=1e-3)
    assert "| 5-model median | yes | 10 |" in told
    assert told == (tmp_path / "tables" / "tables.md").read_text()
    with pytest.raises(ValueError, match="a story of other data"):
        tell(examples[:-1], tmp_path, RECIPE, device="cpu")


def test_the_steps_can_be_taken_one_by_one(examples, tmp_path):
    teaching = TeachRecipe(replace(PLAN, epochs=1), 4)
    run_pretrain(examples, tmp_path / "pre", NANO, RECIPE.pretraining, device="cpu")
    first, init = tmp_path / "first" / "model", tmp_path / "pre" / "model"
    run_teacher(examples, tmp_path / "first", NANO, teaching, init=init, device="cpu")
    labels = run_pseudo_label(examples, tmp_path / "labels", [first], device="cpu")
    assert len(labels) == len(examples)
    second = tmp_path / "second" / "model"
    run_teacher(
        examples, tmp_path / "second", NANO, teaching, "r3capped", pseudo=[tmp_path / "labels"], init=init,
        device="cpu",
    )  # fmt: skip
    about = json.loads((second / "card.json").read_text())
    true = count_tasks(Sides.of(examples).learn)
    assert 0 < about["images"]["HC, pseudo"] <= true["HC"] == about["images"]["HC, synthetic"]
    run_distil(
        examples, tmp_path / "student", NANO, teaching, [first, second], pseudo=[tmp_path / "labels"],
        init=init, device="cpu",
    )  # fmt: skip
    assert SonichuModel.from_pretrained(tmp_path / "student" / "model").config == NANO
    with pytest.raises(ValueError, match="must have pseudo-labels by R1, got none"):
        run_teacher(examples, tmp_path / "x", NANO, teaching, "R2", device="cpu")
    with pytest.raises(ValueError, match="the regime must be one of R1"):
        run_teacher(examples, tmp_path / "x", NANO, teaching, "R9", device="cpu")


def test_a_story_of_too_few_patients_or_of_regimes_without_their_labellers_is_refused(examples, tmp_path):
    with pytest.raises(ValueError, match="give more patients"):
        tell(examples[:2], tmp_path, RECIPE, device="cpu")
    with pytest.raises(ValueError, match="with their labellers"):
        replace(RECIPE, regimes=("R1", "R3"))
    assert replace(RECIPE, regimes=("R1", "R2")).regimes == ("R1", "R2")


def test_the_command_tells_the_story_of_a_table_and_says_what_is_missing(examples, tmp_path, capsys):
    few = [e for e in examples if e.task_id != "IVC" and int(e.patient.removeprefix("patient-")) < 20]
    write_table(few, examples[0].path.parent / "points.csv")
    words = ["train", "keypoints", "--data", str(examples[0].path.parent), "--size", "nano", "--epochs", "1"]
    words += ["--device", "cpu"]
    assert main([*words, "--recipe", "story", "--out", str(tmp_path / "story")]) == 0
    assert "| distilled student | yes | 2 |" in capsys.readouterr().out
    init = str(tmp_path / "story" / "pretrain")
    assert main([*words, "--recipe", "teacher", "--init", init, "--out", str(tmp_path / "one")]) == 0
    assert "1.0 epochs" in capsys.readouterr().out
    made = [*words, "--recipe", "pseudo-label", "--out", str(tmp_path / "labels")]
    assert main([*made, "--teachers", str(tmp_path / "one")]) == 0
    assert "40 images labelled by 1 model" in capsys.readouterr().out
    assert main([*words, "--recipe", "distil", "--out", str(tmp_path / "two")]) == 2
    assert "the recipe distil must have teachers" in capsys.readouterr().err
