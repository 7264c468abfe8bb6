"""Training of the bundled network: crops of phantoms, films projected on the fly."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.checkpoint import Checkpoint, save
from trifocal.predictor import pick_device, silent
from trifocal.provenance import git_commit
from trifocal.training import Fitted, Plan, best_weights, fit
from trifocal.xray.data import Crops, Scene, imperfect
from trifocal.xray.learned import Calibration, Learned, config_record
from trifocal.xray.models.lifting import LiftingConfig, LiftingNet
from trifocal.xray.sirt import sirt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.image import Image
    from trifocal.predictor import Progress

BODY = 0.5
"""Density above which a voxel counts as body where no mask is at hand: -500 HU."""


@dataclass(frozen=True)
class LiftingRecipe:
    """How the bundled network is trained.

    Attributes:
        plan: Of the run.
        network: Its sizes.
        voxels: Along the edges of the cube.
        crops_per_volume: In an epoch.
        validation_volumes: The last ones of the list; two crops of each are validated on.
        square: Weight of the squared error beside the absolute one.
    """

    plan: Plan
    network: LiftingConfig = field(default_factory=LiftingConfig)
    voxels: int = 64
    crops_per_volume: int = 2
    validation_volumes: int = 16
    square: float = 2.0
    consistent: float = 0.0


def train_lifting(
    volumes: Sequence[Path],
    out: Path,
    recipe: LiftingRecipe,
    *,
    start: Mapping[str, Tensor] | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[Fitted, Checkpoint]:
    """Train on crops of CTs or phantoms, fit the error's scale on held-out ones, write the checkpoint.

    Args:
        volumes: Files of CTs in HU; the last ones are held out.
        out: Folder of the run; `xray.safetensors` and `xray.json` are written there.
        recipe: How.
        start: Weights to begin with, e.g. of a run with fewer voxels.
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
    readers = [_reader(path) for path in volumes]
    where = pick_device(device)
    train = Crops(
        readers[:-held], voxels=recipe.voxels, seed=recipe.plan.seed, per_volume=recipe.crops_per_volume
    )
    judged = held_out(readers[-held:], recipe.voxels)
    torch.manual_seed(recipe.plan.seed)
    network = LiftingNet(recipe.network)
    if start is not None:
        network.load_state_dict(start)
    done = fit(
        network,
        train,
        _loss(recipe),
        recipe.plan,
        out,
        validate=lambda model: judge(model, judged, recipe.voxels),
        device=device,
        progress=progress,
    )
    network.load_state_dict(best_weights(out))
    network.eval().to(where)
    calibration = Calibration.fit(*_errors(network, judged, recipe.voxels))
    figures = judge(network, judged, recipe.voxels)
    learned = Learned([network], calibration)
    card = _card(volumes, recipe, done, figures)
    stored = save(
        out / "xray.safetensors",
        learned.weights(),
        engine="xray",
        config=config_record(recipe.network, recipe.voxels, learned),
        card=card,
    )
    return done, stored


def held_out(readers: Sequence[Callable[[], Image]], voxels: int) -> list[dict[str, Tensor]]:
    """Two crops of each volume, always the same."""
    crops = Crops(readers, voxels=voxels, seed=987654321, per_volume=2)
    return [crops[i] for i in range(len(crops))]


@torch.no_grad()
def judge(model: nn.Module, crops: Sequence[dict[str, Tensor]], voxels: int) -> dict[str, float]:
    """Errors on held-out crops with clean films: of the network, refined, and of least squares beside them.

    Returns:
        `score` (mean absolute error refined, plus the root mean square one, HU) and by kind MAE and PSNR at
        [-1000, 1000] HU over the field of view.
    """
    assert isinstance(model, LiftingNet)
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


def _loss(recipe: LiftingRecipe) -> Callable[[nn.Module, Any], dict[str, Tensor]]:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        truth, inside = batch["density"], batch["inside"][:, None].float()
        scene = Scene.random(recipe.voxels, truth.device)
        with torch.no_grad():
            films = imperfect(scene.films(truth))
        density, log_error = model(films, scene.lift, with_error=True)
        off = (density.float() - truth[:, None]) * inside
        per = 1 / inside.sum()
        log_error = log_error.float().clamp(-7, 2)
        doubt = (off.detach().abs() * torch.exp(-log_error) + log_error) * inside
        absolute, squared = off.abs().sum() * per, off.square().sum() * per
        total = absolute + recipe.square * squared + 0.02 * doubt.sum() * per
        if recipe.consistent:
            fitted = nearest_consistent(scene, density[:, 0].float(), films, 2)
            off = (fitted - truth)[:, None] * inside
            after = off.abs().sum() * per + recipe.square * off.square().sum() * per
            total = (1 - recipe.consistent) * total + recipe.consistent * after
        return {"loss": total, "mae_hu": 1000 * absolute.detach(), "squared": squared.detach()}

    return loss


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
def _errors(model: LiftingNet, crops: Sequence[dict[str, Tensor]], voxels: int) -> tuple[Tensor, Tensor]:
    """Logarithm of the predicted error, and the absolute error after refinement, of voxels of the body."""
    device = next(model.parameters()).device
    scene = Scene.usual(voxels, device)
    said, true = [], []
    for crop in crops:
        truth, inside = crop["density"][None].to(device), crop["inside"][None].to(device)
        films = scene.films(truth)
        density, log_error = model.with_error(films, scene.lift)
        both = [100 * films[:, i] for i in range(2)]
        refined = sirt(scene.projectors, both, density[:, 0].float().clamp(0, 4), 10)
        said.append(log_error[:, 0][inside].float().cpu()[::7])
        true.append((refined - truth)[inside].abs().cpu()[::7])
    return torch.cat(said), torch.cat(true)


def _reader(path: Path) -> Callable[[], Image]:
    return lambda: io.read(path)


def _card(
    volumes: Sequence[Path], recipe: LiftingRecipe, done: Fitted, figures: dict[str, float]
) -> dict[str, Any]:
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": "geometry-aware network, two films to a volume of 64 voxels a side, with an error for each",
        "data": {
            "volumes": len(volumes) - recipe.validation_volumes,
            "validation_volumes": recipe.validation_volumes,
            "kind": "procedural phantoms of the trunk, trifocal simulate xray; no patient's data",
        },
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "run": {"epochs": round(done.epochs, 2), "steps": done.steps, "seconds": round(done.seconds)},
        "validation": {name: round(value, 3) for name, value in figures.items()},
        "limits": "Learned from phantoms alone. Two films leave most of a volume open: what is drawn there is"
        " a likely anatomy, not this patient's. Not for diagnosis, dose or planning.",
        "licence": "BSD-3-Clause",
    }
