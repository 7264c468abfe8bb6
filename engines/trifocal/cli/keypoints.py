"""`trifocal predict keypoints`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from trifocal.cli.progress import Bar
from trifocal.keypoints.batch import BatchOutcome, BatchPlan, run_batch
from trifocal.keypoints.calibration import Calibration, read_scale_table
from trifocal.keypoints.predictor import CLASSICAL, KeypointsPredictor
from trifocal.keypoints.sources import collect_sources
from trifocal.keypoints.tasks import find_task

if TYPE_CHECKING:
    from trifocal.keypoints.review_queue import ReviewQueue
    from trifocal.keypoints.tasks import Task

FAILED = 2
MOST_LINES = 20  # of failures that are printed; all are in provenance.json
MOST_FIRST = 5  # of frames that are named for a second look; all are in review.csv


@dataclass(kw_only=True)
class PredictKeypoints:
    """Find the points of a biometry task on ultrasound, and measure. Research use only.

    Writes keypoints.csv (file, frame, task, point, x_px, y_px, x_mm, y_mm, score, edited, weights_sha256; one
    row for each point, with empty cells where it is missing; frames count from 0, pixels are those of the
    file), measurements.csv (file, frame, task, measurement, value, unit, reason), review.csv (file, frame,
    task, review, hints, warnings; the frames that most deserve a second look first) and provenance.json; all
    of it once the run is complete, or nothing if it is interrupted.

    Millimetres come from the file where it supports them (DICOM ultrasound regions, PixelSpacing), else from
    --mm-per-px, else there are pixels and the reason.

    A file or frame that cannot be read is reported at the end and does not stop the others; the exit code is
    then 2, as it is when nothing could be done, and 0 if every frame was read.

    Examples:
        trifocal predict keypoints scan.dcm --task PLAX --out result --overlay

        trifocal predict keypoints images/ --task HC --out result --mm-per-px scales.csv --tta

    Attributes:
        paths: Images (PNG, JPEG, TIFF, BMP, GIF), DICOM files, videos (AVI, MP4, MOV, WMV), or folders, which
            are searched with their subfolders.
        task: One of HC, FA, fetal_femur, AOP, FUGC, PLAX, PSAX, A4C, IVC.
        out: Folder for the results; made if it does not exist.
        tta: Also predict the mirrored image, and average: twice the time.
        device: Where to compute.
        overlay: Write overlays/*.png: every frame with its points, and with whatever is burnt into it.
        mm_per_px: Millimetres per pixel where a file does not say: a number, or a CSV with the columns file
            and mm_per_px (HC18's tables are read too).
        weights: A .safetensors file, or the name of a bundled model.
        engine: The network, or for HC the classical ellipse, which needs no weights.
        cross_check: Also compare the network's head with the classical ellipse, and hint where they disagree
            (HC only).
        json: Write predictions.json, in the form of the FU_Biometry challenge.
        sr: Write reports/*.dcm: a DICOM structured report (TID 1500) for each DICOM file. It names the
            patient, as the file does.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    task: str
    out: Path
    tta: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    overlay: bool = False
    mm_per_px: Annotated[str | None, tyro.conf.arg(metavar="V|TABLE.csv")] = None
    weights: str = "keypoints"
    engine: Literal["network", "classical"] = "network"
    cross_check: bool = False
    json: bool = False
    sr: bool = False

    def run(self) -> int:
        """Predict, write, report."""
        task = find_task(self.task)
        if self.engine == CLASSICAL and task.id != "HC":
            msg = f"--engine classical knows the task HC only, got {task.id}: leave it out"
            raise ValueError(msg)
        if self.out.exists() and not self.out.is_dir():
            msg = f"--out must be a folder, got the file {self.out}"
            raise ValueError(msg)
        if self.cross_check and (task.id != "HC" or self.engine == CLASSICAL):
            got = f"--task {task.id}, --engine {self.engine}"
            msg = f"--cross-check compares the network's HC with the classical ellipse, got {got}"
            raise ValueError(msg)
        plan = self._plan(task)
        sources = collect_sources(self.paths)
        checkpoint = CLASSICAL if self.engine == CLASSICAL else self.weights
        predictor = KeypointsPredictor.load(checkpoint, device=self.device)
        outcome = run_batch(
            sources, predictor, plan, self.out, Bar(), weights=_weights(predictor, checkpoint)
        )
        _print(outcome, len(sources), self.out)
        return FAILED if outcome.failures else 0

    def _plan(self, task: Task) -> BatchPlan:
        return BatchPlan(
            task=task,
            tta=self.tta,
            mm_per_px=_scales(self.mm_per_px),
            overlay=self.overlay,
            predictions=self.json,
            reports=self.sr,
            cross_check=self.cross_check,
        )


def _scales(text: str | None) -> float | dict[str, float] | None:
    """The option --mm-per-px: a number, or else a table."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        path = Path(text)
        if path.is_file():
            return read_scale_table(path)
        msg = f"--mm-per-px must be a number or a CSV file, got {text!r}"
        raise ValueError(msg) from None
    Calibration.from_mm_per_px(value)  # raises where it is no size
    return value


def _weights(predictor: KeypointsPredictor, checkpoint: str) -> dict[str, Any] | None:
    learned = predictor.learned
    return None if learned is None else {"name": Path(checkpoint).name, "sha256": learned.sha256}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print(outcome: BatchOutcome, files: int, out: Path) -> None:
    assert outcome.last is not None
    lines = []
    if outcome.frames == files == 1:
        for m in outcome.last.measurements:
            value = "-" if m.value is None else f"{m.value:.2f} {m.unit}"
            lines.append(f"{m.name} {value}{f' ({m.reason})' if m.reason else ''}")
    found = f"{_count(outcome.frames, 'frame')} of {_count(outcome.files, 'file')}"
    lines.append(f"{found}, {outcome.engine} on {outcome.device}; written to {out}")
    sys.stdout.write("\n".join(lines) + "\n")
    for warning, count in outcome.warnings.items():
        times = f" ({count} times)" if count > 1 else ""
        sys.stderr.write(f"warning: {warning}{times}\n")
    _print_first(outcome.queue)
    for name, why in outcome.failures[:MOST_LINES]:
        sys.stderr.write(f"failed: {why if name in why else f'{name}: {why}'}\n")
    if len(outcome.failures) > MOST_LINES:
        sys.stderr.write(f"failed: {len(outcome.failures) - MOST_LINES} more, see provenance.json\n")


def _print_first(queue: ReviewQueue) -> None:
    """Name the frames that there is something to say about, the most doubtful first."""
    hinted = [item for item in queue.items if item.hints]
    for item in hinted[:MOST_FIRST]:
        why = "; ".join(item.hints)
        sys.stderr.write(f"look at: {item.file}, frame {item.frame} (review {item.review:.2f}): {why}\n")
    if len(hinted) > MOST_FIRST:
        sys.stderr.write(f"look at: {len(hinted) - MOST_FIRST} more, see review.csv\n")
