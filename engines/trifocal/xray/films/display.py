"""Line integrals as pixel values of a file or a picture, and back where that is possible; in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def to_signal(line_integrals: Tensor, open_beam: float | Tensor = 1.0) -> Tensor:
    """Detector signal (a linear film): open_beam * exp(-p); the more attenuation, the less."""
    return open_beam * torch.exp(-line_integrals)


def from_signal(signal: Tensor, open_beam: float | Tensor) -> Tensor:
    """Line integrals of a detector signal: the inverse of `to_signal`, whatever the exposure was.

    Args:
        signal: (..., rows, columns); what is not positive counts as the least that is.
        open_beam: Signal where nothing stood in the beam, in the same unit; broadcast against `signal`.
    """
    least = torch.where(signal > 0, signal, torch.inf).amin((-2, -1), keepdim=True)
    beam = torch.as_tensor(open_beam, dtype=signal.dtype, device=signal.device)
    return torch.log(beam) - torch.log(torch.maximum(signal, least))


@dataclass(frozen=True, eq=False)
class Display:
    """How a viewer or a vendor's processing shows line integrals as grey values of 0 to `white`.

    The numbers may be tensors that broadcast against (..., rows, columns).

    Attributes:
        low: Line integral at the dark end of the window.
        high: Line integral at the bright end.
        gamma: Exponent of the curve between: under 1 brightens the lungs, over 1 darkens them.
        white: Greatest pixel value.
        monochrome1: Whether the file counts the other way round (DICOM MONOCHROME1: bone is 0).
    """

    low: float | Tensor = 0.0
    high: float | Tensor = 6.0
    gamma: float | Tensor = 1.0
    white: float = 1.0
    monochrome1: bool = False

    def __post_init__(self) -> None:
        low, high, gamma, white = map(torch.as_tensor, (self.low, self.high, self.gamma, self.white))
        if not ((high > low).all() and (gamma > 0).all() and (white > 0).all()):
            msg = f"a display must have high over low, and a gamma and a white over 0, got {self}"
            raise ValueError(msg)

    def grey(self, line_integrals: Tensor) -> Tensor:
        """Pixel values of (..., rows, columns) line integrals; what is beyond the window is clipped."""
        share = ((line_integrals - self.low) / (self.high - self.low)).clamp(0, 1)
        value = share**self.gamma
        return self.white * (1 - value if self.monochrome1 else value)

    def line_integrals(self, grey: Tensor) -> Tensor:
        """Inverse of `grey`, exact within the window."""
        value = (grey / self.white).clamp(0, 1)
        value = 1 - value if self.monochrome1 else value
        return self.low + (self.high - self.low) * value ** (1 / self.gamma)
