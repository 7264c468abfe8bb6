"""What a procedural head may be: its parameters, their ranges, and heads drawn at random.

Where the ranges come from: thickness of the frontal, parietal and occipital bone, length and breadth of 3000
living skulls from Li et al., Int. J. Vehicle Safety 2(4), 2007 (6.6-7.5, 5.4-5.6, 7.6-8.2 mm; 171-176 and
140-145 mm); the thin temporal squama from Rowbotham et al., Int. J. Legal Med. 137, 2023 (2.1 mm on average).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGES: dict[str, tuple[float, float]] = {
    "age_years": (20, 85),
    "length_mm": (162, 198),
    "width_mm": (128, 158),
    "height_mm": (122, 146),
    "asymmetry_mm": (-5, 5),
    "shape_mm": (0, 2),
    "frontal_mm": (4.5, 10),
    "parietal_mm": (4, 9),
    "temporal_mm": (1.8, 4),
    "occipital_mm": (5.5, 11),
    "thickness_variation": (0, 0.2),
    "outer_table_mm": (1, 2.2),
    "inner_table_mm": (0.8, 1.8),
    "cortical_hu": (1200, 1900),
    "diploe_hu": (250, 900),
    "diploe_texture_hu": (0, 250),
    "suture_mm": (0, 1.6),
    "frontal_sinus_mm": (0, 32),
    "air_cells": (0, 1),
    "scalp_mm": (4, 8),
    "hu_gain": (0.85, 1.15),
    "hu_offset": (-10, 10),
    "blur_mm": (0.4, 2),
    "noise_hu": (0, 40),
}


@dataclass(frozen=True)
class HeadSpec:
    """One head and the scanner that it was seen by. `RANGES` holds what each parameter may be.

    Attributes:
        seed: Of everything irregular: surface, thickness, trabeculae, air cells, noise.
        age_years: 20-85; with age the sutures close, the ventricles and the space around the brain widen.
        length_mm: 162-198, outer skull, glabella to occiput.
        width_mm: 128-158, outer skull, at its widest.
        height_mm: 122-146, outer skull, foramen magnum to vertex.
        asymmetry_mm: -5 to 5; how far the right back of the skull is pushed in and the left out.
        shape_mm: 0-2, standard deviation of the smooth irregularity of the outer surface.
        frontal_mm: 4.5-10, thickness of the frontal bone, all layers.
        parietal_mm: 4-9, thickness of the parietal bones.
        temporal_mm: 1.8-4, thickness of the temporal squama.
        occipital_mm: 5.5-11, thickness of the occipital squama.
        thickness_variation: 0-0.2, standard deviation of the thickness over the skull, relative.
        outer_table_mm: 1-2.2, cortical bone outside the diploe; thinner where the skull is thin.
        inner_table_mm: 0.8-1.8, cortical bone inside the diploe.
        cortical_hu: 1200-1900, of the tables before blur.
        diploe_hu: 250-900, mean of the diploe.
        diploe_texture_hu: 0-250, standard deviation of its trabecular texture.
        suture_mm: 0-1.6, width of the sutures in a young adult.
        frontal_sinus_mm: 0-32, height of the frontal sinus.
        air_cells: 0-1, how far the mastoids, the sphenoid and the maxillae are pneumatised.
        scalp_mm: 4-8, skin, fat and galea over the vault.
        ears: Whether there are auricles.
        hu_gain: 0.85-1.15, the scanner's scale of HU above water (its tube voltage and kernel).
        hu_offset: -10 to 10, HU of water.
        blur_mm: 0.4-2, full width at half maximum of the point spread.
        noise_hu: 0-40, standard deviation of the noise.

    Raises:
        ValueError: If a parameter lies outside its range.
    """

    seed: int = 0
    age_years: float = 45
    length_mm: float = 180
    width_mm: float = 143
    height_mm: float = 135
    asymmetry_mm: float = 1
    shape_mm: float = 0.8
    frontal_mm: float = 7
    parietal_mm: float = 6
    temporal_mm: float = 2.6
    occipital_mm: float = 7.8
    thickness_variation: float = 0.1
    outer_table_mm: float = 1.6
    inner_table_mm: float = 1.3
    cortical_hu: float = 1600
    diploe_hu: float = 550
    diploe_texture_hu: float = 140
    suture_mm: float = 1
    frontal_sinus_mm: float = 22
    air_cells: float = 0.7
    scalp_mm: float = 6
    ears: bool = True
    hu_gain: float = 1
    hu_offset: float = 0
    blur_mm: float = 1.2
    noise_hu: float = 6

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} must be between {low} and {high}, got {value}"
                raise ValueError(msg)

    @property
    def scale(self) -> NDArray[np.float64]:
        """(3,) size along x, y, z relative to the head in whose millimetres the anatomy is written."""
        return np.array([self.width_mm / 143, self.length_mm / 180, self.height_mm / 135])


def random_spec(seed: int) -> HeadSpec:
    """Draw a head: each parameter evenly over its range; thicknesses go together, and so do sizes."""
    rng = np.random.default_rng([seed, 1])
    draw = {name: low + (high - low) * rng.uniform() for name, (low, high) in RANGES.items()}
    # a thick skull is thick everywhere, a large one large in every direction
    thick, size = rng.uniform(size=2)
    common = dict.fromkeys(("frontal_mm", "parietal_mm", "temporal_mm", "occipital_mm"), thick)
    common |= dict.fromkeys(("length_mm", "width_mm", "height_mm"), size)
    for name, share in common.items():
        low, high = RANGES[name]
        draw[name] = 0.4 * draw[name] + 0.6 * (low + (high - low) * share)
    draw["noise_hu"] = 2 + 28 * rng.uniform() ** 2
    rounded = {name: round(float(value), 3) for name, value in draw.items()}
    return HeadSpec(seed=seed, ears=bool(rng.uniform() < 0.8), **rounded)
