"""From radiographs and what is known of their geometry to the inputs of a prediction; every doubt is said."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trifocal.predictor import one_core
from trifocal.xray.films.fix import read_fixes
from trifocal.xray.films.from_radiograph import film_from_radiograph, film_warnings, is_frontal
from trifocal.xray.films.geometry import Assumption, Known, geometry_from_radiographs
from trifocal.xray.films.output import GEOMETRY
from trifocal.xray.geometry_file import read_geometry, read_pixel_meaning
from trifocal.xray.plausibility import implausible
from trifocal.xray.predictor import XrayInput
from trifocal.xray.views.check import Finding, check_views

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from trifocal.radiograph import Radiograph
    from trifocal.xray.geometry import Geometry
    from trifocal.xray.view import View

SIDES = {"frontal": "ap", "lateral": "lateral"}
"""Of the films, and the word for each on the command line."""

_FRONTAL, _LATERAL = ("AP", "PA"), ("LATERAL", "LL", "RL")
_MOST_LINE_INTEGRAL = 40.0
_SAME = 0.995
"""Correlation of two pictures above which they are one: the two views of a patient reach 0.9."""
_COARSE = 64
"""Pixels along each edge at which they are compared."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a prediction is made from, and what there is to say about it.

    Attributes:
        inputs: Films, box, energy.
        geometry: Views on the films' own detectors, and the box.
        radiographs: By side, after the fixes.
        assumptions: What nobody said about the geometry.
        findings: Films that look exchanged, mirrored, turned or mixed up.
        warnings: Sentences for the user, each with what to do; those of the findings among them.
    """

    inputs: XrayInput
    geometry: Geometry
    radiographs: dict[str, Radiograph]
    assumptions: tuple[Assumption, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def prepare(
    radiographs: Mapping[str, Radiograph],
    *,
    geometry: Geometry | None = None,
    fixes: Iterable[str] = (),
    known: dict[str, Known] | None = None,
    energy_kev: float | None = None,
    relative_error: float | None = None,
    refine: int = 15,
    samples: int = 4,
) -> Prepared:
    """Make the inputs of a prediction from one or two radiographs.

    Args:
        radiographs: "frontal", "lateral", or one of them.
        geometry: Where source and detector stood; from the films' headers, with assumptions, if left out.
        fixes: Of `fix.FIXES`: what the user wants to be done to the films.
        known: What the user says about the films' geometry, where none is given.
        energy_kev: Effective energy; the geometry's, or 70, if left out.
        relative_error: Expected error of the line integrals; by what the pixels mean if left out.
        refine: See `XrayInput`.
        samples: See `XrayInput`.

    Raises:
        ValueError: If there is no film, one film came twice, a film is empty, or the geometry is impossible.
    """
    films = _fixed(radiographs, fixes)
    warnings = _position_warnings(films)
    assumptions: tuple[Assumption, ...] = ()
    if geometry is None:
        geometry, assumptions = geometry_from_radiographs(
            films.get("frontal"), films.get("lateral"), known=known, energy_kev=energy_kev or 70.0
        )
    elif energy_kev is not None:
        geometry = replace(geometry, energy_kev=energy_kev)
    views = {side: _view_for(side, geometry) for side in films}
    geometry = replace(geometry, views=tuple(views.values()))
    warnings += [f"assumed {a.field} {a.value} of the {a.view or 'box'}: {a.why}" for a in assumptions]
    warnings += implausible(geometry)
    made = []
    for side, radiograph in films.items():
        view = views[side]
        warnings += _orientation_warnings(side, radiograph, view)
        if {radiograph.position, view.name} == set(_FRONTAL):
            warnings.append(
                f"the {side} film says that it is {radiograph.position}, the geometry that it is {view.name}:"
                " check on which side of the patient the source stood"
            )
        film = film_from_radiograph(
            radiograph, view, energy_kev=geometry.energy_kev, relative_error=relative_error
        )
        warnings += film_warnings(film, f"the {side} film")
        made.append(film)
    positions = [film.position for film in films.values()]
    with one_core():
        findings = check_views(made, geometry.grid, positions=positions)
    warnings = [finding.text for finding in findings] + warnings
    inputs = XrayInput(tuple(made), geometry.grid, geometry.energy_kev, refine, samples)
    return Prepared(inputs, geometry, films, assumptions, findings, tuple(dict.fromkeys(warnings)))


def find_geometry(paths: Iterable[Path]) -> Path | None:
    """The geometry.json that lies beside films.

    Raises:
        ValueError: If the films lie beside different ones.
    """
    found = list(dict.fromkeys(p.parent / GEOMETRY for p in paths if (p.parent / GEOMETRY).is_file()))
    if len(found) > 1 and len({path.read_bytes() for path in found}) > 1:
        msg = f"the films lie beside different {GEOMETRY} files: say by --geometry which one is meant"
        raise ValueError(msg)
    return found[0] if found else None


def with_meaning(radiograph: Radiograph, path: Path) -> Radiograph:
    """A picture whose values a geometry file explains, as line integrals.

    DICOM says itself what its values are, and a TIFF of `trifocal project` does; this is for a picture that
    lost its description on the way. What could be no line integrals stays as it was.
    """
    stated = "pixels" in json.loads(path.read_text(encoding="utf-8"))
    if radiograph.scale != "display" or "DICOM" in radiograph.notes.get("format", "") or not stated:
        return radiograph
    meaning = read_pixel_meaning(path)
    if meaning.scale != "line integral":
        return replace(radiograph, scale=meaning.scale)
    values = radiograph.pixels * np.float32(meaning.per_count) + np.float32(meaning.at_zero)
    if not -_MOST_LINE_INTEGRAL < float(values.min()) <= float(values.max()) < _MOST_LINE_INTEGRAL:
        return radiograph
    notes = {**radiograph.notes, "values": f"line integrals, as {path.name} says"}
    return replace(radiograph, pixels=values, scale="line integral", notes=notes)


def load_geometry(path: Path) -> Geometry:
    """See `read_geometry`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no geometry, or an impossible one.
    """
    if not path.is_file():
        msg = f"there is no geometry file {path}: check the path"
        raise FileNotFoundError(msg)
    return read_geometry(path)


def _fixed(radiographs: Mapping[str, Radiograph], words: Iterable[str]) -> dict[str, Radiograph]:
    unknown = set(radiographs) - set(SIDES)
    if not radiographs or unknown:
        msg = f"a frontal film, a lateral film or both are needed, got {sorted(radiographs) or 'none'}"
        raise ValueError(msg)
    fixes, swap = read_fixes(words)
    if swap:
        other = {"frontal": "lateral", "lateral": "frontal"}
        radiographs = {other[side]: film for side, film in radiographs.items()}
    if len(radiographs) == 2:
        _refuse_twice(*(_thumbnail(film.pixels) for film in radiographs.values()))
    return {side: fixes[side].apply(radiographs[side]) for side in SIDES if side in radiographs}


def _view_for(side: str, geometry: Geometry) -> View:
    """The view of the geometry that a film was taken in.

    Raises:
        ValueError: If there is none.
    """
    fitting = [view for view in geometry.views if is_frontal(view) == (side == "frontal")]
    if not fitting:
        names = " and ".join(view.name for view in geometry.views)
        msg = f"the geometry has no {side} view, only {names}: give the geometry that belongs to the film"
        raise ValueError(msg)
    return fitting[0]


def _position_warnings(films: Mapping[str, Radiograph]) -> list[str]:
    """What the files' own view positions say against their use."""
    wrong = {
        side: film.position
        for side, film in films.items()
        if film.position in (_LATERAL if side == "frontal" else _FRONTAL)
    }
    if len(wrong) == 2:
        return [
            f"the file given as frontal says that it is {wrong['frontal']}, the one given as lateral"
            f" {wrong['lateral']}: exchange them, or use --fix swap"
        ]
    return [
        f"the file given as {side} says that it is {position}: check that it is the right one"
        for side, position in wrong.items()
    ]


