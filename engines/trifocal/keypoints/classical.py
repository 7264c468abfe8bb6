"""The head's ellipse without learned weights: ridges, a search over all ellipses, a fit, and a ranking.

A fallback where there is no network, and a cross-check where there is one. Nothing in it is random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse, scaled
from trifocal.keypoints.ridges import Ridges, find_ridges
from trifocal.keypoints.rims import ASPECT, fit_rim, outline, search

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE, _COARSE_SIDE = 256, 96  # pixels of the longer side
_CANDIDATES = 12
_SMALLEST_FRAME = 32

# What a candidate's ranking is made of, and how much each counts: fitted by a linear ranking on half of the
# patients of HC18, see `Classical.score`.
_RANKING = {
    "support": 6.5,
    "strong": 4.6,
    "darker inside": 1.4,
    "darker outside": 1.9,
    "covered": 7.9,
    "outside": -3.3,
    "size": 2.3,
    "aspect": -6.3,
    "off centre": -8.4,
    "residual": -7.2,
}
_MIDDLE, _SLOPE = 12.8, 0.6  # of the ranks there: a score of one half is the median


@dataclass(frozen=True)
class Classical:
    """A head that was found without a network.

    Attributes:
        ellipse: Along the outer rim of the skull, in pixels of the frame.
        score: 0 to 1: how much the image looks as it should along this ellipse. It ranks: on the half of
            HC18's patients that was not used to make it, its better half is nearer to the reference than its
            worse one (1.9 against 4.3 mm of HC). It is no probability.
    """

    ellipse: Ellipse
    score: float


def classical_ellipse(frame: NDArray[np.uint8]) -> Classical | None:
    """Find the fetal head on a frame by its bright rim.

    Args:
        frame: (rows, columns) grey, 0 to 255.

    Returns:
        None if there is no rim at all; otherwise the best candidate, be it good or bad: see its score.

    Raises:
        ValueError: If the frame is not a grey image.
    """
    if frame.ndim != 2:
        msg = f"a frame for the classical ellipse must be grey (rows, columns), got shape {frame.shape}"
        raise ValueError(msg)
    if min(frame.shape) < _SMALLEST_FRAME:
        return None
    coarse = find_ridges(frame, _COARSE_SIDE, (1.0, 1.6), 96.0, local=True)
    fine = find_ridges(frame, _SIDE, (1.5, 2.3, 3.4), 98.0)
    if coarse is None or fine is None:
        return None
    best: tuple[float, Ellipse] | None = None
    grow = [after / before for after, before in zip(fine.factor, coarse.factor, strict=True)]
    for candidate in search(coarse, _CANDIDATES):
        fitted, residual = fit_rim(fine, scaled(candidate, grow[0], grow[1], fixed=-0.5))
        if min(fitted.semi_axes) < 4.0:
            continue
        rank = sum(_RANKING[name] * value for name, value in features(fine, fitted, residual).items())
        if best is None or rank > best[0]:
            best = (rank, fitted)
    if best is None:
        return None
    rank, middle = best
    outer = _outer_rim(fine, middle)
    score = 1.0 / (1.0 + float(np.exp(-_SLOPE * (rank - _MIDDLE))))
    return Classical(scaled(outer, 1 / fine.factor[0], 1 / fine.factor[1], fixed=-0.5), score)


def features(ridges: Ridges, ellipse: Ellipse, residual: float) -> dict[str, float]:
    """What speaks for an ellipse and against it: the terms of the ranking, each of the order of 1."""
    points, normals = outline(ellipse, 96)
    seen = ridges.covers(points)
    near = [ridges.along(normals, points + step * normals) for step in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    along = np.max(near, axis=0)
    rim = np.max([ridges.grey(points + step * normals) for step in (-1.0, 0.0, 1.0)], axis=0)
    middle, (a, b) = np.array(ellipse.center), ellipse.semi_axes
    inner = ridges.grey(middle + 0.86 * (points - middle))
    outer = ridges.grey(middle + 1.14 * (points - middle))
    rows, columns = ridges.image.shape
    count = max(int(seen.sum()), 1)
    return {
        "support": float(along[seen].sum()) / max(count, len(points) // 2),
        "strong": float(((along > 0.5) & seen).mean()),
        "darker inside": float(np.tanh((rim - inner) / 30)[seen].sum()) / count,
        "darker outside": float(np.tanh((rim - outer) / 30)[seen].sum()) / count,
        "covered": float(seen.mean()),
        "outside": float(outer.mean()) / 255,
        "size": float(np.log(np.sqrt(a * b) / max(rows, columns))),
        "aspect": abs(float(np.log(b / a / ASPECT))),
        "off centre": float(np.hypot(middle[0] / columns - 0.5, middle[1] / rows - 0.5)),
        "residual": min(residual, 5.0) / 5.0,
    }


def _outer_rim(ridges: Ridges, ellipse: Ellipse) -> Ellipse:
    """From the middle of the skull's echo to its outer edge, where sonographers put the ellipse.

    The edge is where the grey level has fallen half-way from the echo's peak to what lies outside, the median
    over the brighter half of the rim; a regression to the mean on HC18 takes the noise out of it.
    """
    points, normals = outline(ellipse, 96)
    offsets = np.arange(-6.0, 10.1, 0.5)
    levels = ridges.grey(points[:, None] + offsets[:, None] * normals[:, None])
    peak = 8 + levels[:, 8:17].argmax(axis=1)  # within 2 pixels of the fitted line
    edges = []
    for i in np.argsort(-levels[np.arange(96), peak])[:48]:
        beyond = levels[i, peak[i] :]
        half = (beyond[0] + beyond.min()) / 2
        edges.append(offsets[peak[i] + int(np.argmax(beyond <= half))])
    outward = 0.85 + 0.63 * float(np.median(edges))
    a, b = ellipse.semi_axes
    return replace(ellipse, semi_axes=(a + outward, b + outward))
