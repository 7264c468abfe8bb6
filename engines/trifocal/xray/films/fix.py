"""Turning, mirroring and inverting a film, because a user asked for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from trifocal.radiograph import Radiograph

FILMS = {"ap": "frontal", "lateral": "lateral"}
"""The word for each film on the command line, and its side."""

_DEEDS = ("mirror", "flip", "turn-90", "turn-180", "turn-270", "invert")
SWAP = "swap"
FIXES = (SWAP, *(f"{deed}-{film}" for film in FILMS for deed in _DEEDS))
"""What `read_fixes` knows: "swap", "mirror-lateral", "turn-90-ap", ..."""


@dataclass(frozen=True)
class Fix:
    """What to do to a film before it is used; nothing by default, and never done unasked.

    Attributes:
        turn_deg: Counter-clockwise: 0, 90, 180 or 270; done first.
        mirror: Left for right.
        flip: Top for bottom.
        invert: Dark for bright.

    Raises:
        ValueError: If the turn is another.
    """

    turn_deg: int = 0
    mirror: bool = False
    flip: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        if self.turn_deg not in (0, 90, 180, 270):
            msg = f"a film is turned by 0, 90, 180 or 270 degrees, got {self.turn_deg}"
            raise ValueError(msg)

    def record(self) -> dict[str, Any]:
        """What is written to JSON: only what is done."""
        return {name: value for name, value in vars(self).items() if value}

    def apply(self, radiograph: Radiograph) -> Radiograph:
        """The film as it should have been; its notes say what was done."""
        if not self.record():
            return radiograph
        pixels, notes = self._moved(radiograph.pixels), {**radiograph.notes, "fix": self.record()}
        if (edges := notes.get("shutter")) is not None:
            notes["shutter"] = self._moved_box(edges, radiograph.pixels.shape)
        if self.invert:
            total = np.float32(radiograph.pixels.min() + radiograph.pixels.max())
            pixels = total - pixels
            if (padding := notes.get("padding")) is not None:
                notes["padding"] = {**padding, "value": float(total - np.float32(padding["value"]))}
            notes.pop("inverted", None)
        sideways = self.turn_deg in (90, 270) and radiograph.pixel_mm is not None
        pixel_mm = radiograph.pixel_mm[::-1] if sideways and radiograph.pixel_mm else radiograph.pixel_mm
        return replace(radiograph, pixels=pixels, pixel_mm=pixel_mm, notes=notes)

    def _moved(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn and mirror (rows, columns): a view of the same memory."""
        values = np.rot90(values, self.turn_deg // 90)
        return values[:: -1 if self.flip else 1, :: -1 if self.mirror else 1]

    def _moved_box(self, edges: list[int], shape: tuple[int, ...]) -> list[int]:
        """[top, bottom, left, right] after turning and mirroring a film of (rows, columns)."""
        top, bottom, left, right = edges
        rows, columns = shape
        for _ in range(self.turn_deg // 90):
            top, bottom, left, right = columns - right, columns - left, top, bottom
            rows, columns = columns, rows
        if self.flip:
            top, bottom = rows - bottom, rows - top
        if self.mirror:
            left, right = columns - right, columns - left
        return [top, bottom, left, right]


def read_fixes(words: Iterable[str]) -> tuple[dict[str, Fix], bool]:
    """The fix of the "frontal" and the "lateral" film, and whether the two are to be exchanged first.

    Args:
        words: Of `FIXES`; those for the films count after an exchange.

    Raises:
        ValueError: If a word is unknown.
    """
    fixes, swap = {side: Fix() for side in FILMS.values()}, False
    for word in words:
        if word not in FIXES:
            msg = f"a fix must be one of {', '.join(FIXES)}, got {word!r}"
            raise ValueError(msg)
        if word == SWAP:
            swap = True
            continue
        deed, _, film = word.rpartition("-")
        fix = fixes[FILMS[film]]
        if deed.startswith("turn-"):
            turned = (fix.turn_deg + int(deed.removeprefix("turn-"))) % 360
            fixes[FILMS[film]] = replace(fix, turn_deg=turned)
        else:
            fixes[FILMS[film]] = replace(fix, **{deed: True})
    return fixes, swap
