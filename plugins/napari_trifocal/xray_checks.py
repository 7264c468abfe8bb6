"""Looks the X-rays and their geometry over before anything is reconstructed. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_trifocal.xray_offers import Offer, merged, offer_of

if TYPE_CHECKING:
    from trifocal.xray.films.inputs import Prepared


@dataclass(frozen=True)
class Checked:
    """What came of it.

    Attributes:
        prepared: The films as line integrals, with their geometry; None where there is no film.
        offers: What looks wrong with the X-rays and could be mended.
        findings: What looks wrong with them and could not: the same view twice, say.
        doubts: Sentences about the geometry and the films that the user should read.
    """

    prepared: Prepared | None = None
    offers: tuple[Offer, ...] = ()
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """What a result is made in spite of, if nothing is done about it."""
        return (*(offer.text for offer in self.offers), *self.findings)


def look_over(prepared: Prepared) -> Checked:
    """Sort what there is to say about films and geometry by what the user can do about it."""
    found = [finding.text for finding in prepared.findings]
    offers = {sentence: offer_of(sentence) for sentence in dict.fromkeys((*found, *prepared.warnings))}
    mended = [offer for offer in offers.values() if offer is not None]
    wrong = tuple(text for text in found if offers[text] is None)
    doubts = tuple(text for text, offer in offers.items() if offer is None and text not in wrong)
    return Checked(prepared, merged(mended), wrong, doubts)
