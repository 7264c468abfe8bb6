"""Size, shape and landmarks of one random trunk, from which every organ takes its place.

The contract for those who paint organs:
1. Axes are RAS mm: +x to the patient's right (liver at x > 0, heart at x < 0), +y forward, +z up. x = 0 is
   the midline, y = 0 the middle of the chest, z = 0 the top of the right diaphragm dome. This is the upright
   body frame: tilt, scoliosis, off-centre positions and the table come after all painting.
2. `canvas.box(low, high)` gives the voxels of an organ's own box, `ellipsoid`, `tube` and `Shell.distance` a
   signed distance there (mm, negative inside; unite by minimum, cut by maximum), `canvas.paint` covers it.
3. `within="abdomen"` keeps paint inside the abdominal wall and under the diaphragm, down to the pelvic floor;
   `within="body"` under the skin. The abdomen is filled with fat before its organs are painted.
4. Shells (`skin` > `muscle` > `inner`): outer skin, outer face of the muscles, inner face of the ribs and of
   the abdominal wall. `shell.point(direction, z, inwards)` gives places along them.
5. `trunk.diaphragm(x, y)` is the dome's height over (x, y); `trunk.vertebra("L3")` gives centres and sizes.
6. Sizes in mm are for a person of 1.72 m: multiply by `trunk.scale`; heights in `trunk.z` already are scaled.
7. All randomness from the `rng` handed over, never drawn by the number of voxels: one body at any spacing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.shell import DIRECTIONS, STEP_MM, Shell, along, around, outline, ripples

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

LEVELS = ("C7", *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))
# height of the body with its disc, half width and half depth of the body, mm
VERTEBRA_MM = {
    "C7": (18, 13, 8), "T1": (19, 15, 8.5), "T2": (20, 14.5, 9), "T3": (20.5, 14, 10), "T4": (21, 14, 11),
    "T5": (21.5, 14, 12), "T6": (22.5, 14.5, 13), "T7": (23, 15, 14), "T8": (23.5, 15.5, 14.5),
    "T9": (24.5, 16.5, 15), "T10": (25.5, 18, 15.5), "T11": (26.5, 19.5, 15.5), "T12": (28, 21, 16),
    "L1": (31, 22, 16.5), "L2": (33, 23, 17), "L3": (34, 24, 17.5),
    "L4": (34.5, 25, 17.5), "L5": (33, 26, 17.5),
}  # fmt: skip
# z: half width, front, back of the inner face of the ribs and of the abdominal wall
INNER_MM = (
    (310, 34, 22, 40), (245, 36, 22, 42), (222, 58, 24, 54), (195, 84, 34, 68), (165, 103, 48, 80),
    (130, 114, 68, 97), (85, 124, 84, 104), (35, 130, 95, 105), (-20, 135, 101, 101), (-70, 133, 101, 94),
    (-110, 127, 95, 84), (-165, 121, 89, 72), (-220, 124, 86, 70), (-280, 116, 84, 80), (-340, 92, 66, 86),
    (-400, 60, 40, 60), (-450, 50, 40, 50),
)  # fmt: skip
# z: thickness of ribs and muscles in front, at the sides and behind
WALL_MM = (
    (310, 32, 26, 28), (245, 32, 28, 32), (222, 28, 50, 40), (195, 24, 58, 34), (165, 21, 46, 30),
    (130, 17, 31, 24), (85, 14, 22, 22), (35, 13, 18, 22), (-20, 12, 15, 24), (-70, 12, 14, 30),
    (-110, 12, 15, 38), (-165, 13, 19, 50), (-220, 13, 26, 52), (-280, 16, 48, 52), (-340, 28, 78, 50),
    (-400, 50, 112, 66), (-450, 50, 112, 62),
)  # fmt: skip
FAT_SHAPE = (  # z: share of the subcutaneous fat in front, at the sides and behind
    (310, 0.4, 0.4, 0.4), (240, 0.5, 0.6, 0.8), (190, 0.8, 1.4, 0.9), (120, 0.85, 1.45, 0.9),
    (40, 0.9, 1.2, 0.85), (-60, 1.0, 1.1, 0.8), (-150, 1.3, 1.1, 0.9), (-220, 1.4, 1.3, 1.0),
    (-300, 1.2, 1.4, 1.3),    (-450, 0.9, 1.3, 1.2),
)  # fmt: skip


@dataclass(frozen=True)
class Vertebra:
    """One vertebra.

    Attributes:
        name: "C7", "T1" .. "T12", "L1" .. "L5".
        center_mm: Middle of its body (x, y, z).
        half_mm: Half width, half depth and half height of the body without the disc.
        tilt: Forward inclination of its axis in radians: dy / dz of the spine.
    """

    name: str
    center_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]
    tilt: float


@dataclass(frozen=True, eq=False)
class Trunk:
    """One person.

    Attributes:
        female: Sex.
        age: Years, 18 to 90.
        height_m: Standing.
        bmi: kg/m2.
        scale: Length against a person of 1.72 m.
        inspiration: 0 (expiration) to 1 (deep breath).
        contrast: "native", "arterial" or "portal".
        arms: "up" or "down".
        visceral: Share of fat between the abdominal organs, 0 (lean) to 1.
        fat_mm: Typical thickness of the fat under the skin.
        left_dome_mm: Top of the left diaphragm dome (z; the right one is 0).
        z: Heights of landmarks by name.
        vertebrae: From C7 down to L5.
        inner: Inner face of the ribs and of the abdominal wall.
        muscle: Outer face of the muscles.
        skin: Outer face of the body (without shoulders, arms and breasts).
        aside_mm: How far the mediastinum lies to the right of its usual place (a smaller lung draws it over).
    """

    female: bool
    age: float
    height_m: float
    bmi: float
    scale: float
    inspiration: float
    contrast: str
    arms: str
    visceral: float
    fat_mm: float
    left_dome_mm: float
    z: dict[str, float]
    vertebrae: tuple[Vertebra, ...]
    inner: Shell
    muscle: Shell
    skin: Shell
    aside_mm: float

    @cached_property
    def _spine(self) -> Doubles:
        rows = [(v.center_mm[2], v.center_mm[1]) for v in self.vertebrae]
        return np.array(rows[::-1])

    def spine_y(self, z_mm: ArrayLike) -> Doubles:
        """Depth y of the middle of the vertebral bodies at heights z."""
        out: Doubles = np.interp(np.asarray(z_mm, float), *self._spine.T)
        return out

    def vertebra(self, name: str) -> Vertebra:
        """One of LEVELS."""
        return self.vertebrae[LEVELS.index(name)]

    def diaphragm(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Height z of the diaphragm over (x, y), broadcast together: two domes, deep along the ribs."""
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        s = np.float32(self.scale)
        width = float(self.inner.radius(0.0, -30 * s))
        front = float(self.inner.radius(np.pi / 2, -20 * s))
        back = float(self.inner.radius(-np.pi / 2, -30 * s))
        heights = []
        for side, top in ((1.0, 0.0), (-1.0, self.left_dome_mm)):
            across = (side * x - 0.52 * width) / np.where(side * x > 0.52 * width, 0.48 * width, 0.52 * width)
            middle = np.float32(0.12 * front)
            along_y = (y - middle) / np.where(y > middle, 0.95 * (front - middle), 1.05 * (back + middle))
            lateral, rear, ahead = 86 * s, 122 * s, 42 * s
            fall = np.where(side * x > 0.52 * width, lateral, 17 * s) * np.abs(across) ** 2.1
            fall = fall + np.where(y > middle, ahead * np.abs(along_y) ** 2.8, rear * np.abs(along_y) ** 2.0)
            heights.append(top - fall * np.float32(0.55 + 0.45 * self.inspiration))
        soft = 10 * s  # where the domes meet, under the heart, the higher one passes over smoothly
        a, b = heights
        out: Floats = np.maximum(a, b) + soft * np.log1p(np.exp(-np.abs(a - b) / soft))
        return out.astype(np.float32)


