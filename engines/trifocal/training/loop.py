"""The training loop."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch.utils.data import DataLoader

from trifocal.files import atomic_file
from trifocal.predictor import Cancelled, pick_device, silent
from trifocal.training.curves import draw_curves, write_table
from trifocal.training.interrupt import Interrupts, ignore_interrupts
from trifocal.training.plan import Plan, learning_rate_at, sample_order, seed_of
from trifocal.training.state import Average, Keeper, Position, write_best

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

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
    stopped_by: Literal["epochs", "budget"]


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
) -> Fitted:
    """Train a model by AdamW; it ends with the weights of the last step, `best_weights(out)` has the best.

    The folder gets `last.pt` (to go on from; at each validation, every five minutes, at an interruption),
    `best.pt`, `curves.csv`, `curves.png` and `plan.json`. A run that goes on ends with the weights of one
    that was never interrupted, bit for bit on a CPU with as many threads, if there is no budget: the order of
    the samples and torch's random numbers are functions of seed, epoch and step (torch's global generator is
    seeded anew in each step).

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

    Raises:
        Cancelled: Or KeyboardInterrupt, after the step was ended and its state saved.
        ValueError: If the folder holds a run of another plan, data set or model.
        FloatingPointError: If loss or gradient is not finite; the last saved state stays.
        MemoryError: If the GPU is too small for the batch.
        OSError: If the disk is full; the last saved state stays.
        ImportError: If Lightning Fabric is not installed.
    """
    fabric = _fabric(plan, device)
    if len(train) == 0:
        msg = "the training set must have at least one sample, got none"
        raise ValueError(msg)
    adamw = _adamw(model, plan)
    wrapped, optimizer = fabric.setup(model, adamw)
    average = Average(model, plan.ema) if plan.ema else None
    judged = average.model if average else model
    run = Position()
    parts = {"model": model, "optimizer": adamw, "precision": fabric.strategy.precision}
    if average:
        parts["average"] = average.model
    keeper = Keeper(Path(out), plan, len(train), parts, run)
    keeper.out.mkdir(parents=True, exist_ok=True)
    if not (resume and keeper.load()):
        _write_plan(keeper.out / "plan.json", plan, len(train))

    in_epoch = math.ceil(len(train) / plan.batch_size)  # steps
    steps, every = in_epoch * plan.epochs, max(1, round(in_epoch * plan.validate_every))
    batches = _batches(fabric, train, plan, run.step)
    began = monotonic() - run.seconds
    saved = drawn = monotonic()
    whole = True  # model, optimizer and position are those of the end of the same step
    model.train()
    with Interrupts() as interrupts, closing(batches):  # which ends the workers
        try:
            while True:
                run.seconds = monotonic() - began
                done = _fraction(plan, run.step / steps, run.seconds)
                interrupts.check()
                validates = run.step % every == 0 or done >= 1
                if run.step > run.reported and (validates or run.step % in_epoch == 0):
                    figures = _figures(validate, judged) if validates and validate else {}
                    run.seconds = monotonic() - began
                    rate = learning_rate_at(done, plan)
                    row = {"epoch": run.step / in_epoch, "step": run.step, "seconds": run.seconds}
                    _report(keeper, judged, row | {"learning_rate": rate}, figures)
                    if figures or done >= 1 or monotonic() - saved > SAVE_REPORT_EVERY_S:
                        _save(keeper, None if validate else judged)
                        saved = monotonic()
                    if done >= 1 or monotonic() - drawn > DRAW_EVERY_S:
                        draw_curves(keeper.out / "curves.png", run.rows)
                        drawn = monotonic()
                elif monotonic() - saved > SAVE_EVERY_S:
                    _save(keeper, None if validate else judged)
                    saved = monotonic()
                progress(done, _message(run, done, run.step / in_epoch, plan.epochs))
                if done >= 1:
                    break

                middle = _fraction(plan, (run.step + 0.5) / steps, run.seconds)  # neither end has rate 0
                rate = learning_rate_at(middle, plan)
                for group in adamw.param_groups:
                    group["lr"] = rate
                _seed_torch(fabric.device, seed_of(plan.seed, 1, run.step))
                batch, size = next(batches)
                whole = False
                optimizer.zero_grad(set_to_none=True)
                losses = loss(wrapped, batch)
                values = _values(losses)
                _check_finite("loss", values["loss"], run.step, in_epoch, rate)
                fabric.backward(losses["loss"])
                norm = fabric.clip_gradients(
                    wrapped, optimizer, max_norm=plan.gradient_clip or math.inf, error_if_nonfinite=False
                )
                # In 16-mixed the scaler skips such a step, and lowers its scale.
                if norm is not None and plan.precision != "16-mixed":
                    _check_finite("gradient", float(norm), run.step, in_epoch, rate)
                optimizer.step()
                if average:
                    average.update(model, run.step + 1)
                run.add(values, size)
                whole = True
        except (Cancelled, KeyboardInterrupt):
            if whole:
                _save(keeper, None if validate else judged)
            raise
        except torch.OutOfMemoryError as error:
            msg = (
                f"the GPU has too little memory for batch_size {plan.batch_size}: lower it, in another folder"
            )
            raise MemoryError(msg) from error
    return Fitted(
        epochs=run.step / in_epoch,
        steps=run.step,
        seconds=run.seconds,
        best_score=run.best,
        rows=tuple(run.rows),
        stopped_by="epochs" if run.step >= steps else "budget",
    )


def _fabric(plan: Plan, device: str) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        msg = "training must have Lightning Fabric, and it is not installed: pip install trifocal[train]"
        raise ImportError(msg) from error
    where = pick_device(device).type
    if plan.precision == "16-mixed" and where != "cuda":
        msg = f"precision must be 32-true or bf16-mixed on the device {where}, got 16-mixed"
        raise ValueError(msg)
    return Fabric(accelerator=where, devices=1, precision=plan.precision)  # type: ignore[arg-type]


def _adamw(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=plan.learning_rate)


def _batches(fabric: Fabric, train: Samples, plan: Plan, step: int) -> Generator[tuple[Any, int]]:
    """Yield the batches from `step` on, on the device, with the number of samples in each."""
    in_epoch = math.ceil(len(train) / plan.batch_size)
    first, skipped = divmod(step, in_epoch)
    for epoch in range(first, plan.epochs):
        if hasattr(train, "set_epoch"):
            train.set_epoch(epoch)
        order = sample_order(len(train), plan.seed, epoch)
        chosen = [order[i : i + plan.batch_size] for i in range(0, len(order), plan.batch_size)]
        chosen = chosen[skipped if epoch == first else 0 :]
        loader: DataLoader[Any] = DataLoader(
            train,  # type: ignore[arg-type]
            batch_sampler=chosen,
            num_workers=plan.workers,
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator().manual_seed(seed_of(plan.seed, 2, epoch)),
            pin_memory=fabric.device.type == "cuda",
        )
        ready = fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        yield from zip(ready, map(len, chosen), strict=True)


def _seed_torch(device: torch.device, seed: int) -> None:
    """As torch.manual_seed, which takes a millisecond for the devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _fraction(plan: Plan, of_steps: float, seconds: float) -> float:
    """How much of the run is done: by steps or by time, whichever is further."""
    of_time = seconds / (60 * plan.budget_minutes) if plan.budget_minutes else 0.0
    return min(max(of_steps, of_time), 1.0)


