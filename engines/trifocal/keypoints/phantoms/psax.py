"""Anatomy of the parasternal short axis at the great vessels: the aortic valve and what winds around it.

Heart's frame: the middle of the aortic valve at (0, 0), the chest above; the right ventricle's outflow tract
comes from the lower left, passes in front of the aorta and goes on to the right as the pulmonary artery,
which divides. Landmarks (Lang et al. 2015; Rudski et al. 2010, doi 10.1016/j.echo.2010.05.010):

- RVOT: from the front wall of the aorta to the free wall, in front of the aortic valve (proximal diameter).
- PA: across the main pulmonary artery, half way between its valve and its division, inner edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.outline import beside, curve, ring, tube
from trifocal.keypoints.phantoms.section import (
    BLOOD,
    FAT,
    MYOCARDIUM,
    WALL,
    Body,
    Section,
    Surface,
    Tissue,
    aortic_opening,
    contraction,
    leaflet,
    mitral_opening,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AORTIC_WALL_MM = 1.6


@dataclass(frozen=True)
class GreatVessels:
    """Sizes in mm, angles in degrees from the right, counter-clockwise on the screen.

    Attributes:
        aorta: Inner diameter of the aortic root.
        rvot: Diameter of the outflow tract in front of it, at end-diastole.
        inflow: Width of the right ventricle at the tricuspid valve.
        valve: Width at the pulmonary valve.
        pa: Diameter of the main pulmonary artery.
        pa_length: Valve to division.
        branches: Diameters of the right and the left pulmonary artery.
        la: Depth and width of the left atrium.
        ra: Depth and width of the right one.
        free_wall: Thickness of the right ventricle's.
        measured_at: Angle at which the RVOT is measured.
        valve_at: Angle of the pulmonary valve.
        heading: Change of direction of the pulmonary artery after its valve.
        shape: (8,) numbers of standard deviation 1 that make every outline its own.
        shortening: Share of its diameter that the outflow tract loses in systole.
        opening: Share to which the aortic valve opens.
    """

    aorta: float
    rvot: float
    inflow: float
    valve: float
    pa: float
    pa_length: float
    branches: tuple[float, float]
    la: tuple[float, float]
    ra: tuple[float, float]
    free_wall: float
    measured_at: float
    valve_at: float
    heading: float
    shape: tuple[float, ...]
    shortening: float
    opening: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> GreatVessels:
        """Grown-ups and children, healthy and ill."""
        body = Body(rng)
        size = body.size

        pa = size(21, 0.12, 1.6)
        return cls(
            aorta=size(29, 0.09, 1.3),
            rvot=size(26.5, 0.13, 1.35),
            inflow=size(34, 0.1, 1.25),
            valve=0.5 * (pa + size(21, 0.08)),
            pa=pa,
            pa_length=size(38, 0.12),
            branches=(pa * rng.uniform(0.55, 0.72), pa * rng.uniform(0.5, 0.7)),
            la=(size(33, 0.12, 1.5), size(52, 0.1, 1.2)),
            ra=(size(38, 0.12, 1.4), size(36, 0.12, 1.4)),
            free_wall=size(4.2, 0.15, 1.7),
            measured_at=float(rng.normal(95, 8)),
            valve_at=float(rng.normal(36, 6)),
            heading=float(rng.normal(-4, 7)),
            shape=body.shape(),
            shortening=float(rng.uniform(0.05, 0.25)),
            opening=float(rng.uniform(0.35, 0.6) if rng.random() < 0.12 else rng.uniform(0.75, 0.95)),
        )

    def section(self, phase: float) -> Section:
        """The vessels at a phase of the beat; see `Section`."""
        return _Drawing(self, phase).section()


class _Drawing:
    """The outlines of one phase."""

    def __init__(self, heart: GreatVessels, phase: float) -> None:
        self.heart = heart
        self.aortic_open, self.tricuspid_open = aortic_opening(phase), mitral_opening(phase)
        c = contraction(phase)
        self.narrow, self.full = 1 - heart.shortening * c, 0.88 + 0.12 * c
        z = heart.shape
        waves = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        radius = (
            heart.aorta / 2 * (1 + 0.02 * z[0] * np.cos(2 * waves + z[1]) + 0.025 * np.cos(3 * waves + 1.6))
        )
        self.aorta = radius[:, None] * _way(np.rad2deg(waves))
        self._outflow()
        self._pulmonary_artery()
        self._atria()

    def section(self) -> Section:
        """All of it."""
        blood = {"RVOT": self.rv, "PA": self.pa, "aorta": self.aorta, "LA": self.la, "RA": self.ra}
        low = self.la[np.argmax(self.la[:, 1])]
        context = np.array([0.6 * self.outer[5], 0.9 * low])
        return Section(self._tissues(blood), self._surfaces(), self._points(), blood, 0.5, context)

    def _outflow(self) -> None:
        """Inner (aorta's) and outer (free wall's) side, from the tricuspid valve to the pulmonary one."""
        h, z = self.heart, self.heart.shape
        angle = np.linspace(208, h.valve_at, 80)
        rvot = h.rvot * self.narrow
        stations = [h.valve_at, 65, h.measured_at, 150, 208]
        widths = [h.valve, 0.5 * (h.valve + rvot), rvot, 0.5 * (rvot + h.inflow), h.inflow]
        width = np.interp(angle, stations, widths)
        kernel = np.hanning(17) / np.hanning(17).sum()
        width = np.convolve(np.pad(width, 8, mode="edge"), kernel, mode="valid")
        inner = h.aorta / 2 + AORTIC_WALL_MM + 1.0
        out = inner + width + (1.5 + 0.8 * z[2]) * np.sin(np.deg2rad(angle * 2))
        out += 1.2 * z[3] * np.sin(np.deg2rad(3.5 * angle) + z[6])
        out += rvot - np.interp(h.measured_at, angle[::-1], (out - inner)[::-1])
        self.inner = inner * _way(angle)
        self.outer = out[:, None] * _way(angle)
        self.rv = np.concatenate([self.inner, self.outer[::-1]])

    def _pulmonary_artery(self) -> None:
        """Main trunk from the valve to the division, and the two branches."""
        h, z = self.heart, self.heart.shape
        start = (self.inner[-1] + self.outer[-1]) / 2
        turn = h.valve_at - 90 + h.heading
        ahead = _way(turn)
        middle = start + 0.5 * h.pa_length * ahead
        end = middle + 0.5 * h.pa_length * _way(turn - 8 - 4 * z[4])
        trunk = curve(np.array([start, middle, end]), 40)
        wide = np.interp(np.linspace(0, 1, 40), [0, 0.25, 0.5, 1], [h.valve, h.pa, h.pa, h.pa])
        self.trunk, self.trunk_width = trunk, wide
        self.pa = tube(trunk, wide)
        right = end + 0.5 * h.branches[0] * _way(turn - 90)
        self.right = curve(np.array([
            end - 0.25 * h.pa * ahead, right, right + 16 * _way(turn - 108), right + 36 * _way(turn - 104)
        ]), 30)  # fmt: skip
        self.left = curve(np.array([
            end - 0.35 * h.pa * ahead, end + 9 * _way(turn + 12), end + 30 * _way(turn + 22)
        ]), 30)  # fmt: skip

    def _atria(self) -> None:
        """The left one under the aorta, the right one to its left under the tricuspid valve."""
        h, z = self.heart, self.heart.shape
        top, (deep, wide), f = h.aorta / 2 + AORTIC_WALL_MM, h.la, self.full
        self.la = ring(np.array([
            top * 1.02 * _way(238), top * 1.03 * _way(270), top * 1.04 * _way(304),
            [0.46 * wide, top + 0.12 * deep * f],
            [0.52 * wide * f, top + 0.5 * deep * f], [0.36 * wide, top + 0.9 * deep * f],
            [0.02 * wide + z[5], top + deep * f], [-0.32 * wide, top + 0.86 * deep * f],
            [-0.43 * wide, top + 0.45 * deep * f],
        ]))  # fmt: skip
        deep, wide = h.ra
        a, b = self.inner[0], self.outer[0]
        near = self.la[np.argmin(self.la[:, 0])]
        self.ra = ring(np.array([
            a + [0.0, 0.6], 0.5 * (a + b) + [0.0, 0.5], b + [0.0, 1.0],
            [b[0] - 0.08 * wide, b[1] + 0.4 * deep * f], [0.7 * b[0] + 0.3 * near[0], b[1] + 0.85 * deep * f],
            [0.25 * b[0] + 0.75 * near[0] - 4, b[1] + deep * f + z[6]], [near[0] - 4, near[1] + 0.5 * deep],
            [near[0] - 3.5, near[1] + 2.0],
            [0.5 * (near[0] + a[0]) - 3.0, 0.5 * (near[1] + a[1])],
        ]))  # fmt: skip

    def _points(self) -> Floats:
        """(4, 2) in the order of the task."""
        h = self.heart
        angle = np.linspace(208, h.valve_at, 80)[::-1]
        way = _way(h.measured_at)
        inner = float(np.interp(h.measured_at, angle, np.linalg.norm(self.inner, axis=1)[::-1]))
        outer = float(np.interp(h.measured_at, angle, np.linalg.norm(self.outer, axis=1)[::-1]))
        half = self.trunk_width[20] / 2
        sides = [beside(self.trunk, s * half)[20] for s in (-1.0, 1.0)]
        return np.array([outer * way, inner * way, *sides])

    def _tissues(self, blood: dict[str, Floats]) -> tuple[Tissue, ...]:
        h = self.heart
        free = np.concatenate([self.outer, beside(self.outer, -h.free_wall)[::-1]])
        branches = [tube(self.right, h.branches[0]), tube(self.left, h.branches[1])]
        walls = [tube(self.trunk, self.trunk_width + 4), tube(self.right, h.branches[0] + 3.5)]
        walls.append(tube(self.left, h.branches[1] + 3.5))
        septum = np.array([0.98 * self.inner[0], self.la[-4], self.la[0], 0.9 * self.aorta[44]])
        cuff = (h.aorta / 2 + AORTIC_WALL_MM + 1) * _way(np.linspace(0, 360, 60, endpoint=False))
        order = ("RA", "LA", "RVOT", "PA")
        return (
            Tissue(free, MYOCARDIUM),
            *(Tissue(wall, WALL) for wall in walls),
            Tissue(septum, FAT),
            *(Tissue(blood[name], BLOOD) for name in order),
            *(Tissue(branch, BLOOD) for branch in branches),
            Tissue(cuff, WALL),
            Tissue(self.aorta, BLOOD),
        )

    def _surfaces(self) -> tuple[Surface, ...]:
        h = self.heart
        closed = np.concatenate([self.aorta, self.aorta[:1]])
        sides = [beside(self.trunk, s * self.trunk_width / 2)[3:36] for s in (-1.0, 1.0)]
        near = int(np.argmin(self.la[:, 0]))
        between = np.array([0.5 * (self.la[-3] + self.inner[0]), 0.5 * (self.la[near] + self.ra[-30])])
        return (
            Surface(closed, 2.0, 1.5, 1.5, 0.22),
            Surface(self.outer, 1.2, 1.0),
            Surface(beside(self.outer, -h.free_wall), 2.2, 1.4, 2.0),
            *(Surface(side, 2.0, 1.3) for side in sides),
            Surface(self.la[30:130], 2.0, 1.4),
            Surface(self.ra[40:110], 1.8, 1.4),
            Surface(
                curve(np.array([between[0], between[0] * 0.5 + between[1] * 0.5, between[1]]), 12), 1.8, 2.0
            ),
            *self._aortic_cusps(),
            *self._leaflets(self.inner[0], self.outer[0], self.tricuspid_open, 0.6),
            *self._leaflets(self.inner[-1], self.outer[-1], self.aortic_open, 0.45),
        )

    def _aortic_cusps(self) -> tuple[Surface, ...]:
        """Three lines that meet in the middle when closed, a rounded triangle when open."""
        h = self.heart
        radius, wide = h.aorta / 2, h.opening * self.aortic_open
        ends = 90 + 8 * h.shape[7] + np.array([-60.0, 60.0, 180.0])
        if wide < 0.15:
            return tuple(
                Surface(leaflet([0.0, 0.0], 0.96 * radius * _way(e), 0.04), 2.2, 1.2, 1.0, 0.6) for e in ends
            )
        corners = [0.96 * radius * _way(e) for e in ends]
        out = []
        for a, b, e in zip(corners, corners[1:] + corners[:1], ends, strict=True):
            middle = radius * (0.15 + 0.62 * wide) * _way(e + 60)
            out.append(Surface(curve(np.array([a, middle, b]), 16), 1.7, 1.1, 1.0, 0.5))
        return tuple(out)

    def _leaflets(self, a: Floats, b: Floats, share: float, size: float) -> tuple[Surface, ...]:
        """Two leaflets between two hinges; they swing with the blood, clockwise around the aorta."""
        span = b - a
        ahead = np.array([-span[1], span[0]])
        meet = 0.5 * (a + b) + 0.06 * ahead
        tips = (a + 0.1 * span + size * ahead, b - 0.1 * span + size * ahead)
        return tuple(
            Surface(leaflet(hinge, meet + share * (tip - meet), bow), 1.9, 1.1, 1.0, 0.5)
            for hinge, tip, bow in ((a, tips[0], 0.1), (b, tips[1], -0.1))
        )


def _way(degrees: float | Floats) -> Floats:
    """Unit vectors (..., 2) at angles from the right, counter-clockwise on the screen (y down)."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
