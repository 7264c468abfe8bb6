"""Where source and detector stood, from what radiographs say; what they do not say is assumed and listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trifocal.xray.geometry import Geometry, angle_name, directions
from trifocal.xray.grid import Grid
from trifocal.xray.view import View

if TYPE_CHECKING:
    from trifocal.radiograph import Radiograph

MOST_PIXELS = 512
"""Of a detector's longer edge: what is finer is averaged."""

DETECTOR_MM = 430.0
"""Longer edge of the common large detectors and cassettes (35 x 43 and 43 x 43 cm)."""

_ANGLES = {
    "AP": (180.0, 0.0),
    "PA": (0.0, 0.0),
    "LATERAL": (90.0, 0.0),
    "LL": (90.0, 0.0),
    "RL": (-90.0, 0.0),
}
_SIDES = {"frontal": ("AP", "PA"), "lateral": ("LATERAL", "LL", "RL")}
_SUPPORT_MM = 150.0  # a "patient" nearer to the detector than this is the support that the patient leans on


@dataclass(frozen=True)
class Assumption:
    """Something about a film that nobody said; to be asked for, and to be recorded.

    Attributes:
        view: "frontal" or "lateral"; "" for the box.
        field: Of `Known`, or "edge_mm" of the box.
        value: What was assumed, in mm, degrees or as a word.
        why: One sentence.
    """

    view: str
    field: str
    value: float | str
    why: str


