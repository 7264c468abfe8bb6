"""What a learned rung has seen: the bounds within which its figures were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trifocal.focus.skull import NearSkull
    from trifocal.focus.transducer import Bowl

TAILS = (0.5, 99.5)  # percentiles of the skulls that bound what counts as seen


@dataclass(frozen=True)
class Seen:
    """Bounds of the training cases, each (least, most).

    Attributes:
        radius_of_curvature_mm: Of the bowls.
        aperture_mm: Of the bowls.
        frequency_hz: Of the bowls.
        thickness_mm: Of the near skull along the beam.
        skull_hu: Mean HU of the near skull.
        points_per_wavelength: Of the grids, in water.
    """

    radius_of_curvature_mm: tuple[float, float]
    aperture_mm: tuple[float, float]
    frequency_hz: tuple[float, float]
    thickness_mm: tuple[float, float]
    skull_hu: tuple[float, float]
    points_per_wavelength: tuple[float, float]

    @classmethod
    def of(
        cls, bowls: Sequence[Bowl], skulls: Sequence[NearSkull], points_per_wavelength: tuple[float, float]
    ) -> Self:
        """The bounds of some cases: all of the bowls, 99 % of the skulls."""

        def extent(values: Sequence[float], tails: tuple[float, float] = (0, 100)) -> tuple[float, float]:
            low, high = np.percentile(values, tails)
            return round(float(low), 2), round(float(high), 2)

        return cls(
            extent([b.radius_of_curvature_mm for b in bowls]),
            extent([b.aperture_mm for b in bowls]),
            extent([b.frequency_hz for b in bowls]),
            extent([s.thickness_mm for s in skulls], TAILS),
            extent([s.hu for s in skulls], TAILS),
            points_per_wavelength,
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(**{name: (float(low), float(high)) for name, (low, high) in record.items()})

    def reasons(self, bowl: Bowl, skull: NearSkull, points_per_wavelength: float) -> tuple[str, ...]:
        """Why a case lies outside of what was seen: a sentence for each reason, none if it lies inside."""
        measured = (
            ("the radius of curvature", bowl.radius_of_curvature_mm, self.radius_of_curvature_mm, 1, "mm"),
            ("the aperture", bowl.aperture_mm, self.aperture_mm, 1, "mm"),
            ("the frequency", bowl.frequency_hz, self.frequency_hz, 1e3, "kHz"),
            ("the thickness of bone on the beam", skull.thickness_mm, self.thickness_mm, 1, "mm"),
            ("the mean of the bone on the beam", skull.hu, self.skull_hu, 1, "HU"),
            ("the grid", points_per_wavelength, self.points_per_wavelength, 1, "points per wavelength"),
        )
        found = []
        for what, value, (low, high), unit, name in measured:
            if not low - 1e-6 * abs(low) <= value <= high * (1 + 1e-6):
                found.append(
                    f"{what}, {value / unit:.4g} {name}, is outside of what the network has seen "
                    f"({low / unit:.4g} to {high / unit:.4g} {name})"
                )
        return tuple(found)
