"""The pelvis in labour of the AOP task, seen by transperineal ultrasound in the sagittal plane.

The points follow the ISUOG intrapartum guideline (Ghi et al. 2018): lower and upper end of the long axis of
the pubic symphysis, the point of the fetal head nearest to its lower end, and the point where the tangent
from the lower end touches the leading edge of the skull.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse
from trifocal.keypoints.phantoms.canvas import Canvas, wobbled
from trifocal.keypoints.phantoms.scene import Probe, Scene
from trifocal.keypoints.phantoms.tissue import blob, fluid, heterogeneous, smooth_path

if TYPE_CHECKING:
    from numpy.typing import NDArray


def labour_scene(rng: np.random.Generator) -> Scene:
    """Symphysis at the upper left, head below it; a fifth of the pictures the other way round."""
    probe = Probe(
        "convex",
        depth_mm=float(rng.uniform(95, 150)),
        radius_mm=float(rng.uniform(40, 62)),
        half_angle_deg=float(rng.uniform(30, 42)),
        frequency_mhz=float(rng.uniform(2.5, 5)),
    )
    lower, upper, rim = _pelvis(probe, rng)
    points = np.stack([lower, upper, nearest_point(rim, lower), tangent_point(rim, lower, upper)])
    if rng.random() < 0.2:
        points = points * [-1.0, 1.0]
        rim = Ellipse((-rim.center[0], rim.center[1]), rim.semi_axes, -rim.angle % 180)
    canvas = Canvas(probe, rng)
    _perineum(canvas, points, rim)
    _skull(canvas, rim)
    _symphysis(canvas, points[0], points[1])
    low, high = points.min(axis=0), points.max(axis=0)
    spare = rng.uniform(8, 30, 4)
    left, top = low - spare[:2]
    right, bottom = high + spare[2:]
    return canvas.scene(points, focus_mm=(float(left), float(top), float(right), float(bottom)))


def _pelvis(
    probe: Probe, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], Ellipse]:
    """Lower and upper end of the symphysis, and the head: drawn anew until they fit."""
    while True:
        tilt = np.deg2rad(rng.normal(22, 16))  # the lower end to the middle, and mostly deeper
        along = np.array([np.cos(tilt), np.sin(tilt)])
        upper = np.array([-rng.uniform(22, 48), rng.uniform(12, 34)])
        lower = upper + float(rng.uniform(26, 42)) * along
        rim = _head(lower, along, float(np.clip(rng.normal(115, 25), 70, 172)), rng)
        symphysis = upper + np.linspace(0, 1, 9)[:, None] * (lower - upper)
        gaps = np.linalg.norm(rim.outline(180)[:, None] - symphysis, axis=2).min(axis=0)
        touch = tangent_point(rim, lower, upper)
        seen = np.stack([upper, lower, touch, nearest_point(rim, lower)])
        beam, depth = probe.beam_depth(seen)
        inside = (np.abs(beam) < 0.95).all() and (depth > 8).all() and (depth < 0.96 * probe.depth_mm).all()
        reach = min(rim.semi_axes)
        outside = (np.linalg.norm(symphysis - rim.center, axis=1) > reach).all()
        if inside and outside and gaps.min() > 7 and gaps[-1] < 45:
            return lower, upper, rim


def _head(
    lower: NDArray[np.float64], along: NDArray[np.float64], angle: float, rng: np.random.Generator
) -> Ellipse:
    """The fetal head: an ellipse that the ray at that angle of progression touches on its leading side."""
    long = float(rng.uniform(42, 60))
    short, axis = long * float(rng.uniform(0.72, 0.9)), float(rng.uniform(0, 180))
    turn, (back_x, back_y) = np.deg2rad(angle), -along
    # from the axis that points back to the upper end, by the angle of progression towards the head
    ray = np.array(
        [back_x * np.cos(turn) + back_y * np.sin(turn), back_y * np.cos(turn) - back_x * np.sin(turn)]
    )
    outward = np.array([ray[1], -ray[0]])
    slope = np.arctan2(outward[1], outward[0]) - np.deg2rad(axis)
    support = float(np.hypot(long * np.cos(slope), short * np.sin(slope)))
    # the point of an ellipse whose normal has that slope, from its centre along its axes
    u, v = long**2 * np.cos(slope) / support, short**2 * np.sin(slope) / support
    cos, sin = np.cos(np.deg2rad(axis)), np.sin(np.deg2rad(axis))
    contact = np.array([cos * u - sin * v, sin * u + cos * v])
    x, y = lower + float(rng.uniform(0.55, 1.3)) * long * ray - contact
    return Ellipse((float(x), float(y)), (long, short), axis)


def nearest_point(rim: Ellipse, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) the point of an ellipse's outline that is nearest to a point, to about a hundredth of a mm."""
    outline = rim.outline(3600)
    return np.asarray(outline[np.argmin(np.linalg.norm(outline - point, axis=1))], float)


