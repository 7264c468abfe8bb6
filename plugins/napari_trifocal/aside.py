"""Widgets that share a viewer take turns with it: what one shows is put aside, and comes back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel

OVERLAYS = ("axes", "scale_bar")


def move_all(source: ViewerModel, target: ViewerModel) -> None:
    """Move all layers from a viewer to another one, empty, which then looks at them in the same way.

    One of the two is a model without a window, where layers can be changed all the same.
    """
    layers, active = list(source.layers), source.layers.selection.active
    dims, camera = source.dims, source.scene.camera
    ndisplay, order, point, labels = dims.ndisplay, dims.order, dims.point, dims.axis_labels
    orientation, angles, center, zoom = camera.orientation, camera.angles, camera.center, camera.zoom
    shown = {name: source.canvas.overlays[name].visible for name in OVERLAYS}
    source.layers.clear()
    for name in OVERLAYS:
        source.canvas.overlays[name].visible = False
    target.dims.ndisplay = 2
    if not layers:
        return  # napari cannot look at nothing in 3-D
    target.layers.extend(layers)
    target.dims.ndisplay = ndisplay
    target.dims.order = order
    target.dims.axis_labels = labels
    target.dims.point = point
    target.scene.camera.orientation = orientation
    target.scene.camera.angles, target.scene.camera.center, target.scene.camera.zoom = angles, center, zoom
    for name, visible in shown.items():
        target.canvas.overlays[name].visible = visible
    if active is not None:
        target.layers.selection.active = active
