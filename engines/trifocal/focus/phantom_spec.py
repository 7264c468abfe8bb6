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
    "length_mm": (158, 204),
    "width_mm": (126, 164),
    "height_mm": (114, 150),
    "asymmetry_mm": (-7, 7),
    "shape_mm": (0, 3),
    "jitter": (0, 1),
    "roundness": (2, 2.6),
    "taper": (-0.04, 0.12),
    "occiput_mm": (-4, 8),
    "forehead_mm": (-7, 4),
    "vertex_mm": (-5, 5),
    "frontal_mm": (2.5, 14),
    "parietal_mm": (2.5, 13),
    "temporal_mm": (1.5, 6),
    "occipital_mm": (3, 14),
    "thickness_variation": (0, 0.3),
    "impressions_mm": (0, 0.8),
    "spots_mm": (0, 3),
    "outer_table_mm": (0.7, 3),
    "inner_table_mm": (0.6, 2.5),
    "cortical_hu": (900, 2200),
    "diploe_hu": (120, 2000),
    "diploe_texture_hu": (0, 350),
    "density_variation": (0, 0.2),
    "suture_mm": (0, 3),
    "burr_hole_mm": (0, 16),
    "bone_flap_mm": (0, 2.5),
    "frontal_sinus_mm": (0, 40),
    "air_cells": (0, 1),
    "scalp_mm": (2.5, 12),
    "hu_gain": (0.8, 1.2),
    "hu_offset": (-15, 15),
    "blur_mm": (0.4, 4),
    "slice_mm": (0, 7),
    "sharpening": (0, 1.5),
    "noise_hu": (0, 40),
}
SURROUNDINGS = ("tissue", "flat", "water", "air")


