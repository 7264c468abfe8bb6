"""The training loop."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from trifocal.files import atomic_file
from trifocal.predictor import Cancelled, silent
from trifocal.training.batches import batches, steps_in_epoch
from trifocal.training.curves import draw_curves, write_table
from trifocal.training.group import Group
from trifocal.training.interrupt import CANCELLED, Interrupts, stop_by
from trifocal.training.lock import locked
from trifocal.training.plan import Plan, learning_rate_at, seed_of
from trifocal.training.setup import adamw, fabric_for, prepared, seed_torch
from trifocal.training.state import Average, Keeper, Position, write_best

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lightning_fabric import Fabric
    from torch import Tensor, nn

    from trifocal.predictor import Progress

    Loss = Callable[[nn.Module, Any], Mapping[str, Tensor]]
    Validate = Callable[[nn.Module], Mapping[str, float]]

SAVE_EVERY_S = 300.0
SAVE_REPORT_EVERY_S = 30.0  # a report without validation; epochs may take milliseconds
DRAW_EVERY_S = 10.0


class Samples(Protocol):
    """A map-style data set. If it has `set_epoch(epoch)`, that is called before each epoch.

    Random augmentation must depend on seed, epoch and index alone, or a run that goes on differs from one
    that was never interrupted.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Fitted:
    """What came of a run.

    Attributes:
        epochs: Seen, as a fraction where the budget ended the run within one.
        steps: Done.
        seconds: Wall clock, over all parts of the run.
        best_score: Lowest; None where nothing validates.
        rows: As in `curves.csv`.
        stopped_by: What ended the run.
    """

    epochs: float
    steps: int
    seconds: float
    best_score: float | None
    rows: tuple[dict[str, float], ...]
    stopped_by: Literal["epochs", "budget", "patience"]


def fit(
    model: nn.Module,
    train: Samples,
    loss: Loss,
    plan: Plan,
    out: Path | str,
    *,
    validate: Validate | None = None,
    device: str = "auto",
    progress: Progress = silent,
    resume: bool = True,
    force: bool = False,
) -> Fitted:
    """Train a model by AdamW; it ends with the weights of the last step, `best_weights(out)` has the best.

    The folder gets `last.pt` (to go on from; at each validation, every five minutes, at an interruption),
    `before.pt` (the state before that, in case the last one is damaged), `best.pt`, `curves.csv`,
    `curves.png` and `plan.json`. A run that goes on ends with the weights of one that was never interrupted,
    bit for bit on a CPU with as many threads, if there is no budget: the order of the samples and torch's
    random numbers are functions of seed, epoch, step and process (torch's global generator is seeded anew in
    each step).

    Started by torchrun or srun, the processes share the samples of each step and average their gradients;
    the first one validates, writes and shows progress. All need to see the folder.

    Args:
        model: Changed in place, and moved to the device.
        train: What one epoch sees.
        loss: Takes the model and a collated batch on the device, returns scalars; "loss" is minimised, others
            are logged.
        plan: How.
        out: Folder of the run; made if need be.
        validate: Takes the model (averaged if `plan.ema`) in evaluation mode and without gradients; "score"
            decides which weights are best (lower is better), others are logged.
        device: "auto", "cpu" or "cuda".
        progress: Called after every step; may raise `Cancelled`.
        resume: Go on with the run in `out`, if there is one; else start anew over it.
        force: Go on with it though plan, data set or number of processes are others: at the same epoch.

    Raises:
        Cancelled: Or KeyboardInterrupt, after the step was ended and its state saved. `Stopped`, which is a
            kind of it, after SIGTERM or SIGUSR1.
        ValueError: If the folder holds a run of another plan, data set or model, or one that is going on.
        FloatingPointError: If loss or gradient is not finite; the last saved state stays.
        MemoryError: If the GPU is too small for the batch.
        OSError: If the disk is full; the last saved state stays.
        ImportError: If Lightning Fabric is not installed.
    """
    out, group = Path(out), Group.here()
    fabric = fabric_for(plan, device, group)
    if len(train) == 0:
        msg = "the training set must have at least one sample, got none"
        raise ValueError(msg)
    with ExitStack() as stack:
        group.first(lambda: stack.enter_context(locked(out)))
        return _fit(model, train, loss, plan, out, validate, progress, (resume, force), fabric, group)


