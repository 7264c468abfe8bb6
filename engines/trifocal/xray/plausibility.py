"""What is odd about a geometry: possible, so it is computed, but the user should look at it."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trifocal.xray.geometry import Geometry
    from trifocal.xray.grid import Grid
    from trifocal.xray.view import View

DISTANCE_MM = (500.0, 4000.0)
PIXEL_MM = (0.05, 5.0)
EDGE_MM = (100.0, 600.0)
_LEAST_COVERED = 0.7


def implausible(geometry: Geometry) -> list[str]:
    """Sentences about what is unusual in a geometry; none where nothing is.

    What is impossible (a source inside the box, numbers that are none) is refused by `Geometry` and `View`.
    """
    said = [text for view in geometry.views for text in _view(view, geometry.grid)]
    edge = geometry.grid.extent_mm
    if edge.max() > EDGE_MM[1] or edge.max() < EDGE_MM[0]:
        said.append(
            f"the box is {_by(edge)} mm: a trunk needs 300 to 450 mm: check the pixel spacing and the box"
        )
    for one, other in combinations(geometry.views, 2):
        said.extend(_pair(one, other, geometry.grid))
    return said


def _view(view: View, grid: Grid) -> list[str]:
    said, distance = [], view.source_to_detector_mm
    if not view.parallel and not DISTANCE_MM[0] <= distance <= DISTANCE_MM[1]:
        said.append(
            f"{view.name}: the source is {distance:.0f} mm from the detector; 1000 to 2000 mm is usual: check"
            " the unit (mm) and the value"
        )
    if not PIXEL_MM[0] <= min(view.pixel_mm) <= max(view.pixel_mm) <= PIXEL_MM[1]:
        said.append(f"{view.name}: a pixel is {_by(view.pixel_mm)} mm; 0.1 to 5 mm is usual: check it")
    if max(view.pixel_mm) > 1.05 * min(view.pixel_mm):
        said.append(f"{view.name}: the pixels are not square ({_by(view.pixel_mm)} mm): check the spacing")
    if abs(view.u_mm @ view.v_mm) > 1e-3 * view.pixel_mm[0] * view.pixel_mm[1]:
        said.append(f"{view.name}: rows and columns do not stand at right angles: check u_mm and v_mm")
    depth = (_corners(grid) - view.source_mm) @ view.normal
    if not view.parallel and depth.min() <= 0:
        said.append(f"{view.name}: the source stands beside the box, not in front of it: check its position")
    elif depth.max() > distance + 1e-6 and not view.parallel:
        said.append(
            f"{view.name}: the box reaches {depth.max() - distance:.0f} mm behind the detector: move the"
            " detector back or make the box smaller"
        )
    covered = _covered(view, grid)
    if covered < _LEAST_COVERED:
        said.append(
            f"{view.name}: the detector sees only {covered:.0%} of the box: check the pixel spacing, the"
            " position of the detector and the size of the box"
        )
    return said


def _pair(one: View, other: View, grid: Grid) -> list[str]:
    said = []
    rays = [np.asarray(grid.center_mm) - v.source_mm if not v.parallel else v.normal for v in (one, other)]
    cosine = rays[0] @ rays[1] / np.prod(np.linalg.norm(rays, axis=1))
    angle = float(np.degrees(np.arccos(np.clip(abs(cosine), 0, 1))))
    if angle < 30:
        said.append(
            f"{one.name} and {other.name} look along nearly the same line ({angle:.0f} degrees apart): they"
            " say little more than one view; 90 degrees is usual"
        )
    elif angle < 60:
        said.append(
            f"{one.name} and {other.name} are {angle:.0f} degrees apart; 90 is usual: check the angles"
        )
    return said


def _covered(view: View, grid: Grid) -> float:
    """Share of a lattice of points in the box that fall on the detector."""
    lattice = np.array(list(product((np.arange(7) + 0.5) / 7, repeat=3)))
    points = grid.low_mm + lattice * grid.extent_mm
    if not view.parallel:
        points = points[(points - view.source_mm) @ view.normal > 1e-6]
    if not len(points):
        return 0.0
    where = view.project(points)
    inside = (where >= -0.5) & (where <= np.array(view.shape) - 0.5)
    return float(inside.all(-1).sum()) / len(lattice)


def _corners(grid: Grid) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    share = np.array(list(product((0.0, 1.0), repeat=3)))
    corners: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = grid.low_mm + share * grid.extent_mm
    return corners


def _by(values: object) -> str:
    return " x ".join(f"{v:.3g}" for v in np.asarray(values, float))
