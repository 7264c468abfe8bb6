"""The steps of SONICHU's training, each from examples to a folder that `from_pretrained` reads."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.files import atomic_file, sha256_file
from trifocal.keypoints.examples import Example, split_by_patient
from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel, SonichuPreprocessor
from trifocal.keypoints.sonichu.distil import distil
from trifocal.keypoints.sonichu.pretrain import PretrainRecipe, begin_from, pretrain
from trifocal.keypoints.sonichu.pseudo_label import pseudo_label, read_labels, write_labels
from trifocal.keypoints.sonichu.regimes import REGIMES, Regime, select
from trifocal.keypoints.sonichu.squares import Squares
from trifocal.keypoints.sonichu.teach import TeachRecipe, teach
from trifocal.predictor import pick_device, silent
from trifocal.provenance import git_commit, jsonable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.keypoints.sonichu.pseudo_label import PseudoLabel
    from trifocal.predictor import Progress
    from trifocal.training import Fitted

FAIR_SEED = 42
"""Of the division into learning, validating and testing: the card's."""

FAIR_SPLIT = (0.70, 0.15, 0.15)
"""The card holds 15 % back; here weights are chosen on one such part and judged on another."""

MODEL = "model"
"""Folder, within that of a run, that `SonichuModel.from_pretrained` reads."""


@dataclass(frozen=True)
class Sides:
    """True labels by patient.

    Attributes:
        learn: To learn from.
        validate: To choose weights with.
        test: That no training sees.
    """

    learn: list[Example]
    validate: list[Example]
    test: list[Example]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Sides:
        """Divide by patient."""
        return cls(*split_by_patient(examples, FAIR_SPLIT, FAIR_SEED))

    def allowed(self, labels: Sequence[PseudoLabel]) -> list[PseudoLabel]:
        """Those pseudo-labels that are of nobody whom models are validated or tested on."""
        held = {e.patient for e in [*self.validate, *self.test]}
        return [label for label in labels if label.example.patient not in held]


