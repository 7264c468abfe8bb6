"""From what a file holds to line integrals on a view's detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from trifocal.image import ImageError
from trifocal.xray.attenuation import mu_water
from trifocal.xray.film import Film

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trifocal.radiograph import Radiograph
    from trifocal.xray.films.fix import Fix
    from trifocal.xray.view import View

RELATIVE_ERROR = {"line integral": 0.01, "linear": 0.05, "log": 0.08, "display": 0.15}
"""Expected error of a line integral, as a share of the largest, by what the pixels mean.

Line integrals as projected; a detector's exposure or its logarithm with scatter, and an air level and a gain
that are found in the film; a picture made for the eye, whose curve is unknown."""

WATER_MM = {"frontal": 260.0, "lateral": 300.0}
"""Water that attenuates like the trunk does in 95 of 100 pixels of its shadow or less: two chest CTs."""

_AIR_PERCENT, _DENSE_PERCENT = 0.5, 95.0
_SHADOW = 0.06
"""Of the darkest to the brightest: what counts as shadow of the body rather than air."""

_ACROSS = (0.2, 0.44, 0.68)
"""Where lungs or flanks, the spine, and lungs or flanks begin across a frontal film, as shares of it."""

_MOST_RATIO = 1.03
_BLOCK = 256


def film_from_radiograph(
    radiograph: Radiograph,
    view: View,
    *,
    energy_kev: float = 70.0,
    fix: Fix | None = None,
    relative_error: float | None = None,
) -> Film:
    """Bring a radiograph to line integrals on a view's pixels, by the mean over each of them.

    Line integrals stay as they are. A detector's exposure becomes -ln(exposure / air), where air is the
    lightest half percent. Logarithmic and display values become line integrals by two assumptions, which are
    noted: their darkest half percent is air, and 95 % of the trunk's shadow attenuates like 260 mm of water
    or less (300 mm in a lateral view).

    The film's middle lies at the detector's middle. Its pixels are as large as the file says; where it does
    not, the film's longer edge fills the detector's. What no film pixel covers is NaN.

    Args:
        radiograph: As read; not changed.
        view: Its detector is where the line integrals are wanted.
        energy_kev: At which the water attenuates.
        fix: Turns, mirrors and inversion that the user asked for.
        relative_error: Expected error; by what the pixels mean where left out.

    Raises:
        ImageError: If the film shows nothing, or covers less than a tenth of the detector.
    """
    radiograph = radiograph if fix is None else fix.apply(radiograph)
    name = radiograph.name or "the film"
    if float(np.ptp(radiograph.pixels[::7, ::7])) == 0 and float(np.ptp(radiograph.pixels)) == 0:
        got = f"{radiograph.pixels.flat[0]:g}"
        msg = f"every pixel of {name} is {got}: the film is empty; export it again"
        raise ImageError(msg)
    notes: dict[str, Any] = {"scale": radiograph.scale, "file": radiograph.notes}
    values, covered = _averaged(radiograph, view, _pixel_mm(radiograph, view, notes))
    valid = covered > 0.5
    if valid.mean() < 0.1:
        msg = f"{name} covers less than a tenth of the detector: check its pixel size and the geometry"
        raise ImageError(msg)
    values = np.where(valid, values / np.maximum(covered, 1e-6), np.nan)
    line_integrals = _line_integrals(values, radiograph, view, energy_kev, notes)
    if looks_inverted(line_integrals, frontal=is_frontal(view)):
        notes["looks_inverted"] = "air looks brighter than the body: if bone is dark in this film, invert it"
    error = max(RELATIVE_ERROR[radiograph.scale], radiograph.notes.get("expected_error", 0.0))
    error = error if relative_error is None else relative_error
    return Film(view, line_integrals.astype(np.float32), error, notes)


def film_warnings(film: Film, name: str) -> list[str]:
    """Sentences about a film that the user should read, each with what to do."""
    said = []
    if "assumed" in film.notes:
        said.append(
            f"{name}: {film.notes['assumed']}; attenuation is known to about {film.relative_error:.0%} only"
        )
    said.extend(f"{name}: {film.notes[key]}" for key in ("placed", "extent") if key in film.notes)
    if "looks_inverted" in film.notes:
        word = "ap" if is_frontal(film.view) else "lateral"
        said.append(f"{name}: {film.notes['looks_inverted']} (--fix invert-{word})")
    return said


def is_frontal(view: View) -> bool:
    """Whether the view looks along the patient's front-to-back axis more than along another."""
    return view.main_axis == 1


