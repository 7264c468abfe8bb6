"""The march against the free field, plane layers, the solver, and itself."""

from __future__ import annotations

from math import cos
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from trifocal.focus.acoustics import AcousticModel, Medium, medium_from_hu
from trifocal.focus.angular_spectrum import _Layers, _Planes, _sweep, _sweep_back, march
from trifocal.focus.box import Box
from trifocal.focus.freefield import series
from trifocal.focus.metrics import field_errors
from trifocal.focus.solver import solve
from trifocal.focus.transducer import Bowl

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = Bowl(26.0, 26.0, 250e3)
BOX = Box.around(SMALL)  # 34 x 34 x 44


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Planes this small are slower on two threads, far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def water(batch: int = 1, box: Box = BOX, dtype: torch.dtype = torch.float32) -> Medium:
    one = torch.ones(batch, *box.shape, dtype=dtype)
    return Medium(1500 * one, 1000 * one, 0 * one, 0 * one)


def skull(tilt: float = 0.2, thickness_mm: float = 5.0, box: Box = BOX, dense: float = 1500.0) -> Medium:
    """A tilted plate of bone, soft edges of one voxel, tissue behind it."""
    x, _, z = np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij")
    depth = (z - 11 - tilt * x) / box.spacing_mm
    plate = np.clip(depth + 0.5, 0, 1) * np.clip(thickness_mm / box.spacing_mm - depth + 0.5, 0, 1)
    hu = torch.tensor(dense * plate + 40 * (depth > 0), dtype=torch.float32)[None]
    wet = torch.tensor(depth < -3, dtype=torch.float32)[None]
    return medium_from_hu(hu, wet, SMALL.frequency_hz)


def free(bowl: Bowl = SMALL, box: Box = BOX) -> np.ndarray:
    x, y, z = np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij")
    return series(bowl, np.hypot(x, y).ravel(), z.ravel()).reshape(box.shape)


def test_without_a_head_the_march_is_the_free_field() -> None:
    found = march(water(), SMALL, BOX)[0].numpy()
    expected = free()
    assert np.linalg.norm(found - expected) < 0.005 * np.linalg.norm(expected)


def test_marched_through_water_the_field_stays_the_free_field() -> None:
    medium = water()
    medium.sound_speed.requires_grad_()  # marched from the rim on, plane by plane
    found = march(medium, SMALL, BOX).detach()[0].numpy()
    expected = free()
    beam = np.abs(expected) > 0.1 * np.abs(expected).max()
    beam[:, :, :8] = False
    assert np.linalg.norm((found - expected)[beam]) < 0.03 * np.linalg.norm(expected[beam])
    assert np.abs(found).max() == pytest.approx(np.abs(expected).max(), rel=0.02)


def test_the_field_is_linear_in_the_drive() -> None:
    loud = Bowl(SMALL.radius_of_curvature_mm, SMALL.aperture_mm, SMALL.frequency_hz, 3 * SMALL.drive)
    medium = skull()
    torch.testing.assert_close(march(medium, loud, BOX), 3 * march(medium, SMALL, BOX), rtol=1e-3, atol=30)


def test_a_round_head_gives_a_round_field() -> None:
    field = march(skull(tilt=0.0), SMALL, BOX)[0]
    torch.testing.assert_close(field, field.transpose(0, 1), rtol=1e-3, atol=100)
    torch.testing.assert_close(field, field.flip(0), rtol=1e-3, atol=100)


def plate(thickness: int) -> Medium:
    """Bone without attenuation, so many voxels thick, across the whole box."""
    medium = water(dtype=torch.float64)
    bone = slice(12, 12 + thickness)
    medium.sound_speed[..., bone], medium.density[..., bone] = 2800.0, 1900.0
    return medium


def exact_transmission(medium: Medium) -> complex:
    """Transfer matrices of plane layers at normal incidence (Brekhovskikh 1980, section 3)."""
    k = 2e-3 * np.pi * SMALL.frequency_hz / medium.sound_speed[0, 0, 0].numpy()
    y = k / medium.density[0, 0, 0].numpy()
    total = np.eye(2, dtype=complex)
    for phase, admittance in zip(k * BOX.spacing_mm, y, strict=True):
        c, s = np.cos(phase), np.sin(phase)
        total = total @ np.array([[c, -1j * s / admittance], [-1j * s * admittance, c]])
    (a, b), (c, d) = total
    return complex(2 * y[0] / (a * y[0] + b * y[0] * y[-1] + c + d * y[-1]))


@pytest.mark.parametrize("thickness", [3, 6, 9])
def test_a_plane_wave_passes_a_plate_as_transfer_matrices_say(thickness: int) -> None:
    medium = plate(thickness)
    planes = _Planes(SMALL, BOX, torch.device("cpu"))
    planes.absorber = torch.ones_like(planes.taper)  # an endless plane wave: no edges
    planes.taper = planes.absorber
    layers = _Layers.of(medium, planes, 0)
    front = torch.ones(1, *planes.size, dtype=torch.complex128)
    expected = exact_transmission(medium)
    errors = []
    backward = None
    for _ in range(4):
        forward = _sweep(front, layers, backward)
        errors.append(abs(complex(forward.leave[-1][0, 20, 20]) - expected) / abs(expected))
        backward = _sweep_back(forward, layers)
    assert errors[1] < 0.5 * errors[0]  # one reverberation brings most of it
    assert errors[1] < 0.2
    assert errors[3] < 0.04


