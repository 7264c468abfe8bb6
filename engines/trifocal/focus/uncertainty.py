"""How sure a prediction is: skull properties and pose drawn at random, an ensemble, and the network's error.

Two things are unknown, and their covariances add. The *inputs*: speed and attenuation of the skull and the
pose of the bowl are drawn, and every draw is predicted on the preview's grid; only the difference to the
nominal preview counts, so that the coarse grid's own bias cancels. The *model*: how far the network's focus
lay from the solver's on heads that it had not seen (`doubts_reference`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.acoustics import REFERENCE_FREQUENCY_HZ, AcousticModel, Tissue
from trifocal.focus.doubts_reference import Reference
from trifocal.focus.ellipsoid import Ellipsoid, factor
from trifocal.focus.learned import BUNDLED
from trifocal.focus.pose import Pose
from trifocal.focus.predictor import FocusInput, FocusPrediction, FocusPredictor
from trifocal.focus.skull_features import placement_features
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.image import Image

TYPICAL_HU = 1300.0  # of the skull; what the ranges of bone are stated for
LEAST_SAMPLES = 8
DRAWS = 8192  # of the Gaussian mass in the target and of the bounds of the peak
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Ranges:
    """What may be otherwise than stated.

    Attributes:
        speed: Relative error of the sound speed of bone, evenly to both sides: about 4 % is what the
            literature leaves open.
        attenuation_db_cm_mhz: Least and most of the attenuation of bone of 1300 HU; the logarithm is drawn
            evenly. The nominal mapping has 12.7, near the geometric mean.
        shift_mm: Error of the apex along each axis, evenly to both sides.
        tilt_deg: Error of the direction about each lateral axis through the apex, the same.

    Raises:
        ValueError: If a range is negative or its bounds are in the wrong order.
    """

    speed: float = 0.04
    attenuation_db_cm_mhz: tuple[float, float] = (6.9, 24.4)
    shift_mm: float = 1.0
    tilt_deg: float = 2.0

    def __post_init__(self) -> None:
        low, high = self.attenuation_db_cm_mhz
        if min(self.speed, self.shift_mm, self.tilt_deg) < 0 or self.speed >= 0.3 or not 0 < low <= high:
            msg = (
                "ranges must be 0 or more (speed below 0.3), attenuation_db_cm_mhz (least, most) positive, "
                f"got {self}"
            )
            raise ValueError(msg)

    def draw(self, inputs: FocusInput, rng: np.random.Generator) -> FocusInput:
        """The same placement as it may truly be."""
        model = with_bone(
            inputs.model,
            float(rng.uniform(-self.speed, self.speed)),
            float(np.exp(rng.uniform(*np.log(self.attenuation_db_cm_mhz)))),
        )
        shift = rng.uniform(-self.shift_mm, self.shift_mm, 3)
        tilt = np.deg2rad(rng.uniform(-self.tilt_deg, self.tilt_deg, 2))
        return replace(inputs, model=model, pose=jittered(inputs.pose, shift, tilt))


@dataclass(frozen=True, eq=False)
class Doubts:
    """How sure a prediction is.

    Attributes:
        std_pa: Standard deviation of the pressure over the samples in Pa, on the box of the prediction.
        ellipsoid: Holds the focus at 95 %, in the world.
        p_in_target: Probability that the focus lies within `target_radius_mm` of the target; None without a
            target.
        out_of_range: Why the prediction is less sure than all this says, a sentence a reason.
        samples: How many were drawn.
        prediction: The full prediction at the nominal inputs.
        foci_mm: (samples, 3) focus of each sample in the world, the preview's bias taken off.
        peaks_pa: (samples,) peak of each, the same.
        peak_bounds_pa: 95 % of the peak, the network's own error included.
        target_radius_mm: See `p_in_target`.
        ranges: What was drawn from.
    """

    std_pa: Image
    ellipsoid: Ellipsoid
    p_in_target: float | None
    out_of_range: tuple[str, ...]
    samples: int
    prediction: FocusPrediction
    foci_mm: NDArray[np.float64] = field(repr=False)
    peaks_pa: NDArray[np.float64] = field(repr=False)
    peak_bounds_pa: tuple[float, float]
    target_radius_mm: float
    ranges: Ranges

    def record(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "samples": self.samples,
            "ranges": vars(self.ranges),
            "ellipsoid": self.ellipsoid.record(),
            "p_in_target": self.p_in_target,
            "target_radius_mm": self.target_radius_mm,
            "peak_bounds_pa": list(self.peak_bounds_pa),
            "out_of_range": list(self.out_of_range),
        }


def doubts(
    inputs: FocusInput,
    *,
    samples: int = 32,
    ranges: Ranges | None = None,
    device: str = "auto",
    progress: Progress = silent,
    networks: Sequence[Path | str] = (BUNDLED,),
    target_radius_mm: float = 3.0,
    reference: Reference | None = None,
    seed: int = 0,
) -> Doubts:
    """Ask how sure the network's prediction is.

    Args:
        inputs: The placement as it is believed to be.
        samples: How many placements to draw, at least 8; each costs a preview.
        ranges: What may be otherwise.
        device: "auto", "cpu" or "cuda".
        progress: Called after each sample; may raise Cancelled.
        networks: Weights of the ensemble; the first is the nominal one, and the samples take them in turn.
        target_radius_mm: What counts as in the target.
        reference: Measured error and training of the network; the bundled one if None.
        seed: The same seed gives the same answer.

    Raises:
        ValueError: If there are too few samples or no network.
        Cancelled: If `progress` raises it.
    """
    if samples < LEAST_SAMPLES or not networks:
        msg = f"doubts must have {LEAST_SAMPLES} samples or more and a network, got {samples} and {networks}"
        raise ValueError(msg)
    ranges, reference = ranges or Ranges(), reference or Reference.load()
    ensemble = [FocusPredictor("network", device=device, checkpoint=c) for c in networks]
    progress(0.0, "predicting")
    full = ensemble[0].predict(inputs)
    march = FocusPredictor("has", device=device).predict(inputs)
    drawn = _sample(inputs, ensemble, samples, ranges, np.random.default_rng(seed), progress)
    centre = np.array(full.figures.focus_mm)
    turn = inputs.pose.matrix[:3, :3]
    disagreement = (np.array(march.figures.focus_mm) - centre) @ turn
    model = reference.error.covariance(disagreement, inputs.pose)
    spread = drawn.offsets_mm.T @ drawn.offsets_mm / samples
    foci = centre + drawn.offsets_mm
    peaks = full.figures.peak_pa * drawn.ratios
    rng = np.random.default_rng([seed, 1])
    which = rng.integers(samples, size=DRAWS)
    logs = np.log(peaks[which]) + rng.normal(0, reference.error.log_peak, DRAWS)
    low, high = np.exp(np.quantile(logs, QUANTILES))
    possible = foci[which] + rng.multivariate_normal(np.zeros(3), model, DRAWS)
    features = placement_features(full.hu, full.region, inputs.bowl, full.box)
    progress(1.0, "done")
    return Doubts(
        std_pa=drawn.std.resample(full.pressure.affine, full.box.shape),
        ellipsoid=Ellipsoid.of(centre, _joined(spread, model, samples)),
        p_in_target=_share_within(possible, inputs.target_mm, target_radius_mm),
        out_of_range=(*full.out_of_range, *reference.training.reasons(features)),
        samples=samples,
        prediction=full,
        foci_mm=foci,
        peaks_pa=peaks,
        peak_bounds_pa=(float(low), float(high)),
        target_radius_mm=target_radius_mm,
        ranges=ranges,
    )


def with_bone(model: AcousticModel, speed: float, attenuation_db_cm_mhz: float) -> AcousticModel:
    """Change the end points so that bone of 1300 HU is faster by a share and attenuates as told.

    The mapping is a mixture of dense bone and pores, and the pores have the speed of soft tissue, which the
    brain shares: so the end point of dense bone moves alone, by as much as bone of 1300 HU needs.
    """
    solid = TYPICAL_HU / model.hu_dense_bone
    dense, soft = model.dense_bone, model.soft_tissue.sound_speed
    typical = soft + (dense.sound_speed - soft) * solid
    scale = attenuation_db_cm_mhz / bone_attenuation_db_cm_mhz(model)
    bone = Tissue(dense.sound_speed + speed * typical / solid, dense.density, dense.attenuation * scale)
    porous = model.porous_bone_attenuation * scale
    return replace(model, dense_bone=bone, porous_bone_attenuation=porous)


def bone_attenuation_db_cm_mhz(model: AcousticModel) -> float:
    """What the mapping gives bone of 1300 HU, in dB/cm at 500 kHz per 0.5 MHz."""
    dense, solid = model.dense_bone.attenuation, TYPICAL_HU / model.hu_dense_bone
    at_half_mhz = dense + (model.porous_bone_attenuation - dense) * float(np.sqrt(1 - solid))
    return at_half_mhz / (REFERENCE_FREQUENCY_HZ / 1e6)


def jittered(pose: Pose, shift_mm: NDArray[np.float64], tilt: NDArray[np.float64]) -> Pose:
    """Shift a pose (3,) along its own axes and turn its beam about its x and y (2,) in radians."""
    direction = pose.matrix[:3, :3] @ np.array([np.tan(tilt[1]), -np.tan(tilt[0]), 1.0])
    return Pose.from_apex(pose.to_world(shift_mm), direction)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What the samples say: focus offsets (n, 3) in the world, peak ratios (n,), standard deviation in Pa."""

    offsets_mm: NDArray[np.float64]
    ratios: NDArray[np.float64]
    std: Image


