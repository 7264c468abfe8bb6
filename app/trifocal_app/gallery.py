"""Some samples of a data set in 3-D, prediction above truth: skull in grey, bowl in red, cloud in blue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyvista as pv
from scipy import ndimage
from skimage.measure import marching_cubes

from napari_trifocal.meshes import bowl_mesh, decimate
from trifocal import RESEARCH_USE_ONLY
from trifocal_app.scene import SHELLS, as_surface

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.dataset_evaluation.percentiles import GalleryCase
    from trifocal.focus.dataset_evaluation.scene import Scene

    Mesh = tuple[NDArray[np.float32], NDArray[np.int32]]

SKULL_HU = 300.0
SKULL_STEP_MM = 1.5  # of the grid that the skull's surface is drawn from
SKULL_TRIANGLES = 30_000
SKULL, BOWL, CLOUD = "#f0f0f0", "#e03030", "#3070ff"
PANEL = 480
TRUTH, PREDICTION = "truth", "prediction"


@dataclass(frozen=True, eq=False)
class GalleryScene:
    """Surfaces of one sample in mm, in the frame of its cube's affine.

    Attributes:
        title: Percentile and error.
        sample: Its name in the data set.
        skull: Outer and inner surface of the bone inside the cube.
        bowl: The transducer, its axis and a ball at the geometric focus.
        found: Shells of the predicted field at the levels of `SHELLS`, each of its own peak.
        true: The same of the true field.
        viewpoint: (3,) unit vector from the middle to the eye.
        up: (3,) what is upward.
    """

    title: str
    sample: str
    skull: Mesh
    bowl: Mesh
    found: tuple[Mesh, ...]
    true: tuple[Mesh, ...]
    viewpoint: NDArray[np.float64]
    up: NDArray[np.float64]

    @classmethod
    def of(cls, case: GalleryCase) -> GalleryScene:
        """Make the surfaces of a case."""
        scene, pose = case.scene, case.scene.pose
        vertices, faces = bowl_mesh(scene.bowl)
        beam = pose.direction
        # from the side of the beam, so that the focus is seen in its length and the bowl does not hide it
        up = -beam
        across = np.cross(beam, [0.0, 0.0, 1.0] if abs(beam[2]) < 0.9 else [0.0, 1.0, 0.0])
        across /= np.linalg.norm(across)
        eye = across + 0.25 * np.cross(across, beam) + 0.2 * up
        return cls(
            f"{case.percentile:g}th percentile: {case.error_mm:.1f} mm",
            scene.sample.name,
            skull_surface(scene),
            (pose.to_world(vertices).astype(np.float32), faces),
            tuple(shell(scene, case.found, level) for level, _ in SHELLS),
            tuple(shell(scene, scene.truth, level) for level, _ in SHELLS),
            eye / np.linalg.norm(eye),
            up,
        )

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        """(3,) half-way between the bowl and the end of the true cloud."""
        points = np.concatenate([self.bowl[0], *(v for v, _ in self.true)])
        return np.asarray((points.min(0) + points.max(0)) / 2, float)


def skull_surface(scene: Scene, most_triangles: int = SKULL_TRIANGLES) -> Mesh:
    """The bone of a sample's cube as a surface; empty where there is none."""
    sample = scene.sample
    step = max(round(SKULL_STEP_MM / sample.spacing_mm), 1)
    smooth = ndimage.gaussian_filter(np.asarray(sample.ct, np.float32), 0.6 * step)[::step, ::step, ::step]
    if not smooth.min() < SKULL_HU < smooth.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(smooth, SKULL_HU)
    world = vertices * step @ sample.affine[:3, :3].T + sample.affine[:3, 3]
    return decimate(world, faces, most_triangles)


def shell(scene: Scene, field: NDArray[np.floating[Any]], level: float) -> Mesh:
    """The surface at a level of the peak beyond the near skull, from a field (x, y, z) on the box."""
    inside = np.pad(np.where(scene.region, field, 0), 1)
    threshold = level * float(inside.max())
    if not inside.min() < threshold < inside.max():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = marching_cubes(inside, threshold)
    local = np.asarray(scene.box.origin_mm) + scene.box.spacing_mm * (vertices - 1)
    return scene.pose.to_world(local).astype(np.float32), faces.astype(np.int32)


def draw_gallery(path: Path, scenes: Sequence[GalleryScene], title: str) -> None:
    """Write one picture (PNG): a column for each sample, the prediction above the truth.

    Raises:
        ValueError: If there is no sample.
    """
    if not scenes:
        msg = "a gallery must have at least one sample, got none"
        raise ValueError(msg)
    plotter = pv.Plotter(
        off_screen=True, shape=(2, len(scenes)), window_size=[PANEL * len(scenes), 2 * PANEL], border=False
    )
    for column, scene in enumerate(scenes):
        for row, (what, shells) in enumerate(((PREDICTION, scene.found), (TRUTH, scene.true))):
            plotter.subplot(row, column)
            _add(plotter, scene, shells)
            text = f"{scene.title}\n{what}" if row == 0 else f"\n{what}"
            plotter.add_text(text, font_size=9, color="white")
            if row == 1 and column == len(scenes) - 1:
                plotter.add_text(RESEARCH_USE_ONLY, position="lower_right", font_size=6, color="grey")
            if row == 1 and column == 0:
                plotter.add_text(title, position="lower_left", font_size=7, color="grey")
    plotter.screenshot(str(path))
    plotter.close()


def _add(plotter: pv.Plotter, scene: GalleryScene, shells: Sequence[Mesh]) -> None:
    plotter.set_background("black")
    skull = as_surface(*scene.skull)
    if skull.n_points:
        plotter.add_mesh(skull, color=SKULL, opacity=0.18, ambient=0.3, smooth_shading=True)
    plotter.add_mesh(as_surface(*scene.bowl), color=BOWL)
    for mesh, (_, opacity) in zip(shells, SHELLS, strict=True):
        surface = as_surface(*mesh)
        if surface.n_points:
            plotter.add_mesh(surface, color=CLOUD, opacity=opacity)
    middle = scene.middle_mm
    plotter.camera_position = [middle + 330 * scene.viewpoint, middle, scene.up]