def random_trunk(rng: np.random.Generator) -> Trunk:
    """Draw a person."""
    female = bool(rng.random() < 0.5)
    height = float(np.clip(rng.normal(1.63 if female else 1.76, 0.075), 1.45, 1.98))
    bmi = float(np.clip(np.exp(rng.normal(np.log(26), 0.19)), 16.5, 46))
    age = float(rng.uniform(18, 90))
    scale = height / 1.72
    inspiration = float(np.clip(rng.normal(0.75, 0.22), 0.0, 1.15))
    fat = 3.5 + max(bmi - 17, 0) * (1.6 if female else 1.2) * float(np.exp(rng.normal(0, 0.22)))
    visceral = float(np.clip((bmi - 16) / 18 * (0.7 if female else 1.0) + rng.normal(0, 0.18), 0.05, 1.2))
    z = _landmarks(rng, scale, inspiration)
    vertebrae = _vertebrae(rng, scale, z, age, female=female)
    inner, muscle, skin = _shells(rng, scale, bmi, fat, visceral, _stoop(vertebrae, scale, z), female=female)
    aside = float(rng.normal(0, 3 if rng.random() < 0.85 else 14)) * scale
    return Trunk(
        female=female,
        age=age,
        height_m=height,
        bmi=bmi,
        scale=scale,
        inspiration=inspiration,
        contrast=str(rng.choice(["native", "arterial", "portal"], p=[0.4, 0.2, 0.4])),
        arms="up" if rng.random() < 0.85 else "down",
        visceral=visceral,
        fat_mm=fat,
        left_dome_mm=float(rng.normal(-14, 9)) * scale,
        z=z,
        vertebrae=vertebrae,
        inner=inner,
        muscle=muscle,
        skin=skin,
        aside_mm=aside,
    )


