"""The training story of the SONICHU card in one run: pretraining, five teachers, a student, two tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from trifocal.files import atomic_file
from trifocal.keypoints.examples import split_by_patient
from trifocal.keypoints.formats.table import TABLE
from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel
from trifocal.keypoints.sonichu.distil import WARMUP_EPOCHS, distil
from trifocal.keypoints.sonichu.ensemble import MedianEnsemble, soup
from trifocal.keypoints.sonichu.model_tables import TABLES, Entry, judge, save_tables
from trifocal.keypoints.sonichu.pretrain import PretrainRecipe, begin_from, pretrain
from trifocal.keypoints.sonichu.pseudo_label import PseudoLabel, pseudo_label, read_labels, write_labels
from trifocal.keypoints.sonichu.regimes import LABELS_ONLY, REGIMES, select
from trifocal.keypoints.sonichu.squares import Squares
from trifocal.keypoints.sonichu.teach import TeachRecipe, teach
from trifocal.keypoints.sonichu.train import (
    FAIR_SEED,
    MODEL,
    Sides,
    card,
    count_tasks,
    digest,
    finished,
    save_model,
)
from trifocal.predictor import pick_device, silent
from trifocal.provenance import jsonable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.keypoints.examples import Example
    from trifocal.predictor import Progress
    from trifocal.training import Plan

PRETRAIN, STUDENT, TEACHERS, LABELS = "pretrain", "student", "teachers", "labels"

SHARES = {PRETRAIN: 0.18, LABELS_ONLY: 0.08, **dict.fromkeys(REGIMES, 0.1), STUDENT: 0.18}
"""Of the time; labelling and evaluation take the rest."""


@dataclass(frozen=True)
class StoryRecipe:
    """Everything that determines the story, the data apart.

    Attributes:
        model: Size of backbone and heads, the same for all.
        pretraining: Of the backbone.
        teaching: Of every teacher; each has a seed of its own.
        distilling: Of the student.
        labelled: Fraction of the patients to learn from whose labels are used; the others' images are the
            unlabelled ones.
        regimes: Which teachers there are, in the order of `REGIMES`.
        budget_minutes: For all of it, divided by `SHARES`; no limit if None.
    """

    model: SonichuConfig
    pretraining: PretrainRecipe
    teaching: TeachRecipe
    distilling: TeachRecipe
    labelled: float = 0.4
    regimes: tuple[str, ...] = tuple(REGIMES)
    budget_minutes: float | None = None

    def __post_init__(self) -> None:
        order = [name for name in REGIMES if name in self.regimes]
        missing = [
            name
            for regime in order
            for name in REGIMES[regime].labellers
            if name not in (*order, LABELS_ONLY)
        ]
        if tuple(order) != self.regimes or not order or missing or not 0 < self.labelled < 1:
            msg = (
                f"regimes must be among {', '.join(REGIMES)}, in this order and with their labellers, and "
                f"labelled between 0 and 1, got {', '.join(self.regimes)} and {self.labelled}"
            )
            raise ValueError(msg)

    def plan(self, plan: Plan, stage: str) -> Plan:
        """The plan of a stage with its share of the time and a seed of its own."""
        stages = list(SHARES)
        minutes = None if self.budget_minutes is None else self.budget_minutes * SHARES[stage]
        return replace(plan, budget_minutes=minutes, seed=plan.seed + 100 * stages.index(stage))


def tell(
    examples: Sequence[Example],
    out: Path,
    recipe: StoryRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> str:
    """Run the story, or what is left of it, and return its two tables.

    The folder gets pretrain, teachers/NAME, student (runs of `trifocal.training` with their models),
    labels/NAMES (pseudo-labels) and tables. Finished stages are not done again.

    Raises:
        ValueError: If there are too few images, or `out` holds another story.
        Cancelled: Or KeyboardInterrupt; start again to go on.
    """
    _claim(examples, out, recipe)
    return _Story(examples, out, recipe, device, progress).tell()


class _Story:
    """The stages, with what they share: the images are read once."""

    def __init__(
        self, examples: Sequence[Example], out: Path, recipe: StoryRecipe, device: str, progress: Progress
    ) -> None:
        self.out, self.recipe, self.device = out, recipe, pick_device(device).type
        self.progress, self.part = progress, (0.0, 1.0, "")
        sides = Sides.of(examples)
        shown, hidden = split_by_patient(sides.learn, (recipe.labelled, 1 - recipe.labelled), FAIR_SEED + 1)
        if not (shown and hidden and sides.validate and sides.test):
            found = [len(part) for part in (shown, hidden, sides.validate, sides.test)]
            msg = (
                "the story must have images with labels, without, to validate and to test with, got "
                f"{found}: give more patients"
            )
            raise ValueError(msg)
        side = recipe.model.image
        self.shown, self.hidden = (Squares(part, side, self.said) for part in (shown, hidden))
        self.validate, self.test = (Squares(p, side, self.said) for p in (sides.validate, sides.test))

    def tell(self) -> str:
        """All stages."""
        backbone = self.pretrained()
        self.teacher(LABELS_ONLY, backbone)
        for name in self.recipe.regimes:
            self.teacher(name, backbone)
        self.student(backbone)
        return self.tables()

    def pretrained(self) -> SonichuModel:
        """The backbone, of the images with and without labels."""
        out = self.out / PRETRAIN
        if not finished(out):
            self.begin(PRETRAIN)
            images = self.shown.joined(self.hidden)
            how = replace(
                self.recipe.pretraining, plan=self.recipe.plan(self.recipe.pretraining.plan, PRETRAIN)
            )
            model, fitted = pretrain(
                images, self.recipe.model, out, how, device=self.device, progress=self.said
            )
            save_model(model, out, card("I-JEPA backbone", images.examples, how, fitted))
        return SonichuModel.from_pretrained(out / MODEL)

    def teacher(self, name: str, backbone: SonichuModel) -> SonichuModel:
        """One teacher under its regime, or the model that knows the true labels alone."""
        out = self.out / TEACHERS / name
        if not finished(out):
            self.begin(name)
            how = replace(self.recipe.teaching, plan=self.recipe.plan(self.recipe.teaching.plan, name))
            learn, balanced = self.shown, False
            if name != LABELS_ONLY:
                regime = REGIMES[name]
                kept = select(self.labels(regime.labellers), count_tasks(self.shown.examples), regime)
                learn, balanced = self.shown.joined(self.squares(kept)), regime.balanced
            model = begin_from(self.recipe.model, backbone, how.plan.seed)
            fitted = teach(
                model, learn, self.validate, out, how, balanced=balanced, device=self.device,
                progress=self.said,
            )  # fmt: skip
            save_model(model, out, card(f"teacher {name}", learn.examples, how, fitted))
        return self.loaded(out)

    def student(self, backbone: SonichuModel) -> SonichuModel:
        """Learns from the labels, from the ensemble's pseudo-labels, and from the ensemble at every step."""
        out = self.out / STUDENT
        if not finished(out):
            self.begin(STUDENT)
            plan = self.recipe.plan(self.recipe.distilling.plan, STUDENT)
            plan = replace(plan, warmup=min(WARMUP_EPOCHS / plan.epochs, 0.5))
            how = replace(self.recipe.distilling, plan=plan)
            teachers = [self.loaded(self.out / TEACHERS / name) for name in self.recipe.regimes]
            learn = self.shown.joined(self.squares(self.labels(self.recipe.regimes)))
            model = begin_from(self.recipe.model, backbone, how.plan.seed)
            fitted = distil(
                model, teachers, learn, self.validate, out, how, device=self.device, progress=self.said
            )
            save_model(model, out, card("student of the ensemble", learn.examples, how, fitted))
        return self.loaded(out)

    def labels(self, labellers: Sequence[str]) -> list[PseudoLabel]:
        """Pseudo-labels of the unlabelled images by the median of some teachers; made once."""
        folder = self.out / LABELS / "+".join(labellers)
        if not (folder / TABLE).exists():
            models = [self.loaded(self.out / TEACHERS / name) for name in labellers]
            write_labels(pseudo_label(models, self.hidden, self.said), folder)
        return read_labels(folder)

    def squares(self, labels: Sequence[PseudoLabel]) -> Squares:
        """The unlabelled images with these labels."""
        place = {(e.path.resolve(), e.task_id): i for i, e in enumerate(self.hidden.examples)}
        examples = [label.example for label in labels]
        return self.hidden.labelled(examples, [place[e.path.resolve(), e.task_id] for e in examples])

    def tables(self) -> str:
        """Every model and ensemble on patients that none has seen."""
        if (self.out / "tables" / TABLES).exists():
            return (self.out / "tables" / TABLES).read_text(encoding="utf-8")
        self.part = (0.97, 1.0, "")
        names = self.recipe.regimes
        teachers = {name: self.loaded(self.out / TEACHERS / name) for name in names}
        by_score = sorted(names, key=lambda name: self.score(self.out / TEACHERS / name))
        few = [teachers[n] for n in names if n in by_score[:-1]] or list(teachers.values())
        student = Entry("distilled student", self.loaded(self.out / STUDENT))
        entries = [
            Entry("true labels alone", self.loaded(self.out / TEACHERS / LABELS_ONLY)),
            *(Entry(f"teacher {name}", model) for name, model in teachers.items()),
            Entry(f"{len(few)}-model median", MedianEnsemble(few), len(few)),
            Entry(f"{len(names)}-model median", MedianEnsemble(list(teachers.values())), len(names)),
            Entry("soup of the weights", soup(list(teachers.values()))),
            student,
        ]
        judged = judge(entries, self.test, device=self.device, progress=self.said)
        notes = [
            f"{len(self.test)} images of patients that no model has learned from or was chosen on; pixels of "
            "the 256 x 256 square; 95 % intervals over patients.",
            f"The {len(few)}-model median leaves out the teacher with the worst validation ({by_score[-1]}).",
        ]
        return save_tables(judged, self.test, self.out / "tables", student.name, notes)

    def loaded(self, out: Path) -> SonichuModel:
        """A finished stage's model, on the device."""
        return SonichuModel.from_pretrained(out / MODEL).to(self.device)

    def score(self, out: Path) -> float:
        """Validation score of a finished stage."""
        return float(json.loads((out / MODEL / "card.json").read_text())["best_score_network_px"])

    def begin(self, stage: str) -> None:
        """What the progress is of, from here on."""
        done = [name for name in SHARES if name == PRETRAIN or finished(self.out / TEACHERS / name)]
        start = 0.0 if stage == PRETRAIN else sum(SHARES[name] for name in done)
        self.part = (start, start + SHARES[stage], f"{stage}: ")

    def said(self, fraction: float, what: str) -> None:
        """Progress of a stage, as a part of the whole."""
        start, end, name = self.part
        self.progress(min(start + fraction * (end - start), 1.0) if name else 0.0, f"{name}{what}")


def _claim(examples: Sequence[Example], out: Path, recipe: StoryRecipe) -> None:
    """Write down what the story in a folder is made of; refuse a folder that holds another one."""
    content = {"recipe": {**asdict(recipe), "budget_minutes": None}, "data": digest(examples)}
    text = json.dumps(jsonable(content), sort_keys=True, indent=1) + "\n"
    path = out / "story.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        msg = f"{out} holds a story of other data, sizes or plans: choose another folder for --out"
        raise ValueError(msg)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")