@dataclass(frozen=True)
class Known:
    """What a user says about a film; it goes before what the file says. None: not known.

    Attributes:
        position: "AP", "PA", "LATERAL", "LL" or "RL".
        source_to_detector_mm: SID.
        center_to_detector_mm: From the middle of the patient to the detector.
        pixel_mm: Pixel spacing on the detector.
    """

    position: str | None = None
    source_to_detector_mm: float | None = None
    center_to_detector_mm: float | None = None
    pixel_mm: float | None = None

    def __post_init__(self) -> None:
        if self.position is not None and self.position not in _ANGLES:
            msg = f"the position must be one of {', '.join(_ANGLES)}, got {self.position!r}"
            raise ValueError(msg)
        for name in ("source_to_detector_mm", "center_to_detector_mm", "pixel_mm"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                msg = f"{name} must be a positive number, got {value}"
                raise ValueError(msg)


def geometry_from_radiographs(
    frontal: Radiograph | None,
    lateral: Radiograph | None,
    grid: Grid | None = None,
    *,
    known: dict[str, Known] | None = None,
    energy_kev: float = 70.0,
) -> tuple[Geometry, tuple[Assumption, ...]]:
    """Views on the films' own detectors around a box.

    The central ray is taken to pass through the middle of each film and of the box.

    Args:
        frontal: AP or PA; None where there is none.
        lateral: Left or right lateral; None where there is none.
        grid: The box; a cube that holds what the larger film shows, if left out.
        known: What the user says of the "frontal" and the "lateral" film.
        energy_kev: See `Geometry`.

    Returns:
        The geometry, and what was assumed for it.

    Raises:
        ValueError: If there is no film, or what is said is impossible (a source inside the box).
    """
    films = {name: film for name, film in (("frontal", frontal), ("lateral", lateral)) if film is not None}
    if not films:
        msg = "a frontal or a lateral film is needed, got neither"
        raise ValueError(msg)
    readings = {n: _Reading(n, film, (known or {}).get(n, Known())) for n, film in films.items()}
    assumptions: list[Assumption] = []
    if grid is None:
        edge = min(max(max(r.seen_mm()) for r in readings.values()), 450.0)
        why = "as large as what the larger film shows of the middle of the patient, at most 450 mm"
        assumptions.append(Assumption("", "edge_mm", round(edge, 1), why))
        grid = Grid.cube(edge, 64)
    views = tuple(reading.view(grid) for reading in readings.values())
    for reading in readings.values():
        assumptions.extend(reading.assumptions.values())
    return Geometry(views, grid, energy_kev), tuple(assumptions)


@dataclass(eq=False)
class _Reading:
    """What one film and its user say, and what is assumed beyond that."""

    side: str
    film: Radiograph
    known: Known
    assumptions: dict[str, Assumption] = field(default_factory=dict)

    def assume(self, name: str, value: float | str, why: str) -> None:
        self.assumptions[name] = Assumption(self.side, name, value, why)

    def position(self) -> str:
        """Of the film; "" where its angles say more."""
        if self.known.position:
            return self.known.position
        said = self.film.position
        if said in _SIDES[self.side]:
            return said
        if self.film.angles_deg is not None and not said:
            return ""
        guess = "LATERAL" if self.side == "lateral" else "PA" if self.distance() >= 1500 else "AP"
        because = (
            f"the file says {said}, but it was given as the {self.side} film" if said else "not in the file"
        )
        usual = {"AP": "usual below 1.5 m", "PA": "usual from 1.5 m on", "LATERAL": "a left lateral is usual"}
        self.assume("position", guess, f"{because}; {usual[guess]}")
        return guess

    def distance(self) -> float:
        """SID in mm."""
        for value in (self.known.source_to_detector_mm, self.film.source_to_detector_mm):
            if value is not None and np.isfinite(value) and value > 0:
                return float(value)
        self.assume("source_to_detector_mm", 1800.0, "not in the file; 1.8 m is usual for a standing patient")
        return 1800.0

    def center_to_detector(self, half_depth_mm: float = 150.0) -> float:
        """From the middle of the patient to the detector in mm."""
        if self.known.center_to_detector_mm is not None:
            return self.known.center_to_detector_mm
        said, distance = self.film.source_to_patient_mm, self.distance()
        if said is None or not 0 < said < distance:
            why = (
                "not in the file" if said is None else f"the file's source to patient distance is {said:g} mm"
            )
            value = 250.0 if self.film.angles_deg is None else 0.35 * distance
            self.assume(
                "center_to_detector_mm", round(value, 1), f"{why}; half a trunk and the detector's cover"
            )
            return value
        if self.film.angles_deg is None and distance - said < _SUPPORT_MM:
            value = distance - said + half_depth_mm
            why = "the file's source to patient distance ends at the support; half the box is added"
            self.assume("center_to_detector_mm", round(value, 1), why)
            return value
        return distance - said

    def pixel(self) -> tuple[float, float]:
        """(row, column) spacing on the detector in mm."""
        if self.known.pixel_mm is not None:
            return self.known.pixel_mm, self.known.pixel_mm
        if self.film.pixel_mm is not None:
            return self.film.pixel_mm
        value = DETECTOR_MM / max(self.film.pixels.shape)
        why = "not in the file; the longer edge of the film is taken to be 43 cm, as of the common detectors"
        self.assume("pixel_mm", round(value, 4), why)
        return value, value

    def size_mm(self) -> tuple[float, float]:
        """(rows, columns) extent of the film on the detector."""
        rows, columns = self.film.pixels.shape
        return rows * self.pixel()[0], columns * self.pixel()[1]

    def seen_mm(self) -> tuple[float, float]:
        """The same in the plane of the middle of the patient."""
        share = 1 - self.center_to_detector() / self.distance()
        return self.size_mm()[0] * share, self.size_mm()[1] * share

    def view(self, grid: Grid) -> View:
        """Source and detector around the middle of a box."""
        position = self.position()
        angles = _ANGLES[position] if position else self.film.angles_deg or (0.0, 0.0)
        ahead, right, down = directions(angles)
        distance, behind = self.distance(), self.center_to_detector(float(np.abs(ahead) @ grid.extent_mm) / 2)
        middle = np.asarray(grid.center_mm) + ahead * behind
        shrink = max(1.0, max(self.film.pixels.shape) / MOST_PIXELS)
        rows, columns = (max(1, round(n / shrink)) for n in self.film.pixels.shape)
        v, u = down * self.size_mm()[0] / rows, right * self.size_mm()[1] / columns
        origin = middle - (columns - 1) / 2 * u - (rows - 1) / 2 * v
        name = "LATERAL" if position in _SIDES["lateral"] else position or angle_name(angles)
        return View(name, middle - ahead * distance, origin, u, v, (rows, columns))
