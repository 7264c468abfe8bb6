"""Training images on SONICHU's square, in memory, and the batches that a step sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from trifocal import io
from trifocal.cine import grey
from trifocal.keypoints.augment import Augmentation, random_affines, spoil, warp
from trifocal.keypoints.sonichu.preprocessor import SonichuPreprocessor
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import silent
from trifocal.training import sample_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.keypoints.examples import Example
    from trifocal.predictor import Progress

MOST = max(task.count for task in TASKS.values())


class SquareBatch(NamedTuple):
    """Groups of images, each of one task.

    Attributes:
        images: (groups * size, 3, side, side), normalised.
        points: (groups * size, 22, 2) x, y in [0, 1]; NaN where the task has fewer, or a point is missing or
            outside.
        tasks: Id of each group's task.
    """

    images: Tensor
    points: Tensor
    tasks: list[str]

    def truth(self, group: int) -> Tensor:
        """(size, K, 2) points of a group."""
        size = len(self.points) // len(self.tasks)
        return self.points[group * size : (group + 1) * size, : TASKS[self.tasks[group]].count]


class Squares:
    """Images, stretched to the square that the network sees.

    Attributes:
        examples: Where they are from.
        prep: What was done to them; `prep.image_size` is the side.
        images: (N, side, side) uint8, grey.
        sizes: (N, 2) columns and rows of the image as read.
        points: (N, 22, 2) pixels of the square, whole numbers at their centres; NaN for none.
    """

    def __init__(self, examples: Sequence[Example], side: int, progress: Progress = silent) -> None:
        self.examples = list(examples)
        self.prep = SonichuPreprocessor(side)
        self.images = torch.zeros(len(self.examples), side, side, dtype=torch.uint8)
        self.sizes = torch.zeros(len(self.examples), 2, dtype=torch.float64)
        self.points = torch.full((len(self.examples), MOST, 2), torch.nan, dtype=torch.float64)
        for i, example in enumerate(self.examples):
            progress(i / len(self.examples), "reading the images")
            frame = grey(io.read_cine(example.path).frames[0])
            stretched = self.prep.stretched(torch.from_numpy(np.ascontiguousarray(frame))[None, None])
            self.images[i] = (stretched[0, 0] * 255).round().to(torch.uint8)
            self.sizes[i] = torch.tensor([frame.shape[1], frame.shape[0]])
            own = (torch.from_numpy(example.points) + 0.5) * side / self.sizes[i] - 0.5
            self.points[i, : len(own)] = own

    def __len__(self) -> int:
        return len(self.examples)

    def task_ids(self) -> list[str]:
        """Of each image."""
        return [example.task_id for example in self.examples]

    def chosen(self, indices: Sequence[int]) -> Squares:
        """A part of them; the images are not read again."""
        part = object.__new__(Squares)
        part.examples = [self.examples[i] for i in indices]
        part.prep = self.prep
        at = torch.tensor(indices, dtype=torch.long)
        part.images, part.sizes, part.points = self.images[at], self.sizes[at], self.points[at]
        return part

    def labelled(self, examples: Sequence[Example], indices: Sequence[int]) -> Squares:
        """The images at these indices with other labels; they are not read again."""
        part = self.chosen(indices)
        part.examples = list(examples)
        part.points = torch.full_like(part.points, torch.nan)
        for i, example in enumerate(part.examples):
            own = (torch.from_numpy(example.points) + 0.5) * self.prep.image_size / part.sizes[i] - 0.5
            part.points[i, : len(own)] = own
        return part

    def joined(self, other: Squares) -> Squares:
        """These and others, of the same side."""
        both = object.__new__(Squares)
        both.examples, both.prep = self.examples + other.examples, self.prep
        both.images = torch.cat([self.images, other.images])
        both.sizes = torch.cat([self.sizes, other.sizes])
        both.points = torch.cat([self.points, other.points])
        return both

    def view(self, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images (B, 3, side, side) as the network takes them, by index (B,); nothing is augmented."""
        return self.prep.normalised(self.images[indices.cpu()].to(device)[:, None].float() / 255)

    def in_pixels(self, points: NDArray[np.float64], indices: Sequence[int]) -> NDArray[np.float64]:
        """Points (B, K, 2) in [0, 1] -> pixels of the images as read."""
        pixels: NDArray[np.float64] = points * self.sizes[list(indices)].numpy()[:, None] - 0.5
        return pixels

    def batch(self, groups: Tensor, how: Augmentation | None) -> SquareBatch:
        """Images and points of groups (groups, size) of indices, augmented by torch's own random numbers.

        Args:
            groups: Each of one task; the images come to the device that they lie on.
            how: None for the images as they are.
        """
        indices, side = groups.flatten().cpu(), self.prep.image_size
        images = self.images[indices].to(groups.device)[:, None].float() / 255
        points = self.points[indices]
        if how is not None:
            affines = random_affines(len(indices), how, (side, side))
            images = spoil(warp(images, affines.to(groups.device)), how)
            points = (affines[:, None, :, :2] @ points[..., None])[..., 0] + affines[:, None, :, 2]
        inside = ((points > -0.5) & (points < side - 0.5)).all(-1, keepdim=True)
        points = (torch.where(inside, points, torch.nan) + 0.5) / side
        tasks = [self.examples[int(group[0])].task_id for group in groups]
        size = groups.shape[1]
        for i, task in enumerate(tasks):
            rows = slice(i * size, (i + 1) * size)
            own = TASKS[task].canonical(points[rows, : TASKS[task].count].numpy())
            points[rows, : TASKS[task].count] = torch.from_numpy(own)
        return SquareBatch(self.prep.normalised(images), points.float().to(groups.device), tasks)


class TaskGroups:
    """Groups of images of one task each: a head with batch norm is to see some images at a time.

    Every epoch shuffles the images anew, by seed and epoch alone. A task's last group is filled up from its
    first ones.

    Attributes:
        size: Images in a group.
    """

    def __init__(self, tasks: Sequence[str], size: int, seed: int = 0, balanced: bool = False) -> None:
        """Group images by their tasks.

        Args:
            tasks: Task of each image.
            size: Of a group.
            seed: Of the order.
            balanced: Show every task as often as the one with the most images.
        """
        self.size, self._seed = size, seed
        self._own = {t: [i for i, x in enumerate(tasks) if x == t] for t in dict.fromkeys(tasks)}
        most = max((len(own) for own in self._own.values()), default=0)
        self._counts = {
            t: -(-(most if balanced else len(own)) // size) for t, own in self._own.items()
        }  # rounded up
        self.set_epoch(0)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __getitem__(self, index: int) -> Tensor:
        return self._groups[index]

    def set_epoch(self, epoch: int) -> None:
        """Shuffle the images for an epoch."""
        self._groups: list[Tensor] = []
        for number, (task, own) in enumerate(self._own.items()):
            wanted = self._counts[task] * self.size
            rounds = -(-wanted // len(own))
            order = [
                own[i]
                for r in range(rounds)
                for i in sample_order(len(own), self._seed, 10_000 * epoch + 100 * number + r)
            ]
            self._groups += [torch.tensor(order[i : i + self.size]) for i in range(0, wanted, self.size)]
