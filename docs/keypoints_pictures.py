"""Renders docs/keypoints-tasks.png: a synthetic image of each task that the networks have not learned from.

    .venv/bin/python docs/keypoints_pictures.py [--to PICTURE] [--seed SEED] [--weights FILE]

Dots are what the network found, white crosses the truth; the numbers are explained below each image. Nothing
is chosen by hand: all nine images have the same seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from trifocal import RESEARCH_USE_ONLY
from trifocal.keypoints.evaluation import UNSEEN
from trifocal.keypoints.evaluation.metrics import CaseErrors
from trifocal.keypoints.learned import BUNDLED
from trifocal.keypoints.phantoms import phantom
from trifocal.keypoints.predictor import KeypointsInput, KeypointsPredictor
from trifocal.keypoints.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trifocal.keypoints.tasks import Task

DOCS = Path(__file__).parent
COLUMNS, TILE, GAP, MARGIN = 3, (560, 420), 8, 8
ROOM = 1.7  # of the shown part, in sizes of what the points span
HEAD, LINE, LINES = 26, 19, 3
COLORS = (
    (255, 196, 0), (0, 200, 255), (255, 99, 132), (120, 220, 90), (200, 140, 255), (255, 150, 60),
    (90, 230, 200), (240, 110, 240), (190, 200, 60), (110, 150, 255), (230, 180, 150),
)  # fmt: skip
SAID = (255, 170, 60)
FONT, SMALL = ImageFont.load_default(15), ImageFont.load_default(12)


def tile(task: Task, predictor: KeypointsPredictor, seed: int) -> Picture.Image:
    """One image with what was found, the truth, the error and the names of the points."""
    made = phantom(task.id, seed)
    found = predictor.predict(KeypointsInput(made.image, task))
    size = (made.image.shape[1], made.image.shape[0])
    errors = CaseErrors.of(task, found.points, made.points, size, made.mm_per_px, found.ellipse)
    picture = Picture.new("RGB", (TILE[0], HEAD + TILE[1] + LINE * LINES + MARGIN))
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 4), f"{task.id}: {task.title}", (255, 255, 255), FONT)
    said = f"mean radial error {errors.mre_mm:.1f} mm"
    draw.text((TILE[0] - MARGIN - FONT.getlength(said), 4), said, SAID, FONT)
    corner, scale = window(np.concatenate([found.points, made.points]), size)
    shown = Picture.fromarray(made.image).transform(
        TILE,
        Picture.Transform.AFFINE,
        (1 / scale, 0, corner[0], 0, 1 / scale, corner[1]),
        Picture.Resampling.BICUBIC,
    )
    picture.paste(shown.convert("RGB"), (0, HEAD))
    place = lambda points: (points + 0.5 - corner) * scale - 0.5 + (0, HEAD)  # noqa: E731
    if found.ellipse is not None:
        outline = place(found.ellipse.outline())
        draw.line([tuple(p) for p in [*outline, outline[0]]], (150, 150, 150), 1)
    draw_points(draw, task, place(found.points), place(made.points))
    for n, line in enumerate(legend(task)):
        draw.text((MARGIN, HEAD + TILE[1] + 4 + n * LINE), line, (220, 220, 220), FONT)
    return picture


def window(points: NDArray[np.float64], size: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Upper left corner of the part of the image that is shown, around the points, and its enlargement."""
    low, high = points.min(0), points.max(0)
    least = max(*((high - low) * ROOM / TILE), 0.5 * size[0] / TILE[0])  # pixels of the image for one shown
    step = min(least, max(size[0] / TILE[0], size[1] / TILE[1]))
    middle = (low + high + 1) / 2
    span = step * np.array(TILE)
    # no farther over the border than an image that is narrower than the tile has to be
    lowest, highest = np.minimum(0, (size - span) / 2), np.maximum(size - span, (size - span) / 2)
    return np.clip(middle - span / 2, lowest, highest), 1 / step


