"""The solver's time loop in torch: the same scheme as `solver_cpu`, for a CUDA device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trifocal.focus.solver_kernels import GHOST, LAYER
from trifocal.focus.solver_source import fourier

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trifocal.focus.solver_grid import Scheme
    from trifocal.predictor import Progress

REPORT_EVERY = 16  # steps


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


def run(scheme: Scheme, progress: Progress, device: torch.device) -> NDArray[np.complex64]:
    """Step a scheme through time on a torch device; see `solver_cpu.run`."""
    density, stiffness, memory, weight = (
        torch.from_numpy(a).to(device)
        for a in (scheme.density, scheme.stiffness, scheme.memory, scheme.emitters.weight)
    )
    voxel = torch.from_numpy(scheme.emitters.voxel.astype(np.int64)).to(device)
    axes = [_Axis(scheme, density, axis) for axis in range(3)]
    core = (slice(GHOST, -GHOST),) * 3
    stiffness, memory = stiffness[core], memory[core]
    now, then = torch.zeros_like(density), torch.zeros_like(density)
    wave = fourier(scheme.steps_per_period, len(scheme.drive))
    settling = len(scheme.drive) - len(wave)
    phasor = torch.zeros(now[scheme.inner].shape, dtype=torch.complex64, device=device)
    for step, push in enumerate(scheme.drive.tolist()):
        total = axes[0].divergence(now).add_(axes[1].divergence(now)).add_(axes[2].divergence(now))
        p, old = now[core], then[core]
        old.sub_(p).mul_(memory).neg_().add_(p).addcmul_(stiffness, total)
        then.view(-1).index_add_(0, voxel, weight, alpha=push)
        now, then = then, now
        if step >= settling:
            phasor.add_(now[scheme.inner], alpha=complex(*wave[step - settling].tolist()))
        if step % REPORT_EVERY == 0:
            progress(step / len(scheme.drive), "solving the wave equation")
    progress(1.0, "solving the wave equation")
    result: NDArray[np.complex64] = phasor.cpu().numpy()
    return result
