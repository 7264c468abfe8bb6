from __future__ import annotations

import json
from dataclasses import replace
from math import exp, hypot, log, pi, sqrt

import numpy as np
import pytest
import torch

from trifocal import checkpoint
from trifocal.checkpoint import CheckpointError
from trifocal.focus.acoustics import Medium, medium_from_hu
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.box import Box
from trifocal.focus.learned import Learned, PeakRegression, config_record
from trifocal.focus.limits import Seen
from trifocal.focus.losses import LossWeights, correction_loss
from trifocal.focus.model import (
    CHANNELS,
    FLOOR,
    LARGEST_LOG_RATIO,
    CorrectionNet,
    ModelConfig,
    corrected,
    corrected_amplitude,
    features,
    network_shape,
)
from trifocal.focus.skull import NearSkull
from trifocal.focus.transducer import PRESETS, Bowl
from trifocal.predictor import one_core

BOWL = Bowl(30.0, 20.0, 100e3)  # 15 mm waves: 14 x 14 x 20 voxels of 2.5 mm at 6 points per wavelength
BOX = Box.around(BOWL, 6)
PREVIEW = Box.around(BOWL, 3)
ODD = Box(2.5, (7, 9, 13), (-7.5, -10.0, 0.0))
SMALL = ModelConfig((4, 8, 8))
SEEN = Seen((55, 75), (48, 68), (220e3, 280e3), (2, 12), (400, 1900), (3, 6))


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    with one_core():
        yield


def water(box):
    shape = (1, *box.shape)
    return medium_from_hu(torch.zeros(shape), torch.ones(shape), BOWL.frequency_hz)


