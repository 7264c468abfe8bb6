"""Training DeepTFUS on a TFUScapes-format data set, to a checkpoint with its card."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.checkpoint import Checkpoint, CheckpointError, load, load_into, save
from trifocal.files import atomic_file
from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.data import Volumes, water_peak
from trifocal.focus.deeptfus.losses import DeepTFUSLoss, deeptfus_loss
from trifocal.focus.deeptfus.model import DeepTFUS
from trifocal.focus.deeptfus.predictor import DeepTFUSPredictor, Learned
from trifocal.focus.published_metrics import published_metrics
from trifocal.focus.tfuscapes import DataSet
from trifocal.provenance import git_commit
from trifocal.training import Fitted, Group, Plan, best_weights, fit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.focus.deeptfus.inputs import Task
    from trifocal.predictor import Progress

ENGINE = "deeptfus"
PUBLISHED = "relative_l2", "focal_position_error_mm", "max_pressure_error"


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the weights, the data apart.

    Attributes:
        preset: Its name, for the card.
        plan: Epochs, batch, learning rate, budget.
        model: The network.
        task: Grid, frame and unit.
        loss: Weights and temperatures.
        mirror: Samples are mirrored at random. The published training does not say.
        validation_samples: How many of the validation split are judged at each validation.
    """

    preset: str
    plan: Plan
    model: DeepTFUSConfig
    task: Task
    loss: DeepTFUSLoss
    mirror: bool = True
    validation_samples: int = 40


def train(
    folder: Path,
    out: Path,
    recipe: Recipe,
    *,
    init_from: Path | None = None,
    device: str = "auto",
    progress: Progress,
) -> tuple[Fitted, Checkpoint]:
    """Train, and write `deeptfus.safetensors` with its JSON into `out`, beside the curves of the run.

    Args:
        folder: Of the data set; its splits train and val are used.
        out: Of the run.
        recipe: How.
        init_from: A checkpoint of the same network to go on from.
        device: Where.
        progress: Called after every step.

    Raises:
        ValueError: If the data or the checkpoint cannot be used, or `out` holds a run of another recipe.
        Cancelled: Or KeyboardInterrupt; the run goes on from there when it is started again.
        OSError: If the disk is full; the last saved state stays.
    """
    learn, held = DataSet.open(folder, "train"), DataSet.open(folder, "val")
    recipe = replace(recipe, task=_task_of(learn, recipe.task))
    torch.manual_seed(recipe.plan.seed)
    net = DeepTFUS(recipe.model)
    if init_from is not None:
        _go_on_from(net, init_from)
    _claim(out, recipe, learn, init_from)
    volumes = Volumes(learn, recipe.task, recipe.model, recipe.plan.seed, mirror=recipe.mirror)
    spacing = recipe.task.network_spacing_mm

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        answer = model(batch["volume"], batch["points"])
        return deeptfus_loss(answer, batch["truth"], recipe.loss, spacing)

    scale = _scale(learn)
    judge = _judge(held, recipe, scale)
    began = time.process_time()
    fitted = fit(net, volumes, loss, recipe.plan, out, validate=judge, device=device, progress=progress)
    cpu = time.process_time() - began

    def finish() -> Checkpoint:
        net.load_state_dict(best_weights(out))
        best = net.cpu().eval()
        with torch.no_grad():
            figures = judge(best)
        return save(
            out / "deeptfus.safetensors",
            best.state_dict(),
            engine=ENGINE,
            config={"model": asdict(recipe.model), "task": asdict(recipe.task), **scale},
            card=_card(learn, held, recipe, fitted, figures, init_from, cpu),
        )

    return fitted, Group.here().first(finish)


def _task_of(data: DataSet, task: Task) -> Task:
    """The task with the cubes of a data set in it.

    Raises:
        ValueError: If the data set is of another frame.
    """
    sample = data.load(data.names[0])
    frame = "world" if sample.facts is None else sample.facts.frame
    if frame != task.frame:
        msg = f"the data set {data.folder} must be of the frame {task.frame}, got one of the frame {frame}"
        raise ValueError(msg)
    return replace(task, cube_voxels=len(sample.ct), spacing_mm=sample.spacing_mm)