@dataclass(frozen=True)
class HeadSpec:
    """One head and the scanner that it was seen by. `RANGES` holds what each parameter may be.

    Attributes:
        seed: Of everything irregular: surface, thickness, trabeculae, air cells, noise.
        age_years: 20-85; with age the sutures close, the ventricles and the space around the brain widen.
        length_mm: 158-204, outer skull, glabella to occiput, before the bulges below.
        width_mm: 126-164, outer skull, at its widest.
        height_mm: 114-150, outer skull, foramen magnum to vertex.
        asymmetry_mm: -7 to 7; how far the right back of the skull is pushed in and the left out.
        shape_mm: 0-3, standard deviation of the smooth irregularity of the outer surface.
        jitter: 0-1, how far each part (bulge, bone region, suture, face, base, ear) is moved, resized and
            made unlike its mirror image; 0 is the symmetric standard anatomy.
        roundness: 2-2.6, exponent of the vault's superellipsoid across: 2 is an ellipse, more is boxier.
        taper: -0.04 to 0.12, how much narrower the skull is in front than behind, relative.
        occiput_mm: -4 to 8, how far the back of the head bulges.
        forehead_mm: -7 to 4, how far the upper forehead stands out; below 0 it slopes.
        vertex_mm: -5 to 5, from a flat crown to a keeled one.
        frontal_mm: 2.5-14, thickness of the frontal bone, all layers.
        parietal_mm: 2.5-13, thickness of the parietal bones.
        temporal_mm: 1.5-6, thickness of the temporal squama.
        occipital_mm: 3-14, thickness of the occipital squama.
        thickness_variation: 0-0.3, standard deviation of the thickness over the skull, relative.
        impressions_mm: 0-0.8, standard deviation of the waves of the inner surface, about 15 mm long.
        spots_mm: 0-3, height of the lens-shaped thick and thin spots of the inner surface.
        outer_table_mm: 0.7-3, cortical bone outside the diploe; thinner where the skull is thin.
        inner_table_mm: 0.6-2.5, cortical bone inside the diploe.
        cortical_hu: 900-2200, of the tables before blur.
        diploe_hu: 120-2000, mean of the diploe.
        diploe_texture_hu: 0-350, standard deviation of its trabecular texture.
        density_variation: 0-0.2, standard deviation of the HU of bone from patch to patch, relative.
        suture_mm: 0-3, width of the sutures in a young adult.
        burr_hole_mm: 0-16, diameter of a hole drilled through the vault; 0 for none.
        bone_flap_mm: 0-2.5, width of the cut around a bone flap; 0 for none.
        frontal_sinus_mm: 0-40, height of the frontal sinus.
        air_cells: 0-1, how far the mastoids, the sphenoid and the maxillae are pneumatised.
        scalp_mm: 2.5-12, skin, fat and galea over the vault.
        ears: Whether there are auricles.
        surroundings: What is around the bone: "tissue"; "flat", soft tissue of one value, as pseudo-CTs have;
            "water", as in skull templates; "air", a dry skull.
        hu_gain: 0.8-1.2, the scanner's scale of HU above water (its tube voltage and kernel).
        hu_offset: -15 to 15, HU of water.
        blur_mm: 0.4-4, full width at half maximum of the point spread.
        slice_mm: 0-7, thickness and distance of the slices that the volume is interpolated from.
        sharpening: 0-1.5, share of the unsharp mask that the kernel adds: overshoot at edges.
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
    jitter: float = 0
    roundness: float = 2.3
    taper: float = 0
    occiput_mm: float = 0
    forehead_mm: float = 0
    vertex_mm: float = 0
    frontal_mm: float = 7
    parietal_mm: float = 6
    temporal_mm: float = 2.6
    occipital_mm: float = 7.8
    thickness_variation: float = 0.1
    impressions_mm: float = 0
    spots_mm: float = 0
    outer_table_mm: float = 1.6
    inner_table_mm: float = 1.3
    cortical_hu: float = 1600
    diploe_hu: float = 550
    diploe_texture_hu: float = 140
    density_variation: float = 0
    suture_mm: float = 1
    burr_hole_mm: float = 0
    bone_flap_mm: float = 0
    frontal_sinus_mm: float = 22
    air_cells: float = 0.7
    scalp_mm: float = 6
    ears: bool = True
    surroundings: str = "tissue"
    hu_gain: float = 1
    hu_offset: float = 0
    blur_mm: float = 1.2
    slice_mm: float = 0
    sharpening: float = 0
    noise_hu: float = 6

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} must be between {low} and {high}, got {value}"
                raise ValueError(msg)
        if self.surroundings not in SURROUNDINGS:
            msg = f"surroundings must be one of {', '.join(SURROUNDINGS)}, got {self.surroundings!r}"
            raise ValueError(msg)

    @property
    def scale(self) -> NDArray[np.float64]:
        """(3,) size along x, y, z relative to the head in whose millimetres the anatomy is written."""
        return np.array([self.width_mm / 143, self.length_mm / 180, self.height_mm / 135])


def random_spec(seed: int) -> HeadSpec:
    """Draw a head: every parameter over its range; thicknesses go together, and so do sizes.

    Most heads keep near the middle of the ranges in size and thickness, with tails to their ends; the density
    of the diploe is drawn relative to that of the tables. One head in seven is a bare skull, one in ten has
    the look of a pseudo-CT, one in twenty a burr hole or a bone flap.
    """
    rng = np.random.default_rng([seed, 1])
    draw = {name: low + (high - low) * rng.uniform() for name, (low, high) in RANGES.items()}
    # a thick skull is thick everywhere, a large one large in every direction
    common = dict.fromkeys(("frontal_mm", "parietal_mm", "temporal_mm", "occipital_mm"), rng.beta(1.5, 2.1))
    common |= dict.fromkeys(("length_mm", "width_mm", "height_mm"), rng.beta(2, 2))
    for name, share in common.items():
        low, high = RANGES[name]
        own = (
            rng.beta(1.6, 2) if name in ("frontal_mm", "temporal_mm", "occipital_mm") else rng.beta(1.4, 1.4)
        )
        draw[name] = low + (high - low) * (0.35 * own + 0.65 * share)
    for name in ("shape_mm", "spots_mm", "thickness_variation", "suture_mm", "frontal_sinus_mm", "scalp_mm"):
        low, high = RANGES[name]
        draw[name] = low + (high - low) * rng.beta(1.2, 1.8)
    draw["jitter"] = rng.uniform(0.3, 1)
    draw |= _bone(rng, draw["cortical_hu"])
    draw |= _scanner(rng)
    if rng.uniform() < 0.25:  # a vault that is thick all around
        draw["temporal_mm"] = rng.uniform(0.5, 1) * draw["parietal_mm"]
    surroundings = str(rng.choice(SURROUNDINGS, p=(0.76, 0.1, 0.07, 0.07)))
    draw |= _look(rng, surroundings, draw["cortical_hu"])
    rounded = {name: round(float(np.clip(value, *RANGES[name])), 3) for name, value in draw.items()}
    return HeadSpec(seed=seed, ears=bool(rng.uniform() < 0.8), surroundings=surroundings, **rounded)


def _look(rng: np.random.Generator, surroundings: str, cortical_hu: float) -> dict[str, float]:
    """Draw what goes with a pseudo-CT (smooth), a template (blurred) and a dry skull or cast (sharp)."""
    if surroundings == "flat":
        smooth = {"noise_hu": rng.uniform(0, 3), "blur_mm": rng.uniform(1.5, 4), "diploe_texture_hu": 0.0}
        return smooth | {"sharpening": 0.0, "slice_mm": 0.0, "suture_mm": 0.0}
    if surroundings == "water":
        return {"blur_mm": rng.uniform(1, 4), "slice_mm": 0.0, "noise_hu": rng.uniform(0, 6)}
    if surroundings == "air":
        sharp = {"blur_mm": rng.uniform(0.4, 1.2), "slice_mm": 0.0}
        cast = {"diploe_hu": rng.uniform(0.8, 1) * cortical_hu, "diploe_texture_hu": rng.uniform(0, 60)}
        return sharp | cast if rng.uniform() < 0.5 else sharp
    return {}


def _bone(rng: np.random.Generator, cortical_hu: float) -> dict[str, float]:
    """Draw the diploe, from porous to as dense as the tables, and what a surgeon left."""
    ratio = rng.uniform(0.1, 0.95)
    surgery = rng.uniform()
    return {
        "diploe_hu": ratio * cortical_hu,
        # trabeculae stand out where there is marrow between them
        "diploe_texture_hu": 350 * rng.uniform() * min(1.0, 1.4 * (1 - ratio)),
        "burr_hole_mm": rng.uniform(6, 16) if surgery < 0.04 else 0,
        "bone_flap_mm": rng.uniform(0.6, 2.5) if 0.02 < surgery < 0.06 else 0,
    }


def _scanner(rng: np.random.Generator) -> dict[str, float]:
    """Draw the scanner: sharp kernels are noisy and overshoot, half of the scans have thin slices."""
    blur = 0.4 * 10 ** rng.uniform()
    sharp = blur < 2 and rng.uniform() < 0.5
    return {
        "blur_mm": blur,
        "sharpening": rng.uniform(0.1, 1.5) if sharp else 0,
        "slice_mm": 0.5 + 6.5 * rng.uniform() ** 1.5 if rng.uniform() < 0.5 else 0,
        "noise_hu": 38 * rng.uniform() ** 2 + 2 * sharp,
    }
