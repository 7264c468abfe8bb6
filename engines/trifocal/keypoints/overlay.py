"""A frame with its points, their names, the measured lines, the ellipse and what they measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.frame_result import FrameResult
    from trifocal.keypoints.measurements import Measurement

COLOURS = (
    (255, 196, 0), (0, 200, 255), (255, 99, 132), (120, 220, 90), (200, 140, 255), (255, 150, 60),
    (90, 230, 200), (240, 110, 240), (190, 200, 60), (110, 150, 255), (230, 230, 230),
)  # fmt: skip
"""One for each measured line, as often as they reach; light, since ultrasound is dark."""

_WIDTH = 960  # the picture is enlarged by a whole number up to about this, for legible names,
_WIDE = 1600  # or to this, for more names than
_FEW = 8
_MARGIN = 8
_AWAY = (4.0, 20.0, 40.0, 64.0)
_NEAR = 12.0  # a name that lies farther from its point is tied to it by a line
_DIRECTIONS = np.array([(1, -1), (1, 1), (-1, -1), (-1, 1), (1, 0), (-1, 0), (0, -1), (0, 1)], np.float64)
_TEXT = 15


def draw_overlay(frame: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Draw a result over its frame; whatever is burnt into the frame shows.

    Args:
        frame: (rows, columns) or (rows, columns, 3).
        result: Of that frame.

    Returns:
        (rows', columns', 3): the frame, enlarged by a whole number, and below it the measurements.
    """
    factor = max(1, round((_WIDTH if result.task.count <= _FEW else _WIDE) / frame.shape[1]))
    picture = Image.fromarray(frame).convert("RGB")
    picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    lines = _wrapped(
        [_text(m) for m in result.measurements if m.value is not None] or ["no points"], picture.width
    )
    strip = _MARGIN * 2 + (_TEXT + 5) * (len(lines) + 1)
    canvas = Image.new("RGB", (picture.width, picture.height + strip))
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    _draw_points(draw, result, factor, picture.size)
    font = ImageFont.load_default(_TEXT)
    for i, line in enumerate(lines):
        draw.text((_MARGIN, picture.height + _MARGIN + i * (_TEXT + 5)), line, (235, 235, 235), font)
    foot = f"{result.task.id}, {RESEARCH_USE_ONLY.lower()}"
    draw.text((_MARGIN, canvas.height - _MARGIN - _TEXT - 3), foot, (150, 150, 150), font)
    return np.asarray(canvas)


def _draw_points(draw: ImageDraw.ImageDraw, result: FrameResult, factor: int, size: tuple[int, int]) -> None:
    at = (result.points + 0.5) * factor  # the centre of a pixel, on the enlarged picture
    if result.ellipse is not None:
        outline = (result.ellipse.outline(180) + 0.5) * factor
        draw.line([tuple(p) for p in [*outline, outline[0]]], (255, 255, 255), 1)
    colours = [COLOURS[-1]] * len(at)
    for number, ends in enumerate(result.task.lines):
        colour = COLOURS[number % len(COLOURS)]
        for end in ends:
            colours[end] = colour
        if np.isfinite(at[list(ends)]).all():
            draw.line([tuple(at[end]) for end in ends], colour, 2)
    there = at[np.isfinite(at).all(axis=1)]
    taken = [np.concatenate([point - 5, point + 5]) for point in there]
    for point, colour in zip(at, colours, strict=True):
        if np.isfinite(point).all():
            draw.ellipse((*(point - 4), *(point + 4)), outline=(0, 0, 0), fill=colour)
    font = ImageFont.load_default(_TEXT - 2)
    for name, point, colour in zip(result.task.points, at, colours, strict=True):
        if not np.isfinite(point).all():
            continue
        box = _free_place(point, font.getbbox(name), taken, size)
        taken.append(box)
        anchor = np.clip(point, box[:2], box[2:])
        if np.linalg.norm(anchor - point) > _NEAR:
            draw.line([tuple(point), tuple(anchor)], colour, 1)
        draw.text(tuple(box[:2]), name, colour, font, stroke_width=2, stroke_fill=(0, 0, 0))


def _free_place(
    point: NDArray[np.float64],
    text: tuple[float, float, float, float],
    taken: list[NDArray[np.float64]],
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """Where a name covers least of what is drawn already: (left, top, right, bottom).

    Args:
        point: (x, y) that it belongs to.
        text: Its box, from the place that it is drawn at.
        taken: Boxes of points and of other names.
        size: (columns, rows) of the picture, which it stays in.
    """
    extent = np.array([text[2] + 2, text[3] + 2])
    best, lowest = np.zeros(4), np.inf
    for away in _AWAY:
        for direction in _DIRECTIONS:
            centre = point + direction * (extent / 2 + away)
            corner = np.clip(centre - extent / 2, 0, np.maximum(np.array(size) - extent, 0))
            box = np.concatenate([corner, corner + extent])
            covered = sum(_overlap(box, other) for other in taken)
            if (cost := covered + away) < lowest:
                best, lowest = box, cost
    return best


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(width, 0) * max(height, 0))


def _text(measurement: Measurement) -> str:
    assert measurement.value is not None
    decimals = {"g": 0, "ratio": 2}.get(measurement.unit, 1)
    unit = "" if measurement.unit == "ratio" else f" {measurement.unit}"
    return f"{measurement.name} {measurement.value:.{decimals}f}{unit}"


def _wrapped(parts: list[str], width: int) -> list[str]:
    """Join texts by commas into lines that fit the width."""
    font = ImageFont.load_default(_TEXT)
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]},  {part}"
        if font.getlength(longer) <= width - 2 * _MARGIN:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines
