"""A folder of samples as published: `data/<subject>/exp_<k>.npz` and `splits/{train,val,test}.txt`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from trifocal.focus.tfuscapes.arrays import read_arrays
from trifocal.focus.tfuscapes.sample import Sample, SampleFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
RECORD = "data_set.json"
PUBLISHED_SPACING_MM = 0.5  # not in the files: the paper's
NAME = re.compile(r"(?!\.)[^/\\:\s]+/exp_\d+\.npz")


@dataclass(frozen=True)
class DataSet:
    """Samples of one split, read when they are asked for.

    Attributes:
        folder: With `data` and `splits` in it.
        names: Such as "A00028185/exp_0.npz", as the split lists them.
        spacing_mm: Edge of a voxel.
    """

    folder: Path
    names: tuple[str, ...]
    spacing_mm: float

    @classmethod
    def open(cls, folder: Path, split: Split | None = None, spacing_mm: float | None = None) -> DataSet:
        """Find the samples of a split, and look whether their files are there.

        Args:
            folder: Of the data set.
            split: None for the samples of all splits.
            spacing_mm: If None, what our own data sets say of themselves, else the published 0.5 mm.

        Raises:
            FileNotFoundError: If there is no such folder, split or sample.
            ValueError: If a split is empty or names something that is no sample, a sample twice or a subject
                of another split, or the spacing is not that of the data set.
        """
        if split is not None and split not in SPLITS:
            msg = f"split must be one of {list(SPLITS)} or None, got {split!r}"
            raise ValueError(msg)
        if not (folder / "data").is_dir():
            msg = (
                f"{folder} must hold the folders data and splits of a TFUScapes data set: got no data folder"
            )
            raise FileNotFoundError(msg)
        lists = read_splits(folder)
        wanted = SPLITS if split is None else (split,)
        if not lists.keys() & set(wanted):
            msg = f"there is no {folder / 'splits' / f'{wanted[0]}.txt'}: the data set has {sorted(lists)}"
            raise FileNotFoundError(msg)
        names = tuple(name for s in wanted for name in lists.get(s, ()))
        if not names:
            msg = f"{folder / 'splits' / f'{wanted[0]}.txt'} is empty: it must list samples, one a line"
            raise ValueError(msg)
        _check_present(folder, names)
        return cls(folder, names, _spacing(folder, spacing_mm))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The heads, in the order of their first sample."""
        return tuple(dict.fromkeys(name.split("/")[0] for name in self.names))

    def of_subject(self, subject: str) -> tuple[str, ...]:
        """The names of one head's samples."""
        return tuple(name for name in self.names if name.split("/")[0] == subject)

    def path(self, name: str) -> Path:
        """The file of a sample.

        Raises:
            ValueError: If the data set has no such sample.
        """
        if name not in self.names:
            msg = f"there is no sample {name!r} in this split of {self.folder}: it has {self.names[0]!r}, ..."
            raise ValueError(msg)
        return self.folder / "data" / name

    def load(self, name: str) -> Sample:
        """Read a sample; its volumes stay on the disk until they are looked at.

        Raises:
            ValueError: If there is no such sample, or its file is damaged.
        """
        path = self.path(name)
        arrays = read_arrays(path)
        side = path.with_suffix(".json")
        facts = SampleFacts.load(side) if side.exists() else None
        return Sample(name, arrays["ct"], arrays["pmap"], arrays["tr_coords"], self.spacing_mm, facts)

    def load_has(self, name: str) -> NDArray[np.float32]:
        """Amplitude (n, n, n) float32 in Pa of the hybrid angular spectrum on the sample's cube.

        Raises:
            FileNotFoundError: If the data set was written without.
            ValueError: If there is no such sample, or its file is damaged.
        """
        path = has_path(self.path(name))
        if not path.exists():
            msg = f"there is no {path}: export the data set with --has"
            raise FileNotFoundError(msg)
        try:
            field: NDArray[np.float32] = np.load(path, mmap_mode="c", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            msg = f"{path} is damaged ({error}): delete it and export again with --has"
            raise ValueError(msg) from error
        if field.ndim != 3 or field.dtype != np.float32 or not np.isfinite(field).all():
            msg = (
                f"{path} must hold finite float32 (n, n, n), got {field.dtype} {field.shape}: export it again"
            )
            raise ValueError(msg)
        return field

    def load_region(self, name: str) -> NDArray[np.bool_]:
        """Where the focus is looked for (n, n, n): beyond the near skull and inside the simulated box.

        The highest pressure of a whole field is often not the focus, but in the bone or before it.

        Raises:
            FileNotFoundError: If the data set is a published one, which has no such region.
            ValueError: If there is no such sample, or its file is damaged.
        """
        path, n = region_path(self.path(name)), self._size(name)
        if not path.exists():
            msg = f"there is no {path}: only data sets of `trifocal export tfuscapes` have a region"
            raise FileNotFoundError(msg)
        try:
            packed = np.load(path, allow_pickle=False)
            bits = np.unpackbits(packed, count=n**3).reshape(n, n, n)
        except (ValueError, TypeError, EOFError, OSError) as error:
            msg = f"{path} is damaged or not of {n} voxels ({error}): delete it and export again"
            raise ValueError(msg) from error
        region: NDArray[np.bool_] = bits.astype(bool)
        return region

    def _size(self, name: str) -> int:
        record = read_record(self.folder)
        return len(read_arrays(self.path(name))["ct"]) if record is None else int(record["shape"])


def has_path(path: Path) -> Path:
    """The hybrid angular spectrum beside a sample's file: exp_0.npz -> exp_0_has.npy."""
    return path.with_name(f"{path.stem}_has.npy")


def region_path(path: Path) -> Path:
    """The region beside a sample's file, as packed bits: exp_0.npz -> exp_0_region.npy."""
    return path.with_name(f"{path.stem}_region.npy")


def read_splits(folder: Path) -> dict[Split, tuple[str, ...]]:
    """The names in each split file that is there.

    Raises:
        ValueError: If a line is no sample, a sample is named twice, or a subject is in two splits.
    """
    found: dict[Split, tuple[str, ...]] = {}
    owner: dict[str, Split] = {}
    for split in SPLITS:
        path = folder / "splits" / f"{split}.txt"
        if not path.exists():
            continue
        found[split] = tuple(_lines(path))
        for name in found[split]:
            subject = name.split("/")[0]
            if owner.setdefault(subject, split) != split:
                msg = (
                    f"every subject must be in one split, got {subject} in {owner[subject]} and {split} of "
                    f"{folder}: a head that was trained on cannot be tested on"
                )
                raise ValueError(msg)
    return found


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        msg = f"{path} must be a text file with a sample on each line: {error}"
        raise ValueError(msg) from error
    names = [line for line in lines if line]
    seen: set[str] = set()
    for name in names:
        if not NAME.fullmatch(name):
            msg = (
                f"a line of {path} must be like A00028185/exp_0.npz, a file in the folder data, got {name!r}"
            )
            raise ValueError(msg)
        if name in seen:
            msg = f"{path} must name every sample once, got {name} twice"
            raise ValueError(msg)
        seen.add(name)
    return names


def _check_present(folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / "data" / name).is_file()]
    if missing:
        msg = (
            f"{len(missing)} of {len(names)} samples that the splits name are not in {folder / 'data'}, the "
            f"first is {missing[0]}: fetch or export the rest, or take them out of the splits"
        )
        raise FileNotFoundError(msg)


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a data set of our own says of itself; None for a published one.

    Raises:
        ValueError: If the file is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not float(record["spacing_mm"]) > 0:
            msg = f"spacing_mm must be positive, got {record['spacing_mm']}"
            raise ValueError(msg)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged ({error}): delete it and export again, the samples that are there are kept"
        raise ValueError(msg) from error
    return record


def _spacing(folder: Path, asked: float | None) -> float:
    record = read_record(folder)
    said = None if record is None else float(record["spacing_mm"])
    if asked is None:
        return PUBLISHED_SPACING_MM if said is None else said
    if not 0 < asked < 100:
        msg = f"the spacing must be a positive number of mm, got {asked:g}"
        raise ValueError(msg)
    if said is not None and abs(said - asked) > 1e-9:
        msg = f"the spacing of {folder} is {said:g} mm, got {asked:g} mm: leave it out"
        raise ValueError(msg)
    return asked
