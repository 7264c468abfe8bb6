"""An ellipse in the image, and how one is fitted to points and to a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LEAST = 6  # points for a fit: five fix an ellipse, the sixth can disagree
_FLATTEST = 0.02  # aspect below which points count as a line


@dataclass(frozen=True)
class Ellipse:
    """An ellipse, in pixels or in millimetres.

    Attributes:
        center: (x, y).
        semi_axes: (long, short), half the axes' lengths.
        angle: Of the long axis, in degrees from +x towards +y (clockwise on the screen), in [0, 180).
    """

    center: tuple[float, float]
    semi_axes: tuple[float, float]
    angle: float

    @property
    def perimeter(self) -> float:
        """By Ramanujan's second formula (Modular equations and approximations to pi, 1914)."""
        a, b = self.semi_axes
        h = ((a - b) / (a + b)) ** 2
        return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))

    def axis_ends(self) -> NDArray[np.float64]:
        """(4, 2) ends of the short axis, then of the long axis."""
        turn = np.deg2rad(self.angle)
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        (a, b), c = self.semi_axes, np.array(self.center)
        return np.stack([c - b * across, c + b * across, c - a * along, c + a * along])

    def outline(self, count: int = 90) -> NDArray[np.float64]:
        """(count, 2) points around it, evenly in the parametric angle."""
        t = np.linspace(0, 2 * np.pi, count, endpoint=False)
        ends = self.axis_ends()
        short, long = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
        points: NDArray[np.float64] = (
            np.array(self.center) + np.cos(t)[:, None] * long + np.sin(t)[:, None] * short
        )
        return points


def ellipse_from_axes(points: NDArray[np.float64]) -> Ellipse:
    """The ellipse of four axis ends (4, 2), of which the first two are one axis and the last two the other.

    Axes that were drawn by hand are neither perpendicular nor do they halve each other: the centre is the
    mean of the four points, the longer axis gives the angle, the lengths stay as drawn.

    Raises:
        ValueError: If a point is missing or an axis has no length.
    """
    points = np.asarray(points, dtype=np.float64)
    axes = points[[1, 3]] - points[[0, 2]]
    lengths = np.linalg.norm(axes, axis=1)
    if not np.isfinite(points).all() or not (lengths > 0).all():
        msg = f"the four ends of an ellipse's axes must be finite and apart, got {points.tolist()}"
        raise ValueError(msg)
    longer = int(lengths[1] >= lengths[0])
    x, y = points.mean(axis=0)
    semi_axes = (float(lengths.max()) / 2, float(lengths.min()) / 2)
    return Ellipse((float(x), float(y)), semi_axes, _angle(axes[longer]))


def scaled(ellipse: Ellipse, sx: float, sy: float, fixed: float = 0.0) -> Ellipse:
    """The ellipse after x is multiplied by one factor and y by another: an ellipse again, exactly.

    Args:
        ellipse: In the old coordinates.
        sx: Factor along x, more than 0.
        sy: Factor along y, more than 0.
        fixed: The coordinate, x and y, that stays where it is: 0 for pixels to millimetres; -0.5, the corner
            of the image, for one pixel grid to another (whole numbers are pixels' centres).

    Raises:
        ValueError: If a factor is not positive.
    """
    if not (np.isfinite([sx, sy]).all() and min(sx, sy) > 0):
        msg = f"scale factors of an ellipse must be positive, got {sx} and {sy}"
        raise ValueError(msg)
    a, b = ellipse.semi_axes
    turn = np.deg2rad(ellipse.angle)
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    # The points are centre + M u, u on the unit circle; the axes of S M are its left singular vectors.
    matrix = np.diag([sx, sy]) @ np.stack([a * along, b * across], axis=1)
    directions, lengths, _ = np.linalg.svd(matrix)
    x, y = ((np.array(ellipse.center) - fixed) * (sx, sy) + fixed).tolist()
    return Ellipse((x, y), (float(lengths[0]), float(lengths[1])), _angle(directions[:, 0]))


