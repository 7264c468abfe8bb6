import threading
import time
from math import pi

import numpy as np
import psutil
import pytest
import torch
from scipy.interpolate import CubicSpline

from trifocal.focus import solver_grid
from trifocal.focus.box import Box
from trifocal.focus.solver import memory_bytes, settle, solve, solve_monopoles
from trifocal.focus.solver_cpu import CpuStepper
from trifocal.focus.solver_source import Monopoles
from trifocal.focus.solver_torch import TorchStepper
from trifocal.focus.transducer import Bowl
from trifocal.predictor import Cancelled, silent

FREQUENCY = 250e3
OMEGA = 2 * pi * FREQUENCY
WAVENUMBER = OMEGA / 1500
SMALL = Bowl(30.0, 30.0, FREQUENCY)


def uniform(shape, sound_speed=1500.0, density=1000.0, attenuation=0.0):
    return tuple(np.full(shape, v, np.float32) for v in (sound_speed, density, attenuation))


def rayleigh(bowl, points_mm):
    """P = -i w rho v0 / (2 pi) * integral of exp(ikr)/r, summed over the surface."""
    surface = bowl.surface_points(0.3)
    distance = np.linalg.norm(np.asarray(points_mm)[:, None] - surface, axis=-1) * 1e-3
    v0 = bowl.drive / 1.5e6
    mean = (np.exp(1j * WAVENUMBER * distance) / distance).mean(1)
    return -1j * OMEGA * 1000 * v0 / (2 * pi) * mean * bowl.area_mm2 * 1e-6


def monopole(distance_mm, strength, wavenumber=WAVENUMBER):
    r = distance_mm * 1e-3
    return -1j * OMEGA * 1000 * strength / (4 * pi) * np.exp(1j * wavenumber * r) / r


def cube(n, spacing_mm=1.0):
    return Box(spacing_mm, (n, n, n), (0.0, 0.0, 0.0))


def coordinates(box):
    return np.stack(np.meshgrid(*[box.axis_mm(i) for i in range(3)], indexing="ij"), axis=-1)


def point(position_mm, strength=1e-6):
    return Monopoles(np.array([position_mm], float), np.array([strength]))


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_bowl_in_water_is_the_rayleigh_integral_in_amplitude_and_phase():
    box = Box.around(SMALL)
    field = solve(*uniform(box.shape), SMALL, box)
    i, z = box.shape[0] // 2, box.axis_mm(2)
    off_axis = box.axis_mm(0)[i]
    expected = rayleigh(SMALL, np.stack([0 * z + off_axis, 0 * z + off_axis, z], axis=-1))
    found = field[i, i]
    fine = np.arange(10, z[-1], 0.01)
    a, b = (CubicSpline(z, np.abs(p))(fine) for p in (found, expected))
    assert a.max() == pytest.approx(b.max(), rel=0.01)
    assert abs(fine[a.argmax()] - fine[b.argmax()]) < 0.5
    assert relative(found[z > 6], expected[z > 6]) < 0.015  # complex: the phase is absolute
    across = np.stack([box.axis_mm(0), 0 * box.axis_mm(0) + off_axis, 0 * box.axis_mm(0) + 26], axis=-1)
    assert relative(field[:, i, 26], rayleigh(SMALL, across)) < 0.015


def test_error_falls_with_the_fourth_power_of_the_spacing():
    errors = []
    for spacing in (1.5, 1.0, 0.75):
        box = cube(round(24 / spacing), spacing)
        source = np.array([3.3, 3.1, 3.2])
        field = solve_monopoles(*uniform(box.shape), box, point(source), FREQUENCY, tolerance=1e-5)
        distance = np.linalg.norm(coordinates(box) - source, axis=-1)
        far = distance > 12
        errors.append(relative(field[far], monopole(distance[far], 1e-6)))
    assert errors[1] < 0.02
    assert np.log(errors[0] / errors[1]) / np.log(1.5) > 3
    assert np.log(errors[0] / errors[2]) / np.log(2) > 3


def test_waves_lose_what_the_attenuation_says():
    box, source = cube(32), np.array([4.0, 15.0, 15.0])
    clear = solve_monopoles(*uniform(box.shape), box, point(source), FREQUENCY)
    lossy = solve_monopoles(*uniform(box.shape, attenuation=2.0), box, point(source), FREQUENCY)
    distance = np.linalg.norm(coordinates(box) - source, axis=-1)
    far = distance > 6
    neper_per_mm = 2.0 / 8.685889638 / 10
    assert relative((lossy / clear)[far], np.exp(-neper_per_mm * distance[far])) < 0.005


def slab_transmission(sine, thickness_m, slab, wavenumber=WAVENUMBER):
    """Pressure behind a layer in water over the incident one (Brekhovskikh 1980, two interfaces)."""
    speed, density, attenuation = slab
    k = OMEGA / speed + 1j * attenuation * 100 / 8.685889638
    cosine = np.sqrt(1 - sine**2 + 0j)
    across = np.sqrt(k**2 - (wavenumber * sine) ** 2 + 0j)
    z_water, z_slab = OMEGA * 1000 / (wavenumber * cosine), OMEGA * density / across
    ratio = z_slab / z_water + z_water / z_slab
    return 1 / (np.cos(across * thickness_m) - 0.5j * ratio * np.sin(across * thickness_m))


