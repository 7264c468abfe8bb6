"""`trifocal train keypoints`: the bundled networks, and the training story of the SONICHU card."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from trifocal.cli.progress import Bar
from trifocal.keypoints.compact import CompactRecipe, train_compact
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats import read_examples
from trifocal.keypoints.sonichu import SonichuConfig
from trifocal.keypoints.sonichu.distil import WARMUP_EPOCHS
from trifocal.keypoints.sonichu.pretrain import PretrainRecipe
from trifocal.keypoints.sonichu.story import StoryRecipe, tell
from trifocal.keypoints.sonichu.teach import TeachRecipe
from trifocal.keypoints.sonichu.train import MODEL, run_distil, run_pretrain, run_pseudo_label, run_teacher
from trifocal.training import Fitted, Plan

SIZES = {
    "nano": SonichuConfig(hidden=48, layers=2, heads=2, mlp=96, image=64, head_filters=16),
    "tiny": SonichuConfig(hidden=192, layers=6, heads=3, mlp=768, head_filters=64),
    "small": SonichuConfig(hidden=384, layers=12, heads=6, mlp=1536, head_filters=128),
    "base": SonichuConfig(),
}
"""nano is for trying the commands out; base is the card's 124 M parameters."""

GROUP = 4
EPOCHS = {"pretrain": 100, "teacher": 60, "distil": 100, "compact": 60}
RATES = {"pretrain": 1e-3, "teacher": 5e-4, "distil": 5e-4, "compact": 2e-3}


