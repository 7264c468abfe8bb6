"""Supervised training of a SONICHU model on points of all tasks at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trifocal.keypoints.augment import Augmentation
from trifocal.keypoints.evaluation.metrics import NETWORK_SIDE
from trifocal.keypoints.pictures import UNCLEAR
from trifocal.keypoints.sonichu.onednn import plain_attention
from trifocal.keypoints.sonichu.squares import TaskGroups
from trifocal.keypoints.targets import gaussian_maps
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import pick_device, silent
from trifocal.training import Fitted, Plan, best_weights, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from trifocal.keypoints.sonichu import SonichuModel, SonichuOutput
    from trifocal.keypoints.sonichu.ensemble import PointModel
    from trifocal.keypoints.sonichu.squares import Squares
    from trifocal.keypoints.tasks import Task
    from trifocal.predictor import Progress

WING = (10.0, 2.0)
"""Width and curvature of the Wing loss, in pixels of the 256 x 256 square."""

STRIDE = 4
"""Of `gaussian_maps`: pixels per cell of the heat map that it thinks of."""


@dataclass(frozen=True)
class TeachRecipe:
    """How a model learns points.

    Attributes:
        plan: Its batch size counts groups.
        group: Images of one task in a group.
        augmentation: What is done to each image.
        validation_images: Most per task that validate within a run.
    """

    plan: Plan
    group: int = 4
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(turn=15.0, scale=0.15, aspect=0.08, shift=0.08)
    )
    validation_images: int = 30


class Trainee(nn.Module):
    """A model and groups of images in one call, as `trifocal.training.fit` wants it."""

    def __init__(self, model: SonichuModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tasks: Sequence[str]) -> list[SonichuOutput]:
        """(groups * size, 3, side, side) and each group's task -> each group's heat maps and points."""
        features = self.model.features(images).chunk(len(tasks))
        return [self.model.read_out(own, task) for own, task in zip(features, tasks, strict=True)]


def teach(
    model: SonichuModel,
    learn: Squares,
    validate: Squares,
    out: Path,
    recipe: TeachRecipe,
    *,
    balanced: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """Train a model on labelled images; it ends with the best weights of the run, in evaluation mode.

    Args:
        model: Changed in place.
        learn: To learn from, true and pseudo-labels alike.
        validate: Decide which weights are best; of other patients.
        out: Folder of the run; start again to go on.
        recipe: How.
        balanced: Show every task as often as the one with the most images.
        device: Where.
        progress: May raise Cancelled.

    Raises:
        ValueError: If there is nothing to learn from or to validate with, or `out` holds another run.
    """

    def loss(trainee: nn.Module, groups: Tensor) -> dict[str, Tensor]:
        batch = learn.batch(groups, recipe.augmentation)
        outputs = trainee(batch.images, batch.tasks)
        truths = [batch.truth(i) for i in range(len(outputs))]
        return batch_loss(outputs, truths, batch.tasks)

    return train_points(
        model, learn, validate, out, recipe, loss, balanced=balanced, device=device, progress=progress
    )


def train_points(
    model: SonichuModel,
    learn: Squares,
    validate: Squares,
    out: Path,
    recipe: TeachRecipe,
    loss: Callable[[nn.Module, Tensor], Mapping[str, Tensor]],
    *,
    balanced: bool = False,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """The part that `teach` and distillation have in common; see there."""
    if not len(learn) or not len(validate):
        msg = f"there must be images to learn from and to validate with, got {len(learn)} and {len(validate)}"
        raise ValueError(msg)
    groups = TaskGroups(learn.task_ids(), recipe.group, recipe.plan.seed, balanced)
    judged = validate.chosen(some_of_each(validate.task_ids(), recipe.validation_images))

    def judge(trainee: nn.Module) -> dict[str, float]:
        assert isinstance(trainee, Trainee)
        means = task_means(trainee.model, judged)
        return {"score": float(np.mean(list(means.values()))), **means}

    plain_attention(model.backbone, pick_device(device).type, recipe.plan.precision)
    trainee = Trainee(model)
    fitted = fit(trainee, groups, loss, recipe.plan, out, validate=judge, device=device, progress=progress)
    trainee.load_state_dict(best_weights(out))
    model.eval()
    return fitted


def batch_loss(
    outputs: Sequence[SonichuOutput], truths: Sequence[Tensor], tasks: Sequence[str]
) -> dict[str, Tensor]:
    """Mean over the known points of `points_loss`, divergence and Wing loss in one.

    Args:
        outputs: Of each group.
        truths: (size, K, 2) of each group, in [0, 1]; NaN for what is not known.
        tasks: Of each group.
    """
    parts = [points_loss(*group) for group in zip(outputs, truths, (TASKS[t] for t in tasks), strict=True)]
    known = max(sum(count for _, _, count in parts), 1)
    heat = torch.stack([heat for heat, _, _ in parts]).sum() / known
    wing = torch.stack([wing for _, wing, _ in parts]).sum() / known
    return {"loss": heat + wing / WING[0], "heat": heat.detach(), "wing_px": wing.detach()}


def points_loss(output: SonichuOutput, truth: Tensor, task: Task) -> tuple[Tensor, Tensor, int]:
    """Divergence of the heat maps and Wing loss of the soft-argmax, summed over the known points.

    The ends of a nearly level pair, whose order is chance, may change places, whichever way both losses are
    lower: a soft-argmax that cannot know which end is meant answers with the middle of the pair.

    Args:
        output: Heat maps (B, K, rows, columns) and coordinates (B, K, 2).
        truth: (B, K, 2) in [0, 1]; NaN for what is not known.
        task: Whose points.

    Returns:
        Both sums, and how many points are known.
    """
    known = torch.isfinite(truth).all(-1)
    heat, wing = _point_losses(output, truth)
    ends = [end for pair in task.pairs for end in pair.ends]
    others = [end for pair in task.pairs for end in pair.ends[::-1]]
    swapped = truth.clone()
    swapped[:, ends] = truth[:, others]
    other_heat, other_wing = _point_losses(output, swapped)
    for pair in task.pairs:
        own = list(pair.ends)
        across = (truth[:, own[1]] - truth[:, own[0]]).abs()
        along = across[:, 1 if pair.first == "upper" else 0]
        straight, crossed = (
            (h[:, own] + w[:, own] / WING[0]).sum(1) for h, w in ((heat, wing), (other_heat, other_wing))
        )
        chosen = (along < UNCLEAR * across.norm(dim=1)) & (crossed < straight)  # never where one is not known
        heat, wing = (
            torch.where(_columns(chosen, own, len(task.points)), crossed_, straight_)
            for straight_, crossed_ in ((heat, other_heat), (wing, other_wing))
        )
    return heat[known].sum(), wing[known].sum(), int(known.sum())


def _columns(rows: Tensor, ends: Sequence[int], count: int) -> Tensor:
    """(B, count) where a row (B,) is chosen and the column is an end."""
    column = torch.zeros(count, dtype=torch.bool, device=rows.device)
    column[list(ends)] = True
    return rows[:, None] & column


def _point_losses(output: SonichuOutput, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Divergence and Wing loss of each point, (B, K) both; without meaning where the truth is not known.

    The heat map's softmax is compared with a Gaussian around the point, as in Nibali et al. 2018
    (arXiv:1801.07372), here by the Kullback-Leibler divergence: a soft-argmax alone does not ask for a peak.
    Wing loss, Feng et al. 2018 (arXiv:1711.06753), eq. 5, mean of the two coordinates, in pixels of the
    256 x 256 square.
    """
    truth = truth.nan_to_num(0.5)
    shape = output.heatmaps.shape[-2:]
    cells = truth * torch.tensor([shape[1], shape[0]], device=truth.device)
    target = gaussian_maps(STRIDE * cells.flatten(0, 1) - 0.5, (shape[0], shape[1])).view(
        *truth.shape[:2], -1
    )
    found = functional.log_softmax(output.heatmaps.float().flatten(2), dim=-1)
    heat = (target * (target.clamp_min(1e-12).log() - found)).sum(-1)
    away = (output.coords.float() - truth).abs() * NETWORK_SIDE
    width, bend = WING
    near = width * torch.log1p(away / bend)
    wing = torch.where(away < width, near, away - (width - width * math.log1p(width / bend)))
    return heat, wing.mean(-1)