def _orientation_warnings(side: str, radiograph: Radiograph, view: View) -> list[str]:
    """What the file's patient orientation (0020,0020) says against the way in which the view is stored."""
    said = radiograph.notes.get("patient_orientation", [])
    if len(said) != 2 or "fix" in radiograph.notes:
        return []
    out = []
    for step, letters, deed in ((view.u_mm, said[0], "mirror"), (view.v_mm, said[1], "flip")):
        axis = int(np.argmax(np.abs(step)))
        towards = "LPF"[axis] if step[axis] < 0 else "RAH"[axis]
        opposite = {"L": "R", "R": "L", "P": "A", "A": "P", "F": "H", "H": "F"}[towards]
        word = SIDES[side]
        if letters[:1] == opposite:
            what = "columns" if deed == "mirror" else "rows"
            out.append(
                f"the {side} film says that its {what} run towards {opposite}, where {towards} was expected:"
                f" if the picture shows it so, use --fix {deed}-{word}"
            )
        elif letters[:1] != towards:
            out.append(
                f"the {side} film says that it lies on its side ({said[0]}, {said[1]}): if the picture shows"
                f" it so, use --fix turn-90-{word} or turn-270-{word}"
            )
            break
    return out


def _refuse_twice(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    """Refuse two films that are one picture, unless that is its own mirror image, as of a cylinder.

    Raises:
        ValueError: If they are.
    """
    if one.shape != other.shape or one.std() == 0 or other.std() == 0:
        return
    if _alike(one, one[:, ::-1]) < _SAME and max(_alike(one, other), _alike(one, other[:, ::-1])) > _SAME:
        msg = (
            "the frontal and the lateral film are the same picture: give the lateral film, or leave it out"
            " and reconstruct from one"
        )
        raise ValueError(msg)


def _thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of blocks of pixels, about the middle so that a mirrored film has the mirrored thumbnail."""
    step = [max(1, n // _COARSE) for n in pixels.shape]
    rest = [n % s for n, s in zip(pixels.shape, step, strict=True)]
    rows, columns = (slice(r // 2, n - (r - r // 2)) for n, r in zip(pixels.shape, rest, strict=True))
    inner = pixels[rows, columns]
    blocks = inner.reshape(inner.shape[0] // step[0], step[0], inner.shape[1] // step[1], step[1])
    out: NDArray[np.float32] = blocks.mean((1, 3))
    return out


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