def _go_on_from(net: DeepTFUS, path: Path) -> None:
    checkpoint = load(path, ENGINE)
    if DeepTFUSConfig(**checkpoint.config["model"]) != net.config:
        msg = f"{path} must be of the same network to go on from it, got {checkpoint.config['model']}"
        raise CheckpointError(msg)
    load_into(net, checkpoint)


def _claim(out: Path, recipe: Recipe, data: DataSet, init_from: Path | None) -> None:
    """Write down what the run in a folder is made of; refuse a folder that holds another one."""
    made_of = {
        "model": asdict(recipe.model),
        "task": asdict(recipe.task),
        "loss": asdict(recipe.loss),
        "mirror": recipe.mirror,
        "samples": len(data),
        "init_from": None if init_from is None else load(init_from, ENGINE).sha256,
    }
    path, text = out / "recipe.json", json.dumps(made_of, sort_keys=True)
    out.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        msg = f"{out} holds a run of another network, loss or data set: choose another folder for --out"
        raise ValueError(msg)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _scale(data: DataSet) -> dict[str, float | None]:
    """What a normalised answer is multiplied by: the mean peak of the training set.

    Returns:
        mean_peak_pa: In Pa. mean_transmission: Relative to the peak of the bowl in water; None where that
        is not known.
    """
    peaks, shares = [], []
    for name in data.names:
        sample = data.load(name)
        peaks.append(float(sample.pressure.max()))
        if sample.facts is not None:
            shares.append(peaks[-1] / water_peak(sample))
    known = float(np.mean(shares)) if shares else None
    return {"mean_peak_pa": float(np.mean(peaks)), "mean_transmission": known}


def _judge(data: DataSet, recipe: Recipe, scale: dict[str, Any]) -> Callable[[nn.Module], dict[str, float]]:
    """Validation by the function that the predictor uses: the published metrics."""
    chosen = np.random.default_rng(0).permutation(len(data))[: recipe.validation_samples]

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, DeepTFUS)
        predictor = DeepTFUSPredictor(Learned(model, recipe.task, **scale), next(model.parameters()).device)
        rows: dict[str, list[float]] = {}
        for i in chosen:
            sample = data.load(data.names[i])
            found = predictor.predict_sample(sample, data)
            if not recipe.task.absolute:  # judged as published: relative to the true peak
                peak = None if sample.facts is None else sample.facts.water_peak_pa
                found = found * (float(sample.pressure.max()) / predictor.learned.unit(peak))
            errors = published_metrics(found, sample.pressure, sample.spacing_mm).record()
            for name in PUBLISHED:
                rows.setdefault(name, []).append(errors[name])
        means = {name: float(np.mean(values)) for name, values in rows.items()}
        return {"score": means["relative_l2"], **means}

    return judge


def _card(
    learn: DataSet,
    held: DataSet,
    recipe: Recipe,
    fitted: Fitted,
    figures: dict[str, float],
    init_from: Path | None,
    cpu: float,
) -> dict[str, Any]:
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": "DeepTFUS (arXiv 2505.12998), reimplemented from its description",
        "data": {
            "source": learn.folder.name,
            "subjects": len(learn.subjects),
            "samples": len(learn),
            "validation_samples": len(held),
        },
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "init_from": None if init_from is None else load(init_from, ENGINE).record(),
        "run": {
            "epochs": round(fitted.epochs, 2),
            "steps": fitted.steps,
            "seconds": round(fitted.seconds),
            "cpu_seconds_of_last_part": round(cpu),
        },
        "validation": {name: round(value, 4) for name, value in figures.items()},
        "limits": "Its pressures are those of its own peak times a constant unless its output is absolute.",
        "licence": "BSD-3-Clause",
    }
