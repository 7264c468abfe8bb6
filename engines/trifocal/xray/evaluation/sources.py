"""Where the true volumes of an evaluation come from: CTs in a folder, or procedural trunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import Image
from trifocal.xray.attenuation import AIR_HU
from trifocal.xray.datasets.folders import list_patients
from trifocal.xray.phantoms import field_of_view, torso
from trifocal.xray.planning import plan_grid

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.xray.datasets.scan import CtScan
    from trifocal.xray.grid import Grid

UNSEEN = 1_000_000
"""A seed for trunks to test with: `simulate xray` counts those to learn from from 0."""

_PHANTOM_MM = 3.0


@dataclass(frozen=True)
class Source:
    """One true volume.

    Attributes:
        name: Unique in an evaluation.
        patient: Whose it is: volumes of one patient are not independent.
        ct: Where it lies; or the seed of a procedural trunk.
    """

    name: str
    patient: str
    ct: CtScan | int

    @classmethod
    def phantoms(cls, count: int, seed: int = UNSEEN) -> list[Source]:
        """Trunks of `count` seeds from `seed` on, each seen in one field of view."""
        return [cls(f"phantom {s}", f"phantom {s}", s) for s in range(seed, seed + count)]

    @classmethod
    def of(cls, path: Path, most: int | None = None) -> list[Source]:
        """The CTs of a file or a folder, of at most so many patients.

        Raises:
            FileNotFoundError: If there is nothing at `path`.
            ValueError: If there is no CT.
        """
        found = []
        for patient in list_patients(path, most):
            for number, scan in enumerate(patient.scans, 1):
                name = patient.id if len(patient.scans) == 1 else f"{patient.id} ({number})"
                found.append(cls(name, patient.id, scan))
        return found

    def load(self, voxels: int) -> tuple[Image, Grid, str]:
        """Read or make the CT in HU; with the grid on which it is reconstructed, and the region it shows.

        Raises:
            ImageError: If it cannot be read as a CT in HU.
        """
        if isinstance(self.ct, int):
            trunk = torso(self.ct, spacing_mm=_PHANTOM_MM)
            grid, region = field_of_view(trunk, np.random.default_rng([0xF0, self.ct]), voxels)
            return trunk, grid, region
        ct = self.ct.read()
        if ct.array.min() < AIR_HU:  # padding
            ct = Image(np.maximum(ct.array, ct.array.dtype.type(AIR_HU)), ct.affine, "HU", ct.notes)
        return ct, plan_grid(ct, voxels), ""

    def record(self) -> dict[str, Any]:
        """What the provenance says of it: no path, only names."""
        what = {"seed": self.ct} if isinstance(self.ct, int) else {"file": self.ct.path.name}
        return {"name": self.name, "patient": self.patient, **what}
