"""The model behind the keypoints widget: frames, task, points, predictions. No Qt, no napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_trifocal.keypoints_engines import engines, load_engine
from napari_trifocal.keypoints_modes import Modes
from napari_trifocal.keypoints_predicting import Predicting
from napari_trifocal.keypoints_workbook import Workbook
from napari_trifocal.message import Message
from napari_trifocal.reel import Reel, open_reel
from napari_trifocal.worker import JobQueue, Post
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import ArrayLike

    from napari_trifocal.keypoints_engines import Load
    from napari_trifocal.keypoints_marks import Marks
    from napari_trifocal.keypoints_sheet import Sheet
    from napari_trifocal.reel import Clip
    from trifocal.keypoints.measurements import Measurement
    from trifocal.keypoints.tasks import Task

NOTHING_OPEN = "open an image or a cine first"


class KeypointsSession:
    """What the user works on. Every method is called on the interface thread and returns at once.

    Args:
        post: Runs a function on the interface thread, later.
        device: "auto", "cpu" or "cuda".
        load: Makes an engine from the name of its checkpoint and a device.

    Signals:
        opened: Other frames.
        task_changed: Another task.
        step_changed: Another frame is looked at.
        marks_changed: The points of the frame that is looked at are others.
        scale_changed: The size of a pixel is known, or another.
        said: A `Message` for the user.
        progress: Fraction and what is being done; fraction 1 when nothing runs any more.

    Attributes:
        book: Frames, points and scales; None before anything is open.
        step: Which frame is looked at.
        task: Whose points.
        modes: What a click does.
        predicting: The engines at work.
    """

    opened = Signal()
    task_changed = Signal()
    step_changed = Signal()
    marks_changed = Signal()
    scale_changed = Signal()
    said = Signal(Message)
    progress = Signal(float, str)

    def __init__(self, post: Post, device: str = "auto", load: Load = load_engine) -> None:
        self.book: Workbook | None = None
        self.step = 0
        self.task: Task = TASKS["HC"]
        self.modes = Modes()
        self.predicting = Predicting(self, post, device, engines(load))
        self._books: dict[tuple[object, ...], Workbook] = {}
        self._reviewed: int | None = None  # the frame that was looked at again last
        self._opening = JobQueue(post, "trifocal-open")
        self._saving = JobQueue(post, "trifocal-export")

    @property
    def reel(self) -> Reel | None:
        """The frames that are open."""
        return None if self.book is None else self.book.reel

    @property
    def clip(self) -> Clip | None:
        """The file that is looked at."""
        return None if self.reel is None else self.reel.clip_at(self.step)

    @property
    def sheet(self) -> Sheet | None:
        """The points of all frames for the task."""
        return None if self.book is None else self.book.sheet(self.task)

    @property
    def marks(self) -> Marks | None:
        """The points of the frame that is looked at."""
        return None if self.sheet is None else self.sheet[self.step]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What they measure."""
        return () if self.book is None else self.book.measurements(self.task, self.step)

    @property
    def next_to_place(self) -> int | None:
        """Which point a click places in the mode "place"; None if none is missing."""
        return None if self.marks is None else self.modes.next_to_place(self.marks.missing)

    @property
    def busy(self) -> bool:
        """Whether anything is being read, computed or written."""
        return self._opening.busy or self.predicting.busy or self._saving.busy

    def open(self, paths: Iterable[str | Path]) -> None:
        """Read files or folders; until then, and if it fails, everything stays as it is."""
        wanted = list(paths)
        self._opening.submit(
            lambda report: open_reel(wanted, report),
            self.show,
            self.fail,
            self.progress.emit,
            replace_running=True,
        )

    def show(self, reel: Reel) -> None:
        """Work on these frames; points of frames that were open before are kept."""
        self.predicting.leave()
        self.progress.emit(1.0, "")
        self.book = self._books.setdefault(reel.key, Workbook(reel))
        self.step = 0
        self.modes.restart()
        task = reel.clips[0].task
        found = self.book.tasks
        self.task = found[0] if found else task or self.task
        self.opened.emit()
        count, frames = len(reel.clips), len(reel)
        what = f"{count} files, {frames} frames" if count > 1 else f"{frames} frame{'s' * (frames > 1)}"
        told = [f"{reel.name}: {what}", *([f"task {task.id}"] if task and not found else [])]
        self.say("; ".join([*told, *reel.problems]), is_error=bool(reel.problems))

    def set_task(self, task_id: str) -> None:
        """Choose what is looked for; the points of the other tasks are kept."""
        if task_id != self.task.id:
            self.predicting.leave()
            self.task = TASKS[task_id]
            self.modes.select(None)
            self.task_changed.emit()

    def set_step(self, step: int) -> None:
        """Look at another frame."""
        if self.reel is not None and step != self.step and 0 <= step < len(self.reel):
            self.step = step
            self.step_changed.emit()

    def go_to_clip(self, by: int) -> None:
        """Look at the first frame of a file before or after this one."""
        if self.reel is not None:
            clip = int(np.clip(self.reel.locate(self.step)[0] + by, 0, len(self.reel.clips) - 1))
            self.set_step(self.reel.steps(clip)[0])

    def begin_drag(self, index: int) -> None:
        """The mouse takes hold of a point: what follows counts as one change."""
        if self.sheet is not None:
            self.modes.select(index)
            self.sheet.hold()

    def drag_to(self, index: int, at: ArrayLike) -> None:
        """Put a point (x, y) somewhere; outside the frame it stays at its edge."""
        if self.marks is not None and self.clip is not None:
            self._change(self.marks.put(index, self.clip.inside(at)))

    def end_drag(self) -> None:
        """The mouse lets go."""
        if self.sheet is not None:
            self.sheet.release()
            self.marks_changed.emit()

    def place(self, at: ArrayLike) -> None:
        """Put the next missing point (x, y) somewhere."""
        index = self.next_to_place
        if index is None or self.marks is None or self.clip is None:
            self.say("all points are placed: drag them, or take one away first")
            return
        self._change(self.marks.put(index, self.clip.inside(at)))
        self.modes.select(self.next_to_place)

    def delete(self, index: int | None = None) -> None:
        """Take a point away: the chosen one by default. It is missing (NaN) in every table."""
        index = self.modes.selected if index is None else index
        if index is not None and self.marks is not None and index not in self.marks.missing:
            self._change(self.marks.put(index, np.nan))

    def reset(self) -> None:
        """Drop the edits of this frame: what was predicted holds again."""
        if self.marks is not None and self.marks.edited.any():
            self._change(self.marks.reset())

    def carry(self, count: int | None = None) -> None:
        """Carry the edits of this frame to the next ones of its file: so many, or all."""
        if self.reel is None or self.sheet is None or not self.sheet[self.step].edited.any():
            self.say("there is no edit in this frame to carry on", is_error=True)
            return
        steps = [s for s in self.reel.steps(self.reel.locate(self.step)[0]) if s > self.step][:count]
        if not steps:
            self.say("this is the last frame of its file: there is none to carry the edits to", is_error=True)
            return
        sheet, marks = self.sheet, self.sheet[self.step]
        sheet.change({step: marks.carried_to(sheet[step]) for step in steps})
        self.marks_changed.emit()
        self.say(f"edits carried to {len(steps)} frame{'s' * (len(steps) > 1)}")

    def undo(self) -> None:
        """Take back the newest edit, and look at its frame."""
        self._restored([] if self.sheet is None else self.sheet.undo())

    def redo(self) -> None:
        """Do again what was taken back."""
        self._restored([] if self.sheet is None else self.sheet.redo())

    def set_known_distance(self, mm: float, *, everywhere: bool = False) -> bool:
        """Say how long the line of known length is, for this file or for all."""
        if self.book is None or len(self.modes.ruler) != 2:
            self.say("mark the two ends of a known distance first", is_error=True)
            return False
        try:
            self.book.scales.set_known_distance(self.step, *self.modes.ruler, mm, everywhere=everywhere)
        except ValueError as error:
            return self.refuse(error)
        self.scale_changed.emit()
        return True

    def set_scale_table(self, path: Path) -> bool:
        """Take the size of the pixels of each file from a table."""
        if self.book is None:
            self.say(NOTHING_OPEN, is_error=True)
            return False
        try:
            count = self.book.scales.set_table(path)
        except (ValueError, OSError) as error:
            return self.refuse(error)
        self.say(f"{path.name}: the scale of {count} of {len(self.book.reel.clips)} files")
        self.scale_changed.emit()
        return True

    def drop_scale(self) -> None:
        """Forget what the user said about the size of a pixel."""
        if self.book is not None:
            self.book.scales.clear()
            self.modes.drop_ruler()
            self.scale_changed.emit()

    def look_again(self, by: int) -> None:
        """Look at the next (or previous) frame of those that most deserve a second look."""
        queue = [] if self.sheet is None else self.sheet.review_queue
        if not queue:
            self.say("no frame has been predicted yet: there is none to look at again", is_error=True)
            return
        # From a frame that was not come to this way, it begins with the most doubtful.
        at = queue.index(self.step) + by if self.step == self._reviewed and self.step in queue else 0
        self._reviewed = queue[int(np.clip(at, 0, len(queue) - 1))]
        self.set_step(self._reviewed)

    def run_saving(self, work: Callable[..., Any], done: Callable[[Any], None]) -> None:
        """Run something that writes, away from the interface thread."""
        self._saving.submit(work, done, self.fail, self.progress.emit)

    def cancel(self) -> None:
        """Stop whatever is being read, computed or written."""
        for queue in (self._opening, self._saving):
            queue.cancel()
        self.predicting.cancel()

    def close(self) -> None:
        """Stop everything and join the threads."""
        for queue in (self._opening, self.predicting, self._saving):
            queue.close()

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Tell the user something."""
        self.said.emit(Message(text, is_error))

    def refuse(self, error: BaseException) -> bool:
        """Tell the user why something cannot be done."""
        self.say(" ".join(str(error).split()) or type(error).__name__, is_error=True)
        return False

    def fail(self, error: BaseException) -> None:
        """A thread could not do what it was to do."""
        self.progress.emit(1.0, "")
        if isinstance(error, Cancelled):
            self.say("cancelled")
        else:
            self.refuse(error)

    def _change(self, marks: Marks) -> None:
        assert self.sheet is not None
        self.sheet.change({self.step: marks})
        self.marks_changed.emit()

    def _restored(self, steps: list[int]) -> None:
        if steps and self.step not in steps:
            self.set_step(steps[0])
        if steps:
            self.marks_changed.emit()
