"""Against the published field of the code STRIDE; the file is not ours to ship."""

from pathlib import Path

import numpy as np
import pytest

from trifocal.focus.benchmark import REFERENCE_SHAPE, bm4_sc1, compare_itrusst

REFERENCE = (
    Path(__file__).parents[2] / "shared" / "data" / "itrusst" / "itrusst_BM4_SC1_STRIDE_amp_phase_0p5mm.npz"
)


def test_layers_lie_where_the_benchmark_puts_them():
    (sound_speed, density, attenuation), bowl, box = bm4_sc1(0.5)
    z = box.axis_mm(2)
    speeds = sound_speed[70, 70]
    for depth, speed in ((25.9, 1500), (26.1, 1610), (30.1, 2800), (31.6, 2300), (35.6, 2800), (36.6, 1560)):
        assert speeds[np.abs(z - depth).argmin()] == pytest.approx(speed)
    assert sorted(set(np.round(density[0, 0]))) == [1000, 1040, 1090, 1700, 1850]
    assert attenuation.max() == 8
    assert bowl.drive == 60e3


def test_a_voxel_cut_by_an_interface_holds_the_mean_of_both():
    (sound_speed, density, _), _, box = bm4_sc1(0.75)
    k = int(np.abs(box.axis_mm(2) - 26).argmin())  # 25.5 to 26.25 mm: two thirds water
    assert density[0, 0, k] == pytest.approx((2 * 1000 + 1090) / 3)
    compressibility = (2 / (1000 * 1500**2) + 1 / (1090 * 1610**2)) / 3
    assert 1 / (density[0, 0, k] * sound_speed[0, 0, k] ** 2) == pytest.approx(compressibility, rel=1e-5)


@pytest.mark.parametrize("record", [{"other": np.zeros(3)}, {"p_amp": np.zeros((3, 3))}])
def test_a_file_that_is_no_reference_is_refused(tmp_path, record):
    path = tmp_path / "reference.npz"
    np.savez(path, **record)
    with pytest.raises(ValueError, match="p_amp"):
        compare_itrusst(path)


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_file(), reason=f"the ITRUSST reference field is not at {REFERENCE}")
def test_solver_meets_the_published_field():
    assert np.load(REFERENCE)["p_amp"].shape == REFERENCE_SHAPE
    found = compare_itrusst(REFERENCE)
    assert abs(found["peak_error"]) < 0.03
    assert found["focus_error_mm"] < 1
    assert found["brain_rel_l2"] < 0.08
    assert abs(found["length_error_mm"]) < 1
