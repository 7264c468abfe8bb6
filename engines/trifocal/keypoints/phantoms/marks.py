"""What machines draw over their images: text, calipers, scales, logos, and the boxes that hide names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.phantoms.machine import Machine
    from trifocal.keypoints.phantoms.view import View
    from trifocal.keypoints.tasks import Task

WORDS = (
    "OB", "GYN", "Gen", "Res", "C5-1", "C1-5", "RAB6", "S5-1", "P21", "E8C", "28Hz", "MI 1.1", "TIS 0.2",
    "TIB 0.4", "Gn 60", "DR 66", "FR 31", "2D", "HGen", "Pwr 100", "16.4cm", "9.0cm", "P Low", "Har-mid",
    "S/A 3/2", "Adult Echo", "Fetal", "2TRIM", "3TRIM", "THI", "CHI", "Frq Mid", "C 61", "56%", "P",
    "GA=22w3d", "LMP",
)  # fmt: skip
CALIPERS_SHARE = 0.22
ON_LANDMARKS_SHARE = 0.3  # of the calipers: the others lie elsewhere, so that they give nothing away


def burn_in(
    image: NDArray[np.uint8], inside: NDArray[np.bool_], view: View, machine: Machine, task: Task,
    points: NDArray[np.float64], rng: np.random.Generator,
) -> NDArray[np.uint8]:  # fmt: skip
    """Draw the machine's marks; returns a new image (height, width) uint8.

    Args:
        image: (height, width) B-mode image.
        inside: (height, width) whether a pixel lies in the sector: most text keeps out of it.
        view: For the depth scale.
        machine: Its layout decides what is drawn.
        task: Of the image.
        points: (K, 2) landmarks in pixels; calipers lie on them only in some images.
        rng: For everything random.
    """
    picture = Picture.fromarray(image)
    draw = ImageDraw.Draw(picture)
    level = int(rng.integers(120, 256))
    if rng.random() < (0.9 if machine.layout == "crop" else 0.6):
        _grey_bar(draw, view, rng)
    if rng.random() < {"crop": 0.1, "tight": 0.25, "screen": 0.85}[machine.layout]:
        _depth_scale(draw, view, level, rng)
    texts = {"crop": 1, "tight": 3, "screen": 16}[machine.layout]
    for _ in range(int(rng.integers(0, texts + 1))):
        _text(draw, inside, view, level, rng)
    if machine.layout == "crop" and rng.random() < 0.7:
        _hidden_corners(draw, view, points, rng)
    if machine.layout == "screen" and rng.random() < 0.4:
        _banner(draw, view, rng)
    if rng.random() < CALIPERS_SHARE:
        _calipers(draw, view, task, points, rng)
    return np.asarray(picture).copy()


def _font(rng: np.random.Generator) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(float(rng.integers(7, 14)))


def _grey_bar(draw: ImageDraw.ImageDraw, view: View, rng: np.random.Generator) -> None:
    width, height = view.size
    left = 0 if rng.random() < 0.6 else width - int(rng.integers(6, 14))
    wide, top = int(rng.integers(2, 7)), int(rng.uniform(0.02, 0.2) * height)
    tall = int(rng.uniform(0.2, 0.5) * height)
    for row in range(tall):
        draw.line([(left, top + row), (left + wide - 1, top + row)], fill=int(255 * (1 - row / tall)))


def _depth_scale(draw: ImageDraw.ImageDraw, view: View, level: int, rng: np.random.Generator) -> None:
    """A tick each centimetre from the top of the sector, longer ones each five."""
    width, height = view.size
    x = width - int(rng.integers(3, 16)) if rng.random() < 0.7 else int(rng.integers(8, 20))
    centimetre = 10 / view.mm_per_px
    y, n = (0 - view.origin_mm[1]) / view.mm_per_px, 0
    long = int(rng.integers(4, 8))
    while y < height:
        draw.line([(x - (long if n % 5 == 0 else long // 2), y), (x, y)], fill=level)
        if n % 5 == 0 and n and rng.random() < 0.7:
            draw.text((x - long - 14, y - 5), str(n), fill=level, font=ImageFont.load_default(9))
        y, n = y + centimetre, n + 1


def _text(
    draw: ImageDraw.ImageDraw, inside: NDArray[np.bool_], view: View, level: int, rng: np.random.Generator
) -> None:
    """A word of the machine, outside the sector where there is room, now and then over it."""
    width, height = view.size
    font, word = _font(rng), WORDS[int(rng.integers(len(WORDS)))]
    for _ in range(6):
        x, y = rng.uniform(0, 0.92 * width), rng.uniform(0, 0.95 * height)
        left, top, right, bottom = (int(v) for v in draw.textbbox((x, y), word, font=font))
        covered = inside[max(top, 0) : bottom, max(left, 0) : right]
        if covered.size and (not covered.any() or rng.random() < 0.04):
            draw.text((x, y), word, fill=level, font=font)
            return


def _hidden_corners(
    draw: ImageDraw.ImageDraw, view: View, points: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Black boxes in the corners, where names and values have been hidden; never over a landmark."""
    width, height = view.size
    for left, top in ((0, 0), (1, 0), (0, 1), (1, 1)):
        if rng.random() > (0.75 if (left, top) == (1, 1) else 0.15):
            continue
        wide, tall = rng.uniform(0.08, 0.28) * width, rng.uniform(0.06, 0.22) * height
        box = (left * (width - wide), top * (height - tall), left * (width - wide) + wide,
               top * (height - tall) + tall)  # fmt: skip
        x, y = points[:, 0], points[:, 1]
        if not ((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])).any():
            draw.rectangle(box, fill=0)


