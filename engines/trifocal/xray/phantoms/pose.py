"""How the person lies on the table: tilt, bends and small folds; the table, and the scanner's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from trifocal.xray.phantoms.canvas import AIR_HU, Canvas
from trifocal.xray.phantoms.kernels import warped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.phantoms.trunk import Trunk

    Floats = NDArray[np.float32]

BEND_MM = 150.0  # between the points of the random deformation
LOW_Z_MM, HIGH_Z_MM = -470.0, 330.0


def posed(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> Canvas:
    """The body tilted by a few degrees, bent sideways and slightly deformed, on a canvas of the same size."""
    degrees = rng.normal(0, [1.6, 1.8, 3.0])
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix().astype(np.float32)
    lattice = rng.normal(0, 3.2, (3, 10, 10, 10)).astype(np.float32)
    heights = canvas.axis(2) / trunk.scale
    curve = float(rng.normal(0, 2 if rng.random() < 0.9 else 7))
    phase = rng.uniform(-60, 60)
    aside = curve * (
        np.cos((heights - 60 + phase) / 320 * 2 * np.pi) - np.cos((phase - 60) / 320 * 2 * np.pi)
    )
    aside = aside * np.exp(-(((heights - 40) / 320) ** 2))
    hu = warped(
        canvas.hu, canvas.low_mm, canvas.spacing_mm, turn, aside.astype(np.float32), lattice, BEND_MM, AIR_HU
    )
    return Canvas(canvas.spacing_mm, canvas.low_mm, hu)


def paint_table(canvas: Canvas, rng: np.random.Generator) -> None:
    """A curved couch with a mattress under the back, where most scans have one."""
    if rng.random() < 0.12:
        return
    x = canvas.axis(0)
    y = canvas.axis(1)
    body = canvas.hu.max(axis=2) > -300  # (X, Y)
    radius = float(rng.choice([260, 330, 420, 600, 4000])) * float(np.exp(rng.normal(0, 0.1)))
    middle = float(rng.normal(0, 8))
    rise = radius - np.sqrt(np.maximum(radius**2 - np.clip(x - middle, -0.9 * radius, 0.9 * radius) ** 2, 0))
    lowest = np.where(body.any(1), y[np.argmax(body, 1)], 1e4)
    near = np.abs(x) < 120
    top = float(np.min((lowest - rise)[near])) - canvas.spacing_mm
    half = float(rng.uniform(190, 265))
    edge = (np.abs(x - middle) - half)[:, None]
    depth = (top + rise)[:, None] - y[None]  # (X, Y) mm under the top
    mattress = float(rng.choice([0, 8, 15, 30]) + rng.uniform(0, 6))
    thick = float(rng.choice([12, 25, 50]) * rng.uniform(0.8, 1.4))
    shell, shell_hu = float(rng.uniform(1.2, 3.0)), float(rng.uniform(-250, 350))
    parts = [
        (-0.0, mattress, float(rng.uniform(-970, -900))),
        (mattress, mattress + thick, float(rng.uniform(-985, -900))),
        (mattress, mattress + shell, shell_hu),
        (mattress + thick - shell, mattress + thick, shell_hu),
    ]
    empty = canvas.hu < -900
    for first, last, hu in parts:
        low = np.clip((depth - first) / canvas.spacing_mm + 0.5, 0, 1)
        high = np.clip((depth - last) / canvas.spacing_mm + 0.5, 0, 1)
        share = (low - high) * np.clip(0.5 - edge / canvas.spacing_mm, 0, 1)
        _over(canvas, share.astype(np.float32), hu, empty)


def _over(canvas: Canvas, share: Floats, hu: float, where: NDArray[np.bool_]) -> None:
    """Mix HU into the rows of the canvas's z, where it is still air."""
    rows = np.nonzero(share.max(0) > 0)[0]
    if not len(rows):
        return
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    view = canvas.hu[:, part]
    view += share[:, part, None] * where[:, part] * (np.float32(hu) - view)


def add_noise(canvas: Canvas, rng: np.random.Generator) -> None:
    """Noise of the scanner, of about 14 HU in voxels of 2 mm and less in larger ones; cut to its range."""
    sigma = float(np.exp(rng.normal(np.log(14), 0.5))) * (2.0 / canvas.spacing_mm) ** 1.2
    canvas.hu += np.float32(sigma) * rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    np.clip(canvas.hu, -1024, 3071, out=canvas.hu)
