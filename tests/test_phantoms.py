"""Procedural head CTs: what is asked for is what can be measured in the volume."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from trifocal.focus import head as head_module
from trifocal.focus.head import Head
from trifocal.focus.phantom_grid import Rod, Warp
from trifocal.focus.phantoms import RANGES, HeadSpec, _sliced, head_ct, random_spec, sample_head
from trifocal.image import Image

QUIET = HeadSpec(
    seed=3,
    age_years=25,
    suture_mm=1.5,
    noise_hu=0,
    shape_mm=0,
    asymmetry_mm=0,
    thickness_variation=0,
    diploe_texture_hu=0,
)
# Changed in places that are measured apart: the parietal bones with their tables, the back, the forehead.
ALTERED = replace(
    QUIET,
    parietal_mm=9,
    outer_table_mm=2,
    inner_table_mm=1.8,
    blur_mm=0.4,
    asymmetry_mm=5,
    frontal_sinus_mm=0,
)


@pytest.fixture(scope="module")
def quiet() -> Image:
    return head_ct(QUIET, spacing_mm=2)


@pytest.fixture(scope="module")
def altered() -> Image:
    return head_ct(ALTERED)


@pytest.fixture(scope="module")
def random() -> Image:
    return head_ct(random_spec(1), spacing_mm=2.5)


@pytest.fixture(scope="module")
def sample() -> Image:
    return sample_head()


@pytest.fixture
def light_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Head` with a coarse tissue grid and a small margin around the scan: nothing here looks there."""
    monkeypatch.setattr(head_module, "TISSUE_SPACING_MM", 3.0)
    monkeypatch.setattr(head_module, "SKIN_MARGIN_MM", 24.0)


