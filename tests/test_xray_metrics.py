"""Figures that cannot flatter: analytic values, and the traps that published ones fell into."""

import dataclasses

import numpy as np
import pytest

from trifocal.image import Image
from trifocal.xray.grid import Grid
from trifocal.xray.metrics import psnr_db, score, ssim_map
from trifocal.xray.regions import body_mask, bone_mask, dice, lung_mask, surface_distances

GRID = Grid.cube(300.0, 30)


@pytest.fixture(scope="module")
def torso():
    """HU: a cylinder of water along z with two lungs, a rod of bone, and a thin table behind it."""
    x, y, _ = np.meshgrid(*[GRID.centers_mm(a) for a in range(3)], indexing="ij")
    hu = np.full(GRID.shape, -1000.0, np.float32)
    hu[(x / 125) ** 2 + (y / 100) ** 2 < 1] = 20
    for side in (-50, 50):
        hu[((x - side) / 30) ** 2 + (y / 50) ** 2 < 1] = -850
    hu[(np.abs(x) < 15) & (np.abs(y + 65) < 15)] = 500
    hu[:, 1, :] = 100
    return GRID.image(hu, "HU")


def like(image, array):
    return dataclasses.replace(image, array=array.astype(np.float32))


def test_a_prediction_that_is_the_truth_has_no_error(torso):
    found = score(torso, torso)
    assert found.psnr_db == np.inf
    assert found.ssim == pytest.approx(1)
    assert found.mae_hu == found.body_mae_hu == 0
    assert found.lung_dice == found.bone_dice == 1
    assert found.lung_surface_mm == found.lung_surface_95_mm == 0


def test_psnr_of_a_shift_by_a_tenth_of_the_range_is_20_db(torso):
    inner = like(torso, np.clip(torso.array, -700, 500))
    found = score(like(torso, inner.array + 200), inner)
    assert found.psnr_db == pytest.approx(20.0, abs=1e-4)
    assert found.mae_hu == found.body_mae_hu == pytest.approx(200)


def test_a_wider_window_makes_the_same_error_look_smaller_and_is_named(torso):
    inner = like(torso, np.clip(torso.array, -700, 500))
    narrow, wide = (score(like(torso, inner.array + 200), inner, w) for w in ((-1000, 1000), (-1024, 3071)))
    assert wide.psnr_db - narrow.psnr_db == pytest.approx(20 * np.log10(4095 / 2000), abs=1e-4)
    assert "[-1024, 3071] HU, range 4095 HU" in str(wide)
    assert "10.00 x 10.00 x 10.00 mm" in str(narrow)


def test_the_seeds_peak_of_two_on_values_from_0_to_1_is_refused(torso):
    """It is 6.02 dB too high."""
    honest = score(like(torso, torso.array + 100), torso)
    low, high = honest.window_hu
    with pytest.raises(ValueError, match="data range of a PSNR must be the width of its window"):
        dataclasses.replace(honest, data_range_hu=2 * (high - low), psnr_db=honest.psnr_db + 6.02)
    a, b = ((np.clip(v, low, high) - low) / (high - low) for v in (torso.array + 100, torso.array))
    assert psnr_db(a, b, 1.0) == pytest.approx(honest.psnr_db, abs=1e-4)
    assert psnr_db(a, b, 2.0) == pytest.approx(honest.psnr_db + 6.0206, abs=1e-4)


def test_a_peak_of_4095_on_values_clipped_at_2500_is_refused(torso):
    """It is 4.29 dB too high."""
    honest = score(like(torso, torso.array + 100), torso, (0, 2500))
    with pytest.raises(ValueError, match="2500 HU for"):
        dataclasses.replace(honest, data_range_hu=4095.0, psnr_db=honest.psnr_db + 4.29)


