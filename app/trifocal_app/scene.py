"""The scene in 3-D as a picture, with no window: skull in grey, bowl in red, focal cloud in blue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyvista as pv

from napari_trifocal.meshes import bowl_mesh, shell_mesh, skull_mesh
from trifocal import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.focus.predictor import FocusPrediction

SHELLS = ((0.7, 0.45), (0.5, 0.35), (0.25, 0.12))  # level of the peak, opacity: the target shows inside


def draw_scene_3d(prediction: FocusPrediction, path: Path | str) -> None:
    """Write a picture (PNG) of skull, bowl, focal cloud and target.

    The head is seen from the front and above, from the side that the bowl is on.
    """
    plotter = pv.Plotter(off_screen=True, window_size=[1200, 900])
    plotter.set_background("black")
    head, pose = prediction.inputs.head, prediction.inputs.pose
    plotter.add_mesh(
        as_surface(*skull_mesh(head, 60_000)), color="#f0f0f0", opacity=0.25, ambient=0.3, smooth_shading=True
    )
    vertices, faces = bowl_mesh(prediction.inputs.bowl)
    plotter.add_mesh(as_surface(pose.to_world(vertices), faces), color="#e03030")
    for level, opacity in SHELLS:
        shell = as_surface(*shell_mesh(prediction, level))
        if shell.n_points:
            plotter.add_mesh(shell, color="#3070ff", opacity=opacity)
    if prediction.inputs.target_mm is not None:
        plotter.add_mesh(pv.Sphere(radius=2.0, center=prediction.inputs.target_mm), color="#50ff50")
    found = prediction.figures
    plotter.add_text(
        f"{prediction.engine}: peak {found.peak_pa / 1e3:.0f} kPa, transmission {found.transmission:.2f}",
        font_size=11,
        color="white",
    )
    plotter.add_text(RESEARCH_USE_ONLY, position="lower_right", font_size=8, color="grey")
    plotter.add_axes(xlabel="R", ylabel="A", zlabel="S", color="white")
    side = np.sign(-pose.direction[0]) or 1.0
    middle = head.bounds_mm.mean(0)
    plotter.camera_position = [middle + 520 * _unit([0.75 * side, 0.75, 0.45]), middle, (0, 0, 1)]
    plotter.screenshot(str(path))
    plotter.close()


def as_surface(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> pv.PolyData:
    """Triangles as pyvista takes them; empty if there are none."""
    if not len(faces):
        return pv.PolyData()
    return pv.PolyData(np.asarray(vertices, float), np.insert(faces, 0, 3, axis=1).ravel())


def _unit(vector: list[float]) -> NDArray[np.float64]:
    return np.array(vector) / np.linalg.norm(vector)