def profile(ct: Image, direction: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the middle of the skull and HU, outward."""
    u = np.array(direction) / np.linalg.norm(direction)
    r = np.arange(20, 110, 0.1)
    return r, ct.sample(r[:, None] * u, fill=-1000)


def thickness(ct: Image, direction: tuple[float, float, float]) -> float:
    """Between half the height of the tables, along a ray that meets the skull nearly at right angles."""
    r, hu = profile(ct, direction)
    bone = r[hu > 600]
    return float(bone[-1] - bone[0])


def extent(mask: np.ndarray, axis: int) -> int:
    along = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
    return int(along[-1] - along[0] + 1)


def test_the_volume_is_a_head_ct_in_hounsfield_units(quiet: Image) -> None:
    assert quiet.array.dtype == np.int16
    assert quiet.unit == "HU"
    assert np.array_equal(quiet.affine[:3, :3], 2 * np.eye(3))
    faces = [quiet.array[[0, -1]], quiet.array[:, [0, -1]], quiet.array[:, :, -1]]
    assert all((face == -1000).all() for face in faces)
    assert quiet.notes["phantom"]["seed"] == 3


def test_the_same_specification_gives_the_same_bits(random: Image) -> None:
    again = head_ct(random_spec(1), spacing_mm=2.5)
    assert np.array_equal(again.array, random.array)
    assert np.array_equal(again.affine, random.affine)


def test_another_seed_gives_another_skull(random: Image) -> None:
    other = head_ct(replace(random_spec(1), seed=2), spacing_mm=2.5)
    there = other.resample(random.affine, random.shape, fill=-1000)
    bone, other_bone = random.array > 500, there.array > 500
    assert (bone ^ other_bone).sum() > 0.05 * bone.sum()


def test_anatomy_does_not_depend_on_the_spacing(quiet: Image) -> None:
    four = head_ct(QUIET, spacing_mm=4)
    smooth = replace(quiet, array=ndimage.gaussian_filter(quiet.array.astype(np.float32), 1.0))
    averaged = smooth.resample(four.affine, four.shape, fill=-1000).array
    assert np.corrcoef(averaged.ravel(), four.array.ravel())[0, 1] > 0.985


def test_outer_size_of_the_skull(quiet: Image) -> None:
    vault = quiet.array[:, :, int(quiet.world_to_index([0, 0, 5])[2]) :] > 500
    assert 2 * extent(vault, 1) == pytest.approx(QUIET.length_mm, abs=6)
    assert 2 * extent(vault, 0) == pytest.approx(QUIET.width_mm, abs=6)


@pytest.mark.parametrize(
    ("direction", "name"),
    [
        ((0.35, 0.75, 0.5), "frontal_mm"),
        ((0.4, -0.25, 0.9), "parietal_mm"),
        ((0.97, 0.18, -0.08), "temporal_mm"),
        ((0.2, -0.97, 0.12), "occipital_mm"),
    ],
)
def test_each_bone_is_as_thick_as_asked_for(quiet: Image, direction: tuple, name: str) -> None:
    assert thickness(quiet, direction) == pytest.approx(getattr(QUIET, name), abs=0.6)


def test_a_thicker_skull_is_thicker(quiet: Image, altered: Image) -> None:
    more = thickness(altered, (0.4, -0.25, 0.9)) - thickness(quiet, (0.4, -0.25, 0.9))
    assert more == pytest.approx(3, abs=1)


def test_two_tables_with_diploe_between(altered: Image) -> None:
    _, hu = profile(altered, (0.3, -0.35, 0.85))
    bone = np.flatnonzero(hu > 600)
    middle = int(bone[[0, -1]].mean())
    assert hu[bone[0] : middle].max() == pytest.approx(ALTERED.cortical_hu, rel=0.15)
    assert hu[middle : bone[-1]].max() == pytest.approx(ALTERED.cortical_hu, rel=0.15)
    assert hu[middle - 5 : middle + 5].mean() == pytest.approx(ALTERED.diploe_hu, rel=0.45)


def test_soft_tissue_and_bone_lie_in_their_ranges(quiet: Image) -> None:
    brain = quiet.sample(np.random.default_rng(0).uniform([-35, -50, 30], [35, 35, 55], (500, 3)))
    assert 28 < brain.mean() < 40
    assert brain.min() > 0
    assert brain.max() < 70
    assert quiet.array.max() < 1.15 * QUIET.cortical_hu


def test_a_suture_opens_with_its_width(quiet: Image) -> None:
    closed = head_ct(replace(QUIET, suture_mm=0), spacing_mm=2)
    assert (quiet.array > 900).sum() < (closed.array > 900).sum()


def test_the_frontal_sinus_holds_air(quiet: Image, altered: Image) -> None:
    def air_mm3(ct: Image) -> float:
        low, high = ct.world_to_index([-30, 60, -6]), ct.world_to_index([30, 110, 25])
        part = ct.crop(low, high).array
        skin = np.maximum.accumulate(part[:, ::-1] > -300, axis=1)[:, ::-1]  # behind the skin
        return float((skin & (part < -500)).sum() * ct.spacing_mm.prod())

    assert air_mm3(quiet) > 1000
    assert air_mm3(altered) == 0


def test_upright_with_the_nose_in_front_and_the_vertex_on_top(sample: Image) -> None:
    head = sample.array > -300
    voxels = np.argwhere(head)
    tip = sample.index_to_world(voxels[voxels[:, 1].argmax()])
    assert abs(tip[0]) < 5
    assert -70 < tip[2] < -20
    assert head[:, :, 0].any()  # the neck goes on
    top = sample.index_to_world(voxels[voxels[:, 2].argmax()])
    assert abs(top[0]) < 40
    assert top[2] > 80


def test_what_is_flat_on_the_right_is_flat_on_the_right(altered: Image) -> None:
    right, left = (profile(altered, (side * 0.55, -0.8, 0.25)) for side in (1, -1))
    outer = [r[hu > 600].max() for r, hu in (right, left)]
    assert outer[1] - outer[0] == pytest.approx(10, abs=2.5)


@pytest.mark.usefixtures("light_head")
def test_a_focus_head_is_found_in_the_sample(sample: Image) -> None:
    assert sample.spacing_mm.tolist() == [1, 1, 1]
    head = Head.from_image(sample)
    assert head.warnings == ()
    r, hu = profile(sample, (0, 0, 1))
    vertex = r[hu > -300].max()
    assert head.distance_mm([0, 0, vertex + 20]) == pytest.approx(20, abs=2)
    assert np.linalg.norm(head.centre_mm - [0, -10, 15]) < 40


def test_random_heads_keep_to_the_ranges_and_differ() -> None:
    specs = [random_spec(seed) for seed in range(200)]
    assert random_spec(7) == specs[7]
    assert len(set(specs)) == 200
    for name, (low, high) in RANGES.items():
        values = np.array([getattr(spec, name) for spec in specs])
        assert (low <= values).all()
        assert (values <= high).all()
        assert np.ptp(values) > 0.4 * (high - low), name
    thick = np.array([(spec.frontal_mm, spec.occipital_mm) for spec in specs])
    assert np.corrcoef(thick.T)[0, 1] > 0.3


@pytest.mark.usefixtures("light_head")
def test_a_random_head_is_a_head(random: Image) -> None:
    head = Head.from_image(random)
    assert head.distance_mm(head.centre_mm) < -40


def test_the_extremes_can_be_made() -> None:
    for pick in (0, 1):
        spec = HeadSpec(**{name: limits[pick] for name, limits in RANGES.items()})
        ct = head_ct(spec, spacing_mm=4)
        assert (ct.array > 500).any()
        assert (ct.array[:, :, -1] < -900).all()


def test_parameters_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="temporal_mm must be between"):
        HeadSpec(temporal_mm=0.5)
    with pytest.raises(ValueError, match="spacing_mm must be between"):
        head_ct(HeadSpec(), spacing_mm=0.1)


def test_jitter_makes_the_two_sides_differ() -> None:
    def lopsided(jitter: float) -> float:
        bone = head_ct(replace(QUIET, jitter=jitter), spacing_mm=4).array > 500
        return float((bone ^ bone[::-1]).sum() / bone.sum())

    assert lopsided(1) > 1.5 * lopsided(0)


@pytest.mark.parametrize(("surroundings", "soft_hu"), [("water", 0), ("air", -1000)])
def test_a_bare_skull_stands_in_water_or_air(surroundings: str, soft_hu: int) -> None:
    ct = head_ct(replace(QUIET, surroundings=surroundings), spacing_mm=4)
    assert ct.sample([0.0, 0.0, 20.0]) == pytest.approx(soft_hu, abs=1)
    assert ct.array[0, 0, -1] == pytest.approx(soft_hu, abs=1)
    assert (ct.array > 600).any()


def test_a_pseudo_ct_has_one_value_for_all_soft_tissue() -> None:
    ct = head_ct(replace(QUIET, surroundings="flat"), spacing_mm=4)
    brain = ct.sample(np.random.default_rng(0).uniform([-35, -50, 0], [35, 35, 55], (500, 3)))
    assert np.ptp(brain) <= 1


def test_a_burr_hole_and_a_bone_flap_open_the_vault(quiet: Image) -> None:
    def opened_mm3(**surgery: float) -> float:
        missing = (quiet.array > 500) & (head_ct(replace(QUIET, **surgery), spacing_mm=2).array < 500)
        return float(missing.sum() * 8)

    assert opened_mm3(burr_hole_mm=14) == pytest.approx(np.pi * 7**2 * QUIET.parietal_mm, rel=0.5)
    # a circle of 22 to 40 mm in radius, about 2 mm wide
    assert 0.4 * 2 * np.pi * 22 * 2 * 5 < opened_mm3(bone_flap_mm=2) < 1.6 * 2 * np.pi * 40 * 2 * 7


def test_thick_slices_blur_along_the_body_axis_only(quiet: Image) -> None:
    def steepest(ct: Image, direction: tuple[float, float, float]) -> float:
        return float(np.abs(np.gradient(profile(ct, direction)[1], 0.1)).max())

    thick = head_ct(replace(QUIET, slice_mm=6), spacing_mm=2)
    assert steepest(thick, (0, 0, 1)) < 0.75 * steepest(quiet, (0, 0, 1))
    assert steepest(thick, (1, 0, 0.02)) > 0.85 * steepest(quiet, (1, 0, 0.02))


def test_a_slice_is_the_average_over_its_thickness() -> None:
    ramp = np.tile(np.arange(30, dtype=np.float32), (2, 2, 1))
    assert np.allclose(_sliced(ramp, 2.5)[..., 3:-3], ramp[..., 3:-3], atol=0.05)
    comb = np.where(np.arange(30) % 5 == 2, 100, 0).astype(np.float32) * np.ones((2, 2, 1), np.float32)
    assert np.allclose(_sliced(comb, 5), 20, atol=1e-2)


def test_a_sharp_kernel_overshoots(quiet: Image) -> None:
    sharp = head_ct(replace(QUIET, sharpening=1.5), spacing_mm=2).array
    assert sharp.max() > quiet.array.max() + 100
    assert sharp.min() < -1000


def test_random_heads_are_of_every_kind() -> None:
    specs = [random_spec(seed) for seed in range(400)]
    kinds = [spec.surroundings for spec in specs]
    assert all(0.03 < kinds.count(kind) / 400 < 0.15 for kind in ("flat", "water", "air"))
    operated = np.mean([spec.burr_hole_mm > 0 or spec.bone_flap_mm > 0 for spec in specs])
    assert 0.02 < operated < 0.1
    ratio = np.array([spec.diploe_hu / spec.cortical_hu for spec in specs])
    assert np.percentile(ratio, 5) < 0.2
    assert np.percentile(ratio, 95) > 0.85


def test_surroundings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="surroundings must be one of tissue, flat, water, air"):
        HeadSpec(surroundings="oil")


def test_a_warp_of_nothing_moves_nothing_and_keeps_rods_joined() -> None:
    rods = Rod((10, 0, 0), (20, 5, 0), 3, 4), Rod((20, 5, 0), (25, 9, 3), 3, 4)
    still, moved = (Warp.draw(np.random.default_rng(1), amount).shapes(rods) for amount in (0, 1))
    assert still == rods
    assert moved[0].stop == moved[1].start
    assert 0.1 < np.linalg.norm(np.subtract(moved[0].start, rods[0].start)) < 20
