"""Simulated cases as the network sees them: features, amplitudes, region; augmented and in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from trifocal.focus.acoustics import Medium, medium_from_hu
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.box import Box
from trifocal.focus.cases import Case
from trifocal.focus.model import features
from trifocal.focus.predictor import FULL_POINTS_PER_WAVELENGTH, PREVIEW_POINTS_PER_WAVELENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trifocal.focus.transducer import Bowl


@dataclass(frozen=True, eq=False)
class View:
    """A case on one of its two grids, that of a full prediction or of a preview.

    Attributes:
        medium: (1, x, y, z).
        field: (1, x, y, z) complex phasor of the march, relative to the peak in water.
        truth: (1, x, y, z) amplitude by the solver, the same.
        region: (x, y, z) beyond the near skull.
        bowl: The source.
        box: The grid.
    """

    medium: Medium
    field: Tensor
    truth: Tensor
    region: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    bowl: Bowl
    box: Box

    @classmethod
    def full(cls, case: Case) -> View:
        """The grid of the solver."""
        box = Box.around(case.bowl, FULL_POINTS_PER_WAVELENGTH)
        truth = torch.from_numpy(case.pressure.astype(np.float32))[None]
        return cls._of(case.bowl, box, case.hu, case.water, case.field, truth)

    @classmethod
    def preview(cls, case: Case) -> View:
        """The coarse grid; the truth is interpolated."""
        full = Box.around(case.bowl, FULL_POINTS_PER_WAVELENGTH)
        box = Box.around(case.bowl, PREVIEW_POINTS_PER_WAVELENGTH)
        truth = torch.from_numpy(case.pressure.astype(np.float32))[None]
        march = case.preview_hu, case.preview_water, case.preview_field
        return cls._of(case.bowl, box, *march, resampled(truth, full, box))

    @classmethod
    def _of(cls, bowl: Bowl, box: Box, hu: object, water: object, field: object, truth: Tensor) -> View:
        values = torch.from_numpy(np.asarray(hu, np.float32))[None]
        wet = torch.from_numpy(np.asarray(water, np.float32) / 255)[None]
        real, imag = torch.from_numpy(np.asarray(field, np.float32))
        medium = medium_from_hu(values, wet, bowl.frequency_hz)
        region = beyond_near_skull(values[0].numpy(), box.spacing_mm)
        return cls(medium, torch.complex(real, imag)[None], truth, region, bowl, box)

    def sample(self) -> dict[str, Tensor]:
        """What the loss needs: features (c, x', y', z'); prior and truth (x, y, z); region (x, y, z) bool."""
        seen = features(self.medium, self.field, self.bowl, self.box)[0]
        return {
            "features": seen,
            "prior": self.field[0].abs(),
            "truth": self.truth[0],
            "region": torch.from_numpy(self.region),
        }


def resampled(volume: Tensor, source: Box, target: Box) -> Tensor:
    """Interpolate a volume (1, x, y, z) on one box at the voxels of another, trilinear; edges go on."""
    axes = [
        (torch.from_numpy(target.axis_mm(a)).float() - source.origin_mm[a]) / source.spacing_mm
        for a in range(3)
    ]
    unit = [2 * x / (n - 1) - 1 for x, n in zip(axes, source.shape, strict=True)]
    grid = torch.stack(torch.meshgrid(*unit, indexing="ij")[::-1], -1)[None]
    return grid_sample(volume[None], grid, padding_mode="border", align_corners=True)[0]


class Samples:
    """A map-style data set of cases: files are read when they are asked for.

    Each is mirrored in x and y and transposed at random (the physics is the same), and one batch in three
    shows previews. Both depend on seed, epoch and the indices of the batch alone.

    Args:
        files: The cases.
        seed: Of the augmentation.
        augment: Off for validation.
    """

    def __init__(self, files: Sequence[Path], seed: int = 0, *, augment: bool = True) -> None:
        self.files, self.seed, self.augment, self.epoch = list(files), seed, augment, 0

    def __len__(self) -> int:
        return len(self.files)

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentation."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One case as a batch of one would show it."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Tensor]]:
        """A batch, every volume padded at its far ends to the largest; the region leaves the padding out."""
        rng = np.random.default_rng([self.seed, self.epoch, indices[0]])
        view = View.preview if self.augment and rng.uniform() < 1 / 3 else View.full
        samples = [view(Case.load(self.files[i])).sample() for i in indices]
        if self.augment:
            samples = [_turned(s, int(rng.integers(8))) for s in samples]
        return [_padded(s, samples) for s in samples]


def _turned(sample: dict[str, Tensor], which: int) -> dict[str, Tensor]:
    """One of the eight symmetries of the square across the beam; x and y are the axes -3 and -2."""
    flips = [axis for bit, axis in ((1, -3), (2, -2)) if which & bit]
    turned = {name: volume.flip(flips) for name, volume in sample.items()}
    return {name: v.transpose(-3, -2) for name, v in turned.items()} if which & 4 else turned


def _padded(sample: dict[str, Tensor], samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    out = {}
    for name, volume in sample.items():
        shape = volume.shape[-3:]
        largest = [max(s[name].shape[a] for s in samples) for a in (-3, -2, -1)]
        margins = [m for n, of in zip(reversed(shape), reversed(largest), strict=True) for m in (0, of - n)]
        out[name] = pad(volume, margins).contiguous()
    return out