def _landmarks(rng: np.random.Generator, scale: float, inspiration: float) -> dict[str, float]:
    """Heights: what belongs to the thorax rises over the dome with a deep breath."""
    lift = 60 * (inspiration - 0.75) * scale
    shift = float(rng.normal(0, 7)) * scale
    thorax = {"apex": 212, "notch": 166, "arch": 142, "carina": 112, "heart": 35, "xiphoid": -14}
    below = {"costal_margin": -118, "iliac_crest": -196, "hip": -345, "pelvic_floor": -400, "bottom": -440}
    z = {name: h * scale + lift + shift for name, h in thorax.items()}
    z |= {name: h * scale + lift + shift for name, h in below.items()}
    return z | {"neck": 290 * scale + lift + shift, "shift": lift + shift}


def _vertebrae(
    rng: np.random.Generator, scale: float, z: dict[str, float], age: float, *, female: bool
) -> tuple[Vertebra, ...]:
    """The spine: kyphosis in the chest, lordosis below, vertebrae shrinking with age."""
    size = float(np.exp(rng.normal(0, 0.05))) * (0.93 if female else 1.03)
    top = (218 + float(rng.normal(0, 6))) * scale + z["shift"]
    kyphosis = float(np.clip(rng.normal(26 + 0.15 * (age - 40), 7), 10, 50)) * scale
    lordosis = float(np.clip(rng.normal(26, 8), 6, 48)) * scale
    center = top
    out = []
    for name in LEVELS:
        pitch, wide, deep = VERTEBRA_MM[name]
        pitch *= scale * (1 - 0.0006 * (age - 40))
        disc = (0.13 if name[0] == "T" else 0.24) * pitch * float(np.exp(rng.normal(0, 0.15)))
        y = _spine_curve((center - z["shift"]) / scale, kyphosis, lordosis)
        ahead = _spine_curve((center - z["shift"]) / scale + 5, kyphosis, lordosis)
        half = (wide * scale * size, deep * scale * size, (pitch - disc) / 2)
        out.append(Vertebra(name, (0.0, y, center), half, (ahead - y) / (5 * scale)))
        following = VERTEBRA_MM[LEVELS[min(LEVELS.index(name) + 1, len(LEVELS) - 1)]][0]
        center -= (pitch + following * scale) / 2
    return tuple(out)


