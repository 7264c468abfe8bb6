"""The 2-D encoder of a film."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class FilmEncoder(nn.Module):
    """A small pyramid of residual convolutions: one map for the volume, one vector for the whole film.

    Without batch normalisation the features of this encoder can shrink to a constant while nothing in the
    loss shows it (see `feature_stats`), so that is what it has by default.

    Attributes:
        channels: Of the map.
        pooled: Length of the vector.
    """

    def __init__(self, widths: tuple[int, int, int], channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        a, b, c = widths
        self.channels, self.pooled = channels, c
        self.level1 = nn.Sequential(_Step(1, a, 2, batch_norm=batch_norm), _Block(a, batch_norm=batch_norm))
        self.level2 = nn.Sequential(_Step(a, b, 2, batch_norm=batch_norm), _Block(b, batch_norm=batch_norm))
        self.level3 = nn.Sequential(_Step(b, c, 2, batch_norm=batch_norm), _Block(c, batch_norm=batch_norm))
        self.across3, self.across2 = nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.last = _Step(a, channels, 1, batch_norm=batch_norm)

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """Film (B, 1, rows, columns) -> map (B, channels, rows/2, columns/2) and vector (B, pooled)."""
        x1 = self.level1(film)
        x2 = self.level2(x1)
        x3 = self.level3(x2)
        x2 = x2 + interpolate(self.across3(x3), x2.shape[-2:], mode="bilinear", align_corners=False)
        x1 = x1 + interpolate(self.across2(x2), x1.shape[-2:], mode="bilinear", align_corners=False)
        return self.last(x1), x3.mean((-2, -1))


class _Step(nn.Module):
    """Convolution, normalisation (or none), activation."""

    def __init__(self, inside: int, outside: int, stride: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(outside) if batch_norm else nn.Identity()
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, h, w) -> (B, outside, h/stride, w/stride)."""
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class _Block(nn.Module):
    """x + step(step(x))."""

    def __init__(self, width: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.steps = nn.Sequential(*(_Step(width, width, 1, batch_norm=batch_norm) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """Shape stays."""
        out: Tensor = x + self.steps(x)
        return out


def averaged(maps: list[Tensor]) -> Tensor:
    """Mean over the views of (B, C, h, w): which film was which is lost (the seed's flaw)."""
    return torch.stack(maps).mean(0)
