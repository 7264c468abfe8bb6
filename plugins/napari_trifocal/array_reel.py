"""Frames of an image layer that another reader has opened. No GUI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_trifocal.reel import Clip, Reel
from trifocal.cine import Cine
from trifocal.image import ImageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def reel_of_array(
    data: ArrayLike, name: str, *, rgb: bool = False, limits: tuple[float, float] = (0.0, 255.0)
) -> Reel:
    """A reel of an array that another reader has opened.

    Args:
        data: (row, column) or (frame, row, column), with RGB or RGBA last where `rgb`; may be lazy.
        name: What to call it.
        rgb: Whether the last axis is colour.
        limits: Values that become 0 and 255, for numbers that are not 8 bits.

    Raises:
        ImageError: If it is neither a picture nor a cine.
    """
    frames = data if np.ndim(data) == 3 + rgb else np.asarray(data)[None]
    if np.ndim(frames) != 3 + rgb:
        msg = f"{name} must be a picture or a cine, got {np.ndim(data) - rgb} axes: choose a layer of 2 or 3"
        raise ImageError(msg)
    shown = _Array(frames, rgb=rgb, limits=limits)
    return Reel([Clip.of(Cine(shown, (frames.shape[2], frames.shape[1]), name))], name)


class _Array:
    """Frames of an array as 8-bit grey or RGB."""

    def __init__(self, data: Any, *, rgb: bool, limits: tuple[float, float]) -> None:
        self._data, self._rgb, self._limits = data, rgb, limits

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        frame = np.asarray(self._data[index])
        if self._rgb:
            frame = frame[..., :3]
        if frame.dtype == np.uint8:
            return frame
        low, high = (0.0, 1.0) if self._rgb else self._limits
        share = np.nan_to_num((frame.astype(np.float64) - low) / max(high - low, 1e-12))
        return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
