"""The heart with its chambers and its fat, and the oesophagus behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.phantoms.canvas import Canvas, ellipsoid, tube
from trifocal.xray.phantoms.great_vessels import great_vessels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.canvas import Region
    from trifocal.xray.phantoms.great_vessels import Vessel
    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

# chamber: centre from the middle of the heart (x, y, z), radii, how far its wall is (mm), contrast
CHAMBERS = {
    "left ventricle": ((-42, -10, -6), (59, 37, 37), 10.0),
    "right ventricle": ((-3, 22, -8), (54, 30, 38), 4.0),
    "right atrium": ((38, -4, 6), (27, 34, 41), 2.5),
    "left atrium": ((4, -46, 20), (40, 28, 32), 2.5),
}
BLOOD_HU = {  # pulmonary side and right heart, aorta and left heart, upper vena cava
    "native": (42.0, 42.0, 42.0),
    "arterial": (290.0, 330.0, 420.0),
    "portal": (150.0, 160.0, 155.0),
}


@dataclass(frozen=True, eq=False)
class Heart:
    """The heart of one trunk.

    Attributes:
        center_mm: (3,).
        size: Against a usual heart.
        deep: How far its chambers lie apart from front to back, as the chest allows.
        axes: (3, 3) columns: the ventricles' long axis (from the apex to the base), forward, up.
        right_hu: Blood of the right side.
        left_hu: Blood of the left side.
        muscle_hu: Of the wall.
        vessels: By name.
        fat_mm: Between muscle and pericardium.
    """

    center_mm: Doubles
    size: float
    deep: float
    axes: Doubles
    right_hu: float
    left_hu: float
    muscle_hu: float
    vessels: dict[str, Vessel]
    fat_mm: float

    def distance(self, region: Region) -> Floats:
        """Signed distance to the pericardium and the great vessels with the fat around them."""
        out: Floats = self.envelope(region) - np.float32(self.fat_mm)
        # under its widest section no lung comes between heart and diaphragm: fat does
        low = np.float32(self.center_mm[2] - 14 * self.size)
        under = replace(region, z=np.maximum(region.z, low))
        out = np.minimum(out, self.envelope(under) - np.float32(self.fat_mm - 2))
        for vessel in self.vessels.values():
            around = tube(region, vessel.points_mm, vessel.radii_mm + 2.5)
            np.minimum(out, around, out=out)
        return out

    def envelope(self, region: Region) -> Floats:
        """Signed distance to the muscle's outer face: the chambers, smoothly joined."""
        parts = [self.chamber(region, name) for name in CHAMBERS]
        soft = np.float32(6 * self.size)
        total = np.exp(-np.clip(np.stack(parts) / soft, -30, 30)).sum(0)
        out: Floats = (-soft * np.log(total)).astype(np.float32)
        return out

    def chamber(self, region: Region, name: str, shrunk_mm: float = 0.0) -> Floats:
        """Signed distance to one chamber's outer face, or to a face `shrunk_mm` inside it."""
        offset, radii, _ = CHAMBERS[name]
        center = self.center_mm + self.size * np.multiply(offset, (1.0, self.deep, 1.0))
        turn = self.axes if "ventricle" in name else None
        return ellipsoid(region, center, self.size * np.asarray(radii, float) - shrunk_mm, turn)


