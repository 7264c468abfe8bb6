"""One time step of the solver on the CPU, compiled by numba.

A step sweeps over the planes. Fluxes and divergences of one plane stay in the second-level cache; main memory
gives five floats per voxel and step and takes one. Each operation is a loop of its own over few arrays, along
as much of a plane as is contiguous: such loops are vectorised, longer ones are not.

The planes are shared out between threads that wait for each other inside the compiled code. numba's own
parallel loops are not used: OpenMP spins for its whole time slice when a core is taken by something else (5
times slower beside a busy interface thread), and what numba falls back to where OpenMP is missing aborts the
process if another thread of it (napari's, say) runs a parallel loop too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

GHOST = 3  # voxels of zero pressure all round: what the stencil of a divergence of gradients reaches
LAYER = 8  # voxels of the absorbing layer on each side
F = TypeVar("F", bound="Callable[..., Any]")
Index = Any  # np.uint64, of voxels: a signed index is tested for wrapping round, which keeps a loop scalar
NONE, ONE, TWO, THREE, FOUR = (np.uint64(n) for n in range(5))
GHOSTS, LAYERS, FIRST_FACE, FIRST_CELL = (np.uint64(n) for n in (GHOST, LAYER, GHOST - 2, GHOST - 1))
SLOTS, OUTSIDE = LAYERS + ONE, LAYERS + ONE + LAYERS + ONE  # faces of the layer on one and on both sides
END = np.uint64(16)  # voxels at either end of a row that are treated as if in the layer: one vector register


def _compiled(function: F) -> F:
    fast = {"contract", "arcp", "nsz"}
    return cast("F", njit(nogil=True, cache=True, error_model="numpy", fastmath=fast)(function))


_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
_yield_processor = types.ExternalFunction(_YIELD, types.int32())


def _fence_code(_context: Any) -> Any:
    """Order memory accesses before and after it, for the compiler and for the processor."""

    def emit(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


_fence: Any = intrinsic(_fence_code)


class Emitters(NamedTuple):
    """Voxels that emit: those of plane i are start[i] to start[i + 1]; weights are per unit of the drive."""

    start: NDArray[np.uint64]
    voxel: NDArray[np.uint64]
    weight: Floats


class Team(NamedTuple):
    """What the threads share besides the fields.

    Attributes:
        edges: (threads + 1,) first plane of each thread.
        done: (threads, 16) steps that each has finished, in the first column (a cache line for each).
        emitters: The source.
        drive: (steps,) what it does.
        wave: (steps per period, 2) Fourier weights.
        window: (2, 3) corner and size of the inner box in the padded grid.
        sums: (2, x, y, z) Fourier sums over the inner box, flattened.
    """

    edges: NDArray[np.uint64]
    done: NDArray[np.int64]
    emitters: Emitters
    drive: Floats
    wave: Floats
    window: NDArray[np.uint64]
    sums: Floats


class Medium(NamedTuple):
    """What every voxel reads, flattened; see `solver_grid.Scheme`."""

    density: Floats
    stiffness: Floats
    memory: Floats


class Layers(NamedTuple):
    """The absorbing layer: decay per step, and the memory of fluxes and divergences per axis, flattened.

    The x arrays are (2 SLOTS, ny, nz), the y arrays (nx, 2 SLOTS, nz), the z arrays (nx, ny, 2 END). `ends`
    is (4, END): the decay along z of faces and of voxels at the low and the high end, 1 outside the layer.
    """

    face: Floats
    cell: Floats
    ends: Floats
    flux_x: Floats
    flux_y: Floats
    flux_z: Floats
    div_x: Floats
    div_y: Floats
    div_z: Floats


class Scratch(NamedTuple):
    """One thread's planes: fluxes along x (four of them), y and z; the three parts of their divergence."""

    x: Floats
    y: Floats
    z: Floats
    div_x: Floats
    div_y: Floats
    div_z: Floats


class Grid(NamedTuple):
    """Size of the padded grid, voxels of a plane and of its part without ghost rows, the stencil."""

    nx: Index
    ny: Index
    nz: Index
    plane: Index
    n: Index
    near: Any
    far: Any


