"""Where DICOM bytes come from: a file, a folder or a zip, which is read in memory and never unpacked."""

from __future__ import annotations

import os
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from trifocal.image import ImageError
from trifocal.io.checks import DEFLATE_RATIO, check_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE_LIMIT = 20_000
"""Most files looked at in a folder or a zip: more is a disk, not a series."""


@dataclass(frozen=True)
class Source:
    """One file that may be DICOM.

    Attributes:
        name: Its name, for messages.
        opener: Opens it for reading.
    """

    name: str
    opener: Callable[[], IO[bytes]]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open it for reading.

        Raises:
            ImageError: If it cannot be read, or a zip's member is damaged or packed in an unknown way.
        """
        try:
            with self.opener() as file:
                yield file
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            msg = f"{self.name} cannot be read ({error}): copy it again"
            raise ImageError(msg) from error


@contextmanager
def dicom_sources(path: Path) -> Iterator[list[Source]]:
    """Yield the files under a path, ordered by name; a zip stays open meanwhile.

    Raises:
        ImageError: If there are none or too many, or the zip is damaged, encrypted or a bomb.
    """
    with ExitStack() as stack:
        if path.is_dir():
            sources = _in_folder(path)
        elif zipfile.is_zipfile(path):
            sources = _in_zip(path, stack.enter_context(zipfile.ZipFile(path)))
        elif path.suffix.lower() == ".zip":
            msg = f"{path.name} is not a zip file or is truncated: copy it again"
            raise ImageError(msg)
        else:
            sources = [Source(path.name, _opener(path))]
        if not sources:
            msg = f"{path.name} is empty: a DICOM series was expected; choose the folder that holds its files"
            raise ImageError(msg)
        yield sources


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _in_folder(path: Path) -> list[Source]:
    files: list[Path] = []
    for folder, _, names in os.walk(path):
        files += [Path(folder, name) for name in names if Path(folder, name).is_file()]
        _check_count(path.name, len(files))
    return [Source(str(file.relative_to(path)), _opener(file)) for file in sorted(files)]


def _in_zip(path: Path, archive: zipfile.ZipFile) -> list[Source]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    _check_count(path.name, len(members))
    if sum(member.compress_size for member in members) > path.stat().st_size:
        msg = f"{path.name} has members that overlap: it is damaged or a zip bomb; pack it again"
        raise ImageError(msg)
    for member in members:
        if member.flag_bits & 1:
            msg = f"{path.name} is encrypted: unpack it and give the folder"
            raise ImageError(msg)
        packed = member.compress_type == zipfile.ZIP_DEFLATED
        if packed and member.file_size > (member.compress_size + 16) * DEFLATE_RATIO:
            msg = f"{path.name} claims too many bytes for {member.filename!r}: it is damaged; pack it again"
            raise ImageError(msg)
        check_memory(f"{path.name} ({PurePosixPath(member.filename).name})", member.file_size)
    ordered = sorted(members, key=lambda member: member.filename)
    return [Source(member.filename, partial(archive.open, member)) for member in ordered]


def _check_count(name: str, count: int) -> None:
    if count > FILE_LIMIT:
        msg = f"{name} holds more than {FILE_LIMIT:,} files: choose the folder of one series"
        raise ImageError(msg)
