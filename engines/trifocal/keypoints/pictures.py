"""Training images on the compact network's canvas, and the targets of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal import io
from trifocal.cine import grey
from trifocal.keypoints.augment import Augmentation, random_affines, spoil, warp
from trifocal.keypoints.network import CANVAS, OUTLINED, Canvas, heat_channels
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trifocal.keypoints.examples import Example
    from trifocal.predictor import Progress

MOST = max(task.count for task in TASKS.values())

UNCLEAR = 0.4
"""Rise over length of a pair below which its order says little."""


class Pictures:
    """All images of a training in memory, on the network's canvas.

    Attributes:
        images: (N, 224, 320) uint8.
        points: (N, 22, 2) float64 network pixels, NaN where the task has fewer or a point is missing.
        tasks: (N,) index of the task.
        repeats: (N,) how often an epoch shows each.
    """

    def __init__(self, examples: Sequence[Example], progress: Progress, repeats: dict[str, int]) -> None:
        self.images = torch.zeros(len(examples), *CANVAS, dtype=torch.uint8)
        self.points = torch.full((len(examples), MOST, 2), torch.nan, dtype=torch.float64)
        order = list(TASKS)
        self.tasks = torch.tensor([order.index(e.task_id) for e in examples])
        for i, example in enumerate(examples):
            progress(i / len(examples), "reading the images")
            frame = grey(io.read_cine(example.path).frames[0])
            canvas = Canvas((frame.shape[1], frame.shape[0]))
            placed = canvas.place(torch.from_numpy(frame.astype(np.float32)))
            self.images[i] = placed.round().clamp(0, 255).to(torch.uint8)
            affine = canvas.affine
            points = torch.from_numpy(example.points) @ affine[:, :2].T + affine[:, 2]
            self.points[i, : len(points)] = points
        times = [repeats.get(e.source, 1) for e in examples]
        self.shown = [i for i, n in enumerate(times) for _ in range(n)]

    def __len__(self) -> int:
        return len(self.shown)

    def __getitem__(self, index: int) -> int:
        """The image that this place in the epoch shows: the batch is made on the device, by `batch`."""
        return self.shown[index]

    def view(self, chosen: Tensor, device: torch.device) -> Tensor:
        """Images (B, 1, 224, 320) by index (B,), 0 to 1, as they are."""
        return self.images[chosen.cpu()].to(device)[:, None].float() / 255

    def batch(self, chosen: Tensor, how: Augmentation | None) -> dict[str, Tensor]:
        """Augment and place the targets; random numbers are torch's own.

        Args:
            chosen: (B,) indices of images.
            how: None for the images as they are.

        Returns:
            "images" (B, 1, 224, 320), 0 to 1, and what `losses` takes.
        """
        images = self.view(chosen, chosen.device)
        points, tasks = self.points[chosen.cpu()], self.tasks[chosen.cpu()]
        if how is not None:
            affines = random_affines(len(chosen), how)
            images = spoil(warp(images, affines.to(chosen.device)), how)
            points = (affines[:, None, :, :2] @ points[..., None])[..., 0] + affines[:, None, :, 2]
        parts = [_targets(row, points[row], list(TASKS)[int(tasks[row])]) for row in range(len(chosen))]
        first = 0
        for part in parts:
            part["partners"] += first
            first += len(part["points"])
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        floats = {n: v.float() if v.is_floating_point() else v for n, v in joined.items()}
        return {"images": images, **{n: v.to(chosen.device) for n, v in floats.items()}}


def _targets(row: int, points: Tensor, task_id: str) -> dict[str, Tensor]:
    """Targets of one image: `points` (22, 2) network pixels."""
    task = TASKS[task_id]
    own = points[: task.count].clone()
    halves = torch.stack([own[:2].diff(dim=0)[0], own[-2:].diff(dim=0)[0]], -1) / 2  # (2, 2) columns
    whole = task.ellipse and bool(torch.isfinite(own).all())
    ellipse = torch.cat([own.mean(0)[:, None], halves], -1)[None]
    if whole and task_id == "HC":  # short and long axis of the ellipse as it is now
        directions, lengths, _ = torch.linalg.svd(halves)
        axes = directions * lengths
        signs = torch.tensor([[-1.0, 1.0]], dtype=own.dtype).T
        own = torch.cat([own.mean(0) + signs * axes[:, 1], own.mean(0) + signs * axes[:, 0]])
    own = torch.from_numpy(task.canonical(own.numpy()))
    limits = torch.tensor([CANVAS[1] - 0.5, CANVAS[0] - 0.5])
    kept = ((own > -0.5) & (own < limits)).all(-1)  # NaN is not kept
    count = int(kept.sum())
    place = kept.cumsum(0) - 1
    partner = place.clone()
    for pair in task.pairs:
        a, b = pair.ends
        across = (own[b] - own[a]).abs()
        along = across[1] if pair.first == "upper" else across[0]
        # which end of a nearly level pair is the upper one is chance: the network may choose
        if kept[a] and kept[b] and along < UNCLEAR * across.norm():
            partner[a], partner[b] = place[b], place[a]
    channels = torch.arange(heat_channels(task_id).start, heat_channels(task_id).stop)
    return {
        "points": own[kept],
        "channels": channels[kept],
        "partners": partner[kept],
        "rows": torch.full((count,), row),
        "ellipses": ellipse[: int(whole)],
        "ellipse_rows": torch.full((int(whole),), row),
        "ellipse_channels": torch.full((int(whole),), OUTLINED.index(task_id) if whole else 0),
    }
