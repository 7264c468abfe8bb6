"""Many files in, tables out: frame by frame, so that neither a long cine nor a large folder needs memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from trifocal import io
from trifocal.files import output_folder
from trifocal.image import ImageError
from trifocal.keypoints.calibration import Calibration, Refusal, calibrate
from trifocal.keypoints.cine_measurements import measure_cine
from trifocal.keypoints.frame_result import FrameResult
from trifocal.keypoints.output import ResultWriter
from trifocal.keypoints.overlay import draw_overlay
from trifocal.keypoints.predictor import KeypointsInput
from trifocal.keypoints.review_queue import ReviewItem, ReviewQueue
from trifocal.keypoints.sources import scale_of
from trifocal.provenance import record, write_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from trifocal.cine import Cine
    from trifocal.keypoints.predictor import KeypointsPrediction
    from trifocal.keypoints.sources import Source
    from trifocal.keypoints.tasks import Task
    from trifocal.predictor import Predictor, Progress

FOLLOWED = ("IVC", "PLAX", "A4C")
"""Tasks of which a cine tells more than its frames do."""


@dataclass(frozen=True)
class BatchPlan:
    """What to do with every frame.

    Attributes:
        task: Which points.
        tta: Also predict the mirrored image.
        mm_per_px: Size of a pixel where the file does not say: one for all, or by file name.
        overlay: Write a picture of every frame.
        predictions: Write predictions.json.
        reports: Write a DICOM report beside every DICOM file's results.
        cross_check: Compare the network's head with the classical ellipse.
    """

    task: Task
    tta: bool = False
    mm_per_px: float | dict[str, float] | None = None
    overlay: bool = False
    predictions: bool = False
    reports: bool = False
    cross_check: bool = False


@dataclass
class BatchOutcome:
    """What came of it.

    Attributes:
        files: That could be read, by all their frames or some.
        frames: That were predicted.
        failures: File or frame, and one sentence.
        warnings: Sentences, each with how many frames (or files) it is about.
        queue: The frames, those to look at first first.
        engine: That predicted.
        device: Where.
        last: The last frame's result.
    """

    files: int = 0
    frames: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    queue: ReviewQueue = field(default_factory=ReviewQueue)
    engine: str = ""
    device: str = ""
    last: FrameResult | None = None


def run_batch(
    sources: Sequence[Source],
    predictor: Predictor[KeypointsInput, KeypointsPrediction],
    plan: BatchPlan,
    out: Path | str,
    progress: Progress,
    *,
    weights: dict[str, Any] | None = None,
) -> BatchOutcome:
    """Predict every frame of every file, and write what was found into a folder: all of it, or nothing.

    A file or frame that cannot be read does not stop the others: its frames have rows with empty cells, as
    far as it is known how many they are.

    Args:
        sources: The files.
        predictor: Finds the points.
        plan: What to do.
        out: The folder; made if it does not exist, other files in it are left alone.
        progress: Called for every frame.
        weights: Name and sha256 of the predictor's weights, for the record.

    Raises:
        ImageError: If no frame could be used: nothing is written then.
        OSError: If the folder cannot be written; nothing is left behind.
        Cancelled: By `progress`; nothing is left behind.
    """
    outcome = BatchOutcome()
    with output_folder(out) as folder:
        inputs = []
        with ResultWriter(folder, predictions=plan.predictions) as writer:
            for number, source in enumerate(sources):
                progress(number / len(sources), source.name)
                try:
                    cine = io.read_cine(source.path)
                except (ImageError, OSError) as error:
                    outcome.failures.append((source.name, str(error)))
                    continue
                done = _OneFile(source, cine, plan, outcome, folder)
                done.run(predictor, writer, _part(progress, number, len(sources), source.name))
                inputs.append(done.record())
        if not outcome.frames:
            raise ImageError(_all_failed(outcome.failures))
        outcome.queue.write(folder)
        content = record(
            f"keypoints/{outcome.engine}",
            inputs={},
            parameters=plan,
            device=outcome.device,
            weights=weights,
            warnings=[*outcome.warnings, *(f"{name}: {why}" for name, why in outcome.failures)],
            outputs=sorted(p for p in folder.iterdir() if p.is_file()),
        )
        write_record(folder / "provenance.json", content | {"inputs": inputs})
    progress(1.0, "done")
    return outcome


class _OneFile:
    """The frames of one file, one after the other."""

    def __init__(
        self, source: Source, cine: Cine, plan: BatchPlan, outcome: BatchOutcome, folder: Path
    ) -> None:
        self._source, self._cine, self._plan = source, cine, plan
        self._outcome, self._folder = outcome, folder
        self._calibration = calibrate(cine)
        said = plan.mm_per_px
        said = scale_of(source, said) if isinstance(said, dict) else said
        self._by_user = None if said is None else Calibration.from_mm_per_px(said)
        self._points: list[NDArray[np.float64]] = []
        self._reported: list[FrameResult] = []

    def run(
        self,
        predictor: Predictor[KeypointsInput, KeypointsPrediction],
        writer: ResultWriter,
        progress: Callable[[float], None],
    ) -> None:
        """Predict and write every frame."""
        cine, outcome = self._cine, self._outcome
        read = 0
        for frame in range(len(cine)):
            progress(frame / len(cine))
            result = self._frame(frame, predictor)
            read += bool(result.engine)
            writer.add(result, of_cine=len(cine) > 1)
            self._points.append(result.points)
            outcome.last = result
        outcome.frames += read
        outcome.files += bool(read)
        if "truncated" in cine.notes:
            outcome.warnings[str(cine.notes["truncated"])] += 1
        self._whole_cine(writer)
        self._report()

    def record(self) -> dict[str, Any]:
        """What went in, for the provenance."""
        return {
            "name": self._source.name,
            "sha256": self._cine.sha256,
            "frames": len(self._cine),
            "size": self._cine.size,
            "modality": self._cine.modality,
            "scale": self._calibration.describe(),
            "scale_by_user": None if self._by_user is None else self._by_user.everywhere,
            "notes": self._cine.notes,
        }

    def _frame(self, frame: int, predictor: Predictor[KeypointsInput, KeypointsPrediction]) -> FrameResult:
        name, cine, plan, outcome = self._source.name, self._cine, self._plan, self._outcome
        try:
            pixels = cine.frames[frame]
            middle = self._scale((np.array([cine.size], dtype=np.float64) - 1) / 2)
            known = None if isinstance(middle, Refusal) else middle
            asked = KeypointsInput(pixels, plan.task, plan.tta, known, plan.cross_check)
            prediction = predictor.predict(asked)
        except (ValueError, OSError) as error:
            outcome.failures.append((name, str(error)))
            outcome.queue.add(ReviewItem(name, frame, plan.task, 1.0, warnings=(str(error),)))
            return FrameResult.unreadable(name, frame, cine.size, plan.task)
        scale = self._scale(prediction.points)
        if isinstance(scale, Refusal):
            outcome.warnings[f"measured in pixels: {scale.reason}"] += 1
        outcome.warnings.update(prediction.warnings)
        outcome.queue.add(ReviewItem.of(name, frame, prediction))
        outcome.engine, outcome.device = prediction.engine, prediction.device
        result = FrameResult.predicted(name, frame, cine.size, prediction, scale)
        if plan.overlay:
            self._picture(pixels, result)
        if plan.reports and cine.modality:
            self._reported.append(result)
        return result

    def _scale(self, points: ArrayLike) -> tuple[float, float] | Refusal:
        """By the file, and where that does not say, by the user."""
        found = self._calibration.scale(points)
        if isinstance(found, Refusal) and self._by_user is not None:
            return self._by_user.scale(points)
        return found

    def _picture(self, pixels: NDArray[np.uint8], result: FrameResult) -> None:
        stem = self._source.stem
        digits = max(4, len(str(len(self._cine) - 1)))
        name = f"{stem.name}_{result.frame:0{digits}}.png" if len(self._cine) > 1 else f"{stem.name}.png"
        path = self._folder / "overlays" / stem.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_overlay(pixels, result)).save(path)

    def _whole_cine(self, writer: ResultWriter) -> None:
        if len(self._points) < 2 or self._plan.task.id not in FOLLOWED:
            return
        points = np.stack(self._points)
        scale = self._scale(points.reshape(-1, 2))
        known, reason = (None, scale.reason) if isinstance(scale, Refusal) else (scale, "")
        found = measure_cine(self._plan.task, points, known, reason)
        if found is None:
            return
        writer.add_measurements(self._source.name, None, self._plan.task, found.measurements)
        for hint in found.hints:
            self._outcome.warnings[hint] += 1

    def _report(self) -> None:
        if not self._reported:
            return
        from trifocal.keypoints.report_sr import write_report  # slow to import

        stem = self._source.stem
        path = self._folder / "reports" / stem.parent / f"{stem.name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_report(self._reported, self._source.path, path)
        except ValueError as error:
            self._outcome.failures.append((self._source.name, f"no report: {error}"))


def _part(progress: Progress, number: int, of: int, name: str) -> Callable[[float], None]:
    """The progress of one file among others."""
    return lambda fraction: progress((number + fraction) / of, name)


def _all_failed(failures: list[tuple[str, str]]) -> str:
    """One sentence for many files."""
    (name, first), more = failures[0], len(failures) - 1
    text = first if name in first else f"{name}: {first}"
    return f"{text} (and {more} more could not be read either)" if more else text
