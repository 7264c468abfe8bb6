"""The compact geometry-aware network: each film's features are lifted along its rays, joined in 3-D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import sirt

if TYPE_CHECKING:
    from trifocal.xray.models.lift import Lift

FRONTAL, LATERAL = 0, 1


@dataclass(frozen=True)
class LiftingConfig:
    """Sizes of a `LiftingNet`.

    Attributes:
        flat: Channels of the 2-D encoder at 1/2, 1/4, 1/8 and 1/16 of the film's size.
        lifted: Channels of a view's maps that are lifted into the volume at half its resolution.
        solid: Channels of the 3-D U-Net at 1/2, 1/4 and 1/8 of the volume's resolution.
        fine: Channels at the volume's own resolution.
        first_steps: SIRT steps of the least-squares volume (at half resolution) that the network starts from;
            0 for none.
        dropout: Share of the channels at the U-Net's bottom that are dropped, in training and in sampling.
    """

    flat: tuple[int, int, int, int] = (24, 40, 64, 96)
    lifted: int = 32
    solid: tuple[int, int, int] = (32, 64, 112)
    fine: int = 16
    first_steps: int = 6
    dropout: float = 0.1


class LiftingNet(nn.Module):
    """Films to density, geometry-aware: exchanging the films changes the answer.

    The parts: one 2-D encoder a view (frontal and lateral have weights of their own); their maps lifted along
    the rays to half the volume's resolution; there also where a voxel lies, and a short least-squares
    reconstruction; a 3-D U-Net; and two layers at full resolution that see the films' maps once more.

    Attributes:
        config: Sizes.
    """

    def __init__(self, config: LiftingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LiftingConfig()
        self.encoders = nn.ModuleList(FilmEncoder(config) for _ in (FRONTAL, LATERAL))
        a, b, c = config.solid
        extra = 3 + 2 + (1 if config.first_steps else 0) + 2
        self.enter = nn.Sequential(nn.Conv3d(2 * config.lifted + extra, a, 1), Residual3d(a))
        self.down1 = nn.Sequential(nn.Conv3d(a, b, 2, stride=2), Residual3d(b), Residual3d(b))
        self.down2 = nn.Sequential(nn.Conv3d(b, c, 2, stride=2), Residual3d(c), Residual3d(c))
        self.drop = nn.Dropout3d(config.dropout)
        self.up2, self.join2 = nn.Conv3d(c, b, 1), Residual3d(b)
        self.up1, self.join1 = nn.Conv3d(b, a, 1), nn.Sequential(Residual3d(a), Residual3d(a))
        f = config.fine
        self.up0 = nn.Conv3d(a, f, 1)
        self.fine_in = nn.Conv3d(2 * FINE_LIFTED + 2, f, 1)
        self.fine = nn.Sequential(Residual3d(f), nn.GroupNorm(1, f), nn.SiLU())
        self.density = nn.Conv3d(f, 1, 3, padding=1)
        self.log_error = nn.Conv3d(f, 1, 1)
        assert self.log_error.bias is not None
        nn.init.constant_(self.log_error.bias, -2.5)

    def forward(
        self, films: Tensor, lift: Lift, previous: Tensor | None = None, *, with_error: bool = False
    ) -> Any:
        """Density (B, 1, X, Y, Z) from films (B, 2, rows, columns) in decimetres of water.

        Args:
            films: Frontal, lateral; a view that there is none of is all 0. Sides must be divisible by 16.
            lift: Of the volume; its shape must be divisible by 8.
            previous: Not used: this network has no stage before it.
            with_error: Also return what `with_error` returns.
        """
        both = self.with_error(films, lift)
        return both if with_error else both[0]

    def with_error(self, films: Tensor, lift: Lift) -> tuple[Tensor, Tensor]:
        """Density and the logarithm of its expected absolute error, both (B, 1, X, Y, Z)."""
        half = lift.coarser(2)
        maps = [encoder(films[:, i : i + 1]) for i, encoder in enumerate(self.encoders)]
        guess = self._first_guess(films, half)
        volume = [half.features(i, coarse) for i, (coarse, _) in enumerate(maps)]
        skip0 = self.enter(torch.cat([*volume, guess, _places(half, films)], dim=1))
        skip1 = self.down1(skip0)
        x = self.drop(self.down2(skip1))
        x = self.join2(skip1 + self.up2(_doubled(x)))
        x = self.join1(skip0 + self.up1(_doubled(x)))
        fine = [lift.features(i, own) for i, (_, own) in enumerate(maps)]
        seen = [lift.features(i, films[:, i : i + 1]) for i in (FRONTAL, LATERAL)]
        x = self.fine(_doubled(self.up0(x)) + self.fine_in(torch.cat([*fine, *seen], dim=1)))
        return self.density(x) + _doubled(guess[:, -1:]), self.log_error(x)

    @torch.no_grad()
    def _first_guess(self, films: Tensor, half: Lift) -> Tensor:
        """(B, 3, x, y, z): what the films alone say: their own values, and a short least-squares volume."""
        seen = [half.features(i, films[:, i : i + 1]) for i in (FRONTAL, LATERAL)]
        start = films.new_zeros((len(films), *half.grid.shape), dtype=torch.float32)
        if self.config.first_steps and bool(films.any()):
            with torch.autocast(films.device.type, enabled=False):
                # a film that there is none of counts as air here, in a batch as alone
                size = (films.shape[-2] // 2, films.shape[-1] // 2)
                small = tuple(view.resized(size) for view in half.views)
                pooled = [functional.avg_pool2d(films[:, i].float(), 2) for i in (FRONTAL, LATERAL)]
                both = Projectors.of(small, half.grid, films.device)
                start = 100 * sirt(both, pooled, start, self.config.first_steps)  # per mm to per dm
        return torch.cat([*seen, start[:, None].to(films.dtype)], dim=1)


class LiftingEnsemble(nn.Module):
    """Networks of one size, trained from different starts, that answer together.

    Attributes:
        config: Of each.
        members: One or more.
    """

    def __init__(self, config: LiftingConfig | None = None, members: int = 1) -> None:
        super().__init__()
        self.config = config or LiftingConfig()
        self.members = nn.ModuleList(LiftingNet(self.config) for _ in range(members))

    def forward(self, films: Tensor, lift: Lift, previous: Tensor | None = None) -> Tensor:
        """Mean of the members' densities; see `LiftingNet`."""
        return self.with_error(films, lift)[0]

    def with_error(self, films: Tensor, lift: Lift) -> tuple[Tensor, Tensor]:
        """Mean density, and the logarithm of its expected absolute error, both (B, 1, X, Y, Z).

        The members' own errors and the members' disagreement add up as squares.
        """
        answers = [member(films, lift, with_error=True) for member in self.members]
        density = torch.stack([d.float() for d, _ in answers])
        own = torch.stack([torch.exp(2 * e.float()) for _, e in answers]).mean(0)
        return density.mean(0), 0.5 * torch.log(own + density.var(0, correction=0) + 1e-8)


