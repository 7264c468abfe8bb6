"""`trifocal fetal-weight`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from trifocal.keypoints.measurements import Measurement, fetal_weights


@dataclass(kw_only=True)
class FetalWeight:
    """Estimate a fetus's weight from its head, abdomen and femur. Research use only.

    Prints grams by each formula of Hadlock et al., Am J Obstet Gynecol 151:333-337, 1985, that the numbers
    allow: with HC, with BPD, with both. The measurements are those that `predict keypoints` writes for HC, FA
    and fetal_femur into measurements.csv, in millimetres, of one fetus on one day.

    A number that belongs to no fetus of 14 to 42 weeks is refused with exit code 2: the formulas have seen
    none.

    Examples:
        trifocal fetal-weight --ac-mm 310 --fl-mm 73 --hc-mm 338 --bpd-mm 93

    Attributes:
        ac_mm: Abdominal circumference.
        fl_mm: Femur length.
        hc_mm: Head circumference; without it, BPD is needed.
        bpd_mm: Biparietal diameter; without it, HC is needed.
    """

    ac_mm: float
    fl_mm: float
    hc_mm: float | None = None
    bpd_mm: float | None = None

    def run(self) -> int:
        """Print a line for each formula.

        Raises:
            ValueError: If there is neither HC nor BPD, or a number is out of range.
        """
        given = {"AC": self.ac_mm, "FL": self.fl_mm, "HC": self.hc_mm, "BPD": self.bpd_mm}
        lines = []
        for weight in fetal_weights(Measurement(name, mm, "mm") for name, mm in given.items()):
            if weight.value is None:
                raise ValueError(weight.reason)
            lines.append(f"{weight.name} {weight.value:.0f} {weight.unit} by {weight.reason}\n")
        sys.stdout.write("".join(lines))
        return 0
