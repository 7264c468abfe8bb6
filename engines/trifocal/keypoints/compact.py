"""Training of the compact networks: every task at once, real images and phantoms side by side."""

from __future__ import annotations

import hashlib
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal import RESEARCH_USE_ONLY, __version__, io
from trifocal.checkpoint import Checkpoint, save
from trifocal.cine import grey
from trifocal.keypoints.answer import combine
from trifocal.keypoints.augment import Augmentation
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.examples import SYNTHETIC, Example, standard_split, synthetic_seeds
from trifocal.keypoints.learned import Learned, config_record
from trifocal.keypoints.network import CANVAS, CompactConfig, CompactNetwork
from trifocal.keypoints.outline_level import fit_levels
from trifocal.keypoints.pictures import Pictures
from trifocal.keypoints.review import ReviewFit, Signals
from trifocal.keypoints.targets import losses
from trifocal.predictor import pick_device, silent
from trifocal.provenance import git_commit
from trifocal.training import Fitted, Plan, best_weights, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from trifocal.predictor import Progress


@dataclass(frozen=True)
class CompactRecipe:
    """How the compact networks are trained.

    Attributes:
        plan: Of each member; member i has the seed plan.seed + i.
        network: Size of each member.
        members: How many networks answer together. On a CPU they are trained side by side, a process each.
        augmentation: What is done to each image.
        real_repeats: How often an epoch shows each real image: they are few.
        validation_images: Most per task that validate within a run.
    """

    plan: Plan
    network: CompactConfig = field(default_factory=CompactConfig)
    members: int = 2
    augmentation: Augmentation = field(default_factory=Augmentation)
    real_repeats: int = 8
    validation_images: int = 80


