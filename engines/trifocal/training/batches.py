"""What a process sees of each step: its share of the samples, in micro-batches on its device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from trifocal.training.interrupt import ignore_interrupts
from trifocal.training.plan import sample_order, seed_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from lightning_fabric import Fabric

    from trifocal.training.group import Group
    from trifocal.training.plan import Plan


@dataclass(frozen=True)
class Piece:
    """A micro-batch.

    Attributes:
        batch: Collated, on the device.
        samples: In it.
        share: Of the samples that this process sees in the step; the shares of a step add up to 1.
        last: Whether the step ends with it.
    """

    batch: Any
    samples: int
    share: float
    last: bool


def steps_in_epoch(samples: int, plan: Plan, processes: int) -> int:
    """How many steps an epoch has; every process does as many."""
    return math.ceil(math.ceil(math.ceil(samples / processes) / plan.batch_size) / plan.accumulate)


def steps_of(samples: int, plan: Plan, epoch: int, group: Group) -> list[list[list[int]]]:
    """A process's share of an epoch: for each step the indices of its micro-batches.

    The processes take turns along one order of all samples; where it does not come out even, its first ones
    are seen twice, so that every process has as many.
    """
    order = sample_order(samples, plan.seed, epoch)
    even = math.ceil(samples / group.size) * group.size
    mine = (order * group.size)[:even][group.rank :: group.size]
    pieces = [mine[i : i + plan.batch_size] for i in range(0, len(mine), plan.batch_size)]
    return [pieces[i : i + plan.accumulate] for i in range(0, len(pieces), plan.accumulate)]


def batches(fabric: Fabric, train: Any, plan: Plan, step: int, group: Group) -> Generator[Piece]:
    """Yield the pieces from `step` on."""
    first, skipped = divmod(step, steps_in_epoch(len(train), plan, group.size))
    for epoch in range(first, plan.epochs):
        if hasattr(train, "set_epoch"):
            train.set_epoch(epoch)
        steps = steps_of(len(train), plan, epoch, group)[skipped if epoch == first else 0 :]
        loader: DataLoader[Any] = DataLoader(
            train,
            batch_sampler=[piece for pieces in steps for piece in pieces],
            num_workers=plan.workers,
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator().manual_seed(seed_of(plan.seed, 2, epoch)),
            pin_memory=fabric.device.type == "cuda",
        )
        ready = iter(fabric.setup_dataloaders(loader, use_distributed_sampler=False))
        for pieces in steps:
            whole = sum(map(len, pieces))
            for number, piece in enumerate(pieces, 1):
                batch = next(ready)
                if plan.channels_last:
                    batch = _laid_out(batch)
                yield Piece(batch, len(piece), len(piece) / whole, number == len(pieces))


def _laid_out(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return channels_last(batch)
    if isinstance(batch, dict):
        return {name: _laid_out(part) for name, part in batch.items()}
    return type(batch)(map(_laid_out, batch)) if type(batch) in (list, tuple) else batch


def channels_last(volume: Tensor) -> Tensor:
    """(b, c, x, y, z) with the channels innermost in memory; other tensors as they are."""
    return volume.contiguous(memory_format=torch.channels_last_3d) if volume.ndim == 5 else volume
