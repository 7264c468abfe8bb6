"""The compact networks as a checkpoint holds them, and the maps that they give for a frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import nn

from trifocal import checkpoint
from trifocal.checkpoint import Checkpoint, CheckpointError
from trifocal.keypoints.network import OUTLINED, Canvas, CompactConfig, CompactNetwork, heat_channels
from trifocal.keypoints.review import ReviewFit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.keypoints.tasks import Task

BUNDLED = "keypoints"


@dataclass(frozen=True, eq=False)
class Maps:
    """What the members say about one frame; the first axis is member (and mirrored image, if asked).

    Attributes:
        heat: (M, K, h, w) probabilities, each map sums to 1.
        inside: (M, h, w) probability of the inside of the outline; None for tasks that have none.
        canvas: How the frame lies on them.
        level: Probability that the outline runs along.
    """

    heat: Tensor
    inside: Tensor | None
    canvas: Canvas
    level: float = 0.5


@dataclass(frozen=True, eq=False)
class Learned:
    """One or more compact networks that answer together.

    Attributes:
        members: Trained from different starts, in evaluation mode, on one device.
        real: Tasks that have learned from real images; the others know synthetic ones only.
        card: Of the checkpoint.
        levels: By task, the probability that the outline runs along; 0.5 where it was not fitted.
        review: By task, how the signals of doubt became expected errors on patients that were held back.
        sha256: Of the checkpoint; "" for networks that are in training.
    """

    members: Sequence[CompactNetwork]
    real: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    review: dict[str, ReviewFit] = field(default_factory=dict)
    sha256: str = ""

    @classmethod
    def load(cls, path_or_name: Path | str, device: torch.device) -> Self:
        """Read a checkpoint of the compact networks.

        Raises:
            CheckpointError: If it is missing, damaged, or of something else.
        """
        stored = checkpoint.load(path_or_name, "keypoints")
        members = _build(stored)
        for member in members:
            member.to(device)
        real = tuple(str(name) for name in stored.config.get("real", ()))
        fits = {name: ReviewFit.from_record(r) for name, r in stored.config.get("review", {}).items()}
        levels = {name: float(level) for name, level in stored.config.get("levels", {}).items()}
        return cls(tuple(members), real, stored.card, levels, fits, stored.sha256)

    @torch.no_grad()
    def maps(self, frame: NDArray[np.uint8], task: Task, *, tta: bool) -> Maps:
        """Run all members on a grey frame (rows, columns); with `tta` on the mirrored one too."""
        canvas = Canvas((frame.shape[1], frame.shape[0]))
        device = next(self.members[0].parameters()).device
        image = canvas.place(torch.from_numpy(frame.astype(np.float32) / 255)).to(device)
        views = torch.stack([image, image.flip(-1)] if tta else [image])[:, None]
        heats, insides = [], []
        for member in self.members:
            heat, outline = (logits.float().cpu() for logits in member(views))
            heat = heat[:, heat_channels(task.id)]
            heats.append(torch.softmax(heat.flatten(2), dim=2).reshape(heat.shape))
            if task.id in OUTLINED:
                insides.append(torch.sigmoid(outline[:, OUTLINED.index(task.id)]))
        heat = _unmirrored(torch.stack(heats), tta)
        inside = _unmirrored(torch.stack(insides), tta) if insides else None
        level = self.levels.get(task.id, 0.5)
        return Maps(heat.flatten(0, 1), None if inside is None else inside.flatten(0, 1), canvas, level)


def config_record(config: CompactConfig, learned: Learned) -> dict[str, Any]:
    """What a checkpoint has to say so that `Learned.load` can build the networks again."""
    return {
        "network": asdict(config),
        "members": len(learned.members),
        "real": list(learned.real),
        "levels": learned.levels,
        "review": {name: fit.record() for name, fit in learned.review.items()},
    }


def _build(stored: Checkpoint) -> list[CompactNetwork]:
    try:
        size = stored.config["network"]
        config = CompactConfig(tuple(size["widths"]), tuple(size["blocks"]))
        members = nn.ModuleList(CompactNetwork(config) for _ in range(int(stored.config["members"])))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the config of {stored.name} must describe compact networks, got {stored.config} ({error!r})"
        raise CheckpointError(msg) from error
    checkpoint.load_into(members, stored)
    return [m for m in members.eval() if isinstance(m, CompactNetwork)]


def _unmirrored(maps: Tensor, tta: bool) -> Tensor:
    """Turn the second view (members, views, ...) back; ends of pairs are matched where points are made."""
    if not tta:
        return maps
    return torch.stack([maps[:, 0], maps[:, 1].flip(-1)], dim=1)
