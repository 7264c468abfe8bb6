"""X-rays in their slots and the geometry that holds for them; each change makes another one. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_trifocal.xray_setup import Resolved, Setup
from napari_trifocal.xray_slot import FRONTAL, LATERAL, SIDES
from trifocal.xray.films.fix import read_fixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_trifocal.xray_offers import Offer
    from napari_trifocal.xray_slot import Side, Slot
    from trifocal.xray.geometry import Geometry

OTHER: dict[Side, Side] = {FRONTAL: LATERAL, LATERAL: FRONTAL}


@dataclass(frozen=True, eq=False)
class Arrangement:
    """What a reconstruction would be made from.

    Attributes:
        slots: The X-rays by side.
        setup: What the user or a file says about sources, detectors and the box.
        resolved: Where they stand, with what the films say and what had to be assumed.

    Raises:
        ValueError: If a number makes no sense: the source within the volume, say.
    """

    slots: Mapping[Side, Slot] = field(default_factory=dict)
    setup: Setup = field(default_factory=Setup)
    resolved: Resolved = field(init=False)

    def __post_init__(self) -> None:
        films = {side: slot.shape() for side, slot in self.slots.items()}
        object.__setattr__(self, "resolved", self.setup.resolve(films))

    def side_for(self, slot: Slot, taken: Iterable[Side] = ()) -> Side:
        """Where an X-ray belongs: into the slot that its file names, or one that is empty, or the next."""
        free = [side for side in SIDES if side not in taken]
        if slot.side in free:
            return slot.side
        return next(iter([*(side for side in free if side not in self.slots), *free]), FRONTAL)

    def placed(self, slot: Slot, side: Side) -> Arrangement:
        """With another X-ray in a slot; of the geometry stays what does not hang on the film."""
        return Arrangement({**self.slots, side: slot}, self.setup.forgetting(side))

    def cleared(self, side: Side) -> Arrangement:
        """With an empty slot."""
        rest = {other: slot for other, slot in self.slots.items() if other != side}
        return Arrangement(rest, self.setup.forgetting(side))

    def exchanged(self) -> Arrangement:
        """With the frontal X-ray as the lateral one and the other way round."""
        return replace(self, slots={OTHER[side]: slot for side, slot in self.slots.items()})

    def changed(self, side: Side, what: str) -> Arrangement:
        """With an X-ray mirrored, flipped, turned or inverted; see `Slot.changed`."""
        return replace(self, slots={**self.slots, side: self.slots[side].changed(what)})

    def accepted(self, offer: Offer) -> Arrangement:
        """With all that was offered done."""
        fixes, swap = read_fixes(offer.words)
        before = self.exchanged() if swap else self
        return replace(before, slots={side: slot.also(fixes[side]) for side, slot in before.slots.items()})

    def typed(self, side: Side, name: str, value: Any) -> Arrangement:
        """With a field of `Known` as the user typed it; None to go by the file again."""
        return replace(self, setup=self.setup.typed(side, name, value, self.resolved))

    def boxed(self, extent_mm: tuple[float, float, float]) -> Arrangement:
        """With another box about the same middle."""
        return replace(self, setup=self.setup.boxed(extent_mm, self.resolved))

    def with_energy(self, kev: float) -> Arrangement:
        """With another effective energy of the beam."""
        given = self.setup.given
        given = None if given is None else replace(given, energy_kev=kev)
        return replace(self, setup=replace(self.setup, energy_kev=kev, given=given))

    def with_voxels(self, voxels: int) -> Arrangement:
        """With so many voxels along the box's longest edge; the bundled network is made for 64."""
        return replace(self, setup=replace(self.setup, voxels=voxels, given=None))

    def given(self, geometry: Geometry) -> Arrangement:
        """With a geometry that is known exactly."""
        return replace(self, setup=replace(self.setup, given=geometry))