def fit_ellipse(points: ArrayLike) -> Ellipse:
    """Direct least-squares fit of an ellipse.

    Halir and Flusser, "Numerically stable direct least squares fitting of ellipses", WSCG 1998: the fit of
    Fitzgibbon, Pilu and Fisher (IEEE TPAMI 21, 1999) with the scatter matrix cut into its quadratic and its
    linear part. It minimises the algebraic distance under 4AC - B^2 = 1: always an ellipse, under noise
    slightly too small.

    Args:
        points: (N, 2) x, y; at least six.

    Raises:
        ValueError: If they are too few, not finite, or lie on a line.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < _LEAST or not np.isfinite(array).all():
        msg = f"an ellipse must be fitted to at least {_LEAST} finite points (N, 2), got shape {array.shape}"
        raise ValueError(msg)
    middle = array.mean(axis=0)
    size = float(np.abs(array - middle).max())
    if size > 0:
        conic = _halir_flusser((array - middle) / size)
        fitted = None if conic is None else _from_conic(conic)
        if fitted is not None and fitted.semi_axes[1] >= _FLATTEST * fitted.semi_axes[0]:
            x, y = (middle + size * np.array(fitted.center)).tolist()
            a, b = fitted.semi_axes
            return Ellipse((x, y), (size * a, size * b), fitted.angle)
    msg = f"points for an ellipse must not lie on a line or in one place, got {len(array)} that do"
    raise ValueError(msg)


def ellipse_of_mask(mask: ArrayLike, level: float = 0.5) -> Ellipse | None:
    """The ellipse of the largest connected part of a soft mask.

    It is fitted to the contour at `level` between the pixels (marching squares). Points on the border of the
    image are left out: a head that the border cuts off has no rim there. Bumps are handled by one second fit
    without the points that lie far from the first.

    Args:
        mask: (rows, columns), 0 to 1.
        level: Of the contour.

    Returns:
        The ellipse in pixels of the mask (whole numbers at their centres), or None where there is nothing to
        fit.

    Raises:
        ValueError: If the mask is not a finite image.
    """
    array = np.asarray(mask, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        msg = f"a mask must be a finite image (rows, columns), got shape {array.shape}"
        raise ValueError(msg)
    rim = _rim(array, level)
    try:
        first = fit_ellipse(rim)
        far = np.abs(rim_distance(first, rim))
        near = far <= max(3.0 * float(np.median(far)), 0.5)
        return fit_ellipse(rim[near]) if near.sum() >= max(_LEAST, len(rim) // 2) else first
    except ValueError:
        return None


def rim_distance(ellipse: Ellipse, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) signed distance of points (N, 2) from the rim to first order (Sampson 1982), positive outside."""
    turn = np.deg2rad(ellipse.angle)
    along = np.array([np.cos(turn), np.sin(turn)])
    offset = points - np.array(ellipse.center)
    u, v = offset @ along, offset @ np.array([-along[1], along[0]])
    a, b = ellipse.semi_axes
    value = (u / a) ** 2 + (v / b) ** 2
    slope = 2.0 * np.hypot(u / a**2, v / b**2)
    # At the centre the slope is 0: the nearest rim is then at the end of the short axis.
    distance: NDArray[np.float64] = np.where(
        slope > 1e-12 / b, (value - 1.0) / np.maximum(slope, 1e-300), -b
    ).clip(-b, None)
    return distance


def _rim(mask: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """(N, 2) x, y of the outer contour of the largest part, off the border; empty if there is none."""
    parts, count = ndimage.label(mask >= level, structure=np.ones((3, 3)))
    if count == 0 or min(mask.shape) < 2:
        return np.empty((0, 2))
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    alone = np.where((parts > 0) & ~largest, 0.0, mask)
    alone[ndimage.binary_fill_holes(largest) & ~largest] = 1.0  # an ellipse has no inner contour
    contours = find_contours(alone, level)
    if not contours:
        return np.empty((0, 2))
    rows, columns = np.concatenate(contours).T
    height, width = mask.shape
    inside = (rows >= 1) & (rows <= height - 2) & (columns >= 1) & (columns <= width - 2)
    return np.stack([columns[inside], rows[inside]], axis=1)


def _halir_flusser(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(6,) coefficients of Ax^2 + Bxy + Cy^2 + Dx + Ey + F, or None if no ellipse comes out."""
    x, y = points.T
    quadratic = np.stack([x * x, x * y, y * y], axis=1)
    linear = np.stack([x, y, np.ones_like(x)], axis=1)
    s1, s2, s3 = quadratic.T @ quadratic, quadratic.T @ linear, linear.T @ linear
    if np.linalg.cond(s3) > 1e12:
        return None
    to_linear = -np.linalg.solve(s3, s2.T)
    m = s1 + s2 @ to_linear
    reduced = np.stack([m[2] / 2, -m[1], m[0] / 2])  # by the inverse of the constraint matrix
    _, vectors = np.linalg.eig(reduced)
    vectors = np.real(vectors)
    inside = 4 * vectors[0] * vectors[2] - vectors[1] ** 2
    if not (inside > 0).any():
        return None
    best = vectors[:, int(np.argmax(inside))]
    return np.concatenate([best, to_linear @ best])


def _from_conic(conic: NDArray[np.float64]) -> Ellipse | None:
    """The ellipse of a conic's six coefficients, or None if it is imaginary."""
    a, b, c, d, e, f = conic if conic[0] > 0 else -conic
    quadratic = np.array([[a, b / 2], [b / 2, c]])
    center = np.linalg.solve(2 * quadratic, [-d, -e])
    level = center @ quadratic @ center - f
    values, directions = np.linalg.eigh(quadratic)  # ascending: the long axis first
    if level <= 0 or values[0] <= 0:
        return None
    long, short = np.sqrt(level / values)
    return Ellipse(
        (float(center[0]), float(center[1])), (float(long), float(short)), _angle(directions[:, 0])
    )


def _angle(direction: NDArray[np.float64]) -> float:
    """Of a line along (x, y), in degrees in [0, 180)."""
    angle = float(np.rad2deg(np.arctan2(direction[1], direction[0])) % 180.0)
    return angle if angle < 180.0 else 0.0  # a tiny negative angle rounds up to 180
