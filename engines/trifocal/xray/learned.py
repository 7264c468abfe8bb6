"""The networks as a checkpoint holds them, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from trifocal.checkpoint import CheckpointError
from trifocal.predictor import silent
from trifocal.xray.calibration import Calibration
from trifocal.xray.film import covering
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.models.cascade import Cascade, averaged
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.lifting import LiftingEnsemble
from trifocal.xray.models.saved import SavedNet
from trifocal.xray.projection import Projector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.predictor import Progress
    from trifocal.xray.film import Film
    from trifocal.xray.view import View

BUNDLED = "xray"

EDGE_MM = 300.0
"""Edge of the cube in which the networks see every volume: lengths are scaled to it, density stays."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A network of any kind, and what makes its answer one in HU with an error.

    Attributes:
        network: Films and a lift to density; in evaluation mode, on one device.
        calibration: Of its error.
        voxels: Along the edges of the cube that it was trained on.
        card: Of the checkpoint.
        sha256: Of the checkpoint; "" for a network in training.
    """

    network: nn.Module
    calibration: Calibration = field(default_factory=Calibration)
    voxels: int = 64
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @classmethod
    def load(cls, path_or_name: Path | str, device: torch.device) -> Self:
        """Read a checkpoint of any kind of network.

        Raises:
            CheckpointError: If it is missing, damaged, or of something else.
        """
        saved = SavedNet.load(path_or_name, device)
        try:
            calibration = Calibration.from_record(saved.config.get("calibration"))
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        return cls(saved.network, calibration, saved.voxels, saved.card, saved.sha256)

    @torch.no_grad()
    def reconstruct(
        self, films: Sequence[Film], grid: Grid, per_mm: float, samples: int, progress: Progress = silent
    ) -> tuple[Tensor, Tensor]:
        """Density and the standard deviation of its error on a grid, both (1, X, Y, Z).

        The networks see a cube of their own number of voxels around the grid, scaled to `EDGE_MM`.

        Args:
            films: One frontal, one lateral, or one alone.
            grid: Any.
            per_mm: Attenuation of water at the films' energy.
            samples: Further answers with dropout, whose spread is added to the networks' own estimate.
            progress: May raise Cancelled.
        """
        device = next(self.network.parameters()).device
        cube = around(grid, self.voxels)
        scale = EDGE_MM / float(cube.extent_mm[0])
        usual = frontal_and_lateral(Grid.cube(EDGE_MM, self.voxels), pixels=2 * self.voxels).views
        views, images = list(usual), torch.zeros(1, 2, *usual[0].shape, device=device)
        for film in films:
            seen = film.onto(covering(film.view, cube, 2 * self.voxels))
            side = 1 if abs(film.view.normal[0]) > abs(film.view.normal[1]) else 0
            views[side] = _scaled(seen.view, cube, scale)
            water = _without_gaps(seen, grid) / (100 * per_mm) * scale
            images[0, side] = torch.as_tensor(water, device=device)
        lift = Lift(tuple(views), Grid.cube(EDGE_MM, self.voxels), device)
        density, sigma = self._answer(images, lift, samples, progress)
        return (
            _on_grid(density, cube, grid).to(device)[None],
            _on_grid(sigma, cube, grid).to(device)[None],
        )

    def _answer(self, images: Tensor, lift: Lift, samples: int, progress: Progress) -> tuple[Tensor, Tensor]:
        """Density and standard deviation (X, Y, Z) in the cube."""
        progress(0.1, "reconstructing")
        base, coarse = first_stage(self.network, lift)
        sigma = torch.full(lift.grid.shape, torch.nan, device=images.device)
        if isinstance(base, LiftingEnsemble):
            first, log_error = base.with_error(averaged(images, coarse), coarse)
            density = first if base is self.network else self.network(images, lift, first)
            density = density.float().clamp(0, 4)
            sigma = self.calibration.sigma(density, _raised(log_error, lift))[0, 0]
        else:
            density = self.network(images, lift).float().clamp(0, 4)
        if samples:
            spread = self._spread(images, lift, samples, progress)
            sigma = torch.sqrt(sigma.nan_to_num(0.0) ** 2 + spread**2)
        return density[0, 0], sigma

    def _spread(self, images: Tensor, lift: Lift, samples: int, progress: Progress) -> Tensor:
        """Standard deviation (X, Y, Z) of the first stage's answers with dropout, always the same ones."""
        base, coarse = first_stage(self.network, lift)
        drops = [m for m in base.modules() if isinstance(m, nn.Dropout3d)]
        seen, answers = averaged(images, coarse), []
        with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
            torch.manual_seed(0)
            try:
                for drop in drops:
                    drop.train()
                for i in range(samples):
                    progress(0.3 + 0.3 * i / samples, f"sample {i + 1} of {samples}")
                    answers.append(base(seen, coarse).float().clamp(0, 4))
            finally:
                self.network.eval()
        return _raised(torch.stack(answers).std(0, correction=0), lift)[0, 0]