def test_values_from_0_to_1_do_not_pass_for_hu(torso):
    unit = like(torso, (np.clip(torso.array, -1000, 1000) + 1000) / 2000)
    with pytest.raises(ValueError, match="spread over"):
        score(unit, unit)
    with pytest.raises(ValueError, match="must be in HU"):
        score(Image(torso.array, torso.affine, ""), torso)


@pytest.mark.parametrize("window", [(1000, -1000), (0, 0), (np.nan, 1000), (0,), None])
def test_without_a_window_there_is_no_score(torso, window):
    with pytest.raises(ValueError, match="window"):
        score(torso, torso, window)


@pytest.mark.parametrize("spacing", [(0, 1, 1), (np.nan, 1, 1), (1.0, 1.0)])
def test_without_a_spacing_there_is_no_score(torso, spacing):
    with pytest.raises(ValueError, match="spacing of a score"):
        dataclasses.replace(score(torso, torso), spacing_mm=spacing)


def test_values_beyond_the_range_are_refused():
    with pytest.raises(ValueError, match="within the data range"):
        psnr_db(np.array([0.0, 3.0]), np.array([0.0, 1.0]), 2.0)


def test_another_grid_is_refused(torso):
    moved = torso.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(ValueError, match="on one grid"):
        score(torso, Image(torso.array, moved, "HU"))


def test_a_prediction_that_is_not_a_number_is_refused(torso):
    broken = torso.array.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        score(like(torso, broken), torso)


def test_ssim_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 2000, (2, 16, 18, 20))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    mean, full = structural_similarity(a, b, data_range=2000, full=True, **settings)
    found = ssim_map(a, b, 2000)
    np.testing.assert_allclose(found[5:-5, 5:-5, 5:-5], full[5:-5, 5:-5, 5:-5], atol=1e-9)
    assert found[5:-5, 5:-5, 5:-5].mean() == pytest.approx(mean)


def test_ssim_refuses_hu_with_their_negative_means():
    with pytest.raises(ValueError, match="0 or more"):
        ssim_map(np.full((4, 4, 4), -500.0), np.full((4, 4, 4), -500.0), 2000)


def test_the_body_has_its_lungs_but_not_the_table(torso):
    body = body_mask(torso.array, torso.spacing_mm)
    assert body[15, 15, 15]
    assert body[10, 15, 15]
    assert not body[:, 1].any()
    lungs = lung_mask(torso.array, body, torso.spacing_mm)
    assert lungs[10, 15, 15]
    assert not lungs[0, 0, 0]
    assert bone_mask(torso.array, body)[15, 8, 15]


def test_errors_outside_the_body_do_not_count_for_the_body(torso):
    wrong = torso.array.copy()
    wrong[:3, :3] = 1000
    found = score(like(torso, wrong), torso)
    assert found.body_mae_hu == 0
    assert found.mae_hu > 0
    assert found.body_psnr_db == np.inf


def test_dice_and_distance_of_boxes_moved_by_two_voxels():
    one = np.zeros((20, 8, 8), bool)
    one[4:12, 2:6, 2:6] = True
    other = np.roll(one, 2, 0)
    assert dice(one, other) == pytest.approx(0.75)
    far = surface_distances(one, other, (3.0, 1.0, 1.0))
    assert far.min() == 0
    assert surface_distances(one, one, (3.0, 1.0, 1.0)).max() == 0
    assert np.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))
    assert surface_distances(one, np.zeros_like(one), (1, 1, 1)).size == 0


def test_the_order_of_the_axes_does_not_matter(torso):
    rng = np.random.default_rng(1)
    noisy = like(torso, torso.array + rng.normal(0, 50, torso.shape))
    turned = np.eye(4)[[2, 0, 1, 3]]

    def turn(image):
        return Image(np.transpose(image.array, (2, 0, 1)), image.affine @ turned.T, "HU")

    one, other = score(noisy, torso), score(turn(noisy), turn(torso))
    for name, value in dataclasses.asdict(one).items():
        assert getattr(other, name) == pytest.approx(value), name
