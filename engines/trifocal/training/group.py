"""The processes of a run that torchrun or srun has started: which one this is, and how they agree."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """One process among those that train together; alone where nothing else has been started.

    Attributes:
        rank: Of this process; 0 writes, validates and shows progress.
        size: How many there are.
        on_machine: How many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    on_machine: int = 1

    @classmethod
    def here(cls) -> Group:
        """From the environment that torchrun or srun gives each of its processes."""
        names = {"rank": "RANK", "size": "WORLD_SIZE", "on_machine": "LOCAL_WORLD_SIZE"}
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return cls(**{name: int(os.environ[said]) for name, said in names.items()})
        # Of a step, which srun makes: the script of a batch job has SLURM_NTASKS too, but is one process.
        size = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
        if size > 1:
            machines = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
            return cls(int(os.environ["SLURM_PROCID"]), size, size // machines)
        return cls()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def first(self, action: Callable[[], T]) -> T:
        """Let the first process do something; all return what came of it, or raise what it raised."""
        if self.size == 1:
            return action()
        told: list[Any] = [None, None]
        if self.leads:
            try:
                told[0] = action()
            except Exception as error:
                distributed.broadcast_object_list([None, error], src=0)
                raise
        distributed.broadcast_object_list(told, src=0)
        if told[1] is not None:
            raise told[1]
        result: T = told[0]
        return result

    def agree(self, seconds: float, stop: int, device: torch.device) -> tuple[float, int]:
        """The clock of the first process, and the highest of the numbers that ask to stop."""
        if self.size == 1:
            return seconds, stop
        both = torch.tensor([seconds if self.leads else 0.0, stop], dtype=torch.float64, device=device)
        distributed.all_reduce(both, distributed.ReduceOp.MAX)
        return float(both[0]), int(both[1])

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes; NaN for all where one has it, so that all stop together."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            distributed.barrier()
