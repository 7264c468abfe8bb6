"""HC18 as it was published: pictures, the ring that was drawn on each, and a table of circumferences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trifocal.keypoints.ellipse import fit_ellipse
from trifocal.keypoints.examples import Example
from trifocal.keypoints.formats.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from trifocal.keypoints.ellipse import Ellipse

RINGS = "training_set_pixel_size_and_HC.csv"
_SIZE, _LENGTH = "pixel size(mm)", "head circumference (mm)"
_AGREES = 0.03  # share by which a ring's perimeter may differ from the table's circumference


def read_hc18_rings(path: Path) -> list[Example]:
    """Read the challenge's own training set: training_set_pixel_size_and_HC.csv beside training_set/.

    The axes are those of the ellipse through the ring's pixels (NAME_Annotation.png for NAME.png), which may
    be open where the image ends. The patient is the number that the file's name begins with.

    Raises:
        ValueError: Naming the line, if a row cannot be used, or the ring and the circumference disagree.
    """
    examples: list[Example] = []
    seen: set[str] = set()
    for row in read_rows(path, ("filename", _SIZE, _LENGTH)):
        name = row.text("filename")
        row.once(name, seen)
        folders = (path.parent / "training_set", path.parent)
        image = row.image(name, *folders)
        ring = row.image(f"{image.stem}_Annotation.png", *folders)
        mm, length = row.size(_SIZE), row.number(_LENGTH)
        if mm is None:
            raise row.error(f"the column {_SIZE} must not be empty")
        try:
            ellipse = ring_ellipse(ring)
        except (ValueError, OSError) as error:
            raise row.error(f"{ring.name} must be a ring, got {error}") from error
        if abs(ellipse.perimeter * mm - length) > _AGREES * length:
            measured = f"{ellipse.perimeter * mm:.1f} mm"
            raise row.error(f"the ring must be as long as the table says, {length:.1f} mm, got {measured}")
        points = row.points_on(image, ellipse.axis_ends())
        examples.append(Example(image, "HC", points, hc18_patient(image.stem), "hc18", mm))
    return examples


def ring_ellipse(ring: Path) -> Ellipse:
    """The ellipse through the white pixels of an annotation.

    Raises:
        ValueError: If they are no ring.
    """
    with Image.open(ring) as picture:
        rows, columns = np.nonzero(np.asarray(picture.convert("L")) > 127)
    return fit_ellipse(np.stack([columns, rows], axis=1))


def hc18_patient(stem: str) -> str:
    """The number in a name of HC18: 055_HC and 055_2HC are images of one patient."""
    found = re.match(r"(\d+)_\d*HC", stem)
    return found[1] if found else stem
