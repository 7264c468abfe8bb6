"""Which files a keypoints run reads, how they are named in its tables, and what its pictures are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from trifocal import io

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Source:
    """One file of a run.

    Attributes:
        path: Where it is; it need not be there.
        name: As the tables name it: no two of a run are the same.
        stem: What its pictures and reports are named after: a relative path without a suffix.
    """

    path: Path
    name: str
    stem: PurePosixPath


def collect_sources(paths: Iterable[Path]) -> list[Source]:
    """The files at paths; of folders, those that may be ultrasound, their subfolders included.

    A file is named by its own name, one in a folder by its path from there; where two would have the same
    name, they are named by their paths as given. A file that is given twice counts once.

    Raises:
        ValueError: If there is no file.
        OSError: If a folder cannot be read.
    """
    short: dict[Path, tuple[str, str]] = {}  # a file's name, and its full one
    for given in paths:
        inside = io.ultrasound_files(given) if given.is_dir() else [given]
        for path in inside:
            name = path.relative_to(given).as_posix() if given.is_dir() else path.name
            short.setdefault(path.resolve(), (name, path.as_posix()))
    if not short:
        msg = "there is no ultrasound among the paths: give images, DICOM files, videos or folders of them"
        raise ValueError(msg)
    counts = Counter(name for name, _ in short.values())
    named = {path: name if counts[name] == 1 else full for path, (name, full) in short.items()}
    stems = Counter(_stem(name) for name in named.values())
    return [
        Source(path, name, _stem(name) if stems[_stem(name)] == 1 else _with_suffix(name))
        for path, name in named.items()
    ]


def scale_of(source: Source, table: dict[str, float]) -> float | None:
    """The size of a file's pixels by a table: by its name, else by its name without folders."""
    return table.get(source.name, table.get(source.path.name))


def _stem(name: str) -> PurePosixPath:
    """A relative path that stays in the folder it is put into, whatever the name."""
    parts = [part for part in PurePath(name).parts if part not in ("..", ".", PurePath(name).anchor)]
    return PurePosixPath(*parts).with_suffix("")


def _with_suffix(name: str) -> PurePosixPath:
    stem = _stem(name)
    return stem.with_name(f"{stem.name}_{PurePath(name).suffix.removeprefix('.')}")
