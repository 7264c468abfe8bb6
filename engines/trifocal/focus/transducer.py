"""The ultrasound bowl: a focused, spherically curved source, its presets and its files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from math import asin, cos, pi, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WATER_SOUND_SPEED = 1500.0  # m/s
WATER_DENSITY = 1000.0  # kg/m3


@dataclass(frozen=True)
class Bowl:
    """A spherical cap that vibrates uniformly along its normal.

    The bowl's frame has its origin at the apex (the centre of the radiating surface) and +z along the
    beam axis toward the geometric focus, which lies at (0, 0, radius_of_curvature_mm).

    Attributes:
        radius_of_curvature_mm: Radius of the sphere that the cap is cut from.
        aperture_mm: Diameter of the rim; at most twice the radius of curvature.
        frequency_hz: Of the continuous wave.
        drive: Pressure amplitude at the radiating surface in Pa, that is rho c v with the normal
            velocity amplitude v in water (60 kPa is 0.04 m/s, as in Aubry et al. 2022).
        source: Where the figures come from.

    Raises:
        ValueError: If a figure is not positive and finite, or the aperture does not fit the sphere.
    """

    radius_of_curvature_mm: float
    aperture_mm: float
    frequency_hz: float
    drive: float = 60e3
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("radius_of_curvature_mm", "aperture_mm", "frequency_hz", "drive"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
                msg = f"{name} of a bowl must be a positive number, got {value!r}"
                raise ValueError(msg)
        if self.aperture_mm > 2 * self.radius_of_curvature_mm:
            msg = (
                f"aperture_mm must be at most twice radius_of_curvature_mm "
                f"({2 * self.radius_of_curvature_mm:g} mm), got {self.aperture_mm:g} mm"
            )
            raise ValueError(msg)

    @property
    def half_angle(self) -> float:
        """Angle at the centre of curvature between the axis and the rim, in radians."""
        return asin(self.aperture_mm / 2 / self.radius_of_curvature_mm)

    @property
    def depth_mm(self) -> float:
        """Axial distance from the apex to the plane of the rim."""
        r = self.radius_of_curvature_mm
        return r - sqrt(max(r**2 - (self.aperture_mm / 2) ** 2, 0.0))

    @property
    def area_mm2(self) -> float:
        """Area of the radiating surface, 2 pi R h."""
        return 2 * pi * self.radius_of_curvature_mm * self.depth_mm

    @property
    def wavelength_mm(self) -> float:
        """Wavelength in water."""
        return WATER_SOUND_SPEED / self.frequency_hz * 1e3

    def surface_points(self, spacing_mm: float) -> NDArray[np.float64]:
        """Spread points evenly over the radiating surface, each standing for the same area.

        Rings of equal width in cos(theta) are avoided: a Fibonacci spiral gives equal areas without a
        preferred direction.

        Args:
            spacing_mm: Mean distance between neighbours.

        Returns:
            (n, 3) mm in the bowl's frame.
        """
        n = max(int(np.ceil(self.area_mm2 / spacing_mm**2)), 16)
        i = np.arange(n) + 0.5
        cos_theta = 1 - i / n * (1 - cos(self.half_angle))
        sin_theta = np.sqrt(1 - cos_theta**2)
        phi = i * pi * (3 - sqrt(5))
        unit = np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), 1 - cos_theta], axis=-1)
        points: NDArray[np.float64] = unit * self.radius_of_curvature_mm
        return points

    def mesh(self, rings: int = 12, sectors: int = 48) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Triangulate the radiating surface.

        Returns:
            Vertices (n, 3) in mm in the bowl's frame, the apex first and the rim last; triangles (m, 3)
            whose normals point toward the focus.
        """
        theta = np.linspace(0, self.half_angle, rings + 1)[1:, None]
        phi = np.linspace(0, 2 * pi, sectors, endpoint=False)[None]
        ring = np.stack(
            [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), 1 - np.cos(theta) + 0 * phi], axis=-1
        )
        vertices = np.concatenate([np.zeros((1, 3)), ring.reshape(-1, 3)]) * self.radius_of_curvature_mm
        here = np.arange(sectors)
        after = (here + 1) % sectors
        faces = [np.stack([0 * here, 1 + here, 1 + after], axis=-1)]
        for r in range(rings - 1):
            a, b = 1 + r * sectors, 1 + (r + 1) * sectors
            faces.append(np.stack([a + here, b + here, b + after], axis=-1))
            faces.append(np.stack([a + here, b + after, a + after], axis=-1))
        return vertices, np.concatenate(faces).astype(np.int64)

    def to_json(self, path: Path | str) -> None:
        """Write the bowl to a JSON file, one key per attribute."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: Path | str) -> Bowl:
        """Read a bowl from a JSON file as written by `to_json`; `drive` and `source` may be left out.

        Raises:
            ValueError: If the file is not JSON, or a key is missing, unknown or out of range.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            msg = f"{path} is not a JSON file: {error}"
            raise ValueError(msg) from error
        known = {f.name for f in fields(cls)}
        needed = known - {"drive", "source"}
        if not isinstance(record, dict) or not needed <= set(record) <= known:
            got = sorted(record) if isinstance(record, dict) else type(record).__name__
            msg = f"{path} must hold a bowl: the keys {sorted(needed)} (drive and source optional), got {got}"
            raise ValueError(msg)
        return cls(**record)


