"""What a network of any kind makes of its films before there is a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

if TYPE_CHECKING:
    from trifocal.xray.models.depth_boundaries import Boundaries
    from trifocal.xray.models.lift import Lift


@dataclass(frozen=True, eq=False)
class Inside:
    """Features and depth boundaries, for the figures and the statistics.

    Attributes:
        maps: Encoder features of each view, (B, C, h, w).
        boundaries: Depth boundaries of each view; none in networks without them.
    """

    maps: tuple[Tensor, ...]
    boundaries: tuple[Boundaries, ...]

    @classmethod
    def of(cls, net: nn.Module, films: Tensor, lift: Lift) -> Self:
        """Look into a network, or into what it begins from: base of a cascade, first of several members.

        Args:
            net: As `saved.network_of` makes it.
            films: (B, views, rows, columns) in decimetres of water.
            lift: Views and grid.
        """
        for name in ("net", "base"):
            inner = getattr(net, name, None)
            if isinstance(inner, nn.Module) and not hasattr(net, "encoders"):
                return cls.of(inner, films, lift)
        members = getattr(net, "members", None)
        if members is not None:
            return cls.of(members[0], films, lift)
        detailed = getattr(net, "detailed", None)
        if detailed is not None:
            seen = detailed(films, lift)
            return cls(seen.maps, seen.boundaries)
        encoders = getattr(net, "encoders", ())
        maps = [encoder(films[:, i : i + 1]) for i, encoder in enumerate(encoders)]
        return cls(tuple(m[0] for m in maps), ())
