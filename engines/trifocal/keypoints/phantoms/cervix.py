"""The uterine cervix of the FUGC task, seen by transvaginal ultrasound.

The points are the internal and the external os; the cervical canal runs between them (Coutinho et al. 2022).
When the internal os funnels, its point is where the closed part of the canal begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.canvas import Canvas, spline
from trifocal.keypoints.phantoms.scene import Probe, Scene
from trifocal.keypoints.phantoms.tissue import blob, fluid, heterogeneous, smooth_path

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class _Cervix:
    """The canal (N, 2) mm from the internal to the external os, and the unit vectors along and across it."""

    canal: NDArray[np.float64]
    along: NDArray[np.float64]
    across: NDArray[np.float64]
    length: float

    def at(self, part: float, sideways_mm: float) -> NDArray[np.float64]:
        """A point at a part of the canal's chord (0 internal, 1 external os), moved across it."""
        return np.asarray(self.canal[0] + part * self.length * self.along + sideways_mm * self.across, float)


def cervix_scene(rng: np.random.Generator) -> Scene:
    """A cervix, lying or slanting, the internal os to the left or to the right."""
    length = float(np.clip(rng.normal(33, 10), 9, 58))
    way = float(rng.choice([-1, 1], p=[0.25, 0.75]))  # the external os to the right in most pictures
    tilt = np.deg2rad(np.clip(rng.normal(5, 20), -40, 55))
    along = np.array([way * np.cos(tilt), -np.sin(tilt)])  # the outer end lies nearer to the probe
    across = np.array([-along[1], along[0]])
    across *= np.sign(across[1])  # away from the probe
    depth = float(rng.uniform(60, 90))
    middle = np.array([rng.normal(0, 5), rng.uniform(20, 34) + 0.12 * length])
    probe = Probe("endocavity", depth, float(rng.uniform(9, 14)), float(rng.uniform(52, 75)),
                  frequency_mhz=float(rng.uniform(4.5, 8)))  # fmt: skip
    bend = float(rng.normal(0, 0.07)) * length
    s = np.linspace(-1, 1, 40)
    canal = middle + s[:, None] * 0.5 * length * along + (bend * (1 - s**2))[:, None] * across
    cervix = _Cervix(canal, along, across, length)
    canvas = Canvas(probe, rng)
    heterogeneous(canvas, float(rng.uniform(0.25, 0.6)), 12)
    thick = float(rng.uniform(9, 15))
    _bladder(canvas, cervix, thick)
    _uterus(canvas, cervix)
    _walls(canvas, cervix, thick)
    low, high = canal.min(axis=0), canal.max(axis=0)
    spare = float(rng.uniform(8, 22))
    focus = (float(low[0] - spare), float(low[1] - spare), float(high[0] + spare), float(high[1] + spare))
    return canvas.scene(canal[[0, -1]], focus_mm=focus)


def _bladder(canvas: Canvas, cervix: _Cervix, thick: float) -> None:
    """More or less full, between the probe and the internal os; often empty."""
    rng = canvas.rng
    if rng.random() < 0.35:
        return
    place = cervix.at(float(rng.uniform(-0.25, 0.25)), -thick - float(rng.uniform(5, 10)))
    size = (float(rng.uniform(6, 20)), float(rng.uniform(2.5, 8)))
    angle = float(np.rad2deg(np.arctan2(cervix.along[1], cervix.along[0])))
    fluid(canvas, blob(place, size, angle + rng.normal(0, 15), 0.8, rng), float(rng.uniform(1, 3)))


