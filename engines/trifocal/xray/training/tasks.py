"""What each kind of network is asked while it is trained, and how wrong its answer is.

A task wraps a network so that one call of it is one training step's forward pass (under mixed precision); the
loss is taken outside of that, in full precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from trifocal.xray.models.cascade import Cascade, averaged
from trifocal.xray.models.depth_boundaries import boundary_loss
from trifocal.xray.models.hybrid import HybridNet
from trifocal.xray.models.losses import DirectWeights, direct_loss
from trifocal.xray.training.crops import Scene, imperfect

if TYPE_CHECKING:
    from collections.abc import Callable

    from trifocal.xray.models.lift import Lift
    from trifocal.xray.models.refiner import Box
    from trifocal.xray.models.sampled import SampledNet
    from trifocal.xray.models.started import StartedNet

    Loss = Callable[[nn.Module, Any], dict[str, Tensor]]


class DirectTask(nn.Module):
    """Films to density, with the regulariser of the depth boundaries."""

    def __init__(self, net: StartedNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, films: Tensor, lift: Lift) -> tuple[Tensor, Tensor]:
        """Density (B, 1, X, Y, Z) and the regulariser, 0 where there is nothing to regularise."""
        inner = self.net.net
        if not isinstance(inner, HybridNet):
            return self.net(films, lift), films.new_zeros(())
        seen = inner.detailed(films, lift, self.net.previous(films, lift))
        kept = [boundary_loss(b) for b in seen.boundaries]
        return seen.density, torch.stack(kept).mean() if kept else films.new_zeros(())


class CascadeTask(nn.Module):
    """One stage of a cascade; what comes before it is kept as it is."""

    def __init__(self, net: Cascade) -> None:
        super().__init__()
        self.net = net
        net.base.requires_grad_(False)

    def train(self, mode: bool = True) -> CascadeTask:
        """The base is not trained, so its norms keep what they know."""
        super().train(mode)
        self.net.base.eval()
        return self

    def forward(self, films: Tensor, lift: Lift, stage: int, box: Box | None) -> Tensor:
        """Density after `stage` stages (1 is the first), of a box of its grid or of all of it."""
        with torch.no_grad():
            before = self.net.until(stage - 1, films, lift).clamp(0, 4)
        here = lift.coarser(2 ** (len(self.net.stages) - stage))
        out: Tensor = self.net.stages[stage - 1](averaged(films, here), here, before, box=box)
        return out


class DiffusionTask(nn.Module):
    """The noise that was added to the residual of an estimate; the base is kept as it is."""

    def __init__(self, net: SampledNet) -> None:
        super().__init__()
        self.net = net
        net.base.requires_grad_(False)

    def train(self, mode: bool = True) -> DiffusionTask:
        """The base is not trained, so its norms keep what they know."""
        super().train(mode)
        self.net.base.eval()
        return self

    def forward(self, films: Tensor, lift: Lift, truth: Tensor) -> Tensor:
        """Mean squared error of the predicted noise at random levels."""
        with torch.no_grad():
            estimate = self.net.base(films, lift, None).float().clamp(0, 4)
        return self.net.diffusion.loss(truth, estimate)


def direct_task_loss(voxels: int, weights: DirectWeights, boundary: float) -> Loss:
    """L1 + SSIM of the density, and the depth boundaries' regulariser."""

    def loss(task: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, films, scene = drawn(batch, voxels)
        density, kept = task(films, scene.lift)
        terms = direct_loss(density.float(), truth, weights, scene.films(truth[:, 0]), scene.projectors)
        return {**terms, "loss": terms["loss"] + boundary * kept, "boundaries": kept}

    return loss


def cascade_task_loss(voxels: int, stages: int, weights: DirectWeights, patch: int) -> Loss:
    """L1 + SSIM of a random stage, within a random box of `patch` voxels where its grid is larger."""

    def loss(task: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, films, scene = drawn(batch, voxels)
        stage = int(torch.randint(1, stages + 1, ()))
        truth = avg_pool3d(truth, 2 ** (stages - stage))
        box = _random_box(truth.shape[-1], patch)
        density = task(films, scene.lift, stage, box)
        return direct_loss(density.float(), truth if box is None else truth[(..., *box)], weights)

    return loss


def diffusion_task_loss(voxels: int) -> Loss:
    """The denoiser's own loss."""

    def loss(task: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, films, scene = drawn(batch, voxels)
        return {"loss": task(films, scene.lift, truth)}

    return loss


def drawn(batch: dict[str, Tensor], voxels: int) -> tuple[Tensor, Tensor, Scene]:
    """True density (B, 1, X, Y, Z), imperfect films of it, and the random geometry they were taken in."""
    density = batch["density"].float()
    scene = Scene.random(voxels, density.device)
    with torch.no_grad():
        films = imperfect(scene.films(density))
    return density[:, None], films, scene


def _random_box(n: int, patch: int) -> Box | None:
    if n <= patch:
        return None
    a, b, c = torch.randint(0, n - patch + 1, (3,)).tolist()
    return slice(a, a + patch), slice(b, b + patch), slice(c, c + patch)
