"""Writing without leaving halves behind: a file or a folder appears whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a disk says when it cannot take more; numpy raises an OSError without a number for a short write.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, None}


def sha256_file(path: Path) -> str:
    """Hash a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a hidden path in the same folder; move what was written there to `path` once it is on the disk.

    The hidden name keeps the suffix, for writers that choose their format by it.

    Raises:
        OSError: If the disk is full or the folder cannot be written, in one sentence; `path` is as it was.
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield part
        _flush(part)
        part.replace(path)
    except OSError as error:
        raise _one_sentence(error, path) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def output_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder to write into; move its files into `path` only if the block succeeds.

    The temporary folder lies beside `path`, or inside it where `path` exists (so that the move never crosses
    to another disk). An existing folder keeps its other files; files of the same name are replaced.

    Raises:
        OSError: If the disk is full or the folder cannot be made, in one sentence; nothing is left behind.
    """
    path = Path(path).absolute()
    if path.exists() and not path.is_dir():
        msg = f"the output {path} is a file where a folder was expected: choose another folder"
        raise NotADirectoryError(msg)
    home = path if path.exists() else path.parent
    part = home / f".{uuid.uuid4().hex[:8]}.{path.name}"
    made: list[Path] = []
    try:
        made = _make(part)
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _flush(file)
        _move(part, path)
        made = []
    except OSError as error:
        raise _one_sentence(error, path) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in reversed(made):
            _remove_if_empty(folder)


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents; return those that were not there, outermost first."""
    missing = [p for p in [*reversed(folder.parents), folder] if not p.exists()]
    folder.mkdir(parents=True)
    return missing


def _move(part: Path, path: Path) -> None:
    if not path.exists():
        part.replace(path)
        return
    for file in sorted(part.rglob("*")):
        target = path / file.relative_to(part)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            file.replace(target)


def _flush(path: Path) -> None:
    """Wait until the disk has the file: some report that they are full only here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _one_sentence(error: OSError, path: Path) -> OSError:
    """Name the output and the reason; an error about something else (a missing input) passes unchanged."""
    about_output = isinstance(error, PermissionError | NotADirectoryError | FileNotFoundError) and (
        error.filename is None or path.name in str(error.filename)
    )
    if error.errno not in _DISK and not about_output:
        return error
    reason = os.strerror(error.errno) if error.errno else str(error)
    out = type(error)(
        f"cannot write {path} ({reason}): nothing was left behind; free some space or choose another folder"
    )
    out.errno = error.errno
    return out
