"""Pretraining the backbone on images without labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from trifocal.keypoints.augment import Augmentation, random_affines, warp
from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel
from trifocal.keypoints.sonichu.jepa import Jepa, JepaConfig, sample_masks
from trifocal.keypoints.sonichu.onednn import plain_attention
from trifocal.predictor import pick_device, silent
from trifocal.training import Fitted, Plan, fit

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.keypoints.sonichu.squares import Squares
    from trifocal.predictor import Progress


@dataclass(frozen=True)
class PretrainRecipe:
    """How a backbone is pretrained.

    Attributes:
        plan: Its batch size counts images.
        jepa: Of the method.
        augmentation: Geometry only: the method does without other distortions.
    """

    plan: Plan
    jepa: JepaConfig = field(default_factory=JepaConfig)
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(turn=10.0, scale=0.25, aspect=0.1, shift=0.1)
    )


class _Indices:
    """What an epoch sees: the batch is made on the device."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        return index


def pretrain(
    images: Squares,
    config: SonichuConfig,
    out: Path,
    recipe: PretrainRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[SonichuModel, Fitted]:
    """Pretrain a backbone by I-JEPA.

    Args:
        images: Their labels are not looked at.
        config: Size of the model; its tasks do not matter.
        out: Folder of the run; start again to go on.
        recipe: How.
        device: Where.
        progress: May raise Cancelled.

    Returns:
        The moving average of the encoder, as a model without heads, on the CPU; and the run.

    Raises:
        ValueError: If there is no image, or `out` holds another run.
    """
    sizes = {**config.__dict__, "tasks": {}}
    torch.manual_seed(recipe.plan.seed)
    model = SonichuModel(SonichuConfig(**sizes))
    plain_attention(model.backbone, pick_device(device).type, recipe.plan.precision)
    steps = recipe.plan.epochs * -(-len(images) // recipe.plan.batch_size)
    jepa = Jepa(model.backbone, recipe.jepa, steps)
    side = images.prep.image_size

    def loss(trained: nn.Module, chosen: Tensor) -> dict[str, Tensor]:
        scaled = images.images[chosen.cpu()].to(chosen.device)[:, None].float() / 255
        affines = random_affines(len(chosen), recipe.augmentation, (side, side))
        moved = images.prep.normalised(warp(scaled, affines.to(chosen.device)))
        context, targets = sample_masks(len(chosen), config.grid, recipe.jepa)
        found: dict[str, Tensor] = trained(moved, context.to(chosen.device), targets.to(chosen.device))
        return found

    fitted = fit(jepa, _Indices(len(images)), loss, recipe.plan, out, device=device, progress=progress)
    model.backbone.load_state_dict(jepa.target.state_dict())
    return model.cpu().eval(), fitted


def begin_from(config: SonichuConfig, pretrained: SonichuModel | None, seed: int) -> SonichuModel:
    """A model with random heads, on a pretrained backbone or a random one.

    Raises:
        ValueError: If the backbone is of another size.
    """
    torch.manual_seed(seed)
    model = SonichuModel(config)
    if pretrained is not None:
        ours, theirs = (
            {k: v for k, v in c.__dict__.items() if k not in ("tasks", "head_filters")}
            for c in (config, pretrained.config)
        )
        if ours != theirs:
            msg = f"the pretrained backbone must be of the model's size {ours}, got {theirs}"
            raise ValueError(msg)
        model.backbone.load_state_dict(pretrained.backbone.state_dict())
    return model