def _values(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """The losses as numbers, in one transfer from the device."""
    if "loss" not in losses or any(value.numel() != 1 for value in losses.values()):
        found = {name: tuple(value.shape) for name, value in losses.items()}
        msg = f'loss must return scalars, one of them called "loss", got the shapes {found}'
        raise ValueError(msg)
    stacked = torch.stack([value.detach().float().reshape(()) for value in losses.values()])
    return dict(zip(losses, stacked.tolist(), strict=True))


def _check_finite(what: str, value: float, step: int, in_epoch: int, rate: float) -> None:
    if not math.isfinite(value):
        msg = (
            f"the {what} must be finite, got {value} at epoch {step // in_epoch + 1}, step {step + 1}, "
            f"learning rate {rate:.3g}: lower it or look at the data; the last saved state stays"
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


def _report(keeper: Keeper, judged: nn.Module, row: dict[str, float], figures: Mapping[str, float]) -> None:
    """Add a row, and write the weights if they are the best: before the state that says how good they are."""
    run = keeper.position
    score = figures.get("score", math.nan)
    if score < (math.inf if run.best is None else run.best):
        write_best(keeper.out, judged, run.step, score)
        run.best = score
    means = {f"train_{name}": total / run.samples for name, total in run.sums.items()}
    run.close(row | means | {f"val_{name}": value for name, value in figures.items()})


def _save(keeper: Keeper, unjudged: nn.Module | None) -> None:
    """Write where the run is; where nothing validates, the latest weights count as the best."""
    if unjudged is not None:
        write_best(keeper.out, unjudged, keeper.position.step, None)
    keeper.save()
    write_table(keeper.out / "curves.csv", keeper.position.rows)


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
