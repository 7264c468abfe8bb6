"""Training cases on small shells with bowls of long waves: a data set in a few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from heads import shell_ct
from trifocal import io
from trifocal.focus.cases import Bowls, CaseSpec, HeadSource
from trifocal.focus.data import HeadJob, split_of
from trifocal.image import Image

if TYPE_CHECKING:
    from pathlib import Path

BOWLS = Bowls((30.0, 35.0), (20.0, 25.0), (80e3, 90e3))  # boxes of about 12 x 12 x 18 voxels


def shell_source(folder: Path, hu: float) -> HeadSource:
    """A shell 66 mm wide with 6 mm of bone, as a CT file named by the HU of its bone."""
    path = folder / f"shell{hu:g}.nii"
    io.write(shell_ct((36.0, 33.0, 27.0), (40.0, hu, 35.0)), path)
    return HeadSource(path)


def no_skull(folder: Path) -> HeadSource:
    """A CT that holds nothing but water."""
    path = folder / "water.nii"
    io.write(Image(np.zeros((20, 20, 20), np.int16), np.diag([3.0, 3.0, 3.0, 1.0]), "HU"), path)
    return HeadSource(path)


def head_id(source: HeadSource) -> str:
    return CaseSpec(source.identity(), 0, BOWLS).head_id


def shell_jobs(folder: Path, train: int, val: int, poses: int = 2) -> list[HeadJob]:
    """So many heads whose hashes fall on either side, those to validate with last."""
    found: dict[str, list[HeadSource]] = {"train": [], "val": []}
    wanted = {"train": train, "val": val}
    for hu in range(1000, 1400):
        source = shell_source(folder, hu)
        side = split_of(head_id(source))
        if len(found[side]) < wanted[side]:
            found[side].append(source)
        if all(len(found[s]) == n for s, n in wanted.items()):
            break
    sources = [*found["train"], *found["val"]]
    return [HeadJob(source, seed, poses, BOWLS) for seed, source in enumerate(sources)]