def head(box, seed=0):
    """A medium of irregular bone and tissue, and an irregular field with silent places."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, *box.shape)
    hu = 2000 * torch.rand(shape, generator=generator)
    field = torch.randn(shape, generator=generator, dtype=torch.complex64)
    field[..., :2] = 0
    return medium_from_hu(hu, torch.zeros(shape), BOWL.frequency_hz), field


def scrambled(config=SMALL, seed=0, scale=0.15):
    """A network of random weights: the last layer of a new one is zero."""
    torch.manual_seed(seed)
    net = CorrectionNet(config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=scale)
    return net.eval()


def half_turn(medium, field):
    turned = Medium(*(v.flip(1, 2) for v in vars(medium).values()))
    return turned, field.flip(1, 2)


# ---------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("box", [BOX, PREVIEW, ODD])
@torch.no_grad()
def test_an_untrained_network_is_exactly_the_march(box):
    medium, field = head(box)
    assert torch.equal(corrected_amplitude(CorrectionNet(SMALL), medium, field, BOWL, box), field.abs())


@pytest.mark.parametrize("config", [SMALL, ModelConfig((4, 6), 2), ModelConfig((3, 4, 5, 6))])
@pytest.mark.parametrize("size", [(8, 8, 16), (7, 5, 9), (1, 2, 3), (1, 1, 1)])
@torch.no_grad()
def test_it_takes_boxes_of_any_size_and_its_answer_is_bounded(config, size):
    net = scrambled(config, scale=3.0)
    found = net(100 * torch.randn(2, CHANNELS, *size))
    assert found.shape == (2, *size)
    assert found.abs().max() <= LARGEST_LOG_RATIO
    assert found.abs().max() > 0.9 * LARGEST_LOG_RATIO  # a wild network reaches the bound


@torch.no_grad()
def test_the_cases_of_a_batch_do_not_mix():
    net, seen = scrambled(), torch.randn(3, CHANNELS, 6, 6, 10)
    together = net(seen)
    for one, of in zip(together, seen, strict=True):
        torch.testing.assert_close(net(of[None])[0], one, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@torch.no_grad()
def test_convolutions_called_by_name_are_those_that_training_uses():
    net, seen = scrambled(), torch.randn(1, CHANNELS, 9, 8, 14)
    with torch.enable_grad():
        trained = net(seen).detach()
    torch.testing.assert_close(net(seen), trained, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("box", [BOX, ODD])
@torch.no_grad()
def test_a_box_turned_by_half_a_turn_gives_the_turned_prediction(box):
    net, (medium, field) = scrambled(), head(box)
    found = corrected_amplitude(net, medium, field, BOWL, box)
    turned = corrected_amplitude(net, *half_turn(medium, field), BOWL, box)
    torch.testing.assert_close(turned.flip(1, 2), found, atol=1e-5, rtol=1e-5)
    ratio = torch.log(found / field.abs())[..., 2:]
    assert ratio.std() > 1e-3  # it does correct something
    single = net(features(medium, field, BOWL, box))
    other = net(features(*half_turn(medium, field), BOWL, box)).flip(1, 2)
    assert (single - other).abs().max() > 1e-3  # which the network alone would do differently


def test_gradients_reach_the_medium_the_field_and_the_weights_and_are_finite():
    net = scrambled()
    hu = (2000 * torch.rand(1, *BOX.shape)).requires_grad_()
    field = head(BOX)[1].requires_grad_()
    medium = medium_from_hu(hu, torch.zeros(1, *BOX.shape), BOWL.frequency_hz)
    corrected_amplitude(net, medium, field, BOWL, BOX).sum().backward()
    for tensor in (hu, field, *net.parameters()):
        assert torch.isfinite(torch.view_as_real(tensor.grad) if tensor.is_complex() else tensor.grad).all()
        assert tensor.grad.abs().max() > 0


def test_a_new_network_learns_from_the_first_step():
    net = CorrectionNet(SMALL)
    net(torch.randn(1, CHANNELS, 8, 8, 8)).sum().backward()
    assert net.head.weight.grad.abs().max() > 0  # all else is zero until the head is not


@pytest.mark.parametrize("wrong", [{"widths": (8,)}, {"widths": (8, 0)}, {"blocks": 0}])
def test_a_network_of_no_size_is_refused(wrong):
    with pytest.raises(ValueError, match="widths must be two or more positive numbers and blocks 1 or more"):
        ModelConfig(**wrong)


# --------------------------------------------------------------------------------------------- its features


def test_the_network_works_on_three_points_per_wavelength_or_what_there_is():
    assert network_shape(BOX, BOWL) == tuple(n // 2 for n in BOX.shape)
    assert network_shape(PREVIEW, BOWL) == PREVIEW.shape
    assert network_shape(Box.around(BOWL, 2), BOWL) == Box.around(BOWL, 2).shape
    fine = Box.around(BOWL, 12)
    assert network_shape(fine, BOWL) == tuple(n // 4 for n in fine.shape)


@pytest.mark.parametrize(("box", "coarse"), [(BOX, 0.0), (PREVIEW, 1.0)])
def test_a_plane_wave_in_water_has_no_gain_no_loss_and_one_phase(box, coarse):
    z = torch.from_numpy(box.axis_mm(2))
    field = 0.5 * torch.polar(torch.ones_like(z), 2 * pi / BOWL.wavelength_mm * z).to(torch.complex64)
    seen = features(water(box), field.expand(1, *box.shape), BOWL, box)
    assert seen.shape == (1, CHANNELS, *network_shape(box, BOWL))
    wanted = [0.0] * 6 + [0.5, log(0.5 + FLOOR) / 2, 0.5 / (0.5 + FLOOR), 0.0]
    for channel, value in enumerate(wanted):
        torch.testing.assert_close(
            seen[0, channel], torch.full(seen.shape[2:], value), atol=2e-5, rtol=0, msg=str(channel)
        )
    assert (seen[0, 12] == coarse).all()


def test_silence_has_finite_features():
    seen = features(water(BOX), torch.zeros(1, *BOX.shape, dtype=torch.complex64), BOWL, BOX)
    assert torch.isfinite(seen).all()


def test_a_slab_gains_and_loses_what_its_thickness_says():
    box = PREVIEW  # no averaging: every voxel of 5 mm is seen as it is
    speed, density, attenuation = (torch.full((1, *box.shape), v) for v in (1500.0, 1000.0, 0.0))
    speed[..., 2:4], density[..., 2:4], attenuation[..., 2:4] = 3000.0, 1800.0, 7.0  # 10 mm
    seen = features(Medium(speed, density, attenuation, speed), torch.zeros(1, *box.shape) * 1j, BOWL, box)[0]
    assert torch.allclose(seen[0, ..., 2:4], torch.tensor(1.0))
    assert torch.allclose(seen[1, ..., 2:4], torch.tensor(0.8))
    per_wave = 7.0 * 1.5 / (20 / log(10))  # dB/cm over 1.5 cm, in Np
    assert torch.allclose(seen[2, ..., 2:4], torch.tensor(per_wave), rtol=1e-3)
    in_wavelengths = 10.0 / 15.0
    along = {"gain": seen[3, 0, 0], "still": seen[4, 0, 0], "loss": seen[5, 0, 0]}
    total = in_wavelengths * (1 - 1500 / 3000)
    assert along["gain"][1] == 0
    assert along["gain"][2].item() == pytest.approx(total / 2, rel=1e-5)
    assert along["gain"][-1].item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(along["gain"] + along["still"], torch.full_like(along["gain"], total))
    assert along["loss"][-1].item() == pytest.approx(in_wavelengths * per_wave, rel=1e-3)


@pytest.mark.parametrize("box", [BOX, PREVIEW])
def test_depth_and_distance_from_the_axis_are_those_of_the_voxel_centres(box):
    seen = features(water(box), torch.ones(1, *box.shape) * 1j, BOWL, box)[0]
    step = box.shape[0] // seen.shape[1]
    x, y, z = (box.axis_mm(a).reshape(-1, step).mean(1) / BOWL.radius_of_curvature_mm for a in range(3))
    np.testing.assert_allclose(seen[10], np.broadcast_to(z - 1, seen.shape[1:]), atol=1e-6)
    away = np.hypot(x[:, None, None], y[:, None])
    np.testing.assert_allclose(seen[11], np.broadcast_to(away, seen.shape[1:]), atol=1e-6)


def test_a_constant_log_ratio_multiplies_by_its_exponential_on_any_grid():
    amplitude = torch.rand(2, 6, 8, 10)
    for size in ((6, 8, 10), (3, 4, 5)):
        found = corrected(torch.full((2, *size), -0.7), amplitude)
        torch.testing.assert_close(found, amplitude * exp(-0.7))


def test_a_log_ratio_is_interpolated_linearly_between_the_centres_of_its_voxels():
    ramp = torch.arange(5.0).expand(1, 3, 4, 5)
    found = torch.log(corrected(0.1 * ramp, torch.ones(1, 6, 8, 10)))[0, 2, 3]
    wanted = 0.1 * ((torch.arange(10) + 0.5) / 2 - 0.5).clamp(0, 4)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


# ------------------------------------------------------------------------------------------------- the loss


def fields(seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    truth, other = torch.rand(2, batch, 5, 6, 7, generator=generator) + 0.05
    region = torch.zeros(batch, 5, 6, 7, dtype=torch.bool)
    region[..., 2:] = True
    return other, truth, region


def relative(prediction, truth, where):
    """Mean over the batch of |p - t| / |t|, with the floor of 1e-3 that keeps the root's slope finite."""
    found = []
    for p, t, w in zip(prediction.double(), truth.double(), where, strict=True):
        error = float(((p - t)[w] ** 2).sum() / (t[w] ** 2).sum())
        found.append(sqrt(error + 1e-6))
    return sum(found) / len(found)


