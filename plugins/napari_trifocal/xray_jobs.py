"""What the X-ray widget's threads do: make films, look them over, reconstruct, compare, simulate. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_trifocal.xray_arrangement import Arrangement
from napari_trifocal.xray_checks import Checked, look_over
from napari_trifocal.xray_engines import ENGINES
from napari_trifocal.xray_layers import (
    ct_layer,
    null_space_layer,
    scene_layers,
    std_layer,
    surface_layers,
)
from napari_trifocal.xray_setup import said_of
from napari_trifocal.xray_slot import SIDES, Slot
from trifocal.predictor import Progress, silent
from trifocal.radiograph import Radiograph
from trifocal.xray.films.inputs import Prepared, prepare
from trifocal.xray.planning import plan_grid, project_ct

if TYPE_CHECKING:
    from napari_trifocal.layers import LayerData
    from napari_trifocal.xray_engines import Engines
    from napari_trifocal.xray_setup import Setup
    from trifocal.image import Image
    from trifocal.xray.predictor import XrayPrediction

REFINE_STEPS = 15
SAMPLE_NAME, SAMPLE_SEED, SAMPLE_MM = "Trunk phantom", 5, 4.0
SAMPLE_CENTER_MM, SAMPLE_EXTENT_MM = (0.0, 0.0, 70.0), (384.0, 320.0, 320.0)
"""Of the chest; 0 is the dome of the right diaphragm."""


@dataclass(frozen=True)
class Options:
    """How to reconstruct.

    Attributes:
        engine: One of `xray_engines.ENGINES`.
        device: "auto", "cpu" or "cuda".
        refine: Whether the volume is brought into agreement with the films.
        samples: For the uncertainty, 0 for the engine's own estimate.
    """

    engine: str = next(iter(ENGINES))
    device: str = "auto"
    refine: bool = True
    samples: int = 4


@dataclass(frozen=True, eq=False)
class Order:
    """What to reconstruct.

    Attributes:
        arrangement: X-rays and geometry.
        options: How.
        checked: What came of looking the films over; None if that has not been done yet.
        engines: What is loaded already.
    """

    arrangement: Arrangement
    options: Options
    checked: Checked | None
    engines: Engines

    def look_over(self, progress: Progress = silent) -> Checked:
        """Bring the films onto their detectors, and look at them and at the geometry.

        Raises:
            ValueError: If the geometry makes no sense, or a film cannot be used as it is.
        """
        progress(0.0, "looking the films over")
        arrangement, found = self.arrangement, self.arrangement.resolved
        made = prepare(
            {str(side): arrangement.slots[side].film() for side in found.sides},
            geometry=found.geometry,
        )
        return look_over(replace(made, assumptions=found.assumptions))

    def predict(self, progress: Progress = silent) -> Answer:
        """Reconstruct, and make the layer data here rather than on the interface thread.

        Raises:
            EngineError: If the engine cannot be loaded.
            ValueError: If a film or the geometry cannot be used.
        """
        progress(0.0, "preparing the films")
        checked = self.look_over(progress) if self.checked is None else self.checked
        assert checked.prepared is not None
        refine, samples = REFINE_STEPS if self.options.refine else 0, self.options.samples
        prepared = replace(
            checked.prepared, inputs=replace(checked.prepared.inputs, refine=refine, samples=samples)
        )
        progress(0.05, f"loading the engine {self.options.engine}")
        engine = self.engines.get(self.options.engine, self.options.device)
        prediction = engine.predict(prepared.inputs, progress=lambda f, what: progress(0.1 + 0.8 * f, what))
        progress(0.9, "making surfaces")
        return Answer.of(replace(self, checked=checked), prepared, prediction)


@dataclass(frozen=True, eq=False)
class Answer:
    """A reconstruction and the layer data that show it.

    Attributes:
        order: What was asked for.
        prepared: What it was made from.
        prediction: What came of it.
        doubts: What the user must not overlook, the findings that were left as they are first.
        scene: Layers that are the same before and after the refinement.
        before: CT and surfaces before the refinement.
        after: The same after it.
    """

    order: Order
    prepared: Prepared
    prediction: XrayPrediction
    doubts: tuple[str, ...]
    scene: list[LayerData]
    before: list[LayerData]
    after: list[LayerData]

    @classmethod
    def of(cls, order: Order, prepared: Prepared, prediction: XrayPrediction) -> Answer:
        """Make the layers of a prediction."""
        films = [view.film for view in prediction.views]
        checked = order.checked or Checked()
        doubts = [f"made in spite of: {finding}" for finding in checked.left]
        told = [*prediction.warnings, *checked.doubts, said_of(prepared.assumptions)]
        doubts += [said for said in dict.fromkeys(told) if said]
        return cls(
            order,
            prepared,
            prediction,
            tuple(doubts),
            [*std_layer(prediction), null_space_layer(prediction), *scene_layers(films)],
            [ct_layer(prediction.network), *surface_layers(prediction.network)],
            [ct_layer(prediction.ct), *surface_layers(prediction.ct)],
        )

    @property
    def refined(self) -> bool:
        """Whether there is a difference between before and after."""
        return self.order.options.refine

    def volume(self, *, refined: bool) -> Image:
        """The CT before or after the refinement."""
        return self.prediction.ct if refined else self.prediction.network


@dataclass(frozen=True, eq=False)
class Simulation:
    """X-rays projected from a CT.

    Attributes:
        ct: What was projected.
        name: Of the CT.
        arrangement: The X-rays, and the geometry with the box that was planned around the CT.
    """

    ct: Image
    name: str
    arrangement: Arrangement


def simulate(ct: Image, name: str, setup: Setup, progress: Progress = silent) -> Simulation:
    """Project a CT in HU onto both detectors.

    Raises:
        ImageError: If it is not in HU.
        ValueError: If the geometry makes no sense.
    """
    progress(0.1, f"projecting {name}")
    grid = plan_grid(ct, setup.voxels)
    geometry = setup.preset(grid)
    films = project_ct(ct, geometry, progress=progress)
    slots = {}
    for side, view, pixels in zip(SIDES, geometry.views, films, strict=True):
        radiograph = Radiograph(
            pixels,
            "line integral",
            f"{view.name} of {name}",
            view.pixel_mm,
            position=setup.of(side).position or view.name,
            source_to_detector_mm=view.source_to_detector_mm,
            source_to_patient_mm=float((np.asarray(grid.center_mm) - view.source_mm) @ view.normal),
            notes={"simulated_from": name, "energy_kev": geometry.energy_kev},
        )
        slots[side] = Slot(radiograph, simulated=True)
    return Simulation(ct, name, Arrangement(slots, replace(setup, given=geometry)))


def sample_ct(progress: Progress = silent) -> Image:
    """The chest of a trunk that the project generates itself, in HU."""
    from trifocal.xray.phantoms import torso

    progress(0.0, "making the trunk phantom")
    trunk = torso(SAMPLE_SEED, spacing_mm=SAMPLE_MM)
    progress(0.8, "cutting out the chest")
    low = trunk.world_to_index(np.array(SAMPLE_CENTER_MM) - np.array(SAMPLE_EXTENT_MM) / 2)
    return trunk.crop(np.rint(low), np.rint(low + np.array(SAMPLE_EXTENT_MM) / trunk.spacing_mm))
