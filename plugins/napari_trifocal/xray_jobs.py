"""What the X-ray widget's threads do: make films, look them over, reconstruct, compare, simulate. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_trifocal.xray_layers import (
    ct_layer,
    null_space_layer,
    scene_layers,
    std_layer,
    surface_layers,
)
from napari_trifocal.xray_offers import offer_of
from napari_trifocal.xray_slot import SIDES, Slot
from trifocal.predictor import Progress, silent
from trifocal.radiograph import Radiograph
from trifocal.xray.inputs import Prepared, prepare
from trifocal.xray.planning import plan_grid, project_ct

if TYPE_CHECKING:
    from napari_trifocal.layers import LayerData
    from napari_trifocal.xray_engines import Engines
    from napari_trifocal.xray_setup import Setup
    from napari_trifocal.xray_slot import Side
    from trifocal.image import Image
    from trifocal.xray.predictor import XrayPrediction


@dataclass(frozen=True, eq=False)
class Order:
    """What to reconstruct.

    Attributes:
        slots: The X-rays, one or two.
        setup: Where sources and detectors stood.
        engine: One of `xray_engines.ENGINES`.
        device: "auto", "cpu" or "cuda".
        refine: Steps of the physics refinement, 0 for none.
        samples: For the uncertainty, 0 for the engine's own estimate.
        findings: Sentences about views that look wrong and that the user left as they are.
        engines: What is loaded already.
    """

    slots: dict[Side, Slot]
    setup: Setup
    engine: str
    device: str
    refine: int
    samples: int
    findings: tuple[str, ...]
    engines: Engines

    @property
    def sides(self) -> list[Side]:
        """The views that there are, the frontal one first."""
        return [side for side in SIDES if side in self.slots]

    def prepare(self) -> Prepared:
        """What a prediction is made from, and what there is to say about it.

        Raises:
            ValueError: If the geometry makes no sense, or a film cannot be used as it is.
        """
        films = {side: self.slots[side].film() for side in self.sides}
        found = self.setup.resolve(films)
        made = prepare(
            {str(side): film for side, film in films.items()},
            geometry=found.geometry,
            refine=self.refine,
            samples=self.samples,
        )
        return replace(made, assumptions=found.assumptions)

    def predict(self, progress: Progress = silent) -> Answer:
        """Reconstruct, and make the layer data here rather than on the interface thread.

        Raises:
            EngineError: If the engine cannot be loaded.
            ValueError: If a film or the geometry cannot be used.
        """
        progress(0.0, "preparing the films")
        prepared = self.prepare()
        progress(0.05, f"loading the engine {self.engine}")
        engine = self.engines.get(self.engine, self.device)
        prediction = engine.predict(prepared.inputs, progress=lambda f, what: progress(0.1 + 0.8 * f, what))
        progress(0.9, "making surfaces")
        return Answer.of(self, prepared, prediction)


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
        doubts = [f"made in spite of: {finding}" for finding in order.findings]
        told = [said for said in prepared.warnings if not offer_of(said)]
        told += [f"assumed {a.field} {a.value} of the {a.view or 'box'}" for a in prepared.assumptions]
        doubts += list(dict.fromkeys([*prediction.warnings, *told]))
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
        return self.order.refine > 0

    def volume(self, *, refined: bool) -> Image:
        """The CT before or after the refinement."""
        return self.prediction.ct if refined else self.prediction.network


@dataclass(frozen=True, eq=False)
class Simulation:
    """X-rays projected from a CT.

    Attributes:
        ct: What was projected.
        name: Of the CT.
        setup: Where sources and detectors stood, and the box that was planned around the CT.
        slots: The X-rays.
    """

    ct: Image
    name: str
    setup: Setup
    slots: dict[Side, Slot] = field(default_factory=dict)


def simulate(ct: Image, name: str, setup: Setup, progress: Progress = silent) -> Simulation:
    """Project a CT in HU onto both detectors.

    Raises:
        ImageError: If it is not in HU.
        ValueError: If the geometry makes no sense.
    """
    progress(0.1, f"projecting {name}")
    grid = plan_grid(ct)
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
    return Simulation(ct, name, replace(setup, given=geometry), slots)


def sample_ct(seed: int, progress: Progress = silent) -> Image:
    """The trunk that the project generates itself, in HU."""
    from trifocal.xray.phantoms import torso

    progress(0.0, "making the trunk phantom")
    return torso(seed)
