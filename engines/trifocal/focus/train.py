"""Training the correction network, from simulated cases to a checkpoint with its card."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.checkpoint import Checkpoint, CheckpointError, load_into, save
from trifocal.files import atomic_file, sha256_file
from trifocal.focus.analysis import refined_peak
from trifocal.focus.cases import Case
from trifocal.focus.data import read_manifest
from trifocal.focus.learned import Learned, PeakRegression, config_record
from trifocal.focus.limits import Seen
from trifocal.focus.losses import LossWeights, correction_loss
from trifocal.focus.metrics import field_errors
from trifocal.focus.model import CorrectionNet, ModelConfig, corrected, corrected_amplitude
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, PREVIEW_POINTS_PER_WAVELENGTH
from trifocal.focus.samples import Samples, View
from trifocal.focus.skull import NearSkull
from trifocal.training import Fitted, Group, Plan, best_weights, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.predictor import Progress
from trifocal.provenance import git_commit

log = logging.getLogger(__name__)

FIGURES = (
    "rel_l2",
    "shape_l2",
    "centroid_error_mm",
    "lateral_mm",
    "argmax_error_mm",
    "peak_error",
    "iou_6db",
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the weights, the data apart.

    Attributes:
        plan: Epochs, batch, learning rate, budget.
        model: Size of the network.
        loss: Weights of the terms of the loss.
        heads: Use only so many training heads; all of them if None.
        validation_cases: How many cases of the held-back heads are judged at each validation.
    """

    plan: Plan
    model: ModelConfig
    loss: LossWeights
    heads: int | None = None
    validation_cases: int = 32


@dataclass(frozen=True)
class Split:
    """Files of a data set: those to learn from and those to validate with, of different heads.

    Attributes:
        train: Cases to learn from.
        validation: Cases of the heads that are held back.
        heads: How many there are to learn from.
        phantoms: How many of the cases to learn from are of procedural heads.
        digest: Hash over all cases.
    """

    train: list[Path]
    validation: list[Path]
    heads: int
    phantoms: int
    digest: str

    @classmethod
    def read(cls, folders: Sequence[Path], heads: int | None = None) -> Split:
        """Read the manifests of one or more data sets.

        Raises:
            ValueError: If a manifest is missing, a case that it names is gone or changed, or a side is empty.
        """
        cases = [(f / c["file"], c) for f in folders for c in read_manifest(f)["cases"]]
        gone = [path for path, _ in cases if not path.exists()]
        if gone:
            msg = f"{len(gone)} cases of the manifest are gone, first {gone[0]}: run `simulate focus` again"
            raise ValueError(msg)
        names = sorted({c["head"] for _, c in cases if c["split"] == "train"})[:heads]
        kept = set(names)
        train = [path for path, c in cases if c["split"] == "train" and c["head"] in kept]
        validation = [path for path, c in cases if c["split"] == "val"]
        if not train or not validation:
            msg = (
                f"the data must hold cases to train and to validate with, got {len(train)} and "
                f"{len(validation)}: simulate more heads (one in ten is held back)"
            )
            raise ValueError(msg)
        used = set(train) | set(validation)
        hashes = {path: c["sha256"] for path, c in cases if path in used}
        for path, expected in hashes.items():
            if sha256_file(path) != expected:
                msg = f"{path} is not what the manifest says: delete it and run `simulate focus` again"
                raise ValueError(msg)
        phantoms = sum("phantom" in c["spec"]["head"] for p, c in cases if p in used - set(validation))
        digest = hashlib.sha256("".join(sorted(hashes.values())).encode()).hexdigest()
        return cls(train, validation, len(names), phantoms, digest)


def train(
    folders: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    init_from: Path | None = None,
    force: bool = False,
    device: str = "auto",
    progress: Progress,
) -> tuple[Fitted, Checkpoint]:
    """Train, and write `focus.safetensors` with its JSON into `out`, beside the curves of the run.

    Args:
        folders: Data sets.
        out: Folder of the run.
        recipe: How.
        init_from: Begin with the weights of this checkpoint, of a network of the same size.
        force: Go on with the run in `out` though plan, loss or data are others.
        device: Where.
        progress: Called after every step.

    Raises:
        ValueError: If the data or the checkpoint cannot be used, or `out` holds a run of another recipe.
        Cancelled: Or KeyboardInterrupt; the run goes on from there when it is started again.
        OSError: If the disk is full; the last saved state stays.
    """
    split = Split.read(folders, recipe.heads)
    torch.manual_seed(recipe.plan.seed)
    net = CorrectionNet(recipe.model)
    origin = None if init_from is None else _begin_with(net, init_from)
    _claim(out, recipe, split, origin, force=force)
    chosen = np.random.default_rng(0).permutation(len(split.validation))[: recipe.validation_cases]
    judge = _judge([split.validation[i] for i in chosen])

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        prior, truth, region = batch["prior"], batch["truth"], batch["region"]
        prediction = corrected(model(batch["features"]), prior)
        with torch.no_grad():  # what there is to beat: batches differ more than epochs do
            march = correction_loss(prior, truth, region, recipe.loss)["loss"]
        return {**correction_loss(prediction, truth, region, recipe.loss), "march": march}

    samples = Samples(split.train, recipe.plan.seed)
    fitted = fit(
        net, samples, loss, recipe.plan, out, validate=judge, device=device, progress=progress, force=force
    )

    def finish() -> Checkpoint:
        net.load_state_dict(best_weights(out))
        best = net.cpu().eval()
        regression, seen = _measure(split.train)
        with torch.no_grad():
            figures = judge(best)
        return save(
            out / "focus.safetensors",
            best.state_dict(),
            engine="focus",
            config=config_record(recipe.model, regression, seen),
            card=_card(split, recipe, fitted, figures, origin),
        )

    return fitted, Group.here().first(finish)


