"""Training of the network that tells views apart: films of phantoms, exposed and framed as they come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trifocal import RESEARCH_USE_ONLY
from trifocal.checkpoint import Checkpoint, save
from trifocal.predictor import silent
from trifocal.training import Plan, best_weights, fit
from trifocal.xray.films.exposure import Exposure, expose
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import average_onto
from trifocal.xray.phantoms import field_of_view
from trifocal.xray.projection import Projectors
from trifocal.xray.views.net import PIXELS, ViewNet, ViewNetConfig, normalised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from trifocal.image import Image
    from trifocal.predictor import Progress

STORED = 96
"""Rows and columns of the films that are kept, so that there is something to cut."""

_PER_DM = 1.93  # attenuation of a decimetre of water at 70 keV


@dataclass(frozen=True)
class ViewRecipe:
    """How the network is trained.

    Attributes:
        plan: Of the run.
        network: Its sizes.
        held: Share of the pairs, the last ones, that are validated on.
    """

    plan: Plan = field(default_factory=lambda: Plan(epochs=40, batch_size=32, learning_rate=2e-3))
    network: ViewNetConfig = field(default_factory=ViewNetConfig)
    held: float = 0.1


def film_pairs(image: Image, rng: np.random.Generator, crops: int) -> NDArray[np.float16]:
    """Frontal and lateral films of random fields of view of a CT or phantom, in random geometries.

    Returns:
        (crops, 2, 96, 96) decimetres of water.
    """
    pairs = []
    for _ in range(crops):
        grid, _ = field_of_view(image, rng, voxels=48)
        density = torch.from_numpy(average_onto(image, grid) / 1000 + 1).clamp(min=0)
        distance, behind = float(rng.uniform(1000, 2200)), float(rng.uniform(180, 320))
        frontal = str(rng.choice(["AP", "PA"]))
        geometry = frontal_and_lateral(
            grid,
            frontal=frontal,
            source_to_detector_mm=distance,
            center_to_detector_mm=behind,
            pixels=STORED,
        )
        films = Projectors.of(geometry.views, grid).forward(density)
        pairs.append(torch.stack(films).numpy() / 100)
    return np.stack(pairs).astype(np.float16)


class Films:
    """Pairs of films as a data set: one sample is one pair; all randomness is drawn in the loss."""

    def __init__(self, pairs: NDArray[np.float16]) -> None:
        self.pairs = pairs

    def set_epoch(self, epoch: int) -> None:
        """Every epoch sees all pairs."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Tensor:
        """(2, 96, 96)."""
        return torch.from_numpy(self.pairs[index].astype(np.float32))


def train_views(
    pairs: NDArray[np.float16],
    out: Path,
    recipe: ViewRecipe,
    card: dict[str, Any],
    *,
    start: Mapping[str, Tensor] | None = None,
    progress: Progress = silent,
) -> Checkpoint:
    """Train on pairs of films and write `xray-views.safetensors`.

    Args:
        pairs: (N, 2, 96, 96) frontal and lateral in dm of water; the last ones are validated on.
        out: Folder of the run.
        recipe: How.
        card: What the checkpoint says of data, command and seed.
        start: Weights to begin with.
        progress: May raise `Cancelled`.
    """
    held = max(1, round(recipe.held * len(pairs)))
    torch.manual_seed(recipe.plan.seed)
    network = ViewNet(recipe.network)
    if start is not None:
        network.load_state_dict(start)
    judged = Films(pairs[-held:])
    fit(
        network,
        Films(pairs[:-held]),
        _loss,
        recipe.plan,
        out,
        validate=lambda model: judge(model, judged),
        device="cpu",
        progress=progress,
    )
    network.load_state_dict(best_weights(out))
    figures = judge(network.eval(), judged)
    return save(
        out / "xray-views.safetensors",
        network.state_dict(),
        engine="xray",
        config={"kind": "views", "network": asdict(recipe.network)},
        card={**card, "figures": figures, "pairs": len(pairs) - held, "limits": RESEARCH_USE_ONLY},
    )


