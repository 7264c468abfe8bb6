"""Anatomy of the parasternal long-axis view: both ventricles, the aortic root, the left atrium.

Heart's frame: the middle of the aortic annulus at (0, 0); the apex to the left, the aorta to the right, the
chest above. Landmarks, each pair as the chamber quantification guideline has it (Lang et al. 2015):

- LV, IVS, LVPW: on one line across the long axis of the left ventricle at the tips of the mitral leaflets:
  cavity between septum and posterior wall; septum; posterior wall without the pericardium. RV: the right
  ventricle's cavity on the same line.
- Aortic annulus: between the hinges of the cusps, inner edges. LVOT: across the outflow tract, 3 to 9 mm
  below it, septum to anterior mitral leaflet. Aortic valve opening: between the tips of the cusps.
- STJ (sinotubular junction) and ascending aorta (8 to 14 mm above it): across the aorta, leading edge to
  leading edge: outer side of the anterior wall, inner side of the posterior one.
- LA: across the aortic root at the sinuses, from the posterior aortic wall's leading edge to the back wall.
- RVOT: from the junction of septum and aorta to the free wall in front of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantom_outline import beside, crossings, curve, ring
from trifocal.keypoints.phantom_section import (
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

ROOT_WALL_MM = 2.4


@dataclass(frozen=True)
class LongAxis:
    """Sizes in mm (ventricles at end-diastole, atrium at end-systole), angles in degrees.

    Attributes:
        lv: Diameter of the left ventricle.
        ivs: Thickness of the septum.
        pw: Thickness of the posterior wall.
        rv: Depth of the right ventricle on the line of the left one's diameter.
        rvot: Depth of its outflow tract at the aortic annulus.
        free_wall: Thickness of the right ventricle's.
        annulus: Diameter of the aortic annulus.
        root: Diameters of outflow tract, sinuses, sinotubular junction and ascending aorta.
        sinus_height: Annulus to sinotubular junction.
        levels: Outflow tract below the annulus; ascending aorta above the junction.
        la: Of the left atrium, across the root.
        mitral: Diameter of the mitral annulus.
        leaflets: Lengths of the anterior and the posterior mitral leaflet.
        tip_gap: From the tip of the closed leaflets to the line of the left ventricle's diameter.
        root_angle: Of the aorta against the frame, negative upwards on the right.
        axis_angle: Of the left ventricle against the frame, positive with the apex lower.
        shortening: Share of its diameter that the left ventricle loses in systole.
        valve: Share of the annulus that the open cusps clear.
        bulge: Of the basal septum into the right ventricle.
        shape: (8,) numbers of standard deviation 1 that make every outline its own.
        aorta: Diameter of the descending aorta behind the heart.
        effusion: Of fluid behind the posterior wall; 0 for none.
    """

    lv: float
    ivs: float
    pw: float
    rv: float
    rvot: float
    free_wall: float
    annulus: float
    root: tuple[float, float, float, float]
    sinus_height: float
    levels: tuple[float, float]
    la: float
    mitral: float
    leaflets: tuple[float, float]
    tip_gap: float
    root_angle: float
    axis_angle: float
    shortening: float
    valve: float
    bulge: float
    shape: tuple[float, ...]
    aorta: float
    effusion: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> LongAxis:
        """Grown-ups and children, healthy and ill."""
        body = Body(rng)
        size = body.size

        annulus = size(23, 0.08)

        def part(mean: float, spread: float, ill: float = 1.0) -> float:
            much = rng.uniform(1.0, ill) if rng.random() < 0.2 else 1.0
            return float(annulus * much * mean * np.exp(np.clip(rng.normal(0, spread), -0.15, 0.15)))

        stj = part(1.16, 0.06, 1.3)
        return cls(
            lv=size(47, 0.09, 1.35),
            ivs=size(9, 0.14, 1.9),
            pw=size(8.8, 0.13, 1.6),
            rv=size(20, 0.18, 1.6),
            rvot=size(26, 0.13, 1.35),
            free_wall=size(4, 0.15, 1.6),
            annulus=annulus,
            root=(part(0.97, 0.04), max(part(1.38, 0.07, 1.3), 1.1 * stj), stj, stj * rng.uniform(0.95, 1.2)),
            sinus_height=size(20, 0.1),
            levels=(float(rng.uniform(3, 9)), float(rng.uniform(8, 14))),
            la=size(34, 0.12, 1.55, 0.3),
            mitral=size(30, 0.08, 1.2),
            leaflets=(size(24, 0.08), size(13, 0.1)),
            tip_gap=float(rng.uniform(-1, 5)),
            root_angle=float(rng.normal(-10, 7)),
            axis_angle=float(rng.normal(6, 7)),
            shortening=float(rng.uniform(0.08, 0.2) if rng.random() < 0.25 else rng.uniform(0.26, 0.42)),
            valve=float(rng.uniform(0.3, 0.6) if rng.random() < 0.12 else rng.uniform(0.7, 0.9)),
            bulge=float(rng.normal(2.5, 2.0)),
            shape=body.shape(),
            aorta=size(23, 0.1),
            effusion=float(rng.uniform(3, 12)) if rng.random() < 0.08 else 0.0,
        )

    def section(self, phase: float) -> Section:
        """The heart at a phase of its beat; see `Section`."""
        return _Drawing(self, phase).section()


class _Drawing:
    """The outlines of one phase."""

    def __init__(self, heart: LongAxis, phase: float) -> None:
        self.heart = h = heart
        c = contraction(phase)
        self.mitral_open, self.aortic_open = mitral_opening(phase), aortic_opening(phase)
        self.lv, self.thicker = h.lv * (1 - h.shortening * c), 1 + 1.2 * h.shortening * c
        self.lost = h.lv - self.lv
        self.rv_share, self.la_size = 1 - 0.6 * h.shortening * c, h.la * (0.87 + 0.13 * c)
        root, axis = np.deg2rad(h.root_angle), np.deg2rad(h.axis_angle)
        self.up, self.down = _frame(np.cos(root), np.sin(root))  # along the aorta; towards the back
        self.left, self.back = np.array([-np.cos(axis), np.sin(axis)]), np.array([np.sin(axis), np.cos(axis)])
        self.curtain = h.annulus / 2 * self.down + 5 * self.left
        aside = 0.3 * h.mitral * (1 + 0.15 * h.shape[0]) + 0.1 * self.lost
        deep = 0.93 * (0.55 * self.lv + 0.45 * h.lv) + 0.2 * self.lost
        self.hinge = -h.annulus / 2 * self.down + (5 + aside) * self.left + (deep - h.bulge) * self.back
        self._septum()
        self._posterior_wall()
        self._aorta()
        self._atrium()

    def section(self) -> Section:
        """All of it."""
        lv = np.concatenate([self.endocardium, self.posterior[1:]])
        rv = np.concatenate([self.front, self.rv_wall[::-1]])
        root = np.concatenate([self.anterior, self.dorsal[::-1]])
        blood = {"LV": lv, "RV": rv, "aorta": root, "LA": self.la}
        return Section(self._tissues(blood), self._surfaces(), self._points(rv), blood, 0.45)

    def _root_at(self, height: float, width: float) -> tuple[Floats, Floats]:
        """Anterior and posterior point of the root's inside at a height above the annulus."""
        return height * self.up - width / 2 * self.down, height * self.up + width / 2 * self.down

    def _septum(self) -> None:
        """The septum's left side (annulus to apex) and right side, which goes on in front of the aorta."""
        h = self.heart
        top = self._root_at(0, h.annulus)[0]
        outflow = self._root_at(-h.levels[0], h.root[0])[0]
        reach = 5 + 0.95 * h.leaflets[0] + h.tip_gap
        sink = 0.3 * self.lost
        at_line = top + reach * self.left + (sink - h.bulge) * self.back
        beyond = at_line + 24 * self.left + (0.06 * self.lv + h.shape[1]) * self.back
        apex = at_line + 52 * self.left + (0.5 * self.lv) * self.back
        self.apex = apex
        near = 0.55 * outflow + 0.45 * at_line - (0.25 * h.bulge) * self.back
        end = beyond + 22 * self.left + 0.24 * self.lv * self.back
        self.endocardium = curve(np.array([top, outflow, near, at_line, beyond, end, apex]), 80)
        self.at_line = _nearest(self.endocardium, at_line)

    def _posterior_wall(self) -> None:
        """From the apex to the mitral hinge: inside, outside."""
        h = self.heart
        low = self.endocardium[self.at_line] + self.lv * self.back
        far = low + 24 * self.left - (0.07 * self.lv + h.shape[2]) * self.back
        bend = 0.5 * (low + self.hinge) + (1.0 + 0.5 * h.shape[3]) * self.back
        turn = far + 20 * self.left - 0.22 * self.lv * self.back
        self.posterior = curve(np.array([self.apex, turn, far, low, bend, self.hinge]), 70)
        ramp = np.interp(np.linspace(0, 1, 70), [0, 0.3, 0.85, 1], [0.7, 1, 1, 0.55])
        self.epicardium = beside(self.posterior, h.pw * self.thicker * ramp)

    def _aorta(self) -> None:
        """The root's inner walls, what lies in front of them, and the right ventricle's free wall."""
        h = self.heart
        _, sinus, stj, tube = h.root
        high = h.sinus_height + h.levels[1]
        heights = (0.0, 0.22 * h.sinus_height, 0.5 * h.sinus_height, h.sinus_height, high, high + 22)
        widths = (h.annulus, 0.5 * (h.annulus + sinus), sinus, stj, tube, tube * 1.03)
        sides = [self._root_at(a, w) for a, w in zip(heights, widths, strict=True)]
        self.anterior = curve(np.array([s[0] for s in sides]), 60)
        self.dorsal = curve(np.array([s[1] for s in sides]), 60)
        # Septum and anterior wall of the aorta are one surface on the right ventricle's side.
        inner = np.concatenate([self.endocardium[:7:-1], self.anterior[5:58]])
        split = len(self.endocardium) - 8
        thick = np.interp(
            np.arange(len(inner)), [0, 12, split - 12, split + 6, len(inner)],
            [0.8 * h.ivs, h.ivs, h.ivs, ROOT_WALL_MM, ROOT_WALL_MM],
        )  # fmt: skip
        thick[:split] *= np.interp(np.arange(split), [0, split - 12, split], [self.thicker, self.thicker, 1])
        smooth = curve(beside(inner, -thick)[::6], 90)
        self.inner_line, self.front = inner, smooth
        joint = int(np.argmin(np.linalg.norm(smooth - (self.anterior[2] - ROOT_WALL_MM * self.down), axis=1)))
        line = self.endocardium[self.at_line] - h.ivs * self.thicker * self.back
        at_line = int(np.argmin(np.linalg.norm(smooth - line, axis=1)))
        self.joint = joint
        depth = np.interp(
            np.arange(90), [0, 0.35 * at_line, at_line, joint, 90],
            [0.15 * h.rv, 0.65 * h.rv, h.rv * self.rv_share, h.rvot * self.rv_share, 0.4 * h.rvot],
        )  # fmt: skip
        self.rv_wall = curve(beside(smooth, -depth)[::15], 60)

    def _atrium(self) -> None:
        """Behind the root, from the mitral annulus to the right."""
        h, z = self.heart, self.heart.shape
        wall, deep, high = ROOT_WALL_MM, self.la_size, h.sinus_height
        root = h.root[1] / 2 + wall

        def at(height: float, depth: float) -> Floats:
            return height * self.up + depth * self.down

        knots = np.array([
            self.curtain + 1.5 * self.back, at(0.1 * high, h.annulus / 2 + wall + 1), at(0.5 * high, root),
            at(1.15 * high, h.root[2] / 2 + wall + 1 + 0.04 * deep), at(1.75 * high, root + 0.22 * deep),
            at(1.95 * high + z[4], root + 0.55 * deep), at(1.55 * high, root + 0.9 * deep),
            at(0.75 * high, root + (0.99 + 0.01 * z[5]) * deep), at(0.0, root + 0.96 * deep),
            0.35 * at(-0.35 * high, root + 0.75 * deep) + 0.65 * (self.hinge + [4, 4]),
            self.hinge + [1.0, 0.0],
        ])  # fmt: skip
        self.la = ring(knots)

    def _points(self, rv: Floats) -> Floats:
        """(22, 2) in the order of the task."""
        h, back = self.heart, self.back
        septum = self.endocardium[self.at_line]
        lv = np.concatenate([self.endocardium, self.posterior[1:]])
        low = crossings(lv, septum + 0.5 * self.lv * back, back)[1]
        ivs = _first(self.front, septum, -back)
        rv_top = _first(self.rv_wall, ivs, -back)
        pw = _first(self.epicardium, low, back)
        stj = self._root_at(h.sinus_height, h.root[2])
        tube = self._root_at(h.sinus_height + h.levels[1], h.root[3])
        outer = -ROOT_WALL_MM * self.down
        outflow = self._root_at(-h.levels[0], h.root[0])
        sinus = 0.5 * h.sinus_height * self.up
        la_top = sinus + h.root[1] / 2 * self.down
        la_low = crossings(self.la, la_top + (ROOT_WALL_MM + 4) * self.down, self.down)[1]
        way = self.front[self.joint + 1] - self.front[self.joint - 1]
        rvot = _first(self.rv_wall, self.front[self.joint], np.array([way[1], -way[0]]))
        return np.array([
            septum, low, rv_top, ivs, ivs, septum, low, pw, *self._root_at(0, h.annulus),
            stj[0] + outer, stj[1], tube[0] + outer, tube[1], *self._cusp_tips(), *outflow, la_top, la_low,
            self.front[self.joint], rvot,
        ])  # fmt: skip

    def _cusp_tips(self) -> tuple[Floats, Floats]:
        h = self.heart
        gap = h.annulus * (0.05 + (h.valve - 0.05) * self.aortic_open)
        return self._root_at(h.sinus_height * (0.5 + 0.18 * self.aortic_open), gap)

    def _tissues(self, blood: dict[str, Floats]) -> tuple[Tissue, ...]:
        h = self.heart
        septum = np.concatenate([self.inner_line, self.front[::-1]])
        wall = np.concatenate([self.posterior, self.epicardium[::-1]])
        cap = np.concatenate(
            [self.endocardium[60:], self.posterior[:12], self.epicardium[11::-1], self.front[:8]]
        )
        free = np.concatenate([self.rv_wall, beside(self.rv_wall, -h.free_wall)[::-1]])
        behind = beside(self.dorsal, ROOT_WALL_MM)
        groove = np.array([self.hinge, self.epicardium[-1], self.epicardium[-1] + [7, 5], self.la[-14]])
        sac = np.concatenate([self.epicardium, beside(self.epicardium, h.effusion + 0.1)[::-1]])
        bed = beside(self.epicardium, h.effusion)
        bed = np.concatenate([bed, beside(bed, 10)[::-1]])
        spot = self.hinge + np.array([2.0, 0.0]) + (h.pw + 9 + h.aorta / 2) * self.back
        angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        vessel = spot + h.aorta / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return (
            Tissue(bed, FAT),
            Tissue(sac, BLOOD if h.effusion else MYOCARDIUM),
            Tissue(vessel, BLOOD),
            Tissue(cap, MYOCARDIUM),
            Tissue(wall, MYOCARDIUM),
            Tissue(free, MYOCARDIUM),
            Tissue(groove, FAT),
            *(Tissue(outline, BLOOD) for outline in blood.values()),
            Tissue(septum, MYOCARDIUM),
            Tissue(np.concatenate([self.dorsal, behind[::-1]]), WALL),
        )

    def _surfaces(self) -> tuple[Surface, ...]:
        h = self.heart
        return (
            Surface(self.endocardium[4:60], 1.1),
            Surface(self.front[8:], 1.2),
            Surface(self.posterior[12:], 1.2),
            Surface(beside(self.epicardium, h.effusion + 0.7)[6:], 5.0, 1.8, 3.0, 0.15),
            Surface(self.rv_wall, 1.2),
            Surface(self.anterior, 2.2, 1.4),
            Surface(self.dorsal, 2.2, 1.4),
            Surface(beside(self.dorsal, ROOT_WALL_MM)[8:50], 1.5),
            Surface(self.la[58:125], 2.2, 1.4),
            *self._mitral_valve(),
            *self._aortic_valve(),
        )

    def _mitral_valve(self) -> tuple[Surface, ...]:
        h = self.heart
        meet = self.curtain + 0.62 * (self.hinge - self.curtain) + 0.42 * h.leaflets[0] * self.left
        septum = self.endocardium[self.at_line]
        open_front = self.curtain + 0.9 * h.leaflets[0] * self.left
        open_front = 0.45 * open_front + 0.55 * (septum + 5 * self.back)
        open_back = self.hinge + 0.8 * h.leaflets[1] * self.left - 0.15 * h.leaflets[1] * self.back
        chord = self.endocardium[self.at_line] + 30 * self.left + 0.62 * self.lv * self.back
        tips = [meet + self.mitral_open * (tip - meet) for tip in (open_front, open_back)]
        annulus = self._root_at(0, h.annulus)[1]
        return (
            Surface(np.array([annulus, self.curtain]), 2.0, 1.8),
            Surface(leaflet(self.curtain, tips[0], 0.1), 2.6, 1.5, 1.0, 0.45),
            Surface(leaflet(self.hinge, tips[1], -0.1), 2.4, 1.5, 1.0, 0.45),
            Surface(leaflet(tips[1], chord, 0.03), 0.6, 0.8, 1.0, 0.4),
        )

    def _aortic_valve(self) -> tuple[Surface, ...]:
        pairs = zip(self._root_at(0, self.heart.annulus), self._cusp_tips(), (1, -1), strict=True)
        bow = 0.12 - 0.2 * self.aortic_open
        return tuple(Surface(leaflet(a, b, s * bow), 2.0, 1.1, 1.0, 0.5) for a, b, s in pairs)


def _frame(x: float, y: float) -> tuple[Floats, Floats]:
    """A unit vector and the one at its right hand on the screen."""
    return np.array([x, y]), np.array([-y, x])


def _nearest(path: Floats, point: Floats) -> int:
    """Index of the point of a path that is nearest to a point."""
    return int(np.argmin(np.linalg.norm(path - point, axis=1)))


def _first(path: Floats, start: Floats, way: Floats) -> Floats:
    """Where a ray first meets an open path (N, 2); the path's nearest point to it if it never does."""
    way = way / np.linalg.norm(way)
    off = (path - start) @ np.array([-way[1], way[0]])
    hit = np.flatnonzero((off[:-1] > 0) != (off[1:] > 0))
    share = off[hit] / (off[hit] - off[hit + 1])
    at = path[hit] + share[:, None] * (path[hit + 1] - path[hit])
    along = (at - start) @ way
    ahead = along > 1e-6
    if not ahead.any():
        return np.asarray(path[np.argmin(np.abs(off))])
    return np.asarray(at[ahead][np.argmin(along[ahead])])
