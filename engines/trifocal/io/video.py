"""AVI, MP4, MOV and WMV in, by the ffmpeg that imageio-ffmpeg brings.

ffmpeg is a process of its own: what a damaged video does to it stays there. It is told the container's format
and may open local files only, so that a play list under the name of a video leads nowhere.
"""

from __future__ import annotations

import subprocess
import threading
import weakref
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from trifocal.cine import Cine
from trifocal.files import sha256_file
from trifocal.image import ImageError
from trifocal.io.checks import check_memory
from trifocal.io.frames import LazyFrames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS = {".avi": "avi", ".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".wmv": "asf"}
"""ffmpeg's reader for each suffix."""

SECONDS = 300.0
"""For the pass that counts the frames, and for each frame."""

UNKNOWN = 2**32 - 1
"""Length of an AVI that was written to where it could not be put in afterwards."""

MOST_FRAMES = 200_000
MOST_PIXELS = 2**26
_STEP = 32  # frames that are rather decoded in passing than sought


def read_video(path: Path) -> Cine:
    """Read a video as a cine of RGB frames, which are decoded when they are asked for.

    All frames are decoded once, to count them and to have the time of each as it stands in the file.

    Raises:
        ImageError: If no frame can be decoded; one sentence says why.
    """
    times = _list(path)
    ordered = bool((np.diff(times) > 0).all())
    if not len(times):
        msg = f"{path.name} holds no frame that can be decoded: it is damaged or not a video; export it again"
        raise ImageError(msg)
    stream = _Stream(path, times if ordered else None)
    frames = LazyFrames(len(times), stream.load)
    rows, columns = frames[0].shape[:2]
    notes = {"source": path.name, "format": f"video, {path.suffix.lower()}"}
    if _cut_off(path):
        notes["truncated"] = f"{path.name} is cut off: its first {len(times)} frames are used"
    return Cine(
        frames=frames,
        size=(columns, rows),
        name=path.name,
        times_s=times - times[0] if len(times) > 1 and ordered else None,
        notes=notes,
        sha256=sha256_file(path),
    )


def _cut_off(path: Path) -> bool:
    """Whether the file ends before an AVI's outermost chunk, or the boxes of an MP4, say that it does."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            length = int.from_bytes(head[4:], "little")
            return length < UNKNOWN and 8 + length > size + 1  # the last chunk may lack the byte that pads it
        while FORMATS[path.suffix.lower()] == "mov" and place + 8 <= size:
            file.seek(place)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # the length has 64 bits, after the name of the box
                length = int.from_bytes(head[8:], "big")
            if length < 8:  # 0: up to the end, wherever that is
                return False
            place += length
    return place > size


def _command(path: Path, *seek: str) -> list[str]:
    return [
        *(get_ffmpeg_exe(), "-nostdin", "-v", "quiet", "-max_alloc", str(2**30), "-threads", "2"),
        *("-protocol_whitelist", "file,pipe", "-f", FORMATS[path.suffix.lower()]),
        *(*seek, "-i", f"file:{path.absolute()}", "-map", "0:v:0", "-fps_mode", "passthrough"),
    ]


@contextmanager
def _time_limit(process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _list(path: Path) -> NDArray[np.float64]:
    """Seconds at which each frame is shown, by decoding all of them (packets of an AVI need not say it)."""
    command = [*_command(path), "-vf", "scale=16:16:flags=neighbor", "-f", "framecrc", "-"]
    unit, ticks = 1.0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        with _time_limit(process):
            for line in process.stdout:
                if line.startswith(b"#tb 0:"):
                    top, bottom = line.split(b":")[1].split(b"/")
                    unit = int(top) / int(bottom)
                elif not line.startswith(b"#"):
                    ticks.append(int(line.split(b",")[2]))
                if len(ticks) > MOST_FRAMES:
                    process.kill()
                    msg = f"{path.name} has more than {MOST_FRAMES:,} frames: cut it into clips"
                    raise ImageError(msg)
    return np.array(ticks, dtype=np.float64) * unit


class _Stream:
    """An ffmpeg that stands at some frame; the next one costs little, another starts it anew."""

    def __init__(self, path: Path, times: NDArray[np.float64] | None) -> None:
        self._path, self._times = path, times
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0
        self._stop: Callable[[], object] = lambda: None

    def load(self, index: int) -> NDArray[np.uint8]:
        """Decode one frame: (rows, columns, 3)."""
        with self._lock:
            if self._process is None or not 0 <= index - self._next < _STEP:
                self._start(index)
            assert self._process is not None
            assert self._process.stdout is not None
            try:
                with _time_limit(self._process):
                    while self._next <= index:
                        frame = _read_ppm(self._process.stdout, self._path.name)
                        self._next += 1
            except (EOFError, ValueError, OSError) as error:
                self._stop()
                self._process = None
                msg = f"frame {index} of {self._path.name} cannot be decoded: it is damaged; export it again"
                raise ImageError(msg) from error
            return frame

    def _start(self, index: int) -> None:
        self._stop()
        seek: tuple[str, ...] = ()
        skip: tuple[str, ...] = ()
        if index and self._times is not None and FORMATS[self._path.suffix.lower()] == "mov":
            # between two frames: no rounding of the time can lead to the wrong one
            seek = ("-ss", f"{self._times[index - 1 : index + 1].mean():.6f}")
        elif index:  # the packets of the others need not say when they are shown: count from the first
            skip = ("-vf", f"select=gte(n\\,{index})")
        output = (*skip, "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-")
        process = subprocess.Popen(
            [*_command(self._path, *seek), *output], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._process, self._next = process, index
        self._stop = weakref.finalize(self, _end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with process:  # closes the pipe and waits
        pass


def _read_ppm(stream: IO[bytes], name: str) -> NDArray[np.uint8]:
    """One picture of a stream of binary PPM."""
    if stream.readline(8) != b"P6\n":
        msg = "the stream ended"
        raise EOFError(msg)
    columns, rows = (int(n) for n in stream.readline(32).split())
    stream.readline(8)  # the highest value, 255
    if columns * rows > MOST_PIXELS:
        msg = f"{columns} x {rows} pixels are too many"
        raise ValueError(msg)
    check_memory(name, 3 * columns * rows)
    data = stream.read(3 * columns * rows)
    if len(data) < 3 * columns * rows:
        msg = "the stream ended within a frame"
        raise EOFError(msg)
    return np.frombuffer(data, np.uint8).reshape(rows, columns, 3)
