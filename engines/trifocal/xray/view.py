"""One X-ray exposure: where its source and its detector stood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class View:
    """One exposure: a point source and a flat detector, in world RAS millimetres.

    Attributes:
        name: "AP", "PA" or "LATERAL", or what else the view is called.
        source_mm: (3,) focal spot.
        origin_mm: (3,) centre of the pixel in row 0, column 0.
        u_mm: (3,) from one column to the next.
        v_mm: (3,) from one row to the next.
        shape: (rows, columns) of the detector.
        parallel: Rays run side by side, along the line from the source to the detector's middle.

    Raises:
        ValueError: If a number is not finite, u and v do not span a plane, or the source lies in it.
    """

    name: str
    source_mm: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    u_mm: NDArray[np.float64]
    v_mm: NDArray[np.float64]
    shape: tuple[int, int]
    parallel: bool = False

    def __post_init__(self) -> None:
        for name in ("source_mm", "origin_mm", "u_mm", "v_mm"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (3,) or not np.isfinite(value).all():
                msg = f"{name} of the {self.name} view must be 3 finite numbers in mm, got {value.tolist()}"
                raise ValueError(msg)
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if len(self.shape) != 2 or min(self.shape) < 1:
            msg = f"the detector of the {self.name} view must have rows and columns, got {self.shape}"
            raise ValueError(msg)
        if np.linalg.norm(np.cross(self.u_mm, self.v_mm)) < 1e-9:
            msg = f"u_mm and v_mm of the {self.name} view must span a plane, got {self.u_mm}, {self.v_mm}"
            raise ValueError(msg)
        if self.source_to_detector_mm < 1.0:
            msg = f"the source of the {self.name} view must lie off its detector, got {self.source_mm}"
            raise ValueError(msg)

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector across the detector, from the source's side to the other."""
        across = np.cross(self.u_mm, self.v_mm)
        across = across / np.linalg.norm(across)
        normal: NDArray[np.float64] = across * np.sign((self.origin_mm - self.source_mm) @ across or 1.0)
        return normal

    @property
    def main_axis(self) -> int:
        """World axis that the view looks along most nearly: 0 for a lateral, 1 for a frontal one."""
        return int(np.argmax(np.abs(self.normal)))

    @property
    def detector_axes(self) -> tuple[int, int] | None:
        """World axes of the rows (v) and the columns (u); None where they do not run along world axes."""
        axes = []
        for vector in (self.v_mm, self.u_mm):
            axis = int(np.argmax(np.abs(vector)))
            if np.abs(np.delete(vector, axis)).max() > 1e-9 * np.abs(vector[axis]):
                return None
            axes.append(axis)
        return axes[0], axes[1]

    @property
    def source_to_detector_mm(self) -> float:
        """Distance of the source from the detector's plane (DICOM: SID)."""
        return float(abs((self.origin_mm - self.source_mm) @ self.normal))

    @property
    def center_mm(self) -> NDArray[np.float64]:
        """(3,) middle of the detector."""
        rows, columns = self.shape
        return self.origin_mm + (columns - 1) / 2 * self.u_mm + (rows - 1) / 2 * self.v_mm

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """(row, column) distance between neighbouring rows, and columns, on the detector."""
        return float(np.linalg.norm(self.v_mm)), float(np.linalg.norm(self.u_mm))

    def pixels_mm(self) -> NDArray[np.float64]:
        """(rows, columns, 3) world positions of the pixel centres."""
        rows, columns = np.indices(self.shape, dtype=float)
        return self.origin_mm + columns[..., None] * self.u_mm + rows[..., None] * self.v_mm

    def project(self, point_mm: ArrayLike) -> NDArray[np.float64]:
        """Where world points (..., 3) fall on the detector: (..., 2) fractional row, column."""
        point = np.asarray(point_mm, float)
        start = self.source_mm
        if self.parallel:
            direction = np.broadcast_to(self.center_mm - self.source_mm, point.shape)
            start = point
        else:
            direction = point - self.source_mm
        reach = ((self.origin_mm - start) @ self.normal) / (direction @ self.normal)
        offset = start + reach[..., None] * direction - self.origin_mm
        basis = np.stack([self.v_mm, self.u_mm], axis=1)  # (3, 2)
        out: NDArray[np.float64] = offset @ np.linalg.pinv(basis).T
        return out

    def resized(self, shape: tuple[int, int]) -> View:
        """The same detector area with other pixels."""
        scale = np.divide(self.shape, shape)
        v, u = self.v_mm * scale[0], self.u_mm * scale[1]
        origin = self.origin_mm - (self.u_mm + self.v_mm) / 2 + (u + v) / 2
        return replace(self, origin_mm=origin, u_mm=u, v_mm=v, shape=shape)

    def record(self) -> dict[str, Any]:
        """What is written to JSON."""
        vectors = {n: getattr(self, n).tolist() for n in ("source_mm", "origin_mm", "u_mm", "v_mm")}
        return {"name": self.name, **vectors, "shape": list(self.shape), "parallel": self.parallel}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> View:
        """Read what `record` gave.

        Raises:
            ValueError: If something is missing or not a number.
        """
        try:
            names = ("source_mm", "origin_mm", "u_mm", "v_mm")
            source, origin, u, v = (np.array(record[name], dtype=float) for name in names)
            rows, columns = (int(n) for n in record["shape"])
            name, parallel = str(record["name"]), bool(record.get("parallel", False))
        except (KeyError, TypeError, ValueError) as error:
            msg = (
                "a view must have name, source_mm, origin_mm, u_mm, v_mm (3 numbers each, mm) and shape"
                f" (rows, columns), got {record!r}"
            )
            raise ValueError(msg) from error
        return cls(name, source, origin, u, v, (rows, columns), parallel)
