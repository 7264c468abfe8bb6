"""Triangles for the 3-D view: the skull, the bowl with its axis, and the shell of a focal spot."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.measure import block_reduce, marching_cubes

from trifocal.focus.analysis import focal_spot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.predictor import FocusPrediction
    from trifocal.focus.transducer import Bowl

    Mesh = tuple[NDArray[np.float32], NDArray[np.int32]]

BONE_HU = 250.0  # low, since averaging over 2 mm thins the bone
SKULL_BLOCK = 3  # tissue voxels (0.75 mm) to a voxel of the skull's grid
GLASS_MM = 0.7
CLOSING = 3  # voxels of that grid
MOST_TRIANGLES = 5_000  # each costs 3 us of a frame without a GPU, twice: see `as_glass`
SHELL_THICKNESS_MM = 2.5
AXIS_RADIUS_MM = 0.6
FOCUS_RADIUS_MM = 2.0


def skull_mesh(head: Head, most_triangles: int = MOST_TRIANGLES) -> Mesh:
    """The outer surface of the skull in world mm.

    What bone encloses is filled first: the inner table would double the triangles and, seen through the
    outer one, look like patches.
    """
    hu = block_reduce(head.tissue[0].numpy(), (SKULL_BLOCK,) * 3, np.mean)
    bone = hu > BONE_HU
    closed = ndimage.binary_closing(np.pad(bone, CLOSING), iterations=CLOSING)
    closed = closed[CLOSING:-CLOSING, CLOSING:-CLOSING, CLOSING:-CLOSING] | bone
    coronal, sagittal, axial = (_fill_slices(closed, axis) for axis in (1, 0, 2))
    solid = ndimage.binary_fill_holes(axial | (coronal & sagittal))
    # A shallow opening takes away the sheets that closing has put across gaps.
    solid = ndimage.binary_opening(np.pad(solid, 1))[1:-1, 1:-1, 1:-1] | bone
    labels, _ = ndimage.label(solid)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    smooth = ndimage.gaussian_filter(np.pad(labels == sizes.argmax(), 3).astype(np.float32), 0.9)
    vertices, faces, _, _ = marching_cubes(smooth, 0.5)
    step = SKULL_BLOCK * head.spacing_mm
    world = head.origin_mm + (SKULL_BLOCK - 1) / 2 * head.spacing_mm + step * (vertices - 3)
    return decimate(world, faces, most_triangles)


def as_glass(mesh: Mesh) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """A closed surface of which a translucent drawing shows the near side only, from wherever it is seen.

    Triangles are drawn in the order in which they are stored, so that the far side would show through from
    one side of the head and not from the other. An invisible copy just inside is drawn first: it hides the
    far side, and nothing that was drawn before.

    Returns:
        Vertices, triangles, and for each vertex 0 where it is invisible and 1 where not.
    """
    vertices, faces = mesh
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normal, faces[:, corner], across)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    centre = vertices.mean(0)
    outward = np.sign(((vertices - centre) * normal).sum())
    inside = vertices - outward * GLASS_MM * normal
    return *_join((inside, faces), mesh), np.repeat(np.array([0, 1], np.float32), len(vertices))


def _fill_slices(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Fill what is enclosed in each slice across an axis."""
    slices = [ndimage.binary_fill_holes(s) for s in np.moveaxis(mask, axis, 0)]
    return np.moveaxis(np.stack(slices), 0, axis)


def decimate(vertices: NDArray[np.floating], faces: NDArray[np.integer], most_triangles: int) -> Mesh:
    """Merge the vertices within cubes, of the smallest size that leaves few enough triangles.

    Vertex clustering (Rossignac and Borrel 1993, doi 10.1007/978-3-642-78114-8_29).
    """
    cell = 0.0
    kept, corners = np.asarray(vertices, np.float64), np.asarray(faces)
    size = float(np.ptp(kept, axis=0).max()) / 150
    while len(corners) > most_triangles:
        cell = cell * 1.12 if cell else size
        _, cluster = np.unique(np.floor(vertices / cell).astype(np.int64), axis=0, return_inverse=True)
        cluster = cluster.ravel()
        count = np.bincount(cluster)
        kept = np.stack([np.bincount(cluster, vertices[:, a]) / count for a in range(3)], axis=-1)
        corners = cluster[faces]
        whole = (corners != np.roll(corners, 1, axis=1)).all(1)
        corners = corners[whole]
        _, first = np.unique(np.sort(corners, axis=1), axis=0, return_index=True)
        corners = corners[np.sort(first)]
    return kept.astype(np.float32), corners.astype(np.int32)


