"""One sample as every engine can be judged on it: its cube, and the box in the frame of its bowl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.box import Box
from trifocal.focus.cases import Case
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, water_peak_pa
from trifocal.focus.samples import View
from trifocal.focus.tfuscapes import bowl_of
from trifocal.focus.tfuscapes.cube import to_box, to_cube

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.pose import Pose
    from trifocal.focus.tfuscapes import Sample
    from trifocal.focus.transducer import Bowl

    Field = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """A sample on two grids.

    Attributes:
        sample: The cube: CT, true pressure, voxels of the bowl.
        bowl: Of the facts, or fitted to the voxels where there are none (its frequency is then the published
            500 kHz, and its pressure unknown).
        pose: Bowl frame -> the frame of `sample.affine`.
        box: The grid in the frame of the bowl that our own engines compute on.
        water_peak_pa: Peak of the bowl in water; NaN where it is not known.
        truth: (x, y, z) true amplitude in Pa on the box: the solver's own if there is a case, else
            interpolated from the cube.
        hu: (x, y, z) on the box, likewise.
        region: (x, y, z) beyond the near skull, where our own metrics are taken.
        view: The stored march and medium of the case, if there is one.
    """

    sample: Sample
    bowl: Bowl
    pose: Pose
    box: Box
    water_peak_pa: float
    truth: Field
    hu: Field
    region: NDArray[np.bool_]
    view: View | None = None

    @classmethod
    def of(cls, sample: Sample, case: Case | None = None) -> Scene:
        """Lay the box into the cube.

        Args:
            sample: Of a data set.
            case: The simulated case that it was made from, if it is to be had.

        Raises:
            ValueError: If the case is of another bowl, or there are no facts and the voxels are no bowl.
        """
        facts = sample.facts
        if facts is None:
            found = bowl_of(sample.transducer, sample.spacing_mm)
            bowl, pose, peak = found.bowl, found.pose, nan
        else:
            bowl, pose, peak = facts.bowl, facts.pose, facts.water_peak_pa
        box = Box.around(bowl, FULL_POINTS_PER_WAVELENGTH)
        if case is None:
            truth, hu = (
                to_box(np.asarray(v), sample.affine, box, pose) for v in (sample.pressure, sample.ct)
            )
            region = beyond_near_skull(hu, box.spacing_mm)
            return cls(sample, bowl, pose, box, peak, truth, hu, region)
        if case.bowl != bowl:
            msg = f"the case of {sample.name} must be of {bowl}, got {case.bowl}: export the data again"
            raise ValueError(msg)
        view, unit = View.full(case), np.float32(water_peak_pa(bowl))
        truth, hu = view.truth[0].numpy() * unit, view.medium.hu[0].numpy()
        return cls(sample, bowl, pose, view.box, peak, truth, hu, view.region, view)

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """(n, n, n) the voxels of the cube that the simulation covered; all of a published cube.

        Every engine counts as zero elsewhere, for the truth of our own data is zero there.
        """
        if self.sample.facts is None:
            return np.ones(self.sample.ct.shape, bool)
        covered: NDArray[np.bool_] = self.to_cube(np.ones(self.box.shape, np.float32)) > 0.5
        return covered

    @cached_property
    def cube_region(self) -> NDArray[np.bool_]:
        """(n, n, n) the voxels of the cube that lie beyond the near skull."""
        beyond: NDArray[np.bool_] = self.to_cube(self.region.astype(np.float32)) > 0.5
        return beyond

    @property
    def block(self) -> tuple[slice, ...]:
        """The smallest block of the cube that holds everything inside."""
        found = []
        for axis in range(3):
            along = np.flatnonzero(self.inside.any(tuple(a for a in range(3) if a != axis)))
            found.append(slice(int(along[0]), int(along[-1]) + 1))
        return tuple(found)

    def to_cube(self, values: Field) -> Field:
        """Interpolate a field on the box at the voxels of the cube, trilinear, 0 outside of the box."""
        return to_cube(values, self.box, self.pose, self.sample.affine, _triple(self.sample.ct.shape))

    def to_box(self, values: Field) -> Field:
        """Interpolate a field on the cube at the voxels of the box, trilinear, 0 outside of the cube."""
        return to_box(values, self.sample.affine, self.box, self.pose)


def find_case(sample: Sample, folders: Sequence[Path]) -> Case:
    """The simulated case that a sample was made from.

    Raises:
        ValueError: If the sample tells of none, as published ones do, or the case is damaged.
        FileNotFoundError: If it is in none of the folders.
    """
    if sample.facts is None:
        msg = (
            f"{sample.name} tells no pose, no frequency and no head, as published samples do: only networks "
            "that take the cube, and grid-N, can be evaluated on it"
        )
        raise ValueError(msg)
    for folder in folders:
        path = folder / sample.facts.case
        if path.is_file():
            return Case.load(path)
    searched = ", ".join(map(str, folders)) or "no folder"
    msg = (
        f"the case {sample.facts.case} of {sample.name} is needed by the engines of the ladder, and was "
        f"looked for in {searched}: name the folder of `simulate focus` that holds it, with --cases"
    )
    raise FileNotFoundError(msg)


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = shape
    return x, y, z
