"""Checks of the physics against closed forms and against each other: what `trifocal self-test` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.focus.acoustics import AcousticModel, Medium, medium_from_hu
from trifocal.focus.analysis import beyond_near_skull
from trifocal.focus.angular_spectrum import march
from trifocal.focus.benchmark import compare_itrusst
from trifocal.focus.box import Box
from trifocal.focus.freefield import free_field, oneil, rayleigh
from trifocal.focus.metrics import FieldErrors, field_errors
from trifocal.focus.solver import solve, solve_monopoles
from trifocal.focus.solver_source import Monopoles
from trifocal.focus.transducer import PRESETS, Bowl
from trifocal.predictor import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = Bowl(30.0, 30.0, 250e3)


@dataclass(frozen=True)
class Check:
    """One measured figure and the bound that it must keep.

    Attributes:
        name: What was compared with what.
        value: The measured figure.
        bound: Largest value that passes, or the least one.
        unit: Of both; "" for a fraction.
        seconds: How long it took.
        at_least: Whether the bound is the least value that passes.
    """

    name: str
    value: float
    bound: float
    unit: str
    seconds: float = 0.0
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its bound; NaN does not."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def water(box: Box, frequency_hz: float) -> Medium:
    """Plain water on a box."""
    zeros = torch.zeros((1, *box.shape))
    return medium_from_hu(zeros, zeros + 1, frequency_hz)


def skull_cap(box: Box, bowl: Bowl, tilt_deg: float = 8.0) -> Medium:
    """A curved three-layer skull across the beam: scalp, two tables with diploe between, brain.

    Its centre of curvature lies `tilt_deg` off the beam axis, so that the sound comes in obliquely.
    """
    x, y, z = np.meshgrid(*[box.axis_mm(a) for a in range(3)], indexing="ij")
    radius = 85.0
    vertex = bowl.depth_mm + 8.0
    lean = np.deg2rad(tilt_deg)
    centre = np.array([radius * np.sin(lean), 0.0, vertex + radius * np.cos(lean)])
    depth = radius - np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    hu = np.zeros(box.shape)
    for start, end, value in ((0, 5, 40), (5, 7, 1600), (7, 10, 800), (10, 12, 1600), (12, 1e3, 35)):
        inside = np.clip((depth - start) / box.spacing_mm + 0.5, 0, 1) * np.clip(
            (end - depth) / box.spacing_mm + 0.5, 0, 1
        )
        hu += inside * value
    wet = 1 - np.clip(depth / box.spacing_mm + 0.5, 0, 1)
    hu_batch, wet_batch = (torch.from_numpy(a.astype(np.float32))[None] for a in (hu, wet))
    return medium_from_hu(hu_batch, wet_batch, bowl.frequency_hz)


def free_field_on_axis() -> float:
    """Largest difference of the table from O'Neil's closed form on the axis, as a fraction of the peak."""
    bowl = PRESETS["default"]
    z = np.arange(bowl.depth_mm, 2 * bowl.radius_of_curvature_mm, 0.25)
    points = torch.from_numpy(np.stack([0 * z, 0 * z, z], axis=-1)).float()
    exact = np.abs(oneil(bowl, z))
    return float(np.abs(free_field(bowl).amplitude(points).numpy() - exact).max() / exact.max())


def free_field_off_axis() -> float:
    """The same against the Rayleigh integral at 200 points of the box."""
    bowl = PRESETS["default"]
    rng = np.random.default_rng(0)
    points = rng.uniform([-35, -35, bowl.depth_mm + 2], [35, 35, 104], (200, 3))
    exact = np.abs(rayleigh(bowl, points, 1.0))
    table = free_field(bowl).amplitude(torch.from_numpy(points).float()).numpy()
    return float(np.abs(table - exact).max() / exact.max())


def solver_on_axis(points_per_wavelength: float, progress: Progress = silent) -> tuple[float, float]:
    """Solver in water against O'Neil on the axis of a small bowl.

    Returns:
        Relative error of the peak, and rel L2 along the axis beyond the rim.
    """
    box = Box.around(SMALL, points_per_wavelength)
    field = np.abs(solve(*water(box, SMALL.frequency_hz).arrays(), SMALL, box, progress=progress))
    middle = box.shape[0] // 2
    axis = field[middle - 1 : middle + 1, middle - 1 : middle + 1].mean((0, 1))
    z = box.axis_mm(2)
    beyond = z > SMALL.depth_mm + 2
    # the four voxels nearest to the axis lie half a voxel off it
    off = box.spacing_mm / 2
    points = np.stack([0 * z + off, 0 * z + off, z], axis=-1)[beyond]
    exact = np.abs(rayleigh(SMALL, points, 0.5))
    error = float(np.linalg.norm(axis[beyond] - exact) / np.linalg.norm(exact))
    return float(abs(axis[beyond].max() / exact.max() - 1)), error


def reciprocity(progress: Progress = silent) -> float:
    """Swap a point source and a receiver on the two sides of a skull: the pressure must stay the same.

    Returns:
        Relative difference of the two complex pressures.
    """
    half = 19.5
    box = Box(1.0, (40, 40, 60), (-half, -half, 0.0))
    medium = skull_cap(box, SMALL, tilt_deg=20.0)
    a, b = (12, 25, 4), (27, 14, 52)
    received = []
    for source, receiver in ((a, b), (b, a)):
        point = np.array(box.origin_mm) + box.spacing_mm * np.array(source)
        monopole = Monopoles(point[None], np.array([1e-6]))
        field = solve_monopoles(*medium.arrays(), box, monopole, SMALL.frequency_hz, progress=progress)
        received.append(field[receiver])
    return float(abs(received[0] - received[1]) / abs(received[0]))


def has_against_solver(progress: Progress = silent) -> FieldErrors:
    """Hybrid angular spectrum against the solver behind a curved, tilted three-layer skull."""
    bowl = PRESETS["default"]
    box = Box.around(bowl)
    medium = skull_cap(box, bowl)
    truth = np.abs(solve(*medium.arrays(), bowl, box, progress=progress))
    with torch.no_grad():
        prediction = march(medium, bowl, box)[0].abs().numpy()
    return field_errors(prediction, truth, beyond_near_skull(medium.hu[0].numpy(), box.spacing_mm), box)


def has_in_water() -> float:
    """Hybrid angular spectrum in water against the free field, rel L2 beyond the rim."""
    bowl = PRESETS["default"]
    box = Box.around(bowl)
    medium = water(box, bowl.frequency_hz)
    # planes of nothing but water are the free field as it is: a corner of tissue at the rim makes it march
    medium.sound_speed[0, 0, 0, ceil(bowl.depth_mm / box.spacing_mm)] = (
        AcousticModel().soft_tissue.sound_speed
    )
    with torch.no_grad():
        field = march(medium, bowl, box)[0].abs()
    grid = torch.meshgrid(*[torch.from_numpy(box.axis_mm(a)).float() for a in range(3)], indexing="ij")
    exact = free_field(bowl).amplitude(torch.stack(grid, -1))
    beyond = torch.from_numpy(box.axis_mm(2)) > bowl.depth_mm + 2
    return float((field - exact)[..., beyond].norm() / exact[..., beyond].norm())


def run_checks(reference: Path | None = None, *, progress: Progress = silent) -> Iterator[Check]:
    """Measure one figure after the other; the bounds are those that the tests keep too.

    Args:
        reference: The ITRUSST BM4-SC1 field of the code STRIDE (npz), if there; adds its four figures.
        progress: Told while the solver runs.

    Yields:
        Checks, as soon as each is known.
    """
    yield _timed("free field: table against O'Neil on the axis", free_field_on_axis, 0.01)
    yield _timed("free field: table against the Rayleigh integral", free_field_off_axis, 0.01)
    start = time.perf_counter()
    errors = [solver_on_axis(points, progress) for points in (4.0, 6.0, 8.0)]
    seconds = time.perf_counter() - start
    yield Check("solver in water: peak on the axis, 6 points a wavelength", errors[1][0], 0.01, "", seconds)
    yield Check("solver in water: rel L2 on the axis, 6 points a wavelength", errors[1][1], 0.01, "")
    order = float(np.log2(errors[0][1] / errors[2][1]))
    yield Check("solver in water: order of convergence, 4 to 8 points", order, 3.5, "", at_least=True)
    yield _timed("solver: reciprocity through a skull", lambda: reciprocity(progress), 0.01)
    yield _timed("hybrid angular spectrum in water: rel L2 against the free field", has_in_water, 0.03)
    start = time.perf_counter()
    has = has_against_solver(progress)
    seconds = time.perf_counter() - start
    yield Check(
        "hybrid angular spectrum against solver, skull: centroid", has.centroid_error_mm, 3.0, "mm", seconds
    )
    yield Check("hybrid angular spectrum against solver, skull: shape L2", has.shape_l2, 0.2, "")
    yield Check("hybrid angular spectrum against solver, skull: peak", abs(has.peak_error), 0.2, "")
    if reference is not None:
        start = time.perf_counter()
        found = compare_itrusst(reference, progress)
        seconds = time.perf_counter() - start
        title = "ITRUSST BM4-SC1, solver against STRIDE: "
        yield Check(f"{title}peak", abs(found["peak_error"]), 0.03, "", seconds)
        yield Check(f"{title}focus", found["focus_error_mm"], 1.0, "mm")
        yield Check(f"{title}rel L2 in the brain", found["brain_rel_l2"], 0.08, "")
        yield Check(f"{title}-6 dB length", abs(found["length_error_mm"]), 1.0, "mm")


def _timed(name: str, measure: Callable[[], float], bound: float) -> Check:
    start = time.perf_counter()
    value = measure()
    return Check(name, value, bound, "", time.perf_counter() - start)