def draw_points(
    draw: ImageDraw.ImageDraw, task: Task, found: NDArray[np.float64], true: NDArray[np.float64]
) -> None:
    """Lines, dots and numbers of what was found, crosses of the truth; all in pixels of the picture."""
    colors = [COLORS[0]] * task.count
    for n, (a, b) in enumerate(task.lines):
        if task.pairs:
            colors[a] = colors[b] = COLORS[n % len(COLORS)]
        draw.line([tuple(found[a]), tuple(found[b])], colors[a], 2)
    for x, y in true:
        draw.line((x - 5, y, x + 5, y), (255, 255, 255), 1)
        draw.line((x, y - 5, x, y + 5), (255, 255, 255), 1)
    taken = [np.array([x - 4, y - 4, x + 4, y + 4]) for x, y in found]
    for (x, y), color in zip(found, colors, strict=True):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), color)
    for n, (point, color) in enumerate(zip(found, colors, strict=True), 1):
        width = SMALL.getlength(str(n))
        box = free_place(point, np.array([width, 11.0]), taken)
        taken.append(box)
        draw.text((box[0], box[1] - 2), str(n), color, SMALL, stroke_width=2, stroke_fill=(0, 0, 0))


def free_place(
    point: NDArray[np.float64], size: NDArray[np.float64], taken: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The nearest box (left, top, right, bottom) around a point that covers least of the others."""
    best, least = np.zeros(4), np.inf
    for away in (11, 15, 20, 26, 34):
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            middle = point + away * np.array([np.cos(angle), np.sin(angle)])
            box = np.concatenate([middle - size / 2, middle + size / 2])
            overlaps = [np.minimum(box[2:], o[2:]) - np.maximum(box[:2], o[:2]) for o in taken]
            cost = sum(float(np.prod(np.maximum(o + 1, 0))) for o in overlaps) + away
            if cost < least:
                best, least = box, cost
    return best


def legend(task: Task) -> list[str]:
    """What the numbers stand for, in lines that fit below an image."""
    names = [f"{p.ends[0] + 1}, {p.ends[1] + 1} {p.name}" for p in task.pairs]
    names = names or [f"{n} {name}" for n, name in enumerate(task.points, 1)]
    lines = [names[0]]
    for name in names[1:]:
        longer = f"{lines[-1]}   ·   {name}"
        if FONT.getlength(longer) <= TILE[0] - 2 * MARGIN:
            lines[-1] = longer
        else:
            lines.append(name)
    assert len(lines) <= LINES, f"the names of {task.id} need {len(lines)} lines"
    return lines


def tasks_picture(predictor: KeypointsPredictor, seed: int) -> Picture.Image:
    """Nine images in rows of three."""
    tiles = [tile(task, predictor, seed) for task in TASKS.values()]
    wide, tall = tiles[0].width + GAP, tiles[0].height + GAP
    rows = -(-len(tiles) // COLUMNS)
    sheet = Picture.new("RGB", (COLUMNS * wide - GAP, rows * tall + HEAD), (60, 60, 60))
    for n, one in enumerate(tiles):
        sheet.paste(one, (n % COLUMNS * wide, n // COLUMNS * tall))
    said = (
        f"synthetic images of seed {seed}, not learned from, cut around the points; dots: found by the"
        f" network, white crosses: truth   ·   {RESEARCH_USE_ONLY}"
    )
    ImageDraw.Draw(sheet).text((MARGIN, rows * tall), said, (230, 230, 230), FONT)
    return sheet


def palette() -> Picture.Image:
    """128 greys, and every colour in shades: 256 that are chosen for the picture would be dull."""
    greys = [(v, v, v) for v in np.linspace(0, 255, 128).astype(int)]
    shades = [tuple(int(c * f) for c in color) for color in (*COLORS, SAID) for f in np.linspace(0.2, 1, 10)]
    made = Picture.new("P", (1, 1))
    made.putpalette([int(c) for color in (*greys, *shades) for c in color])
    return made


def main(words: Sequence[str]) -> None:
    """Render what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=DOCS / "keypoints-tasks.png", help="the picture to write")
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of all nine images")
    parser.add_argument("--weights", default=BUNDLED, help="a .safetensors file; else the bundled ones")
    given = parser.parse_args(words)
    weights = given.weights if given.weights == BUNDLED else Path(given.weights)
    predictor = KeypointsPredictor.load(weights, device="cpu")
    sheet = tasks_picture(predictor, given.seed)
    sheet.quantize(palette=palette(), dither=Picture.Dither.NONE).save(given.to, optimize=True)
    sys.stdout.write(f"wrote {given.to}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
