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

from trifocal.keypoints.phantoms.outline import beside, crossings, met
from trifocal.keypoints.phantoms.plax_outlines import ROOT_WALL_MM, LongAxisOutlines
from trifocal.keypoints.phantoms.section import (
    BLOOD,
    FAT,
    MYOCARDIUM,
    WALL,
    Body,
    Section,
    Surface,
    Tissue,
    leaflet,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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


class _Drawing(LongAxisOutlines):
    """Tissues, surfaces and landmarks of one phase."""

    def section(self) -> Section:
        """All of it."""
        lv = np.concatenate([self.endocardium, self.posterior[1:]])
        rv = np.concatenate([self.front, self.rv_wall[::-1]])
        root = np.concatenate([self.anterior, self.dorsal[::-1]])
        blood = {"LV": lv, "RV": rv, "aorta": root, "LA": self.la}
        return Section(self._tissues(blood), self._surfaces(), self._points(rv), blood, 0.45)

    def _points(self, rv: Floats) -> Floats:
        """(22, 2) in the order of the task."""
        h, back = self.heart, self.back
        septum = self.endocardium[self.at_line]
        lv = np.concatenate([self.endocardium, self.posterior[1:]])
        low = crossings(lv, septum + 0.5 * self.lv * back, back)[1]
        ivs = met(self.front, septum, -back)
        rv_top = met(self.rv_wall, ivs, -back)
        pw = met(self.epicardium, low, back)
        stj = self.root_at(h.sinus_height, h.root[2])
        tube = self.root_at(h.sinus_height + h.levels[1], h.root[3])
        outer = -ROOT_WALL_MM * self.down
        outflow = self.root_at(-h.levels[0], h.root[0])
        sinus = 0.5 * h.sinus_height * self.up
        la_top = sinus + h.root[1] / 2 * self.down
        la_low = crossings(self.la, la_top + (ROOT_WALL_MM + 4) * self.down, self.down)[1]
        way = self.front[self.joint + 1] - self.front[self.joint - 1]
        rvot = met(self.rv_wall, self.front[self.joint], np.array([way[1], -way[0]]))
        return np.array([
            septum, low, rv_top, ivs, ivs, septum, low, pw, *self.root_at(0, h.annulus),
            stj[0] + outer, stj[1], tube[0] + outer, tube[1], *self.cusp_tips(), *outflow, la_top, la_low,
            self.front[self.joint], rvot,
        ])  # fmt: skip

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
        annulus = self.root_at(0, h.annulus)[1]
        return (
            Surface(np.array([annulus, self.curtain]), 2.0, 1.8),
            Surface(leaflet(self.curtain, tips[0], 0.1), 2.6, 1.5, 1.0, 0.45),
            Surface(leaflet(self.hinge, tips[1], -0.1), 2.4, 1.5, 1.0, 0.45),
            Surface(leaflet(tips[1], chord, 0.03), 0.6, 0.8, 1.0, 0.4),
        )

    def _aortic_valve(self) -> tuple[Surface, ...]:
        pairs = zip(self.root_at(0, self.heart.annulus), self.cusp_tips(), (1, -1), strict=True)
        bow = 0.12 - 0.2 * self.aortic_open
        return tuple(Surface(leaflet(a, b, s * bow), 2.0, 1.1, 1.0, 0.5) for a, b, s in pairs)