def random_heart(trunk: Trunk, rng: np.random.Generator) -> Heart:
    """A heart for a trunk: larger with age and weight, more upright with a deep breath."""
    s = trunk.scale
    size = s * (0.93 if trunk.female else 1.0) * (0.9 + 0.0016 * (trunk.age - 20) + 0.004 * (trunk.bmi - 25))
    size *= float(np.exp(rng.normal(0, 0.06))) * (1.2 if rng.random() < 0.08 else 1.0)
    front = float(trunk.inner.radius(np.pi / 2, 20 * s))
    drop = 8 * (trunk.inspiration - 0.75)
    room = front - float(trunk.spine_y(40 * s)) - 18 * s  # from the sternum to the spine
    deep = float(np.clip(room / (145 * size), 0.75, 1.1))
    y = front - ((35 + rng.normal(0, 3)) + 27 * deep) * size
    dome = 0.35 * trunk.left_dome_mm + 0.65 * float(trunk.diaphragm(-30 * s, y))
    height = dome + (35 - drop + rng.normal(0, 3)) * size
    center = np.array([(-20 + rng.normal(0, 5)) * s + trunk.aside_mm, y, height])
    steep = np.deg2rad(24 + 22 * trunk.inspiration + rng.normal(0, 7))  # of the long axis, towards the feet
    turn = np.deg2rad(38 + rng.normal(0, 7))  # towards the front
    long = np.array([np.cos(steep) * np.cos(turn), -np.cos(steep) * np.sin(turn), np.sin(steep)])
    up = np.array([0, 0, 1.0]) - long * long[2]
    up /= np.linalg.norm(up)
    axes = np.stack([long, np.cross(up, long), up], axis=1)
    right, left, cava = BLOOD_HU[trunk.contrast]
    if trunk.contrast != "native":
        right, left, cava = (float(h * np.exp(rng.normal(0, 0.2))) for h in (right, left, cava))
        cava = float(rng.uniform(600, 1500)) if rng.random() < 0.15 else cava
    muscle = {"native": 44.0, "arterial": 85.0, "portal": 105.0}[trunk.contrast] + float(rng.normal(0, 4))
    vessels = great_vessels(trunk, center, size, (right, left, cava), rng)
    return Heart(center, size, deep, axes, right, left, muscle, vessels, (2 + 4 * trunk.visceral) * s)


def paint_heart(canvas: Canvas, trunk: Trunk, heart: Heart, rng: np.random.Generator) -> None:
    """Fat, muscle, chambers, vessels, the oesophagus and, in the old, calcium."""
    reach = 112 * heart.size
    box = canvas.box(heart.center_mm - reach, heart.center_mm + reach)
    canvas.paint(box, heart.envelope(box) - np.float32(1.0), heart.muscle_hu, within="thorax")
    for name, (_, _, wall) in CHAMBERS.items():
        hu = heart.left_hu if name.startswith("left") else heart.right_hu
        canvas.paint(box, heart.chamber(box, name, wall * heart.size), hu, within="thorax")
    _paint_oesophagus(canvas, trunk, rng)
    for vessel in heart.vessels.values():
        low, high = vessel.points_mm.min(0) - 24, vessel.points_mm.max(0) + 24
        part = canvas.box(low, high)
        canvas.paint(part, tube(part, vessel.points_mm, vessel.radii_mm + 1.2), 42.0, within="body")
        canvas.paint(part, tube(part, vessel.points_mm, vessel.radii_mm), vessel.hu, within="body")
    if trunk.age > 55 and rng.random() < 0.6:
        _paint_calcium(canvas, heart, rng)


def _paint_oesophagus(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    s = trunk.scale
    heights = np.array([trunk.z["neck"], trunk.z["notch"], trunk.z["carina"], 30 * s, -20 * s])
    x = np.array([-2, -5, -6, -4, -14]) * s
    y = trunk.spine_y(heights) + np.array([20, 22, 25, 28, 34]) * s
    points = np.stack([x, y, heights], axis=1)
    box = canvas.box(points.min(0) - 12, points.max(0) + 12)
    canvas.paint(box, tube(box, points, rng.uniform(7, 11) * s), 36.0, within="body")
    if rng.random() < 0.4:
        start = int(rng.integers(0, 4))
        part = points[start : start + 2]
        canvas.paint(box, tube(box, part, rng.uniform(2, 4.5) * s), -700.0, within="body")


def _paint_calcium(canvas: Canvas, heart: Heart, rng: np.random.Generator) -> None:
    """Specks in the wall of the aorta."""
    aorta = heart.vessels["aorta"]
    for _ in range(int(rng.integers(2, 14))):
        n = int(rng.integers(3, len(aorta.points_mm)))
        off = rng.normal(size=3)
        place = aorta.points_mm[n] + off / np.linalg.norm(off) * aorta.radii_mm[n]
        radii = rng.uniform(1.5, 4, 3)
        box = canvas.box(place - 6, place + 6)
        canvas.paint(box, ellipsoid(box, place, radii), rng.uniform(300, 800), within="body")
