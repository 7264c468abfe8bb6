"""A state as a file that knows whether it is whole."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from trifocal.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SEAL = 64  # hexadecimal digits of a sha256, as the comment that a zip archive may end with


def write_state(path: Path, state: Mapping[str, Any], keep: Path | None = None) -> None:
    """Write a state by torch, whole or not at all, and read it back to see that it is there.

    Args:
        path: The file.
        state: What `torch.load` reads without running code: tensors, numbers, text, lists, dictionaries.
        keep: What was in the file before goes here, once the new state is on the disk.

    Raises:
        OSError: If the disk is full, or gives back something else; says how much is needed. What was in the
            file before is in it still, or in `keep`.
    """
    data = _sealed(state)
    try:
        with atomic_file(path) as part:
            part.write_bytes(data)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                _move(path, keep)
        if not is_whole(path):
            raise OSError(errno.EIO, "the disk gives back something else than was written", str(path))
    except OSError as error:
        need = len(data) / 2**20
        msg = (
            f"{error}. {path.name} needs {need:.1f} MiB; the one before it is whole: make room, and the same "
            "command goes on from there"
        )
        again = OSError(msg)
        again.errno = error.errno
        raise again from error


def is_whole(path: Path) -> bool:
    """Whether a file's seal is that of its bytes; False where it has none."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - SEAL
        while left > 0 and (piece := file.read(min(left, 2**20))):
            digest.update(piece)
            left -= len(piece)
        return file.read() == digest.hexdigest().encode()


def read_state(path: Path) -> dict[str, Any]:
    """Read a state on the CPU; runs no code that the file may hold.

    Raises:
        ValueError: If the file is damaged or something else. (A state of a trifocal that did not seal its
            files is read if torch can.)
    """
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        msg = f"{path} must be a state of a run, got something else: delete it or choose another folder"
        raise ValueError(msg) from error
    if not is_whole(path) and _has_seal(path):
        msg = f"{path} must be a state of a run, and is damaged: delete it or choose another folder"
        raise ValueError(msg)
    return state


def _sealed(state: Mapping[str, Any]) -> memoryview:
    """The bytes of torch's zip archive with their sha256 as its comment, which readers pass over."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(-2, os.SEEK_END)  # the length of the comment, 0 so far
    buffer.write(SEAL.to_bytes(2, "little"))
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    return buffer.getbuffer()


def _has_seal(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-SEAL - 2, os.SEEK_END)
        return int.from_bytes(file.read(2), "little") == SEAL


def _move(path: Path, keep: Path) -> None:
    """Give a file a second name, so that at no time it has none; where a disk has no links, move it."""
    link = keep.with_name(f".{keep.name}")
    try:
        link.unlink(missing_ok=True)
        os.link(path, link)
        link.replace(keep)
    except OSError:
        path.replace(keep)
    finally:
        with suppress(OSError):
            link.unlink(missing_ok=True)
