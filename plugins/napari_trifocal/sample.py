"""Sample data, made offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_trifocal.layers import to_layers

if TYPE_CHECKING:
    from napari.types import LayerDataTuple


def sample_head() -> list[LayerDataTuple]:
    """Make the head CT that the project generates itself."""
    from trifocal.focus.phantoms import sample_head as make

    return to_layers(make(), name="sample head")
