"""One student that learns from several teachers as it is trained (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trifocal.keypoints.sonichu.ensemble import MedianEnsemble
from trifocal.keypoints.sonichu.onednn import FastLinear, plain_attention
from trifocal.keypoints.sonichu.teach import TeachRecipe, batch_loss, train_points
from trifocal.predictor import pick_device, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.keypoints.sonichu import SonichuModel
    from trifocal.keypoints.sonichu.squares import SquareBatch, Squares
    from trifocal.predictor import Progress
    from trifocal.training import Fitted

TEACHER_WEIGHT = 0.5
"""Of the teachers' term: the card's `loss_real + 0.5 * loss_teacher`."""

WARMUP_EPOCHS = 3
"""The card's."""


def distil(
    student: SonichuModel,
    teachers: Sequence[SonichuModel],
    learn: Squares,
    validate: Squares,
    out: Path,
    recipe: TeachRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """Train a student on labels and, at every step, on what all teachers say about the same augmented images.

    The teachers' answer is the coordinate-wise median of their points, on the images as the student sees
    them.

    Args:
        student: Changed in place; ends with the best weights of the run, in evaluation mode.
        teachers: In evaluation mode; not changed.
        learn: To learn from, true and pseudo-labels alike.
        validate: Decide which weights are best.
        out: Folder of the run; start again to go on.
        recipe: How; give its plan a warm-up of `WARMUP_EPOCHS` epochs.
        device: Where.
        progress: May raise Cancelled.

    Raises:
        ValueError: If there is no teacher, nothing to learn from, or `out` holds another run.
    """
    where = pick_device(device)
    ensemble = MedianEnsemble([teacher.to(where).eval() for teacher in teachers])
    precision = recipe.plan.precision
    for teacher in teachers:
        plain_attention(teacher.backbone, where.type, precision)

    def loss(trainee: nn.Module, groups: Tensor) -> dict[str, Tensor]:
        batch = learn.batch(groups, recipe.augmentation)
        outputs = trainee(batch.images, batch.tasks)
        real = batch_loss(outputs, [batch.truth(i) for i in range(len(outputs))], batch.tasks)
        taught = batch_loss(outputs, teachers_say(ensemble, batch, precision), batch.tasks)
        return {
            "loss": real["loss"] + TEACHER_WEIGHT * taught["loss"],
            "real": real["loss"].detach(),
            "teacher": taught["loss"].detach(),
        }

    return train_points(student, learn, validate, out, recipe, loss, device=device, progress=progress)


@torch.no_grad()
def teachers_say(ensemble: MedianEnsemble, batch: SquareBatch, precision: str = "32-true") -> list[Tensor]:
    """The ensemble's points (size, K, 2) for each group of a batch."""
    where = batch.images.device.type
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    answers = []
    groups = batch.images.chunk(len(batch.tasks))
    with torch.autocast(where, dtype, enabled=precision != "32-true"), FastLinear():
        for images, task in zip(groups, batch.tasks, strict=True):
            answers.append(ensemble.predict(images, task, tta=False))
    return [answer.to(batch.points) for answer in answers]