def _banner(draw: ImageDraw.ImageDraw, view: View, rng: np.random.Generator) -> None:
    """The maker's bar along the upper edge, and its logo."""
    width, height = view.size
    level, tall = int(rng.integers(20, 90)), int(rng.uniform(0.04, 0.1) * height)
    draw.rectangle((0, 0, width, tall), fill=level)
    box = (3, 2, 3 + int(rng.integers(20, 60)), tall - 2)
    if box[3] > box[1]:
        draw.rectangle(box, fill=int(rng.integers(100, 230)))
    word = WORDS[int(rng.integers(len(WORDS)))]
    draw.text((int(rng.uniform(0.2, 0.7) * width), 1), word, fill=220, font=ImageFont.load_default(10))


def _calipers(
    draw: ImageDraw.ImageDraw, view: View, task: Task, points: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Crosses with a dotted line or ellipse: on two of the landmarks, or anywhere else."""
    width, height = view.size
    first, second = task.lines[int(rng.integers(len(task.lines)))]
    ends = points[[first, second]]
    if rng.random() > ON_LANDMARKS_SHARE:
        middle = rng.uniform(0.2, 0.8, 2) * (width, height)
        turn, half = rng.uniform(0, np.pi), 0.5 * np.linalg.norm(ends[1] - ends[0]) * rng.uniform(0.3, 1.2)
        along = np.array([np.cos(turn), np.sin(turn)]) * half
        ends = np.stack([middle - along, middle + along])
    level, arm = int(rng.integers(180, 256)), int(rng.integers(2, 6))
    for x, y in ends:
        draw.line([(x - arm, y), (x + arm, y)], fill=level)
        draw.line([(x, y - arm), (x, y + arm)], fill=level)
    if rng.random() < 0.6:
        count = max(int(np.linalg.norm(ends[1] - ends[0]) / rng.uniform(3, 7)), 2)
        draw.point([tuple(p) for p in np.linspace(ends[0], ends[1], count).tolist()], fill=level)
    if task.ellipse and rng.random() < 0.4:
        _dotted_ellipse(draw, ends, level, rng)


def _dotted_ellipse(
    draw: ImageDraw.ImageDraw, ends: NDArray[np.float64], level: int, rng: np.random.Generator
) -> None:
    """An ellipse of dots with the calipers on one of its axes."""
    long = (ends[1] - ends[0]) / 2
    short = np.array([-long[1], long[0]]) * rng.uniform(0.6, 1.2)
    t = np.linspace(0, 2 * np.pi, int(rng.integers(40, 90)), endpoint=False)[:, None]
    outline = ends.mean(axis=0) + np.cos(t) * long + np.sin(t) * short
    draw.point([tuple(p) for p in outline.tolist()], fill=level)
