"""What a DeepTFUS network is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeepTFUSConfig:
    """Size and parts of the network; the defaults are those of the open reproduction.

    The paper (section 3.2) leaves widths, frequencies, heads and kernels open; the reproduction chose those
    here, attention one way and no FiLM, so that 256^3 voxels and batches of 4 fit into 80 GB.

    Attributes:
        base_width: Channels of the finest level; each level below has twice as many. The paper's size is not
            known; the reproduction would try 32 next.
        depth: Levels of the U-Net, the bottleneck among them.
        frequencies: Of the Fourier features of a point of the transducer: pi, 2 pi, 4 pi, ...
        heads: Of every attention.
        kernel: Edge of the dynamic convolutions.
        points: How many points of the transducer are looked at.
        token: Width of the vector that stands for the transducer.
        attention_levels: How many of the deepest levels the transducer attends to; the paper says each level.
        bidirectional: Voxels attend to the transducer too (paper). There it is one token, on which a softmax
            is always 1; here the voxels attend to its points before they are pooled.
        film: The decoder is modulated by the transducer (paper; Perez et al. 2018, arXiv:1709.07871).
        prior: A second input channel holds the amplitude of a march.
        checkpointing: Forget what lies within a level and compute it again for the gradient: less memory,
            a third more time.
    """

    base_width: int = 16
    depth: int = 4
    frequencies: int = 8
    heads: int = 4
    kernel: int = 3
    points: int = 512
    token: int = 128
    attention_levels: int = 2
    bidirectional: bool = False
    film: bool = False
    prior: bool = False
    checkpointing: bool = False

    def __post_init__(self) -> None:
        whole = "base_width", "depth", "frequencies", "heads", "kernel", "points", "token"
        for name in whole:
            if getattr(self, name) < 1:
                msg = f"{name} must be 1 or more, got {getattr(self, name)}"
                raise ValueError(msg)
        if not 0 <= self.attention_levels <= self.depth:
            msg = f"attention_levels must be 0 to the depth of {self.depth}, got {self.attention_levels}"
            raise ValueError(msg)
        if self.kernel % 2 == 0:
            msg = f"kernel must be odd, got {self.kernel}"
            raise ValueError(msg)
        for name, width in (("base_width", self.base_width), ("token", self.token)):
            if width % self.heads:
                msg = f"{name} must be a multiple of the {self.heads} heads, got {width}"
                raise ValueError(msg)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.base_width * 2**i for i in range(self.depth))

    @property
    def channels(self) -> int:
        """Of the input: the CT, and the march if there is one."""
        return 2 if self.prior else 1
