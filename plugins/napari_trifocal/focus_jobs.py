"""What the focus widget's threads do: get a head ready, predict, save. No Qt."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.focus_engines import Engines
from napari_trifocal.focus_placing import MOST_STANDOFF_MM, Placing
from napari_trifocal.layers import cloud_layer, shell_layer, slices_layer, to_layers
from napari_trifocal.reader import volume_name
from trifocal import io
from trifocal.focus.head import Head
from trifocal.focus.placement import aim, clearance_mm, first_target
from trifocal.focus.predictor import FocusInput, FocusPrediction, FocusPredictor
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl
    from trifocal.image import Image


@dataclass(frozen=True)
class Source:
    """Where a CT comes from.

    Attributes:
        path: File or folder, if it has one.
        image: The volume, if it is in memory already.
        resample: Accept a tilted or uneven series and resample it.
        label: What to call it where it has no path.
    """

    path: Path | None = None
    image: Image | None = None
    resample: bool = False
    label: str = "CT"

    @property
    def name(self) -> str:
        """What to call it."""
        return self.label if self.path is None else volume_name(self.path)

    def load(self, bowl: Bowl, progress: Progress = silent) -> Loaded:
        """Read it, find the head, put the bowl on it and make the layers.

        Raises:
            ImageError: If it is not a usable head CT.
        """
        progress(0.0, f"reading {self.name}")
        image = self.image
        if image is None:
            assert self.path is not None
            image = io.read(self.path, resample=self.resample)
        head = Head.from_image(image, progress=lambda f, what: progress(0.2 + 0.6 * f, what))
        try:
            target = first_target(head, bowl)
            pose, warnings = aim(head, bowl, target)
        except ValueError:  # no point of the skin couples: start at one that does not, and say why
            target = head.centre_mm
            pose, warnings = aim(head, bowl, target, target + [0, 0, 150.0])
        gap = float(np.clip(clearance_mm(head, bowl, pose), 0, MOST_STANDOFF_MM))
        # What a bowl's previews have in common is made here, not at the first touch of the mouse.
        FocusPredictor("has", device="cpu").predict(FocusInput(head, bowl, pose).preview())
        progress(0.8, "drawing the skull")
        layers = to_layers(head, name=self.name)
        placing = Placing(pose, target, "target", gap)
        return Loaded(head, self, placing, layers, head.warnings + warnings)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A head that is ready, with the first placement on it and its layer data."""

    head: Head
    source: Source
    placing: Placing
    layers: list[Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Order:
    """What to predict.

    Attributes:
        head: The prepared head.
        bowl: The transducer.
        pose: Bowl frame -> world.
        target_mm: (3,) where the focus is wanted.
        engine: Rung of the ladder.
        device: "auto", "cpu" or "cuda".
        preview: Coarse and soon, or full.
        engines: What is loaded already.
    """

    head: Head
    bowl: Bowl
    pose: Pose
    target_mm: NDArray[np.float64]
    engine: str
    device: str
    preview: bool = False
    engines: Engines = field(default_factory=Engines)

    @property
    def inputs(self) -> FocusInput:
        """What the engine gets."""
        inputs = FocusInput(self.head, self.bowl, self.pose, self.target_mm)
        return inputs.preview() if self.preview else inputs

    def at_place_of(self, other: Order) -> bool:
        """Whether both have the same bowl at the same place on the same head."""
        same = self.head is other.head and self.bowl == other.bowl
        return same and np.array_equal(self.pose.matrix, other.pose.matrix)

    def predict(self, progress: Progress = silent) -> Answer:
        """Predict, and make the layer data here rather than on the interface thread.

        Raises:
            EngineError: If the engine cannot be loaded.
        """
        predictor = self.engines.get(self.engine, self.device)
        prediction = predictor.predict(self.inputs, progress=progress)
        layers = [shell_layer(prediction)]
        if not self.preview:
            layers += [cloud_layer(prediction), slices_layer(prediction)]
        return Answer(self, prediction, layers)


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction and the layer data that show it."""

    order: Order
    prediction: FocusPrediction
    layers: list[Any]


def save(
    order: Order,
    prediction: FocusPrediction | None,
    folder: Path,
    picture: NDArray[np.uint8] | None,
    progress: Progress = silent,
    truth: FocusPrediction | None = None,
) -> Path:
    """Write the field, its figures, pose, pictures and provenance to a folder.

    Args:
        order: What was asked for last; predicted again in full if `prediction` is not its answer.
        prediction: A full prediction, if there is one.
        folder: Made if it does not exist.
        picture: (rows, columns, 4) of the window, written as window.png.
        progress: Gets the progress.
        truth: The solver's field for the same order, if it has been verified.

    Raises:
        OSError: If the folder cannot be written.
    """
    from PIL import Image as Picture

    from trifocal.focus.output import save as save_prediction

    if prediction is None:
        prediction = replace(order, preview=False).predict(progress).prediction
    progress(0.5, f"writing to {folder.name}")
    save_prediction(prediction, folder, truth=truth)
    if picture is not None:
        Picture.fromarray(picture).save(folder / "window.png")
    return folder


def command_line(order: Order, source: Source, bowl_name: str, cache: Path, *, verify: bool = False) -> str:
    """The command that repeats a prediction; its pose and a CT without a file are written to the cache."""
    record = json.dumps(order.pose.record(), sort_keys=True)
    pose = cache / "poses" / f"{hashlib.sha256(record.encode()).hexdigest()[:16]}.json"
    pose.parent.mkdir(parents=True, exist_ok=True)
    order.pose.to_json(pose)
    ct = source.path
    if ct is None:
        ct = cache / "volumes" / f"{order.head.ct.sha256[:16]}.nii.gz"
        ct.parent.mkdir(parents=True, exist_ok=True)
        if not ct.exists():
            io.write(order.head.ct, ct)
    bowl = str(Path(bowl_name).absolute()) if Path(bowl_name).suffix else bowl_name
    words = ["trifocal", "predict", "focus", "--ct", str(Path(ct).absolute()), "--bowl", bowl]
    target = ",".join(f"{c:g}" for c in order.target_mm)
    words += ["--pose", str(pose.absolute()), f"--target={target}", "--out", "result"]
    words += ["--engine", order.engine, "--device", order.device]
    words += ["--resample"] if source.resample else []
    words += ["--verify"] if verify else []
    return shlex.join(words)
