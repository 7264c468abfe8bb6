"""A tiny data set in the published format, from simulated shells, and an untrained network of its kind."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from small_cases import BOWLS, shell_source
from trifocal.checkpoint import save
from trifocal.focus.data import HeadJob, simulate
from trifocal.focus.deeptfus.config import DeepTFUSConfig
from trifocal.focus.deeptfus.inputs import Task
from trifocal.focus.deeptfus.model import DeepTFUS
from trifocal.focus.tfuscapes.cube import CubeSpec
from trifocal.focus.tfuscapes.writer import write_data_set
from trifocal.predictor import silent

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.focus.deeptfus.inputs import Frame

VOXELS, SPACING_MM = 32, 3.0
POSES = 2


def shell_data_set(folder: Path, heads: int = 2) -> tuple[Path, Path]:
    """So many shells of `POSES` placements each, all in the split test.

    Returns:
        Folder of the cases, folder of the data set.
    """
    sources = [shell_source(folder, 1000.0 + 100 * i) for i in range(heads)]
    jobs = [HeadJob(source, seed, POSES, BOWLS) for seed, source in enumerate(sources)]
    cases, out = folder / "cases", folder / "cubes"
    simulate(jobs, cases, processes=1, device="cpu", progress=silent)
    write_data_set(
        [cases],
        out,
        CubeSpec("world", VOXELS, SPACING_MM),
        cts=[s.head for s in sources],  # type: ignore[misc]
        split="test",
    )
    return cases, out


def untrained(folder: Path, *, absolute: bool = False, frame: Frame = "world") -> Path:
    """Weights of a small network as it starts."""
    torch.manual_seed(0)
    model = DeepTFUSConfig(base_width=8, depth=2, frequencies=2, points=32, token=16, attention_levels=1)
    task = Task(VOXELS // 2, frame, absolute, VOXELS, SPACING_MM)
    path = folder / "deeptfus.safetensors"
    save(
        path,
        DeepTFUS(model).state_dict(),
        engine="deeptfus",
        config={
            "model": asdict(model),
            "task": asdict(task),
            "mean_peak_pa": 1e5,
            "mean_transmission": 0.5,
        },
        card={},
    )
    return path
