"""The compact network of the keypoints engine: a grey image in; heat maps and outlines of all tasks out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor

CANVAS = (224, 320)
"""Rows and columns of the network's input; ultrasound frames are about as wide."""

STRIDE = 4
"""Network pixels per cell of the heat maps and outlines."""


def heat_channels(task_id: str) -> slice:
    """The heat maps of a task among those of all tasks."""
    start = 0
    for task in TASKS.values():
        if task.id == task_id:
            return slice(start, start + task.count)
        start += task.count
    msg = f"the task must be one of {', '.join(TASKS)}, got {task_id!r}"
    raise ValueError(msg)


OUTLINED = tuple(task.id for task in TASKS.values() if task.ellipse)
"""Tasks whose anatomy has an elliptic outline, in the order of the outline channels."""


@dataclass(frozen=True)
class CompactConfig:
    """Size of the network.

    Attributes:
        widths: Channels at strides 2, 4, 8, 16 and 32; multiples of 16 are fast on a CPU.
        blocks: Residual blocks on each of these levels, on the way down.
    """

    widths: tuple[int, ...] = (16, 48, 96, 160, 192)
    blocks: tuple[int, ...] = (0, 1, 2, 2, 2)

    def __post_init__(self) -> None:
        if not 3 <= len(self.widths) <= 5 or len(self.widths) != len(self.blocks) or min(self.widths) < 1:
            msg = f"widths and blocks must be of 3 to 5 levels each, got {self.widths} and {self.blocks}"
            raise ValueError(msg)


class Residual(nn.Module):
    """Two 3x3 convolutions and what came in (He et al. 2016, fig. 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = _convolution(width, width, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return functional.relu(x + self.second(self.first(x)))


class CompactNetwork(nn.Module):
    """A residual encoder, and a decoder that adds the levels up again (feature pyramid, Lin et al. 2017)."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = _convolution(1, widths[0], stride=2, size=5)
        down = []
        for level, (width, blocks) in enumerate(zip(widths, config.blocks, strict=True)):
            shrink = [_convolution(widths[level - 1], width, stride=2)] if level else []
            down.append(nn.Sequential(*shrink, *(Residual(width) for _ in range(blocks))))
        self.down = nn.ModuleList(down)
        # the finest level is not decoded: a point lies within a tenth of a cell of four pixels all the same
        pairs = list(pairwise(widths[1:]))
        self.lateral = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_convolution(fine, fine) for fine, _ in pairs)
        self.last = _convolution(widths[1], widths[1])
        self.heat = nn.Conv2d(widths[1], sum(task.count for task in TASKS.values()), 1)
        self.outline = nn.Conv2d(widths[1], len(OUTLINED), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Grey images to logits.

        Args:
            x: (B, 1, H, W) grey, 0 to 1; H and W multiples of 32.

        Returns:
            (B, 60, H / 4, W / 4) heat maps of all tasks (a softmax over each gives where its point is), and
            (B, 2, H / 4, W / 4) insides of the outlines (a sigmoid gives the probability).
        """
        # channels last is the layout that convolutions are fast in
        x = self.stem((x - 0.2) / 0.2).contiguous(memory_format=torch.channels_last)
        levels = []
        for down in self.down:
            x = down(x)
            levels.append(x)
        for finer, lateral, merge in zip(levels[-2:0:-1], self.lateral[::-1], self.merge[::-1], strict=True):
            x = functional.interpolate(lateral(x), scale_factor=2.0, mode="bilinear")
            x = merge(x + finer)
        x = self.last(x)
        return self.heat(x), self.outline(x)


def _convolution(
    inputs: int, outputs: int, *, stride: int = 1, size: int = 3, active: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if active else []))


@dataclass(frozen=True)
class Canvas:
    """How a frame lies on the network's input: scaled alike in x and y, in the middle, black around.

    Attributes:
        size: (columns, rows) of the frame.
    """

    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """Network pixels per pixel of the frame."""
        return min(CANVAS[1] / self.size[0], CANVAS[0] / self.size[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) that the frame gets on the canvas."""
        width, height = self.size
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    @property
    def affine(self) -> Tensor:
        """(2, 3) float64, pixel of the frame -> network pixel, both with whole numbers at pixel centres."""
        rows, columns = self.shape
        sx, sy = columns / self.size[0], rows / self.size[1]
        left, top = (CANVAS[1] - columns) // 2, (CANVAS[0] - rows) // 2
        return torch.tensor(
            [[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5]], dtype=torch.float64
        )

    def place(self, frame: Tensor) -> Tensor:
        """(rows, columns) grey 0 to 1 -> (224, 320), filtered where it shrinks."""
        rows, columns = self.shape
        small = functional.interpolate(
            frame[None, None].float(), (rows, columns), mode="bilinear", antialias=True
        )
        left, top = (CANVAS[1] - columns) // 2, (CANVAS[0] - rows) // 2
        return functional.pad(small[0, 0], (left, CANVAS[1] - columns - left, top, CANVAS[0] - rows - top))
