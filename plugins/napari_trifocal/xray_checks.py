"""Looks the X-rays and their geometry over before anything is reconstructed. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_trifocal.xray_offers import Offer, offer_of
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from napari_trifocal.xray_jobs import Order


@dataclass(frozen=True)
class Checked:
    """What came of it.

    Attributes:
        offers: What looks wrong with the X-rays, with what would mend it.
        doubts: Sentences about the geometry and the films that the user should read.
    """

    offers: tuple[Offer, ...] = ()
    doubts: tuple[str, ...] = ()


def look_over(order: Order, progress: Progress = silent) -> Checked:
    """Look at what the files say, at the geometry's numbers and at the films themselves.

    Raises:
        ValueError: If a film cannot be used as it is.
    """
    progress(0.0, "looking the films over")
    prepared = order.prepare()
    offers = [offer_of(said) for said in prepared.warnings]
    doubts = [said for said, offer in zip(prepared.warnings, offers, strict=True) if offer is None]
    return Checked(tuple(offer for offer in offers if offer is not None), tuple(doubts))
