"""Samples of a TFUScapes-format data set as the network sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trifocal.focus.deeptfus.inputs import averaged, log_pressure, network_points, network_volume

if TYPE_CHECKING:
    from torch import Tensor

    from trifocal.focus.deeptfus.config import DeepTFUSConfig
    from trifocal.focus.deeptfus.inputs import Task
    from trifocal.focus.tfuscapes import DataSet, Sample

MOST_KEPT_BYTES = 3 * 2**30  # data sets that are larger on the network's grid are read again each time


class Volumes:
    """A map-style data set: volume, points, log-pressure of a sample on the network's grid.

    Samples are mirrored along each axis at random where that is wanted (the physics is the same), and the
    points of the transducer are drawn anew; both depend on seed, epoch and index alone.

    Args:
        data: Where the samples lie.
        task: Grid and unit.
        config: Channels and number of points.
        seed: Of mirrors and points.
        mirror: Whether to mirror.

    Raises:
        ValueError: If the network needs what the data do not have: a march, or the peak in water.
    """

    def __init__(
        self, data: DataSet, task: Task, config: DeepTFUSConfig, seed: int = 0, *, mirror: bool = False
    ) -> None:
        self.data, self.task, self.config, self.seed, self.mirror = data, task, config, seed, mirror
        self.epoch = 0
        self._kept: dict[int, tuple[Tensor, Tensor, np.ndarray[Any, Any], int]] = {}
        size = len(data) * task.voxels**3 * 2 * (config.channels + 1)
        self._keeps = size <= MOST_KEPT_BYTES

    def __len__(self) -> int:
        return len(self.data)

    def set_epoch(self, epoch: int) -> None:
        """Choose mirrors and points."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Volume (c, v, v, v), points (m, 3) and truth (v, v, v)."""
        volume, truth, transducer, edge = self._grid(index)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        points = network_points(transducer, edge, self.config.points, int(rng.integers(2**31)))
        flips = [axis for axis in (-3, -2, -1) if self.mirror and rng.uniform() < 0.5]
        signs = torch.ones(3)
        for axis in flips:
            signs[axis] = -1
        return {
            "volume": volume.float().flip(flips),
            "points": points * signs,
            "truth": truth.float().flip(flips),
        }

    def _grid(self, index: int) -> tuple[Tensor, Tensor, np.ndarray[Any, Any], int]:
        """Volume and truth on the network's grid (float16), transducer, and the edge that it counts in."""
        if index in self._kept:
            return self._kept[index]
        sample = self.data.load(self.data.names[index])
        volume = sample_volume(sample, self.data, self.task, self.config)
        pressure = averaged(torch.from_numpy(np.asarray(sample.pressure)), self.task.voxels)
        unit = water_peak(sample) if self.task.absolute else None
        truth = log_pressure(pressure, unit)
        found = volume.half(), truth.half(), np.asarray(sample.transducer), sample.ct.shape[0]
        if self._keeps:
            self._kept[index] = found
        return found


def sample_volume(sample: Sample, data: DataSet, task: Task, config: DeepTFUSConfig) -> Tensor:
    """The input channels (c, v, v, v) of a sample.

    Raises:
        ValueError: If the network has a prior and the data set holds no march, or no facts.
    """
    march, peak = None, 1.0
    if config.prior:
        march, peak = torch.from_numpy(np.asarray(data.load_has(sample.name))), water_peak(sample)
    return network_volume(torch.from_numpy(np.asarray(sample.ct)), march, peak, task.voxels)


def water_peak(sample: Sample) -> float:
    """Peak of the sample's bowl in water, in Pa.

    Raises:
        ValueError: If the data set does not tell.
    """
    if sample.facts is None:
        msg = (
            f"{sample.name} must come with its facts (exp_k.json) to tell absolute pressures, and has none: "
            "use a network whose output is normalised"
        )
        raise ValueError(msg)
    return sample.facts.water_peak_pa
