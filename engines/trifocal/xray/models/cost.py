"""What a long computation will take, judged by a small part of it that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

_SECOND_LOOKS = 2
"""A first pass pays for choosing kernels and for fresh memory; the shortest of the others counts."""


@dataclass(frozen=True)
class Cost:
    """Time and memory.

    Attributes:
        seconds: On the machine that it was measured on, as busy as it was then.
        bytes: Upper bound of what is needed beyond weights and inputs: as if all answers of layers were kept.
    """

    seconds: float
    bytes: float

    def __add__(self, other: Cost) -> Cost:
        """One after the other: the times add up, the memory is that of the larger one."""
        return Cost(self.seconds + other.seconds, max(self.bytes, other.bytes))

    def repeated(self, times: float) -> Cost:
        """So often, one after the other."""
        return Cost(self.seconds * times, self.bytes)

    def on(self, share: float) -> Cost:
        """The same on so many times as many voxels, all at a time."""
        return Cost(self.seconds * share, self.bytes * share)

    def __str__(self) -> str:
        """As people read it."""
        seconds = self.seconds
        if seconds > 90:
            time = f"{seconds / 60:.0f} min"
        else:
            time = f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
        size = self.bytes / 2**30
        return f"about {time}, at most {size:.1f} GiB" if size >= 0.1 else f"about {time}, less than 0.1 GiB"


@torch.no_grad()
def measured(module: nn.Module, run: Callable[[], object]) -> Cost:
    """Time of `run`, and the bytes of all that the module's layers answer on the way.

    Args:
        module: What `run` calls, in evaluation mode.
        run: The small part.
    """
    answered = [0]

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            answered[0] += output.numel() * output.element_size()

    leaves = [m for m in module.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    times = []
    for _ in range(_SECOND_LOOKS):
        began = perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(perf_counter() - began)
    return Cost(min(times), answered[0])
