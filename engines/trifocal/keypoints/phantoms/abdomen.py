"""The fetal abdomen of the FA task: a transverse section at the level of stomach and umbilical vein.

The plane is that of the ISUOG guideline (Salomon et al. 2019): stomach bubble and the umbilical vein at the
portal sinus in view, spine and ribs at the rim. The ellipse is the outer edge of the skin. The two diameters
of the task are perpendicular: antero-posterior (spine to abdominal wall) and transverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.phantoms.canvas import Canvas, wobbled
from trifocal.keypoints.phantoms.scene import Probe, Scene
from trifocal.keypoints.phantoms.tissue import (
    abdominal_wall,
    blob,
    bone,
    clutter,
    fluid,
    heterogeneous,
    limb,
    placenta,
    smooth_path,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def abdomen_scene(rng: np.random.Generator) -> Scene:
    """An abdomen in the uterus, spine at any side of it."""
    circumference = float(rng.uniform(90, 370))
    ratio = float(np.clip(rng.normal(0.93, 0.05), 0.78, 1.0))
    long = circumference / Ellipse((0, 0), (1.0, ratio), 0).perimeter
    angle = float(rng.uniform(0, 180))
    front = float(rng.uniform(15, 45))
    depth = front + 2 * long + float(rng.uniform(6, 35))
    probe = Probe("convex", depth, float(rng.uniform(42, 65)), float(rng.uniform(28, 37)),
                  frequency_mhz=float(np.clip(rng.normal(6.5 - 0.022 * depth, 1.0), 2.5, 8)))  # fmt: skip
    centre = (float(rng.normal(0, 0.1 * long + 2)), front + long)
    rim = Ellipse(centre, (long, ratio * long), angle)
    canvas = Canvas(probe, rng)
    _surroundings(canvas, rim, front)
    # the spine lies at one end of the antero-posterior axis, seldom straight towards or away from the probe
    spine = float(
        rng.choice([0.0, 180.0]) + rng.normal(0, 35) if rng.random() < 0.65 else rng.uniform(0, 360)
    )
    _trunk(canvas, rim)
    _organs(canvas, rim, spine)
    spare = float(rng.uniform(1.08, 1.5)) * long
    x, y = centre
    return canvas.scene(
        _diameters(rim, spine), ellipse_mm=rim, focus_mm=(x - spare, y - spare, x + spare, y + spare)
    )


def _diameters(rim: Ellipse, spine_deg: float) -> NDArray[np.float64]:
    """(4, 2) ends of the ellipse's axes: first the one nearer to the vertical, as the task's names ask for.

    The challenge orders its points by where they lie in the picture (top, bottom, right, left), not by the
    spine.
    """
    ends = rim.axis_ends()
    steep = np.abs(ends[1] - ends[0])
    upright = steep[1] >= steep[0]
    return ends if upright else ends[[2, 3, 0, 1]]


def _surroundings(canvas: Canvas, rim: Ellipse, front: float) -> None:
    rng, (a, b) = canvas.rng, rim.semi_axes
    centre = np.array(rim.center)
    heterogeneous(canvas, float(rng.uniform(0.3, 0.8)))
    canvas.scatter *= np.float32(10 ** rng.uniform(-0.6, 0.05))
    abdominal_wall(canvas, front * float(rng.uniform(0.4, 0.8)))
    if rng.random() < 0.5:
        behind = rng.random() < 0.5
        at = centre[1] + 0.9 * b if behind else 0.5 * front
        placenta(canvas, float(at), float(rng.uniform(15, 35)), behind=behind)
    clutter(canvas, int(rng.integers(0, 7)))
    if rng.random() < 0.6:
        room = float(rng.uniform(1.0, 1.6))
        place = centre + rng.normal(0, 0.4 * (room - 0.8) * a, 2)
        uneven = float(rng.uniform(0.05, 0.2)) * a
        fluid(
            canvas,
            blob(place, (a * room * 1.15, b * room), rim.angle, uneven, rng),
            float(rng.uniform(0.5, 3)),
        )
    for _ in range(int(rng.integers(0, 4))):
        turn = rng.uniform(0, 2 * np.pi)
        place = centre + np.array([np.cos(turn), np.sin(turn)]) * (a * float(rng.uniform(1.15, 1.4)))
        limb(canvas, place, float(rng.uniform(0.08, 0.16)) * a)


def _trunk(canvas: Canvas, rim: Ellipse) -> None:
    """Skin, subcutaneous fat and the liver that fills most of the section."""
    rng, (a, b) = canvas.rng, rim.semi_axes
    line = wobbled(rim.outline(140), 0.015 * a, rng, first=3, waves=6)
    mask = canvas.polygon(line, edge_mm=0.6)
    level = float(10 ** rng.uniform(-0.7, -0.05))
    fine = float(rng.uniform(0.1, 0.45)) * canvas.texture(0.06 * a, 2)
    canvas.fill(
        mask,
        scatter=level * np.exp(0.18 * canvas.texture(0.2 * a) + fine),
        loss=float(rng.uniform(0, 0.05)),
        echo=0,
    )
    skin = float(rng.uniform(0.6, 1.0 + 0.05 * a))
    ring = np.array(rim.center) + (line - rim.center) * (1 - 0.5 * skin / b)
    t = np.linspace(0, 2 * np.pi, len(line), endpoint=False)
    strength = float(10 ** rng.uniform(0.0, 0.75)) * (1 + 0.4 * np.sin(t * 2 + rng.uniform(0, 6)))
    canvas.interface(ring, strength, skin, closed=True, specular=float(rng.uniform(1, 4)),
                     diffuse=float(rng.uniform(0.03, 0.3)))  # fmt: skip
    inner = np.array(rim.center) + (line - rim.center) * float(rng.uniform(0.86, 0.93))
    canvas.interface(inner, strength * float(rng.uniform(0.2, 0.6)), 0.8, closed=True, specular=3)


def _organs(canvas: Canvas, rim: Ellipse, spine_deg: float) -> None:
    """Spine and ribs, aorta, stomach, umbilical vein, the stomach on one side."""
    rng, (a, b) = canvas.rng, rim.semi_axes
    centre, radius = np.array(rim.center), 0.5 * (a + b)
    turn = np.deg2rad(spine_deg)
    back = np.array([np.cos(turn), np.sin(turn)])
    left = np.array([-back[1], back[0]]) * rng.choice([-1, 1])

    def at(forward: float, sideways: float) -> NDArray[np.float64]:
        return np.asarray(centre + radius * (-forward * back + sideways * left), float)

    if rng.random() < 0.88:
        stomach = blob(at(rng.uniform(-0.2, 0.15), rng.uniform(0.38, 0.52)),
                       (radius * rng.uniform(0.12, 0.28), radius * rng.uniform(0.1, 0.18)),
                       rng.uniform(0, 180), 0.02 * radius, rng)  # fmt: skip
        canvas.fill(canvas.polygon(stomach), scatter=0.02, loss=-0.05)
        canvas.interface(stomach, float(rng.uniform(0.8, 2)), 0.6, closed=True, specular=3)
    for forward, size in ((-0.42, 0.05), (-0.3, 0.05)):  # aorta, inferior vena cava
        vessel = at(forward, float(rng.uniform(-0.2, 0.2)))
        canvas.fill(canvas.ellipse(vessel, (size * radius, size * radius)), scatter=0.05)
    vein = [at(0.55, 0.02), at(0.25, rng.normal(0, 0.04)), at(0.12, -0.12), at(0.05, -0.3)]
    course = smooth_path(vein, 0.01 * radius, rng, 24)[: int(rng.integers(14, 25))]
    width = radius * np.linspace(rng.uniform(0.06, 0.1), rng.uniform(0.04, 0.08), len(course))
    canvas.fill(canvas.curve(course, width * 1.5), scatter=float(rng.uniform(0.8, 1.6)))
    canvas.fill(canvas.curve(course, width), scatter=0.03)
    _spine(canvas, at(-float(rng.uniform(0.7, 0.8)), 0), back, left, radius)
    for side in (-1, 1):
        for n in range(int(rng.integers(0, 4))):
            _rib(canvas, rim, turn + side * (0.45 + 0.35 * n + rng.normal(0, 0.08)))


def _spine(
    canvas: Canvas,
    place: NDArray[np.float64],
    back: NDArray[np.float64],
    left: NDArray[np.float64],
    radius: float,
) -> None:
    """Three ossification centres around the canal; they throw shadows."""
    rng = canvas.rng
    angle = float(np.rad2deg(np.arctan2(left[1], left[0])))
    size = radius * float(rng.uniform(0.06, 0.1))
    for shift, tilt in ((-1.2 * back, 0.0), (0.8 * back + left, 60.0), (0.8 * back - left, -60.0)):
        bone(canvas, place + size * shift, 0.75 * size, angle + tilt, 0.45 * size)
    canvas.fill(canvas.ellipse(place, (0.5 * size, 0.5 * size)), scatter=0.05)


def _rib(canvas: Canvas, rim: Ellipse, turn: float) -> None:
    """A short bright arc just inside the skin, with its shadow."""
    rng, (a, b) = canvas.rng, rim.semi_axes
    span = turn + np.linspace(0, float(rng.uniform(0.12, 0.45)), 10)
    ray = np.stack([np.cos(span), np.sin(span)], axis=1)
    tilt = np.deg2rad(rim.angle)
    u, v = ray @ [np.cos(tilt), np.sin(tilt)], ray @ [-np.sin(tilt), np.cos(tilt)]
    reach = 1 / np.sqrt((u / a) ** 2 + (v / b) ** 2)
    line = np.array(rim.center) + ray * (reach * float(rng.uniform(0.83, 0.9)))[:, None]
    canvas.fill(canvas.curve(line, 0.035 * a + 0.5), loss=float(rng.uniform(0.3, 3)))
    canvas.interface(line, float(rng.uniform(3, 9)), 0.03 * a + 0.5)
