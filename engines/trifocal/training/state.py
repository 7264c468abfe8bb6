"""Where a run is, and how it gets to the disk and back."""

from __future__ import annotations

import copy
import io
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from trifocal.training.plan import Plan


@dataclass
class Position:
    """How far a run has come. All of it is numbers and text, so that it is read without unpickling code.

    Attributes:
        step: Steps done.
        seconds: Wall clock used, over all parts of the run.
        reported: Step of the last row.
        best: Lowest score so far.
        rows: What `curves.csv` holds, a dictionary of column to value each.
        sums: Of each train loss since the last row, weighted by samples.
        samples: Counted in `sums`.
    """

    step: int = 0
    seconds: float = 0.0
    reported: int = 0
    best: float | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    samples: int = 0

    def add(self, losses: Mapping[str, float], samples: int) -> None:
        """Count a step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * samples
        self.samples += samples
        self.step += 1

    def close(self, row: dict[str, float]) -> None:
        """Add a row and begin the next."""
        self.rows.append(row)
        self.sums, self.samples, self.reported = {}, 0, self.step


class Average:
    """Exponential moving average of a model's weights.

    After step n: average += (1 - d) (weights - average) with d = min(decay, (1 + n) / (10 + n)), so that a
    short run does not remember its random start (as tf.train.ExponentialMovingAverage does). Buffers are
    copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, new in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, 1 - decay)
        for kept, now in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(now)


@dataclass(frozen=True)
class Keeper:
    """Everything that a run must find again, bound to the file `last.pt`.

    Attributes:
        out: Folder of the run.
        plan: Of the run; a stored one must agree, apart from the budget.
        samples: Length of the training set; must agree too.
        parts: What has a `state_dict` and `load_state_dict`, by name: model, optimizer, average, precision.
        position: Changed in place by `load`.
    """

    out: Path
    plan: Plan
    samples: int
    parts: Mapping[str, Any]
    position: Position

    def save(self) -> None:
        """Write `last.pt`, whole or not at all."""
        state = {
            "plan": asdict(self.plan),
            "samples": self.samples,
            "position": asdict(self.position),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        write_state(self.out / "last.pt", state)

    def load(self) -> bool:
        """Go to where `last.pt` is, if there is one.

        Raises:
            ValueError: If it belongs to another plan, data set or model, or cannot be read.
        """
        path = self.out / "last.pt"
        if not path.exists():
            return False
        state = read_state(path)
        self._compare(state)
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        for name, value in state["position"].items():
            setattr(self.position, name, value)
        return True

    def _compare(self, state: Mapping[str, Any]) -> None:
        said = {**state["plan"], "samples": state["samples"]} | _shapes(state["parts"]["model"])
        wanted = {**asdict(self.plan), "samples": self.samples} | _shapes(self.parts["model"].state_dict())
        # The budget may grow, and the number of workers changes nothing but the speed.
        free = {"budget_minutes", "workers"}
        for name in [*wanted, *(said.keys() - wanted.keys())]:
            if name not in free and said.get(name) != wanted.get(name):
                msg = (
                    f"{name} must be {said.get(name)} to go on with the run in {self.out}, got "
                    f"{wanted.get(name)}: choose another folder, or do not resume"
                )
                raise ValueError(msg)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state by torch, whole or not at all.

    Raises:
        OSError: If the disk is full; says how much is needed. The file is as it was before.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        with atomic_file(path) as part:
            part.write_bytes(buffer.getbuffer())
    except OSError as error:
        need = buffer.tell() / 2**20
        msg = (
            f"{error}. {path.name} needs {need:.1f} MiB; the one before it is whole: make room, and the same "
            "command goes on from there"
        )
        again = OSError(msg)
        again.errno = error.errno
        raise again from error


def read_state(path: Path) -> dict[str, Any]:
    """Read a state on the CPU; runs no code that the file may hold.

    Raises:
        ValueError: If the file cannot be read.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        msg = f"{path} must be a state of a run, got something else: delete it or choose another folder"
        raise ValueError(msg) from error


def write_best(out: Path, model: nn.Module, step: int, score: float | None) -> None:
    """Write `best.pt`.

    Raises:
        OSError: If the disk is full; the file is as it was before.
    """
    write_state(out / "best.pt", {"weights": model.state_dict(), "step": step, "score": score})


def best_weights(out: Path | str) -> dict[str, Tensor]:
    """The weights of the lowest score (of the last validation, where nothing validates); averaged if ema > 0.

    Raises:
        ValueError: If `best.pt` cannot be read.
        FileNotFoundError: If the run has not come to its first validation.
    """
    weights: dict[str, Tensor] = read_state(Path(out) / "best.pt")["weights"]
    return weights


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, object]:
    return {f"the shape of {name}": tuple(tensor.shape) for name, tensor in weights.items()}