def run_pretrain(
    examples: Sequence[Example],
    out: Path,
    config: SonichuConfig,
    recipe: PretrainRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """Pretrain a backbone on images, whatever their labels; none of patients to validate or test with."""
    images = Squares(Sides.of(examples).learn, config.image, progress)
    model, fitted = pretrain(images, config, out, recipe, device=device, progress=progress)
    save_model(model, out, card("I-JEPA backbone", images.examples, recipe, fitted))
    return fitted


def run_teacher(
    examples: Sequence[Example],
    out: Path,
    config: SonichuConfig,
    recipe: TeachRecipe,
    regime: str | None = None,
    *,
    pseudo: Sequence[Path] = (),
    init: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """Train one teacher on true labels and on those pseudo-labels that its regime keeps.

    Args:
        examples: With true labels.
        out: Folder of the run; the model is in its folder "model".
        config: Size.
        recipe: How.
        regime: One of the five; None for the true labels alone.
        pseudo: Folders that `run_pseudo_label` has written.
        init: A pretrained model.
        device: Where.
        progress: May raise Cancelled.

    Raises:
        ValueError: If the regime is unknown, or goes without the labels that it needs.
    """
    sides = Sides.of(examples)
    about = _regime(regime, pseudo)
    labels = sides.allowed([label for folder in pseudo for label in read_labels(folder)])
    kept = select(labels, count_tasks(sides.learn), about) if about else []
    learn = Squares([*sides.learn, *(label.example for label in kept)], config.image, progress)
    validate = Squares(sides.validate, config.image, progress)
    model = begin_from(config, _loaded(init), recipe.plan.seed)
    balanced = about is not None and about.balanced
    fitted = teach(model, learn, validate, out, recipe, balanced=balanced, device=device, progress=progress)
    what = f"teacher, regime {regime or 'true labels alone'}"
    save_model(model, out, card(what, learn.examples, recipe, fitted))
    return fitted


def run_pseudo_label(
    examples: Sequence[Example],
    out: Path,
    teachers: Sequence[Path],
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> list[PseudoLabel]:
    """Label images by the median of models; writes points.csv with the models' spread."""
    where = pick_device(device)
    models = [SonichuModel.from_pretrained(folder).to(where) for folder in teachers]
    images = Squares(examples, models[0].config.image, progress)
    write_labels(pseudo_label(models, images, progress), out)
    return read_labels(out)


def run_distil(
    examples: Sequence[Example],
    out: Path,
    config: SonichuConfig,
    recipe: TeachRecipe,
    teachers: Sequence[Path],
    *,
    pseudo: Sequence[Path] = (),
    init: Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Fitted:
    """Train a student on labels, all pseudo-labels given, and its teachers' answers."""
    sides = Sides.of(examples)
    labels = sides.allowed([label for folder in pseudo for label in read_labels(folder)])
    learn = Squares([*sides.learn, *(label.example for label in labels)], config.image, progress)
    validate = Squares(sides.validate, config.image, progress)
    models = [SonichuModel.from_pretrained(folder) for folder in teachers]
    student = begin_from(config, _loaded(init), recipe.plan.seed)
    fitted = distil(student, models, learn, validate, out, recipe, device=device, progress=progress)
    what = f"student of {len(models)} teachers"
    save_model(student, out, card(what, learn.examples, recipe, fitted))
    return fitted


def save_model(model: SonichuModel, out: Path, about: dict[str, Any]) -> Path:
    """Write out/model: weights, configuration, preprocessor, and at last card.json. Returns the folder."""
    folder = out / MODEL
    model.cpu().save_pretrained(folder)
    SonichuPreprocessor(model.config.image).save_pretrained(folder)
    content = {**about, "sha256": sha256_file(folder / "model.safetensors")}
    with atomic_file(folder / "card.json") as part:
        part.write_text(json.dumps(jsonable(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def finished(out: Path) -> bool:
    """Whether a run has written its model, whole."""
    return (out / MODEL / "card.json").exists()


def card(
    what: str, examples: Sequence[Example], recipe: PretrainRecipe | TeachRecipe, fitted: Fitted
) -> dict[str, Any]:
    """What is known about a model that was trained."""
    sources = sorted({(e.task_id, e.source) for e in examples})
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": what,
        "images": {f"{t}, {s}": sum((e.task_id, e.source) == (t, s) for e in examples) for t, s in sources},
        "data_sha256": digest(examples),
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "run": {
            "epochs": round(fitted.epochs, 2),
            "steps": fitted.steps,
            "seconds": round(fitted.seconds),
            "ended_by": fitted.stopped_by,
        },
        "best_score_network_px": fitted.best_score,
        "licence": "BSD-3-Clause, for the weights as far as the images' own terms allow",
    }


def digest(examples: Sequence[Example]) -> str:
    """Hash of which images with which points."""
    lines = sorted(
        f"{e.source}/{e.patient}/{e.task_id}/{e.path.name}/{e.points.round(2).tolist()}" for e in examples
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count_tasks(examples: Sequence[Example]) -> dict[str, int]:
    """How many images of each task."""
    ids = [e.task_id for e in examples]
    return {task: ids.count(task) for task in dict.fromkeys(ids)}


def _regime(name: str | None, pseudo: Sequence[Path]) -> Regime | None:
    if name is None:
        return None
    if name not in REGIMES:
        msg = f"the regime must be one of {', '.join(REGIMES)}, got {name!r}"
        raise ValueError(msg)
    if not pseudo:
        by = " and ".join(REGIMES[name].labellers)
        msg = f"the regime {name} must have pseudo-labels by {by}, got none: make them by pseudo-label first"
        raise ValueError(msg)
    return REGIMES[name]


def _loaded(folder: Path | None) -> SonichuModel | None:
    return None if folder is None else SonichuModel.from_pretrained(folder)
