"""`trifocal train focus`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from trifocal.cli.progress import Bar
from trifocal.focus.losses import LossWeights
from trifocal.focus.model import ModelConfig
from trifocal.focus.train import FIGURES, Recipe, train
from trifocal.training import Group, Plan


@dataclass(kw_only=True)
class TrainFocus:
    """Train the network of the focus engine on simulated cases. Research use only.

    Writes focus.safetensors and focus.json (the weights and their card), curves.csv, curves.png and what a
    run that was interrupted goes on from: start the same command again.

    Examples:
        trifocal simulate focus --heads 300 --poses 4 --out data

        trifocal train focus --data data --out run --budget-minutes 60

        torchrun --nproc-per-node 8 train_cli.py train focus --data data --out run --device cuda

    Attributes:
        data: Folders that `simulate focus --heads` or `--cts` has written.
        out: Folder of the run.
        init_from: Begin with the weights of this focus.safetensors, of a network of the same size.
        budget_minutes: End after so long, the learning rate having come down; no limit if left out.
        epochs: End after so many passes over the data at the latest.
        patience: End after so many validations without a better score; never if left out.
        batch_size: Cases that each process has in memory at a time.
        accumulate: Batches to a step.
        learning_rate: Highest of the schedule.
        widths: Channels of the levels of the network, finest first; multiples of 16 are fast.
        blocks: Residual blocks on each level.
        focus_weight: Weight of the focal region in the loss.
        heads: Use only so many of the training heads.
        seed: Of the initial weights, the order of the cases and their augmentation.
        ema: Decay of the averaged weights that are kept; 0 for none.
        workers: Processes that read the data.
        precision: Of the arithmetic.
        compile: By torch.compile: minutes at the start, for long runs on a GPU.
        force: Go on with the run in `out` though options or data have changed.
        device: Where to train.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    data: list[Path]
    out: Path
    init_from: Path | None = None
    budget_minutes: float | None = None
    epochs: int = 40
    patience: int | None = None
    batch_size: int = 2
    accumulate: int = 1
    learning_rate: float = 3e-4
    widths: tuple[int, ...] = ModelConfig.widths
    blocks: int = ModelConfig.blocks
    focus_weight: float = LossWeights.focus
    heads: int | None = None
    seed: int = 0
    ema: float = 0.998
    workers: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    force: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Train and report."""
        plan = Plan(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            budget_minutes=self.budget_minutes,
            seed=self.seed,
            workers=self.workers,
            precision=self.precision,
            ema=self.ema,
            warmup=0.05,
            validate_every=2,
            accumulate=self.accumulate,
            patience=self.patience,
            compile=self.compile,
        )
        loss = LossWeights(focus=self.focus_weight)
        recipe = Recipe(plan, ModelConfig(self.widths, self.blocks), loss, self.heads)
        fitted, checkpoint = train(
            self.data,
            self.out,
            recipe,
            init_from=self.init_from,
            force=self.force,
            device=self.device,
            progress=Bar(),
        )
        if not Group.here().leads:
            return 0
        figures = checkpoint.card["validation"]
        lines = [
            f"{fitted.epochs:.1f} epochs in {fitted.seconds / 60:.0f} min, ended by the {fitted.stopped_by}",
            "on held-back heads, mean: " + ", ".join(f"{n} {figures[n]:.3f}" for n in FIGURES),
            f"written to {self.out / 'focus.safetensors'}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
