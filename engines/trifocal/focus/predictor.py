"""A head, a bowl and a pose in; the pressure field inside the skull out."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import psutil
import torch

from trifocal import __version__
from trifocal.focus.acoustics import AcousticModel, Medium, medium_from_hu
from trifocal.focus.analysis import Figures, beyond_near_skull, figures
from trifocal.focus.angular_spectrum import march
from trifocal.focus.box import Box
from trifocal.focus.freefield import free_field, oneil
from trifocal.focus.metrics import FieldErrors, field_errors
from trifocal.focus.placement import coupling_problem
from trifocal.focus.solver import solve
from trifocal.image import Image
from trifocal.predictor import Progress, pick_device, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

Engine = Literal["free-field", "has", "solver"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
FULL_POINTS_PER_WAVELENGTH = 6.0
PREVIEW_POINTS_PER_WAVELENGTH = 3.0
MARCH_BYTES_PER_VOXEL = 150  # measured: 7.7 GB for the 46 M voxels of h-101


@dataclass(frozen=True, eq=False)
class FocusInput:
    """What a prediction is made from.

    Attributes:
        head: The prepared head; make it once and use it for any number of poses.
        bowl: The transducer.
        pose: Bowl frame -> world.
        target_mm: (3,) world point that the focus is wanted at, if any.
        points_per_wavelength: Of the box, in water.
        reverberations: Rounds of reflection inside the skull that the hybrid angular spectrum follows.
        model: How HU become acoustic properties.
    """

    head: Head
    bowl: Bowl
    pose: Pose
    target_mm: NDArray[np.float64] | None = None
    points_per_wavelength: float = FULL_POINTS_PER_WAVELENGTH
    reverberations: int = 1
    model: AcousticModel = field(default_factory=AcousticModel)

    def preview(self) -> FocusInput:
        """The same on a coarser grid and without reverberation: less true, and soon there."""
        return replace(self, points_per_wavelength=PREVIEW_POINTS_PER_WAVELENGTH, reverberations=0)

    @property
    def box(self) -> Box:
        """The grid that the field is computed on."""
        return Box.around(self.bowl, self.points_per_wavelength)


@dataclass(frozen=True, eq=False)
class FocusPrediction:
    """A pressure field and what it says.

    Attributes:
        pressure: Amplitude in Pa on the bowl's box, with the affine that places it in the world.
        hu: (x, y, z) Hounsfield units on the same box.
        region: (x, y, z) the voxels beyond the near skull, where the figures are taken.
        inputs: What it was made from.
        box: The grid in the bowl's frame.
        engine: Rung of the ladder.
        device: Where it was computed.
        figures: Focus, peak, transmission, size.
        seconds: Wall-clock time of the prediction.
        warnings: What the user should know of this prediction.
    """

    pressure: Image
    hu: NDArray[np.float32]
    region: NDArray[np.bool_]
    inputs: FocusInput
    box: Box
    engine: Engine
    device: str
    figures: Figures
    seconds: float
    warnings: tuple[str, ...]

    def errors_against(self, truth: FocusPrediction) -> FieldErrors:
        """Errors of this field, taking another one on the same box for true."""
        return field_errors(self.pressure.array, truth.pressure.array, self.region, self.box)

    def record(self) -> dict[str, Any]:
        """Every resolved parameter of the prediction, for the provenance."""
        inputs = self.inputs
        return {
            "engine": self.engine,
            "version": __version__,
            "device": self.device,
            "bowl": inputs.bowl,
            "pose": inputs.pose.record(),
            "target_mm": inputs.target_mm,
            "box": self.box,
            "points_per_wavelength": inputs.points_per_wavelength,
            "reverberations": inputs.reverberations,
            "acoustic_model": inputs.model,
        }


class FocusPredictor:
    """One rung of the ladder: free field, hybrid angular spectrum or solver."""

    def __init__(self, engine: Engine = "has", *, device: str = "auto") -> None:
        if engine not in ENGINES:
            msg = f"engine must be one of {list(ENGINES)}, got {engine!r}"
            raise ValueError(msg)
        self.engine = engine
        self.device = pick_device(device)

    @classmethod
    def load(cls, checkpoint: Path | str = "has", *, device: str = "auto") -> Self:
        """Make a rung by its name; none of these needs weights."""
        return cls(str(checkpoint), device=device)  # type: ignore[arg-type]

    def predict(self, inputs: FocusInput, /, *, progress: Progress = silent) -> FocusPrediction:
        """Compute the field of a bowl on a head.

        Raises:
            Cancelled: If `progress` raises it.
            MemoryError: If it would not fit into memory; nothing has been started then.
        """
        start = time.perf_counter()
        box, bowl = inputs.box, inputs.bowl
        if self.engine == "has":
            _check_memory(box)
        progress(0.0, "sampling the head")
        with _one_core():
            medium = sample_medium(inputs, self.device)
            pressure = self._pressure(medium, inputs, progress)
        hu = medium.hu[0].cpu().numpy()
        region = beyond_near_skull(hu, box.spacing_mm)
        found = figures(pressure, region, box, inputs.pose, water_peak_pa(bowl), inputs.target_mm)
        image = Image(pressure, inputs.pose.matrix @ box.affine, "Pa")
        warnings = _warnings(inputs, hu)
        seconds = time.perf_counter() - start
        progress(1.0, "done")
        return FocusPrediction(
            image, hu, region, inputs, box, self.engine, str(self.device), found, seconds, warnings
        )

    @torch.no_grad()
    def _pressure(self, medium: Medium, inputs: FocusInput, progress: Progress) -> NDArray[np.float32]:
        """Pressure amplitude (x, y, z) in Pa."""
        box, bowl = inputs.box, inputs.bowl
        if self.engine == "free-field":
            points = torch.stack(
                torch.meshgrid(*[torch.from_numpy(box.axis_mm(a)).float() for a in range(3)], indexing="ij"),
                -1,
            )
            return np.asarray(free_field(bowl).amplitude(points.to(self.device)).cpu())
        if self.engine == "has":
            return np.asarray(march(medium, bowl, box, reverberations=inputs.reverberations)[0].abs().cpu())
        return np.abs(solve(*medium.arrays(), bowl, box, device=self.device.type, progress=progress))


@contextmanager
def _one_core() -> Iterator[None]:
    """Let torch compute on one core; the solver's loop has threads of its own.

    A march is hundreds of steps of a fraction of a millisecond, and torch's threads wait for each other at
    every one: a full prediction took 0.10 s on one core, and 0.08 to 7 s (median 1.7 s) on two when the other
    core had anything else to do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def water_peak_pa(bowl: Bowl) -> float:
    """Highest pressure amplitude of a bowl in water, in Pa: on its axis, beyond the plane of its rim."""
    z = np.arange(bowl.depth_mm, 2 * bowl.radius_of_curvature_mm, bowl.wavelength_mm / 40)
    return float(np.abs(oneil(bowl, z)).max())


@torch.no_grad()
def sample_medium(inputs: FocusInput, device: torch.device) -> Medium:
    """The acoustic medium (1, x, y, z) in the bowl's box."""
    pose = torch.from_numpy(inputs.pose.matrix.copy())[None].to(device)
    hu, water = inputs.head.sample(pose, inputs.box)
    return medium_from_hu(hu, water, inputs.bowl.frequency_hz, inputs.model)


def _check_memory(box: Box) -> None:
    needed, free = MARCH_BYTES_PER_VOXEL * prod(box.shape), psutil.virtual_memory().available
    if needed > free:
        msg = (
            f"a box of {' x '.join(map(str, box.shape))} voxels needs {needed / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free: use fewer points per wavelength or a lower frequency"
        )
        raise MemoryError(msg)


def _warnings(inputs: FocusInput, hu: NDArray[np.float32]) -> tuple[str, ...]:
    found = list(inputs.head.warnings)
    problem = coupling_problem(inputs.head, inputs.bowl, inputs.pose)
    if problem is not None:
        found.append(problem)
    if not (hu > inputs.model.hu_bone).any():
        found.append("the beam meets no bone: the figures are those of soft tissue and water")
    return tuple(found)