def test_the_loss_of_the_truth_is_its_floor():
    _, truth, region = fields()
    found = correction_loss(truth, truth, region, LossWeights(2.0, 0.5, 0.25))
    for name in ("field", "focus", "log"):
        assert found[name].item() == pytest.approx(1e-3)
    assert found["loss"].item() == pytest.approx(2.75e-3)


def test_the_terms_are_what_they_are_said_to_be():
    prediction, truth, region = fields()
    weights = LossWeights(0.7, 0.2, 0.4)
    found = {k: v.item() for k, v in correction_loss(prediction, truth, region, weights).items()}
    peak = torch.stack([t[r].max() for t, r in zip(truth, region, strict=True)])[:, None, None, None]
    hot = region & (truth >= 0.5 * peak)
    assert hot.sum() < region.sum()
    assert found["field"] == pytest.approx(relative(prediction, truth, region), rel=1e-5)
    assert found["focus"] == pytest.approx(relative(prediction, truth, hot), rel=1e-5)
    square = torch.log((prediction + 0.02 * peak) / (truth + 0.02 * peak)) ** 2
    weight = region * torch.sqrt(truth / peak)
    mean = (square * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    assert found["log"] == pytest.approx(torch.sqrt(mean + 1e-6).mean().item(), rel=1e-5)
    total = 0.7 * found["field"] + 0.2 * found["focus"] + 0.4 * found["log"]
    assert found["loss"] == pytest.approx(total, rel=1e-6)


def test_a_field_that_is_a_tenth_too_high_everywhere_costs_a_tenth():
    _, truth, region = fields()
    found = correction_loss(1.1 * truth, truth, region, LossWeights())
    assert found["field"].item() == pytest.approx(0.1, rel=1e-3)
    assert found["focus"].item() == pytest.approx(0.1, rel=1e-3)


def test_what_lies_outside_of_the_region_does_not_count():
    prediction, truth, region = fields()
    before = correction_loss(prediction, truth, region, LossWeights())
    outside = (~region) * 1000.0
    after = correction_loss(prediction + outside, truth + 2 * outside, region, LossWeights())
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


def test_the_unit_of_pressure_does_not_matter():
    prediction, truth, region = fields()
    before = correction_loss(prediction, truth, region, LossWeights())
    for unit in (1e-1, 3e5):
        after = correction_loss(unit * prediction, unit * truth, region, LossWeights())
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, rtol=1e-4, atol=0)