def test_absorption_is_exponential() -> None:
    narrow = Bowl(120.0, 26.0, 250e3)  # hardly focused: every ray runs along the beam
    box = Box(1.0, (34, 34, 60), (-16.5, -16.5, 0.0))
    medium = water(2, box)
    medium.density[..., 10:] = 1003.0  # a head, hardly denser than water, begins here
    medium.attenuation[1, :, :, 10:40] = 2.0  # dB/cm
    field = march(medium, narrow, box).abs()
    ratio = field[1, 17, 17] / field[0, 17, 17]
    decibel = -20 * torch.log10(ratio)
    assert float(decibel[50]) == pytest.approx(6.0, rel=0.03)
    assert float(decibel[25]) == pytest.approx(2.0 * 1.55, rel=0.05)


def test_attenuation_counts_the_slant_of_the_rays() -> None:
    medium = water(2)
    medium.density[..., 8:] = 1003.0
    medium.attenuation[1, :, :, 8:18] = 1.0
    field = march(medium, SMALL, BOX).abs()
    c = cos(SMALL.half_angle)
    path = (1 - (1 - (1 + c + c**2) / 3)) ** -0.5
    decibel = -20 * torch.log10(field[1, 17, 17, 30] / field[0, 17, 17, 30])
    assert float(decibel) == pytest.approx(path, rel=0.03)


def test_a_batch_gives_what_each_gives_alone() -> None:
    media = [skull(0.2), skull(-0.3, 4.0, dense=900.0)]
    both = Medium(
        *(torch.cat([getattr(m, n) for m in media]) for n in ("sound_speed", "density", "attenuation", "hu"))
    )
    found = march(both, SMALL, BOX)
    assert found.shape == (2, *BOX.shape)
    assert found.dtype == torch.complex64
    for one, medium in zip(found, media, strict=True):
        alone = march(medium, SMALL, BOX)[0]
        torch.testing.assert_close(one, alone, rtol=1e-4, atol=30)


@pytest.mark.parametrize("name", ["sound_speed", "density", "attenuation"])
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    medium = skull()
    arrays = {n: getattr(medium, n).double() for n in ("sound_speed", "density", "attenuation")}
    generator = torch.Generator().manual_seed(0)
    direction = torch.rand(arrays[name].shape, generator=generator, dtype=torch.float64)
    direction = (
        direction * (medium.hu > 400) * {"sound_speed": 10.0, "density": 10.0, "attenuation": 0.1}[name]
    )

    def loud(amount: torch.Tensor) -> torch.Tensor:
        changed = {**arrays, name: arrays[name] + amount * direction}
        field = march(Medium(**changed, hu=medium.hu), SMALL, BOX)
        return field[0, 14:20, 14:20, 20:30].abs().mean()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loud(zero).backward()
    step = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)  # marched from the same plane
    numeric = float(((loud(step) - loud(-step)) / (2 * step)).detach())
    assert float(zero.grad) == pytest.approx(numeric, rel=2e-2)


def test_every_gradient_is_finite() -> None:
    medium = skull()
    leaves = [t.requires_grad_() for t in (medium.sound_speed, medium.density, medium.attenuation)]
    march(medium, SMALL, BOX).abs().square().sum().backward()
    for leaf in leaves:
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().max() > 0


def test_a_march_without_gradients_spoils_no_later_one_with_them() -> None:
    box = Box.around(SMALL, 4.0)
    medium = skull(box=box)
    with torch.inference_mode():
        march(medium, SMALL, box)
    medium.sound_speed.requires_grad_()
    march(medium, SMALL, box).abs().sum().backward()
    assert torch.isfinite(medium.sound_speed.grad).all()


def test_air_stops_the_sound_and_blows_nothing_up() -> None:
    model = AcousticModel()
    hu = torch.zeros(1, *BOX.shape)
    hu[..., 14:20] = -1000.0
    medium = medium_from_hu(hu, torch.zeros_like(hu), SMALL.frequency_hz, model)
    field = march(medium, SMALL, BOX).abs()
    assert torch.isfinite(field).all()
    assert field[..., 22:].max() < 0.05 * np.abs(free()).max()
    assert field.max() < 3 * np.abs(free()).max()


@pytest.mark.parametrize(("tilt", "thickness"), [(0.0, 5.0), (0.25, 4.0)])
def test_behind_bone_the_field_is_that_of_the_solver(tilt: float, thickness: float) -> None:
    medium = skull(tilt, thickness)
    truth = solve(
        *(a[0].numpy() for a in (medium.sound_speed, medium.density, medium.attenuation)),
        SMALL,
        BOX,
        device="cpu",
    )
    found = march(medium, SMALL, BOX)[0].abs().numpy()
    region = np.zeros(BOX.shape, bool)
    region[4:-4, 4:-4, 22:-2] = True
    errors = field_errors(found, np.abs(truth), region, BOX)
    assert errors.shape_l2 < 0.13
    assert abs(errors.peak_error) < 0.12
    assert errors.centroid_error_mm < 2.0
    one_way = march(medium, SMALL, BOX, reverberations=0)[0].abs().numpy()
    assert errors.rel_l2 < field_errors(one_way, np.abs(truth), region, BOX).rel_l2
