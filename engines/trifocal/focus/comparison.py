"""Two predictions of one head side by side: what differs, and how far the focus moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from trifocal.focus.metrics import FieldErrors
    from trifocal.focus.predictor import FocusPrediction
    from trifocal.image import Image


@dataclass(frozen=True, eq=False)
class Comparison:
    """A prediction held against a reference: the solver, another engine or another pose.

    Attributes:
        prediction: What is judged.
        reference: What it is held against.
        difference: prediction - reference in Pa on the reference's box; 0 where either is not beyond its near
            skull or not known.
        errors: The errors of the prediction if the reference were true; None where the bowls, poses or grids
            differ.
        shift_mm: (3,) from the focus of the reference to that of the prediction, in the world.
        axial_mm: Its part along the reference's beam, positive where the prediction lies deeper.
        lateral_mm: Its part across that beam.
        peak_ratio: Peak of the prediction over that of the reference.
    """

    prediction: FocusPrediction
    reference: FocusPrediction
    difference: Image
    errors: FieldErrors | None
    shift_mm: tuple[float, float, float]
    axial_mm: float
    lateral_mm: float
    peak_ratio: float

    @property
    def distance_mm(self) -> float:
        """Distance of the two foci."""
        return float(np.linalg.norm(self.shift_mm))

    def record(self) -> dict[str, Any]:
        """The figures as plain numbers and lists, for JSON."""
        shift = {"shift_mm": list(self.shift_mm), "axial_mm": self.axial_mm, "lateral_mm": self.lateral_mm}
        shift |= {"distance_mm": self.distance_mm, "peak_ratio": self.peak_ratio}
        return {
            "prediction": self.prediction.record(),
            "reference": self.reference.record(),
            "errors": None if self.errors is None else self.errors.record(),
            **shift,
        }


def same_grid(a: FocusPrediction, b: FocusPrediction) -> bool:
    """Whether two predictions are of the same bowl in the same pose on the same grid."""
    same_bowl = a.inputs.bowl == b.inputs.bowl and a.box == b.box
    return same_bowl and bool(np.allclose(a.inputs.pose.matrix, b.inputs.pose.matrix, atol=1e-9))


def compare(prediction: FocusPrediction, reference: FocusPrediction) -> Comparison:
    """Hold a prediction against a reference; at another pose it is resampled in the world.

    Raises:
        ValueError: If they are of two heads.
    """
    if prediction.inputs.head is not reference.inputs.head:
        msg = "two predictions must be of the same head to be compared: predict both on one prepared head"
        raise ValueError(msg)
    at_one_place = same_grid(prediction, reference)
    shift = np.subtract(prediction.figures.focus_mm, reference.figures.focus_mm)
    axial = float(shift @ reference.inputs.pose.direction)
    return Comparison(
        prediction,
        reference,
        replace(reference.pressure, array=_difference(prediction, reference, resample=not at_one_place)),
        prediction.errors_against(reference) if at_one_place else None,
        (float(shift[0]), float(shift[1]), float(shift[2])),
        axial,
        float(np.linalg.norm(shift - axial * reference.inputs.pose.direction)),
        prediction.figures.peak_pa / reference.figures.peak_pa,
    )


def _difference(
    prediction: FocusPrediction, reference: FocusPrediction, *, resample: bool
) -> NDArray[np.float32]:
    """(x, y, z) Pa on the reference's box."""
    true = reference.pressure
    if not resample:
        return np.where(prediction.region, prediction.pressure.array - true.array, 0).astype(np.float32)
    region = replace(prediction.pressure, array=prediction.region.astype(np.float32))
    # 0 beyond the prediction's box too: nothing is known there.
    both = (region.resample(true.affine, true.shape).array > 0.5) & reference.region
    moved = prediction.pressure.resample(true.affine, true.shape).array
    return np.where(both, moved - true.array, 0).astype(np.float32)
