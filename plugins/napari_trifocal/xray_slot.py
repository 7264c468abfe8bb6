"""One of the two X-rays that are worked on, and what was done to it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trifocal.image import ImageError
from trifocal.radiograph import Radiograph
from trifocal.xray.films.fix import Fix

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

SHOWN_NOTES = ("format", "inverted", "colour", "burned_in", "lossy", "padding", "simulated_from")
"""Notes of a file that its slot shows; the others are in the record."""

Side = Literal["frontal", "lateral"]
FRONTAL: Side = "frontal"
LATERAL: Side = "lateral"
SIDES: tuple[Side, Side] = (FRONTAL, LATERAL)
POSITIONS = {"AP": FRONTAL, "PA": FRONTAL, "LATERAL": LATERAL, "LL": LATERAL, "RL": LATERAL}
"""DICOM ViewPosition -> which slot."""
MIRROR, FLIP, TURN, INVERT = "mirror", "flip", "turn", "invert"


@dataclass(frozen=True, eq=False)
class Slot:
    """A radiograph and what the user did to it.

    Attributes:
        radiograph: As it was read or simulated.
        fix: What the user asked to be done to it.
        folder: Where its file is, if it has one.
        simulated: Whether it was projected from a CT here.
    """

    radiograph: Radiograph
    fix: Fix = field(default_factory=Fix)
    folder: Path | None = None
    simulated: bool = False

    @property
    def side(self) -> Side | None:
        """Which slot its file says that it belongs into."""
        return POSITIONS.get(self.radiograph.position.upper())

    def changed(self, what: str) -> Slot:
        """The same mirrored, flipped or inverted (twice is back), or turned by 90 degrees more."""
        if what == TURN:
            return replace(self, fix=replace(self.fix, turn_deg=(self.fix.turn_deg + 90) % 360))
        return replace(self, fix=replace(self.fix, **{what: not getattr(self.fix, what)}))

    def also(self, fix: Fix) -> Slot:
        """The same with something more done to it, after what was done before."""
        slot = self
        for what in (*[TURN] * (fix.turn_deg // 90), *(w for w in (MIRROR, FLIP, INVERT) if getattr(fix, w))):
            slot = slot.changed(what)
        return slot

    def film(self) -> Radiograph:
        """The radiograph with what was done to it. Of a large one that was inverted, this takes a while."""
        return self.fix.apply(self.radiograph)

    def shape(self) -> Radiograph:
        """The same by views of its memory: right but for an inversion, and at once."""
        return replace(self.fix, invert=False).apply(self.radiograph)

    def thumbnail(self, most: int = 256) -> Radiograph:
        """The same with a few of its pixels."""
        step = max(1, min(self.radiograph.pixels.shape) // most)
        notes = {
            key: value for key, value in self.radiograph.notes.items() if key not in ("shutter", "padding")
        }
        few = self.radiograph.pixels[::step, ::step]
        return self.fix.apply(replace(self.radiograph, pixels=few, notes=notes))

    def said(self) -> list[str]:
        """What the panel says of it: size, spacing, position, scale and notes, a line each."""
        found = self.radiograph
        rows, columns = found.pixels.shape
        size = f"{columns} x {rows} pixels"
        if found.pixel_mm is not None:
            high, wide = found.pixel_mm
            size += f" of {wide:.3g} mm: {columns * wide:.0f} x {rows * high:.0f} mm"
        else:
            size += ", the file does not say how large"
        position = f"view {found.position}" if found.position else "view not said"
        lines = [size, f"{position}, scale: {found.scale}"]
        distance = found.source_to_detector_mm
        lines += [] if distance is None else [f"source to detector {distance:.0f} mm"]
        lines += [sentence for sentence in map(_sentence, found.notes.items()) if sentence]
        done = [f"{name} {value}".removesuffix(" True") for name, value in self.fix.record().items()]
        return lines + ([f"by you: {', '.join(done)}"] if done else [])


def radiograph_of(
    data: ArrayLike, name: str, *, pixel_mm: tuple[float, float] | None = None, rgb: bool = False
) -> Radiograph:
    """The radiograph that a flat image layer shows, brighter taken for denser.

    Args:
        data: (rows, columns), or (rows, columns, 3 or 4) if `rgb`.
        name: Of the layer.
        pixel_mm: Of the layer, if it is in mm.
        rgb: Whether the last axis is colour.

    Raises:
        ImageError: If it is not flat.
    """
    pixels = np.asarray(data)
    notes: dict[str, Any] = {"source": name}
    if rgb:
        pixels = pixels[..., :3].astype(np.float32).mean(-1)
        notes["colour"] = "averaged to grey"
    if pixels.ndim != 2:
        msg = f"an X-ray must be a flat image, got {pixels.ndim} axes in {name}: choose another layer"
        raise ImageError(msg)
    return Radiograph(pixels.astype(np.float32), "display", name, pixel_mm, notes=notes)


def _sentence(note: tuple[str, Any]) -> str:
    """A note of a file as a few words."""
    key, value = note
    words = key.replace("_", " ")
    if key not in SHOWN_NOTES:
        return ""
    if key == "inverted":
        return "inverted once: dark was dense in the file"
    if key == "padding":
        return f"{value['pixels']} pixels are padding"
    return words if value is True else f"{words}: {value}"
