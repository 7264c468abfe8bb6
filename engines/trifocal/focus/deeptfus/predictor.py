"""The published network as a predictor: for samples of a data set, and for a head, a bowl and a pose."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from trifocal.checkpoint import Checkpoint, CheckpointError, load, load_into
from trifocal.focus.analysis import beyond_near_skull, figures
from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.data import sample_volume, water_peak
from trifocal.focus.deeptfus.inputs import Task, network_points, network_volume, pressure_of, widened
from trifocal.focus.deeptfus.model import DeepTFUS
from trifocal.focus.predictor import FocusPrediction, FocusPredictor, sample_medium, water_peak_pa
from trifocal.focus.tfuscapes.cube import Cube, CubeSpec, to_box, to_cube
from trifocal.image import Image
from trifocal.predictor import Progress, one_core, pick_device, silent

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.focus.predictor import FocusInput
    from trifocal.focus.tfuscapes import DataSet, Sample

ENGINE = "deeptfus"


@dataclass(frozen=True, eq=False)
class Learned:
    """A network and what its answers mean.

    Attributes:
        net: The network.
        task: Grid, frame and unit.
        mean_peak_pa: Mean peak of its training samples, in Pa.
        mean_transmission: The same relative to the peak of each bowl in water, where that was known.
        checkpoint: What it was made from, if it was.
    """

    net: DeepTFUS
    task: Task
    mean_peak_pa: float
    mean_transmission: float | None
    checkpoint: Checkpoint | None = None

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check weights.

        Raises:
            CheckpointError: If they are missing, damaged or not of this network.
        """
        checkpoint = load(path, ENGINE)
        try:
            config: dict[str, Any] = checkpoint.config
            net = DeepTFUS(DeepTFUSConfig(**config["model"]))
            task, scale = Task(**config["task"]), (config["mean_peak_pa"], config["mean_transmission"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = (
                f"the config of the weights {checkpoint.name!r} must be that of a DeepTFUS network, and "
                f"something is missing or wrong in it ({error}): get the weights again"
            )
            raise CheckpointError(msg) from error
        load_into(net, checkpoint)
        return cls(net.eval().requires_grad_(False), task, *scale, checkpoint)

    def unit(self, water_peak_pa: float | None) -> float:
        """What exp(answer) - 1 is multiplied by to give Pa.

        Args:
            water_peak_pa: Peak of the bowl in water, where it is known.
        """
        if water_peak_pa is None or (self.mean_transmission is None and not self.task.absolute):
            return self.mean_peak_pa
        return water_peak_pa if self.task.absolute else water_peak_pa * (self.mean_transmission or 1.0)


class DeepTFUSPredictor:
    """The network of a checkpoint, ready to use.

    Args:
        learned: The network and what its answers mean.
        device: Where it runs.
    """

    def __init__(self, learned: Learned, device: torch.device) -> None:
        self.learned, self.device = learned, device
        self.engine = ENGINE
        learned.net.to(device)

    @classmethod
    def load(cls, checkpoint: Path | str, *, device: str = "auto") -> Self:
        """Read weights of `train deeptfus`.

        Raises:
            CheckpointError: If they are missing, damaged or of another engine.
        """
        return cls(Learned.load(checkpoint), pick_device(device))

    def predict_sample(self, sample: Sample, data: DataSet) -> NDArray[np.float32]:
        """Pressure amplitude (n, n, n) in Pa on the cube of a sample.

        A network whose output is normalised gives the shape; its scale is the mean of the training set.

        Args:
            sample: Its pressure is not looked at.
            data: The data set that it is from, which holds the march if the network needs it.

        Raises:
            ValueError: If the network needs what the data set does not hold, or its grid does not divide it.
        """
        volume = sample_volume(sample, data, self.learned.task, self.learned.net.config)
        peak = None if sample.facts is None and not self.learned.task.absolute else water_peak(sample)
        return self._pressure(volume, sample.transducer, len(sample.ct), peak)

    def features(self, sample: Sample, data: DataSet) -> NDArray[np.float32]:
        """Bottleneck features (width,) of a sample, the mean over the voxels of the deepest level."""
        volume = sample_volume(sample, data, self.learned.task, self.learned.net.config)
        return self._pooled(volume, sample.transducer, len(sample.ct))

    def predict(self, inputs: FocusInput, /, *, progress: Progress = silent) -> FocusPrediction:
        """Predict on a cube around the bowl, interpolated on the bowl's box; zero outside the cube.

        Raises:
            Cancelled: If `progress` raises it.
        """
        start = time.perf_counter()
        box, bowl, pose = inputs.box, inputs.bowl, inputs.pose
        progress(0.0, "sampling the head")
        volume, cube = self.inputs_of(inputs)
        progress(0.3, "the network")
        pressure = self._pressure(volume, cube.transducer, cube.box.shape[0], water_peak_pa(bowl))
        field = to_box(pressure, cube.affine, box, pose)
        with torch.no_grad():
            hu = sample_medium(inputs, torch.device("cpu")).hu[0].numpy()
        region = beyond_near_skull(hu, box.spacing_mm)
        found = figures(field, region, box, pose, water_peak_pa(bowl), inputs.target_mm)
        progress(1.0, "done")
        scaled = ("the published network tells no pressure: its field is scaled by a mean of its training",)
        warnings = () if self.learned.task.absolute else scaled
        return FocusPrediction(
            pressure=Image(field, pose.matrix @ box.affine, "Pa"),
            hu=hu,
            region=region,
            inputs=inputs,
            box=box,
            engine="deeptfus",
            device=str(self.device),
            figures=found,
            seconds=time.perf_counter() - start,
            warnings=(*inputs.head.warnings, *warnings),
            weights=None if self.learned.checkpoint is None else self.learned.checkpoint.record(),
        )

    def bottleneck(self, inputs: FocusInput) -> NDArray[np.float32]:
        """Bottleneck features (width,) of a placement, the mean over the voxels of the deepest level."""
        volume, cube = self.inputs_of(inputs)
        return self._pooled(volume, cube.transducer, cube.box.shape[0])

    def inputs_of(self, inputs: FocusInput) -> tuple[Tensor, Cube]:
        """What the network sees of a placement: volume (c, v, v, v), and the cube with the transducer."""
        task, bowl, pose = self.learned.task, inputs.bowl, inputs.pose
        cube = Cube.about(bowl, pose, CubeSpec(task.frame, task.cube_voxels, task.spacing_mm), "")
        march = None
        if self.learned.net.config.prior:
            marched = FocusPredictor("has", device=str(self.device)).predict(inputs)
            field = to_cube(marched.pressure.array, marched.box, pose, cube.affine, cube.box.shape)
            march = torch.from_numpy(field)
        ct = torch.from_numpy(cube.head_hu(inputs.head))
        volume = network_volume(ct, march, water_peak_pa(bowl), task.voxels)
        return volume, cube

    def _pressure(
        self, volume: Tensor, transducer: NDArray[np.int64], edge: int, peak: float | None
    ) -> NDArray[np.float32]:
        points = network_points(transducer, edge, self.learned.net.config.points)[None]
        with one_core(), torch.no_grad():
            answer = self.learned.net(volume[None].to(self.device), points.to(self.device))[0]
            return np.asarray(pressure_of(widened(answer, edge), self.learned.unit(peak)).cpu())

    def _pooled(self, volume: Tensor, transducer: NDArray[np.int64], edge: int) -> NDArray[np.float32]:
        points = network_points(transducer, edge, self.learned.net.config.points)[None]
        with one_core(), torch.no_grad():
            deepest = self.learned.net.bottleneck(volume[None].to(self.device), points.to(self.device))
            return np.asarray(deepest[0].mean((1, 2, 3)).cpu())
