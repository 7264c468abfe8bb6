"""A head made ready: its tissue on a regular grid, and the distance of any point to its skin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.morphology import convex_hull_image
from torch.nn.functional import grid_sample

from trifocal.image import Image, ImageError
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trifocal.focus.box import Box

TISSUE_SPACING_MM = 0.75
MASK_SPACING_MM = 2.0
SKIN_MARGIN_MM = 60.0  # how far the distance map reaches beyond the scan
BONE_HU = 250.0
AIR_HU = -500.0  # half-way between air and tissue: where the skin is
SATURATED_HU = 3071
LEAST_BONE_ML = 40.0
LEAST_CAVITY_ML = 300.0  # more air than all sinuses and airways of a head hold


@dataclass(frozen=True, eq=False)
class Head:
    """A head CT, prepared once and then sampled at any number of poses.

    Attributes:
        ct: The volume as it was read, in HU.
        tissue: (2, i, j, k) float32 on a regular RAS grid: HU (0 outside the head), and the fraction of
            each voxel that belongs to the head (the rest is coupling water).
        origin_mm: (3,) world position of tissue voxel (0, 0, 0).
        spacing_mm: Of the tissue grid, along each axis.
        skin: Signed distance to the skin in mm, positive outside, on a 2 mm RAS grid.
        centre_mm: (3,) the point inside the skull that is farthest from bone: a first target.
        warnings: What a user should know of this CT.
    """

    ct: Image
    tissue: torch.Tensor
    origin_mm: NDArray[np.float64]
    spacing_mm: float
    skin: Image
    centre_mm: NDArray[np.float64]
    warnings: tuple[str, ...]

    @classmethod
    def from_image(cls, ct: Image, *, progress: Progress = silent) -> Head:
        """Find the head in a CT, surround it with water and put it on a regular grid.

        The skull is the largest piece of bone. The head is what the skull encloses and the tissue within
        20 mm of it, so that tables and head holders are left out. A skull that holds air (a dry skull, a
        phantom) is taken to be filled with water.

        Raises:
            ImageError: If the CT holds no skull or values that are not finite.
        """
        progress(0.0, "finding the skull")
        coarse = regular_grid(ct, MASK_SPACING_MM, ct.bounds_mm)
        if not np.isfinite(coarse.array).all():
            msg = "the CT holds values that are not numbers (NaN or infinite): export it again"
            raise ImageError(msg)
        skull = _skull(coarse.array)
        enclosed = _enclosed(skull)
        head = _head(coarse.array, enclosed)
        cavity = _empty_cavity(coarse.array, head)
        progress(0.3, "measuring the distance to the skin")
        skin = _signed_distance(coarse, head)
        progress(0.5, "putting the head on a regular grid")
        fine = regular_grid(ct, TISSUE_SPACING_MM, _bounds(coarse, head))
        progress(0.8, "surrounding the head with water")
        tissue = torch.from_numpy(_tissue(fine, skin, coarse, cavity))
        depth = ndimage.distance_transform_edt(enclosed & ~skull)
        centre = coarse.index_to_world(np.unravel_index(depth.argmax(), depth.shape))
        warnings = _saturation(ct)
        if cavity.any():
            warnings += ("the skull holds air: its cavity is taken to be filled with water",)
        progress(1.0, "head ready")
        return cls(ct, tissue, fine.affine[:3, 3], TISSUE_SPACING_MM, skin, centre, warnings)

    @property
    def bounds_mm(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest world coordinate of the tissue grid: the head and 6 mm around it."""
        size = np.array(self.tissue.shape[1:]) - 1
        return np.stack([self.origin_mm, self.origin_mm + size * self.spacing_mm])

    def distance_mm(self, points_mm: ArrayLike) -> NDArray[np.float32]:
        """Signed distance (...) of world points (..., 3) to the skin, positive outside the head."""
        return self.skin.sample(points_mm, fill=SKIN_MARGIN_MM)

    def normal(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Outward unit normal (3,) of the skin at the world point (3,), taken over 8 mm."""
        steps = 4.0 * np.concatenate([np.eye(3), -np.eye(3)])
        distance = self.distance_mm(np.asarray(point_mm, float) + steps).astype(np.float64)
        gradient = distance[:3] - distance[3:]
        normal: NDArray[np.float64] = gradient / max(float(np.linalg.norm(gradient)), 1e-9)
        return normal

    def sample(self, pose: torch.Tensor, box: Box) -> tuple[torch.Tensor, torch.Tensor]:
        """Resample the head into the bowl's box; differentiable with respect to the pose.

        Args:
            pose: (b, 4, 4) bowl frame -> world, on any device.
            box: The grid in the bowl's frame.

        Returns:
            HU and fraction of water, each (b, x, y, z) float32 on the pose's device.
        """
        tissue = self.tissue.to(pose.device)
        size = torch.tensor(tissue.shape[1:], dtype=torch.float64)
        # One affine takes box indices to grid_sample's [-1, 1] coordinates; its order is (k, j, i).
        to_index = torch.eye(4, dtype=torch.float64)
        to_index[:3] /= self.spacing_mm
        to_index[:3, 3] = -torch.from_numpy(self.origin_mm / self.spacing_mm)
        to_unit = torch.eye(4, dtype=torch.float64)
        to_unit[:3] *= (2 / (size - 1))[:, None]
        to_unit[:3, 3] = -1
        placed = pose.double() @ torch.from_numpy(box.affine).to(pose.device)
        matrix = ((to_unit @ to_index).to(pose.device) @ placed).float()
        x, y, z = (torch.arange(n, device=pose.device, dtype=torch.float32) for n in box.shape)
        grid = (
            x[:, None, None, None] * matrix[:, None, None, None, :3, 0]
            + y[:, None, None] * matrix[:, None, None, None, :3, 1]
            + z[:, None] * matrix[:, None, None, None, :3, 2]
            + matrix[:, None, None, None, :3, 3]
        )  # (b, x, y, z, 3)
        batch = tissue[None].expand(len(pose), -1, -1, -1, -1)
        hu, inside = grid_sample(batch, grid.flip(-1), align_corners=True).unbind(1)
        return hu, 1 - inside


def regular_grid(image: Image, spacing_mm: float, bounds_mm: NDArray[np.float64]) -> Image:
    """Resample onto an isotropic RAS grid over bounds (2, 3); finer voxels are averaged first."""
    block = tuple(max(1, int(spacing_mm / s)) for s in image.spacing_mm)
    start, stop = _index_range(image, bounds_mm, block)
    part = image.crop(start, stop)
    array = block_reduce(part.array, block, np.mean) if max(block) > 1 else part.array
    affine = part.affine.copy()
    affine[:3, :3] *= block
    affine[:3, 3] = part.index_to_world((np.array(block) - 1) / 2)
    target = np.diag([spacing_mm] * 3 + [1.0])
    target[:3, 3] = bounds_mm[0]
    shape = np.ceil(np.ptp(bounds_mm, axis=0) / spacing_mm).astype(int) + 1
    # Beyond the scan the nearest values go on: the edge of the scan is no surface.
    averaged = Image(np.asarray(array, np.float32), affine, image.unit)
    matrix = np.linalg.inv(averaged.affine) @ target
    values = ndimage.affine_transform(
        averaged.array, matrix[:3, :3], matrix[:3, 3], tuple(shape), np.float32, 1, "nearest"
    )
    return Image(values, target, image.unit)


def _index_range(
    image: Image, bounds_mm: NDArray[np.float64], block: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices that cover world bounds, in whole blocks."""
    corners = np.array(np.meshgrid(*bounds_mm.T, indexing="ij")).reshape(3, -1).T
    index = image.world_to_index(corners)
    start = np.maximum(np.floor(index.min(0)).astype(int) - 2 * np.array(block), 0)
    stop = np.minimum(np.ceil(index.max(0)).astype(int) + 2 * np.array(block) + 1, image.shape)
    whole = (stop - start) // block * block
    return start, start + np.maximum(whole, 1)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == sizes.argmax()
    return largest


def _ball(radius_mm: float) -> NDArray[np.bool_]:
    r = int(np.ceil(radius_mm / MASK_SPACING_MM))
    x, y, z = np.ogrid[-r : r + 1, -r : r + 1, -r : r + 1]
    ball: NDArray[np.bool_] = (x**2 + y**2 + z**2) * MASK_SPACING_MM**2 <= radius_mm**2
    return ball


def _within(mask: NDArray[np.bool_], distance_mm: float) -> NDArray[np.bool_]:
    """Voxels at most so far from the mask."""
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) * MASK_SPACING_MM <= distance_mm
    return near


