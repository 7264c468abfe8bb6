"""Paints a section through the heart in front of a phased probe, as this patient lets it be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw
from scipy.ndimage import gaussian_filter

from trifocal.keypoints.phantoms.canvas import Canvas
from trifocal.keypoints.phantoms.section import BLOOD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.keypoints.phantoms.scene import Probe, Scene
    from trifocal.keypoints.phantoms.section import Section

    Floats = NDArray[np.float64]

FINER = 2  # outlines are drawn that much finer than the scene's grid, and averaged
WALL_DEPTHS = 3  # most sheets of the chest wall


@dataclass(frozen=True)
class Habit:
    """What a patient and a window do to an image.

    Attributes:
        blood: Scatter of blood.
        tissue: Factor of everything else.
        surroundings: Factor of what is around the heart.
        surfaces: Factor of every surface's echo.
        edge_mm: Deviation of the edges' blur.
        patches: How uneven tissue is: of the fine and the coarse part.
        chest: (N, 2) depth in mm and strength of the sheets of the chest wall.
        chest_mm: Thickness of the chest wall.
        lung: How far into the landmarks' beams the lung reaches at the left and at the right: share of the
            sector; negative for a free margin.
        lung_loss: dB per mm in the lung.
        lung_start: Depth where the lung begins, mm.
        shadows: (N, 3) beam (-1 to 1), deviation of its width, dB that are lost.
        dimming: dB per mm that the time gain compensation does not make up for.
    """

    blood: float
    tissue: float
    surroundings: float
    surfaces: float
    edge_mm: float
    patches: tuple[float, float]
    chest: tuple[tuple[float, float], ...]
    chest_mm: float
    lung: tuple[float, float]
    lung_loss: float
    lung_start: float
    shadows: tuple[tuple[float, float, float], ...]
    dimming: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Habit:
        """From a good window to a poor one."""
        chest_mm = float(rng.uniform(4, 16))
        sheets = int(rng.integers(1, WALL_DEPTHS + 2))
        count = int(rng.choice(4, p=[0.45, 0.3, 0.15, 0.1]))
        return cls(
            blood=float(10 ** rng.uniform(-2.0, -0.95)),
            tissue=float(rng.uniform(0.55, 1.25)),
            surroundings=float(np.exp(rng.uniform(np.log(0.12), np.log(1.3)))),
            surfaces=float(rng.uniform(0.45, 1.3)),
            edge_mm=float(rng.uniform(0.25, 0.8)),
            patches=(float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.1, 0.45))),
            chest=tuple(
                (float(d), float(rng.uniform(0.6, 3))) for d in rng.uniform(0.15, 1.0, sheets) * chest_mm
            ),
            chest_mm=chest_mm,
            lung=(float(rng.normal(-0.05, 0.1)), float(rng.normal(-0.05, 0.1))),
            lung_loss=float(rng.choice([0.02, rng.uniform(0.05, 0.5)])),
            lung_start=float(rng.uniform(10, 45)),
            shadows=tuple(
                (float(rng.uniform(-1, 1)), float(rng.uniform(0.03, 0.12)), float(rng.uniform(3, 13)))
                for _ in range(count)
            ),
            dimming=float(rng.uniform(-0.02, 0.06)),
        )


def paint(section: Section, probe: Probe, habit: Habit, rng: np.random.Generator) -> Scene:
    """The scene of a section that lies in front of the probe.

    Args:
        section: In the probe's frame.
        probe: What looks at it.
        habit: How well.
        rng: For the texture; the same state gives the same texture.
    """
    canvas = Canvas(probe, rng)
    uneven = habit.patches[0] * canvas.texture(3.0) + habit.patches[1] * canvas.texture(16.0)
    blur = habit.edge_mm / canvas.step_mm
    scatter = gaussian_filter(_scatter(section, canvas, habit), blur, truncate=2.5)
    canvas.scatter = scatter * np.exp(uneven)
    echo = gaussian_filter(_echo(section, canvas, habit), 0.35 * blur + 0.3, truncate=2.5)
    canvas.echo = echo * np.exp(1.3 * uneven)
    canvas.loss = _loss(section, canvas, habit)
    low, high = section.points.min(axis=0), section.points.max(axis=0)
    margin = max(0.12 * float((high - low).max()) + 6, (70 - float((high - low).max())) / 2)
    (left, top), (right, bottom) = (low - margin).tolist(), (high + margin).tolist()
    return canvas.scene(section.points, focus_mm=(left, top, right, bottom))


def _scatter(section: Section, canvas: Canvas, habit: Habit) -> NDArray[np.float32]:
    """(rows, columns) of the scatterers: chest wall, surroundings, the heart's tissues."""
    around = section.surroundings * habit.surroundings
    picture, draw = _sheet(canvas, around)
    beam = np.linspace(-1.2, 1.2, 30)
    wall = np.concatenate(
        [canvas.probe.position(beam, 0.0), canvas.probe.position(beam, habit.chest_mm)[::-1]]
    )
    draw.polygon(_fine(canvas, wall), fill=0.9)
    for tissue in section.tissues:
        level = habit.blood if tissue.scatter == BLOOD else tissue.scatter * habit.tissue
        draw.polygon(_fine(canvas, tissue.outline), fill=float(level))
    return np.asarray(picture.reduce(FINER), np.float32)


