"""What part of a body a CT shows: chest, abdomen, or more or less, wide or cutting the sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.image import Image

# region: how often, lowest and highest start and end in z (mm, 0 = right diaphragm dome)
REGIONS: dict[str, tuple[float, tuple[float, float], tuple[float, float]]] = {
    "chest": (0.45, (-130, -50), (190, 265)),
    "abdomen": (0.25, (-390, -230), (10, 70)),
    "chest and abdomen": (0.14, (-330, -150), (180, 260)),
    "half chest": (0.10, (-110, 60), (110, 240)),
    "slab": (0.06, (-300, 100), (0, 0)),
}
LONGEST_MM = 460.0


def field_of_view(image: Image, rng: np.random.Generator, voxels: int = 64) -> tuple[Grid, str]:
    """Draw a crop of a trunk like those of CT files: a grid of cubic voxels, and the name of the region.

    The field is roughly centred on the body, from tight (cutting arms and flanks) to generous (with air).

    Args:
        image: A whole trunk, as `torso` makes it.
        rng: Of the draw.
        voxels: Along the longest edge; the others have as many or fewer.
    """
    names = list(REGIONS)
    weights = np.array([REGIONS[n][0] for n in names])
    region = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    low, high = _heights(region, rng)
    bounds = image.bounds_mm
    low, high = max(low, float(bounds[0, 2])), min(high, float(bounds[1, 2]))
    low = max(low, high - LONGEST_MM)
    center, size = _body(image, low, high)
    side = float(size[0] * rng.uniform(0.84, 1.28))
    side = float(np.clip(side, 240, LONGEST_MM))
    square = rng.random() < 0.75  # most reconstructions are square; others are cropped to the body
    depth = side if square else float(min(side, size[1] * rng.uniform(1.0, 1.3)))
    edges = np.array([side, depth, high - low])
    step = float(edges.max()) / voxels
    shape = np.clip(np.round(edges / step), 8, voxels).astype(int)
    middle = center + rng.normal(0, [7, 9, 0])
    middle[1] += 0.0 if square else -0.06 * depth * rng.random()
    i, j, k = (int(n) for n in shape)
    x, y = (float(m) for m in middle[:2])
    return Grid((i, j, k), (step,) * 3, (x, y, (low + high) / 2)), region


def _heights(region: str, rng: np.random.Generator) -> tuple[float, float]:
    """Lowest and highest z of the crop."""
    _, start, end = REGIONS[region]
    low = float(rng.uniform(*start))
    if region == "slab":
        return low, low + float(rng.uniform(60, 160))
    high = float(rng.uniform(*end))
    if region == "half chest":
        high = max(high, low + 90)
    return low, high


def _body(image: Image, low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) middle and (3,) size in mm of the body between two heights, without thin things like the table."""
    step = image.spacing_mm
    k0, k1 = (int(np.clip(round((z - image.affine[2, 3]) / step[2]), 0, image.shape[2])) for z in (low, high))
    part = np.asarray(image.array[:, :, k0 : max(k1, k0 + 1)]) > -400
    spans = []
    for axis in (0, 1):
        profile = part.mean(axis=(1 - axis, 2))
        # arms at the sides are less than half as deep as the trunk: they do not count
        inside = np.nonzero(profile > (0.45 if axis == 0 else 0.12) * profile.max())[0]
        spans.append(image.affine[axis, 3] + step[axis] * inside[[0, -1]])
    center = np.array([np.mean(spans[0]), np.mean(spans[1]), (low + high) / 2])
    return center, np.array([1.08 * np.ptp(spans[0]), np.ptp(spans[1]), high - low])
