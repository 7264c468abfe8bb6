"""What the compact network is to answer for points and ellipses, and how far it is from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from trifocal.keypoints.network import STRIDE

if TYPE_CHECKING:
    from torch import Tensor

SPREAD = 1.2
"""Standard deviation of the Gaussian around a point, in cells of the heat map."""

EDGE = 0.7
"""Length over which the probability of an inside goes from 0.5 to 0.73 at its outline, in cells."""


def gaussian_maps(points: Tensor, shape: tuple[int, int]) -> Tensor:
    """Distributions around points.

    Args:
        points: (N, 2) x, y in network pixels.
        shape: (h, w) cells of the heat map.

    Returns:
        (N, h * w), each sums to 1 (also where a part of it lies outside).
    """
    cells = (points + 0.5) / STRIDE - 0.5
    x = torch.arange(shape[1], device=points.device) - cells[:, :1]
    y = torch.arange(shape[0], device=points.device) - cells[:, 1:]
    squares = (y**2)[:, :, None] + (x**2)[:, None, :]
    return functional.softmax((-squares / (2 * SPREAD**2)).flatten(1), dim=1)


def inside_maps(ellipses: Tensor, shape: tuple[int, int]) -> Tensor:
    """Soft insides of ellipses.

    Args:
        ellipses: (N, 2, 3): columns are the centre and two conjugate half-diameters, in network pixels.
        shape: (h, w) cells of the map.

    Returns:
        (N, h, w) from 0 outside to 1 inside, 0.5 on the outline.
    """
    y, x = torch.meshgrid(
        torch.arange(shape[0], device=ellipses.device),
        torch.arange(shape[1], device=ellipses.device),
        indexing="ij",
    )
    cells = (torch.stack([x, y]).flatten(1) + 0.5) * STRIDE - 0.5  # (2, h w) network pixels
    unit = torch.linalg.solve(ellipses[:, :, 1:], cells[None] - ellipses[:, :, :1])
    radius = unit.norm(dim=1).clamp_min(1e-6)  # 1 on the outline
    # distance along the ray from the centre: |p| (1 - 1 / r), near the outline
    reach = (cells[None] - ellipses[:, :, :1]).norm(dim=1) / radius
    return torch.sigmoid((1 - radius) * reach / (EDGE * STRIDE)).reshape(-1, *shape)


def losses(
    heat: Tensor, outline: Tensor, channels: Tensor, rows: Tensor, points: Tensor, partners: Tensor,
    ellipses: Tensor, ellipse_channels: Tensor, ellipse_rows: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """Cross-entropy of heat maps, binary cross-entropy and Dice (Milletari et al. 2016) of insides.

    Args:
        heat: (B, 60, h, w) logits.
        outline: (B, 2, h, w) logits.
        channels: (N,) heat map of each point.
        rows: (N,) image of each point.
        points: (N, 2) network pixels.
        partners: (N,) the point that each may change places with, whichever way the loss is lower; itself if
            the order is clear.
        ellipses: (M, 2, 3) as in `inside_maps`.
        ellipse_channels: (M,) outline channel of each ellipse.
        ellipse_rows: (M,) image of each ellipse.

    Returns:
        The loss and its two parts; zero where the maps are the targets.
    """
    shape = heat.shape[-2:]
    logits = heat[rows, channels].float().flatten(1)
    target = gaussian_maps(points, (shape[0], shape[1]))
    entropy = -(target * torch.log(target.clamp_min(1e-12))).sum(1)
    found = functional.log_softmax(logits, dim=1)
    straight = -(target * found).sum(1) - entropy
    crossed = -(target[partners] * found).sum(1) - entropy[partners]
    # both ends of a pair have the same sum, so that they choose the same way
    point = (torch.minimum(straight + straight[partners], crossed + crossed[partners]) / 2).mean()
    total = {"point": point}
    if len(ellipses):
        wanted = inside_maps(ellipses, (shape[0], shape[1])).to(logits.dtype)
        got = outline[ellipse_rows, ellipse_channels].float()
        cross = functional.binary_cross_entropy_with_logits(got, wanted, reduction="none").mean((1, 2))
        floor = functional.binary_cross_entropy(wanted, wanted, reduction="none").mean((1, 2))
        area = torch.sigmoid(got)
        dice = 1 - 2 * (area * wanted).sum((1, 2)) / ((area**2).sum((1, 2)) + (wanted**2).sum((1, 2)) + 1)
        total["outline"] = (cross - floor).mean() * 4 + dice.mean() * 4
    else:
        total["outline"] = heat.sum() * 0
    return {"loss": total["point"] + total["outline"], **total}