def looks_inverted(values: NDArray[np.float64], *, frontal: bool) -> bool:
    """Whether the air beside the body is bright, or in a frontal film the spine darker than what flanks it.

    Args:
        values: (rows, columns), bright where there should be attenuation; NaN is left out.
        frontal: Whether it is an AP or PA film.
    """
    rows, columns = values.shape
    low, high = np.nanpercentile(values, [1, 99])
    if high <= low or min(rows, columns) < 8:
        return False
    share = (values - low) / (high - low)
    edge = max(min(rows, columns) // 20, 1)
    upper = share[: rows // 2]
    rim = np.concatenate([upper[:edge].ravel(), upper[:, :edge].ravel(), upper[:, -edge:].ravel()])
    rim = rim[np.isfinite(rim)]
    bright, dark = (rim > 0.93).sum(), (rim < 0.07).sum()
    if bright > 0.15 * rim.size and bright > 3 * dark:
        return True
    across = [share[rows // 4 : -rows // 4, int(c * columns) : int((c + 0.12) * columns)] for c in _ACROSS]
    left, middle, right = (float(np.nanmedian(part)) if np.isfinite(part).any() else 0.0 for part in across)
    return frontal and min(left, right) > middle + 0.15


def _pixel_mm(radiograph: Radiograph, view: View, notes: dict[str, Any]) -> tuple[float, float]:
    """(row, column) size of the film's pixels on the detector."""
    shape, size = radiograph.pixels.shape, radiograph.pixel_mm
    whole = np.multiply(view.shape, view.pixel_mm)
    if size is not None:
        extent = np.multiply(shape, size)
        if max(*(extent / whole), *(whole / extent)) > _MOST_RATIO:
            notes["extent"] = (
                f"the film is {extent[1]:.0f} x {extent[0]:.0f} mm and the geometry's detector"
                f" {whole[1]:.0f} x {whole[0]:.0f} mm (columns x rows): they are laid middle on middle; check"
                " that the geometry belongs to this film"
            )
        return size
    ratio = np.divide(whole, shape)
    if max(ratio) / min(ratio) <= _MOST_RATIO:
        return float(ratio[0]), float(ratio[1])
    size_mm = float(min(ratio))
    notes["placed"] = (
        f"the film says no pixel size and is not shaped like the detector: its longer edge was laid over the"
        f" detector's, which makes a pixel {size_mm:.3g} mm"
    )
    return size_mm, size_mm


def _averaged(
    radiograph: Radiograph, view: View, pixel_mm: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over the film's pixels in each of the view's, and the covered share: both (rows, columns).

    The film is taken by blocks of rows, so that no second copy of a large one is made.
    """
    film = radiograph.pixels
    down = _overlap(film.shape[0], pixel_mm[0], view.shape[0], view.pixel_mm[0])
    across = _overlap(film.shape[1], pixel_mm[1], view.shape[1], view.pixel_mm[1])
    box, padding = radiograph.notes.get("shutter"), radiograph.notes.get("padding")
    strips = np.zeros((2, view.shape[0], film.shape[1]))  # averaged down the columns only
    for start in range(0, film.shape[0], _BLOCK):
        run = slice(start, start + _BLOCK)
        block = film[run].astype(np.float64)
        shown = np.ones(block.shape)
        if padding is not None:
            shown[film[run] == np.float32(padding["value"])] = 0.0
        if box is not None:
            top, bottom, left, right = box
            shown[: max(top - start, 0)], shown[max(bottom - start, 0) :] = 0.0, 0.0
            shown[:, :left], shown[:, right:] = 0.0, 0.0
        strips[0] += down[:, run] @ (block * shown)
        strips[1] += down[:, run] @ shown
    sums, covered = ((across @ strip.T).T for strip in strips)
    return sums, covered


def _overlap(n: int, size: float, cells: int, cell: float) -> sparse.csr_array:
    """(cells, n) share of each of the view's cells that each film pixel covers; their middles agree."""
    edges = (np.arange(n + 1) - n / 2) * size / cell + cells / 2  # in cells
    low, high = edges[:-1], edges[1:]
    first, last = np.floor(low).astype(int), np.ceil(high).astype(int) - 1
    row, column, weight = [], [], []
    for step in range(int((last - first).max()) + 1):
        index = first + step
        shared = np.minimum(high, index + 1) - np.maximum(low, index)
        good = (shared > 1e-12) & (index >= 0) & (index < cells)
        row.append(index[good])
        column.append(np.arange(n)[good])
        weight.append(shared[good])
    parts = np.concatenate(weight), (np.concatenate(row), np.concatenate(column))
    return sparse.csr_array(parts, shape=(cells, n))


def _line_integrals(
    values: NDArray[np.float64],
    radiograph: Radiograph,
    view: View,
    energy_kev: float,
    notes: dict[str, Any],
) -> NDArray[np.float64]:
    """-ln(I / I0) of averaged pixel values (rows, columns)."""
    if radiograph.scale == "line integral":
        return values
    if radiograph.scale == "linear":
        turned = radiograph.notes.get("inverted")
        exposure = np.nanmax(values) - values if turned is None else turned["top"] - values
        air = float(np.nanpercentile(exposure, 100 - _AIR_PERCENT))
        exposure = np.maximum(exposure, air * 1e-5)
        notes |= {"air": air, "assumed": "the lightest half percent of the film was taken to be air"}
        return np.asarray(np.maximum(-np.log(exposure / air), 0.0))
    frontal = is_frontal(view)
    air, bright = np.nanpercentile(values, [_AIR_PERCENT, 99.5])
    shadow = values[values > air + _SHADOW * (bright - air)]
    dense = float(np.percentile(shadow, _DENSE_PERCENT)) if shadow.size else float(bright)
    water = WATER_MM["frontal" if frontal else "lateral"]
    gain = water * mu_water(energy_kev) / max(dense - air, 1e-9)
    notes |= {"air": float(air), "gain": float(gain)}
    notes["assumed"] = (
        "the file does not say how its grey values relate to attenuation: the darkest half percent was taken"
        f" to be air, and the dense end of the shadow to be {water:.0f} mm of water"
    )
    return np.asarray(np.maximum((values - air) * gain, 0.0))