def test_every_case_of_a_batch_weighs_the_same():
    prediction, truth, region = fields()
    whole = correction_loss(prediction, truth, region, LossWeights())
    truth, prediction = truth * torch.tensor([1.0, 50.0])[:, None, None, None], prediction.clone()
    prediction[1] *= 50
    louder = correction_loss(prediction, truth, region, LossWeights())
    torch.testing.assert_close(louder["loss"], whole["loss"])


def test_a_perfect_prediction_and_an_empty_region_have_finite_gradients():
    _, truth, region = fields()
    for where in (region, torch.zeros_like(region)):
        prediction = truth.clone().requires_grad_()
        correction_loss(prediction, truth, where, LossWeights())["loss"].backward()
        assert torch.isfinite(prediction.grad).all()


# ------------------------------------------------------------------------------- the skull and the bounds


def slab(box, first, last, hu):
    values = np.full(box.shape, 40.0, np.float32)
    values[..., first:last] = hu
    return values


def measured(values, box=BOX, bowl=BOWL):
    return NearSkull.measure(values, beyond_near_skull(values, box.spacing_mm), bowl, box)


def test_a_slab_is_as_thick_and_as_dense_as_it_was_made():
    found = measured(slab(BOX, 3, 6, 900.0))
    assert found.thickness_mm == pytest.approx(3 * 2.5)
    assert found.hu == pytest.approx(900)


def test_only_the_near_skull_near_the_axis_counts():
    values = slab(BOX, 3, 6, 900.0)
    values[..., 14:18] = 1500  # the far side of the head
    x, y = BOX.axis_mm(0), BOX.axis_mm(1)
    away = np.hypot(x[:, None], y) > BOWL.aperture_mm / 4
    values[away, 2:7] = 2000
    assert measured(values) == measured(slab(BOX, 3, 6, 900.0))