def _uterus(canvas: Canvas, cervix: _Cervix) -> None:
    """What lies beyond the internal os: amniotic fluid, and the head or another presenting part."""
    rng = canvas.rng
    start = cervix.at(float(rng.uniform(-0.1, 0.0)), 0)
    radius = float(rng.uniform(28, 48))
    centre = start - cervix.along * radius * 0.95 + cervix.across * float(rng.uniform(0, 12))
    outline = blob(
        centre, (radius, radius * float(rng.uniform(0.7, 1))), float(rng.uniform(0, 180)), 1.0, rng
    )
    fluid(canvas, outline, float(rng.uniform(1, 3)))
    if rng.random() < 0.75:
        gap = float(rng.uniform(1, 14))
        skull = centre - cervix.along * gap + cervix.across * float(rng.uniform(0, 4))
        reach = radius * float(rng.uniform(0.85, 0.98))
        head = blob(skull, (reach, reach * 0.95), 0.0, 0.5, rng, 100)
        canvas.fill(canvas.polygon(head), scatter=0.25, loss=0.05, echo=0)
        canvas.fill(canvas.curve(head, 1.6, closed=True), loss=1.5)
        canvas.interface(head, float(rng.uniform(5, 12)), 1.6, closed=True, specular=2)


def _walls(canvas: Canvas, cervix: _Cervix, thick: float) -> None:
    """Both lips of the cervix, the darker glands around the canal, the canal, the funnel."""
    rng = canvas.rng
    lips = [cervix.at(u, v * thick) for u, v in (
        (-0.12, -0.75), (0.3, -1), (0.75, -1.05), (1.08, -0.7), (1.0, 0.0), (1.1, 0.75), (0.75, 1.1),
        (0.3, 1.05), (-0.12, 0.8))]  # fmt: skip
    outline = spline(np.array(lips), 90, closed=True)
    level = float(rng.uniform(0.4, 1.0))
    canvas.fill(
        canvas.polygon(outline, edge_mm=1.5),
        scatter=level * np.exp(0.25 * canvas.texture(5)),
        loss=0.02,
        echo=0,
    )
    canvas.interface(outline, float(rng.uniform(0.5, 2)), 0.7, closed=True)
    glands = np.concatenate([cervix.canal, cervix.canal[-1:] + 0.01])
    dark = canvas.curve(glands, float(rng.uniform(4, 9)), edge_mm=2.5)
    canvas.fill(dark, scatter=level * float(rng.uniform(0.3, 1.3)))
    canal = smooth_path(cervix.canal[::6], 0.25, rng, 40)
    canal[0], canal[-1] = cervix.canal[0], cervix.canal[-1]
    strength = float(10 ** rng.uniform(0.1, 0.6)) * np.exp(0.3 * rng.standard_normal(40))
    if rng.random() < 0.45:  # open: a dark line between two bright ones
        canvas.fill(canvas.curve(canal, float(rng.uniform(0.8, 2.5))), scatter=0.05)
    canvas.interface(canal, strength, float(rng.uniform(0.5, 1.1)), diffuse=0.5)
    if rng.random() < 0.4:
        _funnel(canvas, cervix)
    vagina = [cervix.at(1.0, 0), cervix.at(1.15, -0.3 * thick), np.array([cervix.canal[-1, 0] * 0.5, 3.0])]
    canvas.interface(smooth_path(vagina, 0.5, rng, 30), float(rng.uniform(0.8, 3)), 0.8, diffuse=0.4)


def _funnel(canvas: Canvas, cervix: _Cervix) -> None:
    """The open upper part of the canal: a V or U of fluid that ends at the internal os."""
    rng = canvas.rng
    depth, wide = float(rng.uniform(4, 16)), float(rng.uniform(2, 9))
    part = np.linspace(0, 1, 12)
    opening = wide * part ** float(rng.uniform(0.4, 1.4))
    middle = cervix.canal[0] - part[:, None] * depth * cervix.along
    sides = opening[:, None] * cervix.across
    outline = np.concatenate([middle + sides, (middle - sides)[::-1]])
    canvas.fill(canvas.polygon(outline), scatter=0.02, echo=0)
    for side in (sides, -sides):
        canvas.interface(middle + side, float(rng.uniform(0.5, 2)), 0.7)
