"""The fetal head of the HC task: transthalamic plane, from the first trimester to term.

Sizes and shapes follow the distribution in HC18 (van den Heuvel et al. 2018, doi
10.1371/journal.pone.0200412): circumference 44 to 350 mm, short over long axis 0.66 to 0.96. The ellipse is
the outer rim of the skull, as annotators trace it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.ellipse import Ellipse
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
    smooth_path,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# least and most circumference in mm, and how often
BANDS = (
    (44, 80, 0.15),
    (80, 120, 0.12),
    (120, 170, 0.2),
    (170, 200, 0.28),
    (200, 260, 0.1),
    (260, 350, 0.15),
)
EARLY_MM = 115.0  # below: the head lies free in fluid, beside the body


@dataclass(frozen=True)
class HeadFrame:
    """The outer rim of a head, and coordinates that go with it.

    Attributes:
        rim: mm.
        forward: 1 or -1: where along the long axis the forehead is.
    """

    rim: Ellipse
    forward: float

    def at(self, along: ArrayLike, across: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) mm of points given in semi-axes: along towards the forehead, across; the rim is at 1."""
        ends = self.rim.axis_ends()
        long, short = (ends[3] - ends[2]) / 2 * self.forward, (ends[1] - ends[0]) / 2
        u, v = np.broadcast_arrays(np.asarray(along, float), np.asarray(across, float))
        points: NDArray[np.float64] = np.array(self.rim.center) + u[..., None] * long + v[..., None] * short
        return points


def head_scene(rng: np.random.Generator) -> Scene:
    """A head in the uterus."""
    band = BANDS[int(rng.choice(len(BANDS), p=[b[2] for b in BANDS]))]
    circumference = float(rng.uniform(*band[:2]))
    early = circumference < EARLY_MM and rng.random() < 0.85
    ratio = float(np.clip(rng.normal(0.84 if early else 0.795, 0.045), 0.66, 0.97))
    long = circumference / Ellipse((0, 0), (1.0, ratio), 0).perimeter
    angle = float(rng.normal(0, 9) if rng.random() < (0.4 if early else 0.78) else rng.uniform(-90, 90)) % 180
    reach = float(np.hypot(long * np.sin(np.deg2rad(angle)), ratio * long * np.cos(np.deg2rad(angle))))
    endocavity = early and rng.random() < 0.2
    front = float(rng.uniform(8, 25) if endocavity else rng.uniform(14, 45) + (15 if early else 0))
    probe = _probe(front + 2 * reach, endocavity, rng)
    centre = (float(rng.normal(0, 0.12 * long + 2)), front + reach)
    head = HeadFrame(Ellipse(centre, (long, ratio * long), angle), float(rng.choice([-1, 1])))
    canvas = Canvas(probe, rng)
    _surroundings(canvas, head, front, early=early)
    _skull(canvas, head, early=early)
    (_early_brain if early else _brain)(canvas, head)
    half = np.array(
        [np.hypot(long * np.cos(np.deg2rad(angle)), ratio * long * np.sin(np.deg2rad(angle))), reach]
    )
    spare = float(rng.uniform(0.3, 1.2) if early else rng.uniform(0.12, 0.55)) * long
    low, high = np.array(centre) - half - spare * 0.6, np.array(centre) + half + spare * 0.6
    focus = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return canvas.scene(head.rim.axis_ends(), ellipse_mm=head.rim, focus_mm=focus)


def _probe(bottom_mm: float, endocavity: bool, rng: np.random.Generator) -> Probe:
    depth = bottom_mm + float(rng.uniform(8, 45))
    if endocavity:
        wide, frequency = float(rng.uniform(55, 75)), float(rng.uniform(5, 8))
        return Probe("endocavity", depth, float(rng.uniform(10, 14)), wide, frequency_mhz=frequency)
    frequency = float(np.clip(rng.normal(6.5 - 0.022 * bottom_mm, 1.0), 2.5, 8))
    return Probe(
        "convex", depth, float(rng.uniform(42, 65)), float(rng.uniform(28, 37)), frequency_mhz=frequency
    )


