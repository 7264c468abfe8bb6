"""Training of the direct, the cascaded and the diffusion networks, from crops of volumes to a checkpoint."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from trifocal import RESEARCH_USE_ONLY, __version__
from trifocal.checkpoint import Checkpoint, save
from trifocal.files import atomic_file
from trifocal.predictor import pick_device, silent
from trifocal.provenance import git_commit
from trifocal.training import Fitted, Plan, best_weights, fit
from trifocal.xray.models.cascade import Cascade
from trifocal.xray.models.config import COMPACT, XrayModelConfig
from trifocal.xray.models.diffusion import DiffusionConfig
from trifocal.xray.models.losses import DirectWeights
from trifocal.xray.models.refiner import RefinerConfig
from trifocal.xray.models.sampled import SampledNet
from trifocal.xray.models.saved import SavedNet, cascade_record, diffusion_record, direct_record, network_of
from trifocal.xray.models.started import StartedNet
from trifocal.xray.training.crops import Scene
from trifocal.xray.training.diagnostics import diagnose
from trifocal.xray.training.judging import baseline, encoder_stats, judge
from trifocal.xray.training.tasks import (
    CascadeTask,
    DiffusionTask,
    DirectTask,
    cascade_task_loss,
    diffusion_task_loss,
    direct_task_loss,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trifocal.predictor import Progress
    from trifocal.xray.models.lift import Lift
    from trifocal.xray.training.kept_crops import KeptCrops, Volumes
    from trifocal.xray.training.tasks import Loss

    Task = DirectTask | CascadeTask | DiffusionTask

BATCHES_MEASURED = 8
"""Batches that the scale of the diffusion's residual is taken from."""

FEW = 4
"""Held-out crops that the samples of a diffusion are judged on when it is finished."""


@dataclass(frozen=True)
class XrayRecipe:
    """How a network is trained.

    Attributes:
        plan: Of the run.
        kind: Which network; cascade and diffusion begin from a trained base.
        model: Parts and sizes of a direct network.
        voxels: Along the edges of the cube of a direct network; the others take it from their base.
        start_steps: SIRT steps of the coarse volume that a direct network is given as the stage before.
        weights: Of the loss of direct and cascaded networks.
        boundary: Weight of the depth boundaries' regulariser.
        refiner: Sizes of a cascade's stages.
        stages: Of a cascade, beyond its base.
        patch: Voxels along the edge of what a cascade's stage is trained on at a time.
        diffusion: Size and schedule of a diffusion.
        crops_per_volume: Different ones that are kept of each volume.
        validation_volumes: The last ones of the list; two crops of each are validated on.
        figures: Draw the diagnostic figure at each validation.
    """

    plan: Plan
    kind: Literal["direct", "cascade", "diffusion"] = "direct"
    model: XrayModelConfig = COMPACT
    voxels: int = 64
    start_steps: int = 6
    weights: DirectWeights = field(default_factory=DirectWeights)
    boundary: float = 0.1
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    stages: int = 1
    patch: int = 64
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    crops_per_volume: int = 8
    validation_volumes: int = 16
    figures: bool = True


def train(
    volumes: Volumes,
    out: Path,
    recipe: XrayRecipe,
    *,
    base: Path | None = None,
    device: str = "auto",
    resume: bool = True,
    progress: Progress = silent,
) -> tuple[Fitted, Checkpoint]:
    """Train one network; write `xray.safetensors` with its JSON, the curves and the diagnostic figures.

    Args:
        volumes: To learn from; the last ones are held out.
        out: Folder of the run; start again to go on.
        recipe: How.
        base: Checkpoint of the network that a cascade or a diffusion begins from.
        device: "auto", "cpu" or "cuda".
        resume: Go on with the run in `out`, if there is one.
        progress: May raise `Cancelled`.

    Raises:
        ValueError: If there are too few volumes, a base is missing, or `out` holds another run.
        CheckpointError: If the base cannot be read.
        OSError: If the disk is full.
    """
    held = recipe.validation_volumes
    if len(volumes) < held + 1:
        msg = f"training must have more than the {held} volumes that validate, got {len(volumes)}"
        raise ValueError(msg)
    torch.manual_seed(recipe.plan.seed)
    config, task, loss = _task(recipe, base)
    voxels = int(config["voxels"])
    _claim(out, config, recipe, resume)
    crops = volumes.learned(held, voxels, recipe.plan.seed, recipe.crops_per_volume)
    judged = volumes.held_out(held, voxels)
    task.to(pick_device(device))
    if isinstance(task, DiffusionTask):
        _measure_scale(task, crops, voxels)
    check = _validation(recipe, judged, voxels, out)
    fitted = fit(
        task, crops, loss, recipe.plan, out, validate=check, device=device, resume=resume, progress=progress
    )
    task.load_state_dict(best_weights(out))
    net = task.net.eval()
    with torch.no_grad():
        # samples take long: fewer volumes speak for them here, `side_by_side.compare` takes all
        figures = judge(net, judged[: FEW if recipe.kind == "diffusion" else None], voxels)
    figures |= {f"least_squares_{n}": v for n, v in judge(baseline, judged, voxels).items()}
    card = _card(recipe, len(volumes) - held, fitted, figures)
    stored = save(out / "xray.safetensors", net.state_dict(), engine="xray", config=config, card=card)
    return fitted, stored


