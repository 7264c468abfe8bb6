"""Ultrasound files one after another on one time axis: a file or a folder, as napari sees it. No GUI."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from trifocal import io
from trifocal.cine import grey
from trifocal.image import ImageError
from trifocal.io.kind import is_ultrasound
from trifocal.keypoints.tasks import TASKS
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from trifocal.cine import Cine
    from trifocal.keypoints.tasks import Task

DICOM = (".dcm", ".dicom", ".ima")
PICTURES = tuple(suffix for suffix in io.ULTRASOUND_SUFFIXES if suffix not in DICOM)
"""Suffixes of pictures and films: by them alone, a file is not a volume."""
MOST_OPEN = 8  # clips of a reel at a time: each may hold a file and tens of megabytes


@dataclass(frozen=True, eq=False)
class Clip:
    """One ultrasound file, or a cine in memory.

    Attributes:
        name: Of the file.
        count: How many frames.
        size: (columns, rows).
        colour: Whether its frames are RGB.
        path: Where it is, if it is a file.
        cine: Its frames, if they are in memory.
        task: What it is said to show: by its name, or because it was generated so.
    """

    name: str
    count: int
    size: tuple[int, int]
    colour: bool
    path: Path | None = None
    cine: Cine | None = None
    task: Task | None = None

    @classmethod
    def of(cls, cine: Cine, task: Task | None = None) -> Clip:
        """A cine that is in memory."""
        return cls(cine.name, len(cine), cine.size, cine.frames[0].ndim == 3, cine=cine, task=task)

    @classmethod
    def read(cls, path: Path) -> Clip:
        """A file, which is opened again when it is looked at.

        Raises:
            ImageError: If it cannot be read.
        """
        cine = io.read_cine(path)
        colour = cine.frames[0].ndim == 3
        return cls(path.name, len(cine), cine.size, colour, path=path, task=task_named(path))

    def inside(self, at: ArrayLike) -> NDArray[np.float64]:
        """The point (x, y) of its frames that is nearest to another one; their outer edges are theirs."""
        nearest: NDArray[np.float64] = np.clip(np.asarray(at, float), -0.5, np.array(self.size) - 0.5)
        return nearest

    def open(self) -> Cine:
        """The frames."""
        if self.cine is not None:
            return self.cine
        assert self.path is not None
        return io.read_cine(self.path)


class Reel:
    """Clips one after another: a picture is one step of the time slider, a cine as many as it has frames.

    Only the clips that were looked at last are open, so that a folder of thousands fits in memory. Any
    thread may ask for frames.

    Args:
        clips: In order, one or more.
        name: Of the file or folder.
        problems: Sentences about files that could not be read.
        given: Files and folders that it was opened from.

    Raises:
        ValueError: If there is no clip.
    """

    def __init__(
        self,
        clips: Iterable[Clip],
        name: str = "",
        problems: Iterable[str] = (),
        given: Iterable[Path] = (),
    ) -> None:
        self.clips = tuple(clips)
        self.given = tuple(given)
        self.name = name
        self.problems = tuple(problems)
        if not self.clips:
            msg = f"a reel must have a clip, got none for {name!r}"
            raise ValueError(msg)
        self._starts = [int(n) for n in np.cumsum([0, *(clip.count for clip in self.clips)])]
        columns, rows = np.array([clip.size for clip in self.clips]).max(0)
        self.size = int(columns), int(rows)  # that hold every frame
        self.colour = any(clip.colour for clip in self.clips)
        self._open: OrderedDict[int, Cine] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def key(self) -> tuple[object, ...]:
        """What it is made of: the same for the same files."""
        return tuple(clip.path or id(clip.cine) for clip in self.clips)

    def locate(self, step: int) -> tuple[int, int]:
        """Index of the clip, and of the frame in it, at a step of the slider.

        Raises:
            IndexError: If there is no such step.
        """
        if not 0 <= step < len(self):
            msg = f"the step must be from 0 to {len(self) - 1}, got {step}"
            raise IndexError(msg)
        clip = bisect_right(self._starts, step) - 1
        return clip, step - self._starts[clip]

    def steps(self, clip: int) -> range:
        """The steps of a clip."""
        return range(self._starts[clip], self._starts[clip + 1])

    def clip_at(self, step: int) -> Clip:
        """The clip that is seen at a step."""
        return self.clips[self.locate(step)[0]]

    def cine(self, clip: int) -> Cine:
        """The frames of a clip.

        Raises:
            ImageError: If its file cannot be read any more.
        """
        with self._lock:
            if clip not in self._open:
                self._open[clip] = self.clips[clip].open()
                while len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(clip)
            return self._open[clip]

    def frame(self, step: int) -> NDArray[np.uint8]:
        """(rows, columns) or (rows, columns, 3) as read: what a prediction is made from.

        Raises:
            ImageError: If it cannot be decoded.
        """
        clip, frame = self.locate(step)
        return self.cine(clip).frames[frame]

    def picture(self, step: int) -> NDArray[np.uint8]:
        """The frame as it is shown: on a canvas that is the same for all, black to the right and below.

        A frame that cannot be decoded is black: the slider goes on.
        """
        columns, rows = self.size
        canvas = np.zeros((rows, columns, 3) if self.colour else (rows, columns), np.uint8)
        try:
            frame = self.frame(step)
        except (ImageError, OSError):
            return canvas
        frame = frame if self.colour else grey(frame)
        if self.colour and frame.ndim == 2:
            frame = frame[..., None]
        canvas[: frame.shape[0], : frame.shape[1]] = frame
        return canvas


def open_reel(paths: Iterable[str | Path], progress: Progress = silent) -> Reel:
    """Read files and folders of ultrasound. A bad file among others is left out, and named in `problems`.

    Args:
        paths: Pictures, films, DICOM files; of a folder, those in it and in its
            subfolders, in the order of the numbers in their names.
        progress: Gets the progress.

    Raises:
        ImageError: If none can be read; one sentence says why.
        FileNotFoundError: If a path does not exist.
    """
    given = [Path(path) for path in paths]
    files = [file for path in given for file in files_of(path)]
    name = given[0].name if len(given) == 1 else f"{len(files)} files"
    clips, problems, first = [], [], None
    for i, file in enumerate(files):
        progress(i / len(files), f"reading {file.name}")
        try:
            clips.append(Clip.read(file))
        except (ImageError, OSError) as error:
            first = first or error
            said = " ".join(str(error).split())
            problems.append(said if file.name in said else f"{file.name}: {said}")
    if not clips:
        if first is not None and len(files) == 1:
            raise first
        msg = f"{name} must hold ultrasound pictures or cines, got none that can be read"
        raise ImageError(msg if first is None else f"{msg}: {first}") from first
    return Reel(clips, name, problems, given)


def files_of(path: Path) -> list[Path]:
    """A file itself; of a folder, the pictures, films and ultrasound in it and in its subfolders.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    if not path.exists():
        msg = f"there is no file or folder {path}: check the path"
        raise FileNotFoundError(msg)
    if path.is_file():
        return [path]
    return sorted(filter(has_frames, io.ultrasound_files(path)), key=_natural)


def shows_frames(path: Path) -> bool:
    """Whether a path is ultrasound: a folder by its first DICOM file, or without one by its pictures."""
    if not path.is_dir():
        return path.is_file() and has_frames(path)
    files = io.ultrasound_files(path)
    dicom = next((file for file in files if file.suffix.lower() not in PICTURES), None)
    return bool(files) if dicom is None else is_ultrasound(dicom)


def has_frames(file: Path) -> bool:
    """Whether a file is a picture or a film by its suffix, or DICOM ultrasound."""
    return file.suffix.lower() in PICTURES or is_ultrasound(file)


def task_named(path: Path) -> Task | None:
    """The task that a file's name says, or else its folder's: 010_2HC.png, images/FUGC/7.png."""
    for text in (path.stem, path.parent.name):
        found = [
            task
            for task in TASKS.values()
            if re.search(rf"(?<![a-z]){re.escape(task.id)}(?![a-z])", text, re.IGNORECASE)
        ]
        if len(found) == 1:
            return found[0]
    return None


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame 2 before frame 10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
