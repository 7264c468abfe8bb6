"""The box of a CT in which it is projected and reconstructed, and its projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.image import Image, ImageError
from trifocal.io.checks import check_memory
from trifocal.predictor import Progress, silent
from trifocal.xray.attenuation import AIR_HU, hu_to_mu
from trifocal.xray.grid import Grid, average_onto, reoriented
from trifocal.xray.projection import Projector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.xray.geometry import Geometry

MOST_MM = 450.0
"""Longest edge of a box: wider than nearly every trunk, and as wide as a large detector sees."""

MOST_VOXELS = 256
"""Along an axis of the CT that is projected."""

_BODY_HU = -300.0


def plan_grid(ct: Image, voxels: int = 64) -> Grid:
    """The box in which a CT is reconstructed: its own extent, cubic voxels, `voxels` along the longest edge.

    An edge longer than 450 mm is cut there, about the body's centre. What is left of a shorter edge after its
    last whole voxel is cut off at both ends, so that the CT fills every voxel.

    Args:
        ct: HU; oblique axes are allowed, the box is upright.
        voxels: Along the longest edge.

    Raises:
        ImageError: If it is not a CT in HU.
    """
    _check_hu(ct)
    upright = upright_ct(ct)
    full = upright.spacing_mm * upright.shape
    extent = np.minimum(full, MOST_MM)
    low = upright.affine[:3, 3] - upright.spacing_mm / 2
    center = low + full / 2
    long = full > MOST_MM + 1e-6
    if long.any():
        body = _body_center(upright)
        inside = np.clip(body, low + extent / 2, low + full - extent / 2)
        center = np.where(long, inside, center)
    size = float(extent.max()) / voxels
    i, j, k = (max(int(n), 1) for n in np.floor(extent / size + 1e-6))
    x, y, z = (float(c) for c in center)
    return Grid((i, j, k), (size, size, size), (x, y, z))


def upright_ct(ct: Image) -> Image:
    """The CT with axes along the world's: reordered, or interpolated where they are oblique.

    Raises:
        ImageError: If the interpolated volume does not fit the memory.
    """
    try:
        return reoriented(ct)
    except ImageError:
        pass
    last = np.array(ct.shape) - 1
    corners = np.array(np.meshgrid(*((0, n) for n in last), indexing="ij")).reshape(3, -1).T
    world = ct.index_to_world(corners)
    # each world axis keeps the finest spacing of what runs mostly along it
    share = np.abs(ct.affine[:3, :3]) / ct.spacing_mm
    spacing = np.array([ct.spacing_mm[np.argmax(share[axis])] for axis in range(3)])
    low, high = world.min(0), world.max(0)
    i, j, k = (int(n) for n in np.floor((high - low) / spacing + 1e-6) + 1)
    check_memory(str(ct.notes.get("source", "the CT")), 8 * i * j * k)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = low
    found = ct.resample(affine, (i, j, k), fill=AIR_HU)
    return Image(found.array, affine, ct.unit, {**ct.notes, "upright": "interpolated onto the world's axes"})


def without_padding(ct: Image) -> Image:
    """The CT with nothing below air: what scanners store outside their circle would weigh in averages."""
    if float(ct.array.min()) >= AIR_HU:
        return ct
    return Image(np.maximum(ct.array, ct.array.dtype.type(AIR_HU)), ct.affine, ct.unit, ct.notes)


def project_ct(ct: Image, geometry: Geometry, *, progress: Progress = silent) -> list[NDArray[np.float32]]:
    """Line integrals of a CT within the box of a geometry, at the CT's own resolution.

    The CT is averaged onto at most 256 voxels along each edge of the box, never fewer than the box's own.

    Args:
        ct: HU.
        geometry: Views and box.
        progress: Called before each view.

    Returns:
        (rows, columns) -ln(I / I0) of each view.

    Raises:
        ImageError: If it is not a CT in HU.
    """
    _check_hu(ct)
    upright = without_padding(upright_ct(ct))
    own = np.rint(geometry.grid.extent_mm / upright.spacing_mm).astype(int)
    i, j, k = (int(n) for n in np.maximum(np.minimum(own, MOST_VOXELS), geometry.grid.shape))
    fine = geometry.grid.with_voxels((i, j, k))
    mu = torch.from_numpy(hu_to_mu(average_onto(upright, fine), geometry.energy_kev).astype(np.float32))
    films = []
    for number, view in enumerate(geometry.views):
        progress(number / len(geometry.views), f"projecting the {view.name} view")
        with torch.no_grad():
            films.append(Projector(view, fine).forward(mu).numpy())
    return films


def _body_center(upright: Image) -> NDArray[np.float64]:
    """World position of the middle of what is denser than fat, from every few voxels."""
    step = max(1, int(np.ceil(max(upright.shape) / 128)))
    index = np.argwhere(upright.array[::step, ::step, ::step] > _BODY_HU) * step
    if not len(index):
        return upright.index_to_world((np.array(upright.shape) - 1) / 2)
    return upright.index_to_world(np.median(index, axis=0))


def _check_hu(ct: Image) -> None:
    if ct.unit not in ("HU", ""):
        msg = f"X-rays are projected from a CT in HU, got a volume in {ct.unit}: choose a CT"
        raise ImageError(msg)
    if not np.isfinite(ct.array).all() if ct.array.dtype.kind == "f" else False:
        msg = "the CT has voxels that are not finite: replace them by -1000 (air)"
        raise ImageError(msg)
