"""What looks wrong with an X-ray, and what would mend it: offered, never done unasked. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trifocal.xray.films.fix import FILMS, FIXES, SWAP

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = re.compile(r"--fix ([a-z0-9-]+)")
_TAIL = re.compile(r"(?:[:;][^:;]*|,? or use |,? use )--fix.*$")
"""What a sentence tells users of the command line to do."""


@dataclass(frozen=True)
class Offer:
    """A finding, and what the user may do about it.

    Attributes:
        text: What looks wrong, and why.
        words: Of `fix.FIXES`: what would mend it, all of it together.
    """

    text: str
    words: tuple[str, ...]

    @property
    def label(self) -> str:
        """What a button that does it says."""
        deeds = []
        for word in self.words:
            if word == SWAP:
                deeds.append("exchange the views")
                continue
            deed, _, film = word.rpartition("-")
            turned, _, angle = deed.partition("-")
            deeds.append(f"{turned} {FILMS[film]}" + (f" by {angle}\u00b0" if angle else ""))
        label = ", ".join(deeds)
        return label[:1].upper() + label[1:]


def offer_of(sentence: str) -> Offer | None:
    """The offer in a sentence that names a fix of the command line; None if it names none.

    Where it names two that exclude each other ("... or turn-270-ap"), the first is offered.
    """
    words = tuple(word for word in _WORD.findall(sentence) if word in FIXES)
    return Offer(_TAIL.sub("", sentence).strip(), words) if words else None


def merged(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """Offers of the same change as one, with what each of them says."""
    texts: dict[tuple[str, ...], list[str]] = {}
    for offer in offers:
        said = texts.setdefault(offer.words, [])
        if offer.text not in said:
            said.append(offer.text)
    return tuple(Offer("; ".join(said), words) for words, said in texts.items())
