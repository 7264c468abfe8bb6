"""A prediction beside the truth and beside what needs no learning, by the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal.image import Image, ImageError
from trifocal.predictor import one_core
from trifocal.xray.attenuation import mu_water
from trifocal.xray.baselines import constant, least_squares, oracle_silhouette, visual_hull
from trifocal.xray.grid import Grid, average_onto
from trifocal.xray.metrics import score
from trifocal.xray.planning import upright_ct, without_padding
from trifocal.xray.projection import Projectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from trifocal.xray.predictor import XrayPrediction

WINDOW_HU = (-1000.0, 1000.0)
_LEAST_SHARED = 0.2


def on_grid(ct: Image, grid: Grid) -> Image:
    """The true CT averaged onto the voxels of a reconstruction; air where it has nothing.

    Raises:
        ImageError: If it is not in HU, or lies elsewhere.
    """
    if ct.unit not in ("HU", ""):
        msg = f"the truth must be a CT in HU, got a volume in {ct.unit}: choose a CT"
        raise ImageError(msg)
    upright = without_padding(upright_ct(ct))
    low = upright.affine[:3, 3] - upright.spacing_mm / 2
    high = low + upright.spacing_mm * upright.shape
    shared = np.minimum(high, grid.low_mm + grid.extent_mm) - np.maximum(low, grid.low_mm)
    share = float(np.prod(np.maximum(shared, 0.0) / grid.extent_mm))
    if share < _LEAST_SHARED:
        msg = (
            f"the truth covers {share:.0%} of the reconstructed box: it must lie in the same place, as the CT"
            " does that the films were projected from"
        )
        raise ImageError(msg)
    return grid.image(average_onto(upright, grid), "HU", {**ct.notes, "covers": round(share, 4)})


def against_truth(prediction: XrayPrediction, truth: Image) -> dict[str, Any]:
    """Figures of a prediction, and under "baselines" the same of what needs no learning.

    The baselines see the films that the prediction was made from. The silhouette needs the truth and is
    listed apart as `oracle_silhouette`.

    Args:
        prediction: The volume and its films.
        truth: On the same grid, see `on_grid`.
    """
    found: dict[str, Any] = score(prediction.ct, truth, WINDOW_HU).record()
    baselines = {name: make(prediction, truth) for name, make in _BASELINES.items()}
    found["baselines"] = {name: score(image, truth, WINDOW_HU).record() for name, image in baselines.items()}
    silhouette = oracle_silhouette(truth.array, truth.spacing_mm)
    oracle = Image(silhouette, truth.affine, "HU")
    return {**found, "oracle_silhouette": score(oracle, truth, WINDOW_HU).record()}


def _from_films(make: Callable[[Projectors, list[Tensor]], Tensor]) -> Callable[..., Image]:
    """A baseline of density (1, X, Y, Z) from films in mm of water, as a volume in HU."""

    def volume(prediction: XrayPrediction, truth: Image) -> Image:
        i, j, k = truth.shape
        spacing = tuple(float(s) for s in truth.spacing_mm)
        center = truth.index_to_world((np.array(truth.shape) - 1) / 2)
        grid = Grid((i, j, k), (spacing[0], spacing[1], spacing[2]), (center[0], center[1], center[2]))
        per_mm = mu_water(float(prediction.notes["energy_kev"]))
        films = [torch.as_tensor(v.film.line_integrals / per_mm)[None].float() for v in prediction.views]
        projectors = Projectors.of(tuple(v.film.view for v in prediction.views), grid)
        with one_core(), torch.no_grad():
            density = make(projectors, films)[0].clamp(0, 4).numpy()
        return Image((1000 * (density - 1)).astype(np.float32), truth.affine, "HU")

    return volume


_BASELINES = {
    "constant": _from_films(constant),
    "visual_hull": _from_films(visual_hull),
    "least_squares": _from_films(least_squares),
}
