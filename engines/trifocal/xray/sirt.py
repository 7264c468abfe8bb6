"""The nearest volume that explains the films: SIRT from a start, damped by what the films are worth.

SIRT (Gilbert 1972, J. Theor. Biol. 36:105; in the weighted form of Gregor & Benson 2008, IEEE Trans. Med.
Imaging 27:918): x <- x + C A' R (b - A x) with R and C the inverse sums of the rows and of the columns of the
projection A. It moves a volume only along what the films can see, and leaves the rest as it started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trifocal.predictor import silent
from trifocal.xray.films.calibration import calibrate, pixel_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trifocal.predictor import Progress
    from trifocal.xray.projection import Projectors


def sirt(
    projectors: Projectors,
    films: Sequence[Tensor],
    start: Tensor,
    steps: int,
    *,
    relative_error: float | Sequence[float] = 0.0,
    progress: Progress = silent,
) -> Tensor:
    """Move a volume towards the films, without going below 0.

    Films that may be wrong are compared with the start first, and what is the film's fault rather than the
    volume's (scatter, gain, displacement) is taken out of them (see `calibrate`): the start must then be an
    estimate of the same patient. Of the rest, what lies below the pixels' noise is not followed.

    Args:
        projectors: One for each film.
        films: (B, rows, columns) line integrals, each in the unit of `start` times mm; NaN where a film shows
            nothing.
        start: (B, X, Y, Z) volume, e.g. attenuation per mm.
        steps: Of the iteration; 0 returns the start.
        relative_error: Expected error of the line integrals as a share of the largest one: of all films, or
            of each. 0 trusts a film as it is; anything else allows for errors that are evident, too.
        progress: Told at each step; may raise Cancelled.

    Returns:
        (B, X, Y, Z) in the unit of `start`.

    Raises:
        ValueError: If the films do not fit the projectors and the start, or a number is out of range.
    """
    errors = _errors(relative_error, len(projectors.each))
    _check(projectors, films, start, steps)
    if not steps:
        return start
    with torch.no_grad():
        volume = start.clamp(min=0)
        projected = projectors.forward(volume)
        valid = [torch.isfinite(film) for film in films]
        known = [torch.where(v, f, p) for v, f, p in zip(valid, films, projected, strict=True)]
        slack = [pixel_noise(f)[:, None, None] * (e > 0) for f, e in zip(films, errors, strict=True)]
        known = [
            calibrate(f, p, e).film if e else f for f, p, e in zip(known, projected, errors, strict=True)
        ]
        rows = _row_weights(projectors, valid, start)
        columns = _inverse(projectors.adjoint([v.to(start.dtype) for v in valid]))
        for step in range(steps):
            progress(step / steps, "fitting the volume to the films")
            misfit = [b - p for b, p in zip(known, projectors.forward(volume), strict=True)]
            pulled = [
                row * torch.sign(r) * (r.abs() - s).clamp(min=0)
                for row, r, s in zip(rows, misfit, slack, strict=True)
            ]
            volume = (volume + columns * projectors.adjoint(pulled)).clamp(min=0)
    return volume


def residual(projectors: Projectors, volume: Tensor, films: Sequence[Tensor]) -> list[Tensor]:
    """How far a volume is from each film: root mean square of the difference over that of the film.

    Args:
        projectors: One for each film.
        volume: (B, X, Y, Z).
        films: (B, rows, columns) in the unit of `volume` times mm; NaN where a film shows nothing.

    Returns:
        (B,) for each film; 0 explains it fully.
    """
    out = []
    for film, projected in zip(films, projectors.forward(volume), strict=True):
        valid = torch.isfinite(film)
        known = torch.where(valid, film, 0.0)
        off = torch.where(valid, projected - known, 0.0)
        out.append(off.square().sum((-2, -1)).sqrt() / known.square().sum((-2, -1)).sqrt().clamp(min=1e-12))
    return out


def _row_weights(projectors: Projectors, valid: list[Tensor], start: Tensor) -> list[Tensor]:
    """One over the length of each ray within the box; 0 where the film is unknown or the ray misses."""
    lengths = projectors.forward(torch.ones_like(start[:1]))
    return [_inverse(length) * v for length, v in zip(lengths, valid, strict=True)]


def _inverse(sums: Tensor) -> Tensor:
    """One over sums; 0 for what is hardly touched at all."""
    least = 1e-3 * sums.amax()
    return torch.where(sums > least, 1 / sums.clamp(min=1e-30), 0.0)


def _errors(relative_error: float | Sequence[float], views: int) -> list[float]:
    each = [relative_error] * views if isinstance(relative_error, int | float) else list(relative_error)
    if len(each) != views or not all(0 <= error < 1 for error in each):
        msg = f"relative_error must be 0 or more and less than 1 for each of {views} films, got {each}"
        raise ValueError(msg)
    return each


def _check(projectors: Projectors, films: Sequence[Tensor], start: Tensor, steps: int) -> None:
    if steps < 0:
        msg = f"the steps of the refinement must be 0 or more, got {steps}"
        raise ValueError(msg)
    wanted = [(len(start), *one.view.shape) for one in projectors.each]
    got = [tuple(film.shape) for film in films]
    if wanted != got:
        msg = f"the films must have the shapes {wanted} (volumes, rows, columns), got {got}"
        raise ValueError(msg)
