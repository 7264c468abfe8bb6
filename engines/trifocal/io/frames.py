"""Frames that are decoded when they are asked for, the last few kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

KEPT_BYTES = 48 * 2**20


class LazyFrames:
    """A sequence of frames in bounded memory, safe to use from several threads.

    Args:
        count: How many frames there are.
        load: Decodes the frame of an index to (rows, columns) or (rows, columns, 3); may raise ImageError.
        kept_bytes: Frames of so many bytes together are kept, the last used ones and never fewer than one;
            `KEPT_BYTES` if left out.
    """

    def __init__(
        self, count: int, load: Callable[[int], NDArray[np.uint8]], *, kept_bytes: int | None = None
    ) -> None:
        self._count = count
        self._load = load
        self._kept_bytes = KEPT_BYTES if kept_bytes is None else kept_bytes
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """One frame, as the caller's own copy.

        Raises:
            IndexError: If there is no such frame.
            ImageError: If it cannot be decoded.
        """
        number = index + self._count if index < 0 else index
        if not 0 <= number < self._count:
            msg = f"the frame must be one of 0 to {self._count - 1}, got {index}"
            raise IndexError(msg)
        with self._lock:
            if number not in self._kept:
                self._keep(number, self._load(number))
            self._kept.move_to_end(number)
            return self._kept[number].copy()

    def _keep(self, number: int, frame: NDArray[np.uint8]) -> None:
        room = max(self._kept_bytes // frame.nbytes, 1)
        while len(self._kept) >= room:
            self._kept.popitem(last=False)
        self._kept[number] = frame


def to_grey8(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Map low..high to 0..255, linearly and rounded; what lies beyond is clipped."""
    scaled = (values.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    grey: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return grey


def display_range(first: NDArray[np.generic]) -> tuple[float, float]:
    """What becomes black and white where values do not fit 8 bits and the file names no window.

    Black is 0, or the lowest value where there are negative ones; white is the highest value of the first
    frame. All frames share the range: a cine must not flicker.
    """
    return min(float(first.min()), 0.0), float(first.max())
