"""What every engine's predictor has in common: the protocol, progress, cancelling, the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch

if TYPE_CHECKING:
    from pathlib import Path

Progress = Callable[[float, str], None]
"""Called with the fraction done (0 to 1) and what is being done; may raise `Cancelled`."""

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """Raised by a progress callback to stop the work; nothing is left half-written."""


class Stopped(Cancelled):
    """The system asked the process to end, by the named signal; what is needed to go on is on the disk."""


def silent(fraction: float, what: str) -> None:
    """Report no progress."""


class Predictor(Protocol[In_contra, Out_co]):
    """Inputs in world millimetres and named units in, a frozen record of numpy arrays out."""

    @classmethod
    def load(cls, checkpoint: Path | str, *, device: str = "auto") -> Self:
        """Make the predictor from a checkpoint, or from the name of a rung that needs none."""
        ...

    def predict(self, inputs: In_contra, /, *, progress: Progress = silent) -> Out_co:
        """Predict; no state is kept between calls."""
        ...


def pick_device(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device that exists.

    Raises:
        ValueError: If the name is unknown, or CUDA is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        msg = f'device must be "auto", "cpu" or "cuda", got {name!r}'
        raise ValueError(msg)
    if name == "cuda" and not torch.cuda.is_available():
        msg = "device cuda was asked for, but torch finds no CUDA GPU: use --device auto or cpu"
        raise ValueError(msg)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def one_core() -> Iterator[None]:
    """Let torch compute on one core; the solver's loop has threads of its own.

    A march, or a small network, is hundreds of steps of a fraction of a millisecond, and torch's threads
    wait for each other at every one. When the other core had anything else to do, a full prediction of
    the focus engine took 0.10 s on one core and 0.08 to 7 s (median 1.7 s) on two; four of the keypoints
    engine 1 s and 13 to 18 s.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