def first_stage(network: nn.Module, lift: Lift) -> tuple[nn.Module, Lift]:
    """What a network begins with, and the lift onto that stage's grid: the base of a cascade, or itself."""
    if isinstance(network, Cascade):
        return network.base, lift.coarser(2 ** len(network.stages))
    return network, lift


def error_of(network: nn.Module, films: Tensor, lift: Lift) -> Tensor | None:
    """Logarithm of the absolute error that a network expects of itself, (B, 1, X, Y, Z) on the lift's grid.

    Of a cascade, that of its base, interpolated. None for a network that expects none.
    """
    base, coarse = first_stage(network, lift)
    if not isinstance(base, LiftingEnsemble):
        return None
    return _raised(base.with_error(averaged(films, coarse), coarse)[1].float(), lift)


def _raised(values: Tensor, lift: Lift) -> Tensor:
    """(B, 1, x, y, z) interpolated onto the lift's grid."""
    return functional.interpolate(values, lift.grid.shape, mode="trilinear")


def around(grid: Grid, voxels: int) -> Grid:
    """The cube of so many voxels in whose middle the grid lies; voxel on voxel if they are of one size."""
    edge = float(grid.extent_mm.max())
    step = edge / voxels
    counts = [round(float(e) / step) for e in grid.extent_mm]
    before = [(voxels - n) // 2 * step for n in counts]
    x, y, z = (float(low) - b + edge / 2 for low, b in zip(grid.low_mm, before, strict=True))
    return Grid.cube(edge, voxels, (x, y, z))


def _scaled(view: View, cube: Grid, scale: float) -> View:
    """The view as it stands to the cube scaled to `EDGE_MM` and put at the origin."""
    center = np.asarray(cube.center_mm)
    source, origin = (scale * (p - center) for p in (view.source_mm, view.origin_mm))
    return replace(view, source_mm=source, origin_mm=origin, u_mm=scale * view.u_mm, v_mm=scale * view.v_mm)


def _without_gaps(film: Film, grid: Grid) -> NDArray[np.float32]:
    """Line integrals, gaps filled from the nearest known pixel; 0 where a ray misses the grid."""
    values = film.line_integrals
    gaps = ~np.isfinite(values)
    if gaps.any():
        nearest = ndimage.distance_transform_edt(gaps, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    hits = Projector(film.view, grid.with_voxels((8, 8, 8))).forward(torch.ones(1, 8, 8, 8))[0].numpy() > 0
    return np.where(hits, values, 0).astype(np.float32)


def _on_grid(values: Tensor, cube: Grid, grid: Grid) -> Tensor:
    """Interpolated (copied, where voxels coincide) from the cube onto the grid, the border's value beyond."""
    image = cube.image(values.cpu().numpy(), "")
    index = [
        np.clip(image.world_to_index(_axis_points(grid, a))[:, a], 0, cube.shape[a] - 1) for a in range(3)
    ]
    points = np.stack(np.meshgrid(*index, indexing="ij"))
    out = ndimage.map_coordinates(image.array, points, order=1, output=np.float32)
    return torch.from_numpy(out)


def _axis_points(grid: Grid, axis: int) -> NDArray[np.float64]:
    points = np.tile(np.asarray(grid.center_mm, float), (grid.shape[axis], 1))
    points[:, axis] = grid.centers_mm(axis)
    return points
