"""`trifocal export tfuscapes`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from trifocal.cli.progress import Bar
from trifocal.cli.simulate import volumes
from trifocal.focus.tfuscapes.cube import CubeSpec
from trifocal.focus.tfuscapes.writer import write_data_set


@dataclass(kw_only=True)
class ExportTfuscapes:
    """Write simulated cases in the published format of TFUScapes, or add to such data. Research use only.

    Writes data/HEAD/exp_K.npz (ct in HU, pmap in Pa, tr_coords in voxels), splits/train.txt, val.txt and
    test.txt, and what the published files do not say: exp_K.json (affine, bowl, pose, peak in water),
    exp_K_region.npy (where the focus is looked for, packed bits) and data_set.json. What is there already is
    not made again: an interrupted run goes on when it is started again, and another folder of cases is added
    by another run.

    Examples:
        trifocal export tfuscapes --data cases --out cubes

        trifocal export tfuscapes --data unseen_heads --split test --out cubes

        trifocal export tfuscapes --data real --ct folder_of_cts --frame bowl --has --out cubes_in_bowl

    Attributes:
        data: Folders that `simulate focus --poses` has written.
        out: Folder of the data set; made if it does not exist.
        frame: Axes of the cubes: the world's, as published, or the bowl's.
        shape: Voxels along each edge; 256 is the published size.
        spacing_mm: Edge of a voxel; 0.5 is the published size.
        split: Put all of these heads there; if left out, they are for training or validation as the hash of
            each says, the same as in `train focus`.
        ct: Where the CTs are that cases were made on: files, DICOM folders, or folders of these.
        has: Also write exp_K_has.npy, the amplitude of the hybrid angular spectrum on the same cube.
        processes: Heads at a time.
    """

    INTERRUPTED: ClassVar[str] = "what is finished stays; start the same command again to go on"

    data: tuple[Path, ...]
    out: Path
    frame: Literal["world", "bowl"] = "world"
    shape: int = 128
    spacing_mm: float = 1.0
    split: Literal["train", "val", "test"] | None = None
    ct: tuple[Path, ...] = ()
    has: bool = False
    processes: int = 1

    def run(self) -> int:
        """Write and report."""
        if self.processes < 1:
            msg = f"--processes must be 1 or more, got {self.processes}"
            raise ValueError(msg)
        result = write_data_set(
            self.data,
            self.out,
            CubeSpec(self.frame, self.shape, self.spacing_mm),
            cts=[found for path in self.ct for found in volumes(path)],
            split=self.split,
            has=self.has,
            processes=self.processes,
            progress=Bar(),
        )
        for name, reason in result.failures.items():
            sys.stderr.write(f"warning: {name} was left out: {reason}\n")
        listed = ", ".join(f"{count} {split}" for split, count in result.splits.items())
        sys.stdout.write(f"{result.written} samples written, {result.kept} kept; {self.out} has {listed}\n")
        return 0 if result.written + result.kept else 2