def _sample(
    inputs: FocusInput,
    ensemble: Sequence[FocusPredictor],
    samples: int,
    ranges: Ranges,
    rng: np.random.Generator,
    progress: Progress,
) -> _Drawn:
    """Predict the samples on the preview's grid; only running moments of the fields are kept.

    Mean and sum of squares are updated sample by sample (Welford 1962, doi 10.1080/00401706.1962.10490022).
    """
    nominal = ensemble[0].predict(inputs.preview())
    points = nominal.pressure.index_to_world(np.moveaxis(np.indices(nominal.box.shape), 0, -1))
    mean = np.zeros(nominal.box.shape)
    squares = np.zeros_like(mean)
    offsets, ratios = np.empty((samples, 3)), np.empty(samples)
    for i in range(samples):
        progress((i + 1) / (samples + 2), f"sample {i + 1} of {samples}")
        found = ensemble[i % len(ensemble)].predict(ranges.draw(inputs.preview(), rng))
        offsets[i] = np.subtract(found.figures.focus_mm, nominal.figures.focus_mm)
        ratios[i] = found.figures.peak_pa / nominal.figures.peak_pa
        pressure = found.pressure.sample(points)
        change = pressure - mean
        mean += change / (i + 1)
        squares += change * (pressure - mean)
    deviation = np.sqrt(squares / (samples - 1)).astype(np.float32)
    return _Drawn(offsets, ratios, replace(nominal.pressure, array=deviation))


def _joined(spread: NDArray[np.float64], model: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Sum of both covariances; that of the samples is widened for being estimated from few."""
    widened: NDArray[np.float64] = spread * factor(0.95, samples) / factor(0.95) + model
    return widened


def _share_within(
    points: NDArray[np.float64], target_mm: NDArray[np.float64] | None, radius_mm: float
) -> float | None:
    if target_mm is None:
        return None
    return float((np.linalg.norm(points - target_mm, axis=1) <= radius_mm).mean())
