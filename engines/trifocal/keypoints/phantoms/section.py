"""What an anatomy of the heart hands to the painter: tissues, surfaces and landmarks in millimetres.

A section lives in a frame of its own (the heart's), from which `placed` brings it in front of the probe: x to
the right, y away from the probe's face, (0, 0) the middle of the face.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

from trifocal.keypoints.phantoms.outline import turned

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MYOCARDIUM, BLOOD, WALL, FAT = 0.8, 0.04, 1.0, 1.3  # scatter, on the scale of `scene`


@dataclass(frozen=True, eq=False)
class Tissue:
    """What fills an outline.

    Attributes:
        outline: (N, 2) mm, closed.
        scatter: On the scale of `Scene`.
        loss: dB per mm, on the scale of `Scene`.
    """

    outline: Floats
    scatter: float
    loss: float = 0.0


@dataclass(frozen=True, eq=False)
class Surface:
    """What reflects along a path.

    Attributes:
        path: (N, 2) mm, open.
        strength: Echo amplitude on the scale of `Scene`, one or (N,).
        width_mm: Of the line.
        specular: How narrow the angles are at which it shines; see `Canvas.interface`.
        diffuse: Part that does not depend on the angle.
    """

    path: Floats
    strength: ArrayLike
    width_mm: float = 1.0
    specular: float = 1.5
    diffuse: float = 0.25


@dataclass(frozen=True, eq=False)
class Section:
    """A section through the heart or a great vessel.

    Attributes:
        tissues: From the back to the front.
        surfaces: On top of them.
        points: (K, 2) mm, the landmarks of the task in its order; the ends of a pair in any order.
        blood: Outline of each cavity by its name; those that are measured are named as in the task.
        surroundings: Scatter of what is around.
        context: (N, 2) mm, other places that a sonographer keeps in the sector.
    """

    tissues: tuple[Tissue, ...]
    surfaces: tuple[Surface, ...]
    points: Floats
    blood: dict[str, Floats] = field(default_factory=dict)
    surroundings: float = 0.5
    context: Floats = field(default_factory=lambda: np.empty((0, 2)))

    def placed(self, degrees: float, shift: ArrayLike, mirrored: bool = False) -> Section:
        """The section turned (clockwise on the screen), mirrored left to right if wanted, then shifted."""
        flip = np.array([-1.0 if mirrored else 1.0, 1.0])

        def move(path: Floats) -> Floats:
            moved: Floats = turned(path, degrees) * flip + np.asarray(shift, dtype=np.float64)
            return moved

        return self._mapped(move)

    def _mapped(self, move: Callable[[Floats], Floats]) -> Section:
        return replace(
            self,
            tissues=tuple(replace(t, outline=move(t.outline)) for t in self.tissues),
            surfaces=tuple(replace(s, path=move(s.path)) for s in self.surfaces),
            points=move(self.points),
            context=move(self.context),
            blood={name: move(outline) for name, outline in self.blood.items()},
        )


class Body:
    """Whose heart it is: sizes are drawn around those of healthy grown-ups, larger in some illnesses.

    Attributes:
        scale: Of every size; below 0.9 for a child.
        rng: For the draws.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.scale = float(rng.uniform(0.55, 0.88) if rng.random() < 0.12 else rng.normal(1.0, 0.06))

    def size(self, mean: float, spread: float, ill: float = 1.0, share: float = 0.2) -> float:
        """A size in mm.

        Args:
            mean: Of healthy grown-ups.
            spread: Deviation as a share of the mean.
            ill: Largest factor that an illness brings.
            share: How often there is one.
        """
        much = self.rng.uniform(1.0, ill) if self.rng.random() < share else 1.0
        return self.scale * mean * much * self.factor(spread)

    def factor(self, spread: float) -> float:
        """A factor around 1."""
        return float(np.exp(np.clip(self.rng.normal(0, spread), -2.2 * spread, 2.2 * spread)))

    def shape(self) -> tuple[float, ...]:
        """(8,) numbers of standard deviation 1, none beyond 2, that make every outline its own."""
        return tuple(float(z) for z in np.clip(self.rng.standard_normal(8), -2, 2))


def _periodic(knots: dict[float, float]) -> Callable[[float], float]:
    """A smooth function of the phase through knots from 0 to 1, without overshoot."""
    at = np.array([*(p - 1 for p in knots), *knots, *(p + 1 for p in knots)])
    value = np.tile(list(knots.values()), 3)
    smooth = PchipInterpolator(at, value)
    return lambda phase: float(smooth(phase % 1.0))


contraction = _periodic({0.0: 0.0, 0.06: 0.08, 0.34: 1.0, 0.42: 0.96, 0.55: 0.4, 0.68: 0.22, 0.85: 0.18})
"""How far the ventricles are contracted: 0 at end-diastole (phase 0), 1 at end-systole (near 0.36)."""

aortic_opening = _periodic({0.0: 0.0, 0.04: 0.0, 0.1: 1.0, 0.28: 0.9, 0.38: 0.0, 0.9: 0.0})
"""How far the aortic and pulmonary valves are open, 0 to 1."""

mitral_opening = _periodic({0.0: 0.0, 0.42: 0.0, 0.5: 1.0, 0.62: 0.45, 0.76: 0.35, 0.86: 0.7, 0.97: 0.0})
"""How far the mitral and tricuspid valves are open, 0 to 1."""


def drawn_phase(rng: np.random.Generator) -> float:
    """A phase as still frames are chosen: near end-diastole, near end-systole, or anywhere."""
    pick = rng.random()
    spread = 0.03 * rng.standard_normal()
    anywhere = rng.random()
    return float(spread % 1.0 if pick < 0.4 else 0.37 + spread if pick < 0.65 else anywhere)


def leaflet(hinge: ArrayLike, tip: ArrayLike, belly: float, count: int = 16) -> Floats:
    """(count, 2) of a valve leaflet from its hinge to its tip.

    Args:
        hinge: (x, y) mm.
        tip: (x, y) mm.
        belly: How far its middle lies off the straight line, as a share of the length; to the right if
            positive.
        count: Of points.
    """
    a, b = np.asarray(hinge, dtype=np.float64), np.asarray(tip, dtype=np.float64)
    across = np.array([-(b - a)[1], (b - a)[0]])
    t = np.linspace(0, 1, count)[:, None]
    path: Floats = a + t * (b - a) + 4 * t * (1 - t) * belly * across
    return path
