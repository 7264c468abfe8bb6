"""The fetal femur of the fetal_femur task: the ossified shaft, its shadow, and the thigh around it.

The points are the ends of the ossified diaphysis, where the calipers go (Salomon et al. 2019): the middle of
each end of the bright line, without the cartilage and without the spur that reflections of it may show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.canvas import Canvas, wobbled
from trifocal.keypoints.phantoms.scene import Probe, Scene
from trifocal.keypoints.phantoms.tissue import (
    abdominal_wall,
    blob,
    clutter,
    fluid,
    heterogeneous,
    limb,
    placenta,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def femur_scene(rng: np.random.Generator) -> Scene:
    """A femur, mostly across the beam."""
    length = float(rng.uniform(12, 76))
    tilt = float(np.clip(rng.normal(0, 17), -55, 55))
    turn = np.deg2rad(tilt)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    front = float(rng.uniform(25, 65))
    middle = np.array([float(rng.normal(0, 4)), front + 0.5 * length * abs(np.sin(turn)) + 0.2 * length])
    depth = float(middle[1] + 0.5 * length * abs(np.sin(turn)) + 0.25 * length + rng.uniform(15, 55))
    probe = Probe("convex", depth, float(rng.uniform(42, 65)), float(rng.uniform(27, 36)),
                  frequency_mhz=float(np.clip(rng.normal(6.5 - 0.022 * depth, 1.0), 2.5, 8)))  # fmt: skip
    bend = float(rng.normal(0.03, 0.025)) * length
    s = np.linspace(-1, 1, 40)
    shaft = middle + s[:, None] * 0.5 * length * along - (bend * (1 - s**2))[:, None] * across
    canvas = Canvas(probe, rng)
    _uterus(canvas, middle, length, front)
    _thigh(canvas, middle, length, tilt)
    _shaft(canvas, shaft, length)
    spare = length * float(rng.uniform(0.15, 0.6)) + 5
    low, high = shaft.min(axis=0) - spare, shaft.max(axis=0) + spare
    focus = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return canvas.scene(shaft[[0, -1]], focus_mm=focus)


def _uterus(canvas: Canvas, middle: NDArray[np.float64], length: float, front: float) -> None:
    rng = canvas.rng
    heterogeneous(canvas, float(rng.uniform(0.3, 0.8)))
    canvas.scatter *= np.float32(10 ** rng.uniform(-0.6, 0.05))
    abdominal_wall(canvas, front * float(rng.uniform(0.3, 0.6)))
    if rng.random() < 0.5:
        behind = rng.random() < 0.5
        at = middle[1] + 0.5 * length if behind else 0.35 * front
        placenta(canvas, float(at), float(rng.uniform(15, 35)), behind=behind)
    clutter(canvas, int(rng.integers(0, 7)))
    if rng.random() < 0.6:
        size = (length * float(rng.uniform(0.7, 1.3)), length * float(rng.uniform(0.35, 0.7)))
        place = middle + rng.normal(0, 0.2 * length, 2)
        sac = blob(place, size, float(rng.normal(0, 20)), float(rng.uniform(0.05, 0.2)) * length, rng)
        fluid(canvas, sac, float(rng.uniform(0.5, 3)))
    for _ in range(int(rng.integers(0, 4))):
        place = middle + rng.normal(0, 1, 2) * (0.8 * length, 0.5 * length)
        limb(canvas, place, float(rng.uniform(0.08, 0.16)) * length)


def _thigh(canvas: Canvas, middle: NDArray[np.float64], length: float, tilt: float) -> None:
    """Muscle around the bone, skin, and cartilage at both ends."""
    rng = canvas.rng
    size = (length * float(rng.uniform(0.68, 0.85)), length * float(rng.uniform(0.2, 0.45)))
    shift = rng.normal(0, 0.06 * length, 2)
    outline = blob(middle + shift, size, tilt + float(rng.normal(0, 8)), 0.05 * length, rng)
    mask = canvas.polygon(outline)
    level = float(10 ** rng.uniform(-0.6, 0.0))
    canvas.fill(
        mask,
        scatter=level
        * np.exp(0.3 * canvas.texture(0.12 * length, 3) + 0.3 * canvas.texture(0.04 * length, 4)),
        loss=0.0,
        echo=0,
    )
    skin = float(10 ** rng.uniform(-0.8, 0.6)) * np.exp(0.5 * rng.standard_normal(len(outline)).cumsum() / 5)
    canvas.interface(outline, skin, float(rng.uniform(0.6, 1.4)), closed=True, specular=3, diffuse=0.1)
    for _ in range(int(rng.integers(0, 5))):  # sheets between muscles
        start = middle + rng.normal(0, 1, 2) * (0.3 * length, 0.12 * length)
        turn = np.deg2rad(tilt + rng.normal(0, 12))
        line = start + np.linspace(0, 1, 12)[:, None] * length * 0.4 * np.array([np.cos(turn), np.sin(turn)])
        canvas.interface(wobbled(line, 0.4, rng, closed=False), float(rng.uniform(0.5, 2)), 0.6)


def _shaft(canvas: Canvas, shaft: NDArray[np.float64], length: float) -> None:
    """The ossified diaphysis: a bright line that widens a little at its ends, and its shadow."""
    rng = canvas.rng
    s = np.linspace(-1, 1, len(shaft))
    thick = 0.9 + 0.035 * length
    uneven = 1 + 0.2 * np.sin(s * float(rng.uniform(2, 9)) + float(rng.uniform(0, 6)))
    width = thick * (0.7 + float(rng.uniform(0, 0.6)) * np.abs(s) ** 3) * uneven
    along = (shaft[-1] - shaft[0]) / np.linalg.norm(shaft[-1] - shaft[0])
    for end, way in ((0, -1), (-1, 1)):  # unossified: dark
        centre = shaft[end] + way * along * 0.075 * length
        angle = float(np.rad2deg(np.arctan2(along[1], along[0])))
        head = canvas.ellipse(centre, (0.09 * length, 0.075 * length), angle)
        canvas.fill(head, scatter=float(rng.uniform(0.1, 0.4)), echo=0)
        if rng.random() < 0.3:  # the cartilage's far surface may shine: not part of the length
            spur = centre + way * along * 0.08 * length + np.array([[-0.5], [0.5]]) * (0.05 * length)
            canvas.interface(spur, float(rng.uniform(0.5, 3)), 0.7)
    # capsules end half a width beyond their ends: keep the visible end at the landmark
    inner = shaft.copy()
    inner[0] += along * 0.4 * width[0]
    inner[-1] -= along * 0.4 * width[-1]
    canvas.fill(canvas.curve(inner, width), loss=float(rng.uniform(2.5, 7)), scatter=1.0)
    strength = float(10 ** rng.uniform(0.8, 1.3)) * np.exp(
        0.25 * rng.standard_normal(len(shaft)).cumsum() / 4
    )
    canvas.interface(inner, strength, 0.8 * width, specular=float(rng.uniform(0.8, 2)), diffuse=0.25)
