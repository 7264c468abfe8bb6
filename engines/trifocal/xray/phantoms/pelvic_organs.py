"""What lies between the pubis and the rectum: bladder, and prostate or uterus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import ellipsoid
from trifocal.xray.phantoms.curves import rotation, rounded_max

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.tissue import Tissue
    from trifocal.xray.phantoms.trunk import Trunk

    Doubles = NDArray[np.float64]


def paint_pelvic_organs(canvas: Canvas, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    """Bladder from nearly empty to full, uterus or prostate with its vesicles."""
    s, hip = trunk.scale, trunk.z["hip"]
    fill = float(np.exp(rng.normal(0, 0.25)))
    at = np.array([3 * rng.normal() * s, 14 * s, hip + (2 + 14 * (fill - 1)) * s])
    radii = np.array([38 * fill, 29 * fill**0.8, 27 * fill**1.2]) * s
    if trunk.female:
        _uterus(canvas, at, trunk, tissue, rng)
    else:
        gland = np.array([24, 19, 19]) * s * float(np.exp(rng.normal(0.006 * (trunk.age - 50), 0.12)))
        _blob(canvas, np.array([0, 8 * s, hip - 34 * s]), gland, tissue["prostate"])
        for side in (1, -1):
            vesicle = np.array([side * 18 * s, -14 * s, hip - 12 * s])
            _blob(canvas, vesicle, np.array([16, 7, 9]) * s, tissue["prostate"] - 12)
    tilt = (-12.0, 0.0, 0.0)
    _blob(canvas, at, radii + 3 * s, tissue["wall"], tilt)
    _blob(canvas, at, radii, tissue["urine"], tilt)
    if tissue.enhanced and rng.random() < 0.12:  # the contrast agent has come: it lies behind
        region = canvas.box(at - radii.max(), at + radii.max())
        level = np.float32(at[1] + radii[1] * rng.uniform(-0.8, 0.3))
        layer = rounded_max(ellipsoid(region, at, radii, rotation(tilt)), region.y - level, 2.0)
        canvas.paint(region, layer, rng.uniform(150, 900), within="abdomen")


def _uterus(canvas: Canvas, bladder: Doubles, trunk: Trunk, tissue: Tissue, rng: np.random.Generator) -> None:
    s = trunk.scale
    at = bladder + np.array([6 * rng.normal(), -34, 20]) * s
    size = np.array([27, 20, 34]) * s * float(np.exp(rng.normal(0, 0.15))) * (0.75 if trunk.age > 60 else 1.0)
    tilt = (30 * rng.normal() - 35, 0.0, 0.0)
    if rng.random() < 0.85:
        _blob(canvas, at, size, tissue["uterus"], tilt)


def _blob(
    canvas: Canvas, at: Doubles, radii: Doubles, hu: float, tilt: Sequence[float] = (0.0, 0.0, 0.0)
) -> None:
    region = canvas.box(at - radii.max(), at + radii.max())
    canvas.paint(region, ellipsoid(region, at, radii, rotation(tilt)), hu, within="abdomen")
