"""The plan of a training run, and what follows from it alone: learning rate, order of the samples, seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class Plan:
    """How to train; stored in the run's folder, and compared when a run goes on.

    Attributes:
        epochs: Times that every sample is seen.
        batch_size: Samples that a process has in memory at a time; an epoch's last batch may have fewer.
        learning_rate: The highest one, after the warm-up.
        warmup: Fraction of the run in which the learning rate rises.
        weight_decay: Of AdamW; biases and norm parameters (one axis or none) do not decay.
        gradient_clip: Highest 2-norm of the gradient; None leaves it as it is.
        budget_minutes: Wall clock, validation and earlier parts of the run included; None for no limit. The
            run is annealed to its end either way, and stops after the step in which the budget is used up.
        seed: Of the sample order and of torch's random numbers in each step.
        workers: Processes that load samples; 0 loads in the training process.
        precision: "32-true", "bf16-mixed", or "16-mixed" (CUDA only).
        ema: Decay per step of the averaged weights, which are then the ones validated and kept; 0 for none.
        validate_every: Epochs between validations; a fraction validates within epochs.
        accumulate: Batches whose gradients make one step, as one large batch would: a step has batch_size
            times accumulate samples in each process.
        patience: Stop after so many validations in a row without a lower score; None for never.
        channels_last: Keep the channels of volumes innermost in memory. Faster for 3-D convolutions on a GPU
            in half precision and for wide ones on a CPU; slower for few channels.
        compile: By torch.compile. Takes a minute or more at the start and again for each new shape of input,
            and needs a C++ compiler on a CPU; pays for long runs of one shape on a GPU.
    """

    epochs: int
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: float = 0.03
    weight_decay: float = 0.01
    gradient_clip: float | None = 1.0
    budget_minutes: float | None = None
    seed: int = 0
    workers: int = 0
    precision: str = "32-true"
    ema: float = 0.0
    validate_every: float = 1.0
    accumulate: int = 1
    patience: int | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        whole = {"epochs": 1, "batch_size": 1, "seed": 0, "workers": 0, "accumulate": 1}
        if self.patience is not None:
            whole["patience"] = 1
        for name, least in whole.items():
            value = getattr(self, name)
            _check(
                name, value, f"a whole number of {least} or more", isinstance(value, int) and value >= least
            )
        _check("learning_rate", self.learning_rate, "above 0", 0 < self.learning_rate < math.inf)
        _check("warmup", self.warmup, "a fraction from 0 to below 1", 0 <= self.warmup < 1)
        _check("weight_decay", self.weight_decay, "0 or more", 0 <= self.weight_decay < math.inf)
        _check("ema", self.ema, "from 0 to below 1", 0 <= self.ema < 1)
        _check("validate_every", self.validate_every, "above 0", 0 < self.validate_every < math.inf)
        for name in ("gradient_clip", "budget_minutes"):
            value = getattr(self, name)
            _check(name, value, "above 0, or None", value is None or 0 < value < math.inf)
        _check("precision", self.precision, f"one of {', '.join(PRECISIONS)}", self.precision in PRECISIONS)


def learning_rate_at(progress: float, plan: Plan) -> float:
    """Linear warm-up, then half a cosine down to 0.

    With w = `plan.warmup`: rate = top * p / w for p < w, else top * (1 + cos(pi (p - w) / (1 - w))) / 2
    (Goyal et al. 2017, arXiv:1706.02677; Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, one period).

    Args:
        progress: Fraction of the run, 0 to 1; beyond is taken as the end.
        plan: Gives the top and the warm-up.
    """
    p = min(max(progress, 0.0), 1.0)
    if p < plan.warmup:
        return plan.learning_rate * p / plan.warmup
    return plan.learning_rate * (1 + math.cos(math.pi * (p - plan.warmup) / (1 - plan.warmup))) / 2


def sample_order(samples: int, seed: int, epoch: int) -> list[int]:
    """Permute an epoch's samples; only the arguments decide, so that a run can go on within an epoch."""
    generator = torch.Generator().manual_seed(seed_of(seed, 0, epoch))
    return torch.randperm(samples, generator=generator).tolist()


def seed_of(seed: int, stream: int, number: int, rank: int = 0) -> int:
    """A seed of its own for each purpose, number and process, mixed so that neighbours are independent."""
    words = [seed, stream, number, rank] if rank else [seed, stream, number]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def _check(name: str, value: object, wanted: str, holds: bool) -> None:
    if not holds:
        msg = f"{name} must be {wanted}, got {value!r}"
        raise ValueError(msg)