def _surroundings(canvas: Canvas, head: HeadFrame, front: float, *, early: bool) -> None:
    """Maternal tissue, placenta, fluid, body and limbs around where the head will be."""
    rng, (a, b) = canvas.rng, head.rim.semi_axes
    centre = np.array(head.rim.center)
    heterogeneous(canvas, float(rng.uniform(0.3, 0.8)))
    canvas.scatter *= np.float32(10 ** rng.uniform(-0.6, 0.05))
    abdominal_wall(canvas, front * float(rng.uniform(0.4, 0.8)))
    if rng.random() < (0.3 if early else 0.45):
        behind = rng.random() < 0.5
        at = centre[1] + b * 0.9 if behind else 0.45 * front
        placenta(canvas, float(at), float(rng.uniform(15, 35)), behind=behind)
    clutter(canvas, int(rng.integers(0, 7)))
    if early or rng.random() < 0.55:
        room = float(rng.uniform(1.3, 2.6) if early else rng.uniform(1.02, 1.5))
        shift = rng.normal(0, 0.35 * (room - 0.8), 2) * (a, b)
        tilt = head.rim.angle + float(rng.normal(0, 15))
        uneven = float(rng.uniform(0.05, 0.2)) * a
        sac = blob(centre + shift, (a * room * float(rng.uniform(1, 1.3)), b * room), tilt, uneven, rng)
        fluid(canvas, sac, float(rng.uniform(0.5, 3)))
    if early or rng.random() < 0.35:
        _body(canvas, head)
    for _ in range(int(rng.integers(0, 3))):
        turn = rng.uniform(0, 2 * np.pi)
        place = centre + np.array([np.cos(turn), np.sin(turn)]) * (a * float(rng.uniform(1.2, 1.6)))
        limb(canvas, place, float(rng.uniform(0.08, 0.16)) * a)


def _body(canvas: Canvas, head: HeadFrame) -> None:
    """Neck and trunk at the back of the head, with ribs or spine in the trunk."""
    rng, (a, b) = canvas.rng, head.rim.semi_axes
    side = float(rng.uniform(-0.8, 0.8))
    trunk = head.at([-1.75 - 0.3 * abs(side)], [side])[0]
    angle = head.rim.angle + float(rng.normal(0, 30))
    outline = blob(
        trunk, (a * float(rng.uniform(0.7, 1.0)), b * float(rng.uniform(0.6, 0.9))), angle, 0.04 * a, rng
    )
    level = float(rng.uniform(0.35, 0.9))
    canvas.fill(canvas.polygon(outline), scatter=level * np.exp(0.3 * canvas.texture(0.25 * a)), loss=0.0)
    canvas.interface(outline, float(rng.uniform(1.5, 5)), 0.8, closed=True)
    neck = np.stack([head.at([-0.8], [side * 0.5])[0], trunk])
    canvas.fill(canvas.curve(neck, [0.9 * b, 1.1 * b]), scatter=level, loss=0.0, echo=0)
    start = trunk + rng.normal(0, 0.2 * a, 2)
    for i in range(int(rng.integers(2, 7))):
        spot = start + np.array([0.16 * a * i, 0.04 * a * i])
        canvas.fill(canvas.ellipse(spot, (0.05 * a, 0.04 * a)), echo=float(rng.uniform(3, 8)), loss=1.0)