def test_lines_that_meet_no_bone_do_not_make_the_skull_thinner():
    values = slab(BOX, 3, 6, 900.0)
    values[BOX.shape[0] // 2 :] = 40  # half a craniotomy
    assert measured(values).thickness_mm == pytest.approx(3 * 2.5)


def test_the_thickness_is_the_mean_over_the_lines_and_the_hu_the_mean_over_the_bone():
    values = slab(BOX, 3, 6, 900.0)
    values[: BOX.shape[0] // 2, :, 6] = 1300  # one voxel more on one side
    found = measured(values)
    assert found.thickness_mm == pytest.approx(3.5 * 2.5)
    assert found.hu == pytest.approx((6 * 900 + 1300) / 7)


def test_water_has_no_skull():
    assert measured(np.zeros(BOX.shape, np.float32)) == NearSkull(0.0, 0.0)


def test_what_lies_within_the_bounds_has_no_reasons_and_the_bounds_are_within():
    bowl, skull = PRESETS["default"], NearSkull(6, 1000)
    assert SEEN.reasons(bowl, skull, 6.0) == ()
    for end in (0, 1):
        bowl = Bowl(SEEN.radius_of_curvature_mm[end], SEEN.aperture_mm[end], SEEN.frequency_hz[end])
        skull = NearSkull(SEEN.thickness_mm[end], SEEN.skull_hu[end])
        assert SEEN.reasons(bowl, skull, SEEN.points_per_wavelength[end]) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"radius_of_curvature_mm": 80.0}, "the radius of curvature, 80 mm, is outside .* (55 to 75 mm)"),
        ({"radius_of_curvature_mm": 54.9}, "the radius of curvature, 54.9 mm, is outside .* (55 to 75 mm)"),
        ({"aperture_mm": 40.0}, "the aperture, 40 mm, is outside .* (48 to 68 mm)"),
        ({"frequency_hz": 400e3}, "the frequency, 400 kHz, is outside .* (220 to 280 kHz)"),
        ({"frequency_hz": 219e3}, "the frequency, 219 kHz, is outside .* (220 to 280 kHz)"),
        ({"thickness_mm": 0.0}, "thickness of bone on the beam, 0 mm, is outside .* (2 to 12 mm)"),
        ({"thickness_mm": 13.25}, "thickness of bone on the beam, 13.25 mm, is outside .* (2 to 12 mm)"),
        ({"hu": 2100.0}, "the mean of the bone on the beam, 2100 HU, is outside .* (400 to 1900 HU)"),
        (
            {"points": 2.5},
            "the grid, 2.5 points per wavelength, is outside .* (3 to 6 points per wavelength)",
        ),
        ({"points": 8.0}, "the grid, 8 points per wavelength, is outside .* (3 to 6 points per wavelength)"),
    ],
)
def test_each_bound_that_is_left_gives_one_sentence(change, sentence):
    of_bowl = {k: v for k, v in change.items() if hasattr(PRESETS["default"], k)}
    of_skull = {k: v for k, v in change.items() if k in ("thickness_mm", "hu")}
    bowl, skull = replace(PRESETS["default"], **of_bowl), replace(NearSkull(6, 1000), **of_skull)
    found = SEEN.reasons(bowl, skull, change.get("points", 6.0))
    assert len(found) == 1
    start, end = sentence.split(" .* ")
    assert start in found[0]
    assert found[0].endswith(end)


def test_several_bounds_give_several_sentences():
    assert len(SEEN.reasons(PRESETS["ctx-500"], NearSkull(0, 0), 12.0)) == 4


def test_the_bounds_are_all_of_the_bowls_and_nearly_all_of_the_skulls():
    bowls = [Bowl(55 + i / 10, 50 + i / 20, 220e3 + 100 * i) for i in range(201)]
    skulls = [NearSkull(0.05 * i, 300 + 5 * i) for i in range(201)]
    found = Seen.of(bowls, skulls, (3, 6))
    assert found.radius_of_curvature_mm == (55, 75)
    assert found.aperture_mm == (50, 60)
    assert found.frequency_hz == (220e3, 240e3)
    assert found.thickness_mm == (0.05, 9.95)  # one in 200 at either end
    assert found.skull_hu == (305, 1295)
    assert found.points_per_wavelength == (3, 6)


def test_bounds_come_back_from_json():
    record = json.loads(json.dumps(config_record(SMALL, PeakRegression(), SEEN)))
    assert Seen.from_record(record["seen"]) == SEEN


# ------------------------------------------------------------------------------------------ learned rungs