def behind_slab(distance_mm, thickness_mm, slab, strength):
    """A monopole's field on its axis behind a layer: the Sommerfeld integral over plane waves."""
    gap = (distance_mm - thickness_mm)[:, None] * 1e-3
    theta = (np.arange(2000) + 0.5) / 2000 * pi / 2
    t = (np.arange(2000) + 0.5) / 2000 * 4
    runs = WAVENUMBER * np.sin(theta) * slab_transmission(np.sin(theta), thickness_mm * 1e-3, slab)
    dies = WAVENUMBER * np.cosh(t) * slab_transmission(np.cosh(t), thickness_mm * 1e-3, slab)
    total = (runs * np.exp(1j * WAVENUMBER * np.cos(theta) * gap)).sum(1) * pi / 2 / 2000
    total = total - 1j * (dies * np.exp(-WAVENUMBER * np.sinh(t) * gap)).sum(1) * 4 / 2000
    return OMEGA * 1000 * strength / (4 * pi) * total


def test_the_sommerfeld_integral_without_a_layer_is_the_monopole():
    distance = np.array([12.0, 20.0])
    found = behind_slab(distance, 5.0, (1500.0, 1000.0, 0.0), 1e-6)
    assert relative(found, monopole(distance, 1e-6)) < 1e-3


@pytest.mark.parametrize(
    "slab", [(2800.0, 1850.0, 3.0), (1900.0, 1300.0, 1.0)], ids=["cortical bone", "soft bone"]
)
def test_transmission_through_a_layer_is_that_of_the_transfer_matrix(slab):
    box = Box(1.0, (40, 40, 36), (-20.0, -20.0, 0.0))
    maps = uniform(box.shape)
    for values, inside in zip(maps, slab, strict=True):
        values[:, :, 10:16] = inside  # from 9.5 to 15.5 mm
    field = solve_monopoles(*maps, box, point([0.0, 0.0, 2.0]), FREQUENCY)
    z = box.axis_mm(2)[20:34]
    expected = behind_slab(z - 2.0, 6.0, slab, 1e-6)
    assert relative(field[20, 20, 20:34], expected) < 0.05


def random_medium(shape, seed=0):
    rng = np.random.default_rng(seed)
    low = (1400, 900, 0)
    high = (2900, 2000, 4)
    return tuple(rng.uniform(a, b, shape).astype(np.float32) for a, b in zip(low, high, strict=True))


def test_source_and_receiver_may_be_exchanged():
    box, maps = cube(24), random_medium((24, 24, 24))
    one, other = (5, 6, 7), (18, 15, 20)
    there = solve_monopoles(*maps, box, point(one), FREQUENCY)[other]
    back = solve_monopoles(*maps, box, point(other), FREQUENCY)[one]
    assert there == pytest.approx(back, rel=2e-3)


def test_walls_of_the_box_reflect_less_than_one_percent():
    small = Box(1.0, (16, 16, 40), (0.0, 0.0, 0.0))
    large = Box(1.0, (48, 48, 72), (-16.0, -16.0, -16.0))
    source = point([7.3, 8.1, 3.4])  # the long walls are met at all angles up to grazing
    a = solve_monopoles(*uniform(small.shape), small, source, FREQUENCY, tolerance=1e-4)
    b = solve_monopoles(*uniform(large.shape), large, source, FREQUENCY, tolerance=1e-4)[16:32, 16:32, 16:56]
    beyond = (slice(None), slice(None), slice(10, None))
    assert np.abs(a - b)[beyond].max() < 0.01 * np.abs(b)[beyond].max()
    assert relative(a[:, :, 30:], b[:, :, 30:]) < 0.02


def test_longer_runs_change_nothing():
    box = Box.around(SMALL)
    maps = uniform(box.shape)
    for values, bone in zip(maps, (2800.0, 1850.0, 3.0), strict=True):
        values[:, :, 14:20] = bone
    source = Monopoles(SMALL.surface_points(0.5), np.full(len(SMALL.surface_points(0.5)), 1e-9))
    short = solve_monopoles(*maps, box, source, FREQUENCY)
    long = solve_monopoles(*maps, box, source, FREQUENCY, tolerance=1e-6)
    brain = (slice(None), slice(None), slice(20, None))
    assert np.abs(short[brain]).max() == pytest.approx(np.abs(long[brain]).max(), rel=0.005)
    assert relative(short[brain], long[brain]) < 0.01