def _spine_curve(z: float, kyphosis: float, lordosis: float) -> float:
    """Depth y of the vertebral bodies: furthest back at T7, furthest forward at L3 and at the neck."""
    back = np.exp(-(((z - 85) / 95) ** 2))
    forward = np.exp(-(((z + 165) / 75) ** 2))
    return float(-44 - kyphosis * back + 0.6 * lordosis * forward - 10 * np.exp(-(((z + 260) / 60) ** 2)))


def _stoop(vertebrae: tuple[Vertebra, ...], scale: float, z: dict[str, float]) -> tuple[Doubles, Doubles]:
    """Heights (ascending, mm / scale) and how much further back than usual the spine is there, mm."""
    heights = np.array([(v.center_mm[2] - z["shift"]) / scale for v in vertebrae[::-1]])
    usual = np.array([_spine_curve(h, 28 * scale, 26 * scale) for h in heights])
    return heights, usual - np.array([v.center_mm[1] for v in vertebrae[::-1]])


def _shells(
    rng: np.random.Generator,
    scale: float,
    bmi: float,
    fat: float,
    visceral: float,
    stoop: tuple[Doubles, Doubles],
    *,
    female: bool,
) -> tuple[Shell, Shell, Shell]:
    """Inner wall, muscle and skin."""
    low = -460 * scale
    z = np.arange(low, 320 * scale, STEP_MM)
    u = z / scale
    wide, front, back = along(INNER_MM, u)
    build = float(np.exp(rng.normal(0, 0.035))) * (0.94 if female else 1.02) * (1 + 0.004 * (bmi - 25))
    deep = float(np.exp(rng.normal(0, 0.06)))
    belly = 30 * (visceral - 0.35) * np.exp(-(((u + 150) / 95) ** 2))
    wide = scale * (wide * build + 0.35 * belly)
    front = scale * (front * build * deep + belly)
    further = np.interp(u, *stoop) * np.exp(-(((u - 70) / 130) ** 4))  # a bent back takes the ribs along
    back = scale * back * build * deep**0.5 + 0.8 * further
    table = outline(wide, front, back, float(rng.uniform(2.1, 2.6)), float(rng.uniform(2.3, 3.0)))
    table += ripples(rng, len(z), 2.2 * scale) * (u < 190)
    inner = Shell(np.maximum(table, 15).astype(np.float32), low)
    strength = (0.9 if female else 1.08) * float(np.exp(rng.normal(0, 0.1))) * (1 + 0.006 * (bmi - 25))
    muscle = inner.thicker(strength * scale * around(*along(WALL_MM, u)))
    layer = fat * around(*along(FAT_SHAPE, u))
    hips = 8.0 * np.exp(-(((u + 330) / 80) ** 2)) if female else np.zeros_like(u)
    bulge = ripples(rng, len(z), 0.22 * fat)
    skin = muscle.thicker(np.maximum(layer + around(0 * u, hips, 0.5 * hips) + bulge, 2.0) + 1.5)
    return inner, *_lying(muscle, skin, scale)


def _lying(muscle: Shell, skin: Shell, scale: float) -> tuple[Shell, Shell]:
    """The back pressed towards one plane, as it lies on a table: hardly at the waist, not at the neck."""
    z = skin.heights_mm / scale
    back = skin.radius_mm[3 * DIRECTIONS // 4]
    resting = (z > -380) & (z < 150)
    plane = float(np.quantile(back[resting], 0.6))
    weight = 0.7 / (1 + np.exp((z - 165) / 14)) / (1 + np.exp(-(z + 400) / 14))
    push = around(0 * z, 0 * z, (plane - back) * weight)
    return muscle.thicker(0.7 * push), skin.thicker(push)
