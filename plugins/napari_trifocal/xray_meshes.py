"""Triangles of a reconstructed volume: bone, lung and skin by a threshold in HU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from napari_trifocal.meshes import decimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_trifocal.meshes import Mesh
    from trifocal.image import Image

SKIN_HU = -300.0  # half way from air to fat, softened by voxels of several mm
LUNG_HU = -450.0
BONE_HU = 200.0  # low, since averaging over a voxel of several mm thins the bone
MOST_TRIANGLES = 20_000
SMOOTHING = 0.7  # voxels: takes the steps of a mask away


def skin_mesh(ct: Image, level_hu: float = SKIN_HU, most_triangles: int = MOST_TRIANGLES) -> Mesh:
    """The outside of the body in world mm; empty where nothing is as dense as `level_hu`."""
    return _around(body_of(ct, level_hu), ct, most_triangles)


def lung_mesh(ct: Image, level_hu: float = LUNG_HU, most_triangles: int = MOST_TRIANGLES) -> Mesh:
    """What is thinner than `level_hu` within the body (lungs, airways, gas) in world mm; may be empty."""
    thin = body_of(ct) & (ct.array < level_hu)
    return _around(ndimage.binary_opening(thin), ct, most_triangles)


def bone_mesh(ct: Image, level_hu: float = BONE_HU, most_triangles: int = MOST_TRIANGLES) -> Mesh:
    """The surface of what is denser than `level_hu` in world mm; may be empty."""
    return _at_level(np.asarray(ct.array, np.float32), level_hu, -1000.0, ct, most_triangles)


def body_of(ct: Image, level_hu: float = SKIN_HU) -> NDArray[np.bool_]:
    """(i, j, k) the largest connected part denser than `level_hu`, with what it encloses in axial slices."""
    labels, count = ndimage.label(ct.array > level_hu)
    if count == 0:
        return np.zeros(ct.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = labels == sizes.argmax()
    axial = int(np.abs(ct.affine[2, :3]).argmax())
    slices = [ndimage.binary_fill_holes(s) for s in np.moveaxis(body, axial, 0)]
    return np.moveaxis(np.stack(slices), 0, axial)


def _around(mask: NDArray[np.bool_], ct: Image, most_triangles: int) -> Mesh:
    values = np.pad(mask, 2).astype(np.float32)
    return _at_level(
        ndimage.gaussian_filter(values, SMOOTHING)[2:-2, 2:-2, 2:-2], 0.5, 0.0, ct, most_triangles
    )


def _at_level(values: NDArray[np.float32], level: float, outside: float, ct: Image, most: int) -> Mesh:
    values = np.pad(values, 1, constant_values=np.float32(outside))
    if not values.min() < level < values.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(values, level)
    return decimate(ct.index_to_world(vertices - 1), faces, most)
