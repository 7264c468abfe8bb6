"""One run in a folder at a time."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".lock"
_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of a run. The system lets go when the process ends, however it ends.

    Raises:
        ValueError: If another process holds it.
        OSError: If the folder cannot be made or written.
    """
    file = _taken(folder)
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may be gone, or read-only by now
            (folder / LOCK).unlink()
        file.close()


def _taken(folder: Path) -> IO[str]:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            msg = f"cannot write into {folder} ({error.strerror}): choose another folder for the run"
            again = type(error)(msg)
            again.errno = error.errno
            raise again from error
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _TAKEN:
                _refuse(file, folder)
            log.warning("%s is on a disk without locks: a second run in it would not be noticed", folder)
        with suppress(FileNotFoundError):  # or the run before has just taken its file away
            if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
                break
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _refuse(file: IO[str], folder: Path) -> None:
    with file:
        file.seek(0)
        holder = file.read() or "another process"
    msg = f"a run in {folder} is going on ({holder}): wait for it, end it, or choose another folder"
    raise ValueError(msg)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(2**30)  # beyond what it holds, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
