"""Compressed DICOM pixels, decoded in a child process that may take only so much time and memory.

The codecs are C libraries that parse untrusted bytes: one that hangs, crashes or eats the memory takes the
child with it and not the program. The child gets DICOM files over its stdin, each after its length in 8
bytes, and answers each with one line of JSON and the raw pixels: nothing that it returns is ever executed (no
pickle).
This file is also the child's program and therefore imports only numpy and pydicom.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

SECONDS_PER_FILE = 60.0
MEMORY_BYTES = 4 * 2**30
COMMAND = [sys.executable, "-P", __file__]

_TYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4")


class DecodeError(Exception):
    """The child refused a file, died, or was stopped; the message is the reason."""


class RefusedError(DecodeError):
    """The child is alive and ready for the next file, but could not decode this one."""


class Decoder:
    """A child that decodes one file after the other; started at the first, ended with the context."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            with suppress(BrokenPipeError), self._child:  # closes the pipes and waits
                pass
        if self._stderr is not None:
            self._stderr.close()

    def decode(self, data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        """Decode the pixels of one DICOM file.

        Args:
            data: The whole file.
            shape: (frames, rows, columns), or (frames, rows, columns, 3) of colour, that must come out.

        Returns:
            Of that shape: stored integers; colour as RGB.

        Raises:
            DecodeError: If the file cannot be decoded within the limits. Unless it is a RefusedError, the
                child is dead or out of step, and a new `Decoder` is needed.
        """
        if self._child is None:
            self._start()
        assert self._child is not None
        late = threading.Event()

        def stop(child: subprocess.Popen[bytes] = self._child) -> None:
            late.set()
            child.kill()

        timer = threading.Timer(SECONDS_PER_FILE, stop)
        timer.start()
        try:
            return self._exchange(data, shape)
        except (OSError, ValueError, EOFError) as error:
            if late.is_set():
                reason = f"decoding took more than {SECONDS_PER_FILE:g} s and was stopped"
            else:
                reason = f"the decoder died: {self._last_words() or error}"
            raise DecodeError(reason) from error
        finally:
            timer.cancel()

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self._child = subprocess.Popen(
            [*COMMAND, str(MEMORY_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
        )

    def _exchange(self, data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(struct.pack("<Q", len(data)))
        self._child.stdin.write(data)
        self._child.stdin.flush()
        answer = json.loads(
            _exactly(self._child.stdout, struct.unpack("<I", _exactly(self._child.stdout, 4))[0])
        )
        if "error" in answer:
            raise RefusedError(answer["error"])
        if tuple(answer["shape"]) != shape or answer["dtype"] not in _TYPES:
            got = f"{answer['dtype']} {answer['shape']}"
            msg = f"decoding gave {got} where integers {list(shape)} were expected"
            raise DecodeError(msg)
        dtype = np.dtype(answer["dtype"])
        return np.frombuffer(_exactly(self._child.stdout, math.prod(shape) * dtype.itemsize), dtype).reshape(
            shape
        )

    def _last_words(self) -> str:
        assert self._stderr is not None
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        msg = "its answer ended early"
        raise EOFError(msg)
    return data


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows: there the time limit stands alone
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard)
    )


def pixels(dataset: Dataset) -> NDArray[Any]:
    """Decode a data set here: (frames, rows, columns) stored integers or (frames, rows, columns, 3) RGB."""
    from pydicom.pixels.utils import pixel_array

    colour = dataset.get("SamplesPerPixel", 1) > 1
    array = pixel_array(dataset, raw=not colour)
    if array.ndim == 2 + colour:
        array = array[None]  # (rows, columns[, 3]) -> (1, rows, columns[, 3])
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def main() -> None:
    """Answer until stdin ends."""
    import pydicom.pixels  # before the limit: it is for the decoding

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    _limit_memory(int(sys.argv[1]))
    while head := sys.stdin.buffer.read(8):
        try:
            file = io.BytesIO(sys.stdin.buffer.read(struct.unpack("<Q", head)[0]))
            array = pixels(pydicom.dcmread(file))
            answer: dict[str, Any] = {"dtype": array.dtype.str, "shape": array.shape}
        except BaseException as error:  # noqa: BLE001 - a codec in Rust raises panics that are no Exception
            array, answer = np.empty(0), {"error": f"{type(error).__name__} {error}".strip()[:500]}
        line = json.dumps(answer).encode()
        answers.write(struct.pack("<I", len(line)) + line)
        answers.write(array.data)
        answers.flush()


if __name__ == "__main__":
    main()
