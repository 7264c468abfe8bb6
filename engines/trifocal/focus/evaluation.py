"""Every rung of the ladder against the solver, on random poses of any heads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.evaluation_pictures import WorstCase
from trifocal.focus.learned import BUNDLED
from trifocal.focus.placement import random_pose
from trifocal.focus.predictor import (
    ENGINES,
    FULL_POINTS_PER_WAVELENGTH,
    AnyEngine,
    Engine,
    FocusInput,
    FocusPrediction,
    FocusPredictor,
)
from trifocal.predictor import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trifocal.focus.cases import HeadSource
    from trifocal.focus.head import Head
    from trifocal.focus.metrics import FieldErrors
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl
    from trifocal.predictor import Progress

RUNGS: tuple[Engine, ...] = tuple(engine for engine in ENGINES if engine != "solver")
MOST_WORST = 5


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated, the heads apart.

    Attributes:
        bowl: The transducer.
        poses: On each head, as a clinician would try them.
        seed: Of the poses. Those of a head depend on nothing but this and the head.
        points_per_wavelength: Of the grid, in water.
        rungs: Of the ladder.
        checkpoint: Weights of the learned rungs: a .safetensors file or the name of a bundled model.
        device: "auto", "cpu" or "cuda".

    Raises:
        ValueError: If there is no pose, no rung or no such rung, or the grid is too coarse.
    """

    bowl: Bowl
    poses: int = 20
    seed: int = 0
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH
    rungs: tuple[Engine, ...] = RUNGS
    checkpoint: Path | str = BUNDLED
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.poses < 1:
            msg = f"poses must be 1 or more, got {self.poses}"
            raise ValueError(msg)
        if self.seed < 0:
            msg = f"seed must be 0 or more, got {self.seed}"
            raise ValueError(msg)
        if not self.points_per_wavelength >= 2:
            msg = f"points per wavelength must be 2 or more, got {self.points_per_wavelength:g}"
            raise ValueError(msg)
        if not self.rungs or not set(self.rungs) <= set(RUNGS) or len(set(self.rungs)) < len(self.rungs):
            msg = f"rungs must be one or more of {list(RUNGS)}, each once, got {list(self.rungs)}"
            raise ValueError(msg)

    @property
    def best_rung(self) -> Engine:
        """The highest rung of the ladder among those evaluated."""
        return max(self.rungs, key=RUNGS.index)


