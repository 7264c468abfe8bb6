"""A small trunk whose inside is known, its X-rays, and an engine that gives back what it was told."""

from __future__ import annotations

import threading

import numpy as np
import torch

from trifocal.image import Image
from trifocal.xray.attenuation import hu_to_mu
from trifocal.xray.grid import Grid, average_onto
from trifocal.xray.predictor import Reprojection, XrayPrediction
from trifocal.xray.projection import Projector

MARKER_MM = (60.0, 35.0, 45.0)  # to the right, in front, high


def trunk(voxels=32, extent_mm=256.0, center_mm=(10.0, -20.0, 300.0)):
    """An elliptic body with lungs, a spine and a bright ball at MARKER_MM from the middle."""
    grid = Grid.cube(extent_mm, voxels, center_mm)
    x, y, z = np.meshgrid(*(grid.centers_mm(a) - grid.center_mm[a] for a in range(3)), indexing="ij")
    hu = np.full(grid.shape, -1000.0, np.float32)
    hu[(x / 105) ** 2 + (y / 75) ** 2 < 1] = 30.0
    for side in (-1, 1):
        hu[((x - 48 * side) / 34) ** 2 + (y / 50) ** 2 + (z / 80) ** 2 < 1] = -800.0
    hu[x**2 + (y + 48) ** 2 < 15**2] = 500.0
    mx, my, mz = MARKER_MM
    hu[(x - mx) ** 2 + (y - my) ** 2 + (z - mz) ** 2 < 12**2] = 2500.0
    return Image(hu, grid.affine, "HU", {"source": "small trunk"})


class TrunkEngine:
    """Knows the trunk: it is 5 HU too dense, and before the refinement 100 HU.

    Attributes:
        gate: Waited for before each prediction.
        seen: Inputs and threads.
    """

    def __init__(self, truth: Image | None = None):
        self.truth = truth or trunk()
        self.gate = threading.Event()
        self.gate.set()
        self.seen = []

    def predict(self, inputs, /, *, progress=lambda fraction, what: None):
        self.seen.append((inputs, threading.current_thread().name))
        for step in range(2000):
            progress(0.2, "reconstructing")
            if self.gate.wait(0.01):
                break
            assert step < 1900
        grid = inputs.grid
        true = average_onto(self.truth, grid)
        after = grid.image(np.asarray(true + 5.0, np.float32), "HU")
        before = grid.image(np.asarray(true + 100.0, np.float32), "HU")
        views = []
        for film in inputs.films:
            through = [
                Projector(film.view, grid)
                .forward(torch.as_tensor(hu_to_mu(v.array, inputs.energy_kev).astype(np.float32)))
                .numpy()
                for v in (before, after)
            ]
            norm = float(np.sqrt(np.nanmean(film.line_integrals**2)))
            left = [float(np.sqrt(np.nanmean((film.line_integrals - p) ** 2))) / norm for p in through]
            views.append(Reprojection(film, *through, *left))
        std = grid.image(np.full(grid.shape, 40.0, np.float32), "HU")
        null = grid.image(np.full(grid.shape, 0.5, np.float32), "")
        warnings = ("it has only ever seen one trunk",)
        notes = {"energy_kev": inputs.energy_kev}
        return XrayPrediction(
            after, std, null, before, tuple(views), "known", seconds=0.1, warnings=warnings, notes=notes
        )
