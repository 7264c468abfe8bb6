"""Two films in; a volume in HU with its uncertainty, its null space and its re-projections out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from trifocal.predictor import Progress, one_core, pick_device, silent
from trifocal.xray.attenuation import mu_water
from trifocal.xray.film import Film, covering
from trifocal.xray.learned import BUNDLED, Learned
from trifocal.xray.null_space import null_space_fraction
from trifocal.xray.projection import Projectors
from trifocal.xray.sirt import residual, sirt

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.image import Image
    from trifocal.xray.grid import Grid

LEAST_SQUARES = "least-squares"

STEPS = 15
"""Of the least-squares reconstruction without a network."""


@dataclass(frozen=True, eq=False)
class XrayInput:
    """What a prediction is made from.

    Attributes:
        films: The frontal one and the lateral one, in this order; or one alone.
        grid: Where the volume is wanted; 64 voxels along its longest axis for the bundled model.
        energy_kev: Effective energy of the beam, by which attenuation becomes HU.
        refine: Steps of the physics refinement; 0 leaves the network's answer as it is.
        samples: Of the uncertainty, beyond the network's own estimate; 0 for that alone.
    """

    films: tuple[Film, ...]
    grid: Grid
    energy_kev: float = 70.0
    refine: int = 15
    samples: int = 4

    def __post_init__(self) -> None:
        if len(self.films) not in (1, 2):
            msg = f"a reconstruction needs one film or two, got {len(self.films)}"
            raise ValueError(msg)
        sides = [_side(film) for film in self.films]
        if sides == [1, 0] or (len(sides) == 2 and sides[0] == sides[1]):
            names = " and ".join(film.view.name for film in self.films)
            msg = f"two films must be a frontal and a lateral one, in this order, got views of {names}"
            raise ValueError(msg)
        if self.refine < 0 or self.samples < 0:
            msg = f"refine and samples must be 0 or more, got {self.refine} and {self.samples}"
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Reprojection:
    """How well a volume explains one film.

    Attributes:
        film: Of the input, on the detector that the comparison was made on.
        before: (rows, columns) line integrals through the network's volume.
        after: The same through the refined volume.
        residual_before: Root mean square of the difference over that of the film, 0 to 1 and more.
        residual: The same after the refinement.
    """

    film: Film
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    residual_before: float
    residual: float


@dataclass(frozen=True, eq=False)
class XrayPrediction:
    """A reconstructed volume and its doubts, all on the same grid.

    Attributes:
        ct: HU, float32.
        std: Expected error of each voxel in HU, as a standard deviation; NaN for an engine that gives none.
        null_space: Share of each voxel's structure that the films do not determine, 0 to 1.
        network: HU before the physics refinement.
        views: One for each film.
        engine: "network" or the name of a baseline.
        weights_sha256: Of the network's file; "" for none.
        device: Where it was computed.
        seconds: That it took.
        warnings: What the user should know (single view, flipped film, out of range, ...).
        notes: For the provenance record (JSON-able).
    """

    ct: Image
    std: Image
    null_space: Image
    network: Image
    views: tuple[Reprojection, ...]
    engine: str = "network"
    weights_sha256: str = ""
    device: str = "cpu"
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)


class XrayPredictor:
    """Reconstructs a volume by the bundled network, or by least squares without any weights.

    Attributes:
        learned: The network; None for least squares.
        device: Where it computes.
    """

    def __init__(self, learned: Learned | None, device: torch.device) -> None:
        self.learned = learned
        self.device = device

    @classmethod
    def load(cls, checkpoint: Path | str = BUNDLED, *, device: str = "auto") -> Self:
        """Make the predictor from a checkpoint, the name of a bundled model, or "least-squares".

        Raises:
            CheckpointError: If the weights cannot be used.
            ValueError: If the device does not exist.
        """
        where = pick_device(device)
        return cls(None if checkpoint == LEAST_SQUARES else Learned.load(checkpoint, where), where)

    def predict(self, inputs: XrayInput, /, *, progress: Progress = silent) -> XrayPrediction:
        """Reconstruct.

        Raises:
            ValueError: If a film shows nothing of the volume.
            Cancelled: By `progress`.
        """
        began = time.perf_counter()
        progress(0.0, "reading the films")
        per_mm = mu_water(inputs.energy_kev)
        films = _on_box(inputs.films, inputs.grid, 2 * max(inputs.grid.shape))
        measured = [self._tensor(film.line_integrals / per_mm) for film in films]  # mm of water
        projectors = Projectors.of(tuple(film.view for film in films), inputs.grid, self.device)
        errors = [film.relative_error for film in films]
        with one_core(), torch.no_grad():
            if self.learned is None:
                zero = torch.zeros((1, *inputs.grid.shape), device=self.device)

                def told(done: float, what: str) -> None:
                    progress(0.6 * done, what)

                start = sirt(projectors, measured, zero, STEPS, relative_error=errors, progress=told)
                sigma = torch.full_like(start, torch.nan)
            else:
                start, sigma = self.learned.reconstruct(films, inputs.grid, per_mm, inputs.samples, progress)
            progress(0.6, "fitting the volume to the films")
            refined = sirt(projectors, measured, start, inputs.refine, relative_error=errors)
            progress(0.8, "what the films do not determine")
            open_share = null_space_fraction(projectors, refined[0])
            views = _reprojections(projectors, films, measured, start, refined, per_mm)
        progress(1.0, "done")
        to_image = inputs.grid.image
        return XrayPrediction(
            ct=to_image(_hu(refined), "HU"),
            std=to_image(1000 * sigma[0].cpu().numpy(), "HU"),
            null_space=to_image(open_share.cpu().numpy(), ""),
            network=to_image(_hu(start), "HU"),
            views=views,
            engine=LEAST_SQUARES if self.learned is None else "network",
            weights_sha256="" if self.learned is None else self.learned.sha256,
            device=self.device.type,
            seconds=time.perf_counter() - began,
            warnings=_warnings(inputs, views),
            notes={"energy_kev": inputs.energy_kev, "refine": inputs.refine, "samples": inputs.samples},
        )

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)[None]


def _side(film: Film) -> int:
    """0 for a film that looks along y (frontal), 1 along x (lateral); 2 along z."""
    return (1, 0, 2)[film.view.main_axis]


def _on_box(films: tuple[Film, ...], grid: Grid, pixels: int) -> tuple[Film, ...]:
    """Every film on the detector that covers the box."""
    out = tuple(film.onto(covering(film.view, grid, pixels)) for film in films)
    for film in out:
        if not np.isfinite(film.line_integrals).any():
            msg = (
                f"the {film.view.name} film shows nothing of the volume: check the geometry (the detector's"
                " place, the volume's center)"
            )
            raise ValueError(msg)
    return out


def _hu(density: Tensor) -> NDArray[np.float32]:
    out: NDArray[np.float32] = (1000 * (density[0].clamp(0, 4) - 1)).cpu().numpy().astype(np.float32)
    return out


def _reprojections(
    projectors: Projectors,
    films: tuple[Film, ...],
    measured: list[Tensor],
    start: Tensor,
    refined: Tensor,
    per_mm: float,
) -> tuple[Reprojection, ...]:
    both = []
    for volume in (start, refined):
        lines = [(per_mm * p[0]).cpu().numpy().astype(np.float32) for p in projectors.forward(volume)]
        both.append((lines, [float(r) for r in residual(projectors, volume, measured)]))
    (before, off_before), (after, off_after) = both
    return tuple(
        Reprojection(film, before[i], after[i], off_before[i], off_after[i]) for i, film in enumerate(films)
    )


def _warnings(inputs: XrayInput, views: tuple[Reprojection, ...]) -> tuple[str, ...]:
    out = []
    if len(views) == 1:
        out.append(
            f"from the {views[0].film.view.name} film alone: depth along its rays is guessed, and the error"
            " estimate is larger for it"
        )
    for view in views:
        if view.residual > max(0.1, 2 * view.film.relative_error):
            out.append(
                f"the volume does not explain the {view.film.view.name} film (residual {view.residual:.0%}):"
                " is a film flipped, or of another patient or geometry?"
            )
    return tuple(out)
