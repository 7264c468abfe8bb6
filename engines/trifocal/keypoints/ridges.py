"""Bright lines in an ultrasound frame: how strongly one runs through each pixel, in each direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.transform import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS = 8
"""Directions of a line's normal that are kept apart: multiples of 22.5 degrees."""

_DARK = 4.0  # grey level at or under which a smoothed pixel lies outside the sector
_FLAT = 1e-2  # strength, in grey levels, under which there is no line but rounding


@dataclass(frozen=True, eq=False)
class Ridges:
    """Ridge strengths of a frame that was shrunk to a working size.

    Attributes:
        image: (rows, columns) float32 grey levels.
        inside: (rows, columns) where the sector is.
        strength: (CHANNELS, rows, columns) float32, 0 to 1: of a bright line whose normal has the angle
            180 k / CHANNELS degrees from +x towards +y.
        factor: (x, y) pixels here per pixel of the frame.
    """

    image: NDArray[np.float32]
    inside: NDArray[np.bool_]
    strength: NDArray[np.float32]
    factor: tuple[float, float]

    def along(self, normal: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Strength of lines with these normals at these points, bilinear.

        Args:
            normal: (N, 2) unit vectors.
            points: (N, ..., 2) x, y.

        Returns:
            (N, ...).
        """
        _, rows, columns = self.strength.shape
        shape = (-1,) + (1,) * (points.ndim - 2)
        start = channel(normal).reshape(shape) * (rows * columns)
        return _bilinear(self.strength.ravel(), start, rows, columns, points)

    def grey(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Grey levels at points (..., 2), bilinear."""
        rows, columns = self.image.shape
        return _bilinear(self.image.ravel(), np.zeros((), dtype=np.intp), rows, columns, points)

    def covers(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points (..., 2) lie in the sector."""
        rows, columns = self.inside.shape
        x, y = np.rint(points[..., 0]).astype(np.intp), np.rint(points[..., 1]).astype(np.intp)
        there = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
        covered: NDArray[np.bool_] = there & self.inside[y.clip(0, rows - 1), x.clip(0, columns - 1)]
        return covered


def find_ridges(
    frame: NDArray[np.uint8], side: int, sigmas: tuple[float, ...], full: float, *, local: bool = False
) -> Ridges | None:
    """Ridges of a frame, shrunk (or grown) so that its longer side has `side` pixels.

    The strength is minus the second derivative across the line (Lindeberg, Int J Comput Vis 30:117-156, 1998;
    scale-normalised with gamma = 3/4), the largest over the scales. Outside the sector the image is continued
    smoothly, or the sector's own edge would be a ridge.

    Args:
        frame: (rows, columns) grey.
        side: Pixels of the longer side to work at.
        sigmas: Scales in those pixels.
        full: Percentile of the strengths in the sector that counts as 1.
        local: Divide by the local contrast first: faint lines in dark parts then count like bright ones.

    Returns:
        None if the frame has nothing in it.
    """
    factor = side / max(frame.shape)
    rows, columns = (max(8, round(size * factor)) for size in frame.shape)
    image = resize(
        frame.astype(np.float32), (rows, columns), order=1, anti_aliasing=True, preserve_range=True
    ).astype(np.float32)
    inside = _sector(image)
    if not inside.any():
        return None
    strength = np.zeros((CHANNELS, rows, columns), dtype=np.float32)
    for sigma in sigmas:
        xx, xy, yy = _second_derivatives(image, inside, sigma)
        for k in range(CHANNELS):
            c, s = np.cos(np.pi * k / CHANNELS), np.sin(np.pi * k / CHANNELS)
            np.maximum(strength[k], -(c * c * xx + 2 * c * s * xy + s * s * yy), out=strength[k])
    strength *= inside
    if local:
        mean = ndimage.uniform_filter(image, 15)
        square = ndimage.uniform_filter(image * image, 15)
        strength /= np.sqrt(np.maximum(square - mean * mean, 0) + np.float32(25.0))
    top = float(np.percentile(strength.max(axis=0)[inside], full))
    if top <= _FLAT:
        return None
    np.minimum(strength / top, 1.0, out=strength)
    return Ridges(image, inside, strength, (columns / frame.shape[1], rows / frame.shape[0]))


def channel(normal: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the nearest direction for normals (..., 2), whichever way they point."""
    angle = np.arctan2(normal[..., 1], normal[..., 0])
    return np.rint(angle * (CHANNELS / np.pi)).astype(np.intp) % CHANNELS


def _sector(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the scan is: the largest lit part, filled, without its edge."""
    lit = ndimage.gaussian_filter(image, 1.5) > _DARK
    lit |= ndimage.binary_closing(lit, iterations=4)
    parts, count = ndimage.label(lit)
    if count == 0:
        return np.zeros(image.shape, dtype=np.bool_)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    filled = ndimage.binary_fill_holes(largest)
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(filled, iterations=2, border_value=1)
    return eroded


def _second_derivatives(
    image: NDArray[np.float32], inside: NDArray[np.bool_], sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """d2/dx2, d2/dxdy, d2/dy2 at one scale, times sigma^(3/2)."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), 2 * sigma)
    smooth = ndimage.gaussian_filter(image * inside, 2 * sigma) / np.maximum(weight, 1e-3)
    continued = np.where(inside, image, smooth)
    xx, xy, yy = (
        ndimage.gaussian_filter(continued, sigma, order=order) * np.float32(sigma**1.5)
        for order in ((0, 2), (1, 1), (2, 0))
    )
    return xx, xy, yy


def _bilinear(
    flat: NDArray[np.float32],
    start: NDArray[np.intp],
    rows: int,
    columns: int,
    points: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Values at points (..., 2) of planes that begin at `start` in `flat`; the nearest ones outside."""
    x = points[..., 0].clip(0, columns - 1.001)
    y = points[..., 1].clip(0, rows - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    u, v = (x - column).astype(np.float32), (y - row).astype(np.float32)
    at = start + row * columns + column
    upper = flat.take(at) * (1 - u) + flat.take(at + 1) * u
    lower = flat.take(at + columns) * (1 - u) + flat.take(at + columns + 1) * u
    values: NDArray[np.float32] = (upper * (1 - v) + lower * v).astype(np.float32, copy=False)
    return values
