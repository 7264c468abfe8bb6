from __future__ import annotations

from dataclasses import asdict
from math import log

import numpy as np
import pytest
import torch

from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.cost import step_cost
from trifocal.focus.deeptfus.inputs import averaged, log_pressure, network_points, pressure_of, widened
from trifocal.focus.deeptfus.losses import (
    DeepTFUSLoss,
    deeptfus_loss,
    focal_distance,
    gradient_squares,
    soft_dice,
    weighted_squares,
)
from trifocal.focus.deeptfus.model import DeepTFUS
from trifocal.focus.deeptfus.presets import PRESETS
from trifocal.focus.deeptfus.transducer_encoder import fourier_features

SMALL = DeepTFUSConfig(base_width=8, depth=3, token=16, points=32, heads=2)


@pytest.fixture
def cube() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 8, 8, 8, generator=generator), torch.rand(2, 32, 3, generator=generator) * 2 - 1


def blob(n: int, centre: tuple[float, float, float], width: float) -> torch.Tensor:
    i, j, k = torch.meshgrid(*[torch.arange(n, dtype=torch.float32)] * 3, indexing="ij")
    x, y, z = centre
    return torch.exp(-((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) / (2 * width**2))


def test_the_default_network_has_the_reproductions_size() -> None:
    parameters = sum(p.numel() for p in DeepTFUS().parameters())
    assert 3.2e6 < parameters < 3.6e6
    assert DeepTFUSConfig().widths == (16, 32, 64, 128)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"film": True},
        {"bidirectional": True},
        {"prior": True},
        {"attention_levels": 3},
        {"attention_levels": 0},
    ],
)
def test_every_part_is_reached_by_the_gradient(
    parts: dict[str, bool], cube: tuple[torch.Tensor, torch.Tensor]
) -> None:
    torch.manual_seed(0)
    net = DeepTFUS(DeepTFUSConfig(**asdict(SMALL) | parts))
    volume, points = cube
    net(volume.expand(-1, net.config.channels, -1, -1, -1), points).square().sum().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # keys that all move together change no softmax: a bias of keys has no gradient, but for rounding
    assert not [n for n in silent if "key_value.bias" not in n]


