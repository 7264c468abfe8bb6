"""The palette of a PALETTE COLOR image (DICOM PS3.3, C.7.6.3.1.5 and C.7.9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.pixels.processing import apply_color_lut

from trifocal.image import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_CHANNELS = ("Red", "Green", "Blue")


def palette(header: Dataset, name: str) -> tuple[int, NDArray[np.uint8]]:
    """The first stored value that is mapped, and the colours of it and those that follow.

    Entries of 16 bits keep their higher 8, unless all of them are below 256: some writers declare 16 bits and
    fill 8.

    Returns:
        The first value, and (entries, 3) RGB. What lies outside gets the nearest entry's colour.

    Raises:
        ImageError: If the palette is incomplete.
    """
    try:
        entries, first, _ = (int(n) for n in header.RedPaletteColorLookupTableDescriptor)
        entries = entries or 2**16
        if "RedPaletteColorLookupTableData" in header:
            colours = np.stack([_plain(header, channel, entries) for channel in _CHANNELS], axis=-1)
        else:  # segmented
            colours = apply_color_lut(np.arange(first, first + entries, dtype=np.int32), header)[..., :3]
    except Exception as error:  # noqa: BLE001 - a damaged palette may raise anything
        msg = f"the colour palette of {name} is damaged ({type(error).__name__}): export it again"
        raise ImageError(msg) from None
    if colours.max() > 255:
        colours = colours >> 8
    return first, colours.astype(np.uint8)


def _plain(header: Dataset, channel: str, entries: int) -> NDArray[Any]:
    """(entries,) of one channel, of 8 or 16 bits as their number of bytes says."""
    data = bytes(header[f"{channel}PaletteColorLookupTableData"].value)
    if len(data) < 2 * entries:
        return np.frombuffer(data, np.uint8, entries)
    _, little = header.original_encoding
    return np.frombuffer(data, "<u2" if little else ">u2", entries)
