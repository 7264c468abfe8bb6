"""Training samples: crops of CTs or phantoms, and films of them with random geometry and exposure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trifocal.xray.geometry import frontal_and_lateral
from trifocal.xray.grid import Grid, average_onto
from trifocal.xray.learned import EDGE_MM
from trifocal.xray.models.lift import Lift
from trifocal.xray.phantoms import field_of_view
from trifocal.xray.planning import without_padding
from trifocal.xray.projection import Projectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trifocal.image import Image
    from trifocal.xray.view import View


TIGHTER_SHARE = 0.3
"""Of the crops that are cut at the sides, as scans are that were reconstructed for the lungs or the spine."""


class Crops:
    """Random fields of view of volumes, on a cube of voxels.

    Which crop a sample is follows from seed, epoch and index alone.

    Attributes:
        volumes: How many there are, and how each is read.
        voxels: Along the cube's edges.
        per_volume: Crops of each volume in an epoch.
    """

    def __init__(
        self, readers: Sequence[Callable[[], Image]], *, voxels: int = 64, seed: int = 0, per_volume: int = 1
    ) -> None:
        self.readers = readers
        self.voxels = voxels
        self.per_volume = per_volume
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Other crops in each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.readers) * self.per_volume

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Density and whether a voxel is in the field of view, both (X, Y, Z); the cube's edge in mm."""
        rng = np.random.default_rng([self._seed, self._epoch, index])
        image = self.readers[index % len(self.readers)]()
        grid, _ = field_of_view(image, rng, voxels=self.voxels)
        if rng.random() < TIGHTER_SHARE:
            grid = tighter(grid, rng, self.voxels)
        density = average_onto(without_padding(image), grid) / 1000 + 1
        return on_cube(density, grid, self.voxels)


def tighter(grid: Grid, rng: np.random.Generator, voxels: int) -> Grid:
    """The middle of a grid, cut at the sides by up to 28 %; equal voxels, `voxels` along the longest edge."""
    x, y, z = (float(e) for e in grid.extent_mm * [rng.uniform(0.72, 1), rng.uniform(0.72, 1), 1])
    step = max(x, y, z) / voxels
    i, j, k = (max(1, int(e / step + 1e-6)) for e in (x, y, z))
    return Grid((i, j, k), (step, step, step), grid.center_mm)


def on_cube(density: np.ndarray, grid: Grid, voxels: int) -> dict[str, Tensor]:
    """A grid's density in the middle of a cube of as large voxels, air around it.

    Args:
        density: (X, Y, Z), no edge longer than `voxels`.
        grid: Its grid; equal spacing along the axes.
        voxels: Along the cube's edges.
    """
    cube = np.zeros((voxels,) * 3, np.float32)
    inside = np.zeros((voxels,) * 3, bool)
    place = tuple(slice((voxels - n) // 2, (voxels - n) // 2 + n) for n in grid.shape)
    cube[place] = np.clip(density, 0, 4)
    inside[place] = True
    edge = torch.tensor(voxels * max(grid.spacing_mm), dtype=torch.float32)
    return {"density": torch.from_numpy(cube), "inside": torch.from_numpy(inside), "edge_mm": edge}


@dataclass(frozen=True, eq=False)
class Scene:
    """The geometry that a batch shares, in the cube of `EDGE_MM`."""

    lift: Lift
    projectors: Projectors

    @classmethod
    def usual(cls, voxels: int = 64, device: torch.device | str = "cpu") -> Scene:
        """An AP and a lateral film at 1.8 m."""
        grid = Grid.cube(EDGE_MM, voxels)
        return cls.of(frontal_and_lateral(grid, pixels=2 * voxels).views, grid, device)

    @classmethod
    def random(cls, voxels: int = 64, device: torch.device | str = "cpu") -> Scene:
        """Distances, side (AP or PA) and central ray as they vary; by torch's global random numbers."""
        grid = Grid.cube(EDGE_MM, voxels)
        near = float(torch.empty(1).uniform_(160, 320))
        far = float(torch.empty(1).uniform_(900, 2400))
        frontal = "AP" if torch.rand(()) < 0.5 else "PA"
        pair = frontal_and_lateral(
            grid,
            frontal=frontal,
            source_to_detector_mm=far,
            center_to_detector_mm=near,
            pixels=2 * voxels,
            parallel=bool(torch.rand(()) < 0.05),
        )
        return cls.of(tuple(_shifted(view) for view in pair.views), grid, device)

    @classmethod
    def of(cls, views: tuple[View, ...], grid: Grid, device: torch.device | str) -> Scene:
        """Lift and projectors of the same views."""
        return cls(Lift(views, grid, device), Projectors.of(views, grid, device))

    def films(self, density: Tensor) -> Tensor:
        """(B, 2, rows, columns) in decimetres of water from density (B, X, Y, Z)."""
        return torch.stack(self.projectors.forward(density), dim=1) / 100


def imperfect(films: Tensor) -> Tensor:
    """Films as they are taken: quantum noise, scatter, a gain that is off; by torch's global random numbers.

    Half of the batch keeps clean films. In one of twenty, one of the two films is missing (all 0).

    Args:
        films: (B, 2, rows, columns) decimetres of water, each of which lets through exp(-1.93) at 70 keV.
    """
    count, device = len(films), films.device

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1, device=device).uniform_(low, high)

    spoiled = torch.rand(count, 1, 1, 1, device=device) < 0.5
    per_dm = 1.93
    through = torch.exp(-per_dm * films)
    scatter = drawn(0, 0.06) * through.mean((-2, -1), keepdim=True) * (torch.rand_like(spoiled.float()) < 0.4)
    photons = 10 ** drawn(4.0, 6.0)
    noise = torch.randn_like(films) / torch.sqrt(photons * through)
    taken = -torch.log(through + scatter) / per_dm * drawn(0.97, 1.03) + noise.clamp(-1, 1) / per_dm
    films = torch.where(spoiled, taken.clamp(min=0), films)
    lost = torch.randint(0, 2, (count,), device=device)
    keep = torch.ones(count, 2, device=device)
    keep[torch.arange(count, device=device), lost] = (torch.rand(count, device=device) > 0.05).float()
    return films * keep[:, :, None, None]


def _shifted(view: View) -> View:
    """The source off the middle of the detector by up to 3 cm."""
    offset = torch.empty(2).uniform_(-30, 30).tolist()
    along = view.u_mm / np.linalg.norm(view.u_mm), view.v_mm / np.linalg.norm(view.v_mm)
    return replace(view, source_mm=view.source_mm + offset[0] * along[0] + offset[1] * along[1])