def train_compact(
    examples: Sequence[Example],
    out: Path,
    recipe: CompactRecipe,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[list[Fitted], Checkpoint]:
    """Train the members, fit the review on patients held back, write `keypoints.safetensors`.

    Each member's run is in out/member-N: start again to go on.

    Raises:
        ValueError: If there is nothing to learn from or to validate with, or `out` holds another run.
        Cancelled: Or KeyboardInterrupt; the runs go on from there.
        OSError: If the disk is full.
    """
    learn, validate, _ = standard_split(examples)
    if not learn or not validate:
        msg = f"there must be images to learn from and to validate with, got {len(learn)} and {len(validate)}"
        raise ValueError(msg)
    where = pick_device(device).type
    jobs = [(learn, validate, out / f"member-{i}", _member(recipe, i), where) for i in range(recipe.members)]
    if where == "cpu" and recipe.members > 1:
        with ProcessPoolExecutor(recipe.members, mp_context=get_context("spawn")) as pool:
            rest = [pool.submit(_train_member, *job) for job in jobs[1:]]
            fits = [_train_member(*jobs[0], progress=progress), *(one.result() for one in rest)]
    else:
        fits = [_train_member(*job, progress=progress) for job in jobs]
    members = []
    for _, _, folder, _, _ in jobs:
        network = CompactNetwork(recipe.network)
        network.load_state_dict(best_weights(folder))
        members.append(network.eval())
    real = sorted({e.task_id for e in learn if e.source != SYNTHETIC})
    learned = Learned(members, tuple(real))
    learned = replace(learned, levels=fit_levels(learned, validate, progress))
    reviews, figures = judge_members(learned, validate, progress, _sizes(learn))
    learned = replace(learned, review=reviews)
    weights = torch.nn.ModuleList(members).state_dict()
    card = _card(learn, validate, recipe, fits, figures)
    config = config_record(recipe.network, learned)
    return fits, save(out / "keypoints.safetensors", weights, engine="keypoints", config=config, card=card)


def compact_loss(pictures: Pictures, how: Augmentation) -> Callable[[nn.Module, Any], dict[str, Tensor]]:
    """The loss of a batch of indices, for `trifocal.training.fit`."""

    def loss(model: nn.Module, chosen: Tensor) -> dict[str, Tensor]:
        batch = pictures.batch(chosen, how)
        heat, outline = model(batch.pop("images"))
        return losses(heat, outline, **batch)

    return loss


@torch.no_grad()
def settle_norms(network: CompactNetwork, pictures: Pictures, images: int = 640) -> None:
    """Take the means and variances of the batch norms from images as they are, without augmentation.

    Those of the training steps belong to spoiled images and to weights that the average has left behind: with
    them outlines come out some millimetres too large or too small (measured: HC error 3.7 instead of 1.9 mm).
    """
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    device = next(network.parameters()).device
    chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:images]
    network.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    for batch in torch.split(chosen, 16):
        network(pictures.view(torch.tensor([pictures[int(i)] for i in batch]), device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def judge_members(
    learned: Learned,
    examples: Sequence[Example],
    progress: Progress = silent,
    seen_mm: dict[str, tuple[float, float]] | None = None,
) -> tuple[dict[str, ReviewFit], dict[str, dict[str, float]]]:
    """Errors on images that were held back, by the same steps as the predictor's, and the fit of the review.

    Returns:
        By task: the fit, and mean and median of the radial error in pixels of the canvas and, where a pixel's
        size is known, in mm (for HC also the absolute error of the circumference).
    """
    fits, figures = {}, {}
    for task_id in dict.fromkeys(e.task_id for e in examples):
        own = [e for e in examples if e.task_id == task_id]
        signals, errors, rows = [], [], []
        for i, example in enumerate(own):
            progress(i / len(own), f"validating {task_id}")
            frame = grey(io.read_cine(example.path).frames[0])
            maps = learned.maps(frame, example.task, tta=False)
            answer = combine(maps, example.task)
            error = _radial(example, answer.points)
            row = {"mre_network_px": error * maps.canvas.scale}
            if example.mm_per_px is not None:
                row["mre_mm"] = error * example.mm_per_px
            if example.task.ellipse and answer.ellipse is not None:
                found = ellipse_from_axes(answer.points).perimeter
                longer = found - ellipse_from_axes(example.points).perimeter
                row["perimeter_mm"] = abs(longer) * (example.mm_per_px or np.nan)
            signals.append(Signals.of(answer, example.task, frame.shape))
            errors.append(error)
            rows.append(row)
        real = [i for i, e in enumerate(own) if e.source != SYNTHETIC] or list(range(len(own)))
        scales = [own[i].mm_per_px or np.nan for i in real]
        seen = (seen_mm or {}).get(task_id)
        fits[task_id] = ReviewFit.fit([signals[i] for i in real], [errors[i] for i in real], scales, seen)
        names = sorted({name for row in rows for name in row})
        columns = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
        figures[task_id] = {"images": float(len(own))}
        for name, column in columns.items():
            figures[task_id] |= {
                f"{name}_mean": float(np.nanmean(column)),
                f"{name}_median": float(np.nanmedian(column)),
            }
    return fits, figures


def _sizes(examples: Sequence[Example]) -> dict[str, tuple[float, float]]:
    """Smallest and largest size in mm by task, as `Signals` has it; of real images where there are any."""
    sizes: dict[str, list[float]] = {}
    real = {e.task_id for e in examples if e.source != SYNTHETIC}
    for e in examples:
        if e.mm_per_px is None or (e.task_id in real and e.source == SYNTHETIC):
            continue
        lines = np.array(e.task.lines)
        lengths = np.linalg.norm(e.points[lines[:, 0]] - e.points[lines[:, 1]], axis=-1)
        size = ellipse_from_axes(e.points).perimeter if e.task.ellipse else float(np.nanmax(lengths))
        sizes.setdefault(e.task_id, []).append(size * e.mm_per_px)
    return {task: (min(found), max(found)) for task, found in sizes.items()}


def _radial(example: Example, points: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Mean distance of the points, ends of pairs matched, in pixels of the frame."""
    matched = example.task.matched(points, example.points)
    return float(np.nanmean(np.linalg.norm(matched - example.points, axis=-1)))


def _member(recipe: CompactRecipe, index: int) -> CompactRecipe:
    return replace(recipe, plan=replace(recipe.plan, seed=recipe.plan.seed + index))


def _train_member(
    learn: Sequence[Example],
    validate: Sequence[Example],
    out: Path,
    recipe: CompactRecipe,
    device: str,
    progress: Progress = silent,
) -> Fitted:
    """One member, in its own process or in this one."""
    if device == "cpu" and recipe.members > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // recipe.members))
    repeats = {e.source: recipe.real_repeats for e in learn if e.source != SYNTHETIC}
    pictures = Pictures(learn, progress, repeats)
    torch.manual_seed(recipe.plan.seed)
    network = CompactNetwork(recipe.network)
    chosen = _some_of_each(validate, recipe.validation_images)

    def judge(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, CompactNetwork)
        settle_norms(model, pictures)
        _, figures = judge_members(Learned([model]), chosen)
        rows = {f"{t}_{n}": f[n] for t, f in figures.items() for n in f if n.endswith("_mean")}
        # relative to the canvas for all tasks alike; the head's circumference counts beside its points
        score = sum(f["mre_network_px_mean"] for f in figures.values())
        return {"score": score + figures.get("HC", {}).get("perimeter_mm_mean", 0.0), **rows}

    loss = compact_loss(pictures, recipe.augmentation)
    # `judge` settles the norms of the weights that are kept
    return fit(network, pictures, loss, recipe.plan, out, validate=judge, device=device, progress=progress)


def _some_of_each(examples: Sequence[Example], most: int) -> list[Example]:
    tasks = dict.fromkeys(e.task_id for e in examples)
    real_first = sorted(examples, key=lambda e: e.source == SYNTHETIC)
    return [e for task in tasks for e in [x for x in real_first if x.task_id == task][:most]]


def _card(
    learn: Sequence[Example],
    validate: Sequence[Example],
    recipe: CompactRecipe,
    fits: Sequence[Fitted],
    figures: dict[str, dict[str, float]],
) -> dict[str, Any]:
    count = {
        f"{task}, {source}": sum(e.task_id == task and e.source == source for e in learn)
        for task, source in sorted({(e.task_id, e.source) for e in learn})
    }
    names = "".join(sorted(f"{e.source}/{e.path.name}" for e in learn))
    seeds = synthetic_seeds([*learn, *validate])
    return {
        "notice": RESEARCH_USE_ONLY,
        "what": f"{recipe.members} convolutional heat-map networks that answer together, nine biometry tasks",
        "data": {
            "images": count,
            "validation_images": len(validate),
            "real": "HC18, van den Heuvel et al. 2018, doi 10.5281/zenodo.1327317, CC BY 4.0, halved in size",
            "synthetic": "trifocal simulate keypoints",
            "synthetic_seeds": [seeds[0], seeds[-1]] if seeds else [],
            "sha256_of_names": hashlib.sha256(names.encode()).hexdigest(),
        },
        "command": f"trifocal {shlex.join(sys.argv[1:])}",
        "version": __version__,
        "commit": git_commit(),
        "recipe": asdict(recipe),
        "canvas": list(CANVAS),
        "runs": [{"epochs": round(f.epochs, 2), "steps": f.steps, "seconds": round(f.seconds)} for f in fits],
        "validation": {t: {n: round(v, 3) for n, v in f.items()} for t, f in figures.items()},
        "limits": "Only HC has learned from real images; the other eight tasks from synthetic ones alone, and"
        " have not been tested on real ones. Not for diagnosis, not for measurements that decide on care.",
        "licence": "BSD-3-Clause; learned in part from HC18 (CC BY 4.0)",
    }
