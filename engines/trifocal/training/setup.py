"""What a run is made of before its first step: device, processes, optimiser."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import torch
from torch import distributed

from trifocal.predictor import pick_device
from trifocal.training.batches import channels_last

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import nn

    from trifocal.training.group import Group
    from trifocal.training.plan import Plan

LONGEST_WAIT = timedelta(hours=2)  # of the other processes, while the first one validates or writes


def fabric_for(plan: Plan, device: str, group: Group) -> Fabric:
    """Lightning's view of the machine; with more than one process, the connection between them.

    Raises:
        ImportError: If Lightning Fabric is not installed.
        ValueError: If the device cannot do the plan's precision.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        msg = "training must have Lightning Fabric, and it is not installed: pip install trifocal[train]"
        raise ImportError(msg) from error
    where = pick_device(device).type
    if plan.precision == "16-mixed" and where != "cuda":
        msg = f"precision must be 32-true or bf16-mixed on the device {where}, got 16-mixed"
        raise ValueError(msg)
    if group.size == 1:
        return Fabric(accelerator=where, devices=1, precision=plan.precision)  # type: ignore[arg-type]
    if "TORCHELASTIC_RESTART_COUNT" in os.environ:
        _meet(where)
    fabric = Fabric(
        accelerator=where,
        devices=group.on_machine,
        num_nodes=group.size // group.on_machine,
        strategy=DDPStrategy(timeout=LONGEST_WAIT),
        precision=plan.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _meet(where: str) -> None:
    """Connect the processes that torchrun has started, under names of their own for each start.

    torch 2.13 meets at torchrun's own store under the same names each time: processes that are started again
    find the addresses of those that have died, and fail or wait for ever.
    """
    from torch._C._distributed_c10d import PrefixStore  # late: not every build of torch has them
    from torch.distributed.rendezvous import rendezvous

    if distributed.is_initialized():
        return
    store, rank, size = next(rendezvous("env://", timeout=LONGEST_WAIT))
    own = PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if where == "cuda" else "gloo"
    if where == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=LONGEST_WAIT)


def adamw(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=plan.learning_rate)


@torch.no_grad()
def prepared(model: nn.Module, plan: Plan) -> nn.Module:
    """The model laid out in memory and compiled, if that is planned; its weights stay the same objects."""
    if plan.channels_last:
        for parameter in model.parameters():
            parameter.data = channels_last(parameter.data)
    return cast("nn.Module", torch.compile(model)) if plan.compile else model


def seed_torch(device: torch.device, seed: int) -> None:
    """As torch.manual_seed, which takes a millisecond for the devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
