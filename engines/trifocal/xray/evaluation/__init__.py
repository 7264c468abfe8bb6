"""The predictor that users get, on CTs that it is shown X-rays of, beside what needs no learning."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trifocal.xray.films.exposure import Exposure
from trifocal.xray.learned import BUNDLED
from trifocal.xray.metrics import WINDOW_HU

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from trifocal.xray.evaluation.reliability import Reliability
    from trifocal.xray.evaluation.sources import Source
    from trifocal.xray.grid import Grid
    from trifocal.xray.metrics import Score

BASELINES = ("constant", "visual_hull", "least_squares")
ORACLE = "oracle_silhouette"


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated, the CTs apart.

    Attributes:
        checkpoints: Weights: .safetensors files, the name of a bundled model, or "least-squares" for the
            baselines alone. The first is the one that pictures and the reliability curve are made of.
        refine: Steps of the physics refinement; the answer before it is always judged too.
        samples: Of the uncertainty.
        exposure: What the detector makes of the line integrals.
        film_error: Expected error of the films that the predictor is told; by what the exposure changed if
            None, as `trifocal project` writes it.
        frontal: "AP" or "PA".
        films: Which the predictor and the baselines are given.
        voxels: Along the longest edge of each volume.
        pixels: Rows and columns of each film.
        energy_kev: Effective energy of the beam.
        window_hu: Of PSNR and SSIM.
        seed: Of the films' noise.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: If there is no checkpoint, or a number is out of range.
    """

    checkpoints: tuple[Path | str, ...] = (BUNDLED,)
    refine: int = 15
    samples: int = 0
    exposure: Exposure = field(default_factory=Exposure)
    film_error: float | None = None
    frontal: str = "AP"
    films: Literal["both", "frontal", "lateral"] = "both"
    voxels: int = 64
    pixels: int = 256
    energy_kev: float = 70.0
    window_hu: tuple[float, float] = WINDOW_HU
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.checkpoints:
            msg = "an evaluation must have at least one checkpoint, got none"
            raise ValueError(msg)
        for name, low, high in (("refine", 0, 1000), ("samples", 0, 100), ("voxels", 8, 256)):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} must be within {low} to {high}, got {value}"
                raise ValueError(msg)


@dataclass(frozen=True)
class Row:
    """One answer to one case.

    Attributes:
        engine: Name of a baseline or of a checkpoint, with the steps of refinement.
        score: Against the truth.
        residuals: View -> root mean square of film less re-projection over that of the film.
        seconds: Of the prediction with refinement and doubts; NaN for baselines.
    """

    engine: str
    score: Score
    residuals: dict[str, float]
    seconds: float = math.nan


@dataclass(frozen=True, eq=False)
class Case:
    """One CT by every engine.

    Attributes:
        source: Where it comes from.
        region: What it shows, where that is known.
        grid: On which it was reconstructed.
        rows: Baselines, then the engines before and after the refinement, then the oracle.
        shown: Name of the row that pictures show: the first checkpoint's last one.
        reliability: Of the first checkpoint's predicted errors; None if it predicts none.
        warnings: That the user was shown with the first checkpoint's prediction.
    """

    source: Source
    region: str
    grid: Grid
    rows: tuple[Row, ...]
    shown: str
    reliability: Reliability | None
    warnings: tuple[str, ...]

    def row(self, engine: str) -> Row:
        """Of the engine of that name."""
        return next(r for r in self.rows if r.engine == engine)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes:
        plan: What was asked for.
        cases: In the order of the sources.
        engines: Names of the checkpoints' rows, before and after the refinement.
        about: Name of each checkpoint -> sha256, parameters, kind and toggles.
    """

    plan: EvaluationPlan
    cases: tuple[Case, ...]
    engines: tuple[str, ...]
    about: dict[str, dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rows: baselines, engines, and the oracle at the end."""
        return (*BASELINES, *self.engines, ORACLE)