@lru_cache(maxsize=8)
def bowl_mesh(bowl: Bowl) -> Mesh:
    """The bowl as a thin shell, its beam axis and a ball at the geometric focus, in the bowl's frame (mm)."""
    inner, faces = bowl.mesh(8, 40)
    centre = np.array([0, 0, bowl.radius_of_curvature_mm])
    outer = centre + (inner - centre) * (1 + SHELL_THICKNESS_MM / bowl.radius_of_curvature_mm)
    n = len(inner)
    rim = np.arange(n - 40, n)
    after = np.roll(rim, -1)
    edge = np.concatenate([np.stack([rim, after, after + n], -1), np.stack([rim, after + n, rim + n], -1)])
    cap = np.concatenate([inner, outer]), np.concatenate([faces, faces[:, ::-1] + n, edge])
    return _join(cap, _tube(bowl.radius_of_curvature_mm), _ball(centre))


def shell_mesh(prediction: FocusPrediction, level: float = 0.5) -> Mesh:
    """The surface around the focal spot at a level of its peak, in world mm; empty if there is none."""
    start, stop = spot_range(prediction, level)
    block = tuple(map(slice, start, stop))
    field = np.where(prediction.region[block], prediction.pressure.array[block], 0)
    field = np.pad(field, 1)
    threshold = level * prediction.figures.peak_pa
    if not field.min() < threshold < field.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(field, threshold)
    world = prediction.pressure.index_to_world(vertices - 1 + start)
    return world.astype(np.float32), faces.astype(np.int32)


def spot_range(prediction: FocusPrediction, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 index (3,) of the block that holds the focal spot and 2 voxels around it."""
    spot, _ = focal_spot(prediction.pressure.array, prediction.region, level)
    start, stop = [], []
    for axis in range(3):
        along = np.flatnonzero(spot.any(tuple(a for a in range(3) if a != axis)))
        start.append(max(int(along[0]) - 2, 0))
        stop.append(min(int(along[-1]) + 3, spot.shape[axis]))
    return np.array(start), np.array(stop)


def _tube(length: float, sides: int = 8) -> Mesh:
    phi = np.arange(sides) * 2 * np.pi / sides
    ring = AXIS_RADIUS_MM * np.stack([np.cos(phi), np.sin(phi), 0 * phi], axis=-1)
    here, after = np.arange(sides), np.roll(np.arange(sides), -1)
    faces = [np.stack([here, after, after + sides], -1), np.stack([here, after + sides, here + sides], -1)]
    return np.concatenate([ring, ring + [0, 0, length]]), np.concatenate(faces)


def _ball(centre: NDArray[np.float64], rings: int = 6, sides: int = 10) -> Mesh:
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.arange(sides) * 2 * np.pi / sides
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    here = np.arange(sides)
    after = np.roll(here, -1)
    faces = []
    for r in range(rings):
        a, b = r * sides, (r + 1) * sides
        faces.append(np.stack([a + here, b + here, b + after], -1))
        faces.append(np.stack([a + here, b + after, a + after], -1))
    return centre + FOCUS_RADIUS_MM * unit.reshape(-1, 3), np.concatenate(faces)


def _join(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0, *(len(v) for v, _ in meshes)])
    vertices = np.concatenate([v for v, _ in meshes]).astype(np.float32)
    faces = np.concatenate([f + offset for (_, f), offset in zip(meshes, offsets, strict=False)])
    return vertices, faces.astype(np.int32)
