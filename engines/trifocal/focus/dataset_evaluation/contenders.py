"""What is evaluated: rungs of the ladder, networks of the published kind, and the floor of a coarse grid."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from trifocal.focus.deeptfus.inputs import averaged, log_pressure, pressure_of, widened
from trifocal.focus.deeptfus.predictor import ENGINE, DeepTFUSPredictor
from trifocal.focus.freefield import free_field
from trifocal.focus.learned import BUNDLED, Learned
from trifocal.focus.predictor import LEARNED, Engine, water_peak_pa
from trifocal.focus.skull import NearSkull
from trifocal.predictor import one_core

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.scene import Scene
    from trifocal.focus.deeptfus.inputs import Frame
    from trifocal.focus.samples import View
    from trifocal.focus.tfuscapes import DataSet

RUNGS: tuple[Engine, ...] = ("free-field", "has", "regression", "network")
GRID = "grid-"


@dataclass(frozen=True, eq=False)
class Answer:
    """One field of one engine on both grids.

    Attributes:
        cube: (n, n, n) amplitude in Pa, 0 where nothing was simulated.
        box: (x, y, z) the same on the box of the bowl.
        published: (n, n, n) what the published metrics judge, in the unit of the true field: a network that
            answers relative to its own peak is judged as it answers, with the true peak for that peak.
        seconds: Wall clock of the prediction; NaN where it starts from a stored march.
    """

    cube: NDArray[np.float32]
    box: NDArray[np.float32]
    published: NDArray[np.float32]
    seconds: float = nan


class Contender(Protocol):
    """What can be evaluated."""

    @property
    def source(self) -> str:
        """What it was made from: the name of a rung, or the path of weights."""

    @property
    def needs_case(self) -> bool:
        """Whether it starts from the simulated case."""

    @property
    def frame(self) -> Frame | None:
        """Axes of the cubes that it takes; None if any will do."""

    @property
    def weights(self) -> dict[str, str] | None:
        """Name, version and hash of its weights, if it has any."""

    def answer(self, scene: Scene, data: DataSet) -> Answer:
        """Predict one sample."""


@dataclass(frozen=True, eq=False)
class Rung:
    """A rung of our ladder, on the medium and the march that the case has stored.

    Attributes:
        source: Its name, or the path of weights of the network.
        engine: The rung.
        learned: Weights of a learned one.
    """

    source: str
    engine: Engine
    learned: Learned | None = None
    needs_case: bool = True
    frame: Frame | None = None

    @property
    def weights(self) -> dict[str, str] | None:
        """Name, version and hash of the weights of a learned rung."""
        return None if self.learned is None else self.learned.checkpoint.record()

    def answer(self, scene: Scene, data: DataSet) -> Answer:
        """Predict on the box, and interpolate into the cube.

        Raises:
            ValueError: If the scene has no case.
        """
        if scene.view is None:
            msg = f"{self.source} must have the case of {scene.sample.name}, got none"
            raise ValueError(msg)
        with one_core(), torch.no_grad():
            box = self._amplitude(scene.view)
        cube = scene.to_cube(box)
        return Answer(cube, box, cube)

    def _amplitude(self, view: View) -> NDArray[np.float32]:
        """Amplitude (x, y, z) in Pa."""
        unit = water_peak_pa(view.bowl)
        if self.engine == "free-field":
            axes = [torch.from_numpy(view.box.axis_mm(a)).float() for a in range(3)]
            points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
            return np.asarray(free_field(view.bowl).amplitude(points))
        field = view.field * unit  # (1, x, y, z) complex
        if self.learned is None:
            return np.asarray(field[0].abs())
        if self.engine == "network":
            return np.asarray(self.learned.amplitude(view.medium, field, view.bowl, view.box, unit)[0])
        skull = NearSkull.measure(view.medium.hu[0].numpy(), view.region, view.bowl, view.box)
        return np.asarray(field[0].abs() * self.learned.regression.factor(skull, view.bowl))


@dataclass(frozen=True, eq=False)
class CubeNetwork:
    """A network of the published kind, on the cube.

    Attributes:
        source: Path of its weights.
        predictor: The network.
    """

    source: str
    predictor: DeepTFUSPredictor
    needs_case: bool = False

    @property
    def frame(self) -> Frame:
        """Axes of the cubes that it was trained on."""
        return self.predictor.learned.task.frame

    @property
    def weights(self) -> dict[str, str] | None:
        """Name, version and hash."""
        checkpoint = self.predictor.learned.checkpoint
        return None if checkpoint is None else checkpoint.record()

    def answer(self, scene: Scene, data: DataSet) -> Answer:
        """Predict on the cube, and interpolate on the box."""
        start = time.perf_counter()
        found = self.predictor.predict_sample(scene.sample, data)
        seconds = time.perf_counter() - start
        learned, facts = self.predictor.learned, scene.sample.facts
        cube = np.where(scene.inside, found, np.float32(0))
        published = cube
        if not learned.task.absolute:
            unit = learned.unit(None if facts is None else facts.water_peak_pa)
            published = cube * np.float32(float(scene.sample.pressure.max()) / unit)
        return Answer(cube, scene.to_box(found), published, seconds)


@dataclass(frozen=True, eq=False)
class GridFloor:
    """The truth, averaged to the grid of a network and back: what no network on that grid can beat.

    Attributes:
        source: "grid-N".
        voxels: N, edge of the network's cube.
    """

    source: str
    voxels: int
    needs_case: bool = False
    frame: Frame | None = None
    weights: dict[str, str] | None = None

    def answer(self, scene: Scene, data: DataSet) -> Answer:
        """What a network would give that answers its training target exactly."""
        pressure = torch.from_numpy(np.asarray(scene.sample.pressure))
        coarse = averaged(pressure, self.voxels)
        unit = float(coarse.max())
        found = pressure_of(widened(log_pressure(coarse, unit), len(pressure)), unit).numpy()
        cube = np.where(scene.inside, found, np.float32(0))
        return Answer(cube, scene.to_box(found), cube)


def make_contender(source: str, *, device: str = "auto") -> Contender:
    """A rung by its name, "grid-N", or a .safetensors file of `train focus` or `train deeptfus`.

    Raises:
        ValueError: If there is no such engine.
        CheckpointError: If weights are missing, damaged or of another engine.
    """
    if source in RUNGS:
        learned = Learned.load(BUNDLED) if source in LEARNED else None
        return Rung(source, source, learned)
    if source.startswith(GRID) and source.removeprefix(GRID).isdecimal():
        return GridFloor(source, int(source.removeprefix(GRID)))
    if Path(source).suffix == ".safetensors":
        if _is_published_kind(source):
            return CubeNetwork(source, DeepTFUSPredictor.load(source, device=device))
        return Rung(source, "network", Learned.load(source))
    msg = f"an engine must be one of {list(RUNGS)}, grid-N, or a .safetensors file, got {source!r}"
    raise ValueError(msg)


def _is_published_kind(source: str) -> bool:
    """Whether weights say that they are DeepTFUS's; what else is wrong with them is found in loading."""
    about = Path(source).with_suffix(".json")
    if not about.is_file():
        return False
    with suppress(ValueError, TypeError, KeyError):
        return bool(json.loads(about.read_text(encoding="utf-8"))["engine"] == ENGINE)
    return False


def default_name(source: str) -> str:
    """What an engine is called in tables: a rung by its name, weights by the folder of their run."""
    path = Path(source)
    return path.resolve().parent.name if path.suffix == ".safetensors" else source