def test_gas_is_silent_and_stable_in_any_arrangement():
    box, maps = cube(20), random_medium((20, 20, 20), 1)
    gas = np.random.default_rng(2).random(box.shape) < 0.3
    gas[8:12, 8:12, 8:12] = True
    gas[:4] = False
    for values, air in zip(maps, (343.0, 1.2, 0.0), strict=True):
        values[gas] = air
    field = solve_monopoles(*maps, box, point([1.0, 10.0, 10.0]), FREQUENCY)
    assert np.isfinite(field).all()
    assert np.abs(field).max() < 3 * np.abs(monopole(0.5, 1e-6))
    assert (field[gas] == 0).all()
    assert np.abs(field[~gas]).max() > 0


def test_a_wall_of_air_reflects_with_reversed_sign():
    box = Box(1.0, (40, 40, 24), (-20.0, -20.0, 0.0))
    maps = uniform(box.shape)
    for values, air in zip(maps, (343.0, 1.2, 0.0), strict=True):
        values[:, :, 18:] = air
    field = solve_monopoles(*maps, box, point([0.0, 0.0, 4.0]), FREQUENCY)
    z = box.axis_mm(2)[7:17]
    surface = 17.5 + 0.5 * solver_grid.GAS_STAND_IN / 2 / 1000  # in mm
    expected = monopole(z - 4, 1e-6) - monopole(2 * surface - 4 - z, 1e-6)
    assert relative(field[20, 20, 7:17], expected) < 0.05


def test_torch_and_the_compiled_loop_agree():
    box, maps = cube(12), random_medium((12, 12, 12), 3)
    maps[0][4:7, 4:7, 4:7] = 343.0
    scheme = solver_grid.build(*maps, box, point([2.2, 5.7, 6.1]), FREQUENCY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        theirs = settle(TorchStepper(scheme, torch.device("cpu")), scheme, silent, tolerance=0.1)
    finally:
        torch.set_num_threads(threads)
    assert relative(settle(CpuStepper(scheme), scheme, silent, tolerance=0.1), theirs) < 1e-4


def test_the_number_of_threads_makes_no_difference():
    box, maps = cube(16), random_medium((16, 16, 16), 4)
    scheme = solver_grid.build(*maps, box, point([2.2, 8.7, 6.1]), FREQUENCY)
    fields = [settle(CpuStepper(scheme, n), scheme, silent, tolerance=0.1) for n in (1, 2, 3)]
    assert np.array_equal(fields[0], fields[1])
    assert np.array_equal(fields[0], fields[2])


def test_cancelling_stops_at_once_and_leaves_no_thread():
    box = Box.around(SMALL, 8.0)
    before, raised_at = threading.active_count(), []

    def progress(fraction, what):
        if fraction > 0.1:
            raised_at.append(time.perf_counter())
            raise Cancelled

    with pytest.raises(Cancelled):
        solve(*uniform(box.shape), SMALL, box, progress=progress)
    assert time.perf_counter() - raised_at[0] < 0.5
    assert threading.active_count() == before


def test_progress_runs_from_zero_to_one():
    box, seen = Box.around(SMALL, 5.0), []
    solve(*uniform(box.shape), SMALL, box, progress=lambda fraction, what: seen.append(fraction))
    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen == sorted(seen)


def test_solves_in_two_threads_do_not_disturb_each_other():
    box, fields = Box.around(SMALL, 5.0), {}
    alone = solve(*uniform(box.shape), SMALL, box)

    def work(name):
        fields[name] = solve(*uniform(box.shape), SMALL, box)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(fields[0], alone)
    assert np.array_equal(fields[1], alone)


def test_too_large_a_box_is_refused_before_anything_is_made():
    box = Box(0.05, (6000, 6000, 6000), (-150.0, -150.0, 0.0))
    maps = (np.broadcast_to(np.float32(v), box.shape) for v in (1500, 1000, 0))
    before = psutil.Process().memory_info().rss
    with pytest.raises(MemoryError, match=r"the solver needs [\d.]+ GiB of memory for this box and"):
        solve(*maps, SMALL, box)
    assert psutil.Process().memory_info().rss - before < 2**26


def test_memory_estimate_counts_the_padding():
    box = Box.around(SMALL)
    assert memory_bytes(SMALL, box) > 32 * np.prod(np.array(box.shape) + 22)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c, r, a: (c[1:], r, a), r"sound_speed must have the shape of the box \(.*\), got \("),
        (lambda c, r, a: (c, r, a[..., 1:]), "attenuation must have the shape"),
        (lambda c, r, a: (c * np.float32(np.nan), r, a), "sound_speed must lie between 1 and 1e5"),
        (lambda c, r, a: (c, r * 0, a), "density must lie between"),
        (lambda c, r, a: (c, r, a - 1), "attenuation must lie between 0"),
        (lambda c, r, a: (c / 4, r, a), "must hold more than gas"),
        (lambda c, r, a: (c * np.float32(0.67), r, a), "points per wavelength or more"),
    ],
)
def test_maps_that_are_no_medium_are_refused(change, sentence):
    box = Box.around(SMALL, 5.0)
    with pytest.raises(ValueError, match=sentence):
        solve(*change(*uniform(box.shape)), SMALL, box)
