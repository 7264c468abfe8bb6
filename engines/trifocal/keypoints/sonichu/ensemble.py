"""Several SONICHU models as one: the median of their points, or the mean of their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from trifocal.keypoints.sonichu import SonichuModel
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.keypoints.tasks import Task


class PointModel(Protocol):
    """What predicts points: a model or an ensemble."""

    def predict(self, pixel_values: Tensor, task: str, tta: bool = True) -> Tensor:
        """(B, 3, side, side) -> (B, K, 2) in [0, 1], canonical order."""
        ...


class MedianEnsemble:
    """The coordinate-wise median of several models' points.

    Attributes:
        members: The models.
    """

    def __init__(self, members: Sequence[SonichuModel]) -> None:
        if not members:
            msg = "an ensemble must have at least one member, got none"
            raise ValueError(msg)
        self.members = list(members)

    def predict(self, pixel_values: Tensor, task: str, tta: bool = True) -> Tensor:
        """As `SonichuModel.predict`, of all members: (B, 3, side, side) -> (B, K, 2)."""
        each = [member.predict(pixel_values, task, tta) for member in self.members]
        points = np.stack([one.double().cpu().numpy() for one in each])
        return torch.from_numpy(median_points(points, find_task(task))).to(each[0])


def median_points(points: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Median over the first axis of (M, ..., K, 2), ends of pairs matched; canonical order.

    The ends are matched to a first median, since their order is a toss-up where a pair is nearly level: the
    median of ends that are exchanged in some members lies between them.
    """
    first = np.median(task.canonical(points), axis=0)
    matched = task.matched(points, np.broadcast_to(first, points.shape))
    return task.canonical(np.median(matched, axis=0))


def soup(members: Sequence[SonichuModel]) -> SonichuModel:
    """A model whose weights are the means of the members' (Wortsman et al. 2022, arXiv:2203.05482).

    For comparison: it works where the members were fine-tuned from one model and have stayed near each other.
    The card found it destructive.

    Raises:
        ValueError: If the members are not of one size.
    """
    if len({str(member.config) for member in members}) != 1:
        msg = (
            f"members of a soup must be of one size and have the same heads, got {len(members)} that are not"
        )
        raise ValueError(msg)
    states = [member.state_dict() for member in members]
    means = {
        name: torch.stack([state[name].float() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    model = SonichuModel(members[0].config)
    model.load_state_dict(means)
    return model.to(next(members[0].parameters()).device).eval()
