"""Each engine on each sample: the published metrics on the cube, our own beyond the near skull."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.dataset_evaluation.contenders import Answer, Contender, default_name, make_contender
from trifocal.focus.dataset_evaluation.scene import Scene, find_case
from trifocal.focus.metrics import field_errors
from trifocal.focus.published_metrics import published_metrics
from trifocal.focus.tfuscapes import DataSet
from trifocal.focus.tfuscapes.data_set import read_record
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trifocal.focus.dataset_evaluation.saved import SavedEvaluation
    from trifocal.focus.tfuscapes.data_set import Split

BEYOND = "beyond_"


@dataclass(frozen=True)
class DataSetPlan:
    """What is evaluated on what.

    Attributes:
        data: Folders of data sets of the same samples, one for each frame of the cubes: a network is judged
            on the one of its frame, everything else on the first.
        engines: Rungs of the ladder by name, "grid-N" (the floor of a network's grid of N voxels), or paths
            of weights.
        names: What to call them in tables, in the same order; by their rungs and run folders if left out.
        split: Of the data set; None for all of it.
        cases: Folders of the simulated cases that the samples were made from.
        spacing_mm: Edge of a voxel, where the data set does not tell and it is not the published one.
        most: So many samples at most, evenly from the list; None for all.
        device: Where the networks of the published kind run.
        against: Engine whose errors the others' are given as multiples of, by the name that it is called.

    Raises:
        ValueError: If there is no engine, one twice, or names do not fit.
    """

    data: tuple[Path, ...]
    engines: tuple[str, ...]
    names: tuple[str, ...] = ()
    split: Split | None = "test"
    cases: tuple[Path, ...] = ()
    spacing_mm: float | None = None
    most: int | None = None
    device: str = "auto"
    against: str | None = None

    def __post_init__(self) -> None:
        if not self.data:
            msg = "data must be one folder or more, got none"
            raise ValueError(msg)
        if not self.engines:
            msg = "engines must be one or more: rungs of the ladder, grid-N, or .safetensors files"
            raise ValueError(msg)
        if self.names and len(self.names) != len(self.engines):
            msg = f"names must be one for each of the {len(self.engines)} engines, got {len(self.names)}"
            raise ValueError(msg)
        if len(set(self.called)) < len(self.engines):
            msg = (
                f"engines must differ in what they are called, got {list(self.called)}: tell them by --names"
            )
            raise ValueError(msg)
        if self.against is not None and (self.against not in self.called or len(self.engines) < 2):
            msg = f"against must be one of several engines, {list(self.called)}, got {self.against!r}"
            raise ValueError(msg)
        if self.most is not None and self.most < 1:
            msg = f"the number of samples must be 1 or more, got {self.most}"
            raise ValueError(msg)

    @property
    def called(self) -> tuple[str, ...]:
        """The name of each engine."""
        return self.names or tuple(default_name(source) for source in self.engines)

    def chosen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The samples that are used."""
        if self.most is None or self.most >= len(names):
            return names
        index = np.linspace(0, len(names) - 1, self.most).round().astype(int)
        return tuple(names[i] for i in index)


@dataclass(frozen=True, eq=False)
class Row:
    """One engine on one sample.

    Attributes:
        sample: Its name in the data set.
        head: Names the head.
        engine: What the engine is called.
        published: The published metrics and the reproduction's, on the cube; by the prefix `beyond_` also
            beyond the near skull only.
        ours: Errors beyond the near skull, on the box in the frame of the bowl.
        peak_pa: Predicted and true peak there.
        seconds: Of the prediction; NaN where it starts from a stored march.
    """

    sample: str
    head: str
    engine: str
    published: dict[str, float]
    ours: dict[str, float]
    peak_pa: tuple[float, float]
    seconds: float = nan

    def errors(self) -> dict[str, float]:
        """All figures by name, NaN where one is not known."""
        return {**self.published, **self.ours, "seconds": self.seconds}


@dataclass(frozen=True, eq=False)
class DataSetEvaluation:
    """What was measured.

    Attributes:
        plan: What was asked for.
        rows: By sample and engine.
        weights: Engine -> name, version and hash of its weights, None where it has none.
        notes: What must be known about the figures.
    """

    plan: DataSetPlan
    rows: tuple[Row, ...]
    weights: dict[str, dict[str, str] | None]
    notes: tuple[str, ...]


def evaluate_data_set(
    plan: DataSetPlan, *, earlier: SavedEvaluation | None = None, progress: Progress = silent
) -> DataSetEvaluation:
    """Predict every sample by every engine, and judge it; leave out what an earlier evaluation knows.

    Raises:
        ValueError: If a file is damaged, or an engine needs what the data do not hold.
        FileNotFoundError: If the data set or a case is not there.
        CheckpointError: If weights are missing, damaged or of another engine.
        Cancelled: If `progress` raises it, between two predictions.
    """
    sets = open_sets(plan)
    made = (make_contender(source, device=plan.device) for source in plan.engines)
    contenders = dict(zip(plan.called, made, strict=True))
    homes = {called: home_of(contender, sets) for called, contender in contenders.items()}
    weights = {called: contender.weights for called, contender in contenders.items()}
    known = {} if earlier is None else earlier.known(plan, weights)
    names = plan.chosen(next(iter(sets.values())).names)
    rows: list[Row] = []
    published = any(data.load(data.names[0]).facts is None for data in sets.values())
    for i, name in enumerate(names):
        scenes: dict[str, Scene] = {}
        for j, (called, contender) in enumerate(contenders.items()):
            done = (i + j / len(contenders)) / len(names)
            progress(done, f"sample {i + 1} of {len(names)}: {called}")
            if name in known.get(called, {}):
                rows.append(known[called][name])
                continue
            frame = homes[called]
            if frame not in scenes:
                there = [c for other, c in contenders.items() if homes[other] == frame]
                scenes[frame] = load_scene(sets[frame], name, plan, there)
            rows.append(judge(scenes[frame], called, contender.answer(scenes[frame], sets[frame])))
    progress(1.0, "done")
    return DataSetEvaluation(plan, tuple(rows), weights, _notes(plan, published))


def open_sets(plan: DataSetPlan) -> dict[str, DataSet]:
    """The data sets of a plan by the frame of their cubes, the first one first.

    Raises:
        ValueError: If one is damaged, two are of one frame, or they are not of the same samples.
        FileNotFoundError: If one is not there.
    """
    found: dict[str, DataSet] = {}
    for folder in plan.data:
        data = DataSet.open(folder, plan.split, plan.spacing_mm)
        record = read_record(folder)
        frame = "world" if record is None else str(record["frame"])
        if frame in found:
            msg = f"data sets must be of different frames, got {found[frame].folder} and {folder} of {frame}"
            raise ValueError(msg)
        first = next(iter(found.values()), data)
        if data.names != first.names:
            msg = f"data sets must be of the same samples, and {folder} has others than {first.folder}"
            raise ValueError(msg)
        found[frame] = data
    return found


def home_of(contender: Contender, sets: Mapping[str, DataSet]) -> str:
    """The frame of the data set that something is judged on.

    Raises:
        ValueError: If it needs cubes of a frame that no data set has.
    """
    if contender.frame is None:
        return next(iter(sets))
    if contender.frame not in sets:
        msg = (
            f"{contender.source} takes cubes in the frame of the {contender.frame}, and those given are in "
            f"that of the {' and the '.join(sets)}: name a data set of the same samples in its frame too"
        )
        raise ValueError(msg)
    return contender.frame


def load_scene(data: DataSet, name: str, plan: DataSetPlan, contenders: Any = ()) -> Scene:
    """A sample with its case, if there are folders of cases or an engine needs one.

    Raises:
        ValueError: If the file is damaged, or an engine needs a case and the sample tells of none.
        FileNotFoundError: If the case is in none of the folders.
    """
    sample = data.load(name)
    needed = any(c.needs_case for c in contenders)
    if needed or (plan.cases and sample.facts is not None):
        return Scene.of(sample, find_case(sample, plan.cases))
    return Scene.of(sample)


def judge(scene: Scene, engine: str, answer: Answer) -> Row:
    """Hold an answer against the truth of both grids."""
    sample, block = scene.sample, scene.block
    truth = np.where(scene.inside, sample.pressure, np.float32(0))
    fields = answer.published[block], truth[block]  # the rest is 0 for all, and changes no figure
    published = published_metrics(*fields, sample.spacing_mm).record()
    beyond = published_metrics(*fields, sample.spacing_mm, scene.cube_region[block]).record()
    published |= {f"{BEYOND}{key}": value for key, value in beyond.items()}
    ours = field_errors(answer.box, scene.truth, scene.region, scene.box, scene.water_peak_pa).record()
    peaks = tuple(float(np.where(scene.region, f, 0).max()) for f in (answer.box, scene.truth))
    return Row(
        sample.name,
        sample.subject,
        engine,
        {key: float(value) for key, value in published.items()},
        ours,
        (peaks[0], peaks[1]),
        answer.seconds,
    )


def _notes(plan: DataSetPlan, published: bool) -> tuple[str, ...]:
    found = [
        "Published metrics: on the whole cube, in each sample's log space log(1 + p / true peak); outside "
        "the simulated box every engine counts as zero, as the truth does. The highest pressure of the whole "
        "cube is often in the bone: the second table looks beyond the near skull only.",
        "A network that answers relative to its own peak is judged in the published metrics as it answers, "
        "and in ours by its field times the mean peak of its training set.",
    ]
    if published:
        found.append(
            "These samples tell no pose, frequency or pressure: the bowl was fitted to its voxels, published "
            "metrics are on all of the cube, and there is no transmission."
        )
    elif not plan.cases:
        found.append("Without --cases the truth on the bowl's box is interpolated from the cube.")
    return tuple(found)
