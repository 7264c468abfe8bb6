"""Ultrasound frames and their points as napari layer data. Imports no GUI.

Frames have no scale and lie upright on pixels: (frame, row, column). The size of a pixel may differ from one
region of a frame to the next, or be unknown, and a layer has only one: with a scale, napari's scale bar and
cursor would show millimetres that nobody vouches for. Millimetres are in the measurements only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_trifocal.layers import to_layers
from napari_trifocal.reel import Clip, Reel
from trifocal.cine import Cine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_trifocal.keypoints_marks import Marks
    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task

    LayerData = tuple[Any, dict[str, Any], str]

FRAMES, HEAT, LINES, ELLIPSE = "Ultrasound", "Heat map", "Measured lines", "Ellipse"
RULER, POINTS, NAMES = "Known distance", "Keypoints", "Names"
REEL = "trifocal_reel"  # where a layer's metadata keep the frames that it was made from
PALETTE = (
    "#ffd02f", "#35c9ff", "#ff6fae", "#7ddc4a", "#c69bff", "#ff8f3a",
    "#4fe0c0", "#ff5f56", "#9fb7ff", "#e0e04a", "#f0a0e0",
)  # fmt: skip
RULER_COLOUR, ELLIPSE_COLOUR = "#ffffff", "#ffd02f"
MOST_NAMES = 8  # points that are all named; of more, the lines are
SYMBOLS = {"predicted": "disc", "edited": "diamond"}
BORDERS = {"predicted": "#101214", "edited": "#ffffff"}


@to_layers.register(Reel)
def _(reel: Reel, *, name: str = "") -> list[LayerData]:
    still = len(reel) == 1
    look = {
        "name": name or reel.name or FRAMES,
        "rgb": reel.colour,
        "contrast_limits": (0, 255),
        "axis_labels": ("y", "x") if still else ("frame", "y", "x"),
        "cache": False,  # the frames that were decoded last are kept by the reel
        "metadata": {REEL: reel},
    }
    look |= {} if reel.colour else {"colormap": "gray"}
    return [(reel.picture(0) if still else stack(reel), look, "image")]


@to_layers.register(Cine)
def _(cine: Cine, *, name: str = "") -> list[LayerData]:
    return to_layers(Reel([Clip.of(cine)], name or cine.name))


def stack(reel: Reel) -> da.Array:
    """(frame, row, column[, RGB]) uint8, each frame decoded when it is looked at."""
    columns, rows = reel.size
    shape = (rows, columns, 3) if reel.colour else (rows, columns)
    return da.map_blocks(
        lambda block_id: reel.picture(block_id[0])[None],
        chunks=((1,) * len(reel), *((n,) for n in shape)),
        dtype=np.uint8,
        meta=np.empty((0,) * (1 + len(shape)), np.uint8),
    )


def colours_of(task: Task) -> tuple[list[str], list[str]]:
    """Colours of the lines of a task, and of its points: those of the first line that each ends."""
    lines = [PALETTE[i % len(PALETTE)] for i in range(len(task.lines))]
    points = [next(lines[i] for i, ends in enumerate(task.lines) if k in ends) for k in range(task.count)]
    return lines, points


def names_of(task: Task) -> list[str]:
    """What stands beside each point: its name, or where that would be too much the name of its line, once."""
    if task.count <= MOST_NAMES:
        return list(task.points)
    names = [""] * task.count
    for pair in task.pairs:
        names[pair.ends[0]] = pair.name
    return names


def points_layer(task: Task) -> LayerData:
    """A layer with every point of a task, none of which is shown yet; see `placed`."""
    colours = colours_of(task)[1]
    look = {
        "name": POINTS,
        "ndim": 2,
        "face_color": colours,
        "border_color": [BORDERS["predicted"]] * task.count,
        "border_width": 0.15,
        "shown": np.zeros(task.count, bool),
        "blending": "translucent_no_depth",
        "opacity": 1.0,
    }
    return np.zeros((task.count, 2)), look, "points"


def names_layer(task: Task) -> LayerData:
    """A layer with the names of a task's points, none of which is shown yet."""
    look = {
        "name": NAMES,
        "ndim": 2,
        "features": {"point": names_of(task), "colour": colours_of(task)[1]},
        "face_color": "transparent",
        "border_color": "transparent",
        "shown": np.zeros(task.count, bool),
        "text": {"string": "{point}", "color": {"feature": "colour"}, "size": 10, "anchor": "center"},
        "blending": "translucent_no_depth",
    }
    return np.zeros((task.count, 2)), look, "points"


def placed(marks: Marks) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(K, 2) rows and columns of the points, and (K,) which of them are somewhere."""
    there = np.isfinite(marks.points).all(axis=1)
    return np.where(there[:, None], marks.points, 0.0)[:, ::-1], there


def lines_between(task: Task, marks: Marks) -> tuple[NDArray[np.float64], list[str]]:
    """(N, 2, 2) start and direction (row, column) of the lines whose ends are there, and their colours."""
    colours, points = colours_of(task)[0], marks.points
    found = [
        (ends, c)
        for ends, c in zip(task.lines, colours, strict=True)
        if np.isfinite(points[list(ends)]).all()
    ]
    vectors = [[points[a], points[b] - points[a]] for (a, b), _ in found]
    return np.array(vectors, float).reshape(-1, 2, 2)[..., ::-1], [colour for _, colour in found]


def outline_of(ellipse: Ellipse) -> NDArray[np.float64]:
    """(N, 2, 2) start and direction (row, column) of short lines around an ellipse."""
    points = ellipse.outline()
    return np.stack([points, np.roll(points, -1, axis=0) - points], axis=1)[..., ::-1]


def lines_layer(name: str, colour: str) -> LayerData:
    """A layer for lines, with none in it."""
    look = {"name": name, "ndim": 2, "edge_color": colour, "vector_style": "line", "opacity": 0.9}
    look |= {"blending": "translucent_no_depth"}
    return np.empty((0, 2, 2)), look, "vectors"


def heat_layer(heat: NDArray[np.float32]) -> LayerData:
    """A heat map over its frame."""
    look = {"name": HEAT, "colormap": "inferno", "contrast_limits": (0.0, 1.0), "blending": "additive"}
    look |= {"opacity": 0.7, "interpolation2d": "linear"}
    return heat, look, "image"
