"""A CT as what a network learns from: density on a grid, and films of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.xray.film import Film
from trifocal.xray.films.exposure import Exposure, expose
from trifocal.xray.geometry import Geometry, frontal_and_lateral
from trifocal.xray.grid import average_onto
from trifocal.xray.phantoms import field_of_view
from trifocal.xray.planning import plan_grid, project_ct, upright_ct, without_padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.image import Image


@dataclass(frozen=True, eq=False)
class CtPair:
    """A volume and its films.

    Attributes:
        density: (i, j, k) float32 on the geometry's grid: HU / 1000 + 1.
        geometry: Views and box.
        films: One for each view.
    """

    density: NDArray[np.float32]
    geometry: Geometry
    films: tuple[Film, ...]


def make_pair(
    ct: Image,
    *,
    rng: np.random.Generator | None = None,
    voxels: int = 64,
    pixels: int = 128,
    frontal: str = "AP",
    exposure: Exposure | None = None,
    energy_kev: float = 70.0,
) -> CtPair:
    """Crop a CT, average it onto a grid, and project the crop at the CT's own resolution.

    Args:
        ct: HU, oblique axes allowed.
        rng: Draws a field of view like those of clinical CTs, and the noise; the CT's own box if left out.
        voxels: Along the box's longest edge.
        pixels: Rows and columns of each film.
        frontal: "AP" or "PA".
        exposure: Noise, scatter and blur; none if left out.
        energy_kev: Effective energy of the beam.

    Raises:
        ImageError: If it is not a CT in HU.
    """
    upright = without_padding(upright_ct(ct))
    grid = plan_grid(upright, voxels) if rng is None else field_of_view(upright, rng, voxels)[0]
    geometry = frontal_and_lateral(grid, frontal=frontal, pixels=pixels, energy_kev=energy_kev)
    lines = project_ct(upright, geometry)
    if exposure is not None:
        seed = 0 if rng is None else int(rng.integers(2**31))
        generator = torch.Generator().manual_seed(seed)
        lines = [expose(torch.from_numpy(line), exposure, generator).numpy() for line in lines]
    films = tuple(Film(view, line) for view, line in zip(geometry.views, lines, strict=True))
    density = np.clip(average_onto(upright, grid) / 1000 + 1, 0, None).astype(np.float32)
    return CtPair(density, geometry, films)
