"""The predictor that users get, on images with known points: single networks, ensembles, mirrored or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trifocal import io
from trifocal.keypoints.evaluation.metrics import CaseErrors, mean_of
from trifocal.keypoints.examples import standard_split, synthetic_seeds
from trifocal.keypoints.learned import BUNDLED
from trifocal.keypoints.predictor import CLASSICAL, KeypointsInput, KeypointsPredictor
from trifocal.predictor import silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from trifocal.keypoints.examples import Example
    from trifocal.predictor import Progress

Part = Literal["test", "validation", "all"]
Tta = Literal["no", "yes", "both"]
Members = Literal["1", "all", "both"]

PARTS = ("learning", "validation", "test")
UNSEEN = 1_000_000
"""A seed for synthetic images to test with: those to learn from are counted from 0."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What is evaluated, the examples apart.

    Attributes:
        part: "test" for patients that the weights do not know: of real ones a part (see `standard_split`), of
            synthetic ones those whose seeds the card does not name; "validation" for those that validated the
            training; "all" for all, known ones too.
        checkpoint: Weights: a .safetensors file, the name of a bundled model, or "classical".
        tta: Whether the mirrored image is predicted too.
        members: "1" for each network by itself, "all" for all of them together.
        device: "auto", "cpu" or "cuda".
    """

    part: Part = "test"
    checkpoint: Path | str = BUNDLED
    tta: Tta = "both"
    members: Members = "both"
    device: str = "auto"

    @property
    def name(self) -> str:
        """Of the weights."""
        return Path(self.checkpoint).name.removesuffix(".safetensors")


@dataclass(frozen=True)
class Variant:
    """One way to run the weights.

    Attributes:
        networks: Numbers, from 0, of the networks that answer together; none for the classical ellipse.
        tta: The mirrored image is predicted too.
    """

    networks: tuple[int, ...]
    tta: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        if not self.networks:
            return "classical ellipse"
        several = len(self.networks) > 1
        who = f"ensemble of {len(self.networks)}" if several else f"network {self.networks[0] + 1}"
        return who + (", mirrored too" if self.tta else "")

    @property
    def passes(self) -> int:
        """Forward passes an image."""
        return len(self.networks) * (1 + self.tta)


@dataclass(frozen=True, eq=False)
class Case:
    """One image by one variant.

    Attributes:
        example: With the true points.
        part: "learning", "validation" or "test": what the weights know of the patient.
        variant: How it was predicted.
        points: (K, 2) predicted, in pixels of the image.
        errors: Against the truth.
        review: How much the image deserves a second look, 0 to 1.
        score: Mean over the points of the heat maps' scores.
        hints: Why it deserves one.
        seconds: Of the prediction.
    """

    example: Example
    part: str
    variant: Variant
    points: NDArray[np.float64]
    errors: CaseErrors
    review: float
    score: float
    hints: tuple[str, ...]
    seconds: float

    @property
    def patient(self) -> str:
        """Unique over all sources; synthetic images of one seed and several tasks have nothing in common."""
        one = self.example
        return "/".join((one.source, one.patient, *([one.task_id] if one.source == "synthetic" else [])))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes:
        plan: What was asked for.
        variants: In the order in which they were run.
        cases: By image and variant.
        weights_sha256: "" for none.
        notes: What a reader of the figures should know.
    """

    plan: EvaluationPlan
    variants: tuple[Variant, ...]
    cases: tuple[Case, ...]
    weights_sha256: str
    notes: tuple[str, ...]

    @property
    def main(self) -> Variant:
        """All networks together, as a prediction is made unless something else is asked for."""
        return max(self.variants, key=lambda v: (len(v.networks), not v.tta))

    @property
    def tasks(self) -> list[str]:
        """Ids of the tasks, in the order of the examples."""
        return list(dict.fromkeys(c.example.task_id for c in self.cases))

    def of(self, variant: Variant, task_id: str | None = None) -> list[Case]:
        """The cases of a variant, of one task or of all."""
        own = [c for c in self.cases if c.variant == variant]
        return [c for c in own if task_id in (None, c.example.task_id)]


