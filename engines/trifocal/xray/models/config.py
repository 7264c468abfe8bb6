"""What a network is made of: every part of it can be switched off, to see what it is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def _numbers(value: Any) -> list[int]:
    if isinstance(value, bool | str):
        return []
    return list(value) if isinstance(value, tuple) else [value]


@dataclass(frozen=True)
class XrayModelConfig:
    """Parts and sizes of a network from films to density.

    The first six toggles are those of the seed's optimised model. `kind` "lifting" is a network of its own,
    with its own sizes (`lifting.LiftingConfig`); it has no toggles.

    Attributes:
        kind: "hybrid" or "lifting".
        cascaded_attention: Attention in groups, each fed by the one before; else all heads alike.
        sandwich: Few attentions between many feed-forward blocks; else one attention to one feed-forward.
        multi_scale: The first attention looks at several scales at a time.
        cnn_branch: 3-D convolutions (MBConv with squeeze and excitation) for what is local.
        adaptive_fusion: The local features ask the tokens by cross-attention, and a gate mixes them; else the
            two are added.
        hierarchical_conditioning: The volume of a stage before is attended to, and mixed in by a learned
            weight; else it is not looked at.
        learnable_depth: Depth boundaries are found for each patient, with their uncertainty; else they stay
            at the anatomical priors.
        geometry_lifting: Each film's features enter the volume along its own rays. Without it the views are
            averaged to one vector: the flaw that the seed failed by, kept for the ablation only.
        batch_norm: Of the films' encoder; without it its features can collapse.
        views: Films that the network is made for, frontal first.
        film_widths: Channels of the films' encoder at 1/2, 1/4 and 1/8 of their size.
        lifted: Channels of a film's map that are lifted into the volume.
        fine: Channels at the volume's own resolution.
        local: Channels of the convolutional branch at 1/2 and 1/4 of the volume's resolution.
        local_blocks: MBConv blocks on each of the two levels.
        expansion: Of the channels within an MBConv block.
        dim: Channels of a token.
        heads: Of an attention, over all its groups.
        groups: Of a cascaded attention.
        attentions: Attention blocks in the sandwich layout.
        feed_forwards: Feed-forward blocks of the sandwich layout, beyond the first one.
        ratio: Hidden over outer channels of a feed-forward block.
        scales: Factors by which multi-scale attention pools the tokens.
        patch: Voxels along an axis that become one token,
        most_tokens: unless there would be more than these along an axis.

    Raises:
        ValueError: If the sizes do not fit together.
    """

    kind: str = "hybrid"
    cascaded_attention: bool = True
    sandwich: bool = True
    multi_scale: bool = True
    cnn_branch: bool = True
    adaptive_fusion: bool = True
    hierarchical_conditioning: bool = True
    learnable_depth: bool = True
    geometry_lifting: bool = True
    batch_norm: bool = True
    views: int = 2
    film_widths: tuple[int, int, int] = (24, 48, 96)
    lifted: int = 16
    fine: int = 16
    local: tuple[int, int] = (32, 64)
    local_blocks: tuple[int, int] = (2, 3)
    expansion: int = 4
    dim: int = 128
    heads: int = 4
    groups: int = 2
    attentions: int = 2
    feed_forwards: int = 4
    ratio: int = 4
    scales: tuple[int, ...] = (1, 2, 4)
    patch: int = 4
    most_tokens: int = 16

    def __post_init__(self) -> None:
        if self.kind not in ("hybrid", "lifting"):
            msg = f'kind must be "hybrid" or "lifting", got {self.kind!r}'
            raise ValueError(msg)
        numbers = [v for f in fields(self) for v in _numbers(getattr(self, f.name))]
        if min(numbers) < 1:
            msg = f"all sizes of a network must be 1 or more, got {self}"
            raise ValueError(msg)
        if self.heads % self.groups or self.dim % self.heads:
            msg = (
                "dim must be a multiple of heads, and heads of groups, got"
                f" dim {self.dim}, heads {self.heads}, groups {self.groups}"
            )
            raise ValueError(msg)
        if self.feed_forwards % self.attentions:
            msg = (
                "feed_forwards must be a multiple of attentions, got"
                f" {self.feed_forwards} and {self.attentions}"
            )
            raise ValueError(msg)

    def record(self) -> dict[str, Any]:
        """What is written beside the weights (JSON-able)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> XrayModelConfig:
        """Read what `record` gave.

        Raises:
            ValueError: If a name is unknown, or the sizes do not fit together.
        """
        unknown = sorted(set(record) - {f.name for f in fields(cls)})
        if unknown:
            msg = f"a network's record must hold parts and sizes of XrayModelConfig, got {unknown} as well"
            raise ValueError(msg)
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)


COMPACT = XrayModelConfig()
"""Trains on a CPU: 64^3 voxels, 16^3 tokens."""

SEED = XrayModelConfig(
    film_widths=(64, 128, 256),
    lifted=64,
    fine=32,
    local=(192, 384),
    local_blocks=(3, 16),
    expansion=6,
    dim=1600,
    heads=8,
)
"""Sizes of the seed's optimised model: 180 M parameters (tokens 136 M, convolutions 38 M)."""

PRESETS = {"compact": COMPACT, "seed": SEED}

TOGGLES = (
    "cascaded_attention",
    "sandwich",
    "multi_scale",
    "cnn_branch",
    "adaptive_fusion",
    "hierarchical_conditioning",
    "learnable_depth",
    "geometry_lifting",
    "batch_norm",
)
"""Names of the parts that can be switched off."""


def build(config: XrayModelConfig) -> nn.Module:
    """Make the network, untrained.

    Its forward takes films (B, views, rows, columns) in decimetres of water, a `Lift` and optionally the
    density (B, 1, X', Y', Z') of a stage before, and gives density (B, 1, X, Y, Z) on the lift's grid.
    """
    if config.kind == "lifting":
        from trifocal.xray.models.lifting import LiftingNet

        return LiftingNet()
    from trifocal.xray.models.hybrid import HybridNet

    return HybridNet(config)
