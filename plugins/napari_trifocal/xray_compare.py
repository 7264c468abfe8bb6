"""A reconstruction against the true CT: error in HU and metrics that say on what they were taken. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_trifocal.xray_layers import error_layer
from trifocal.predictor import Progress, silent
from trifocal.xray.comparison import WINDOW_HU, against_truth, on_grid
from trifocal.xray.metrics import Score, score

if TYPE_CHECKING:
    from napari_trifocal.layers import LayerData
    from napari_trifocal.xray_jobs import Answer
    from trifocal.image import Image

TITLES = ("", "PSNR dB\nall / body", "SSIM", "MAE HU\nall / body", "lung\nDice")
BASELINES = {"constant": "constant", "visual_hull": "visual hull", "least_squares": "least squares"}
ORACLE = "silhouette *"
ABOUT_ORACLE = "* needs the truth: the body's own silhouette at its mean HU"


@dataclass(frozen=True, eq=False)
class Truth:
    """A CT in HU that is known to be what the X-rays show.

    Attributes:
        ct: The volume.
        name: What to call it.
    """

    ct: Image
    name: str

    def compare(self, answer: Answer, progress: Progress = silent) -> Comparison:
        """Bring the truth onto the reconstruction's grid by averaging, and measure.

        Raises:
            ValueError: If it is not in HU, or lies elsewhere.
        """
        progress(0.0, f"comparing with {self.name}")
        prediction = answer.prediction
        truth = on_grid(self.ct, answer.prepared.inputs.grid)
        metrics = against_truth(prediction, truth)
        before = score(prediction.network, truth, WINDOW_HU)
        layers = [
            error_layer(replace(truth, array=volume.array - truth.array))
            for volume in (prediction.network, prediction.ct)
        ]
        return Comparison(self, truth, metrics, before, layers[0], layers[1])


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far a reconstruction is from the truth.

    Attributes:
        truth: What it was compared with.
        on_grid: The same on the reconstruction's grid.
        metrics: Figures and those of the baselines, as `summary.json` has them.
        before_score: Of the volume before the refinement.
        before: Layer of the error before the refinement.
        after: The same after it.
    """

    truth: Truth
    on_grid: Image
    metrics: dict[str, Any]
    before_score: Score
    before: LayerData
    after: LayerData

    @property
    def about(self) -> str:
        """What every number of the table was taken on."""
        return f"Against {self.truth.name} at {self.before_score.conditions}. {ABOUT_ORACLE}"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """A line for the reconstruction, before and after, and for what needs no learning."""
        named = {"refined": self.metrics, "not refined": self.before_score.record()}
        named |= {label: self.metrics["baselines"][name] for name, label in BASELINES.items()}
        named[ORACLE] = self.metrics["oracle_silhouette"]
        return [_line(name, figures) for name, figures in named.items()]


def _line(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    dice = figures["lung_dice"]
    return (
        name,
        f"{figures['psnr_db']:.1f} / {figures['body_psnr_db']:.1f}",
        f"{figures['ssim']:.2f}",
        f"{figures['mae_hu']:.0f} / {figures['body_mae_hu']:.0f}",
        "-" if dice != dice else f"{dice:.2f}",
    )