@_compiled
def _flux(out: Floats, o: Index, n: Index, p: Floats, rho: Floats, at: Index, d: Index, g: Grid) -> None:
    """Difference of the pressure along stride d over the density, on the faces after n voxels."""
    near, far = g.near, g.far
    for k in range(n):
        i = at + k
        out[o + k] = (near * (p[i + d] - p[i]) + far * (p[i + d + d] - p[i - d])) / (rho[i] + rho[i + d])


@_compiled
def _difference(out: Floats, o: Index, f: Floats, a: Index, b: Index, c: Index, d: Index, g: Grid) -> None:
    """Difference of four runs of fluxes that begin at a, b, c and d."""
    near, far = g.near, g.far
    for k in range(g.n):
        out[o + k] = near * (f[c + k] - f[b + k]) + far * (f[d + k] - f[a + k])


@_compiled
def _stretch(out: Floats, o: Index, n: Index, past: Floats, q: Index, decay: Any) -> None:
    """Recursive convolution of a run of values at one depth in the absorbing layer."""
    loss = decay - np.float32(1)
    for k in range(n):
        past[q + k] = decay * past[q + k] + loss * out[o + k]
        out[o + k] += past[q + k]


@_compiled
def _stretch_rows(out: Floats, o: Index, past: Floats, q: Index, decay: Floats, nz: Index) -> None:
    """The same for SLOTS rows, one at each depth."""
    for s in range(SLOTS):
        _stretch(out, o + s * nz, nz, past, q + s * nz, decay[s])


@_compiled
def _stretch_end(out: Floats, o: Index, past: Floats, q: Index, decay: Floats, s: Index) -> None:
    for k in range(END):
        past[q + k] = decay[s + k] * past[q + k] + (decay[s + k] - np.float32(1)) * out[o + k]
        out[o + k] += past[q + k]


@_compiled
def _stretch_ends(out: Floats, past: Floats, q: Index, decay: Floats, s: Index, low: Index, g: Grid) -> None:
    """Recursive convolution of both ends of every row of a plane; `low` is where the low end begins."""
    high = g.nz - GHOSTS + ONE - END
    for j in range(GHOSTS, g.ny - GHOSTS):
        _stretch_end(out, j * g.nz + low, past, q, decay, s)
        _stretch_end(out, j * g.nz + high, past, q + END, decay, s + END)
        q += END + END


@_compiled
def _advance(p_old: Floats, p: Floats, m: Medium, at: Index, w: Scratch, o: Index, n: Index) -> None:
    stiffness, memory, x, y, z = m.stiffness, m.memory, w.div_x, w.div_y, w.div_z
    for k in range(n):
        i, f = at + k, o + k
        p_old[i] = p[i] + memory[i] * (p[i] - p_old[i]) + stiffness[i] * (x[f] + y[f] + z[f])


@_compiled
def _slot(i: Index, n: Index, first: Index) -> Index:
    """Where index i of n lies in the absorbing layer, OUTSIDE if it does not; `first` is its low end."""
    if i < first + SLOTS:
        return i - first
    if i >= n - GHOSTS - LAYERS:
        return SLOTS + i - (n - GHOSTS - LAYERS)
    return OUTSIDE


@_compiled
def _flux_x(p: Floats, m: Medium, layer: Layers, w: Scratch, i: Index, g: Grid) -> None:
    """Fluxes along x on the faces between plane i and plane i + 1."""
    skip = GHOSTS * g.nz
    o = i % FOUR * g.plane + skip
    _flux(w.x, o, g.n, p, m.density, i * g.plane + skip, g.plane, g)
    s = _slot(i, g.nx, FIRST_FACE)
    if s < OUTSIDE:
        _stretch(w.x, o, g.n, layer.flux_x, s * g.plane, layer.face[s])


@_compiled
def _flux_yz(p: Floats, m: Medium, layer: Layers, w: Scratch, i: Index, g: Grid) -> None:
    """Fluxes along y and z on the faces within plane i."""
    skip, at, high = FIRST_FACE * g.nz, i * g.plane, (g.ny - GHOSTS - LAYERS) * g.nz
    _flux(w.y, skip, g.n + GHOSTS * g.nz, p, m.density, at + skip, g.nz, g)
    q = i * OUTSIDE * g.nz
    _stretch_rows(w.y, skip, layer.flux_y, q, layer.face, g.nz)
    _stretch_rows(w.y, high, layer.flux_y, q + SLOTS * g.nz, layer.face[SLOTS:], g.nz)
    skip = GHOSTS * g.nz
    _flux(w.z, skip, g.n, p, m.density, at + skip, ONE, g)
    _stretch_ends(w.z, layer.flux_z, i * g.ny * (END + END), layer.ends, NONE, FIRST_FACE, g)


