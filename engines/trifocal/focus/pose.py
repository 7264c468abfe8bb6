"""Where the bowl is: a rigid transform from the bowl's frame to the world."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform, bowl frame -> world (RAS mm).

    Attributes:
        matrix: (4, 4) float64; the last column is the apex, the third the direction of the beam.

    Raises:
        ValueError: If the matrix is not a rotation with a translation.
    """

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        try:
            matrix = np.array(self.matrix, dtype=np.float64)
        except (TypeError, ValueError) as error:
            msg = "a pose must be a (4, 4) matrix of numbers"
            raise ValueError(msg) from error
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            msg = f"a pose must be a finite (4, 4) matrix, got shape {matrix.shape}"
            raise ValueError(msg)
        rotation = matrix[:3, :3]
        rigid = np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-4) and np.linalg.det(rotation) > 0
        if not rigid or not np.allclose(matrix[3], [0, 0, 0, 1]):
            msg = f"a pose must be rigid (rotation and translation, no scale, no flip), got {matrix.tolist()}"
            raise ValueError(msg)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_apex(cls, apex_mm: ArrayLike, direction: ArrayLike, roll_deg: float = 0.0) -> Pose:
        """Place the apex and point the beam; a bowl is round, so the roll only names the lateral axes.

        With roll 0 the x axis of the bowl lies as near to the world's +x as it can.
        """
        z = np.asarray(direction, float)
        norm = float(np.linalg.norm(z)) if z.shape == (3,) else 0.0
        if not np.isfinite(norm) or norm < 1e-9:
            got = np.asarray(direction).tolist()
            msg = f"a direction must be three numbers that are not all zero, got {got}"
            raise ValueError(msg)
        z = z / norm
        towards = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
        x = towards - z * (towards @ z)
        x /= np.linalg.norm(x)
        y = np.cross(z, x)
        roll = np.deg2rad(roll_deg)
        matrix = np.eye(4)
        matrix[:3, 0] = np.cos(roll) * x + np.sin(roll) * y
        matrix[:3, 1] = np.cos(roll) * y - np.sin(roll) * x
        matrix[:3, 2] = z
        matrix[:3, 3] = np.asarray(apex_mm, float)
        return cls(matrix)

    @property
    def apex_mm(self) -> NDArray[np.float64]:
        """(3,) world position of the centre of the radiating surface."""
        return self.matrix[:3, 3]

    @property
    def direction(self) -> NDArray[np.float64]:
        """(3,) unit vector of the beam axis in the world."""
        return self.matrix[:3, 2]

    def to_world(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., 3) of the bowl's frame to the world."""
        world: NDArray[np.float64] = np.asarray(point_mm, float) @ self.matrix[:3, :3].T + self.apex_mm
        return world

    def from_world(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Map world points (..., 3) to the bowl's frame."""
        local: NDArray[np.float64] = (np.asarray(point_mm, float) - self.apex_mm) @ self.matrix[:3, :3]
        return local

    def moved(self, along_axis_mm: float) -> Pose:
        """The same direction, the apex moved along the beam."""
        matrix = self.matrix.copy()
        matrix[:3, 3] += along_axis_mm * self.direction
        return Pose(matrix)

    def to_json(self, path: Path | str) -> None:
        """Write {"matrix": 4x4, "apex_mm": [...], "direction": [...]}."""
        Path(path).write_text(json.dumps(self.record(), indent=2) + "\n", encoding="utf-8")

    def record(self) -> dict[str, Any]:
        """The pose as plain lists."""
        return {
            "matrix": self.matrix.tolist(),
            "apex_mm": self.apex_mm.tolist(),
            "direction": self.direction.tolist(),
        }

    @classmethod
    def from_json(cls, path: Path | str) -> Pose:
        """Read {"matrix": 4x4 bowl-to-world} or {"apex_mm": [..], "direction": [..]}.

        Raises:
            ValueError: If the file holds neither.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            msg = f"{path} is not a JSON file: {error}"
            raise ValueError(msg) from error
        if isinstance(record, dict) and "matrix" in record:
            return cls(record["matrix"])
        if isinstance(record, dict) and {"apex_mm", "direction"} <= set(record):
            if np.shape(record["apex_mm"]) != (3,):
                msg = f"apex_mm must be three numbers, got {record['apex_mm']!r}"
                raise ValueError(msg)
            return cls.from_apex(record["apex_mm"], record["direction"])
        msg = f'{path} must hold {{"matrix": 4x4}} or {{"apex_mm": [x, y, z], "direction": [x, y, z]}}'
        raise ValueError(msg)
