"""Where the sources and detectors stand and which box is reconstructed, as the user edits it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.xray_slot import FRONTAL, LATERAL, SIDES
from trifocal.xray.films.from_radiograph import is_frontal
from trifocal.xray.films.geometry import Assumption, Known, geometry_from_radiographs
from trifocal.xray.geometry import Geometry, around
from trifocal.xray.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_trifocal.xray_slot import Side
    from trifocal.radiograph import Radiograph
    from trifocal.xray.view import View

VOXELS = 64  # along the longest edge: what the bundled network works on
EXTENT_MM = 384.0  # of a box that nobody has said anything about
POSITIONS = {FRONTAL: ("AP", "PA"), LATERAL: ("LATERAL", "RL")}
ANGLES = {"AP": (180.0, 0.0), "PA": (0.0, 0.0), "LATERAL": (90.0, 0.0), "LL": (90.0, 0.0), "RL": (-90.0, 0.0)}
WORDS = {
    "edge_mm": "box edge",
    "position": "view",
    "source_to_detector_mm": "source to detector",
    "center_to_detector_mm": "centre to detector",
    "pixel_mm": "pixel",
}
SOURCE_MM, CENTER_MM = 1800.0, 250.0


@dataclass(frozen=True, eq=False)
class Resolved:
    """A geometry, and what was assumed for it.

    Attributes:
        geometry: The views and the box.
        assumptions: What neither a file nor the user says.
        sides: Which views there are, in the geometry's order.
    """

    geometry: Geometry
    assumptions: tuple[Assumption, ...]
    sides: tuple[Side, ...]

    def view(self, side: Side) -> View | None:
        """The view of a side, if there is one."""
        return self.geometry.views[self.sides.index(side)] if side in self.sides else None

    def assumed(self, side: str, name: str) -> Assumption | None:
        """The assumption about a field of a view, if it is one."""
        return next((a for a in self.assumptions if (a.view, a.field) == (side, name)), None)


@dataclass(frozen=True, eq=False)
class Setup:
    """What the user, or a geometry file, says about the views and the box.

    Attributes:
        known: What the user says of each side; it goes before what the files say.
        extent_mm: Edges of the box along R, A and S; None: a cube that holds what the films show.
        center_mm: Its middle.
        energy_kev: Effective energy of the beam.
        voxels: Along the box's longest edge.
        given: A geometry that is known exactly, from a file or a simulation; it goes before everything else.
    """

    known: Mapping[Side, Known] = field(default_factory=dict)
    extent_mm: tuple[float, float, float] | None = None
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    energy_kev: float = 70.0
    voxels: int = VOXELS
    given: Geometry | None = None

    def of(self, side: Side) -> Known:
        """What the user says of a side."""
        return self.known.get(side, Known())

    @property
    def grid(self) -> Grid | None:
        """Cubic voxels in the box, `voxels` along its longest edge, the others rounded up; None if unsaid.

        Raises:
            ValueError: If an edge is not positive and finite.
        """
        if self.extent_mm is None:
            return None
        extent = np.asarray(self.extent_mm, float)
        if not (np.isfinite(extent).all() and (extent > 0).all()):
            msg = f"the edges of the volume must be positive numbers of mm, got {self.extent_mm}"
            raise ValueError(msg)
        step = float(extent.max()) / self.voxels
        i, j, k = (max(1, int(np.ceil(e / step - 1e-6))) for e in extent)
        return Grid((i, j, k), (step, step, step), self.center_mm)

    def typed(self, side: Side, name: str, value: Any, resolved: Resolved) -> Setup:
        """The same with a field of a view that the user typed; what was exact becomes what is known."""
        setup = self._loosened(resolved)
        return replace(setup, known={**setup.known, side: replace(setup.of(side), **{name: value})})

    def boxed(self, extent_mm: tuple[float, float, float], resolved: Resolved) -> Setup:
        """The same with another box about the same middle."""
        return replace(self._loosened(resolved), extent_mm=extent_mm)

    def forgetting(self, side: Side) -> Setup:
        """The same for another film: its pixels and its position are its own, and no file is given for it."""
        known = {**self.known, side: replace(self.of(side), position=None, pixel_mm=None)}
        box = None if self.given is not None else self.extent_mm
        return replace(self, known=known, given=None, extent_mm=box)

    def resolve(self, films: Mapping[Side, Radiograph]) -> Resolved:
        """The geometry of these films; of the usual pair if there is none.

        Raises:
            ValueError: If a number makes no sense: the source within the volume, say.
        """
        if self.given is not None:
            sides = tuple(FRONTAL if is_frontal(view) else LATERAL for view in self.given.views)
            kept = [n for n, side in enumerate(sides) if side in films or not films]
            if kept and len(set(sides)) == len(sides) and set(films) <= set(sides):
                views = tuple(self.given.views[n] for n in kept)
                geometry = self.given if len(kept) == len(sides) else replace(self.given, views=views)
                return Resolved(geometry, (), tuple(sides[n] for n in kept))
        sides = tuple(side for side in SIDES if side in films)
        if not sides:
            return Resolved(self.preset(self.grid or Grid.cube(EXTENT_MM, self.voxels)), (), SIDES)
        geometry, assumptions = geometry_from_radiographs(
            films.get(FRONTAL),
            films.get(LATERAL),
            self.grid,
            known={str(side): self.of(side) for side in SIDES},
            energy_kev=self.energy_kev,
        )
        return Resolved(geometry, assumptions, sides)

    def preset(self, grid: Grid, pixels: int = 128) -> Geometry:
        """Both views around a box, their detectors as large as its shadow, with what the user says of them.

        Raises:
            ValueError: If a source would stand inside the box.
        """
        views = []
        for side in SIDES:
            known = self.of(side)
            name = known.position or POSITIONS[side][0]
            distance = known.source_to_detector_mm or SOURCE_MM
            behind = known.center_to_detector_mm or CENTER_MM
            called = "LATERAL" if side == LATERAL else name
            views.append(around(grid, called, ANGLES[name], distance, distance - behind, pixels=pixels))
        return Geometry(tuple(views), grid, self.energy_kev)

    def _loosened(self, resolved: Resolved) -> Setup:
        """What was given exactly, as distances that can be edited."""
        if self.given is None:
            return self
        known = dict(self.known)
        for side in resolved.sides:
            view = resolved.view(side)
            assert view is not None
            position = self.of(side).position or (view.name if view.name in ANGLES else None)
            known[side] = Known(
                position,
                view.source_to_detector_mm,
                center_to_detector_mm(view, resolved.geometry.grid),
                view.pixel_mm[1] if self.of(side).pixel_mm is not None else None,
            )
        x, y, z = (float(e) for e in resolved.geometry.grid.extent_mm)
        return replace(
            self, known=known, extent_mm=(x, y, z), center_mm=self.given.grid.center_mm, given=None
        )


def said_of(assumptions: Iterable[Assumption]) -> str:
    """Assumptions as one sentence; "" if there are none."""
    said = []
    for assumed in assumptions:
        value = f"{assumed.value:.4g} mm" if isinstance(assumed.value, float) else assumed.value
        said.append(f"{assumed.view} {WORDS.get(assumed.field, assumed.field)} {value}".strip())
    return f"assumed, since no file says it: {', '.join(said)}" if said else ""


def center_to_detector_mm(view: View, grid: Grid) -> float:
    """Distance of the box's middle from the detector's plane."""
    return float(abs((view.origin_mm - np.asarray(grid.center_mm)) @ view.normal))