def _begin_with(net: CorrectionNet, path: Path) -> Checkpoint:
    """Take the weights of a checkpoint.

    Raises:
        CheckpointError: If it cannot be read, or is of another engine or of a network of another size.
    """
    learned = Learned.load(path)
    if learned.net.config != net.config:
        widths = " ".join(map(str, learned.net.config.widths))
        msg = (
            f"the network must have the size of the one in {path} to begin with its weights: give --widths "
            f"{widths} --blocks {learned.net.config.blocks}, or leave --init-from out"
        )
        raise CheckpointError(msg)
    load_into(net, learned.checkpoint)
    return learned.checkpoint


def _claim(out: Path, recipe: Recipe, split: Split, origin: Checkpoint | None, *, force: bool) -> None:
    """Write down what the run in a folder is made of; refuse a folder that holds another one.

    The plan is not compared here: `fit` does, and lets the budget change.
    """
    made_of = {"model": asdict(recipe.model), "loss": asdict(recipe.loss), "data": split.digest}
    if origin is not None:
        made_of["init_from"] = origin.sha256
    path, text = out / "recipe.json", json.dumps(made_of, sort_keys=True)
    out.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        stored, wanted = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
        changed = [name for name in {**wanted, **stored} if stored.get(name) != wanted.get(name)]
        if not force or "model" in changed:
            msg = f"{out} holds a run of another network, loss or data set: choose another folder for --out"
            raise ValueError(msg)
        log.warning("going on with the run in %s by force: another %s", out, " and ".join(changed))
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _judge(files: Sequence[Path]) -> Callable[[nn.Module], dict[str, float]]:
    """Validation by the function that the predictor uses: errors of full predictions and of previews."""

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, CorrectionNet)
        device = next(model.parameters()).device
        rows: dict[str, list[float]] = {}
        for path in files:
            case = Case.load(path)
            for prefix, view in (("", View.full(case)), ("preview_", View.preview(case))):
                medium, field = view.medium.to(device), view.field.to(device)
                found = corrected_amplitude(model, medium, field, view.bowl, view.box)[0].cpu().numpy()
                errors = field_errors(found, view.truth[0].numpy(), view.region, view.box).record()
                for name in FIGURES if not prefix else ("rel_l2", "centroid_error_mm"):
                    rows.setdefault(prefix + name, []).append(abs(errors[name]))
        means = {name: float(np.mean(values)) for name, values in rows.items()}
        return {"score": means["rel_l2"] + means["preview_rel_l2"] / 3, **means}

    return judge


def _measure(files: Sequence[Path]) -> tuple[PeakRegression, Seen]:
    """Fit the regression to the cases, and find the bounds of what they are."""
    bowls, skulls, ratios = [], [], []
    for path in files:
        view = View.full(Case.load(path))
        hu = view.medium.hu[0].numpy()
        skull = NearSkull.measure(hu, view.region, view.bowl, view.box)
        amplitudes = view.truth[0].numpy(), view.field[0].abs().numpy()
        true, marched = (refined_peak(a, view.region, view.box)[1] for a in amplitudes)
        bowls.append(view.bowl)
        skulls.append(skull)
        ratios.append(float(np.log(true / marched)))
    grids = PREVIEW_POINTS_PER_WAVELENGTH, FULL_POINTS_PER_WAVELENGTH
    return PeakRegression.fit(skulls, bowls, ratios), Seen.of(bowls, skulls, grids)


def _card(
    split: Split, recipe: Recipe, fitted: Fitted, figures: dict[str, float], origin: Checkpoint | None
) -> dict[str, Any]:
    begun = {} if origin is None else {"init_from": origin.record()}
    return begun | {
        "notice": RESEARCH_USE_ONLY,
        "what": "correction of the hybrid angular spectrum march by a 3-D U-Net in the bowl's frame",
        "data": {
            "source": "trifocal simulate focus: fields by the project's own solver",
            "sha256": split.digest,
            "heads": split.heads,
            "cases": len(split.train),
            "cases_of_procedural_heads": split.phantoms,
            "validation_cases": len(split.validation),
        },
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "run": {"epochs": round(fitted.epochs, 2), "steps": fitted.steps, "seconds": round(fitted.seconds)},
        "validation": {name: round(value, 4) for name, value in figures.items()},
        "limits": "Warns outside of the bounds in config.seen. The truth is a linear, fluid solver at 6 "
        "points per wavelength with one mapping from HU: errors of that model are not in these figures.",
        "licence": "BSD-3-Clause",
    }