def _echo(section: Section, canvas: Canvas, habit: Habit) -> NDArray[np.float32]:
    """(rows, columns) of the surfaces: sheets of the chest wall, then the heart's own, brightest last."""
    picture, draw = _sheet(canvas, 0.0)
    for depth, strength in habit.chest:
        sheet = canvas.probe.position(np.linspace(-1.1, 1.1, 30), depth)
        draw.line(_fine(canvas, sheet), fill=float(strength), width=_pixels(canvas, 0.7))
    for surface in section.surfaces:
        cos = canvas.facing(surface.path)
        shine = surface.diffuse + (1 - surface.diffuse) * cos**surface.specular
        value = habit.surfaces * np.asarray(surface.strength) * shine
        fine, width = _fine(canvas, surface.path), _pixels(canvas, surface.width_mm)
        for i in range(len(fine) - 1):
            draw.line(fine[i : i + 2], fill=float((value[i] + value[i + 1]) / 2), width=width)
    return np.asarray(picture.reduce(FINER), np.float32)


def _loss(section: Section, canvas: Canvas, habit: Habit) -> NDArray[np.float32]:
    """(rows, columns) dB per mm: lung at the sides, ribs and poor contact as shadows."""
    probe = canvas.probe
    x, y = canvas.x[None, :], canvas.y[:, None] + np.float32(probe.radius_mm)
    beam = np.arctan2(x, y) / np.float32(np.deg2rad(probe.half_angle_deg))
    depth = np.hypot(x, y) - np.float32(probe.radius_mm)
    seen = probe.beam_depth(np.concatenate([section.points, section.context]))[0]
    left, right = float(seen.min()) + habit.lung[0], float(seen.max()) - habit.lung[1]
    outside = np.clip((np.maximum(left - beam, beam - right)) / 0.12, 0, 1)
    loss = habit.lung_loss * outside * (depth > habit.lung_start) + np.float32(habit.dimming)
    near = (depth > 1.0) & (depth < 6.0)
    for at, width, decibel in habit.shadows:
        loss += near * np.float32(decibel / 5.0) * np.exp(-0.5 * ((beam - at) / width) ** 2)
    return np.asarray(loss, np.float32)


def _sheet(canvas: Canvas, level: float) -> tuple[Picture.Image, ImageDraw.ImageDraw]:
    """An empty picture over the canvas, and what draws on it."""
    rows, columns = canvas.scatter.shape
    picture = Picture.new("F", (columns * FINER, rows * FINER), level)
    return picture, ImageDraw.Draw(picture)


def _fine(canvas: Canvas, points: Floats) -> list[tuple[float, float]]:
    """Points (N, 2) mm as (x, y) in the finer pixels."""
    start = np.array([canvas.x[0], canvas.y[0]])
    fine = ((points - start) / canvas.step_mm + 0.5) * FINER - 0.5
    return [(x, y) for x, y in fine.tolist()]


def _pixels(canvas: Canvas, width_mm: float) -> int:
    return max(1, round(width_mm / canvas.step_mm * FINER))