def tangent_point(
    rim: Ellipse, lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(2,) where a tangent from the symphysis' lower end touches the head; of two, the far one.

    Args:
        rim: The head.
        lower: (2,) lower end.
        upper: (2,) upper end, to the left of the lower one.
    """
    outline = rim.outline(3600)
    ray, back = outline - lower, upper - lower
    angle = np.arctan2(back[1] * ray[:, 0] - back[0] * ray[:, 1], ray @ back) % (2 * np.pi)
    return np.asarray(outline[np.argmax(angle)], float)


def _perineum(canvas: Canvas, points: NDArray[np.float64], rim: Ellipse) -> None:
    """Soft tissue of the pelvic floor: layers, bladder and urethra, birth canal."""
    rng = canvas.rng
    heterogeneous(canvas, float(rng.uniform(0.3, 0.8)), 16)
    canvas.scatter *= np.float32(10 ** rng.uniform(-0.5, 0.05))
    for _ in range(int(rng.integers(2, 8))):
        start = np.array([rng.uniform(-40, 40), rng.uniform(4, 45)])
        turn = rng.normal(0, 0.5)
        line = start + np.linspace(0, 1, 5)[:, None] * rng.uniform(10, 35) * np.array(
            [np.cos(turn), np.sin(turn)]
        )
        canvas.interface(smooth_path(line, 0.8, rng), float(rng.uniform(0.6, 2.5)), 0.8)
    lower, nearest = points[0], points[2]
    if rng.random() < 0.4:  # bladder between symphysis and head
        way = np.sign(points[1, 0] - lower[0])
        place = 0.5 * (lower + nearest) + np.array([way * rng.uniform(6, 20), rng.uniform(2, 8)])
        size = (float(rng.uniform(5, 15)), float(rng.uniform(2, 5)))
        fluid(canvas, blob(place, size, rng.uniform(-40, 40), 0.6, rng), float(rng.uniform(1, 3)))
    if rng.random() < 0.4:  # a rim of fluid, or caput, around the head
        a, b = rim.semi_axes
        swollen = float(rng.uniform(2, 6))
        ring = canvas.ellipse(rim.center, (a + swollen, b + swollen), rim.angle)
        canvas.fill(ring, scatter=float(10 ** rng.uniform(-1.3, -0.2)))


def _skull(canvas: Canvas, rim: Ellipse) -> None:
    """A bright near rim; the sound hardly reaches what is behind it."""
    rng, (a, b) = canvas.rng, rim.semi_axes
    inside = canvas.ellipse(rim.center, (a, b), rim.angle)
    thick = float(rng.uniform(1.8, 3.2))
    inner = canvas.ellipse(rim.center, (a - thick, b - thick), rim.angle)
    level = float(10 ** rng.uniform(-1.3, -0.4))
    canvas.fill(inside, scatter=level * np.exp(0.4 * canvas.texture(8)), loss=0.03, echo=0)
    canvas.fill(np.clip(inside - inner, 0, 1), loss=float(rng.uniform(0.8, 3)), scatter=0.8)
    line = Ellipse(rim.center, (a - 0.55 * thick, b - 0.55 * thick), rim.angle).outline(160)
    strength = float(10 ** rng.uniform(0.6, 1.2)) * np.ones(len(line))
    t = np.linspace(0, 2 * np.pi, len(line), endpoint=False)
    for _ in range(int(rng.integers(0, 5))):
        away = np.abs((t - rng.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
        strength *= 1 - float(rng.uniform(0.3, 0.9)) * np.exp(-((away / rng.uniform(0.05, 0.4)) ** 2))
    canvas.interface(line, strength, thick, closed=True, specular=float(rng.uniform(1, 4)),
                     diffuse=float(10 ** rng.uniform(-1.7, -0.6)))  # fmt: skip
    if rng.random() < 0.4:
        turn = rng.uniform(0, np.pi)
        reach = 0.7 * min(a, b) * np.array([np.cos(turn), np.sin(turn)])
        midline = np.array(rim.center) + np.linspace(-1, 1, 6)[:, None] * reach
        canvas.interface(smooth_path(midline, 0.8, rng), float(rng.uniform(1, 4)), 1.0, diffuse=0.3)


def _symphysis(canvas: Canvas, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
    """An oval of fibrocartilage with a bright capsule, dimming what is behind it."""
    rng = canvas.rng
    axis = lower - upper
    half, angle = 0.5 * float(np.linalg.norm(axis)), float(np.rad2deg(np.arctan2(axis[1], axis[0])))
    across = half * float(rng.uniform(0.3, 0.5))
    outline = Ellipse((0.0, 0.0), (half, across), angle).outline(90) + 0.5 * (lower + upper)
    outline = wobbled(outline, 0.25, rng, waves=3)
    mask = canvas.polygon(outline)
    level = float(10 ** rng.uniform(-1.0, 0.35))
    loss = float(rng.uniform(0.1, 1.0))
    canvas.fill(mask, scatter=level * np.exp(0.25 * canvas.texture(5)), loss=loss, echo=0)
    strength = float(10 ** rng.uniform(0.2, 0.9)) * np.exp(
        0.5 * rng.standard_normal(len(outline)).cumsum() / 5
    )
    specular, diffuse = float(rng.uniform(0.8, 2.5)), float(rng.uniform(0.15, 0.5))
    width = float(rng.uniform(0.8, 2))
    canvas.interface(outline, strength, width, closed=True, specular=specular, diffuse=diffuse)
