"""What a detector makes of line integrals: blur, scatter and quantum noise; batched, in torch.

All functions take and give (..., rows, columns) line integrals -ln(I / I0). The numbers of an `Exposure` may
be tensors of the batch's shape (...), so that one call gives every film of a batch its own exposure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_SHADOW = 0.1
"""Line integral from which a pixel counts as lying in the patient's shadow (5 mm of water)."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """How a film is exposed; the defaults change nothing.

    Attributes:
        photons: That a pixel counts in the open beam; infinite for no noise. 1e3 (coarse) to 1e6 (clean).
        scatter_fraction: Share of the scattered among all photons, on average in the patient's shadow;
            0.05 to 0.3 behind a grid, up to 0.8 without one.
        scatter_width: Standard deviation of the scattered photons' spread over the longer edge of the film.
        blur_px: Standard deviation of the detector's point spread in pixels.
    """

    photons: float | Tensor = math.inf
    scatter_fraction: float | Tensor = 0.0
    scatter_width: float | Tensor = 0.1
    blur_px: float | Tensor = 0.0

    def __post_init__(self) -> None:
        limits = {
            "photons": (1.0, math.inf),
            "scatter_fraction": (0.0, 0.95),
            "scatter_width": (0.005, 2.0),
            "blur_px": (0.0, 1e3),
        }
        for name, (low, high) in limits.items():
            value = torch.as_tensor(getattr(self, name))
            if not ((value >= low) & (value <= high)).all():
                msg = f"{name} must be within {low:g} to {high:g}, got {getattr(self, name)}"
                raise ValueError(msg)


def expose(line_integrals: Tensor, exposure: Exposure, generator: torch.Generator | None = None) -> Tensor:
    """The line integrals that a film shows instead of the true ones; differentiable.

    In the order of the physics: the primary photons exp(-p), scatter added, the sum blurred by the detector,
    counted with noise, and the logarithm taken; less than half a photon counts as half a photon.
    """
    beam = torch.exp(-line_integrals)
    if _any(exposure.scatter_fraction):
        beam = beam + _scattered(line_integrals, beam, exposure)
    if _any(exposure.blur_px):
        beam = blurred(beam, exposure.blur_px)
    photons = _each(exposure.photons, beam)
    if torch.isfinite(photons).any():
        beam = _counted(beam, photons, generator)
    return -torch.log(beam.clamp(min=torch.finfo(beam.dtype).tiny))


def without_scatter(line_integrals: Tensor, exposure: Exposure, rounds: int = 10) -> Tensor:
    """Line integrals without the scatter that `expose` adds, found by fixed-point iteration.

    Only as good as the model of the scatter and its stated fraction: on a real film both are guesses.
    """
    beam = torch.exp(-line_integrals)
    primary = beam
    for _ in range(rounds):
        scatter = _scattered(-torch.log(primary), primary, exposure)
        primary = torch.maximum(beam - scatter, 0.02 * beam)
    return -torch.log(primary)


def blurred(images: Tensor, sigma_px: float | Tensor) -> Tensor:
    """Gaussian blur of (..., rows, columns), as two matrix products; the edge is weighed by what is there.

    Args:
        images: Any values.
        sigma_px: Standard deviation, one or of the batch's shape (...); 0 leaves a film as it is.
    """
    sigma = _each(sigma_px, images)
    down, across = (_gauss(n, sigma, images) for n in images.shape[-2:])
    return down @ images @ across.mT


def _scattered(line_integrals: Tensor, beam: Tensor, exposure: Exposure) -> Tensor:
    """Scattered photons at each pixel.

    They start where photons are lost and others still get through, exp(-p) p (the forward scatter intensity
    of Ohnesorge et al. 1999, Eur. Radiol. 9:563), and spread widely; their amount follows from the fraction.
    """
    sigma = _each(exposure.scatter_width, beam) * max(beam.shape[-2:])
    spread = blurred(beam * line_integrals.clamp(min=0), sigma[..., 0, 0])
    shadow = (line_integrals > _SHADOW).to(beam.dtype)
    fraction = _each(exposure.scatter_fraction, beam)
    primary = (beam * shadow).sum((-2, -1), keepdim=True)
    there = (spread * shadow).sum((-2, -1), keepdim=True)
    return spread * (fraction / (1 - fraction) * primary / there.clamp(min=1e-12))


def _counted(beam: Tensor, photons: Tensor, generator: torch.Generator | None) -> Tensor:
    """Quantum noise: Poisson's, as a normal distribution of the same mean and variance."""
    noise = torch.randn(beam.shape, generator=generator, device=beam.device, dtype=beam.dtype)
    counted = beam + noise * torch.sqrt(beam.clamp(min=0) / photons)
    return torch.maximum(counted, 0.5 / photons)


def _gauss(n: int, sigma: Tensor, like: Tensor) -> Tensor:
    """(..., n, n) rows of a Gaussian; each sums to 1."""
    index = torch.arange(n, device=like.device, dtype=like.dtype)
    distance = (index[:, None] - index) ** 2
    weights = torch.exp(-distance / (2 * sigma.clamp(min=1e-2) ** 2))
    return weights / weights.sum(-1, keepdim=True)


def _each(value: float | Tensor, images: Tensor) -> Tensor:
    """A number, or one for each film of a batch, so that it multiplies (..., rows, columns)."""
    return torch.as_tensor(value, device=images.device, dtype=images.dtype)[..., None, None]


def _any(value: float | Tensor) -> bool:
    return bool(torch.as_tensor(value).any())