FINE_LIFTED = 8
"""Channels of a view's maps that are lifted at the volume's own resolution."""


class FilmEncoder(nn.Module):
    """A 2-D U-Net over one film: coarse maps at 1/4 and fine maps at 1/2 of its size."""

    def __init__(self, config: LiftingConfig) -> None:
        super().__init__()
        a, b, c, d = config.flat
        self.stem = nn.Conv2d(4, a, 5, stride=2, padding=2)
        self.block1 = Residual2d(a)
        self.down2 = nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), Residual2d(b))
        self.down3 = nn.Sequential(nn.Conv2d(b, c, 3, stride=2, padding=1), Residual2d(c))
        self.down4 = nn.Sequential(nn.Conv2d(c, d, 3, stride=2, padding=1), Residual2d(d), Residual2d(d))
        self.whole = nn.Linear(d, d)
        self.up3, self.join3 = nn.Conv2d(d, c, 1), Residual2d(c)
        self.up2, self.join2 = nn.Conv2d(c, b, 1), Residual2d(b)
        self.up1 = nn.Conv2d(b, a, 1)
        self.coarse = nn.Conv2d(b, config.lifted, 1)
        self.own = nn.Conv2d(a, FINE_LIFTED, 3, padding=1)

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, r, c) -> (B, lifted, r/4, c/4) and (B, FINE_LIFTED, r/2, c/2)."""
        x1 = self.block1(self.stem(torch.cat([film, torch.exp(-film), _ramps(film)], dim=1)))
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        x4 = x4 + self.whole(x4.mean((2, 3)))[:, :, None, None]  # the film as a whole: size, region
        x3 = self.join3(x3 + self.up3(_doubled(x4)))
        x2 = self.join2(x2 + self.up2(_doubled(x3)))
        return self.coarse(x2), self.own(x1 + self.up1(_doubled(x2)))


class Residual2d(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))) in 2-D."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = _residual(nn.Conv2d, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape and channels stay."""
        out: Tensor = x + self.inner(x)
        return out


class Residual3d(nn.Module):
    """The same in 3-D."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = _residual(nn.Conv3d, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape and channels stay."""
        out: Tensor = x + self.inner(x)
        return out


def _residual(conv: type[nn.Conv2d] | type[nn.Conv3d], channels: int) -> nn.Sequential:
    groups = max(1, channels // 16)
    second = conv(channels, channels, 3, padding=1)
    nn.init.zeros_(second.weight)
    return nn.Sequential(
        nn.GroupNorm(groups, channels),
        nn.SiLU(),
        conv(channels, channels, 3, padding=1),
        nn.GroupNorm(groups, channels),
        nn.SiLU(),
        second,
    )


def _doubled(x: Tensor) -> Tensor:
    mode = "trilinear" if x.ndim == 5 else "bilinear"
    return functional.interpolate(x, scale_factor=2, mode=mode, align_corners=False)


def _ramps(film: Tensor) -> Tensor:
    """(B, 2, r, c) where on the film a pixel lies, -1 to 1."""
    rows = torch.linspace(-1, 1, film.shape[-2], dtype=film.dtype, device=film.device)
    columns = torch.linspace(-1, 1, film.shape[-1], dtype=film.dtype, device=film.device)
    both = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return both[None].expand(len(film), -1, -1, -1)


def _places(lift: Lift, films: Tensor) -> Tensor:
    """(B, 5, x, y, z): position in the box, -1 to 1 along x, y, z, and which of the views there are."""
    ramps = [torch.linspace(-1, 1, n, dtype=films.dtype, device=films.device) for n in lift.grid.shape]
    place = torch.stack(torch.meshgrid(*ramps, indexing="ij"))[None].expand(len(films), -1, -1, -1, -1)
    there = (films.flatten(2).abs().amax(2) > 0).to(films.dtype)[:, :, None, None, None]
    return torch.cat([place, there.expand(-1, -1, *lift.grid.shape)], dim=1)
