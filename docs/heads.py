"""Renders docs/heads.png: ten procedural heads, and real CTs beside them.

    .venv/bin/python docs/heads.py [--to PICTURE] [CT ...]

Each head is three slices through the middle of its brain: axial, coronal, sagittal; nose up or to the right,
window 2000 HU, level 400 HU. A CT is any file or folder that `trifocal.io.read` takes; tilted series are
resampled. Look at the licence of a CT before the picture of it is committed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from trifocal import io
from trifocal.focus.head import Head
from trifocal.focus.phantoms import head_ct, random_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from trifocal.image import Image

DOCS = Path(__file__).parent
SEEDS = range(10)
PIXELS, PIXEL_MM = 176, 1.4
BELOW_VERTEX_MM = 75
LEVEL_HU, WINDOW_HU = 400, 2000
PLANES = ((0, 1), (0, 2), (1, 2))  # axes of the picture, to the right and up


def middle(head: Head) -> NDArray[np.float64]:
    """The point (3,) that the slices go through: midway across the vault, BELOW_VERTEX_MM under its top."""
    points = head.skin.index_to_world(np.argwhere(head.skin.array <= 0))
    top = points[:, 2].max()
    vault = points[points[:, 2] > top - BELOW_VERTEX_MM]
    across = (vault[:, :2].min(axis=0) + vault[:, :2].max(axis=0)) / 2
    return np.array([*across, top - BELOW_VERTEX_MM])


def slices(ct: Image) -> NDArray[np.uint8]:
    """Axial, coronal and sagittal slice (PIXELS, 3 * PIXELS) through the middle of the brain, windowed."""
    centre = middle(Head.from_image(ct))
    offset = (np.arange(PIXELS) - PIXELS / 2) * PIXEL_MM
    planes = []
    for right, up in PLANES:
        points = np.tile(centre, (PIXELS, PIXELS, 1))
        points[..., right] += offset
        points[..., up] -= offset[:, None]
        planes.append(ct.sample(points, fill=-1000))
    grey = (np.concatenate(planes, axis=1) - LEVEL_HU) / WINDOW_HU + 0.5
    return np.asarray(255 * np.clip(grey, 0, 1), np.uint8)


def heads(paths: Sequence[Path]) -> Iterator[tuple[str, Image]]:
    """The procedural heads and the real ones, each with its name."""
    for seed in SEEDS:
        yield f"procedural, seed {seed}", head_ct(random_spec(seed))
    for path in paths:
        yield path.name, io.read(path, resample=True)


def heads_picture(paths: Sequence[Path] = (), columns: int = 2) -> Picture.Image:
    """Make the contact sheet: one head of three slices after the other, two in a row."""
    tiles = []
    for name, ct in heads(paths):
        tile = Picture.fromarray(slices(ct))
        ImageDraw.Draw(tile).text((4, 3), name, fill=255)
        tiles.append(tile)
    gap = 6
    wide, tall = 3 * PIXELS + gap, PIXELS + gap
    rows = -(-len(tiles) // columns)
    sheet = Picture.new("L", (columns * wide - gap, rows * tall - gap), 255)
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % columns * wide, n // columns * tall))
    return sheet


def main(words: Sequence[str]) -> None:
    """Render what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=DOCS / "heads.png", help="the picture to write")
    parser.add_argument("cts", nargs="*", type=Path, help="real CTs to put beside the procedural heads")
    given = parser.parse_args(words)
    heads_picture(given.cts).save(given.to, optimize=True)
    sys.stdout.write(f"wrote {given.to}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
