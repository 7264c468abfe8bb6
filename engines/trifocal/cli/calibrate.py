"""`trifocal calibrate focus`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from trifocal.cli.progress import Bar
from trifocal.focus.calibration import calibrate
from trifocal.focus.learned import BUNDLED, Learned
from trifocal.provenance import write_record


@dataclass(kw_only=True)
class CalibrateFocus:
    """Measure how wrong the network is on held-out heads: what `predict focus --doubts` rests on.

    Writes one JSON file: the variances of the network's focus and peak against the solver's on the validation
    heads, and the statistics of the training placements. No simulation is run.

    Examples:
        trifocal calibrate focus --data cases --out assets/trifocal_assets/doubts/focus.json

    Attributes:
        data: Folders that `simulate focus --poses` has written.
        out: The JSON file.
        weights: A .safetensors file, or the name of a bundled model.
        most: Training cases to take the statistics of.
    """

    data: tuple[Path, ...]
    out: Path
    weights: str = BUNDLED
    most: int = 250

    def run(self) -> int:
        """Measure, write, report."""
        found = calibrate(self.data, Learned.load(self.weights), most=self.most, progress=Bar())
        write_record(self.out, found.record())
        error = found.error
        sys.stdout.write(
            f"{error.cases} held-out cases of {error.heads} heads: lateral {error.lateral[0] ** 0.5:.2f} mm, "
            f"axial {error.axial[0] ** 0.5:.2f} mm, widened {error.widening**0.5:.2f} times, peak "
            f"{error.log_peak:.1%}; {found.training.cases} training placements; written to {self.out}\n"
        )
        return 0
