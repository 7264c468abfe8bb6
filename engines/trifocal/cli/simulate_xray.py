"""`trifocal simulate xray`: synthetic CTs of the trunk."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from trifocal.cli.progress import Bar
from trifocal.xray.phantoms.volume_set import VolumeSet


@dataclass(kw_only=True)
class SimulateXray:
    """Make synthetic CTs of whole trunks, neck to pelvis, in HU. Research use only.

    Writes phantom-SEED.nii.gz, which `project`, `train xray` and `evaluate xray` read. The same seed gives
    the same person. A set of other seeds may be added to a folder of the same spacing.

    Examples:
        trifocal simulate xray --phantoms 100 --out trunks

        trifocal simulate xray --phantoms 1 --seed 7 --spacing-mm 1.5 --out fine

    Attributes:
        phantoms: How many.
        seed: Of the first; the next has the next seed.
        spacing_mm: Edge of the voxels, 1 to 12 mm. At 4 mm a phantom takes about a second, at 1.5 mm 10 s.
        out: Folder; must be empty or new, or hold phantoms of the same spacing, which are kept.
        workers: Processes; as many as there are processors if left out.
    """

    INTERRUPTED: ClassVar[str] = "the finished phantoms are kept; start the same command again for the rest"

    out: Path
    phantoms: int = 10
    seed: int = 0
    spacing_mm: float = 4.0
    workers: int | None = None

    def run(self) -> int:
        """Make the phantoms."""
        workers = max(self.workers or os.cpu_count() or 1, 1)
        wanted = VolumeSet(self.phantoms, self.seed, self.spacing_mm)
        made = wanted.write(self.out, workers=min(workers, self.phantoms), progress=Bar())
        kept = self.phantoms - made
        sys.stdout.write(
            f"{made} phantoms made" + (f", {kept} were there" if kept else "") + f": {self.out}\n"
        )
        return 0
