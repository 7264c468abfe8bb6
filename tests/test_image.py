from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from trifocal.image import Image, ImageError

SMALL = st.floats(-200.0, 200.0, allow_nan=False)


def oblique(spacing=(0.5, 0.7, 1.3), origin=(10.0, -20.0, 30.0), angles=(10.0, 20.0, 30.0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def linear(shape=(6, 7, 8), affine=None):
    """Values that are a linear function of the world, so that interpolation is exact."""
    affine = oblique() if affine is None else affine
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return Image((world @ [1.0, 2.0, 3.0]).astype(np.float32), affine, "HU")


@settings(max_examples=100, deadline=None)
@given(
    arrays(float, (5, 3), elements=SMALL),
    arrays(float, 3, elements=SMALL),
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.05, 10)] * 3),
)
def test_world_and_index_are_each_others_inverse(index, origin, angles, spacing):
    image = Image(np.zeros((2, 2, 2)), oblique(spacing, origin, angles))
    np.testing.assert_allclose(image.world_to_index(image.index_to_world(index)), index, atol=1e-6)


def test_index_maps_through_the_affine():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 1.0, 2.0, 3.0
    image = Image(np.zeros((3, 4, 5)), affine)
    np.testing.assert_allclose(image.index_to_world([1, 1, 1]), [3.0, 5.0, 7.0])
    np.testing.assert_allclose(image.bounds_mm, [[1.0, 2.0, 3.0], [5.0, 11.0, 19.0]])
    np.testing.assert_allclose(image.spacing_mm, [2.0, 3.0, 4.0])
    assert image.shape == (3, 4, 5)


def test_axis_aligned_allows_flips_but_no_rotation_and_no_shear():
    sheared = np.eye(4)
    sheared[1, 2] = 0.1
    assert Image(np.zeros((2, 2, 2)), np.diag([-1.0, -2.0, 3.0, 1.0])).is_axis_aligned
    assert not Image(np.zeros((2, 2, 2)), oblique()).is_axis_aligned
    assert not Image(np.zeros((2, 2, 2)), sheared).is_axis_aligned


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 2, 2), (0, 2, 2)])
def test_an_array_that_is_no_volume_is_refused(shape):
    with pytest.raises(ImageError, match="must be 3-D and not empty"):
        Image(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize(
    ("affine", "sentence"),
    [
        (np.full((4, 4), np.nan), "must be a finite"),
        (np.eye(3), "must be a finite"),
        (np.diag([1.0, 1.0, 0.0, 1.0]), "must be invertible"),
        (np.ones((4, 4)) + np.eye(4), "must be invertible"),
    ],
)
def test_an_affine_that_places_nothing_is_refused(affine, sentence):
    with pytest.raises(ImageError, match=sentence):
        Image(np.zeros((2, 2, 2)), affine)


def test_the_affine_cannot_be_changed_behind_the_images_back():
    affine = np.eye(4)
    image = Image(np.zeros((2, 2, 2)), affine)
    affine[0, 0] = 5.0
    assert image.affine[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        image.affine[0, 0] = 5.0


def test_sampling_is_exact_on_a_linear_field_and_fills_outside():
    image = linear()
    points = image.index_to_world(np.random.default_rng(0).uniform(0, 5, (20, 3)))
    np.testing.assert_allclose(image.sample(points), points @ [1.0, 2.0, 3.0], rtol=1e-4)
    assert image.sample(image.index_to_world([-3, 0, 0]), fill=-1000.0) == -1000.0


def test_a_crop_keeps_every_voxel_where_it_was():
    image = linear()
    part = image.crop((1, 2, 3), (4, 100, 6))
    assert part.shape == (3, 5, 3)
    np.testing.assert_allclose(part.index_to_world([0, 0, 0]), image.index_to_world([1, 2, 3]))
    assert part.array[0, 0, 0] == image.array[1, 2, 3]


def test_an_empty_crop_is_refused():
    with pytest.raises(ImageError, match="leaves nothing"):
        linear().crop((3, 3, 3), (3, 9, 9))


def test_resampling_is_exact_on_a_linear_field():
    image = linear((12, 12, 12))
    target = np.eye(4)
    target[:3, 3] = image.index_to_world([5, 5, 5])
    out = image.resample(target, (2, 2, 2))
    expected = linear((2, 2, 2), target)
    np.testing.assert_allclose(out.array, expected.array, rtol=1e-4)
    np.testing.assert_array_equal(out.affine, target)
    assert out.unit == "HU"


def test_the_hash_follows_voxels_affine_and_type_but_not_the_memory_layout():
    image = linear()
    moved = image.affine.copy()
    moved[0, 3] += 0.001
    changed = image.array.copy()
    changed[0, 0, 0] += 1
    assert Image(np.asfortranarray(image.array), image.affine).sha256 == image.sha256
    others = [
        Image(image.array, moved),
        Image(changed, image.affine),
        Image(image.array.astype(float), image.affine),
    ]
    assert len({image.sha256, *(other.sha256 for other in others)}) == 4
