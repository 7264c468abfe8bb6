"""A sweep: the bowl turned in even steps about the head, and where its focus goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from trifocal.focus.box import Box
from trifocal.focus.placement import clearance_mm
from trifocal.focus.pose import Pose
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.predictor import FocusInput, FocusPrediction
    from trifocal.focus.transducer import Bowl
    from trifocal.predictor import Predictor

    Engine = Predictor[FocusInput, FocusPrediction]

CENTRES = ("head", "target")
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
STEEP = np.cos(np.deg2rad(45.0))  # a beam nearer to the vertical than this is swept about x, not about z
MOST_STEPS = 1000
REACH_MM = 60.0  # how far along its beam a bowl is moved to keep its clearance
MOST_BYTES = 512 * 2**20  # fields of a sweep that would be larger are cropped to their focal regions
CROP_LEVEL = 0.1  # of the peak, -20 dB


@dataclass(frozen=True)
class Sweep:
    """How the bowl goes round.

    The given pose is turned about an axis through a centre by (i - (steps - 1) / 2) * step_deg, so that it is
    the middle frame of an odd number of steps. A head is no sphere: each turned bowl is then moved along its
    own beam until its clearance to the skin is that of the given pose.

    Attributes:
        axis: World direction (3,) to turn about, or "x", "y" or "z"; taken as it is. None: across the beam,
            as near to the world's z as that allows, or to x where the beam is within 45 degrees of z.
        centre: World point (3,) that the axis goes through in mm, or "head" (its middle) or "target".
        steps: Frames, 2 to 1000.
        step_deg: Angle from one frame to the next; right-handed about the axis.

    Raises:
        ValueError: If the axis is no direction, the centre no point, or the steps are too few, too many or go
            round more than once.
    """

    axis: tuple[float, float, float] | str | None = None
    centre: tuple[float, float, float] | str = "head"
    steps: int = 35
    step_deg: float = 1.6

    def __post_init__(self) -> None:
        if isinstance(self.axis, str):
            if self.axis not in AXES:
                msg = f"the axis of a sweep must be one of {list(AXES)} or three numbers, got {self.axis!r}"
                raise ValueError(msg)
        elif self.axis is not None:
            _check_triple("axis", self.axis)
            if not np.linalg.norm(self.axis) > 1e-9:
                msg = "the axis of a sweep must be three numbers that are not all zero"
                raise ValueError(msg)
        if isinstance(self.centre, str):
            if self.centre not in CENTRES:
                msg = f"the centre of a sweep must be one of {list(CENTRES)} or a point, got {self.centre!r}"
                raise ValueError(msg)
        else:
            _check_triple("centre", self.centre)
        if not 2 <= self.steps <= MOST_STEPS:
            msg = f"the steps of a sweep must be 2 to {MOST_STEPS}, got {self.steps}"
            raise ValueError(msg)
        if not 0 < abs(self.step_deg) * (self.steps - 1) <= 360:
            msg = (
                f"the steps of a sweep must be more than 0 degrees and 360 together, "
                f"got {self.steps} steps of {self.step_deg:g}"
            )
            raise ValueError(msg)

    @property
    def angles_deg(self) -> NDArray[np.float64]:
        """(steps,) angle of each frame from the given pose."""
        return (np.arange(self.steps, dtype=np.float64) - (self.steps - 1) / 2) * self.step_deg

    def axis_for(self, pose: Pose) -> NDArray[np.float64]:
        """Unit vector (3,) that a pose is turned about."""
        if self.axis is None:
            return across_beam(pose)
        return _unit(np.array(AXES[self.axis] if isinstance(self.axis, str) else self.axis, float))

    def centre_for(self, inputs: FocusInput) -> NDArray[np.float64]:
        """World point (3,) that the axis goes through.

        Raises:
            ValueError: If it is to be the target and there is none.
        """
        if self.centre == "head":
            return inputs.head.centre_mm
        if self.centre == "target":
            if inputs.target_mm is None:
                msg = "a sweep about the target needs a target"
                raise ValueError(msg)
            return inputs.target_mm
        return np.array(self.centre, float)

    def poses(self, inputs: FocusInput) -> tuple[Pose, ...]:
        """The pose of every frame: turned, then at the clearance of the given one."""
        head, bowl, pose = inputs.head, inputs.bowl, inputs.pose
        gap = clearance_mm(head, bowl, pose)
        axis, centre = self.axis_for(pose), self.centre_for(inputs)
        return tuple(
            pose if angle == 0 else with_clearance(head, bowl, turned(pose, axis, centre, angle), gap)
            for angle in self.angles_deg
        )


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a sweep.

    Attributes:
        angle_deg: From the given pose.
        prediction: The field at this pose with its figures and warnings; in large sweeps its arrays and its
            box are cropped to the focal region.
    """

    angle_deg: float
    prediction: FocusPrediction

    @property
    def pose(self) -> Pose:
        """Bowl frame -> world."""
        return self.prediction.inputs.pose

    @property
    def focus_mm(self) -> NDArray[np.float64]:
        """(3,) world position of the focus."""
        return np.array(self.prediction.figures.focus_mm)

    @property
    def nbytes(self) -> int:
        """Memory of its arrays."""
        p = self.prediction
        return p.pressure.array.nbytes + p.hu.nbytes + p.region.nbytes


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    Attributes:
        sweep: How the bowl went round.
        inputs: What it started from: the pose of angle 0.
        axis: (3,) unit vector that it was turned about.
        frames: By angle.
        seconds: Wall-clock time of the whole.
    """

    sweep: Sweep
    inputs: FocusInput
    axis: NDArray[np.float64]
    frames: tuple[Frame, ...]
    seconds: float


def run_sweep(
    predictor: Engine, inputs: FocusInput, sweep: Sweep, *, progress: Progress = silent
) -> SweepResult:
    """Compute every frame.

    Raises:
        Cancelled: If `progress` raises it; use `frames` to keep those that are finished.
    """
    start = time.perf_counter()
    made = tuple(frames(predictor, inputs, sweep, progress=progress))
    axis = sweep.axis_for(inputs.pose)
    return SweepResult(sweep, inputs, axis, made, time.perf_counter() - start)


def frames(
    predictor: Engine, inputs: FocusInput, sweep: Sweep, *, progress: Progress = silent
) -> Iterator[Frame]:
    """Compute one frame after the other.

    A default box keeps 5 MB a frame, 175 MB in 35 steps; a sweep that would need more than 512 MB keeps the
    focal region of each frame only.

    Raises:
        Cancelled: If `progress` raises it, between the frames or within one.
    """
    crop = sweep.steps * _bytes(inputs.box) > MOST_BYTES
    poses = sweep.poses(inputs)
    for i, (angle, pose) in enumerate(zip(sweep.angles_deg, poses, strict=True)):
        what = f"frame {i + 1} of {sweep.steps}"

        def within(fraction: float, _: str, done: int = i, what: str = what) -> None:
            progress((done + fraction) / sweep.steps, what)

        prediction = predictor.predict(replace(inputs, pose=pose), progress=within)
        yield Frame(float(angle), focal_region(prediction) if crop else prediction)


def distances_mm(made: tuple[Frame, ...]) -> NDArray[np.float64]:
    """(n,) how far each focus is from the target; without a target, `displacements_mm`."""
    distance = [frame.prediction.figures.distance_to_target_mm for frame in made]
    if None in distance:
        return displacements_mm(made)
    return np.array(distance, float)


def displacements_mm(made: tuple[Frame, ...]) -> NDArray[np.float64]:
    """(n,) how far each focus is from its place in the frame nearest to the given pose."""
    middle = min(made, key=lambda frame: abs(frame.angle_deg)).focus_mm
    shift: NDArray[np.float64] = np.linalg.norm([frame.focus_mm - middle for frame in made], axis=1)
    return shift


def across_beam(pose: Pose) -> NDArray[np.float64]:
    """Unit vector (3,) across the beam: the nearest to z; for a steep beam the nearest to x."""
    beam = pose.direction
    up = np.array(AXES["x" if abs(beam[2]) > STEEP else "z"])
    return _unit(up - (up @ beam) * beam)


def turned(pose: Pose, axis: ArrayLike, centre_mm: ArrayLike, angle_deg: float) -> Pose:
    """Turn a pose about an axis (3,) of unit length through a world point (3,), right-handed."""
    rotation = Rotation.from_rotvec(angle_deg * np.asarray(axis, float), degrees=True).as_matrix()
    centre = np.asarray(centre_mm, float)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ pose.matrix[:3, :3]
    matrix[:3, 3] = centre + rotation @ (pose.apex_mm - centre)
    return Pose(matrix)


def with_clearance(head: Head, bowl: Bowl, pose: Pose, gap_mm: float) -> Pose:
    """Move the bowl along its beam, as little as possible, to a clearance to the skin.

    It stays where it is if there is no such place within 60 mm: its beam passes the head, or it is far away.
    """
    back = np.linspace(-REACH_MM, REACH_MM, 121)
    vertices = pose.to_world(bowl.mesh(6, 24)[0])

    def gaps(back: NDArray[np.float64]) -> NDArray[np.float64]:
        points = vertices - back[:, None, None] * pose.direction
        gap: NDArray[np.float64] = head.distance_mm(points).min(1).astype(np.float64) - gap_mm
        return gap

    gap = gaps(back)
    leaving = np.flatnonzero((gap[:-1] < 0) & (gap[1:] >= 0))
    if not len(leaving):
        return pose
    i = leaving[np.abs(back[leaving]).argmin()]
    fine = np.linspace(back[i], back[i + 1], 11)
    return pose.moved(-float(np.interp(0.0, np.maximum.accumulate(gaps(fine)), fine)))


def focal_region(prediction: FocusPrediction) -> FocusPrediction:
    """The same prediction with its box cropped to where the field beyond the near skull is above -20 dB."""
    field = np.where(prediction.region, prediction.pressure.array, 0)
    index = np.argwhere(field >= CROP_LEVEL * field.max())
    start = np.maximum(index.min(0) - 1, 0)
    stop = np.minimum(index.max(0) + 2, field.shape)
    block = tuple(map(slice, start, stop))
    image = prediction.pressure.crop(start, stop)
    box = prediction.box
    x, y, z = (float(c) for c in np.array(box.origin_mm) + box.spacing_mm * start)
    n_x, n_y, n_z = image.shape
    return replace(
        prediction,
        pressure=replace(image, array=image.array.copy()),
        hu=prediction.hu[block].copy(),
        region=prediction.region[block].copy(),
        box=Box(box.spacing_mm, (n_x, n_y, n_z), (x, y, z)),
    )


def _bytes(box: Box) -> int:
    x, y, z = box.shape
    return 9 * x * y * z  # pressure and HU of 4 bytes, region of 1


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / float(np.linalg.norm(vector))
    return unit


def _check_triple(name: str, value: tuple[float, float, float]) -> None:
    if np.shape(value) != (3,) or not np.isfinite(value).all():
        msg = f"the {name} of a sweep must be three numbers, got {value!r}"
        raise ValueError(msg)