PRESETS = {
    "default": Bowl(
        63.2,
        64.0,
        250e3,
        source="CTX-250 (NeuroFUS, Sonic Concepts) with all rings in phase: ROC 63.2 mm, outer diameter"
        " 64.008 mm, 250 kHz (transducer tables of PRESTUS); drive as in Aubry et al. 2022",
    ),
    "ctx-500": Bowl(
        63.2,
        64.0,
        500e3,
        source="CTX-500 (NeuroFUS, Sonic Concepts) with all rings in phase: ROC 63.2 mm, outer diameter"
        " 64 mm, 500 kHz (transducer tables of PRESTUS)",
    ),
    "h-101": Bowl(
        63.2, 64.0, 1.1e6, source="H-101 (Sonic Concepts data sheet): ROC 63.2 mm, diameter 64 mm, 1.1 MHz"
    ),
    "itrusst-sc1": Bowl(
        64.0,
        64.0,
        500e3,
        source="ITRUSST benchmark source SC1: ROC = diameter = 64 mm, 500 kHz, 0.04 m/s (Aubry et al. 2022,"
        " doi 10.1121/10.0013426)",
    ),
}
"""Bowls by name. Multi-ring devices are given as the one bowl that they are with all rings in phase."""


def find_bowl(name_or_path: str | Path) -> Bowl:
    """Find a bowl: the name of a preset, or the path of a JSON file.

    Raises:
        ValueError: If it is neither.
    """
    if str(name_or_path) in PRESETS:
        return PRESETS[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        msg = f"no bowl named {str(name_or_path)!r}: give one of {sorted(PRESETS)} or the path of a JSON file"
        raise ValueError(msg)
    return Bowl.from_json(path)


def fit_sphere(points_mm: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Fit a sphere to points of its surface by linear least squares.

    Solves |p|^2 = 2 p . c + (r^2 - |c|^2) (Coope 1993, doi 10.1007/BF00939613).

    Args:
        points_mm: (n, 3), n at least 4 and not all in one plane.

    Returns:
        Centre (3,) and radius, in mm.

    Raises:
        ValueError: If the points do not determine a sphere.
    """
    points = np.asarray(points_mm, float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4 or not np.isfinite(points).all():
        msg = f"a sphere fit needs finite points of shape (n, 3) with n >= 4, got shape {points.shape}"
        raise ValueError(msg)
    mean = points.mean(0)
    local = points - mean
    system = np.column_stack([2 * local, np.ones(len(local))])
    solution, _, rank, singular = np.linalg.lstsq(system, (local**2).sum(1), rcond=None)
    if rank < 4 or singular[-1] < 1e-6 * singular[0]:
        msg = "the points lie in one plane: they do not determine a sphere"
        raise ValueError(msg)
    return mean + solution[:3], float(sqrt(solution[3] + solution[:3] @ solution[:3]))
