"""Points and measurements of a session as files, in a thread of their own; and as a command. No Qt."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.image import ImageError
from trifocal.keypoints.frame_result import FrameResult
from trifocal.keypoints.measurements import measure
from trifocal.keypoints.sources import Source, collect_sources
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from napari_trifocal.keypoints_marks import Marks
    from napari_trifocal.keypoints_predicting import Predicting
    from napari_trifocal.keypoints_scales import Scales
    from napari_trifocal.keypoints_workbook import Workbook
    from napari_trifocal.reel import Clip, Reel
    from trifocal.keypoints.output import ResultWriter
    from trifocal.keypoints.tasks import Task


@dataclass(frozen=True)
class ExportPlan:
    """What is written beside keypoints.csv, measurements.csv and provenance.json.

    Attributes:
        predictions: predictions.json, in the form of the FU_Biometry challenge.
        overlays: overlays/*.png, with whatever is burnt into the frames.
        reports: reports/*.dcm for DICOM files, which name the patient as those do.
    """

    predictions: bool = False
    overlays: bool = False
    reports: bool = False


@dataclass(eq=False)
class Export:
    """What a workbook holds at one moment, to be written by a thread.

    Of every file that has a point, all frames are written: those without points have rows with empty cells.

    Attributes:
        reel: The frames.
        scales: Size of the pixels.
        sheets: Points by task and step.
        plan: What to write.
        problems: Sentences about what could not be written, once it is done.
    """

    reel: Reel
    scales: Scales
    sheets: list[tuple[Task, dict[int, Marks]]]
    plan: ExportPlan
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, book: Workbook, plan: ExportPlan) -> Export:
        """The present state of a workbook.

        Raises:
            ValueError: If it holds no point.
        """
        sheets = [(task, {s: book.sheet(task)[s] for s in book.sheet(task).steps}) for task in book.tasks]
        if not sheets:
            msg = "there is no point to export: predict or place some first"
            raise ValueError(msg)
        return cls(book.reel, book.scales.copy(), sheets, plan)

    def write(self, folder: Path, progress: Progress = silent) -> Path:
        """Write everything into a folder: all of it, or nothing.

        Raises:
            OSError: If the folder cannot be written.
        """
        from trifocal.files import output_folder
        from trifocal.keypoints.output import ResultWriter

        clips = sorted({self.reel.locate(step)[0] for _, marks in self.sheets for step in marks})
        sources = self._sources()
        with output_folder(folder) as part:
            with ResultWriter(part, predictions=self.plan.predictions) as writer:
                for number, clip in enumerate(clips):
                    progress(number / len(clips), f"writing {self.reel.clips[clip].name}")
                    for task, marks in self.sheets:
                        self._write_clip(clip, task, marks, sources[clip], writer, part)
            self._write_review(part, sources)
            self._write_record(part, clips)
        return folder

    def _write_clip(
        self, clip: int, task: Task, marks: dict[int, Marks], source: Source, writer: ResultWriter, part: Path
    ) -> None:
        steps = self.reel.steps(clip)
        if not any(step in marks for step in steps):
            return
        found = self.reel.clips[clip]
        results = [self._result(step, task, marks.get(step), source.name, found) for step in steps]
        for step, result in zip(steps, results, strict=True):
            writer.add(result, of_cine=found.count > 1)
            if self.plan.overlays and np.isfinite(result.points).any():
                self._write_overlay(step, result, source, part, several=found.count > 1)
        self._add_cine(clip, task, results, source, writer)
        if self.plan.reports and found.path is not None and self.reel.cine(clip).modality:
            self._write_report([r for r in results if np.isfinite(r.points).any()], source, part)

    def _result(self, step: int, task: Task, marks: Marks | None, name: str, clip: Clip) -> FrameResult:
        frame = self.reel.locate(step)[1]
        if marks is None:
            nowhere = np.full((task.count, 2), np.nan)
            unmeasured = measure(task, nowhere, None, "nothing was predicted or placed")
            nothing = np.zeros(task.count, bool)
            return FrameResult(
                name, frame, clip.size, task, nowhere, nowhere[:, 0], nothing, None, unmeasured
            )
        order = in_order(task, marks.points)
        scale, reason = self.scales.at(step, marks.points)
        prediction = marks.prediction
        fitted = None if prediction is None or marks.edited.any() else prediction.ellipse
        return FrameResult(
            file=name,
            frame=frame,
            size=clip.size,
            task=task,
            points=marks.points[order],
            scores=marks.scores[order],
            edited=marks.edited[order],
            scale=scale,
            measurements=measure(task, marks.points, scale, reason, fitted),
            ellipse=fitted,
            engine="" if prediction is None else prediction.engine,
            weights_sha256="" if prediction is None else prediction.weights_sha256,
        )

    def _add_cine(
        self, clip: int, task: Task, results: list[FrameResult], source: Source, writer: ResultWriter
    ) -> None:
        from trifocal.keypoints.batch import FOLLOWED
        from trifocal.keypoints.cine_measurements import measure_cine

        if len(results) < 2 or task.id not in FOLLOWED:
            return
        points = np.stack([result.points for result in results])
        scale, reason = self.scales.at(self.reel.steps(clip)[0], points)
        followed = measure_cine(task, points, scale, reason)
        if followed is not None:
            writer.add_measurements(source.name, None, task, followed.measurements)

    def _write_overlay(
        self, step: int, result: FrameResult, source: Source, part: Path, *, several: bool
    ) -> None:
        from PIL import Image

        from trifocal.keypoints.overlay import draw_overlay

        task = f"_{result.task.id}" if len(self.sheets) > 1 else ""
        number = f"_{result.frame:04}" if several else ""
        path = part / "overlays" / source.stem.parent / f"{source.stem.name}{task}{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            frame = self.reel.frame(step)
        except ImageError as error:  # points that were placed over a frame that cannot be decoded
            self.problems.append(f"{source.name}: no picture of frame {result.frame}: {error}")
        else:
            Image.fromarray(draw_overlay(frame, result)).save(path)

    def _write_report(self, results: list[FrameResult], source: Source, part: Path) -> None:
        from trifocal.keypoints.report_sr import write_report

        task = f"_{results[0].task.id}" if len(self.sheets) > 1 else ""
        path = part / "reports" / source.stem.parent / f"{source.stem.name}{task}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_report(results, source.path, path)
        except ValueError as error:  # the image has no identifiers, or there are too many frames
            self.problems.append(f"{source.name}: no report: {error}")

    def _write_review(self, part: Path, sources: list[Source]) -> None:
        from trifocal.keypoints.review_queue import ReviewItem, ReviewQueue

        queue = ReviewQueue()
        for _, marks in self.sheets:
            for step in sorted(step for step in marks if marks[step].prediction):
                clip, frame = self.reel.locate(step)
                queue.add(ReviewItem.of(sources[clip].name, frame, marks[step].prediction))
        queue.write(part)

    def _write_record(self, part: Path, clips: list[int]) -> None:
        from trifocal.provenance import record, write_record

        predictions = [m.prediction for _, marks in self.sheets for m in marks.values() if m.prediction]
        hashes = sorted({p.weights_sha256 for p in predictions if p.weights_sha256})
        content = record(
            "keypoints/napari",
            inputs={},
            parameters={"tasks": [task.id for task, _ in self.sheets], "plan": self.plan},
            device=predictions[-1].device if predictions else "cpu",
            weights={"sha256": hashes} if hashes else None,
            warnings=[*dict.fromkeys(w for p in predictions for w in p.warnings), *self.problems],
            outputs=sorted(p for p in part.iterdir() if p.is_file()),
        )
        write_record(part / "provenance.json", content | {"inputs": [self._input(clip) for clip in clips]})

    def _input(self, clip: int) -> dict[str, Any]:
        cine, found = self.reel.cine(clip), self.reel.clips[clip]
        steps = [step for _, marks in self.sheets for step in marks if step in self.reel.steps(clip)]
        return {
            "name": found.name,
            "sha256": cine.sha256,
            "frames": found.count,
            "frames_with_points": len(set(steps)),
            "size": found.size,
            "scale": self.scales.of(clip).describe(),
            "notes": cine.notes,
        }

    def _sources(self) -> list[Source]:
        """How each clip is named, as the command line names it."""
        files = _files(self.reel)
        by_path = {s.path.resolve(): s for s in collect_sources(self.reel.given or files)} if files else {}
        return [
            by_path.get(clip.path.resolve(), _plain(clip)) if clip.path is not None else _plain(clip)
            for clip in self.reel.clips
        ]


def in_order(task: Task, points: np.ndarray[Any, Any]) -> list[int]:
    """Indices that put the ends of every pair into their order: a dragged point may have passed the other."""
    order, canonical = list(range(task.count)), task.canonical(points)
    for a, b in (pair.ends for pair in task.pairs):
        if not np.array_equal(canonical[a], points[a], equal_nan=True):
            order[a], order[b] = b, a
    return order


def command_line(book: Workbook, task: Task, predicting: Predicting, plan: ExportPlan) -> str:
    """The command that predicts the same files in the same way.

    Raises:
        ValueError: If the frames are of no file.
    """
    reel = book.reel
    paths = [
        Path(p).absolute() for p in reel.given or [clip.path for clip in reel.clips if clip.path is not None]
    ]
    if not paths:
        msg = f"{reel.name} is not a file: save it first, then there is a command for it"
        raise ValueError(msg)
    words = ["trifocal", "predict", "keypoints", *map(str, paths), "--task", task.id, "--out", "result"]
    words += ["--engine", predicting.engine, "--device", predicting.device]
    words += ["--tta"] if predicting.tta else []
    said = book.scales.by_user
    words += [] if said is None else ["--mm-per-px", str(said)]
    for wanted, word in ((plan.overlays, "--overlay"), (plan.predictions, "--json"), (plan.reports, "--sr")):
        words += [word] if wanted else []
    return shlex.join(words)


def _files(reel: Reel) -> list[Path]:
    return [clip.path for clip in reel.clips if clip.path is not None]


def _plain(clip: Clip) -> Source:
    return Source(Path(clip.name), clip.name, PurePosixPath(clip.name.replace("/", "_")))
