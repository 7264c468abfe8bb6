"""Self-supervised pretraining by I-JEPA (Assran et al. 2023, arXiv:2301.08243).

From the visible part of an image, the context, a predictor guesses what an encoder says about hidden blocks
of it, the targets. That encoder is the moving average of the one that is trained.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from transformers import IJepaConfig, IJepaModel
from transformers.models.ijepa.modeling_ijepa import IJepaLayer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class JepaConfig:
    """The published settings, of the predictor's size apart.

    Attributes:
        targets: Blocks to guess on each image.
        target_scale: Their area, as a fraction of the image.
        target_aspect: Their height over width.
        context_scale: Area of the visible block, from which the targets are taken out.
        momentum: Of the moving average, at the start and at the end of the run.
        predictor_width: Of the predictor's tokens; narrower than the encoder's.
        predictor_layers: Of the predictor.
        predictor_heads: Of its attention.
    """

    targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    momentum: tuple[float, float] = (0.996, 1.0)
    predictor_width: int = 96
    predictor_layers: int = 3
    predictor_heads: int = 3


def sample_masks(count: int, grid: int, config: JepaConfig) -> tuple[Tensor, Tensor]:
    """Random context and targets for a batch; random numbers are torch's own.

    As in the authors' code, blocks have one size in a batch and a place of their own on each image, and the
    contexts are cut to the length of the shortest; the patches that go are random ones here.

    Args:
        count: Images.
        grid: Patches along a side.
        config: How large and how many.

    Returns:
        (count, visible) patches of the context and (count, targets, hidden) of the targets, row by row.
    """
    height, width = _block_size(grid, config.target_scale, config.target_aspect)
    tall, wide = _block_size(grid, config.context_scale, (1.0, 1.0))
    targets, contexts = [], []
    for _ in range(count):
        while True:
            blocks = torch.stack([_block(grid, height, width) for _ in range(config.targets)])
            visible = torch.zeros(grid * grid, dtype=torch.bool)
            visible[_block(grid, tall, wide)] = True
            visible[blocks.flatten()] = False
            if visible.any():
                break
        targets.append(blocks)
        contexts.append(visible.nonzero()[:, 0])
    shortest = min(map(len, contexts))
    kept = [c[torch.randperm(len(c))[:shortest].sort().values] for c in contexts]
    return torch.stack(kept), torch.stack(targets)


def _block_size(grid: int, scale: tuple[float, float], aspect: tuple[float, float]) -> tuple[int, int]:
    low, high = scale
    area = (low + (high - low) * torch.rand(()).item()) * grid**2
    low, high = aspect
    ratio = low + (high - low) * torch.rand(()).item()
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return min(max(height, 1), grid), min(max(width, 1), grid)


def _block(grid: int, height: int, width: int) -> Tensor:
    """(height * width,) patches of a block at a random place."""
    top = int(torch.randint(grid - height + 1, ()))
    left = int(torch.randint(grid - width + 1, ()))
    patches = torch.arange(grid * grid).view(grid, grid)
    return patches[top : top + height, left : left + width].flatten()


def sincos_positions(grid: int, width: int) -> Tensor:
    """(1, grid * grid, width) fixed position embeddings: sines and cosines of the row, then of the column.

    As in I-JEPA and MAE (He et al. 2022, arXiv:2111.06377): half of the channels for each axis, frequencies
    from 1 to 1/10000 in geometric steps.
    """
    quarter = -(-width // 4)
    rate = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    phase = torch.arange(grid, dtype=torch.float64)[:, None] * rate
    axis = torch.cat([phase.sin(), phase.cos()], 1)  # (grid, width / 2)
    rows, columns = axis[:, None].expand(-1, grid, -1), axis[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)[None, :, :width].float()


class Jepa(nn.Module):
    """Encoder, its moving average and the predictor; computes the loss.

    Attributes:
        encoder: Trained.
        target: Moving average of the encoder; what is used afterwards.
    """

    done: Tensor

    def __init__(self, encoder: IJepaModel, config: JepaConfig, steps: int) -> None:
        """Begin with a target that is the encoder.

        Args:
            encoder: transformers' model; its position embeddings are set to sines and cosines and stay so.
            config: Of the method.
            steps: After which the momentum has come to its end.
        """
        super().__init__()
        self.config, self.steps = config, max(steps, 1)
        grid = math.isqrt(encoder.embeddings.patch_embeddings.num_patches)
        places = encoder.embeddings.position_embeddings
        places.data.copy_(sincos_positions(grid, places.shape[-1]))
        places.requires_grad_(False)
        self.encoder = encoder
        self.target = copy.deepcopy(encoder).requires_grad_(False)
        attention = str(encoder.config._attn_implementation)
        self.predictor = _Predictor(encoder.config.hidden_size, grid, config, attention)
        self.register_buffer("done", torch.tensor(0))

    def forward(self, images: Tensor, context: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Guess the targets from the context.

        Args:
            images: (B, 3, side, side), normalised.
            context: (B, visible) patches, as `sample_masks` gives them.
            targets: (B, T, hidden) patches.

        Returns:
            loss: Smooth L1 distance to the target encoder's tokens, each normalised over its channels.
            spread: Standard deviation of these tokens over the images, at the same place. It would be 1 if
                tokens were all about the image, and nears 0 in a collapse, when they only tell their place.
        """
        if self.training:
            self._follow()
        with torch.no_grad():
            tokens = encode(self.target, images).float()
            wanted = functional.layer_norm(tokens, tokens.shape[-1:])
            spread = wanted.std(0, correction=0).mean()
            wanted = _gather(wanted, targets.flatten(1)).view(*targets.shape, -1)
        guessed = self.predictor(encode(self.encoder, images, context), context, targets)
        return {
            "loss": functional.smooth_l1_loss(guessed.float(), wanted),
            "spread": spread,
        }

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the target towards the encoder, at the start of the step that follows an update of it."""
        first, last = self.config.momentum
        momentum = first + (last - first) * min(float(self.done) / self.steps, 1.0)
        for mean, new in zip(self.target.parameters(), self.encoder.parameters(), strict=True):
            mean.lerp_(new, 1 - momentum)
        self.done += 1


class _Predictor(nn.Module):
    """A narrow transformer: context tokens and a mask token at each hidden place -> the hidden tokens."""

    places: Tensor

    def __init__(self, hidden: int, grid: int, config: JepaConfig, attention: str) -> None:
        super().__init__()
        width = config.predictor_width
        sizes = IJepaConfig(
            hidden_size=width,
            num_attention_heads=config.predictor_heads,
            intermediate_size=4 * width,
            layer_norm_eps=1e-6,
        )
        sizes._attn_implementation = attention
        self.narrow = nn.Linear(hidden, width)
        self.mask = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.mask, std=0.02)
        self.register_buffer("places", sincos_positions(grid, width))
        self.layers = nn.ModuleList(IJepaLayer(sizes) for _ in range(config.predictor_layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, hidden)

    def forward(self, tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """(B, visible, hidden) tokens -> (B, T, hidden patches, hidden); each target block by itself."""
        count, blocks, size = targets.shape
        places = self.places.expand(count, -1, -1)
        seen = self.narrow(tokens) + _gather(places, context)
        asked = self.mask + _gather(places, targets.flatten(1)).view(count * blocks, size, -1)
        # (B, visible, width) -> (B T, visible, width): every block of an image sees the same context
        x = torch.cat([seen.repeat_interleave(blocks, 0), asked.to(seen.dtype)], 1)
        for layer in self.layers:
            x = layer(x)
        hidden: Tensor = self.widen(self.norm(x[:, -size:]))
        return hidden.view(count, blocks, size, -1)


def encode(model: IJepaModel, images: Tensor, patches: Tensor | None = None) -> Tensor:
    """Tokens (B, n, hidden) of images (B, 3, side, side), or of patches (B, n) that alone are seen."""
    tokens: Tensor = model.embeddings(images)
    if patches is not None:
        tokens = _gather(tokens, patches)
    for layer in model.layers:
        tokens = layer(tokens)
    normed: Tensor = model.layernorm(tokens)
    return normed


def _gather(tokens: Tensor, patches: Tensor) -> Tensor:
    """(B, N, C) at (B, n) -> (B, n, C)."""
    return tokens.gather(1, patches[..., None].expand(-1, -1, tokens.shape[-1]))