@torch.no_grad()
def judge(model: nn.Module, films: Films) -> dict[str, float]:
    """Share of held-out films whose view, whose upright way and whose both are told wrong."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pairs = torch.stack([films[i] for i in range(len(films))])
        logits = model(normalised(taken(pairs.flatten(0, 1))))
    wanted = torch.arange(len(logits)) % 2
    best = logits.flatten(1).argmax(1)
    kind = best % 2 != wanted
    found = {"loss": float(functional.cross_entropy(logits.flatten(1), wanted))}
    for side, name in enumerate(("frontal", "lateral")):
        found[f"{name}_wrong_kind"] = float(kind[side::2].float().mean())
        found[f"{name}_wrong"] = float((best != wanted)[side::2].float().mean())
    return {"score": found["loss"], **found}


def _loss(model: nn.Module, pairs: Tensor) -> Mapping[str, Tensor]:
    """Cross entropy over the sixteen answers; the films are upright, so that the first turn is right."""
    films = pairs.flatten(0, 1)
    logits = model(normalised(taken(films))).flatten(1)
    wanted = torch.arange(len(films), device=films.device) % 2
    return {"loss": functional.cross_entropy(logits, wanted, label_smoothing=0.02)}


def taken(films: Tensor) -> Tensor:
    """Films (B, 96, 96) in dm of water as clinics take them, (B, 64, 64) in any unit.

    Framed wider or closer, off centre, a little turned, cut to a cassette's proportions; scatter, noise and
    blur; shown through a window and a curve. By torch's global random numbers.
    """
    count = len(films)

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high)

    films = _framed(films, drawn(0.65, 1.2), drawn(-0.09, 0.09), drawn(-0.14, 0.14), drawn(-0.09, 0.09))
    imperfect = (torch.rand(count) < 0.7).float()
    exposure = Exposure(
        photons=10 ** drawn(3.3, 6.0),
        scatter_fraction=drawn(0.0, 0.45) * imperfect,
        scatter_width=drawn(0.05, 0.3),
        blur_px=drawn(0.0, 1.0) * imperfect,
    )
    seen = expose(_PER_DM * films, exposure)
    seen = _shown(seen, drawn(-0.08, 0.2) * imperfect, drawn(0.55, 1.05), drawn(-0.7, 0.5) * imperfect)
    return _cut(seen, torch.rand(count), torch.rand(count))


def _framed(films: Tensor, zoom: Tensor, angle: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(B, 64, 64): `zoom` < 1 sees a part; angle in radians, shifts as shares of the film."""
    matrix = torch.stack(
        [
            torch.stack([zoom * angle.cos(), -zoom * angle.sin(), 2 * across], 1),
            torch.stack([zoom * angle.sin(), zoom * angle.cos(), 2 * down], 1),
        ],
        dim=1,
    )
    where = functional.affine_grid(matrix, [len(films), 1, PIXELS, PIXELS], align_corners=False)
    return functional.grid_sample(films[:, None], where, padding_mode="zeros", align_corners=False)[:, 0]


def _shown(films: Tensor, dark: Tensor, bright: Tensor, curve: Tensor) -> Tensor:
    """Through a window (shares of the largest value) and a power of exp(curve)."""
    most = films.amax((-2, -1), keepdim=True).clamp(min=1e-6)
    low, high = dark[:, None, None] * most, bright[:, None, None] * most
    share = ((films - low) / (high - low)).clamp(0, 1)
    return share ** torch.exp(curve)[:, None, None]


def _cut(films: Tensor, chance: Tensor, amount: Tensor) -> Tensor:
    """A third of the films lose up to a quarter of their width, a third of their height: 0 there."""
    at = (torch.arange(PIXELS) + 0.5) / PIXELS
    edge = 0.125 * amount[:, None]
    inside = (at > edge) & (at < 1 - edge)  # (B, 64)
    across = torch.where((chance < 1 / 3)[:, None, None], inside[:, None, :], True)
    down = torch.where((chance > 2 / 3)[:, None, None], inside[:, :, None], True)
    return films * (across & down)
