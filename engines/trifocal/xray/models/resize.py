"""Volumes brought to another number of voxels over the same box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import adaptive_avg_pool3d, interpolate

if TYPE_CHECKING:
    from torch import Tensor


def resized(x: Tensor, size: tuple[int, int, int]) -> Tensor:
    """(B, C, x, y, z) -> (B, C, *size) over the same box: means where it gets coarser, else linear.

    Only sizes count, never a fixed factor: the faces of both grids coincide whether they divide or not.
    """
    now = (x.shape[2], x.shape[3], x.shape[4])
    smaller = (min(now[0], size[0]), min(now[1], size[1]), min(now[2], size[2]))
    if smaller != now:
        x = adaptive_avg_pool3d(x, smaller)
    return x if smaller == size else interpolate(x, size, mode="trilinear", align_corners=False)


def token_grid(size: tuple[int, int, int], patch: int, most: int) -> tuple[int, int, int]:
    """Tokens along each axis of a volume: one for `patch` voxels, rounded up, but at most `most`."""
    x, y, z = (min(-(-n // patch), most) for n in size)
    return x, y, z
