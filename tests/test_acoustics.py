import numpy as np
import pytest
import torch

from trifocal.focus.acoustics import AcousticModel, medium_from_hu

MODEL = AcousticModel()


def properties(hu, water=0.0, frequency_hz=500e3):
    shape = (1, 1, 1, 1)
    medium = medium_from_hu(torch.full(shape, float(hu)), torch.full(shape, float(water)), frequency_hz)
    return [float(a) for a in (medium.sound_speed, medium.density, medium.attenuation)]


@pytest.mark.parametrize(
    ("hu", "water", "tissue"),
    [(0, 1, MODEL.water), (40, 0, MODEL.soft_tissue), (2000, 0, MODEL.dense_bone), (-900, 0, MODEL.air)],
)
def test_pure_materials(hu, water, tissue):
    found = properties(hu, water)
    assert found == pytest.approx([tissue.sound_speed, tissue.density, tissue.attenuation], abs=0.01)


def test_cortical_bone_of_the_benchmark():
    speed, density, _ = properties(1600)
    assert speed == pytest.approx(2800, rel=0.01)
    assert density == pytest.approx(1850, rel=0.03)


def test_air_around_the_head_is_water():
    assert properties(-1000, water=1)[0] == MODEL.water.sound_speed


def test_half_porous_bone_follows_the_mapping():
    speed, density, attenuation = properties(1000)
    assert speed == pytest.approx((1560 + 3100) / 2)
    assert density == pytest.approx((1040 + 2100) / 2)
    assert attenuation == pytest.approx(4 + 4 * np.sqrt(0.5))


def test_attenuation_grows_with_frequency_and_speed_does_not():
    low, high = properties(1000, frequency_hz=250e3), properties(1000, frequency_hz=1e6)
    assert high[2] == pytest.approx(4 * low[2])
    assert high[:2] == low[:2]


def test_speed_and_density_rise_with_hu_and_nothing_jumps():
    hu = torch.linspace(-300, 2500, 2801)[None, None, None]
    medium = medium_from_hu(hu, torch.zeros_like(hu), 250e3)
    for values in (medium.sound_speed, medium.density):
        step = values.diff()
        assert float(step.min()) >= 0
        assert float(step.max()) < 5


def test_gradients_are_finite_everywhere():
    hu = torch.tensor([-1000.0, -400, 0, 100, 200, 300, 2000, 3071])[None, None, None].requires_grad_()
    water = torch.full_like(hu, 0.3).requires_grad_()
    medium = medium_from_hu(hu, water, 250e3)
    total = medium.sound_speed.sum() + medium.density.sum() + medium.attenuation.sum()
    for gradient in torch.autograd.grad(total, (hu, water)):
        assert torch.isfinite(gradient).all()