@_compiled
def _divergence(layer: Layers, w: Scratch, i: Index, g: Grid) -> None:
    """The three parts of the divergence of the fluxes in plane i."""
    o, nz = GHOSTS * g.nz, g.nz
    a, b, c, d = (i + TWO) % FOUR, (i + THREE) % FOUR, i % FOUR, (i + ONE) % FOUR
    _difference(w.div_x, o, w.x, a * g.plane + o, b * g.plane + o, c * g.plane + o, d * g.plane + o, g)
    s = _slot(i, g.nx, FIRST_CELL)
    if s < OUTSIDE:
        _stretch(w.div_x, o, g.n, layer.div_x, s * g.plane, layer.cell[s])
    _difference(w.div_y, o, w.y, o - nz - nz, o - nz, o, o + nz, g)
    q = i * OUTSIDE * nz
    _stretch_rows(w.div_y, FIRST_CELL * nz, layer.div_y, q, layer.cell, nz)
    _stretch_rows(w.div_y, (g.ny - GHOSTS - LAYERS) * nz, layer.div_y, q + SLOTS * nz, layer.cell[SLOTS:], nz)
    _difference(w.div_z, o, w.z, o - TWO, o - ONE, o, o + ONE, g)
    _stretch_ends(w.div_z, layer.div_z, i * g.ny * (END + END), layer.ends, END + END, FIRST_CELL, g)


@_compiled
def _sweep(
    p: Floats, p_old: Floats, m: Medium, layer: Layers, w: Scratch, g: Grid, first: Index, last: Index
) -> None:
    """Put the next pressure of planes first to last in the place of the one before."""
    for i in range(first - TWO, first + ONE):
        _flux_x(p, m, layer, w, i, g)
    o = GHOSTS * g.nz
    for i in range(first, last):
        _flux_x(p, m, layer, w, i + ONE, g)
        _flux_yz(p, m, layer, w, i, g)
        _divergence(layer, w, i, g)
        _advance(p_old, p, m, i * g.plane + o, w, o, g.n)


@_compiled
def _accumulate(p: Floats, t: Team, sample: int, g: Grid, first: Index, last: Index) -> None:
    """Add one sample to the Fourier sums of those planes of the inner box that lie in first to last."""
    x, y, z = t.window[0, 0], t.window[0, 1], t.window[0, 2]
    nx, ny, nz = t.window[1, 0], t.window[1, 1], t.window[1, 2]
    sums, half, real, imag = t.sums, nx * ny * nz, t.wave[sample, 0], t.wave[sample, 1]
    for i in range(max(first, x), min(last, x + nx)):
        for j in range(ny):
            a = (i * g.ny + j + y) * g.nz + z
            b = ((i - x) * ny + j) * nz
            for k in range(nz):
                sums[b + k] += real * p[a + k]
                sums[half + b + k] += imag * p[a + k]


@_compiled
def work(
    thread: int, steps: Any, t: Team, fields: Any, m: Medium, layer: Layers, w: Scratch, g: Grid
) -> None:
    """One thread's planes over steps (begin, end, whether to add them to the sums); see `Team.done`."""
    first, last = t.edges[thread], t.edges[thread + 1]
    begin, end, listen = steps
    for step in range(begin, end):
        for other in range(t.done.shape[0]):
            while t.done[other, 0] < step:
                _yield_processor()
                _fence()
        _fence()
        now, then = fields[step % 2], fields[(step + 1) % 2]
        _sweep(now, then, m, layer, w, g, first, last)
        for n in range(t.emitters.start[first], t.emitters.start[last]):
            then[t.emitters.voxel[n]] += t.drive[step] * t.emitters.weight[n]
        if listen:
            _accumulate(then, t, step % t.wave.shape[0], g, first, last)
        _fence()
        t.done[thread, 0] = step + 1