def _skull(canvas: Canvas, head: HeadFrame, *, early: bool) -> None:
    """Bone between the outer rim and its thickness: reflecting, absorbing, with gaps at the sutures."""
    rng, rim = canvas.rng, head.rim
    long, short = rim.semi_axes
    thick = (0.5 if early else 0.9) + 0.012 * long + float(rng.uniform(0, 0.7))
    line = wobbled(rim.outline(140), 0.009 * long, rng, first=3, waves=6)
    inner = Ellipse(rim.center, (long - thick, short - thick), rim.angle)
    bone = canvas.polygon(line)
    within = canvas.ellipse(inner.center, inner.semi_axes, inner.angle)
    loss = float(rng.uniform(0.2, 0.8) if early else rng.uniform(0.5, 2.2))
    canvas.fill(bone, scatter=float(rng.uniform(0.05, 0.2)), loss=0.0, echo=0)
    canvas.fill(np.clip(bone - within, 0, 1), loss=loss, scatter=float(rng.uniform(0.05, 0.6)))
    middle = np.array(rim.center) + (line - rim.center) * (1 - 0.55 * thick / short)
    t = np.linspace(0, 2 * np.pi, len(middle), endpoint=False)
    strength = np.full(len(middle), float(10 ** rng.uniform(0.55, 1.15)))
    for _ in range(int(rng.integers(0, 6))):  # sutures, and parts that the beam misses
        away = np.abs((t - rng.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
        strength *= 1 - float(rng.uniform(0.4, 0.95)) * np.exp(-((away / rng.uniform(0.04, 0.35)) ** 2))
    specular, diffuse = float(rng.uniform(1.5, 5.0)), float(10 ** rng.uniform(-2.0, -0.8))
    uneven = 1 + 0.25 * np.sin(t * float(rng.integers(1, 4)) + float(rng.uniform(0, 6)))
    canvas.interface(middle, strength, thick * uneven, closed=True, specular=specular, diffuse=diffuse)
    if rng.random() < 0.3:  # scalp
        scalp = np.array(rim.center) + (line - rim.center) * (1 + float(rng.uniform(2, 4)) / short)
        canvas.interface(scalp, float(rng.uniform(0.5, 1.5)), 0.6, closed=True, specular=3)


def _brain(canvas: Canvas, head: HeadFrame) -> None:
    """Second and third trimester: midline, cavum, thalami, ventricle with choroid plexus, sulci."""
    rng, (a, b) = canvas.rng, head.rim.semi_axes
    inside = canvas.ellipse(head.rim.center, (0.93 * a, 0.93 * b), head.rim.angle, edge_mm=1.5)
    level = float(10 ** rng.uniform(-1.6, -0.65))
    folds = 0.5 * canvas.texture(0.16 * a, 1.5) + float(rng.uniform(0.1, 0.6)) * canvas.texture(0.05 * a, 2)
    canvas.fill(inside, scatter=level * np.exp(folds))
    drift, gain = float(rng.normal(0, 0.05)), float(10 ** rng.uniform(-0.8, 0.05))
    canvas.fill(canvas.polygon(_oval(head, -0.1, drift + 0.23, 0.3, 0.2)), scatter=0.6 * level)
    canvas.fill(canvas.polygon(_oval(head, -0.1, drift - 0.23, 0.3, 0.2)), scatter=0.6 * level)
    if rng.random() < 0.75:
        _ventricle(canvas, head, level, float(rng.choice([-1, 1])))
    for start, stop in ((-0.85, -0.3), (-0.15, 0.25), (0.55, 0.88)):  # falx, third ventricle, falx
        if rng.random() < 0.85:
            line = smooth_path(head.at(np.linspace(start, stop, 5), drift), 0.015 * b, rng)
            strength = (
                gain * float(rng.uniform(1, 4)) * np.exp(0.5 * rng.standard_normal(len(line)).cumsum() / 3)
            )
            canvas.interface(line, strength, float(rng.uniform(0.4, 0.9)), diffuse=0.3)
    if rng.random() < 0.6:
        cavum = canvas.polygon(_oval(head, 0.4, drift, 0.12, 0.07))
        canvas.fill(cavum, scatter=0.02)
        for side in (-1, 1):
            wall = head.at(np.linspace(0.3, 0.5, 5), drift + side * 0.075)
            canvas.interface(wall, gain * float(rng.uniform(1, 4)), 0.7, diffuse=0.3)
    for _ in range(int(rng.integers(0, int(8 + a / 4)))):
        _sulcus(canvas, head, gain)


def _oval(
    head: HeadFrame, along: float, across: float, half_long: float, half_short: float
) -> NDArray[np.float64]:
    """(40, 2) an ellipse given in semi-axes of the head."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return head.at(along + half_long * np.cos(t), across + half_short * np.sin(t))


def _ventricle(canvas: Canvas, head: HeadFrame, level: float, side: float) -> None:
    """A lateral ventricle towards the back, with the bright choroid plexus in it."""
    rng = canvas.rng
    along, across = float(rng.uniform(-0.55, -0.35)), side * float(rng.uniform(0.35, 0.5))
    canvas.fill(canvas.polygon(_oval(head, along, across, 0.26, 0.13)), scatter=0.1 * level)
    choroid = _oval(head, along + 0.06, across, float(rng.uniform(0.1, 0.2)), float(rng.uniform(0.06, 0.11)))
    choroid = wobbled(choroid, 0.015 * head.rim.semi_axes[0], rng)
    canvas.fill(canvas.polygon(choroid), scatter=level * float(rng.uniform(2.5, 6)))
    wall = head.at(np.linspace(along - 0.25, along + 0.25, 8), across + side * 0.13)
    canvas.interface(wall, float(rng.uniform(0.5, 2.5)), 0.7, diffuse=0.3)


def _sulcus(canvas: Canvas, head: HeadFrame, gain: float) -> None:
    """A short curved echo somewhere between midline and skull."""
    rng = canvas.rng
    t, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.05, 0.7))
    across = radius * np.sin(t) + np.linspace(0, float(rng.normal(0, 0.06)), 8)
    across += float(rng.normal(0, 0.04)) * np.sin(np.linspace(0, np.pi, 8))
    line = head.at(radius * np.cos(t) + np.linspace(0, float(rng.uniform(0.04, 0.3)), 8), across)
    canvas.interface(
        line, gain * float(10 ** rng.uniform(-0.5, 0.4)), float(rng.uniform(0.3, 0.9)), diffuse=0.3
    )


def _early_brain(canvas: Canvas, head: HeadFrame) -> None:
    """First trimester: a fluid-filled head, its halves mostly choroid plexus, a thin falx."""
    rng, (a, b) = canvas.rng, head.rim.semi_axes
    inside = canvas.ellipse(head.rim.center, (0.95 * a, 0.95 * b), head.rim.angle, edge_mm=0.8)
    level = float(10 ** rng.uniform(-0.6, 0.1))
    canvas.fill(inside, scatter=level * float(rng.uniform(0.05, 0.5)))
    for side in (-1, 1):
        shape = _oval(head, float(rng.uniform(-0.3, 0.1)), side * float(rng.uniform(0.38, 0.5)),
                      float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.18, 0.36)))  # fmt: skip
        choroid = canvas.polygon(wobbled(shape, 0.05 * a, rng))
        canvas.fill(choroid, scatter=level * np.exp(0.35 * canvas.texture(0.2 * a)))
    core = canvas.polygon(wobbled(_oval(head, float(rng.uniform(-0.4, 0.2)), 0.0, 0.3, 0.25), 0.05 * a, rng))
    canvas.fill(core, scatter=level * float(rng.uniform(0.6, 1.2)))
    falx = smooth_path(head.at(np.linspace(-0.8, 0.85, 6), float(rng.normal(0, 0.04))), 0.02 * b, rng)
    canvas.interface(falx, float(rng.uniform(0.5, 3)), 0.7, diffuse=0.3)
    for _ in range(int(rng.integers(0, 4))):
        hole = _oval(head, *rng.uniform(-0.6, 0.6, 2), *rng.uniform(0.06, 0.16, 2))
        canvas.fill(canvas.polygon(hole), scatter=0.03)
