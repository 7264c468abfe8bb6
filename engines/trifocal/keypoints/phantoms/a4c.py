"""Anatomy of the apical four-chamber view: both ventricles with the apex up, both atria below them.

Heart's frame: the left ventricle's apex (inside) at (0, 0), its long axis downwards, the left heart to the
right of the septum. Landmarks, each pair as the chamber quantification guideline has it (Lang et al. 2015):

- LV length: apex (inside) to the middle of the mitral annulus. LV width: the widest place across that axis.
- RV length: apex of the right ventricle to the middle of the tricuspid annulus. RV width: the widest place
  across that axis in the basal third (the guideline's basal diameter, RVD1).
- LA and RA length: middle of the valve's annulus to the roof, through the chamber's middle; width: across
  that axis at its half, from the septum to the free wall. Pulmonary veins are not part of the atrium.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.outline import beside, crossings, curve
from trifocal.keypoints.phantoms.section import (
    BLOOD,
    FAT,
    MYOCARDIUM,
    Body,
    Section,
    Surface,
    Tissue,
    contraction,
    leaflet,
    mitral_opening,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FourChambers:
    """Sizes in mm at end-diastole (atria: at end-systole, when they are largest), and proportions.

    Attributes:
        lv: Length and width of the left ventricle.
        rv: Length and basal width of the right one.
        la: Length and width of the left atrium.
        ra: Length and width of the right one.
        septum: Thickness.
        lateral: Thickness of the left ventricle's side wall.
        free_wall: Thickness of the right one's.
        offset: How much nearer to the apex the tricuspid valve's hinge is than the mitral one's.
        shortening: Share of its length and of its width that the left ventricle loses in systole.
        mitral: Width of the mitral annulus, as a share of the left ventricle's.
        bend: How far the left ventricle's axis is bowed, mm.
        shape: (8,) numbers of standard deviation 1 that make every outline its own.
        bulge: Of the septum between the atria, mm to the right.
        band: Strength of the moderator band; 0 for none.
        fade: (3,) 0 to 1, how much of the septum between the atria, the LV's and the RV's side wall is lost.
    """

    lv: tuple[float, float]
    rv: tuple[float, float]
    la: tuple[float, float]
    ra: tuple[float, float]
    septum: float
    lateral: float
    free_wall: float
    offset: float
    shortening: tuple[float, float]
    mitral: float
    bend: float
    shape: tuple[float, ...]
    bulge: float
    band: float
    fade: tuple[float, float, float]

    @classmethod
    def random(cls, rng: np.random.Generator) -> FourChambers:
        """Grown-ups and children, healthy and ill."""
        body = Body(rng)
        size = body.size

        sick = rng.random() < 0.25
        along, across = ((0.03, 0.08), (0.06, 0.18)) if sick else ((0.12, 0.19), (0.24, 0.36))
        return cls(
            lv=(size(82, 0.07, 1.15), size(45, 0.09, 1.4)),
            rv=(size(68, 0.08, 1.2), size(35, 0.12, 1.45)),
            la=(size(50, 0.1, 1.4), size(38, 0.1, 1.4)),
            ra=(size(47, 0.1, 1.35), size(37, 0.11, 1.4)),
            septum=size(9, 0.13, 1.9),
            lateral=size(8.5, 0.13, 1.5),
            free_wall=size(4, 0.15, 1.8),
            offset=size(6, 0.25, 1.0),
            shortening=(float(rng.uniform(*along)), float(rng.uniform(*across))),
            mitral=float(rng.uniform(0.62, 0.76)),
            bend=float(rng.normal(0, 2.0)),
            shape=body.shape(),
            bulge=float(rng.normal(0, 2.5)),
            band=float(rng.choice([0.0, rng.uniform(0.6, 2.0)])),
            fade=(float(rng.random()), float(rng.random() ** 2), float(rng.random() ** 2)),
        )

    def section(self, phase: float) -> Section:
        """The heart at a phase of its beat; see `Section`."""
        return _Drawing(self, phase).section()


class _Drawing:
    """The outlines of one phase."""

    def __init__(self, heart: FourChambers, phase: float) -> None:
        self.heart, self.open = heart, mitral_opening(phase)
        c = contraction(phase)
        shorter, narrower = heart.shortening
        self.length, self.width = heart.lv[0] * (1 - shorter * c), heart.lv[1] * (1 - narrower * c)
        self.narrow = 1 - 0.8 * narrower * c
        self.thicker = 1 + 1.1 * narrower * c
        self.full = 0.86 + 0.14 * c  # of the atria
        self.lv, self.lv_outside = self._left_ventricle()
        self.rv_septum, self.rv_free = self._right_ventricle()
        self.la = self._left_atrium()
        self.ra = self._right_atrium()

    def section(self) -> Section:
        """All of it."""
        rv = np.concatenate([self.rv_septum, self.rv_free[1:]])
        blood = {"LV": self.lv, "RV": rv, "LA": self.la, "RA": self.ra}
        points = np.concatenate(
            [self._lengths("LV", self.lv), self._lengths("RV", rv), _atrium(self.la), _atrium(self.ra)]
        )
        return Section(self._tissues(blood), self._surfaces(), points, blood, 0.4)

    def _left_ventricle(self) -> tuple[Floats, Floats]:
        """Inside and outside, from the septal hinge over the apex to the lateral hinge."""
        h, length, width = self.heart, self.length, self.width
        z = h.shape
        m = h.mitral / 2 * (1 - 0.1 * (1 - self.narrow)) / max(self.narrow, 0.7) ** 0.5
        down = np.array([1.0, 0.82, 0.62, 0.4, 0.17, 0.035, 0.0, 0.035, 0.17, 0.4, 0.62, 0.82, 1.0])
        wide = np.array([
            -m, -0.43 - 0.01 * z[0], -0.48 - 0.015 * z[1], -0.46 + 0.02 * z[1], -0.35 + 0.02 * z[2], -0.16,
            0.0, 0.17, 0.37 + 0.02 * z[2], 0.48 + 0.02 * z[3], 0.52 + 0.015 * z[3], 0.47 + 0.015 * z[0], m,
        ])  # fmt: skip
        across = wide * width + h.bend * np.sin(np.pi * down)
        inside = curve(np.stack([across, down * length], axis=1), 90)
        thick = np.interp(
            np.linspace(0, 1, 90), [0, 0.1, 0.4, 0.5, 0.6, 0.92, 1],
            [0.75 * h.septum, h.septum, h.septum, 0.75 * h.lateral, h.lateral, h.lateral, 0.6 * h.lateral],
        )  # fmt: skip
        return inside, beside(inside, -thick * self.thicker)

    def _right_ventricle(self) -> tuple[Floats, Floats]:
        """The septum's side from the tricuspid hinge to the apex, then the free wall to the other hinge."""
        h, z = self.heart, self.heart.shape
        side = self.lv_outside[:44]
        hinge = self.length - h.offset
        apex = max(hinge - h.rv[0] * (1 - 0.9 * (1 - self.length / h.lv[0])), 0.06 * self.length)
        down = np.linspace(hinge, apex, 40)
        side = np.stack([np.interp(down, side[::-1, 1], side[::-1, 0]), down], axis=1)
        top, low = side[-1], side[0]
        basal = h.rv[1] * self.narrow
        rise = low[1] - top[1]
        middle = np.interp(top[1] + 0.42 * rise, side[::-1, 1], side[::-1, 0])
        base = low + [-0.41 * basal, 0.0]
        share = (low[1] - side[12:, 1]) / rise
        clear = (side[12:, 0] - 0.1 * basal - base[0] * (1 - share)) / share
        apex_x = min(float(clear.min()), top[0] - 0.14 * basal)  # so that its axis stays off the septum
        knots = [
            top,
            [apex_x, top[1] - 0.03 * rise],
            [
                min(middle - (0.62 + 0.05 * z[4]) * basal, apex_x - 0.3 * basal),
                top[1] + (0.4 + 0.02 * z[5]) * rise,
            ],
            [low[0] - (0.97 + 0.02 * z[4]) * basal, top[1] + 0.74 * rise],
            low + [-(0.82 + 0.03 * z[5]) * basal, 1.5 * z[6] + 0.25 * h.offset],
        ]
        return side, curve(np.array(knots), 50)

    def _left_atrium(self) -> Floats:
        """From the septal to the lateral mitral hinge, by way of the roof."""
        h, a, b = self.heart, self.lv[0], self.lv[-1]
        roof = h.lv[0] * (1 - h.shortening[0]) + h.la[0]  # stays where it is; the annulus moves
        wide, z = h.la[1] * self.full, h.shape
        middle, tall = (a[0] + b[0]) / 2 + 1.5 * z[6], roof - a[1]
        roof -= 0.06 * (1 - self.full) * tall
        knots = np.array([
            a + [0.3, 0.0], [middle - 0.5 * wide + 0.4 * h.bulge, a[1] + 0.3 * tall],
            [middle - 0.47 * wide + h.bulge, a[1] + 0.62 * tall], [middle - 0.3 * wide, a[1] + 0.93 * tall],
            [middle, roof], [middle + 0.31 * wide, a[1] + (0.92 + 0.02 * z[7]) * tall],
            [middle + 0.5 * wide, a[1] + 0.6 * tall], [middle + 0.49 * wide, a[1] + 0.28 * tall], b,
        ])  # fmt: skip
        return curve(knots, 80)

    def _right_atrium(self) -> Floats:
        """From the septal to the lateral tricuspid hinge, by way of the roof."""
        h, z = self.heart, self.heart.shape
        a, b = self.rv_septum[0], self.rv_free[-1]
        roof = h.lv[0] * (1 - h.shortening[0]) - h.offset + h.ra[0]
        tall, wide = roof - a[1], h.ra[1] * self.full
        side = self.la[np.argsort(self.la[:50, 1])]  # its septal side, by depth
        side = side[side[:, 0] < self.la[:, 0].mean()]
        depth = a[1] + np.array([0.35, 0.65, 0.85]) * tall
        gap = 3.0 + 0.25 * h.septum * np.array([1.0, 0.2, 0.5])
        near = np.interp(depth, *side[np.argsort(side[:, 1])].T[::-1]) - gap
        knots = np.array([
            a, [near[0], depth[0]], [near[1], depth[1]], [near[2] - 0.16 * wide, a[1] + 0.92 * tall],
            [near[1] - 0.52 * wide, roof], [near[1] - 0.86 * wide, a[1] + (0.86 + 0.02 * z[7]) * tall],
            [near[1] - 1.0 * wide, a[1] + 0.55 * tall], [near[0] - 0.95 * wide, a[1] + 0.25 * tall], b,
        ])  # fmt: skip
        return curve(knots, 80)

    def _lengths(self, name: str, outline: Floats) -> Floats:
        """Length and width (4, 2) of a ventricle whose outline starts and ends at the hinges of its valve."""
        base = (outline[0] + outline[-1]) / 2
        away = np.linalg.norm(outline - base, axis=1) if name == "LV" else -outline[:, 1]
        apex = outline[np.argmax(away)]
        axis = apex - base
        across = np.array([-axis[1], axis[0]])
        shares = np.linspace(0.2, 0.6, 9) if name == "LV" else np.linspace(0.14, 0.36, 7)
        cuts = [crossings(outline, base + s * axis, across) for s in shares]
        widest = max(cuts, key=lambda cut: float(np.linalg.norm(cut[1] - cut[0])))
        return np.stack([apex, base, *widest])

    def _tissues(self, blood: dict[str, Floats]) -> tuple[Tissue, ...]:
        h, outside = self.heart, self.lv_outside
        free = np.concatenate([self.rv_free, beside(self.rv_free, h.free_wall * self.thicker)[::-1]])
        crux = np.array([self.rv_septum[0], self.lv_outside[0], self.lv[0], self.la[10], self.ra[10]])
        groove = np.array([self.lv[-1], outside[-1], outside[-1] + [3, 8], self.la[-12]])
        roof = np.array([self.ra[60], self.ra[42], self.ra[26], self.la[26], self.la[42], self.la[60]])
        bed = curve(roof + np.array([[-3, 2], [-3, 9], [0, 12], [0, 12], [4, 9], [4, 2]]), 40)
        mouths = [_vein(self.la[i], self.la.mean(axis=0), 0.2 * h.la[1]) for i in (34, 52)]
        return (
            Tissue(bed, FAT),
            Tissue(outside, MYOCARDIUM),
            Tissue(free, MYOCARDIUM),
            Tissue(crux, FAT),
            Tissue(groove, FAT),
            *(Tissue(mouth, BLOOD) for mouth in mouths),
            *(Tissue(outline, BLOOD) for outline in blood.values()),
        )

    def _surfaces(self) -> tuple[Surface, ...]:
        h = self.heart
        lost = 1 - np.array(h.fade)
        between = (self.la[4:28] + self.ra[4:28]) / 2
        thin = 1 - (1 - lost[0]) * np.exp(-(((np.linspace(0, 1, 24) - 0.55) / 0.22) ** 2))
        return (
            Surface(self.lv[:44], 1.0, 1.0),
            Surface(self.lv[44:], 1.0 * lost[1], 1.0),
            Surface(self.rv_septum, 1.0, 1.0),
            Surface(self.rv_free, 1.1 * lost[2], 1.4),
            Surface(self.lv_outside[46:], 2.5 * lost[1], 1.8),
            Surface(between, 1.6 * thin, 2.0, diffuse=0.5),
            Surface(self.la[28:], 2.6, 1.6, 2.0),
            Surface(self.ra[28:], 2.4, 1.6, 2.0),
            *self._valve(self.lv[0], self.lv[-1], 1.0),
            *self._valve(self.rv_septum[0], self.rv_free[-1], -1.0),
            *self._muscles(),
        )

    def _valve(self, septal: Floats, lateral: Floats, side: float) -> tuple[Surface, ...]:
        """Two leaflets that meet a little above the annulus, or hang into the ventricle."""
        span = lateral - septal
        up = np.array([span[1], -span[0]]) * side / np.linalg.norm(span)
        meet = septal + 0.58 * span + 0.12 * np.linalg.norm(span) * up
        size = float(np.linalg.norm(span))
        tips = (
            septal + 0.14 * span + 0.62 * size * up,
            lateral - 0.06 * span + 0.38 * size * up,
        )
        return tuple(
            Surface(leaflet(hinge, meet + self.open * (tip - meet), bow), 2.6, 1.3, 1.0, 0.5)
            for hinge, tip, bow in ((septal, tips[0], 0.1 * side), (lateral, tips[1], -0.12 * side))
        )

    def _muscles(self) -> tuple[Surface, ...]:
        """The moderator band and a papillary muscle."""
        h, out = self.heart, []
        if h.band:
            a, b = self.rv_septum[-len(self.rv_septum) // 3], self.rv_free[20]
            out.append(Surface(leaflet(a, b, 0.08), h.band, 2.5, 1.0, 0.6))
        root = self.lv[62]
        tip = root + 0.35 * (self.lv.mean(axis=0) - root) + [0.0, 0.16 * self.length]
        out.append(Surface(leaflet(root, tip, -0.1), 0.7 + 0.3 * abs(h.shape[7]), 3.5, 1.0, 0.7))
        return tuple(out)


def _atrium(outline: Floats) -> Floats:
    """Length and width (4, 2) of an atrium whose outline starts and ends at the hinges of its valve."""
    base = (outline[0] + outline[-1]) / 2
    axis = outline.mean(axis=0) - base
    axis /= np.linalg.norm(axis)
    roof = crossings(outline, base + axis, axis)[1]
    across = np.array([-axis[1], axis[0]])
    return np.concatenate([np.stack([base, roof]), crossings(outline, (base + roof) / 2, across)])


def _vein(mouth: Floats, center: Floats, width: float) -> Floats:
    """A short tube (4, 2) that leads away from the centre at its mouth."""
    away = (mouth - center) / np.linalg.norm(mouth - center)
    across = np.array([-away[1], away[0]]) * width / 2
    start, end = mouth - 4 * away, mouth + 14 * away
    return np.stack([start - across, end - 0.7 * across, end + 0.7 * across, start + across])