def evaluate(examples: Sequence[Example], plan: EvaluationPlan, *, progress: Progress = silent) -> Evaluation:
    """Predict every image by every variant, through the predictor that users get, and compare.

    Args:
        examples: Of any tasks; the classical ellipse takes those of the head.
        plan: Which of them, and how.
        progress: Told once for each image and variant; may raise Cancelled.

    Raises:
        ValueError: If no image is left, one cannot be read, or the weights cannot be used.
    """
    whole = KeypointsPredictor.load(plan.checkpoint, device=plan.device)
    chosen, notes = _choose(examples, plan, whole)
    ways = list(_variants(whole, plan))
    cases: list[Case] = []
    for i, (example, part) in enumerate(chosen):
        frame = io.read_cine(example.path).frames[0]
        for j, (variant, predictor) in enumerate(ways):
            progress((i + j / len(ways)) / len(chosen), f"image {i + 1} of {len(chosen)}")
            cases.append(_case(example, part, variant, predictor, frame))
    progress(1.0, "done")
    sha256 = whole.learned.sha256 if whole.learned else ""
    return Evaluation(plan, tuple(v for v, _ in ways), tuple(cases), sha256, notes)


def _case(
    example: Example, part: str, variant: Variant, predictor: KeypointsPredictor, frame: NDArray[np.uint8]
) -> Case:
    scale = None if example.mm_per_px is None else (example.mm_per_px, example.mm_per_px)
    found = predictor.predict(KeypointsInput(frame, example.task, variant.tta, scale))
    size = (frame.shape[1], frame.shape[0])
    errors = CaseErrors.of(example.task, found.points, example.points, size, example.mm_per_px, found.ellipse)
    return Case(
        example,
        part,
        variant,
        found.points,
        errors,
        found.review,
        mean_of(found.scores),
        found.hints,
        found.seconds,
    )


def _variants(
    whole: KeypointsPredictor, plan: EvaluationPlan
) -> Iterator[tuple[Variant, KeypointsPredictor]]:
    """Each way to run the weights, and the predictor that does it."""
    learned = whole.learned
    if learned is None:
        yield Variant(()), whole
        return
    together = tuple(range(len(learned.members)))
    groups: dict[tuple[int, ...], None] = {}  # a single network is its own ensemble
    if plan.members != "all":
        groups |= {(i,): None for i in together}
    if plan.members != "1":
        groups |= {together: None}
    for networks in groups:
        part = replace(learned, members=[learned.members[i] for i in networks])
        for tta in {"no": (False,), "yes": (True,), "both": (False, True)}[plan.tta]:
            yield Variant(networks, tta), KeypointsPredictor(part, whole.device)


def _choose(
    examples: Sequence[Example], plan: EvaluationPlan, whole: KeypointsPredictor
) -> tuple[list[tuple[Example, str]], tuple[str, ...]]:
    """The images to evaluate, each with what the weights know of it, and remarks on the choice."""
    notes = []
    own = [e for e in examples if plan.checkpoint != CLASSICAL or e.task_id == "HC"]
    if len(own) < len(examples):
        notes.append(f"{len(examples) - len(own)} images are left out: the classical ellipse knows HC only")
    seeds = _known_seeds(whole.learned.card if whole.learned else None)
    if seeds is None and any(e.source == "synthetic" for e in own):
        notes.append(
            "the card of the weights does not say which synthetic images they have learned from:"
            " all of these are taken for new, which may flatter"
        )
    tagged = list(zip(own, _parts(own, seeds), strict=True))
    chosen = [(e, part) for e, part in tagged if plan.part in (part, "all")]
    if not chosen:
        known = f"seeds {seeds[0]} to {seeds[1]}" if seeds else "none"
        msg = (
            f"no image of the part {plan.part!r} is left of {len(examples)}: of real images 15 % of the"
            f" patients are for testing, of synthetic ones those that the weights do not know (they know"
            f" {known}): make others by `trifocal simulate keypoints --seed {UNSEEN}`, or choose 'all'"
        )
        raise ValueError(msg)
    learned_from = sum(part == "learning" for _, part in chosen)
    if learned_from and whole.learned:
        notes.append(f"the weights may have learned from {learned_from} of these {len(chosen)} images")
    return chosen, tuple(notes)


def _known_seeds(card: dict[str, Any] | None) -> tuple[int, ...] | None:
    """First and last seed of the synthetic images that weights know, () for none; None if not said."""
    if card is None:
        return ()
    data = card.get("data")
    seeds = data.get("synthetic_seeds") if isinstance(data, dict) else None
    return tuple(seeds) if isinstance(seeds, list) and len(seeds) in (0, 2) else None


def _parts(examples: Sequence[Example], seeds: tuple[int, ...] | None) -> list[str]:
    """What the weights know of each image, by the standard split and the seeds that their card names."""
    split = standard_split(examples)
    part = {id(e): name for name, own in zip(PARTS, split, strict=True) for e in own}
    for example in examples:
        known = synthetic_seeds([example])
        new = not seeds or not known or not seeds[0] <= known[0] <= seeds[1]
        if example.source == "synthetic" and new:
            part[id(example)] = "test"
    return [part[id(e)] for e in examples]
