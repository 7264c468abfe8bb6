"""Looks the X-rays and their geometry over before anything is reconstructed. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_trifocal.xray_offers import Offer, merged, offer_of
from trifocal.xray.view_check import check_views

if TYPE_CHECKING:
    from trifocal.xray.inputs import Prepared


@dataclass(frozen=True)
class Checked:
    """What came of it.

    Attributes:
        offers: What looks wrong with the X-rays and could be mended.
        findings: What looks wrong with them and could not: the same view twice, say.
        doubts: Sentences about the geometry and the films that the user should read.
    """

    offers: tuple[Offer, ...] = ()
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """What a result is made in spite of, if nothing is done about it."""
        return (*(offer.text for offer in self.offers), *self.findings)


def look_over(prepared: Prepared) -> Checked:
    """Look at what the files say, at the geometry's numbers and at the films themselves."""
    positions = [radiograph.position for radiograph in prepared.radiographs.values()]
    found = check_views(prepared.inputs.films, prepared.inputs.grid, positions=positions)
    said = dict.fromkeys((*prepared.warnings, *(finding.text for finding in found)))
    offers = {sentence: offer_of(sentence) for sentence in said}
    mended = [offer for offer in offers.values() if offer is not None]
    wrong = tuple(finding.text for finding in found if offers[finding.text] is None)
    doubts = tuple(text for text, offer in offers.items() if offer is None and text not in wrong)
    return Checked(merged(mended), wrong, doubts)
