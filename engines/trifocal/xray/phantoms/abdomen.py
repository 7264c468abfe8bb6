"""The abdomen and the pelvis of a trunk, painted from what gives way to what presses in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trifocal.xray.phantoms.colon import paint_colon
from trifocal.xray.phantoms.muscles import paint_buttocks, paint_pelvic_muscles, paint_psoas, paint_wall
from trifocal.xray.phantoms.organs import (
    kidney_places,
    paint_kidneys,
    paint_liver,
    paint_pancreas,
    paint_spleen,
)
from trifocal.xray.phantoms.pelvic_organs import paint_pelvic_organs
from trifocal.xray.phantoms.pelvis import paint_pelvis
from trifocal.xray.phantoms.small_bowel import paint_small_bowel
from trifocal.xray.phantoms.stomach import paint_duodenum, paint_stomach
from trifocal.xray.phantoms.tissue import Tissue
from trifocal.xray.phantoms.vessels import paint_vessels

if TYPE_CHECKING:
    import numpy as np

    from trifocal.xray.phantoms.canvas import Canvas
    from trifocal.xray.phantoms.trunk import Trunk


def paint_abdomen(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint all organs and muscles below the diaphragm, and the pelvis; the lumbar spine comes later.

    Args:
        canvas: With body and fat painted, and the masks "body" and "abdomen".
        trunk: Whose.
        rng: Each organ draws from a stream of its own, so that a change of one leaves the others.
    """
    streams = iter(rng.spawn(14))
    tissue = Tissue.draw(trunk, next(streams))
    kidneys = kidney_places(trunk, next(streams))
    paint_wall(canvas, trunk, tissue, next(streams))
    paint_buttocks(canvas, trunk, tissue, next(streams))
    paint_small_bowel(canvas, trunk, tissue, next(streams))
    paint_pelvic_muscles(canvas, trunk, tissue, next(streams))
    paint_pelvic_organs(canvas, trunk, tissue, next(streams))
    paint_colon(canvas, trunk, tissue, next(streams))
    upper = next(streams)
    paint_duodenum(canvas, trunk, tissue, upper)
    paint_pancreas(canvas, trunk, tissue, upper)
    paint_stomach(canvas, trunk, tissue, next(streams))
    paint_spleen(canvas, trunk, tissue, next(streams))
    paint_liver(canvas, trunk, tissue, next(streams))
    lower = next(streams)
    paint_kidneys(canvas, trunk, tissue, kidneys, lower)
    paint_psoas(canvas, trunk, tissue, lower)
    paint_vessels(canvas, trunk, tissue, kidneys, lower)
    paint_pelvis(canvas, trunk, next(streams))