def predict_squares(
    model: PointModel, images: Squares, *, tta: bool, device: torch.device | str = "cpu", batch: int = 16
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Points (K, 2) of every image, in [0, 1]."""
    found: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    ids = images.task_ids()
    for task_id in dict.fromkeys(ids):
        own = torch.tensor([i for i, x in enumerate(ids) if x == task_id])
        for start in range(0, len(own), batch):
            part = own[start : start + batch]
            points = model.predict(images.view(part, device), task_id, tta)
            found |= dict(zip(part.tolist(), points.double().cpu().numpy(), strict=True))
    return [found[i] for i in range(len(images))]


def task_means(model: SonichuModel, images: Squares) -> dict[str, float]:
    """Mean radial error of each task without TTA, in pixels of the 256 x 256 square."""
    errors: dict[str, list[float]] = {}
    device = next(model.parameters()).device
    points = predict_squares(model, images, tta=False, device=device)
    for i, (example, found) in enumerate(zip(images.examples, points, strict=True)):
        task = TASKS[example.task_id]
        truth = (images.points[i, : task.count].numpy() + 0.5) / images.prep.image_size
        offset = task.matched(found, truth) - truth
        error = np.linalg.norm(offset, axis=-1)
        if np.isfinite(error).any():
            errors.setdefault(task.id, []).append(NETWORK_SIDE * float(np.nanmean(error)))
    return {task: float(np.mean(own)) for task, own in errors.items()}


def some_of_each(ids: Sequence[str], most: int) -> list[int]:
    """Indices of the first ones of each task."""
    return [i for task in dict.fromkeys(ids) for i in [j for j, x in enumerate(ids) if x == task][:most]]
