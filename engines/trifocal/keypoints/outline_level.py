"""Where along the edge of an inside its outline runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal import io
from trifocal.cine import grey
from trifocal.keypoints.decode import decode_outline
from trifocal.keypoints.ellipse import ellipse_from_axes
from trifocal.keypoints.examples import SYNTHETIC
from trifocal.keypoints.network import OUTLINED
from trifocal.predictor import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.keypoints.examples import Example
    from trifocal.keypoints.learned import Learned
    from trifocal.predictor import Progress

LEVELS = np.linspace(0.3, 0.7, 9)


def fit_levels(
    learned: Learned, examples: Sequence[Example], progress: Progress = silent
) -> dict[str, float]:
    """The probability along which outlines are neither too large nor too small, on images held back.

    Annotators trace the outer rim, and the networks' edges are some millimetres wide: along one half their
    circumferences were 0.6 mm too large, on the patients held back and on others alike.

    Returns:
        By task, for those that have an outline and images here; of real images where there are any.
    """
    found = {}
    for task_id in OUTLINED:
        own = [e for e in examples if e.task_id == task_id]
        own = [e for e in own if e.source != SYNTHETIC] or own
        ratios = []
        for i, example in enumerate(own):
            progress(i / len(own), f"settling the outline of {task_id}")
            frame = grey(io.read_cine(example.path).frames[0])
            maps = learned.maps(frame, example.task, tta=False)
            assert maps.inside is not None
            inside, true = maps.inside.mean(0).numpy(), ellipse_from_axes(example.points).perimeter
            outlines = [decode_outline(inside, maps.canvas.affine, level) for level in LEVELS]
            ratios.append([np.nan if e is None else e.perimeter / true - 1 for e in outlines])
        kept = [row for row in ratios if np.isfinite(row).all()]
        if kept:
            # the higher the level, the smaller the outline
            found[task_id] = float(np.interp(0.0, -np.median(kept, axis=0), LEVELS))
    return found
