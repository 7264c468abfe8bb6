"""Procedural trunks in HU: thousands of distinct chests and abdomens for training and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.image import Image
from trifocal.xray.phantoms.crop import field_of_view
from trifocal.xray.phantoms.trunk import random_trunk

if TYPE_CHECKING:
    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.trunk import Trunk

__all__ = ["field_of_view", "torso"]


def torso(seed: int, *, spacing_mm: float = 4.0) -> Image:
    """Make the whole trunk of that seed, neck to pelvis, in HU; the same seed gives the same person.

    RAS, upright: i to the patient's right, j forward, k up; z = 0 near the top of the right diaphragm dome.

    Args:
        seed: 0 or more.
        spacing_mm: Edge of the voxels, 1 to 12 mm. The anatomy does not depend on it.

    Returns:
        (i, j, k) float32.

    Raises:
        ValueError: If the seed is negative or the spacing out of range.
    """
    if seed < 0 or not 1.0 <= spacing_mm <= 12.0:
        msg = f"a phantom must have a seed of 0 or more and 1 to 12 mm voxels, got {seed}, {spacing_mm} mm"
        raise ValueError(msg)
    from trifocal.xray.phantoms.pose import add_noise, paint_table, posed

    rng = np.random.default_rng([0x7C0, seed])
    trunk = random_trunk(rng)
    canvas = posed(anatomy(trunk, spacing_mm, rng), trunk, rng)
    paint_table(canvas, rng)
    add_noise(canvas, rng)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = canvas.low_mm
    return Image(canvas.hu, affine, "HU", {"phantom": seed})


def anatomy(trunk: Trunk, spacing_mm: float, rng: np.random.Generator) -> Canvas:
    """The upright body of one person, painted from the outside in; no table, no noise."""
    from trifocal.xray.phantoms.abdomen import paint_abdomen
    from trifocal.xray.phantoms.body import paint_body
    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.findings import paint_findings
    from trifocal.xray.phantoms.heart import paint_heart, random_heart
    from trifocal.xray.phantoms.implants import paint_implants
    from trifocal.xray.phantoms.lungs import paint_airways, paint_lungs
    from trifocal.xray.phantoms.ribs import paint_cage
    from trifocal.xray.phantoms.spine import paint_spine

    s, skin = trunk.scale, trunk.skin.radius_mm
    wide = max(float(skin.max()), (250 if trunk.arms == "up" else 285) * s) + 15
    deep = float(skin.max())
    canvas = Canvas.covering(
        [-wide, -0.95 * deep - 75, -440 * s], [wide, 0.95 * deep + 40, 305 * s], spacing_mm
    )
    # a stream of its own for each part: what one draws does not change the others
    streams = iter(rng.spawn(10))
    paint_body(canvas, trunk, next(streams))
    heart = random_heart(trunk, next(streams))
    paint_lungs(canvas, trunk, heart, next(streams))
    paint_heart(canvas, trunk, heart, next(streams))
    paint_abdomen(canvas, trunk, next(streams))
    paint_airways(canvas, trunk, next(streams))
    paint_spine(canvas, trunk, next(streams))
    paint_cage(canvas, trunk, next(streams))
    paint_findings(canvas, trunk, next(streams))
    paint_implants(canvas, trunk, next(streams))
    return canvas