def _fit(
    model: nn.Module,
    train: Samples,
    loss: Loss,
    plan: Plan,
    out: Path,
    validate: Validate | None,
    progress: Progress,
    go_on: tuple[bool, bool],
    fabric: Fabric,
    group: Group,
) -> Fitted:
    optimized = adamw(model, plan)
    wrapped, optimizer = fabric.setup(prepared(model, plan), optimized)
    average = Average(model, plan.ema) if plan.ema else None
    judged = average.model if average else model
    run = Position()
    parts = {"model": model, "optimizer": optimized, "precision": fabric.strategy.precision}
    if average:
        parts["average"] = average.model
    keeper = Keeper(out, plan, len(train), parts, run, group.size, go_on[1])
    _go_on(keeper, group, resume=go_on[0])

    in_epoch = steps_in_epoch(len(train), plan, group.size)
    steps, every = in_epoch * plan.epochs, max(1, round(in_epoch * plan.validate_every))
    pieces = batches(fabric, train, plan, run.step, group)
    began = monotonic() - run.seconds
    saved = drawn = run.seconds
    whole = True  # model, optimizer and position are those of the end of the same step
    stop = 0
    model.train()
    with Interrupts() as interrupts, closing(pieces):  # which ends the workers
        try:
            while True:
                stop = max(stop, interrupts.kept)
                run.seconds, stop = group.agree(monotonic() - began, stop, fabric.device)
                if stop:
                    raise stop_by(stop)
                done = _fraction(plan, run.step / steps, run.seconds)
                ended = done >= 1 or _out_of_patience(plan, run)
                validates = run.step % every == 0 or done >= 1
                if run.step > run.reported and (validates or run.step % in_epoch == 0):
                    figures = (
                        group.first(lambda: _figures(validate, judged)) if validates and validate else {}
                    )
                    run.seconds, _ = group.agree(monotonic() - began, 0, fabric.device)
                    rate = learning_rate_at(done, plan)
                    row = {"epoch": run.step / in_epoch, "step": run.step, "seconds": run.seconds}
                    _report(keeper, group, judged, row | {"learning_rate": rate}, figures)
                    ended = done >= 1 or _out_of_patience(plan, run)
                    if figures or ended or run.seconds - saved > SAVE_REPORT_EVERY_S:
                        _save(keeper, group, None if validate else judged)
                        saved = run.seconds
                    if group.leads and (ended or run.seconds - drawn > DRAW_EVERY_S):
                        draw_curves(keeper.out / "curves.png", run.rows)
                        drawn = run.seconds
                elif run.seconds - saved > SAVE_EVERY_S:
                    _save(keeper, group, None if validate else judged)
                    saved = run.seconds
                if group.leads:
                    stop = _tell(progress, run, done, in_epoch, plan, alone=group.size == 1)
                if ended:
                    break

                middle = _fraction(plan, (run.step + 0.5) / steps, run.seconds)  # neither end has rate 0
                rate = learning_rate_at(middle, plan)
                for parameters in optimized.param_groups:
                    parameters["lr"] = rate
                where = f"epoch {run.step // in_epoch + 1}, step {run.step + 1}, learning rate {rate:.3g}"
                seed_torch(fabric.device, seed_of(plan.seed, 1, run.step, group.rank))
                optimizer.zero_grad(set_to_none=True)
                values: dict[str, float] = {}  # means over the step
                samples, last = 0, False
                while not last:
                    piece = next(pieces)
                    whole, last = False, piece.last
                    with _synchronised(fabric, wrapped, group, piece.last):
                        losses = loss(wrapped, piece.batch)
                        found = _values(losses, group)
                        _check_finite("loss", found["loss"], where)
                        # (times 1 where the step has one piece)
                        fabric.backward(losses["loss"] if piece.share == 1 else losses["loss"] * piece.share)
                    for name, value in found.items():
                        values[name] = values.get(name, 0.0) + value * piece.share
                    samples += piece.samples * group.size
                norm = fabric.clip_gradients(
                    wrapped, optimizer, max_norm=plan.gradient_clip or math.inf, error_if_nonfinite=False
                )
                # In 16-mixed the scaler skips such a step, and lowers its scale.
                if norm is not None and plan.precision != "16-mixed":
                    _check_finite("gradient", float(norm), where)
                optimizer.step()
                if average:
                    average.update(model, run.step + 1)
                run.add(values, samples)
                whole = True
        except (Cancelled, KeyboardInterrupt):
            if whole and (stop or group.size == 1):
                _save(keeper, group, None if validate else judged)
            raise
        except torch.OutOfMemoryError as error:
            msg = (
                f"the GPU has too little memory for batch_size {plan.batch_size}: lower it and raise "
                "accumulate by as much, in another folder"
            )
            raise MemoryError(msg) from error
    return Fitted(
        epochs=run.step / in_epoch,
        steps=run.step,
        seconds=run.seconds,
        best_score=run.best,
        rows=tuple(run.rows),
        stopped_by=_reason(run.step >= steps, plan, run),
    )


