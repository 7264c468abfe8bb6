"""From coarse to fine: a network's volume, refined at twice its resolution, and again.

The base sees the whole body at a time and decides what is where. A stage sees the volume of the stage before,
the films, and what that volume does not explain of them, at its own resolution; it looks only a few voxels
far, so that it can work patch by patch, and starts out as plain interpolation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from trifocal.predictor import silent
from trifocal.xray.models.cost import Cost
from trifocal.xray.models.refiner import Refiner, RefinerConfig

if TYPE_CHECKING:
    import torch

    from trifocal.predictor import Progress
    from trifocal.xray.models.lift import Lift


class Cascade(nn.Module):
    """A base and the stages after it.

    Attributes:
        base: Films and a coarse lift to density, as `config.build` makes it.
        stages: From coarse to fine, each a `Refiner`; 64 -> 128 -> 256 are two.

    Raises:
        ValueError: If there is no stage.
    """

    def __init__(self, base: nn.Module, config: RefinerConfig | None = None, *, stages: int = 2) -> None:
        super().__init__()
        if stages < 1:
            msg = f"a cascade must have 1 stage or more after its base, got {stages}"
            raise ValueError(msg)
        self.config = config = config or RefinerConfig()
        self.base = base
        self.stages = nn.ModuleList(Refiner(config) for _ in range(stages))

    def forward(
        self,
        films: Tensor,
        lift: Lift,
        previous: Tensor | None = None,
        *,
        patch: int | None = None,
        progress: Progress = silent,
    ) -> Tensor:
        """Density (B, 1, X, Y, Z) on the lift's grid.

        Args:
            films: (B, views, rows, columns) in decimetres of water; each stage sees them at two pixels a
                voxel of its own.
            lift: Views and the finest grid.
            previous: Density to begin from in place of the base's answer.
            patch: See `Refiner`; of all stages.
            progress: Told before each stage, and after each of its patches.
        """
        return self.until(len(self.stages), films, lift, previous, patch=patch, progress=progress)

    def until(
        self,
        stage: int,
        films: Tensor,
        lift: Lift,
        previous: Tensor | None = None,
        *,
        patch: int | None = None,
        progress: Progress = silent,
    ) -> Tensor:
        """The answer after so many stages, on the grid of that stage; 0 is the base's own."""
        factor = 2 ** len(self.stages)
        coarse = lift.coarser(factor)
        density = self.base(averaged(films, coarse), coarse) if previous is None else previous
        for i, refiner in enumerate(list(self.stages)[:stage]):
            factor //= 2
            grid = lift.coarser(factor)
            size = " x ".join(map(str, grid.grid.shape))

            def told(done: float, what: str, i: int = i, size: str = size) -> None:
                progress((i + done) / stage, f"{size}: {what}")

            told(0.0, "refining")
            before = density.clamp(0, 4)  # as it was trained on: -1000 to 3000 HU
            density = refiner(averaged(films, grid), grid, before, patch=patch, progress=told)
        return density

    def cost(self, voxels: int, patch: int | None = None, device: torch.device | str = "cpu") -> Cost:
        """What the stages after the base will take for a cube of voxels^3: state it before they start."""
        total = Cost(0.0, 0.0)
        for i, refiner in enumerate(reversed(list(self.stages))):
            assert isinstance(refiner, Refiner)
            total += refiner.cost(voxels // 2**i, patch, device)
        return total


def averaged(films: Tensor, lift: Lift) -> Tensor:
    """Films (B, V, rows, columns) at two pixels a voxel of the longest edge, unless they have fewer."""
    most = 2 * max(lift.grid.shape)
    size = (min(most, films.shape[-2]), min(most, films.shape[-1]))
    return films if size == tuple(films.shape[-2:]) else adaptive_avg_pool2d(films, size)