@dataclass(kw_only=True)
class TrainKeypoints:
    """Train the networks of the keypoints engine. Research use only.

    compact: the bundled networks; writes keypoints.safetensors and keypoints.json. The others follow the card
    of SONICHU-124M and write a folder "model" that `SonichuModel.from_pretrained` reads:

    - pretrain: a backbone by I-JEPA, without labels
    - teacher: from a backbone (--init), with labels; --regime and --pseudo add pseudo-labels
    - pseudo-label: labels of images by teachers; writes points.csv
    - distil: a student of teachers
    - story: all of these, five regimes, and the card's two tables, in one run

    Patients to validate and to test with are held back: 15 % each, the same ones in these recipes.
    A run that was interrupted goes on when the same command is started again.

    Examples:
        trifocal simulate keypoints --images 340 --out phantoms

        trifocal train keypoints --recipe compact --data phantoms hc18 --out run --budget-minutes 120

        trifocal train keypoints --recipe story --data phantoms --out story --budget-minutes 40

    Attributes:
        recipe: What to train.
        data: Folders or tables of images with points, in any format that trifocal reads.
        out: Folder of the run.
        budget_minutes: End after so long, the learning rates having come down; no limit if left out.
        size: Of backbone and heads (not of compact).
        init: Pretrained model: its folder.
        regime: Of a teacher: R1, R2, R3, selective or r3capped; true labels alone if left out.
        pseudo: Folders that pseudo-label has written.
        teachers: Folders of models.
        labelled: Of a story: fraction of the patients whose labels are used; the other images are the
            unlabelled ones.
        epochs: End after so many passes over the data at the latest.
        batch_size: Images per step.
        learning_rate: Highest of the schedule.
        seed: Of the initial weights, the order of the images and their augmentation.
        precision: Of the arithmetic; bf16-mixed is two to three times as fast on processors that have it.
        device: Where to train.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    recipe: Literal["story", "pretrain", "teacher", "pseudo-label", "distil", "compact"]
    data: tuple[Path, ...]
    out: Path
    budget_minutes: float | None = None
    size: Literal["nano", "tiny", "small", "base"] = "tiny"
    init: Path | None = None
    regime: str | None = None
    pseudo: tuple[Path, ...] = ()
    teachers: tuple[Path, ...] = ()
    labelled: float = 0.4
    epochs: int | None = None
    batch_size: int = 16
    learning_rate: float | None = None
    seed: int = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def run(self) -> int:
        """Train and report."""
        lines = {
            "story": self._story,
            "pretrain": self._pretrain,
            "teacher": self._teacher,
            "pseudo-label": self._pseudo_label,
            "distil": self._distil,
            "compact": self._compact,
        }[self.recipe](self._examples())
        sys.stdout.write("\n".join([*lines, f"written to {self.out}"]) + "\n")
        return 0

    def _story(self, examples: list[Example]) -> list[str]:
        recipe = StoryRecipe(
            model=SIZES[self.size],
            pretraining=PretrainRecipe(self._plan("pretrain")),
            teaching=TeachRecipe(self._plan("teacher"), GROUP),
            distilling=TeachRecipe(self._plan("distil"), GROUP),
            labelled=self.labelled,
            budget_minutes=self.budget_minutes,
        )
        return [tell(examples, self.out, recipe, device=self.device, progress=Bar())]

    def _pretrain(self, examples: list[Example]) -> list[str]:
        recipe = PretrainRecipe(self._plan("pretrain"))
        size = SIZES[self.size]
        return _told(run_pretrain(examples, self.out, size, recipe, device=self.device, progress=Bar()))

    def _teacher(self, examples: list[Example]) -> list[str]:
        fitted = run_teacher(
            examples,
            self.out,
            SIZES[self.size],
            TeachRecipe(self._plan("teacher"), GROUP),
            self.regime,
            pseudo=self.pseudo,
            init=self._model(self.init),
            device=self.device,
            progress=Bar(),
        )
        return _told(fitted)

    def _pseudo_label(self, examples: list[Example]) -> list[str]:
        labels = run_pseudo_label(examples, self.out, self._models(), device=self.device, progress=Bar())
        return [f"{len(labels)} images labelled by {len(self.teachers)} model{'s'[: len(self.teachers) - 1]}"]

    def _distil(self, examples: list[Example]) -> list[str]:
        fitted = run_distil(
            examples,
            self.out,
            SIZES[self.size],
            TeachRecipe(self._plan("distil"), GROUP),
            self._models(),
            pseudo=self.pseudo,
            init=self._model(self.init),
            device=self.device,
            progress=Bar(),
        )
        return _told(fitted)

    def _compact(self, examples: list[Example]) -> list[str]:
        recipe = CompactRecipe(self._plan("compact"))
        fits, _ = train_compact(examples, self.out, recipe, device=self.device, progress=Bar())
        return [line for fitted in fits for line in _told(fitted)]

    def _examples(self) -> list[Example]:
        return [example for path in self.data for example in read_examples(path)]

    def _plan(self, recipe: str) -> Plan:
        """Batches of the SONICHU models count groups of images; a story divides the budget itself."""
        epochs = self.epochs or EPOCHS[recipe]
        grouped, compact = recipe in ("teacher", "distil"), recipe == "compact"
        warmup = min(WARMUP_EPOCHS / epochs, 0.5) if recipe == "distil" else 0.03 if compact else 0.05
        return Plan(
            epochs=epochs,
            batch_size=max(self.batch_size // GROUP, 1) if grouped else self.batch_size,
            learning_rate=self.learning_rate or RATES[recipe],
            warmup=warmup,
            weight_decay=0.02 if compact else 0.05,
            budget_minutes=None if self.recipe == "story" else self.budget_minutes,
            seed=self.seed,
            precision=self.precision,
            ema=0.998 if compact else 0.0,
        )

    def _models(self) -> list[Path]:
        if not self.teachers:
            msg = (
                f"the recipe {self.recipe} must have teachers: give the folders of their runs with --teachers"
            )
            raise ValueError(msg)
        return [self._model(folder) or folder for folder in self.teachers]

    @staticmethod
    def _model(folder: Path | None) -> Path | None:
        """The folder of a run or of its model."""
        return folder / MODEL if folder is not None and (folder / MODEL).is_dir() else folder


def _told(fitted: Fitted) -> list[str]:
    best = "" if fitted.best_score is None else f", best validation score {fitted.best_score:.3f}"
    minutes = fitted.seconds / 60
    return [f"{fitted.epochs:.1f} epochs in {minutes:.0f} min, ended by the {fitted.stopped_by}{best}"]
