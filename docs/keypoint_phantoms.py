"""Renders docs/keypoint-phantoms.png: three synthetic ultrasound images of each task, with their landmarks.

    .venv/bin/python docs/keypoint_phantoms.py [--to PICTURE] [--seed SEED]

Each image is scaled to fit its tile; nothing is chosen by hand: the seeds follow each other.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as Picture
from PIL import ImageDraw

from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trifocal.keypoints.phantoms import Phantom

DOCS = Path(__file__).parent
EACH, TASKS_IN_A_ROW, FIRST_SEED = 3, 2, 9000
TILE, GAP = (264, 198), 4
COLORS = ((255, 196, 0), (64, 200, 255), (255, 96, 160), (120, 230, 90), (255, 140, 60), (190, 150, 255))


def tile(made: Phantom) -> Picture.Image:
    """One image with its points, the lines of its task and its ellipse, in the middle of a tile."""
    height, width = made.image.shape
    scale = min(TILE[0] / width, TILE[1] / height)
    size = round(width * scale), round(height * scale)
    picture = Picture.new("RGB", TILE)
    corner = (TILE[0] - size[0]) // 2, (TILE[1] - size[1]) // 2
    shrunk = Picture.fromarray(made.image).resize(size, Picture.Resampling.LANCZOS)
    picture.paste(shrunk.convert("RGB"), corner)
    draw = ImageDraw.Draw(picture)
    points = (made.points + 0.5) * scale - 0.5 + corner
    if made.ellipse is not None:
        outline = (made.ellipse.outline() + 0.5) * scale - 0.5 + corner
        draw.polygon([tuple(p) for p in outline.tolist()], outline=(90, 130, 90))
    for n, (a, b) in enumerate(TASKS[made.task_id].lines):
        draw.line([tuple(points[a]), tuple(points[b])], fill=COLORS[n % len(COLORS)])
    for x, y in points:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), outline=(255, 255, 255))
    draw.text((4, 2), f"{made.task_id} {made.seed}", fill=(255, 255, 255))
    return picture


def phantoms_picture(seed: int = FIRST_SEED) -> Picture.Image:
    """Make the contact sheet: three images of a task side by side, two tasks in a row."""
    columns = EACH * TASKS_IN_A_ROW
    rows = -(-len(TASKS) // TASKS_IN_A_ROW)
    wide, tall = TILE[0] + GAP, TILE[1] + GAP
    sheet = Picture.new("RGB", (columns * wide - GAP, rows * tall - GAP), (255, 255, 255))
    for n, task in enumerate(TASKS):
        row, start = n // TASKS_IN_A_ROW, n % TASKS_IN_A_ROW * EACH
        for i in range(EACH):
            sheet.paste(tile(phantom(task, seed + i)), ((start + i) * wide, row * tall))
    return sheet


def main(words: Sequence[str]) -> None:
    """Render what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--to", type=Path, default=DOCS / "keypoint-phantoms.png", help="the picture to write"
    )
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first image of each task")
    given = parser.parse_args(words)
    phantoms_picture(given.seed).quantize(200).save(given.to, optimize=True)
    sys.stdout.write(f"wrote {given.to}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
