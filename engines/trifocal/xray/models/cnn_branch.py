"""The convolutional branch: 3-D MBConv blocks with squeeze and excitation, for what is local."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.nets.efficientnet import MBConvBlock
from torch import Tensor, nn

from trifocal.xray.models.resize import resized

if TYPE_CHECKING:
    from trifocal.xray.models.config import XrayModelConfig


class CnnBranch(nn.Module):
    """EfficientNet's blocks (Tan and Le 2019, arXiv:1905.11946; MONAI's, in 3-D) as a pyramid of two levels.

    Group instead of batch normalisation: a batch of volumes is too small for the latter.
    """

    def __init__(self, config: XrayModelConfig) -> None:
        super().__init__()
        a, b = config.local
        first, second = config.local_blocks
        self.fine = nn.Sequential(*(_block(a, a, config.expansion) for _ in range(first)))
        self.coarse = nn.Sequential(
            *(_block(a if i == 0 else b, b, config.expansion) for i in range(second)), nn.Conv3d(b, a, 1)
        )
        self.join = _block(a, a, config.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """(B, local[0], x, y, z) -> the same shape, from that resolution and half of it."""
        fine = self.fine(x)
        size = (x.shape[2], x.shape[3], x.shape[4])
        coarse = self.coarse(resized(fine, (-(-size[0] // 2), -(-size[1] // 2), -(-size[2] // 2))))
        out: Tensor = self.join(fine + resized(coarse, size))
        return out


def _block(inside: int, outside: int, expansion: int) -> nn.Module:
    return MBConvBlock(
        spatial_dims=3,
        in_channels=inside,
        out_channels=outside,
        kernel_size=3,
        stride=1,
        image_size=[8, 8, 8],  # only strided convolutions are padded by it
        expand_ratio=expansion,
        se_ratio=0.25,
        norm=("group", {"num_groups": 4}),
        drop_connect_rate=0.0,
    )
