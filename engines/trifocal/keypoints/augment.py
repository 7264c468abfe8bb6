"""What training does to a batch of images so that the network sees more looks than there are images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from trifocal.keypoints.network import CANVAS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How much, as half-widths of uniform distributions. All random numbers are torch's own.

    Attributes:
        turn: Degrees.
        scale: Of the natural logarithm of the size.
        aspect: Of the natural logarithm of width over height.
        shift: Of the canvas' height and width.
        mirror: Probability of a mirrored image.
        gain: Of the natural logarithm of the exponent that brightness is raised to.
        shadow: Probability of a dark wedge from the top, as behind bone or where the probe lifts off.
        blur: Probability of a blur.
        noise: Highest standard deviation of multiplied noise.
    """

    turn: float = 20.0
    scale: float = 0.22
    aspect: float = 0.10
    shift: float = 0.10
    mirror: float = 0.5
    gain: float = 0.35
    shadow: float = 0.2
    blur: float = 0.25
    noise: float = 0.2


def random_affines(count: int, how: Augmentation, canvas: tuple[int, int] = CANVAS) -> Tensor:
    """Affines of the canvas (rows, columns) onto itself: (count, 2, 3) float64, pixel -> pixel."""

    def uniform(half: float) -> Tensor:
        return (torch.rand(count, dtype=torch.float64) * 2 - 1) * half

    turn = torch.deg2rad(uniform(how.turn))
    size, aspect = uniform(how.scale).exp(), uniform(how.aspect).exp().sqrt()
    mirror = torch.where(uniform(0.5) + 0.5 < how.mirror, -1.0, 1.0)
    cos, sin = turn.cos(), turn.sin()
    sx, sy = size * aspect * mirror, size / aspect
    linear = torch.stack([torch.stack([cos * sx, -sin * sy], -1), torch.stack([sin * sx, cos * sy], -1)], -2)
    middle = torch.tensor([(canvas[1] - 1) / 2, (canvas[0] - 1) / 2], dtype=torch.float64)
    shift = torch.stack([uniform(how.shift) * canvas[1], uniform(how.shift) * canvas[0]], -1)
    offset = middle + shift - (linear @ middle[:, None])[..., 0]
    return torch.cat([linear, offset[..., None]], -1)


def inverse(affines: Tensor) -> Tensor:
    """(B, 2, 3) affines the other way."""
    linear = torch.linalg.inv(affines[..., :2])
    return torch.cat([linear, -linear @ affines[..., 2:]], -1)


def warp(images: Tensor, affines: Tensor) -> Tensor:
    """Move images (B, 1, H, W) by affines (B, 2, 3) in pixels, source -> result; black from outside."""
    height, width = images.shape[-2:]
    # grid_sample counts from -1 to 1 over the pixels' outer edges: x = (2 px + 1) / W - 1
    norm = torch.tensor([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]]).double()
    row = torch.tensor([[[0.0, 0, 1]]], dtype=torch.float64).expand(len(affines), 1, 3)
    back = torch.cat([inverse(affines), row], 1)
    theta = (norm @ back @ torch.linalg.inv(norm))[:, :2].float()
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def spoil(images: Tensor, how: Augmentation) -> Tensor:
    """Other gains, blurs, noise, shadows on images (B, 1, H, W), 0 to 1."""
    count, _, height, width = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1) * (high - low) + low).to(images.device)

    images = images.clamp(0, 1) ** uniform(-how.gain, how.gain).exp()
    rows = torch.linspace(-0.5, 0.5, height, device=images.device)[:, None]
    images = images * (1 + uniform(-0.5, 0.5) * rows) * uniform(0.75, 1.25)  # time gain, gain
    size = (height // 2, width // 2)
    grain = torch.randn(count, 1, *size).to(images.device)
    grain = functional.interpolate(grain, (height, width), mode="bilinear")
    images = images * (1 + uniform(0, how.noise) * grain)
    fine = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    fine = torch.where(uniform(0, 1) < 0.5, functional.avg_pool2d(fine, 3, 1, 1), fine)
    images = torch.where(uniform(0, 1) < how.blur, fine, images)
    columns = torch.linspace(0, 1, width, device=images.device)[None, :]
    middle, half = uniform(0, 1) + uniform(-0.3, 0.3) * (rows + 0.5), uniform(0.02, 0.12)
    wedge = torch.sigmoid(((columns - middle).abs() - half) * 60)
    wedge = wedge + (1 - wedge) * uniform(0.05, 0.6)
    images = torch.where(uniform(0, 1) < how.shadow, images * wedge, images)
    return images.clamp(0, 1)
