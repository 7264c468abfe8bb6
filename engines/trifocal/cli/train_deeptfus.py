"""`trifocal train deeptfus`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from trifocal.cli.progress import Bar
from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.inputs import Task
from trifocal.focus.deeptfus.presets import BATCH_SIZE, PRESETS
from trifocal.focus.deeptfus.train import PUBLISHED, Recipe, train
from trifocal.training import Group, Plan


@dataclass(kw_only=True)
class TrainDeeptfus:
    """Train the published network, DeepTFUS, on data of the TFUScapes format. Research use only.

    Writes deeptfus.safetensors and deeptfus.json (weights and their card), curves.csv, curves.png and what
    a run that was interrupted goes on from: start the same command again.

    Examples:
        trifocal export tfuscapes --data cases --out tfuscapes

        trifocal train deeptfus --data tfuscapes --voxels 64 --out base

        trifocal train deeptfus --data tfuscapes --preset E --init-from base/deeptfus.safetensors --out E

    Attributes:
        data: Folder of the data set: the published one, or one that `export tfuscapes` has written.
        out: Folder of the run.
        preset: Loss, learning rate and epochs: the published recipe (base) or one of the fine-tunes A to E.
        init_from: Weights of the same network to go on from; the fine-tunes need them.
        voxels: Edge of the network's cube; the data's, or that over a power of 2.
        frame: Axes of the data set's cubes.
        absolute: Answer relative to the peak of the bowl in water instead of the field's own peak.
        prior: Give it the march's amplitude too (`exp_k_has.npy`).
        base_width: Channels of the finest level.
        attention_levels: How many of the deepest levels the transducer attends to.
        bidirectional: Voxels attend to the transducer, too, as in the paper.
        film: Modulate the decoder by the transducer, as in the paper.
        checkpointing: Compute each level again for its gradient: less memory, a third more time.
        mirror: Mirror the samples at random.
        budget_minutes: End after so long, the learning rate having come down; no limit if left out.
        epochs: Passes over the data; the preset's if left out.
        batch_size: Samples that each process has in memory at a time.
        accumulate: Batches to a step.
        learning_rate: Highest of the schedule; the preset's if left out.
        seed: Of the initial weights, the order of the samples, mirrors and points.
        ema: Decay of the averaged weights that are kept; 0 for none.
        workers: Processes that read the data.
        validate_every: Epochs between validations.
        precision: Of the arithmetic.
        device: Where to train.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    data: Path
    out: Path
    preset: Literal["base", "A", "B", "C", "D", "E"] = "base"
    init_from: Path | None = None
    voxels: int = Task.voxels
    frame: Literal["world", "bowl"] = "world"
    absolute: bool = False
    prior: bool = False
    base_width: int = DeepTFUSConfig.base_width
    attention_levels: int = DeepTFUSConfig.attention_levels
    bidirectional: bool = False
    film: bool = False
    checkpointing: bool = False
    mirror: bool = False
    budget_minutes: float | None = None
    epochs: int | None = None
    batch_size: int = BATCH_SIZE
    accumulate: int = 1
    learning_rate: float | None = None
    seed: int = 0
    ema: float = 0.0
    workers: int = 0
    validate_every: float = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Train and report."""
        preset = PRESETS[self.preset]
        if preset.from_base and self.init_from is None:
            msg = f"preset {self.preset} must go on from a base run, give its weights: --init-from FILE"
            raise ValueError(msg)
        plan = Plan(
            epochs=self.epochs or preset.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate or preset.learning_rate,
            budget_minutes=self.budget_minutes,
            seed=self.seed,
            workers=self.workers,
            precision=self.precision,
            ema=self.ema,
            validate_every=self.validate_every,
            accumulate=self.accumulate,
        )
        model = DeepTFUSConfig(
            base_width=self.base_width,
            attention_levels=self.attention_levels,
            bidirectional=self.bidirectional,
            film=self.film,
            prior=self.prior,
            checkpointing=self.checkpointing,
        )
        task = Task(self.voxels, self.frame, self.absolute)
        recipe = Recipe(self.preset, plan, model, task, preset.loss, self.mirror)
        fitted, checkpoint = train(
            self.data, self.out, recipe, init_from=self.init_from, device=self.device, progress=Bar()
        )
        if not Group.here().leads:
            return 0
        figures = checkpoint.card["validation"]
        lines = [
            f"{fitted.epochs:.1f} epochs in {fitted.seconds / 60:.0f} min, ended by the {fitted.stopped_by}",
            "on the validation split, mean: " + ", ".join(f"{n} {figures[n]:.3f}" for n in PUBLISHED),
            f"written to {self.out / 'deeptfus.safetensors'}",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