def test_the_regression_finds_the_coefficients_that_made_its_cases():
    rng = np.random.default_rng(0)
    wanted = (-0.1, 0.2, -0.3, 0.05, 0.07, -0.11)
    skulls = [NearSkull(*rng.uniform((1, 300), (14, 2000))) for _ in range(30)]
    bowls = [Bowl(60, 60, f) for f in rng.uniform(220e3, 280e3, 30)]
    logs = []
    for skull, bowl in zip(skulls, bowls, strict=True):
        t, h = skull.thickness_mm / (1.5e6 / bowl.frequency_hz), skull.hu / 1000
        logs.append(np.dot(wanted, [1, t, h, t * t, h * h, t * h]))
    found = PeakRegression.fit(skulls, bowls, logs)
    np.testing.assert_allclose(found.coefficients, wanted, atol=2e-6)
    assert found.factor(skulls[3], bowls[3]) == pytest.approx(exp(logs[3]), rel=1e-4)
    assert PeakRegression().factor(skulls[3], bowls[3]) == 1


def saved(folder, net=None, **changes):
    net = net or scrambled()
    config = config_record(SMALL, PeakRegression((0.1, 0, 0, 0, 0, 0)), SEEN)
    content = {"engine": "focus", "config": config, "card": {"command": "trifocal train focus"}, **changes}
    path = folder / "small.safetensors"
    checkpoint.save(path, net.state_dict(), **content)
    return path


def test_a_checkpoint_gives_network_regression_and_bounds_back(tmp_path):
    net = scrambled()
    found = Learned.load(saved(tmp_path, net))
    assert found.net.config == SMALL
    assert not found.net.training
    assert not any(p.requires_grad for p in found.net.parameters())
    assert found.seen == SEEN
    assert found.regression.factor(NearSkull(5, 900), BOWL) == pytest.approx(exp(0.1))
    medium, field = head(BOX)
    with torch.no_grad():
        wanted = corrected_amplitude(net, medium, field, BOWL, BOX)
        pascals = found.amplitude(medium, 4e5 * field, BOWL, BOX, 4e5)
    torch.testing.assert_close(pascals / 4e5, wanted, rtol=5e-3, atol=1e-5)  # float16 weights


def test_one_changed_byte_is_refused(tmp_path):
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or was changed; get it again, or remake it with"):
        Learned.load(path)


def test_weights_of_another_engine_and_missing_ones_are_refused(tmp_path):
    path = saved(tmp_path, engine="keypoints")
    with pytest.raises(CheckpointError, match="focus engine, got weights of the keypoints engine"):
        Learned.load(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"small\.safetensors are missing"):
        Learned.load(path)
    with pytest.raises(CheckpointError, match="name of a bundled model .*, got 'magic'"):
        Learned.load("magic")


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("model"),
        lambda c: c.pop("seen"),
        lambda c: c.pop("regression"),
        lambda c: c["model"].pop("widths"),
        lambda c: c["model"].update(widths=[8]),
        lambda c: c["model"].update(depth=3),
        lambda c: c["seen"].pop("thickness_mm"),
        lambda c: c["seen"].update(thickness_mm=4),
        lambda c: c.update(seen=[1, 2]),
        lambda c: c.update(regression=[0.0, 1.0]),
        lambda c: c.update(regression=["a"] * 6),
    ],
)
def test_a_config_that_is_not_of_a_focus_network_is_refused(damage, tmp_path):
    config = json.loads(json.dumps(config_record(SMALL, PeakRegression(), SEEN)))
    damage(config)
    path = saved(tmp_path, config=config)
    with pytest.raises(
        CheckpointError, match="config of the weights 'small' must be that of a focus network"
    ):
        Learned.load(path)


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path):
    path = saved(tmp_path, scrambled(ModelConfig((4, 8, 9))))
    with pytest.raises(CheckpointError, match="must fit the model key by key, got .*other shape"):
        Learned.load(path)


def test_the_distance_from_the_axis_does_not_depend_on_the_side():
    seen = features(water(ODD), torch.ones(1, *ODD.shape) * 1j, BOWL, ODD)[0]
    torch.testing.assert_close(seen[11], seen[11].flip(0, 1))
    assert seen[11, 0, 0, 0].item() == pytest.approx(_corner(ODD, seen.shape[1:]), rel=1e-5)


def _corner(box, shape):
    """Distance of the first voxel of the network from the axis, in radii."""
    half = [n * box.spacing_mm / 2 * (1 - 1 / m) for n, m in zip(box.shape[:2], shape[:2], strict=True)]
    return hypot(*half) / BOWL.radius_of_curvature_mm
