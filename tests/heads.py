"""Small heads with known answers, made in a moment."""

import numpy as np

from trifocal.image import Image


def shell_ct(
    radii_mm=(90.0, 84.0, 78.0),
    hu=(40.0, 1200.0, 35.0),
    spacing_mm=3.0,
    centre_mm=(0.0, 0.0, 0.0),
    flip=False,
):
    """A spherical head: scalp, skull and brain by their outer radii, in air; (i, j, k) in HU.

    `flip` stores i from right to left and j from front to back, as DICOM does.
    """
    size = int(np.ceil(2 * (radii_mm[0] + 15) / spacing_mm))
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = np.array(centre_mm) - (size - 1) / 2 * spacing_mm
    if flip:
        affine[:2] = [[-spacing_mm, 0, 0, -affine[0, 3]], [0, -spacing_mm, 0, -affine[1, 3]]]
        affine[:2, 3] += 2 * np.array(centre_mm)[:2]
    index = np.moveaxis(np.indices((size, size, size)), 0, -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    r = np.linalg.norm(points - centre_mm, axis=-1)
    array = np.full(r.shape, -1000.0, np.float32)
    for radius, value in zip(radii_mm, hu, strict=True):
        # the fraction of the voxel that is inside, so that surfaces lie where they are said to
        inside = np.clip(0.5 + (radius - r) / spacing_mm, 0, 1)
        array += inside * (value - array)
    return Image(array, affine, "HU")
