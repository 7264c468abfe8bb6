"""Anatomy of the subcostal long axis of the inferior vena cava, through the liver to the heart.

Frame of the view: the junction with the right atrium at (0, 0), the vein to its left, the skin above.
Landmarks (Lang et al. 2015): IVC diameter across the vein, inner edges, 10 to 25 mm from the junction with
the right atrium.

The phase is that of a breath: 0 is the end of expiration (widest), 0.5 the end of inspiration (narrowest).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.outline import beside, curve, normals, ring, tube
from trifocal.keypoints.phantoms.section import BLOOD, FAT, MYOCARDIUM, Body, Section, Surface, Tissue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LIVER = 0.75
STATIONS = 90  # along the vein


@dataclass(frozen=True)
class CavalVein:
    """Sizes in mm at the end of expiration.

    Attributes:
        diameter: Where it is measured.
        collapse: Share of the diameter that is lost at the end of inspiration.
        measured_at: Distance from the junction with the right atrium, along the vein.
        length: Of the vein that is seen.
        profile: Diameters at the junction, at 45 and 100 % of the length, against `diameter`.
        sag: Bow of the vein, mm downwards in the middle.
        hepatic: Diameter, distance from the junction, angle (degrees from the vein) and length of the hepatic
            vein.
        atrium: Length and depth of the right atrium.
        liver_above: Thickness of liver in front of the vein.
        liver_scatter: Of the liver.
        vessels: (N, 5) of other vessels: share of the length, mm above (negative: below) the vein, diameter,
            length, angle.
        shape: (8,) numbers of standard deviation 1 that make every outline its own.
        travel: How far the vein moves towards the feet in inspiration.
        spine: Strength of the echo of the vertebrae behind; 0 for none.
    """

    diameter: float
    collapse: float
    measured_at: float
    length: float
    profile: tuple[float, float, float]
    sag: float
    hepatic: tuple[float, float, float, float]
    atrium: tuple[float, float]
    liver_above: float
    liver_scatter: float
    vessels: tuple[tuple[float, float, float, float, float], ...]
    shape: tuple[float, ...]
    travel: float
    spine: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> CavalVein:
        """Empty and full, grown-ups and children."""
        body = Body(rng)
        scale = body.scale
        kind = rng.choice(3, p=[0.2, 0.55, 0.25])  # empty, normal, full
        diameter = float(rng.uniform((8, 12, 21)[kind], (13, 22, 31)[kind]) * scale)
        low, high = ((0.5, 0.9), (0.25, 0.75), (0.04, 0.4))[kind]
        vessels = tuple(
            (
                float(rng.uniform(0.1, 1.0)), float(rng.choice([-1, 1], p=[0.2, 0.8]) * rng.uniform(8, 40)),
                float(rng.uniform(3, 9)), float(rng.uniform(8, 30)), float(rng.uniform(-60, 60)),
            )
            for _ in range(int(rng.integers(1, 6)))
        )  # fmt: skip
        return cls(
            diameter=diameter,
            collapse=float(rng.uniform(low, high)),
            measured_at=float(rng.uniform(12, 25) * scale),
            length=float(rng.uniform(75, 105) * scale),
            profile=(rng.uniform(1.0, 1.25), rng.uniform(0.85, 1.08), rng.uniform(0.6, 0.95)),
            sag=float(rng.normal(2, 4)),
            hepatic=(
                float(rng.uniform(5, 10) * scale), float(rng.uniform(4, 12) * scale),
                float(rng.uniform(35, 75)), float(rng.uniform(25, 55) * scale),
            ),
            atrium=(float(rng.uniform(38, 55) * scale), float(rng.uniform(32, 48) * scale)),
            liver_above=float(rng.uniform(25, 55) * scale),
            liver_scatter=float(rng.uniform(0.55, 1.0)),
            vessels=vessels,
            shape=body.shape(),
            travel=float(rng.uniform(0, 8) * scale),
            spine=float(rng.choice([0.0, rng.uniform(2, 6)])),
        )  # fmt: skip

    def section(self, phase: float) -> Section:
        """The vein at a phase of the breath; see `Section`."""
        return _Drawing(self, phase).section()

    def width(self, phase: float) -> float:
        """Diameter in mm where it is measured."""
        return self.diameter * (1 - self.collapse * _inspiration(phase))


def _inspiration(phase: float) -> float:
    """0 at the end of expiration (phase 0), 1 at the end of inspiration (0.5)."""
    return float((0.5 - 0.5 * np.cos(2 * np.pi * phase)) ** 1.3)


class _Drawing:
    """The outlines of one phase."""

    def __init__(self, vein: CavalVein, phase: float) -> None:
        self.vein = v = vein
        breath = _inspiration(phase)
        self.shift = np.array([-v.travel * breath, 0.35 * v.travel * breath])
        z = v.shape
        knots = np.array([
            [0.0, 0.0], [-0.3 * v.length, 0.8 * v.sag], [-0.65 * v.length, v.sag + z[0]],
            [-v.length, 0.2 * v.sag + 2 * z[1]], [-v.length - 45, -0.5 * v.sag + 3 * z[1]],
        ])  # fmt: skip
        self.path = curve(knots, STATIONS)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(self.path, axis=0), axis=1))])
        self.station = int(np.argmin(np.abs(along - v.measured_at)))
        near, middle, far = v.profile
        at = [0, v.measured_at, max(0.45 * v.length, v.measured_at + 5), v.length, v.length + 60]
        share = np.interp(along, at, [near, 1, middle, far, 0.95 * far])
        kernel = np.hanning(9) / np.hanning(9).sum()
        share = np.convolve(np.pad(share, 4, mode="edge"), kernel, mode="valid")
        share /= share[self.station]
        # The junction is held open by the diaphragm.
        lost = v.collapse * breath * np.interp(along, [0, v.measured_at, v.length], [0.35, 1, 0.9])
        lost *= np.where(along < v.measured_at, 1.0, np.interp(along, at[1:4], [1, 1, 0.85]))
        self.width = v.diameter * share * (1 - lost)
        self.upper = beside(self.path, 0.5 * self.width)
        self.lower = beside(self.path, -0.5 * self.width)

    def section(self) -> Section:
        """All of it."""
        vein = np.concatenate([self.upper, self.lower[::-1]])
        atrium = self._atrium()
        blood = {"IVC diameter": vein, "RA": atrium}
        points = np.stack([self.upper[self.station], self.lower[self.station]])
        context = np.array(
            [[0.4 * self.vein.atrium[0], 0.0], self.path[min(self.station + 22, STATIONS - 1)]]
        )
        section = Section(self._tissues(blood), self._surfaces(atrium), points, blood, 0.5, context)
        return section.placed(0.0, self.shift)

    def _atrium(self) -> Floats:
        """The right atrium, open towards the vein."""
        v, z = self.vein, self.vein.shape
        wide, deep = v.atrium
        top, low = self.upper[0], self.lower[0]
        return ring(np.array([
            top + [0.5, 0.0], top + [0.2 * wide, -0.28 * deep], top + [0.55 * wide, -0.42 * deep + z[2]],
            top + [0.92 * wide, -0.2 * deep], [wide + z[3], 0.15 * deep], low + [0.75 * wide, 0.3 * deep],
            low + [0.3 * wide, 0.18 * deep], low + [0.5, 0.0],
        ]))  # fmt: skip

    def _branch(self) -> Floats:
        """Centre line of the hepatic vein, from the caval vein into the liver in front of it."""
        v = self.vein
        _, distance, angle, length = v.hepatic
        at = int(np.clip(round(distance / v.length * STATIONS * 0.75), 2, STATIONS - 2))
        start = self.path[at] + 0.3 * (self.upper[at] - self.path[at])
        turn = np.deg2rad(angle)
        way = np.array([-np.cos(turn), -np.sin(turn)])
        return curve(np.array([
            start, start + 0.5 * length * way, start + length * (way + np.array([-0.25, 0.12]))
        ]), 24)  # fmt: skip

    def _tissues(self, blood: dict[str, Floats]) -> tuple[Tissue, ...]:
        v, z = self.vein, self.vein.shape
        skin, below = -v.liver_above, 16 + 3 * z[4]
        edge = self.path[0] + [2.0, 0.0]
        liver = ring(np.array([
            [-v.length - 50, skin - 25], [-0.4 * v.length, skin - 25], edge + [14, -0.9 * v.liver_above],
            edge + [6, -0.5 * v.atrium[1]], edge + [-1, 0], edge + [-6, 0.5 * v.diameter + 0.8 * below],
            [-0.5 * v.length, v.diameter / 2 + below], [-v.length - 50, v.diameter / 2 + below + 4 * z[5]],
        ]))  # fmt: skip
        heart = beside(np.concatenate([blood["RA"], blood["RA"][:1]]), -3.0)
        ventricle = blood["RA"] * [1.0, 0.8] + [0.9 * v.atrium[0], -0.55 * v.atrium[1]]
        branch = self._branch()
        wide = v.hepatic[0] * np.interp(np.linspace(0, 1, 24), [0, 0.15, 1], [1.2, 1, 0.55])
        far, deep = -v.length - 70, v.diameter / 2 + below
        bed = curve(
            np.array([[far, deep], [-0.4 * v.length, deep + z[3]], [20, deep + 6], [110, deep - 10]]), 40
        )
        bed = np.concatenate([bed, beside(bed, 8 + 5 * abs(z[2]))[::-1]])
        return (
            Tissue(bed, FAT),
            Tissue(liver, v.liver_scatter),
            Tissue(ventricle, BLOOD),
            Tissue(heart, MYOCARDIUM),
            *(Tissue(tube(path, d), BLOOD) for path, d, _ in self._vessels()),
            Tissue(tube(branch, wide), BLOOD),
            *(Tissue(outline, BLOOD) for outline in blood.values()),
        )

    def _vessels(self) -> list[tuple[Floats, float, float]]:
        """Centre line, diameter, and brightness of the wall (portal branches have bright ones)."""
        out = []
        for i, (share, above, diameter, length, angle) in enumerate(self.vein.vessels):
            at = min(int(share * STATIONS * 0.7), STATIONS - 1)
            side = normals(self.path)[at] * (np.sign(above) * self.width[at] / 2 + above)
            middle = self.path[at] + side
            way = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]) * length / 2
            wall = 1.8 if i % 2 else 0.5
            out.append((np.linspace(middle - way, middle + way, 8), min(diameter, abs(above)), wall))
        return out

    def _surfaces(self, atrium: Floats) -> tuple[Surface, ...]:
        v = self.vein
        start = max(2, int(v.hepatic[1] / v.length * STATIONS))
        diaphragm = curve(np.array([
            [18.0, -1.0 * v.liver_above], [4.0, -0.55 * v.liver_above], self.upper[0] + [0.5, 0],
        ]), 30)  # fmt: skip
        crus = curve(np.array([self.lower[0], self.lower[0] + [-5, 9], self.lower[0] + [-2, 26]]), 20)
        walls = [
            Surface(beside(path, s * d / 2), wall, 1.0, 1.0, 0.3)
            for path, d, wall in self._vessels() for s in (-1, 1)
        ]  # fmt: skip
        out = [
            Surface(self.upper[2 + start // 2 :], 1.8, 1.1, 2.0, 0.3),
            Surface(self.lower[2:], 2.2, 1.2, 2.0, 0.3),
            Surface(diaphragm, 3.0, 1.6, 2.0, 0.3),
            Surface(crus, 2.5, 1.6, 2.0, 0.3),
            Surface(atrium[15:70], 1.6, 1.4),
            Surface(atrium[70:128], 2.2, 1.4),
            *walls,
        ]
        if v.spine:
            depth = v.diameter / 2 + 32 + 4 * v.shape[6]
            for i in range(4):
                x = -8 - 27 * i + 6 * v.shape[7]
                knots = np.array([[-11, 1], [-4, -1], [4, -1], [11, 1]]) + [x, depth]
                out.append(Surface(curve(knots, 16), v.spine, 2.2, 2.0, 0.2))
        return tuple(out)
