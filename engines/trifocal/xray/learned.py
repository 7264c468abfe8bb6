"""The networks as a checkpoint holds them, and what they answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from trifocal import checkpoint
from trifocal.checkpoint import Checkpoint, CheckpointError
from trifocal.predictor import silent
from trifocal.xray.film import covering
from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid
from trifocal.xray.models.lift import Lift
from trifocal.xray.models.lifting import LiftingConfig, LiftingNet
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


@dataclass(frozen=True)
class Calibration:
    """From the network's own error to a standard deviation: sigma = exp(offset + slope * log error).

    Fitted on held-out volumes so that the root mean square of error / sigma is 1 at every level of it.

    Attributes:
        offset: 0.35 is the ratio of standard deviation to mean absolute error of a Laplace distribution.
        slope: Below 1 where the network exaggerates its differences.
    """

    offset: float = 0.35
    slope: float = 1.0

    @classmethod
    def fit(cls, log_error: Tensor, error: Tensor, bins: int = 20) -> Self:
        """Line through the root mean square errors of bins of equal size.

        Args:
            log_error: (N,) what the network said.
            error: (N,) absolute error in the same unit.
            bins: Of which the line is made.
        """
        said, true = log_error.double().numpy(), error.double().numpy()
        order = np.array_split(np.argsort(said), bins)
        x = np.array([said[part].mean() for part in order])
        y = np.array([0.5 * np.log(np.mean(true[part] ** 2) + 1e-12) for part in order])
        slope, offset = np.polyfit(x, y, 1)
        return cls(float(offset), float(slope))

    def sigma(self, log_error: Tensor) -> Tensor:
        """Standard deviation in the unit of the error."""
        return torch.exp(self.offset + self.slope * log_error)


@dataclass(frozen=True, eq=False)
class Learned:
    """One network or several that answer together.

    Attributes:
        members: In evaluation mode, on one device.
        calibration: Of their error.
        voxels: Along the edges of the cube that they were trained on.
        card: Of the checkpoint.
        sha256: Of the checkpoint; "" for networks in training.
    """

    members: Sequence[LiftingNet]
    calibration: Calibration = field(default_factory=Calibration)
    voxels: int = 64
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @classmethod
    def load(cls, path_or_name: Path | str, device: torch.device) -> Self:
        """Read a checkpoint of the compact network.

        Raises:
            CheckpointError: If it is missing, damaged, or of something else.
        """
        stored = checkpoint.load(path_or_name, "xray")
        members, calibration, voxels = _build(stored)
        return cls([m.to(device) for m in members], calibration, voxels, stored.card, stored.sha256)

    def weights(self) -> dict[str, Tensor]:
        """State dict of all members."""
        return nn.ModuleList(self.members).state_dict()

    @torch.no_grad()
    def reconstruct(
        self, films: Sequence[Film], grid: Grid, per_mm: float, samples: int, progress: Progress = silent
    ) -> tuple[Tensor, Tensor]:
        """Density and the standard deviation of its error on a grid, both (1, X, Y, Z).

        The networks see a cube of their own number of voxels around the grid, scaled to `data.EDGE_MM`.

        Args:
            films: One frontal, one lateral, or one alone.
            grid: Any.
            per_mm: Attenuation of water at the films' energy.
            samples: Further answers with dropout, whose spread is added to the networks' own estimate.
            progress: May raise Cancelled.
        """
        device = next(self.members[0].parameters()).device
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
        return tuple(_on_grid(part, cube, grid).to(device)[None] for part in (density, sigma))  # type: ignore[return-value]

    def _answer(self, images: Tensor, lift: Lift, samples: int, progress: Progress) -> tuple[Tensor, Tensor]:
        answers = []
        for i, member in enumerate(self.members):
            progress(0.1 + 0.2 * i / len(self.members), "reconstructing")
            answers.append(member.with_error(images, lift))
        density = torch.stack([d[0, 0].float() for d, _ in answers]).mean(0).clamp(0, 4)
        sigma = torch.stack([self.calibration.sigma(e[0, 0].float()) for _, e in answers]).mean(0)
        return density, sigma


def config_record(config: LiftingConfig, voxels: int, learned: Learned) -> dict[str, Any]:
    """What a checkpoint has to say so that `Learned.load` can build the networks again."""
    return {
        "kind": "lifting",
        "network": asdict(config),
        "members": len(learned.members),
        "voxels": voxels,
        "calibration": asdict(learned.calibration),
    }


def _build(stored: Checkpoint) -> tuple[list[LiftingNet], Calibration, int]:
    try:
        size = dict(stored.config["network"])
        for name in ("flat", "solid"):
            size[name] = tuple(size[name])
        config = LiftingConfig(**size)
        members = nn.ModuleList(LiftingNet(config) for _ in range(int(stored.config["members"])))
        calibration = Calibration(**stored.config["calibration"])
        voxels = int(stored.config["voxels"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the config of {stored.name} must describe a lifting network, got {stored.config} ({error!r})"
        raise CheckpointError(msg) from error
    checkpoint.load_into(members, stored)
    return [m for m in members.eval() if isinstance(m, LiftingNet)], calibration, voxels


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
