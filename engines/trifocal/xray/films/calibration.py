"""Films corrected for what a volume cannot explain: scatter, gain, a displaced detector.

Scatter raises the exposure where little gets through, so that line integrals come out too small where they
are large; a wrong exposure scales them; a detector that stood elsewhere moves the picture. A volume that is
made to follow such a film gets worse. All of it is a smooth function of the film's own values, or a movement,
so that it can be told from anatomy by comparison with the projection of a volume that is roughly right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import affine_grid, grid_sample, pad

if TYPE_CHECKING:
    from torch import Tensor

START_ERROR = 0.03
"""Share by which a network's own line integrals are commonly off as a whole: no fault of the film."""
EVIDENT_ERROR = 0.05
"""Share from which on a misfit is the film's fault rather than the network's, whatever was expected of it."""
EVIDENT_SHIFT = 0.006
"""The same for a displacement, as a share of the detector's edge."""
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class FilmCalibration:
    """A film and what was corrected in it.

    Attributes:
        film: (B, rows, columns) corrected line integrals, in the unit of the film.
        misfit: (B,) what values of the film were off as a function of their size, as a share of the film; how
            much was found, not how much was corrected.
        shift: (B, 2) rows and columns by which the film was found displaced, in pixels.
    """

    film: Tensor
    misfit: Tensor
    shift: Tensor


def calibrate(film: Tensor, projected: Tensor, relative_error: float) -> FilmCalibration:
    """Fit gain, curvature and displacement of a film to a projection; correct what is not the volume's fault.

    The curve a b + c b^2 in the film's values b and the displacement are fitted by least squares
    (Gauss-Newton in the displacement: Lucas & Kanade 1981). The curve is corrected in part: by
    e^2 / (e^2 + 0.03^2), where e is the error that was expected of the film, or by m^4 / (m^4 + 0.05^4),
    where m is the misfit that was found, whichever is more; the displacement likewise. Where the projection
    is that of an empty volume there is nothing to compare, and the film stays as it is.

    Args:
        film: (B, rows, columns) line integrals, finite (unknown pixels filled with `projected`).
        projected: (B, rows, columns) through a volume that is roughly right, in the same unit.
        relative_error: Expected error of the film as a share of its largest value.
    """
    largest = film.abs().amax((-2, -1)).clamp(min=1e-12)[:, None, None]
    b, p = film / largest, projected / largest
    shift = b.new_zeros(len(b), 2)
    for _ in range(_ROUNDS):
        moved = _moved(b, shift)
        gradient = _gradient(moved)
        terms = torch.stack([moved, moved**2, *gradient], -1).flatten(1, 2)  # (B, n, 4)
        fit = _least_squares(terms, (moved - p).flatten(1))
        shift = shift - fit[:, 2:].clamp(-1, 1)
    edges = b.new_tensor(b.shape[-2:])
    comparable = _rms(p) > 0.1 * _rms(b)
    kept = _share((shift / edges).norm(dim=1) / EVIDENT_SHIFT, relative_error) * comparable
    moved = _moved(b, kept[:, None] * shift)
    terms = torch.stack([moved, moved**2], -1).flatten(1, 2)
    curve = (terms @ _least_squares(terms, (moved - p).flatten(1))[..., None]).reshape(b.shape)
    misfit = _rms(curve) / _rms(b).clamp(min=1e-12)
    share = _share(misfit / EVIDENT_ERROR, relative_error) * comparable
    return FilmCalibration((moved - share[:, None, None] * curve) * largest, misfit, shift)


def pixel_noise(film: Tensor) -> Tensor:
    """Standard deviation (B,) of the noise of single pixels, robustly from the texture of a film.

    The mixed second difference is blind to anatomy that is smooth along rows or columns (after Immerkaer
    1996, Comput. Vis. Image Underst. 64:300); its median absolute value is the noise times 2 * 0.6745. Air is
    left out, as noise rises with the attenuation.

    Args:
        film: (B, rows, columns) line integrals; NaN where unknown.
    """
    mixed = film[:, 1:, 1:] - film[:, 1:, :-1] - film[:, :-1, 1:] + film[:, :-1, :-1]
    largest = film.nan_to_num(0.0).amax((-2, -1), keepdim=True)
    texture = torch.where(film[:, 1:, 1:] > 0.1 * largest, mixed.abs(), torch.nan).flatten(1)
    if not texture.shape[1]:
        return film.new_zeros(len(film))
    return texture.nanmedian(1).values.nan_to_num(0.0) / (2 * 0.6745)


def _share(evidence: Tensor, relative_error: float) -> Tensor:
    """Of a misfit that is corrected: by what was expected, or by what is evident."""
    expected = relative_error**2 / (relative_error**2 + START_ERROR**2)
    return (evidence**4 / (1 + evidence**4)).clamp(min=expected)


def _moved(film: Tensor, shift: Tensor) -> Tensor:
    """The film as seen `shift` (B, 2) rows and columns further on: interpolated, the edge repeated."""
    rows, columns = film.shape[-2:]
    matrix = film.new_zeros(len(film), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1
    matrix[:, 0, 2] = 2 * shift[:, 1] / columns
    matrix[:, 1, 2] = 2 * shift[:, 0] / rows
    where = affine_grid(matrix, [len(film), 1, rows, columns], align_corners=False)
    return grid_sample(film[:, None], where, padding_mode="border", align_corners=False)[:, 0]


def _gradient(film: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along rows and columns, the edge repeated."""
    padded = pad(film[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    along_rows = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    along_columns = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    return along_rows, along_columns


def _least_squares(terms: Tensor, wanted: Tensor) -> Tensor:
    """Coefficients (B, k) of terms (B, n, k) that come closest to (B, n); terms that are 0 get 0."""
    normal = terms.transpose(1, 2) @ terms
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    ridge = 1e-6 * diagonal + 1e-12
    right = terms.transpose(1, 2) @ wanted[..., None]
    solved: Tensor = torch.linalg.solve(normal + torch.diag_embed(ridge), right)[..., 0]
    return solved


def _rms(values: Tensor) -> Tensor:
    return values.square().mean((-2, -1)).sqrt()
