"""How wrong the network is on held-out heads, and what it was trained on: measured on simulated cases.

The cases hold the march and the solver's field, so that no simulation is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from scipy.optimize import minimize

from trifocal.focus.analysis import centroid_mm
from trifocal.focus.cases import Case
from trifocal.focus.data import read_manifest
from trifocal.focus.doubts_reference import ModelError, Reference, Training
from trifocal.focus.ellipsoid import factor
from trifocal.focus.samples import View
from trifocal.focus.skull_features import placement_features
from trifocal.predictor import Progress, one_core, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.learned import Learned

LEVEL = 0.95
FREEDOM = 3.0
FEWEST = 20  # held-out cases: fewer have no 95 % quantile worth the name


@dataclass(frozen=True, eq=False)
class Measured:
    """One case under the network; positions (3,) in the bowl's frame in mm.

    Attributes:
        head: Names its head.
        truth_mm: Focus of the solver.
        network_mm: Focus of the network.
        march_mm: Focus of the march.
        log_peak: ln(network's peak / solver's peak).
    """

    head: str
    truth_mm: NDArray[np.float64]
    network_mm: NDArray[np.float64]
    march_mm: NDArray[np.float64]
    log_peak: float

    @classmethod
    @torch.no_grad()
    def of(cls, head: str, case: Case, learned: Learned) -> Self:
        """Predict a case from its stored march."""
        view = View.full(case)
        with one_core():
            network = learned.amplitude(view.medium, view.field, view.bowl, view.box, 1.0)[0].numpy()
        truth, march = view.truth[0].numpy(), view.field[0].abs().numpy()
        one, two, three = (centroid_mm(a, view.region, view.box) for a in (truth, network, march))
        return cls(
            head, one, two, three, float(np.log(network[view.region].max() / truth[view.region].max()))
        )

    @property
    def error_mm(self) -> NDArray[np.float64]:
        """(3,) from the network's focus to the solver's."""
        return self.truth_mm - self.network_mm

    @property
    def disagreement_mm(self) -> NDArray[np.float64]:
        """(3,) from the network's focus to the march's."""
        return self.march_mm - self.network_mm


def calibrate(
    folders: Sequence[Path], learned: Learned, *, most: int = 250, progress: Progress = silent
) -> Reference:
    """Measure the network on the validation heads of some data sets; take statistics of the others.

    Args:
        folders: Data sets of `simulate focus`.
        learned: The network.
        most: Training cases to take the statistics of, evenly over those that there are.
        progress: May raise Cancelled.

    Raises:
        ValueError: If a folder is no data set or there are too few held-out cases.
    """
    found = [(f, c) for f in folders for c in read_manifest(f)["cases"]]
    held_out = [(f / c["file"], c["head"]) for f, c in found if c["split"] == "val"]
    training = [f / c["file"] for f, c in found if c["split"] == "train"]
    if len(held_out) < FEWEST or len(training) < FEWEST:
        msg = (
            f"there must be {FEWEST} validation and {FEWEST} training cases or more, got {len(held_out)} and "
            f"{len(training)}: simulate more heads"
        )
        raise ValueError(msg)
    training = training[:: ceil(len(training) / most)]
    total = len(held_out) + len(training)
    measured, features = [], []
    for i, (path, head) in enumerate(held_out):
        progress(i / total, f"held-out case {i + 1} of {len(held_out)}")
        measured.append(Measured.of(head, Case.load(path), learned))
    for i, path in enumerate(training, len(held_out)):
        progress(i / total, f"training case {i + 1 - len(held_out)} of {len(training)}")
        view = View.full(Case.load(path))
        features.append(placement_features(view.medium.hu[0].numpy(), view.region, view.bowl, view.box))
    progress(1.0, "done")
    error = model_error(measured)
    recipe = (
        f"trifocal calibrate focus: {error.cases} held-out cases of {error.heads} heads, "
        f"{len(training)} training cases, weights {learned.checkpoint.name}"
    )
    return Reference(error, Training.of(np.array(features)), learned.checkpoint.record()["sha256"], recipe)


def model_error(measured: Sequence[Measured]) -> ModelError:
    """Fit the variances to measured cases, then widen them until the 95 % ellipsoid holds 95 %.

    The widening is split-conformal (Vovk, Gammerman and Shafer 2005; Angelopoulos and Bates 2023,
    doi 10.1561/2200000101): the ceil((n + 1) 0.95)-th smallest of the n squared distances.
    """
    error = np.array([m.error_mm for m in measured])
    disagreement = np.array([m.disagreement_mm for m in measured])
    across = np.repeat((disagreement[:, :2] ** 2).mean(1), 2)
    lateral = _fit(error[:, :2].ravel() ** 2, across)
    axial = _fit(error[:, 2] ** 2, disagreement[:, 2] ** 2)
    log_peak = float(np.sqrt(np.mean([m.log_peak**2 for m in measured])))
    heads = len({m.head for m in measured})
    fitted = ModelError(lateral, axial, 1.0, log_peak, len(measured), heads)
    squares = sorted(float((m.error_mm**2 / fitted.variances(m.disagreement_mm)).sum()) for m in measured)
    rank = min(ceil((len(squares) + 1) * LEVEL), len(squares))
    return replace(fitted, widening=float(squares[rank - 1]) / factor(LEVEL))


def _fit(squares: NDArray[np.float64], disagreement: NDArray[np.float64]) -> tuple[float, float]:
    """Base (at least (0.05 mm)^2) and share (at most 1) of a variance, by maximum likelihood.

    The likelihood is Student's t of three degrees of freedom: now and then the focal spot is another lobe of
    the field, millimetres away, and a normal distribution would give every case the size of those few.
    """

    def cost(logs: NDArray[np.float64]) -> float:
        variance = np.exp(logs[0]) + np.exp(logs[1]) * disagreement
        tail = (FREEDOM + 1) * np.log1p(squares / (FREEDOM * variance))
        return float((np.log(variance) + tail).mean())

    begin = np.log([max(float(np.median(squares)), 1e-4), 0.1])
    best = minimize(cost, begin, method="L-BFGS-B", bounds=[(-6, 6), (-12, 0)]).x
    base, share = (round(float(np.exp(v)), 5) for v in best)
    return base, share
