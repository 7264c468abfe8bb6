"""What looks wrong with an X-ray, and what would mend it: offered, never done unasked. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_trifocal.xray_slot import FRONTAL, INVERT, LATERAL

if TYPE_CHECKING:
    from napari_trifocal.xray_slot import Side

EXCHANGE = "exchange"
_WORD = re.compile(r"--fix (?:(?P<swap>swap)|(?P<deed>mirror|flip|turn-\d+|invert)-(?P<film>ap|lateral))")
_TAIL = re.compile(r"[:,;]?\s*(?:(?:or|if [^:,]*)[:,]?\s*)*(?:use|by)\s+--fix.*$")


@dataclass(frozen=True)
class Offer:
    """A finding, and what the user may do about it.

    Attributes:
        text: What looks wrong, and why.
        change: "exchange", or a change of X-rays (see `xray_slot`); "" where there is nothing to offer.
        sides: Which X-rays are to be changed.
        times: How often, for turns by 90 degrees.
    """

    text: str
    change: str = ""
    sides: tuple[Side, ...] = ()
    times: int = 1

    @property
    def label(self) -> str:
        """What a button that does it says."""
        if self.change == EXCHANGE:
            return "Exchange the views"
        angle = f" by {90 * self.times}\u00b0" if self.change == "turn" else ""
        return f"{self.change.capitalize()} {' and '.join(self.sides)}{angle}" if self.change else ""


def offer_of(sentence: str) -> Offer | None:
    """The offer in a sentence that names a fix of the command line; None if it names none."""
    found = _WORD.search(sentence)
    if found is None:
        return None
    text = _TAIL.sub("", sentence).strip()
    if found["swap"]:
        return Offer(text, EXCHANGE)
    side = FRONTAL if found["film"] == "ap" else LATERAL
    deed, _, angle = found["deed"].partition("-")
    return Offer(text, deed, (side,), int(angle) // 90 if angle else 1)


def inverted(sentence: str, side: Side) -> Offer:
    """The offer to invert an X-ray that looks as if dark were dense."""
    return Offer(sentence, INVERT, (side,))
