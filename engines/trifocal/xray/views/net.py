"""A small network that tells which view a film shows, and how it was turned or mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 64
"""Rows and columns that the network sees."""

KINDS = ("frontal", "lateral")

TURNS = tuple((turn, mirror) for mirror in (False, True) for turn in (0, 90, 180, 270))
"""The eight ways to lay a film on the light box: counter-clockwise degrees, then left for right."""


@dataclass(frozen=True)
class ViewNetConfig:
    """Sizes of a `ViewNet`.

    Attributes:
        widths: Channels after each halving of the resolution.
        dropout: Before the last layer.
    """

    widths: tuple[int, ...] = (16, 24, 32, 48)
    dropout: float = 0.2


class ViewNet(nn.Module):
    """Says for each view and each of the eight ways to turn a film how likely that makes it right.

    One small convolutional network judges how much a film looks like an upright, unmirrored frontal or
    lateral one; it is asked about all eight turned copies, so that nothing has to be learned twice.
    """

    def __init__(self, config: ViewNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or ViewNetConfig()
        layers: list[nn.Module] = []
        before = 2
        for width in self.config.widths:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(4, width), nn.ReLU()]
            before = width
        side = PIXELS >> len(self.config.widths)
        layers += [nn.Flatten(), nn.Dropout(self.config.dropout), nn.Linear(before * side**2, len(KINDS))]
        self.judge = nn.Sequential(*layers)

    def forward(self, squares: Tensor) -> Tensor:
        """Logits (B, 8, 2) of `TURNS` and `KINDS` for films (B, 2, 64, 64) as `normalised` gives them.

        Logit [b, i, k]: that film b becomes an upright film of kind k by being turned by TURNS[i].
        """
        turned = torch.stack([turn(squares, *way) for way in TURNS], dim=1)  # (B, 8, 2, 64, 64)
        logits: Tensor = self.judge(turned.flatten(0, 1))
        return logits.reshape(len(squares), len(TURNS), len(KINDS))


def turn(films: Tensor, degrees: int, mirror: bool) -> Tensor:
    """Turn (..., rows, columns) counter-clockwise by a multiple of 90 degrees, then mirror left for right."""
    turned = torch.rot90(films, degrees // 90, (-2, -1))
    return turned.flip(-1) if mirror else turned


def square(film: NDArray[np.float32]) -> Tensor:
    """A film (rows, columns), NaN where it shows nothing, as (64, 64) with its proportions kept, 0 beyond."""
    rows, columns = film.shape
    values = torch.from_numpy(np.nan_to_num(film, nan=0.0).astype(np.float32))[None, None]
    scale = PIXELS / max(rows, columns)
    size = max(1, round(rows * scale)), max(1, round(columns * scale))
    if scale < 1:
        small = functional.adaptive_avg_pool2d(values, size)
    else:
        small = functional.interpolate(values, size, mode="bilinear", align_corners=False)
    top, left = (PIXELS - size[0]) // 2, (PIXELS - size[1]) // 2
    return functional.pad(small, (left, PIXELS - size[1] - left, top, PIXELS - size[0] - top))[0, 0]


def normalised(films: Tensor) -> Tensor:
    """Two pictures (B, 2, 64, 64) of each film (B, 64, 64) that do not depend on its unit.

    The line integrals over those of the dense parts, and the rank of each pixel among all: the latter stays
    the same under any curve between attenuation and grey value.
    """
    flat = films.flatten(1)
    low = torch.quantile(flat, 0.01, dim=1, keepdim=True)
    high = torch.quantile(flat, 0.97, dim=1, keepdim=True)
    scaled = ((flat - low) / (high - low).clamp(min=1e-6)).clamp(0, 1.5)
    ordered = flat.sort(dim=1).values
    below = torch.searchsorted(ordered, flat)
    upto = torch.searchsorted(ordered, flat, right=True)
    ranks = torch.where(flat <= low, 0.0, (below + upto) / (2 * flat.shape[1]))  # the same for equal values
    return torch.stack([scaled, ranks], dim=1).reshape(len(films), 2, *films.shape[1:])
