"""A head, a bowl and a pose in; the pressure field inside the skull out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
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
from trifocal.focus.learned import BUNDLED, Learned
from trifocal.focus.metrics import FieldErrors, field_errors
from trifocal.focus.placement import coupling_problem
from trifocal.focus.skull import NearSkull
from trifocal.focus.solver import solve
from trifocal.image import Image
from trifocal.predictor import Progress, one_core, pick_device, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

Engine = Literal["free-field", "has", "regression", "network", "solver"]
AnyEngine = Engine | Literal["deeptfus"]  # the published network is no rung of the ladder
ENGINES: tuple[Engine, ...] = get_args(Engine)
LEARNED: tuple[Engine, ...] = ("regression", "network")
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
        engine: Rung of the ladder, or the published network beside it.
        device: Where it was computed.
        figures: Focus, peak, transmission, size.
        seconds: Wall-clock time of the prediction.
        warnings: What the user should know of this prediction.
        out_of_range: Why a learned rung should not be trusted here, a sentence a reason (they are among the
            warnings too): then "has", the rung below, is the better choice.
        weights: Name, version and sha256 of the weights, if the rung has any.
    """

    pressure: Image
    hu: NDArray[np.float32]
    region: NDArray[np.bool_]
    inputs: FocusInput
    box: Box
    engine: AnyEngine
    device: str
    figures: Figures
    seconds: float
    warnings: tuple[str, ...]
    out_of_range: tuple[str, ...] = ()
    weights: dict[str, str] | None = None

    def errors_against(self, truth: FocusPrediction) -> FieldErrors:
        """Errors of this field, taking another one on the same box for true."""
        fields, unit = (self.pressure.array, truth.pressure.array), water_peak_pa(self.inputs.bowl)
        return field_errors(*fields, self.region, self.box, unit)

    def record(self) -> dict[str, Any]:
        """Every resolved parameter of the prediction, for the provenance."""
        inputs = self.inputs
        return {
            "engine": self.engine,
            "version": __version__,
            "device": self.device,
            "weights": self.weights,
            "bowl": inputs.bowl,
            "pose": inputs.pose.record(),
            "target_mm": inputs.target_mm,
            "box": self.box,
            "points_per_wavelength": inputs.points_per_wavelength,
            "reverberations": inputs.reverberations,
            "acoustic_model": inputs.model,
        }


class FocusPredictor:
    """One rung of the ladder: free field, hybrid angular spectrum, regression or network on it, or solver.

    Args:
        engine: The rung.
        device: "auto", "cpu" or "cuda".
        checkpoint: Weights of a learned rung: a .safetensors file or the name of a bundled model.

    Raises:
        ValueError: If there is no such rung or device.
        CheckpointError: If the weights of a learned rung are missing, damaged or of another engine.
    """

    def __init__(
        self, engine: Engine = "has", *, device: str = "auto", checkpoint: Path | str = BUNDLED
    ) -> None:
        if engine not in ENGINES:
            msg = f"engine must be one of {list(ENGINES)}, or a .safetensors file to load, got {engine!r}"
            raise ValueError(msg)
        self.engine = engine
        self.device = pick_device(device)
        self.learned = Learned.load(checkpoint) if engine in LEARNED else None

    @classmethod
    def load(cls, checkpoint: Path | str = "network", *, device: str = "auto") -> Self:
        """Make a rung by its name, or the network from a .safetensors file."""
        if Path(checkpoint).suffix == ".safetensors":
            return cls("network", device=device, checkpoint=checkpoint)
        return cls(str(checkpoint), device=device)  # type: ignore[arg-type]

    def predict(self, inputs: FocusInput, /, *, progress: Progress = silent) -> FocusPrediction:
        """Compute the field of a bowl on a head.

        A march that does not fit the GPU's memory is done on the CPU, and the prediction says so.

        Raises:
            Cancelled: If `progress` raises it.
            MemoryError: If it would not fit into memory; nothing has been started then.
        """
        start = time.perf_counter()
        box, bowl = inputs.box, inputs.bowl
        if self.engine in ("has", *LEARNED):
            _check_memory(box)
        progress(0.0, "sampling the head")
        device = self.device
        fallen: tuple[str, ...] = ()
        try:
            hu, pressure = self._compute(inputs, device, progress)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            device = torch.device("cpu")
            fallen = ("the GPU has too little memory for this box: it was computed on the CPU",)
            hu, pressure = self._compute(inputs, device, progress)
        region = beyond_near_skull(hu, box.spacing_mm)
        reasons: tuple[str, ...] = ()
        if self.learned:
            skull = NearSkull.measure(hu, region, bowl, box)
            reasons = _out_of_range(self.learned, inputs, skull)
            if self.engine == "regression":
                pressure = pressure * np.float32(self.learned.regression.factor(skull, bowl))
        found = figures(pressure, region, box, inputs.pose, water_peak_pa(bowl), inputs.target_mm)
        progress(1.0, "done")
        return FocusPrediction(
            pressure=Image(pressure, inputs.pose.matrix @ box.affine, "Pa"),
            hu=hu,
            region=region,
            inputs=inputs,
            box=box,
            engine=self.engine,
            device=str(device),
            figures=found,
            seconds=time.perf_counter() - start,
            warnings=(*_warnings(inputs, hu), *fallen, *reasons),
            out_of_range=reasons,
            weights=self.learned.checkpoint.record() if self.learned else None,
        )

    def _compute(
        self, inputs: FocusInput, device: torch.device, progress: Progress
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """HU and pressure amplitude in Pa, both (x, y, z)."""
        with one_core(), torch.no_grad():
            medium = sample_medium(inputs, device)
            pressure = self._pressure(medium, inputs, progress)
        return medium.hu[0].cpu().numpy(), pressure

    def _pressure(self, medium: Medium, inputs: FocusInput, progress: Progress) -> NDArray[np.float32]:
        """Pressure amplitude (x, y, z) in Pa."""
        box, bowl, device = inputs.box, inputs.bowl, medium.hu.device
        if self.engine == "solver":
            return np.abs(solve(*medium.arrays(), bowl, box, device=device.type, progress=progress))
        if self.engine == "free-field":
            points = torch.stack(
                torch.meshgrid(*[torch.from_numpy(box.axis_mm(a)).float() for a in range(3)], indexing="ij"),
                -1,
            )
            return np.asarray(free_field(bowl).amplitude(points.to(device)).cpu())
        field = march(medium, bowl, box, reverberations=inputs.reverberations)
        if self.engine == "network" and self.learned:
            return np.asarray(self.learned.amplitude(medium, field, bowl, box, water_peak_pa(bowl))[0].cpu())
        return np.asarray(field[0].abs().cpu())


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


def _out_of_range(learned: Learned, inputs: FocusInput, skull: NearSkull) -> tuple[str, ...]:
    """Why a learned rung leaves what it has seen."""
    found = learned.seen.reasons(inputs.bowl, skull, inputs.points_per_wavelength)
    if inputs.model != AcousticModel():
        found += ("the network has seen another mapping from HU to acoustic properties",)
    return tuple(f"{reason}: prefer the rung below, has" for reason in found)


def _warnings(inputs: FocusInput, hu: NDArray[np.float32]) -> tuple[str, ...]:
    found = list(inputs.head.warnings)
    problem = coupling_problem(inputs.head, inputs.bowl, inputs.pose)
    if problem is not None:
        found.append(problem)
    if not (hu > inputs.model.hu_bone).any():
        found.append("the beam meets no bone: the figures are those of soft tissue and water")
    return tuple(found)
