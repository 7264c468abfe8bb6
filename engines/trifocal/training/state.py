"""Where a run is, and how it gets to the disk and back."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trifocal.training.batches import steps_in_epoch
from trifocal.training.plan import Plan
from trifocal.training.stored import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

LAST, BEFORE, BEST = "last.pt", "before.pt", "best.pt"
# The budget may grow, workers change nothing but the speed, and patience is looked at when a run stops.
FREE = {"budget_minutes", "workers", "patience"}
log = logging.getLogger(__name__)


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
        stale: Validations since the lowest score.
    """

    step: int = 0
    seconds: float = 0.0
    reported: int = 0
    best: float | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    stale: int = 0

    def add(self, losses: Mapping[str, float], samples: int) -> None:
        """Count a step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * samples
        self.samples += samples
        self.step += 1

    def judge(self, score: float) -> bool:
        """Take in a score; whether it is the lowest so far."""
        better = score < (math.inf if self.best is None else self.best)
        self.best, self.stale = (score, 0) if better else (self.best, self.stale + 1)
        return better

    def rescale(self, ratio: float) -> None:
        """Stay at the same epoch where an epoch has `ratio` times as many steps as before."""
        self.step, self.reported = round(self.step * ratio), round(self.reported * ratio)

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
    """Everything that a run must find again, bound to `last.pt` and the state before it, `before.pt`.

    Attributes:
        out: Folder of the run.
        plan: Of the run; a stored one must agree, apart from what is free.
        samples: Length of the training set; must agree too.
        parts: What has a `state_dict` and `load_state_dict`, by name: model, optimizer, average, precision.
        position: Changed in place by `load`.
        processes: That train together; must agree too.
        force: Go on with a stored run of another plan, data set or number of processes; the network must be
            the same.
    """

    out: Path
    plan: Plan
    samples: int
    parts: Mapping[str, Any]
    position: Position
    processes: int = 1
    force: bool = False

    def save(self) -> None:
        """Write `last.pt`, whole or not at all."""
        state = {
            **self._described(),
            "plan": asdict(self.plan),
            "position": asdict(self.position),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        write_state(self.out / LAST, state, keep=self.out / BEFORE)

    def newest(self) -> Path | None:
        """The newest file that can be read; says so on the log if that is not the last one.

        Raises:
            ValueError: If there are files, and none can be read.
        """
        files = [path for path in (self.out / LAST, self.out / BEFORE) if path.exists()]
        problems = []
        for path in files:
            try:
                step = read_state(path)["position"]["step"]
            except ValueError as error:
                problems.append(error)
                continue
            if path.name != LAST:
                why = problems[0] if problems else f"{self.out / LAST} is gone"
                log.warning("%s: going on from %s, after step %d", why, path.name, step)
            return path
        if problems:
            raise problems[0]
        return None

    def forget(self) -> None:
        """Remove the states of an earlier run."""
        for name in (LAST, BEFORE):
            (self.out / name).unlink(missing_ok=True)

    def load(self, path: Path) -> None:
        """Go to where a file is.

        Raises:
            ValueError: If it is of another network, or of another plan or data set and that is not forced.
        """
        state = read_state(path)
        self._check_network(state["parts"]["model"])
        changed = self._changes(state)
        if changed and not self.force:
            name, (stored, wanted) = next(iter(changed.items()))
            msg = (
                f"{name} must be {stored} to go on with the run in {self.out}, got {wanted}: choose another "
                "folder, do not resume, or force it"
            )
            raise ValueError(msg)
        self._fill(state["parts"])
        for name, value in state["position"].items():
            setattr(self.position, name, value)
        if changed:
            told = "; ".join(
                f"{name} is {wanted}, was {stored}" for name, (stored, wanted) in changed.items()
            )
            log.warning("going on with the run in %s by force: %s", self.out, told)
            before = Plan(
                **{name: state["plan"].get(name, value) for name, value in asdict(self.plan).items()}
            )
            old = steps_in_epoch(state["samples"], before, state.get("processes", 1))
            self.position.rescale(steps_in_epoch(self.samples, self.plan, self.processes) / old)

    def _described(self) -> dict[str, int]:
        return {"samples": self.samples, "processes": self.processes}

    def _check_network(self, stored: Mapping[str, Tensor]) -> None:
        said, wanted = _shapes(stored), _shapes(self.parts["model"].state_dict())
        missing = [f"no {n} in it" for n in wanted if n not in said]
        missing += [f"{n}, which this one has not" for n in said if n not in wanted]
        if missing:
            msg = f"{self.out} holds a run of another network ({missing[0]}): choose another folder"
            raise ValueError(msg)
        for name, shape in wanted.items():
            if said[name] != shape:
                msg = (
                    f"the shape of {name} must be {said[name]} to go on with the run in {self.out}, got "
                    f"{shape}: choose another folder, or do not resume"
                )
                raise ValueError(msg)

    def _changes(self, state: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """What is stored and what is wanted, where they differ."""
        usual = {f.name: f.default for f in fields(Plan)} | {"processes": 1}  # of runs of older versions
        said = {**usual, **state["plan"], **{n: state[n] for n in self._described() if n in state}}
        wanted = {**asdict(self.plan), **self._described()}
        names = [*wanted, *(said.keys() - wanted.keys())]
        both = {name: (said.get(name), wanted.get(name)) for name in names if name not in FREE}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1]}

    def _fill(self, stored: Mapping[str, Any]) -> None:
        decays = [group["weight_decay"] for group in self.parts["optimizer"].param_groups]
        for name, part in self.parts.items():
            # An average that was not kept before starts from the weights.
            part.load_state_dict(stored[name] if name in stored else stored["model"])
        for group, decay in zip(self.parts["optimizer"].param_groups, decays, strict=True):
            group["weight_decay"] = decay  # the plan's, not the stored one


def write_best(out: Path, model: nn.Module, step: int, score: float | None) -> None:
    """Write `best.pt`.

    Raises:
        OSError: If the disk is full; the file is as it was before.
    """
    write_state(out / BEST, {"weights": model.state_dict(), "step": step, "score": score})


def best_weights(out: Path | str) -> dict[str, Tensor]:
    """The weights of the lowest score (of the last validation, where nothing validates); averaged if ema > 0.

    Raises:
        ValueError: If `best.pt` cannot be read.
        FileNotFoundError: If the run has not come to its first validation.
    """
    weights: dict[str, Tensor] = read_state(Path(out) / BEST)["weights"]
    return weights


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