@dataclass(frozen=True, eq=False)
class Sample:
    """One rung at one pose.

    Attributes:
        head: Name of the head.
        index: Of the pose on its head, from 0.
        rung: Of the ladder.
        pose: Bowl frame -> world.
        errors: Against the solver.
        transmission: Predicted.
        true_transmission: By the solver.
        seconds: Of the prediction.
        solver_seconds: Of the solver.
        out_of_range: Why a learned rung should not be trusted there.
        weights: Of a learned rung.
    """

    head: str
    index: int
    rung: AnyEngine
    pose: Pose
    errors: FieldErrors
    transmission: float
    true_transmission: float
    seconds: float
    solver_seconds: float
    out_of_range: tuple[str, ...]
    weights: dict[str, str] | None

    @classmethod
    def of(cls, head: str, index: int, prediction: FocusPrediction, truth: FocusPrediction) -> Sample:
        """Judge a prediction."""
        return cls(
            head,
            index,
            prediction.engine,
            prediction.inputs.pose,
            prediction.errors_against(truth),
            prediction.figures.transmission,
            truth.figures.transmission,
            prediction.seconds,
            truth.seconds,
            prediction.out_of_range,
            prediction.weights,
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes:
        plan: What was asked for.
        heads: Name -> hash, size and warnings of its CT, or the specification of a procedural head.
        samples: By head, pose and rung.
        worst: The cases of the largest centroid error of the plan's best rung, the worst first.
    """

    plan: EvaluationPlan
    heads: dict[str, dict[str, Any]]
    samples: tuple[Sample, ...]
    worst: tuple[WorstCase, ...]


def evaluate(heads: Sequence[HeadSource], plan: EvaluationPlan, *, progress: Progress = silent) -> Evaluation:
    """Predict by every rung and by the solver, through the predictor that users get, and compare.

    Args:
        heads: Where the heads come from.
        plan: What to evaluate on them.
        progress: Told several times for each pose; may raise Cancelled.

    Raises:
        ValueError: If there is no head, one cannot be used, no pose on it couples, or weights are damaged.
            CTs are tried before the first simulation.
    """
    if not heads:
        msg = "an evaluation must have at least one head, got none"
        raise ValueError(msg)
    ladder = [FocusPredictor(r, device=plan.device, checkpoint=plan.checkpoint) for r in plan.rungs]
    solver = FocusPredictor("solver", device=plan.device)
    _try(heads, plan, progress)
    named = dict(zip(_names(heads), heads, strict=True))
    about: dict[str, dict[str, Any]] = {}
    samples: list[Sample] = []
    worst: list[WorstCase] = []
    steps = len(named) * (plan.poses + 1)  # to prepare a head takes about as long as a pose
    for done, (name, source) in enumerate(named.items()):
        step = done * (plan.poses + 1)
        progress(step / steps, f"{name}: preparing the head")
        head = source.load()
        about[name] = _about(source, head)
        for index, inputs in enumerate(_inputs(source, head, plan)):
            part = _part(progress, (step + 1 + index) / steps, 1 / steps, f"{name}: pose {index + 1}")
            truth = solver.predict(inputs, progress=part)
            for rung in ladder:
                prediction = rung.predict(inputs)
                sample = Sample.of(name, index, prediction, truth)
                samples.append(sample)
                if rung.engine == plan.best_rung:
                    worst = _keep_worst(worst, sample, prediction, truth)
    progress(1.0, "done")
    return Evaluation(plan, about, tuple(samples), tuple(worst))


def _try(heads: Sequence[HeadSource], plan: EvaluationPlan, progress: Progress) -> None:
    """Read every CT and place the bowl once: one that cannot be used is found now, not after hours."""
    scans = [source for source in heads if isinstance(source.head, Path)]
    if len(heads) < 2:
        return
    for source in scans:
        progress(0.0, f"{_name(source)}: trying to place the bowl")
        next(_inputs(source, source.load(), plan))


def _inputs(source: HeadSource, head: Head, plan: EvaluationPlan) -> Iterator[FocusInput]:
    """The poses of a head; procedural heads have poses of their own, lest all resemble one another."""
    seed = [plan.seed] if isinstance(source.head, Path) else [plan.seed, source.head.seed]
    rng = np.random.default_rng(seed)
    for _ in range(plan.poses):
        pose = random_pose(head, plan.bowl, rng)
        yield FocusInput(head, plan.bowl, pose, points_per_wavelength=plan.points_per_wavelength)


def _name(source: HeadSource) -> str:
    return source.head.name if isinstance(source.head, Path) else f"phantom {source.head.seed}"


def _names(heads: Sequence[HeadSource]) -> list[str]:
    """A name for each head; those of one name are numbered, for the bootstrap tells heads by their names."""
    names = [_name(source) for source in heads]
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return found


def _about(source: HeadSource, head: Head) -> dict[str, Any]:
    """What the provenance says of a head."""
    if not isinstance(source.head, Path):
        return {"phantom": asdict(source.head), "warnings": head.warnings}
    ct = head.ct
    size = {"shape": ct.shape, "spacing_mm": ct.spacing_mm}
    return {"sha256": ct.sha256, **size, "resample": source.resample, "warnings": head.warnings}


def _part(progress: Progress, start: float, size: float, what: str) -> Progress:
    """A progress that fills a part of another."""
    return lambda fraction, _: progress(start + size * fraction * 0.95, what)


def _keep_worst(
    kept: list[WorstCase], sample: Sample, prediction: FocusPrediction, truth: FocusPrediction
) -> list[WorstCase]:
    """The worst cases so far. Their slices are cut at once, so that no field and no head has to be kept."""
    error = sample.errors.centroid_error_mm
    if len(kept) == MOST_WORST and error <= kept[-1].errors.centroid_error_mm:
        return kept
    case = WorstCase.of(sample.head, sample.index, prediction, truth)
    return sorted([*kept, case], key=lambda c: -c.errors.centroid_error_mm)[:MOST_WORST]
