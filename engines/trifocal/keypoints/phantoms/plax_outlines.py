"""Outlines of the parasternal long-axis view; `plax` makes tissues, surfaces and landmarks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trifocal.keypoints.phantoms.outline import beside, curve, nearest, ring
from trifocal.keypoints.phantoms.section import aortic_opening, contraction, mitral_opening

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.phantoms.plax import LongAxis

    Floats = NDArray[np.float64]

ROOT_WALL_MM = 2.4


class LongAxisOutlines:
    """The outlines of one phase; each is (N, 2) mm in the heart's frame (see `plax`)."""

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

    def root_at(self, height: float, width: float) -> tuple[Floats, Floats]:
        """Anterior and posterior point of the root's inside at a height above the annulus."""
        return height * self.up - width / 2 * self.down, height * self.up + width / 2 * self.down

    def _septum(self) -> None:
        """The septum's left side (annulus to apex) and right side, which goes on in front of the aorta."""
        h = self.heart
        top = self.root_at(0, h.annulus)[0]
        outflow = self.root_at(-h.levels[0], h.root[0])[0]
        reach = 5 + 0.95 * h.leaflets[0] + h.tip_gap
        sink = 0.3 * self.lost
        at_line = top + reach * self.left + (sink - h.bulge) * self.back
        beyond = at_line + 24 * self.left + (0.06 * self.lv + h.shape[1]) * self.back
        apex = at_line + 52 * self.left + (0.5 * self.lv) * self.back
        self.apex = apex
        near = 0.55 * outflow + 0.45 * at_line - (0.25 * h.bulge) * self.back
        end = beyond + 22 * self.left + 0.24 * self.lv * self.back
        self.endocardium = curve(np.array([top, outflow, near, at_line, beyond, end, apex]), 80)
        self.at_line = nearest(self.endocardium, at_line)

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
        sides = [self.root_at(a, w) for a, w in zip(heights, widths, strict=True)]
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

    def cusp_tips(self) -> tuple[Floats, Floats]:
        """Tips of the anterior and the posterior cusp of the aortic valve."""
        h = self.heart
        gap = h.annulus * (0.05 + (h.valve - 0.05) * self.aortic_open)
        return self.root_at(h.sinus_height * (0.5 + 0.18 * self.aortic_open), gap)


def _frame(x: float, y: float) -> tuple[Floats, Floats]:
    """A unit vector and the one at its right hand on the screen."""
    return np.array([x, y]), np.array([-y, x])