def test_a_sample_is_answered_alike_alone_and_in_a_batch(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    net = DeepTFUS(SMALL).eval()
    volume, points = cube
    with torch.no_grad():
        both, alone = net(volume, points), net(volume[1:], points[1:])
    assert both.shape == (2, 8, 8, 8)
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def test_the_answer_depends_on_the_transducer_but_not_on_the_order_of_its_points(
    cube: tuple[torch.Tensor, torch.Tensor],
) -> None:
    net = DeepTFUS(SMALL).eval()
    volume, points = cube
    with torch.no_grad():
        first, shuffled = net(volume, points), net(volume, points.flip(1))
        other = net(volume, points.flip(0))
    torch.testing.assert_close(first, shuffled, atol=1e-5, rtol=1e-4)
    assert (first - other).abs().max() > 1e-4


def test_checkpointing_changes_no_gradient(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        net = DeepTFUS(DeepTFUSConfig(**asdict(SMALL) | {"checkpointing": checkpointing})).train()
        net(*cube).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


def test_it_learns_one_sample_by_heart(cube: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    net = DeepTFUS(SMALL)
    volume, points = cube[0][:1], cube[1][:1]
    truth = torch.log1p(blob(8, (5, 3, 4), 1.5))[None]
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        adam.zero_grad()
        loss = deeptfus_loss(net(volume, points), truth, DeepTFUSLoss(), 1.0)["loss"]
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 20


def test_the_bottleneck_has_the_widest_levels_channels_at_an_eighth_of_the_edge() -> None:
    net = DeepTFUS()
    with torch.no_grad():
        deepest = net.bottleneck(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 512, 3))
    assert deepest.shape == (1, 128, 2, 2, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_width": 0}, "base_width must be 1 or more"),
        ({"attention_levels": 5}, "attention_levels must be 0 to the depth"),
        ({"kernel": 2}, "kernel must be odd"),
        ({"base_width": 18}, "multiple of the 4 heads"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepTFUSConfig(**wrong)


def test_fourier_features_are_octaves_of_sine_and_cosine() -> None:
    found = fourier_features(torch.tensor([[0.25, 0.0, -0.5]]), 2)
    p = np.array([0.25, 0.0, -0.5])
    angles = (p[:, None] * np.pi * np.array([1, 2])).ravel()
    np.testing.assert_allclose(found[0].numpy(), [*p, *np.sin(angles), *np.cos(angles)], atol=1e-6)


def test_an_even_error_is_weighted_to_its_square() -> None:
    truth = torch.log1p(blob(8, (3, 4, 5), 2))[None].expand(2, -1, -1, -1)
    assert weighted_squares(truth + 0.1, truth).item() == pytest.approx(0.01, rel=1e-4)


def test_an_error_at_the_peak_weighs_exp_alpha_times_the_contrast_of_one_in_silence() -> None:
    truth = torch.zeros(1, 4, 4, 4)
    truth[0, 1, 1, 1] = log(2)
    at_peak, in_silence = truth.clone(), truth.clone()
    at_peak[0, 1, 1, 1] += 0.1
    in_silence[0, 3, 3, 3] += 0.1
    ratio = weighted_squares(at_peak, truth, 5.0) / weighted_squares(in_silence, truth, 5.0)
    assert ratio.item() == pytest.approx(np.exp(5 * log(2)), rel=1e-4)


def test_the_gradient_term_sees_slopes_and_not_offsets() -> None:
    truth = torch.zeros(1, 5, 5, 5)
    ramp = 0.2 * torch.arange(5.0)[None, :, None, None].expand(1, 5, 5, 5)
    assert gradient_squares(truth + 3, truth).item() == 0
    assert gradient_squares(truth + ramp, truth).item() == pytest.approx(0.04 / 3, rel=1e-5)


def test_the_focal_term_counts_voxels_of_half_a_millimetre() -> None:
    found, true = (torch.log1p(blob(16, c, 1.0))[None] for c in ((5, 8, 8), (9, 8, 7)))
    # sharp enough that the mean place is that of the peak
    assert focal_distance(found, true, 0.02, 0.5).item() == pytest.approx(5, abs=0.05)
    assert focal_distance(found, true, 0.02, 2.0).item() == pytest.approx(20, abs=0.2)


def test_the_focal_term_pulls_the_peak_toward_the_true_one() -> None:
    found = torch.log1p(blob(12, (4, 6, 6), 1.5))[None].requires_grad_()
    true = torch.log1p(blob(12, (7, 6, 6), 1.5))[None]
    focal_distance(found, true, 0.05, 0.5).backward()
    assert found.grad[0, 6, 6, 6] < 0 < found.grad[0, 3, 6, 6]


def test_dice_is_nothing_for_the_same_volume_and_one_for_volumes_apart() -> None:
    first, second = (torch.log1p((blob(16, c, 1.5) > 0.5).float())[None] for c in ((4, 8, 8), (12, 8, 8)))
    assert soft_dice(first, first).item() == pytest.approx(0, abs=0.01)
    assert soft_dice(first, second).item() == pytest.approx(1, abs=0.01)


def test_the_presets_are_those_that_were_published() -> None:
    table = {n: (p.loss.gradient, p.loss.focal, p.loss.temperature, p.loss.dice) for n, p in PRESETS.items()}
    assert table == {
        "base": (0.1, 0.0, 0.05, 0.0),
        "A": (0.1, 1e-5, 0.05, 0.0),
        "B": (0.0, 5e-5, 0.03, 0.0),
        "C": (0.1, 5e-5, 0.03, 0.0),
        "D": (0.1, 1.5e-4, 0.02, 0.0),
        "E": (0.1, 5e-5, 0.03, 3e-3),
    }
    assert {p.loss.alpha for p in PRESETS.values()} == {5.0}
    assert PRESETS["D"].learning_rate == pytest.approx(3 * PRESETS["C"].learning_rate)
    assert [n for n, p in PRESETS.items() if not p.from_base] == ["base"]


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.log1p(blob(8, (3, 4, 4), 1.5))[None]
    found = truth + 0.05 * torch.rand(truth.shape, generator=generator)
    weights = PRESETS["E"].loss
    terms = deeptfus_loss(found, truth, weights, 2.0)
    total = terms["weighted"] + 0.1 * terms["gradient"] + 5e-5 * terms["focal"] + 3e-3 * terms["dice"]
    assert terms["loss"].item() == pytest.approx(total.item())
    assert set(deeptfus_loss(found, truth, PRESETS["base"].loss, 2.0)) == {"loss", "weighted", "gradient"}


def test_log_pressure_peaks_at_log_two_whatever_the_drive() -> None:
    pressure = 3e5 * blob(8, (2, 3, 4), 2)
    for factor in (1, 10):
        assert log_pressure(factor * pressure).max().item() == pytest.approx(log(2))
    assert log_pressure(pressure, 6e5).max().item() == pytest.approx(log(1.5))
    torch.testing.assert_close(pressure_of(log_pressure(pressure, 6e5), 6e5), pressure, rtol=1e-5, atol=1e-1)


def test_averaging_and_widening_keep_a_linear_field_inside() -> None:
    ramp = torch.arange(16.0)[:, None, None].expand(16, 16, 16)
    there_and_back = widened(averaged(ramp, 8), 16)
    torch.testing.assert_close(there_and_back[1:-1], ramp[1:-1])
    with pytest.raises(ValueError, match="must divide"):
        averaged(ramp, 6)


def test_points_of_a_transducer_lie_within_the_cube_at_their_voxels() -> None:
    corners = np.array([[0, 0, 0], [7, 7, 7]])
    points = network_points(corners, 8, 2)
    np.testing.assert_allclose(points.numpy(), [[-0.875] * 3, [0.875] * 3])
    assert network_points(corners, 8, 5, seed=1).shape == (5, 3)


def test_the_cost_grows_with_the_voxels_and_checkpointing_lowers_it() -> None:
    plain = step_cost(DeepTFUSConfig(), 128, 2)
    assert step_cost(DeepTFUSConfig(), 256, 2).kept_gib == pytest.approx(8 * plain.kept_gib)
    assert step_cost(DeepTFUSConfig(checkpointing=True), 128, 2).kept_gib < 0.7 * plain.kept_gib
    assert plain.parameters == sum(p.numel() for p in DeepTFUS().parameters())