def _fill_axial(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    filled = np.stack([ndimage.binary_fill_holes(mask[:, :, k]) for k in range(mask.shape[2])], axis=2)
    return filled


def _skull(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    skull = _largest(hu > BONE_HU)
    bone_ml = skull.sum() * MASK_SPACING_MM**3 / 1e3
    if bone_ml < LEAST_BONE_ML:
        msg = (
            f"the CT holds no skull: {bone_ml:.0f} mL above {BONE_HU:.0f} HU in one piece, expected "
            f"{LEAST_BONE_ML:.0f} mL or more; is this a head CT in Hounsfield units?"
        )
        raise ImageError(msg)
    return skull


def _enclosed(skull: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skull and what lies inside it: the convex hull of each axial slice.

    Filling holes instead fails on real scans: the temporal bone is too thin to be closed at 2 mm, and the
    skull is open at its base.
    """
    slices = [convex_hull_image(s) if s.any() else s for s in np.moveaxis(skull, 2, 0)]
    return np.stack(slices, axis=2)


def _head(hu: NDArray[np.float32], enclosed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    sides = np.concatenate([hu[[0, -1]].ravel(), hu[:, [0, -1]].ravel()])
    head = enclosed
    if (sides < AIR_HU).mean() > 0.2:  # else the surroundings are not air: the skin cannot be told
        head = head | (_within(enclosed, 20.0) & (hu > AIR_HU))
        pad = np.pad(head, 4, mode="edge")
        head = ndimage.binary_opening(pad, _ball(6.0))[4:-4, 4:-4, 4:-4] | enclosed
        head = _fill_axial(_largest(head))
    return head


def _empty_cavity(hu: NDArray[np.float32], head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    air = _largest(head & (hu < AIR_HU))
    if air.sum() * MASK_SPACING_MM**3 / 1e3 < LEAST_CAVITY_ML:
        return np.zeros_like(air)
    return air


def _signed_distance(coarse: Image, head: NDArray[np.bool_]) -> Image:
    margin = int(SKIN_MARGIN_MM / MASK_SPACING_MM)
    padded = np.pad(head, margin)
    distance = ndimage.distance_transform_edt(~padded) - ndimage.distance_transform_edt(padded)
    distance = (distance - 0.5 * np.sign(distance)) * MASK_SPACING_MM
    affine = coarse.affine.copy()
    affine[:3, 3] -= margin * MASK_SPACING_MM
    return Image(ndimage.gaussian_filter(distance, 1.0).astype(np.float32), affine, "mm")


def _bounds(coarse: Image, head: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(2, 3) world bounds of the head and 6 mm around it, within the scan."""
    index = np.argwhere(head)
    low, high = coarse.index_to_world(index.min(0)) - 6, coarse.index_to_world(index.max(0)) + 6
    scan = coarse.bounds_mm
    return np.stack([np.maximum(low, scan[0]), np.minimum(high, scan[1])])


def _tissue(fine: Image, skin: Image, coarse: Image, cavity: NDArray[np.bool_]) -> NDArray[np.float32]:
    """HU and head fraction (2, i, j, k) on the grid of `fine`."""
    distance = skin.resample(fine.affine, fine.shape, fill=SKIN_MARGIN_MM).array
    inside = np.clip(0.5 - distance / MASK_SPACING_MM, 0, 1)
    # Near the skin, and outside, a voxel below 0 HU is part air: for sound it is water there.
    hu = np.where(distance > -4, np.maximum(fine.array, 0), fine.array)
    hu[distance > 3] = 0
    if cavity.any():
        near = Image(_within(cavity, 4.0).astype(np.float32), coarse.affine)
        hollow = near.resample(fine.affine, fine.shape).array > 0.5
        np.maximum(hu, 0, out=hu, where=hollow)
        inside[hollow & (hu < BONE_HU)] = 0
    return np.stack([hu, inside]).astype(np.float32)


def _saturation(ct: Image) -> tuple[str, ...]:
    count = int((ct.array >= SATURATED_HU).sum())
    if not count or ct.array.max() > SATURATED_HU + 1024:  # an extended HU scale does not saturate there
        return ()
    return (
        f"the CT is saturated: {count} voxels at {SATURATED_HU} HU or above, so metal or dense bone is "
        "under-estimated there",
    )