def _go_on(keeper: Keeper, group: Group, *, resume: bool) -> None:
    """Load the newest state of the run in the folder, or make the folder that of a new run."""
    found = group.first(keeper.newest) if resume else None
    if found is not None:
        keeper.load(found)
        group.wait()  # before the first one writes
    if group.leads and (found is None or keeper.force):
        if found is None:
            keeper.forget()
        _write_plan(keeper.out / "plan.json", keeper.plan, keeper.samples)


def _tell(progress: Progress, run: Position, done: float, in_epoch: int, plan: Plan, *, alone: bool) -> int:
    """Show progress. Among several processes the wish to stop is kept until all can know of it."""
    try:
        progress(done, _message(run, done, run.step / in_epoch, plan.epochs))
    except Cancelled:
        if alone:
            raise
        return CANCELLED
    return 0


def _synchronised(fabric: Fabric, wrapped: Any, group: Group, last: bool) -> AbstractContextManager[Any]:
    """The processes share their gradients once a step, with its last piece."""
    return fabric.no_backward_sync(wrapped) if group.size > 1 and not last else nullcontext()


def _out_of_patience(plan: Plan, run: Position) -> bool:
    return plan.patience is not None and run.stale >= plan.patience


def _reason(complete: bool, plan: Plan, run: Position) -> Literal["epochs", "budget", "patience"]:
    if complete:
        return "epochs"
    return "patience" if _out_of_patience(plan, run) else "budget"


def _fraction(plan: Plan, of_steps: float, seconds: float) -> float:
    """How much of the run is done: by steps or by time, whichever is further."""
    of_time = seconds / (60 * plan.budget_minutes) if plan.budget_minutes else 0.0
    return min(max(of_steps, of_time), 1.0)


def _values(losses: Mapping[str, Tensor], group: Group) -> dict[str, float]:
    """The losses as numbers, in one transfer from the device; their means over the processes."""
    if "loss" not in losses or any(value.numel() != 1 for value in losses.values()):
        found = {name: tuple(value.shape) for name, value in losses.items()}
        msg = f'loss must return scalars, one of them called "loss", got the shapes {found}'
        raise ValueError(msg)
    stacked = torch.stack([value.detach().float().reshape(()) for value in losses.values()])
    return dict(zip(losses, group.mean(stacked).tolist(), strict=True))


def _check_finite(what: str, value: float, where: str) -> None:
    if not math.isfinite(value):
        msg = (
            f"the {what} must be finite, got {value} at {where}: lower it or look at the data; "
            "the last saved state stays"
        )
        raise FloatingPointError(msg)


@torch.no_grad()
def _figures(validate: Validate, judged: nn.Module) -> dict[str, float]:
    judged.eval()
    try:
        figures = {name: float(value) for name, value in validate(judged).items()}
    finally:
        judged.train()
    if "score" not in figures:
        msg = f'validate must return "score" (lower is better), got {", ".join(figures) or "nothing"}'
        raise ValueError(msg)
    return figures


def _report(
    keeper: Keeper, group: Group, judged: nn.Module, row: dict[str, float], figures: Mapping[str, float]
) -> None:
    """Add a row, and write the weights if they are the best: before the state that says how good they are."""
    run = keeper.position
    score = figures.get("score", math.nan)
    if figures and run.judge(score):
        group.first(lambda: write_best(keeper.out, judged, run.step, score))
    means = {f"train_{name}": total / run.samples for name, total in run.sums.items()}
    run.close(row | means | {f"val_{name}": value for name, value in figures.items()})


def _save(keeper: Keeper, group: Group, unjudged: nn.Module | None) -> None:
    """Write where the run is; where nothing validates, the latest weights count as the best."""

    def write() -> None:
        if unjudged is not None:
            write_best(keeper.out, unjudged, keeper.position.step, None)
        keeper.save()
        write_table(keeper.out / "curves.csv", keeper.position.rows)

    group.first(write)


def _message(run: Position, done: float, epoch: float, epochs: int) -> str:
    parts = [f"epoch {min(int(epoch) + 1, epochs)} of {epochs}"]
    if run.samples:
        parts.append(f"loss {run.sums['loss'] / run.samples:.4g}")
    elif run.rows:
        parts.append(f"loss {run.rows[-1]['train_loss']:.4g}")
    if done > 0:
        left = run.seconds * (1 - done) / done
        parts.append(f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left")
    return ", ".join(parts)


def _write_plan(path: Path, plan: Plan, samples: int) -> None:
    text = json.dumps({**asdict(plan), "samples": samples}, indent=2)
    with atomic_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
