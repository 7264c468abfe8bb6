"""HU of the abdomen's tissues in one person, by the phase of the contrast agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from trifocal.xray.phantoms.trunk import Trunk

# usual HU: native, arterial (30 s), portal venous (70 s); deviation between people
USUAL_HU = {
    "liver": (56, 66, 108, 8), "spleen": (48, 120, 118, 9), "cortex": (33, 175, 185, 18),
    "medulla": (30, 65, 150, 14), "pancreas": (38, 95, 88, 9), "aorta": (42, 310, 155, 22),
    "vein": (42, 75, 140, 14), "portal": (42, 95, 165, 14), "muscle": (52, 56, 62, 6),
    "wall": (36, 68, 74, 8), "uterus": (45, 75, 95, 10), "prostate": (40, 55, 68, 8),
    "fat": (-102, -102, -100, 5), "urine": (5, 5, 6, 4), "bile": (10, 10, 10, 5),
}  # fmt: skip
PHASES = ("native", "arterial", "portal")


@dataclass(frozen=True)
class Tissue:
    """HU of one person's tissues.

    Attributes:
        hu: By the names of USUAL_HU.
        enhanced: Whether a contrast agent was given.
    """

    hu: dict[str, float]
    enhanced: bool

    def __getitem__(self, name: str) -> float:
        return self.hu[name]

    @classmethod
    def draw(cls, trunk: Trunk, rng: np.random.Generator) -> Tissue:
        """Draw a person's values: fatty livers, calm kidneys, muscles with fat in the old."""
        phase = PHASES.index(trunk.contrast)
        hu = {name: float(rng.normal(row[phase], row[3])) for name, row in USUAL_HU.items()}
        fatty = rng.random()
        if fatty < 0.12 + 0.25 * min(trunk.visceral, 1.0):
            hu["liver"] -= float(rng.uniform(12, 55))
        hu["muscle"] -= float(12 * max(rng.normal((trunk.age - 45) / 45, 0.4), 0))
        if trunk.contrast != "native" and rng.random() < 0.1:  # late after the injection: all much alike
            hu |= {"medulla": hu["cortex"], "aorta": 0.4 * hu["aorta"] + 70, "vein": hu["portal"]}
        return cls(hu, phase > 0)
