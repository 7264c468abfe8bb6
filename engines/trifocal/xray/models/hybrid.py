"""The seed's optimised model, with films that enter the volume along their own rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trifocal.xray.models.conditioning import HierarchicalConditioning
from trifocal.xray.models.depth_boundaries import Boundaries, DepthBoundaries, DepthModulation
from trifocal.xray.models.encoder import FilmEncoder, averaged
from trifocal.xray.models.fusion import AdaptiveFusion, PlainSum
from trifocal.xray.models.resize import resized, token_grid
from trifocal.xray.models.sandwich import SandwichTransformer

if TYPE_CHECKING:
    from trifocal.xray.models.config import XrayModelConfig
    from trifocal.xray.models.lift import Lift

_START = 8  # voxels along an axis of the learned volume that averaged views begin from


@dataclass(frozen=True, eq=False)
class HybridOutput:
    """What a `HybridNet` says, and what it saw on the way (for the losses and the figures).

    Attributes:
        density: (B, 1, X, Y, Z).
        maps: Encoder features of each view, (B, C, h, w).
        boundaries: Depth boundaries of each view; none where the views are averaged.
    """

    density: Tensor
    maps: tuple[Tensor, ...]
    boundaries: tuple[Boundaries, ...]


class HybridNet(nn.Module):
    """Films -> encoder -> lifting with depth regions -> convolutions and tokens -> fusion -> density.

    Lifting happens at the volume's own resolution, the convolutions at half of it, the transformer on a
    coarse grid of tokens; a last pair of convolutions joins them at full resolution.

    Attributes:
        config: Parts and sizes.
    """

    def __init__(self, config: XrayModelConfig) -> None:
        super().__init__()
        self.config = config
        geometric = config.geometry_lifting
        self.encoders = nn.ModuleList(
            FilmEncoder(config.film_widths, config.lifted, batch_norm=config.batch_norm)
            for _ in range(config.views if geometric else 1)
        )
        self.enter: nn.Module = _LiftedFilms(config) if geometric else _AveragedFilms(config)
        fine, local, dim = config.fine, config.local[0], config.dim
        self.down = nn.Conv3d(fine, local, 3, padding=1)
        self.conditioning = (
            HierarchicalConditioning(local, config.heads) if config.hierarchical_conditioning else None
        )
        self.branch = self._branch()
        self.tokens = nn.Linear(local, dim)
        self.transformer = SandwichTransformer(config)
        self.fusion: nn.Module = (
            AdaptiveFusion(local, dim, config.heads) if config.adaptive_fusion else PlainSum(local, dim)
        )
        self.up = nn.Conv3d(local, fine, 1)
        self.last = nn.Sequential(
            nn.GroupNorm(1, fine),
            nn.SiLU(),
            nn.Conv3d(fine, fine, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(fine, 1, 3, padding=1),
        )

    def _branch(self) -> nn.Module:
        if not self.config.cnn_branch:
            return nn.Identity()
        from trifocal.xray.models.cnn_branch import CnnBranch  # MONAI takes seconds to import

        return CnnBranch(self.config)

    def forward(self, films: Tensor, lift: Lift, previous: Tensor | None = None) -> Tensor:
        """Density (B, 1, X, Y, Z) on the lift's grid.

        Args:
            films: (B, views, rows, columns) in decimetres of water.
            lift: Views and grid.
            previous: (B, 1, X', Y', Z') density of a stage before over the same box, or none.
        """
        return self.detailed(films, lift, previous).density

    def detailed(self, films: Tensor, lift: Lift, previous: Tensor | None = None) -> HybridOutput:
        """The same, with what the encoder and the depth boundaries made of the films.

        Raises:
            ValueError: If there are not as many films as the network was made for.
        """
        if films.ndim != 4 or films.shape[1] != self.config.views or len(lift.views) != self.config.views:
            msg = (
                f"the films must be (B, {self.config.views}, rows, columns) with a lift of as many views, got"
                f" {tuple(films.shape)} and {len(lift.views)} views"
            )
            raise ValueError(msg)
        encoders = [self.encoders[i % len(self.encoders)] for i in range(self.config.views)]
        encoded = [encoder(films[:, i : i + 1]) for i, encoder in enumerate(encoders)]
        maps, vectors = [m for m, _ in encoded], [v for _, v in encoded]
        fine, boundaries = self.enter(films, maps, vectors, lift)
        return HybridOutput(self._solid(fine, previous), tuple(maps), boundaries)

    def _solid(self, fine: Tensor, previous: Tensor | None) -> Tensor:
        """From features (B, fine, X, Y, Z) to density (B, 1, X, Y, Z)."""
        size = (fine.shape[2], fine.shape[3], fine.shape[4])
        tokens = token_grid(size, self.config.patch, self.config.most_tokens)
        half = self.down(resized(fine, (-(-size[0] // 2), -(-size[1] // 2), -(-size[2] // 2))))
        if self.conditioning is not None and previous is not None:
            half = self.conditioning(half, previous, tokens)
        coarse = resized(half, tokens).permute(0, 2, 3, 4, 1)  # (B, x, y, z, local)
        fused = self.fusion(self.branch(half), self.transformer(self.tokens(coarse)))
        out: Tensor = self.last(fine + resized(self.up(fused), size))
        return out


class _LiftedFilms(nn.Module):
    """Each film's map along its own rays, told apart by depth; with the film itself and the voxel's place."""

    def __init__(self, config: XrayModelConfig) -> None:
        super().__init__()
        pooled, views = config.film_widths[-1], config.views
        self.boundaries = nn.ModuleList(
            DepthBoundaries(pooled, learnable=config.learnable_depth) for _ in range(views)
        )
        self.regions = nn.ModuleList(DepthModulation(config.lifted) for _ in range(views))
        self.join = nn.Conv3d(views * (config.lifted + 1) + 3, config.fine, 1)

    def forward(
        self, films: Tensor, maps: list[Tensor], vectors: list[Tensor], lift: Lift
    ) -> tuple[Tensor, tuple[Boundaries, ...]]:
        """-> features (B, fine, X, Y, Z) and the boundaries of each view."""
        found = tuple(layer(vector) for layer, vector in zip(self.boundaries, vectors, strict=True))
        parts = [_places(lift, films)]
        for i, (each, region) in enumerate(zip(maps, self.regions, strict=True)):
            parts.append(region(lift.features(i, each), found[i].masks(lift.depth(i))))
            parts.append(lift.features(i, films[:, i : i + 1]))
        return self.join(torch.cat(parts, dim=1)), found


class _AveragedFilms(nn.Module):
    """The seed's flaw: one vector, the mean over views and pixels, tints a learned volume.

    Nothing in it knows which film was which, or where on a film something was.
    """

    def __init__(self, config: XrayModelConfig) -> None:
        super().__init__()
        self.volume = nn.Parameter(0.5 * torch.randn(1, config.fine, _START, _START, _START))
        self.tint = nn.Linear(config.lifted + config.film_widths[-1], 2 * config.fine)

    def forward(
        self, films: Tensor, maps: list[Tensor], vectors: list[Tensor], lift: Lift
    ) -> tuple[Tensor, tuple[Boundaries, ...]]:
        """-> features (B, fine, X, Y, Z); no boundaries."""
        del films
        vector = torch.cat([averaged(maps).mean((-2, -1)), averaged(vectors)], dim=1)
        scale, shift = self.tint(vector)[:, :, None, None, None].chunk(2, dim=1)
        return resized(self.volume, lift.grid.shape) * (1 + scale) + shift, ()


def _places(lift: Lift, like: Tensor) -> Tensor:
    """(B, 3, X, Y, Z) position in the box, -1 to 1 along x, y, z."""
    axes = [
        torch.linspace(-1, 1, 2 * n + 1, dtype=like.dtype, device=like.device)[1::2] for n in lift.grid.shape
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(like), -1, -1, -1, -1)