def _task(recipe: XrayRecipe, base: Path | None) -> tuple[dict[str, Any], Task, Loss]:
    """The checkpoint's config, what is trained, and its loss."""
    if recipe.kind == "direct":
        config = direct_record(recipe.model, recipe.voxels, recipe.start_steps)
        net = network_of(config)
        assert isinstance(net, StartedNet)
        return config, DirectTask(net), direct_task_loss(recipe.voxels, recipe.weights, recipe.boundary)
    if base is None:
        msg = f"a {recipe.kind} must begin from a trained network: give its checkpoint as base (--init)"
        raise ValueError(msg)
    start = SavedNet.load(base)
    if recipe.kind == "cascade":
        config = cascade_record(start.config, recipe.refiner, recipe.stages)
        cascade = Cascade(start.network, recipe.refiner, stages=recipe.stages)
        loss = cascade_task_loss(int(config["voxels"]), recipe.stages, recipe.weights, recipe.patch)
        return config, CascadeTask(cascade), loss
    sampled = SampledNet(start.network, recipe.diffusion)
    config = diffusion_record(start.config, recipe.diffusion, sampled.count, sampled.steps)
    return config, DiffusionTask(sampled), diffusion_task_loss(start.voxels)


@torch.no_grad()
def _measure_scale(task: DiffusionTask, crops: KeptCrops, voxels: int) -> None:
    """The residual's standard deviation on training crops, with films as they are in training."""
    device = next(task.parameters()).device
    task.eval()
    truths, found = [], []
    for i in range(min(BATCHES_MEASURED, len(crops))):
        truth = crops[i]["density"][None, None].float().to(device)
        scene = Scene.usual(voxels, device)
        truths.append(truth)
        found.append(task.net.base(scene.films(truth[:, 0]), scene.lift, None).float().clamp(0, 4))
    task.net.diffusion.measure(torch.cat(truths), torch.cat(found))


def _validation(
    recipe: XrayRecipe, judged: list[dict[str, Tensor]], voxels: int, out: Path
) -> Callable[[nn.Module], dict[str, float]]:
    """Errors, statistics of the encoder, and the figure of the first crop."""

    def check(task: nn.Module) -> dict[str, float]:
        device = next(task.parameters()).device
        crops = [{name: v.to(device) for name, v in crop.items()} for crop in judged]
        assert isinstance(task, DirectTask | CascadeTask | DiffusionTask)
        net = task.net
        fast = recipe.plan.precision != "32-true"
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            if isinstance(task, DiffusionTask):
                figures = _denoising(task, crops, voxels)
            else:
                figures = judge(net, crops, voxels)
                figures["score"] = figures["mae_hu"]
            figures |= encoder_stats(net, crops[:4], voxels)
            if recipe.figures:
                folder = out / "diagnostics"
                folder.mkdir(parents=True, exist_ok=True)
                number = len(list(folder.glob("*.png"))) + 1
                diagnose(net, crops[0], voxels, folder / f"{number:04d}.png")
        return figures

    return check


def _denoising(task: DiffusionTask, crops: list[dict[str, Tensor]], voxels: int) -> dict[str, float]:
    """The denoiser's loss at noise that is always the same, and the error of a few crops' samples."""
    truth = torch.stack([crop["density"][None].float() for crop in crops])
    scene = Scene.usual(voxels, truth.device)
    films = scene.films(truth[:, 0])
    with torch.random.fork_rng(devices=[truth.device] if truth.is_cuda else []):
        torch.manual_seed(0)
        losses = [float(task(films, scene.lift, truth)) for _ in range(4)]

    def quick(films: Tensor, lift: Lift) -> Tensor:
        return task.net.samples(films, lift, count=2, steps=min(10, task.net.steps)).mean(0)

    return {"score": sum(losses) / len(losses), **judge(quick, crops[:2], voxels)}


def _claim(out: Path, config: dict[str, Any], recipe: XrayRecipe, resume: bool) -> None:
    """Write down what the run in a folder is made of; refuse to go on with another one.

    The plan is not compared here: `fit` does, and lets the budget change.
    """
    how = {name: value for name, value in asdict(recipe).items() if name not in ("plan", "figures")}
    path, text = out / "recipe.json", json.dumps({"config": config, "recipe": how}, sort_keys=True)
    out.mkdir(parents=True, exist_ok=True)
    if resume and path.exists() and path.read_text(encoding="utf-8") != text:
        msg = f"{out} holds a run of another network or recipe: choose another folder, or do not resume"
        raise ValueError(msg)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _card(recipe: XrayRecipe, volumes: int, fitted: Fitted, figures: dict[str, float]) -> dict[str, Any]:
    what = {
        "direct": "direct regression of a volume from two films",
        "cascade": "a volume from two films, refined stage by stage at twice the resolution",
        "diffusion": "samples of volumes around a direct estimate from two films",
    }
    run = {"epochs": round(fitted.epochs, 2), "steps": fitted.steps, "seconds": round(fitted.seconds)}
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": what[recipe.kind],
        "data": {"volumes": volumes, "validation_volumes": recipe.validation_volumes},
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "run": run,
        "validation": {name: round(value, 4) for name, value in figures.items()},
        "limits": "Two films leave most of a volume open: what is drawn there is a likely anatomy, not this"
        " patient's. Errors are at [-1000, 1000] HU over the field of view, films without noise. Not for"
        " diagnosis.",
        "licence": "BSD-3-Clause",
    }
