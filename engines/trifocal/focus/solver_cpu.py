"""The solver's time loop on the CPU: compiled sweeps, shared out between threads."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from trifocal.focus.solver_kernels import (
    END,
    GHOST,
    LAYER,
    OUTSIDE,
    Grid,
    Layers,
    Medium,
    Scratch,
    Team,
    work,
)
from trifocal.focus.solver_source import fourier

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trifocal.focus.solver_grid import Scheme

    Floats = NDArray[np.float32]

REPORT_EVERY_S = 0.15


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _edges(planes: int, threads: int) -> NDArray[np.uint64]:
    """Where each thread's planes begin and end; none but the outer ones may touch the absorbing layer."""
    clear = GHOST + LAYER + 2
    inner = np.linspace(GHOST, planes - GHOST, threads + 1)[1:-1].round().clip(clear, planes - clear)
    return np.unique([GHOST, *inner, planes - GHOST]).astype(np.uint64)


def _layers(scheme: Scheme) -> Layers:
    nx, ny, nz = scheme.density.shape
    slots, end = int(OUTSIDE), int(END)
    sizes = (slots * ny * nz, nx * slots * nz, nx * ny * 2 * end) * 2
    ends = np.ones((4, end), np.float32)
    for row, decay in (0, scheme.face), (2, scheme.cell):
        ends[row, : len(decay) // 2] = decay[: len(decay) // 2]
        ends[row + 1, -len(decay) // 2 :] = decay[len(decay) // 2 :]
    return Layers(scheme.face, scheme.cell, ends.ravel(), *(np.zeros(n, np.float32) for n in sizes))


def _team(scheme: Scheme, edges: NDArray[np.uint64]) -> Team:
    window = np.array([(s.start, s.stop - s.start) for s in scheme.inner], np.uint64).T
    sums = np.zeros(2 * int(window[1].prod()), np.float32)
    done = np.zeros((len(edges) - 1, 16), np.int64)
    wave = fourier(scheme.steps_per_period)
    return Team(edges, done, scheme.emitters, scheme.drive, wave, np.ascontiguousarray(window), sums)


def _scratch(plane: int) -> Scratch:
    return Scratch(*(np.zeros(n * plane, np.float32) for n in (4, 1, 1, 1, 1, 1)))


class CpuStepper:
    """Steps a scheme through time.

    Args:
        scheme: The problem.
        threads: How many; as many as the process may use processors, if None.
    """

    def __init__(self, scheme: Scheme, threads: int | None = None) -> None:
        nx, ny, nz = scheme.density.shape
        edges = _edges(nx, threads or _processors())
        self._count, self._period = len(edges) - 1, scheme.steps_per_period
        self._size = [s.stop - s.start for s in scheme.inner]
        self._team = _team(scheme, edges)
        sizes = (np.uint64(n) for n in (nx, ny, nz, ny * nz, (ny - 2 * GHOST) * nz))
        self._shared = (
            self._team,
            (np.zeros(nx * ny * nz, np.float32), np.zeros(nx * ny * nz, np.float32)),
            Medium(scheme.density.ravel(), scheme.stiffness.ravel(), scheme.memory.ravel()),
            _layers(scheme),
        )
        self._scratch = [_scratch(ny * nz) for _ in range(self._count)]
        self._grid = Grid(*sizes, *scheme.stencil)
        self._stride = 2

    def advance(self, begin: int, end: int, report: Callable[[int], None], *, listen: bool = False) -> None:
        """Do the steps from begin to end; `report` gets the steps done several times a second."""
        with ThreadPoolExecutor(self._count) as pool:
            while begin < end:
                started, stop = time.perf_counter(), min(begin + self._stride, end)
                steps = begin, stop, listen
                jobs = [
                    pool.submit(work, t, steps, *self._shared, self._scratch[t], self._grid)
                    for t in range(self._count)
                ]
                for job in jobs:
                    job.result()
                rate = (stop - begin) / (time.perf_counter() - started)
                begin, self._stride = stop, max(1, min(int(rate * REPORT_EVERY_S), 4 * self._stride))
                report(begin)

    def listen(self, begin: int, report: Callable[[int], None]) -> NDArray[np.complex64]:
        """Do one period of steps and return the phasor (x, y, z) on the inner box."""
        self._team.sums[:] = 0
        self.advance(begin, begin + self._period, report, listen=True)
        real, imag = self._team.sums.reshape(2, *self._size)
        phasor = np.empty(real.shape, np.complex64)
        phasor.real, phasor.imag = real, imag
        return phasor
