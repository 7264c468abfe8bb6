"""From the compact network's maps to points and outlines on the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from trifocal.keypoints.augment import inverse
from trifocal.keypoints.ellipse import Ellipse, ellipse_of_mask
from trifocal.keypoints.network import CANVAS, STRIDE, Canvas

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

WINDOW = 3
"""Cells on each side of the highest one that its point is averaged over."""


def decode_points(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Highest cell of each map, then the mean position of the probability around it.

    A mean over the whole map would lie between two candidates where the network cannot choose.

    Args:
        heat: (..., h, w) probabilities, each map sums to 1.

    Returns:
        (..., 2) x, y in network pixels, and (...) the probability within the window, 0 to 1.
    """
    *lead, height, width = heat.shape
    flat = heat.reshape(-1, height, width)
    best = flat.flatten(1).argmax(1)
    y, x = best // width, best % width
    steps = torch.arange(-WINDOW, WINDOW + 1, device=heat.device)
    padded = functional.pad(flat, (WINDOW,) * 4)
    rows = (y[:, None] + steps + WINDOW)[:, :, None]
    columns = (x[:, None] + steps + WINDOW)[:, None, :]
    near = padded[torch.arange(len(flat), device=heat.device)[:, None, None], rows, columns]
    mass = near.sum((1, 2))
    share = near / mass[:, None, None]
    cell_x = x + (share.sum(1) * steps).sum(1)
    cell_y = y + (share.sum(2) * steps).sum(1)
    points = (torch.stack([cell_x, cell_y], -1).double() + 0.5) * STRIDE - 0.5
    return points.reshape(*lead, 2), mass.clamp(max=1).reshape(lead)


def to_frame(points: NDArray[np.float64], affine: Tensor) -> NDArray[np.float64]:
    """Network pixels (..., 2) to pixels of the frame by the affine frame -> network (2, 3)."""
    back = inverse(affine[None])[0].numpy()
    moved: NDArray[np.float64] = points @ back[:, :2].T + back[:, 2]
    return moved


def decode_outline(inside: NDArray[np.float32], affine: Tensor, level: float = 0.5) -> Ellipse | None:
    """The ellipse around where the probability is above a level.

    Args:
        inside: (h, w) probabilities.
        affine: (2, 3) frame -> network pixels (the same scale along x and y, to a pixel's rounding).
        level: Of the contour.

    Returns:
        In pixels of the frame; None where there is no such region.
    """
    found = ellipse_of_mask(inside, level)
    if found is None:
        return None
    ends = (found.axis_ends() + 0.5) * STRIDE - 0.5
    return ellipse_from_conjugate(to_frame(ends, affine))


def ellipse_from_conjugate(ends: NDArray[np.float64]) -> Ellipse:
    """The ellipse whose conjugate diameters end in (4, 2) points: what an affine makes of axes."""
    x, y = ends.mean(axis=0)
    halves = np.stack([ends[1] - ends[0], ends[3] - ends[2]], axis=1) / 2
    directions, lengths, _ = np.linalg.svd(halves)
    angle = float(np.rad2deg(np.arctan2(directions[1, 0], directions[0, 0])) % 180.0)
    return Ellipse((float(x), float(y)), (float(lengths[0]), float(lengths[1])), angle % 180.0)


def frame_heat(heat: Tensor, canvas: Canvas) -> NDArray[np.float32]:
    """Heat maps for the eye: (K, h, w) probabilities -> (rows, columns) of the frame, 0 to 1.

    Each map is scaled to its own peak; where they overlap the highest counts.
    """
    scaled = (heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)).amax(0)
    full = functional.interpolate(scaled[None, None], CANVAS, mode="bilinear")[0, 0]
    rows, columns = canvas.shape
    left, top = (CANVAS[1] - columns) // 2, (CANVAS[0] - rows) // 2
    inner = full[top : top + rows, left : left + columns]
    size = (canvas.size[1], canvas.size[0])
    return functional.interpolate(inner[None, None], size, mode="bilinear")[0, 0].numpy()
