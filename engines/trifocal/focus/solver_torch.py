"""The solver's time loop in torch: the same scheme as `solver_cpu`, for a CUDA device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.focus.solver_kernels import GHOST, LAYER
from trifocal.focus.solver_source import fourier

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.focus.solver_grid import Scheme

REPORT_EVERY = 16  # steps
CORE = (slice(GHOST, -GHOST),) * 3


class _Axis:
    """Flux, divergence and absorbing layer along one axis; the other two are without their ghosts."""

    def __init__(self, scheme: Scheme, density: Tensor, axis: int) -> None:
        self.axis = axis
        self.near, self.far = (float(a) for a in scheme.stencil)
        rho = self.inside(density)
        n = rho.shape[axis]
        self.lightness = 1 / (rho.narrow(axis, 1, n - 3) + rho.narrow(axis, 2, n - 3))
        size = list(rho.shape)
        size[axis] = n - 2 * GHOST
        self.flux_decay, self.flux_past = self._layer(scheme.face, self.lightness.shape, LAYER + 1)
        self.div_decay, self.div_past = self._layer(scheme.cell, torch.Size(size), LAYER)

    def _layer(
        self, decay: NDArray[np.float32], size: torch.Size, depth: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Decay per step and memory at the low and the high end."""
        along = [1, 1, 1]
        along[self.axis] = depth
        thin = list(size)
        thin[self.axis] = depth
        device = self.lightness.device
        half = LAYER + 1
        ends = decay[half - depth : half], decay[half : half + depth]
        return (
            [torch.from_numpy(np.ascontiguousarray(d)).to(device).reshape(along) for d in ends],
            [torch.zeros(thin, device=device) for _ in ends],
        )

    def inside(self, field: Tensor) -> Tensor:
        """View of a padded field without the ghosts of the other two axes."""
        for other in {0, 1, 2} - {self.axis}:
            field = field.narrow(other, GHOST, field.shape[other] - 2 * GHOST)
        return field

    def _difference(self, f: Tensor) -> Tensor:
        n, a = f.shape[self.axis] - 3, self.axis
        inner = f.narrow(a, 2, n) - f.narrow(a, 1, n)
        outer = f.narrow(a, 3, n) - f.narrow(a, 0, n)
        return inner.mul_(self.near).add_(outer, alpha=self.far)

    def _stretch(self, f: Tensor, decay: list[Tensor], past: list[Tensor]) -> Tensor:
        """Recursive convolution of both ends, in place."""
        depth = past[0].shape[self.axis]
        for start, rate, memory in zip((0, f.shape[self.axis] - depth), decay, past, strict=True):
            end = f.narrow(self.axis, start, depth)
            memory.mul_(rate).add_((rate - 1) * end)
            end.add_(memory)
        return f

    def divergence(self, p: Tensor) -> Tensor:
        """This axis's part of div((1/rho) grad p), on the voxels that are no ghosts."""
        flux = self._difference(self.inside(p)).mul_(self.lightness)
        return self._stretch(
            self._difference(self._stretch(flux, self.flux_decay, self.flux_past)),
            self.div_decay,
            self.div_past,
        )


class TorchStepper:
    """Steps a scheme through time on a torch device; see `solver_cpu.CpuStepper`."""

    def __init__(self, scheme: Scheme, device: torch.device) -> None:
        self._density, stiffness, memory, self._weight = (
            torch.from_numpy(a).to(device)
            for a in (scheme.density, scheme.stiffness, scheme.memory, scheme.emitters.weight)
        )
        self._voxel = torch.from_numpy(scheme.emitters.voxel.astype(np.int64)).to(device)
        self._axes = [_Axis(scheme, self._density, axis) for axis in range(3)]
        self._stiffness, self._memory = stiffness[CORE], memory[CORE]
        self._now, self._then = torch.zeros_like(self._density), torch.zeros_like(self._density)
        self._drive = scheme.drive.tolist()
        self._wave = [complex(*w) for w in fourier(scheme.steps_per_period).tolist()]
        self._inner = scheme.inner

    def _step(self, push: float) -> None:
        x, y, z = (axis.divergence(self._now) for axis in self._axes)
        p, old = self._now[CORE], self._then[CORE]
        old.sub_(p).mul_(self._memory).neg_().add_(p).addcmul_(self._stiffness, x.add_(y).add_(z))
        self._then.view(-1).index_add_(0, self._voxel, self._weight, alpha=push)
        self._now, self._then = self._then, self._now

    def advance(self, begin: int, end: int, report: Callable[[int], None]) -> None:
        """Do the steps from begin to end."""
        for step in range(begin, end):
            self._step(self._drive[step])
            if step % REPORT_EVERY == 0:
                report(step)

    def listen(self, begin: int, report: Callable[[int], None]) -> NDArray[np.complex64]:
        """Do one period of steps and return the phasor (x, y, z) on the inner box."""
        box = self._now[self._inner]
        phasor = torch.zeros(box.shape, dtype=torch.complex64, device=box.device)
        for sample, weight in enumerate(self._wave):
            self.advance(begin + sample, begin + sample + 1, report)
            phasor.add_(self._now[self._inner], alpha=weight)
        result: NDArray[np.complex64] = phasor.cpu().numpy()
        return result
