"""Body, lungs and bone of a CT by thresholds: where errors are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BODY_HU = -500.0
"""Half way between air and water: where the skin is, and the surface of a lung."""
BONE_HU = 200.0
"""Above vessels with little contrast; spongy bone of coarse voxels lies below it."""
_THIN_MM = 6.0
"""Half the thickness up to which something outside is a table, a blanket or a tube."""
_LEAST_LUNG_ML = 50.0


def body_mask(hu: NDArray[np.float32], spacing_mm: ArrayLike) -> NDArray[np.bool_]:
    """The patient: the largest thick piece above -500 HU, with what air it encloses in each axial slice.

    Args:
        hu: (i, j, k) along the world axes x, y, z (see `reoriented`).
        spacing_mm: (3,) of the voxels.

    Returns:
        (i, j, k); without the table and other thin things, all false if there is nothing.
    """
    solid = hu > BODY_HU
    # seen from a face of the box the patient goes on: what is repeated there is not eroded
    thick = _opened(solid, spacing_mm)
    labels, count = ndimage.label(thick)
    if not count:
        return np.zeros(hu.shape, bool)
    body = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled: NDArray[np.bool_] = np.stack([_filled(body[:, :, k]) for k in range(hu.shape[2])], axis=2)
    return filled


def lung_mask(hu: NDArray[np.float32], body: NDArray[np.bool_], spacing_mm: ArrayLike) -> NDArray[np.bool_]:
    """Air within the body, in pieces of 50 ml and more; a stomach or bowel full of gas counts too.

    Args:
        hu: (i, j, k).
        body: (i, j, k); a voxel at its outline may be air for a misplaced skin and does not count.
        spacing_mm: (3,) of the voxels.
    """
    inside = ndimage.binary_erosion(body, border_value=1)
    labels, _ = ndimage.label((hu < BODY_HU) & inside)
    sizes = np.bincount(labels.ravel()) * float(np.prod(np.asarray(spacing_mm))) / 1000
    sizes[0] = 0
    lungs: NDArray[np.bool_] = (sizes >= _LEAST_LUNG_ML)[labels]
    return lungs


def bone_mask(hu: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is above 200 HU within the body (i, j, k): bone, but also contrast medium and metal."""
    bone: NDArray[np.bool_] = (hu > BONE_HU) & body
    return bone


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Overlap, 2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297); NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * float((one & other).sum()) / total if total else np.nan


def surface_distances(
    one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: ArrayLike
) -> NDArray[np.float64]:
    """Distances in mm from each surface voxel of either mask to the other's surface; none if one is empty."""
    if not (one.any() and other.any()):
        return np.empty(0)
    sampling = np.asarray(spacing_mm, float)
    surfaces = [mask & ~ndimage.binary_erosion(mask, border_value=1) for mask in (one, other)]
    if not all(surface.any() for surface in surfaces):
        return np.empty(0)
    far = [ndimage.distance_transform_edt(~surface, sampling=sampling) for surface in surfaces]
    return np.concatenate([far[1][surfaces[0]], far[0][surfaces[1]]])


def _opened(mask: NDArray[np.bool_], spacing_mm: ArrayLike) -> NDArray[np.bool_]:
    """Without what is thinner than about 12 mm, or 3 voxels; the faces of the box are repeated."""
    radius = [max(1, round(_THIN_MM / float(s))) for s in np.asarray(spacing_mm)]
    axes = [(np.arange(-r, r + 1) / r) ** 2 for r in radius]
    structure = np.add.outer(np.add.outer(axes[0], axes[1]), axes[2]) <= 1.0 + 1e-9
    padded = np.pad(mask, [(r, r) for r in radius], mode="edge")
    opened = ndimage.binary_opening(padded, structure)
    inner = tuple(slice(r, -r) for r in radius)
    out: NDArray[np.bool_] = opened[inner]
    return out


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return out
