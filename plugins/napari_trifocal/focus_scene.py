"""The focus engine's layers in a viewer, and how the viewer looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_trifocal.aside import move_all
from napari_trifocal.layers import (
    BOWL,
    CLOUD,
    CT,
    DIFFERENCE,
    ELLIPSOID,
    PINNED_CLOUD,
    PINNED_SHELL,
    SCALP,
    SHELL,
    SKULL,
    SLICES,
    SPREAD,
    TARGET,
    VIEWS,
    View,
    bowl_colour,
    bowl_layer,
    bowl_vertices,
    target_layer,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

# As they are drawn: what is behind the translucent bowl or inside the skull comes before them.
ROLES = (
    CT,
    SLICES,
    SPREAD,
    ELLIPSOID,
    PINNED_SHELL,
    SHELL,
    PINNED_CLOUD,
    CLOUD,
    DIFFERENCE,
    BOWL,
    SKULL,
    SCALP,
    TARGET,
)
ONLY_2D = (CT, SLICES, SPREAD)
ONLY_3D = (SKULL, SCALP, ELLIPSOID, PINNED_CLOUD, PINNED_SHELL, CLOUD, SHELL, BOWL)
MARGIN = 1.3  # of the canvas over the head: room for the bowl
VOLUMES = (CLOUD, SLICES, PINNED_CLOUD, DIFFERENCE, SPREAD)


class FocusScene:
    """Adds, moves and hides the layers; knows nothing of predictions.

    A CT volume is slow in 3-D and surfaces say nothing in 2-D, so each layer shows only in the view that is
    its own; what the user hides stays hidden when the view comes back.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self._wanted = dict.fromkeys(ROLES, True)
        self._aside: set[str] = set()
        self._centre: NDArray[np.float64] | None = None
        self._size_mm = np.full(3, 100.0)
        self._slices = VIEWS["axial"]
        self._connect()

    def close(self) -> None:
        """Let go of the viewer; its layers stay."""
        self.viewer.dims.events.ndisplay.disconnect(self._on_viewer_ndisplay)
        self.viewer.dims.events.order.disconnect(self._on_viewer_order)

    def move_to(self, viewer: ViewerModel) -> None:
        """Go on in another viewer, an empty one, with all layers of this one."""
        self.close()
        before, self.viewer = self.viewer, viewer
        move_all(before, viewer)
        self._connect()

    def layer(self, role: str) -> Layer | None:
        """The layer of a role, if the user has not removed it."""
        found = self.layers.get(role)
        return found if found is not None and found in self.viewer.layers else None

    def clear(self, layers: list[Any], adopted: Layer | None = None) -> None:
        """Take away what is shown, for a head with these layers; an adopted layer serves as its CT."""
        for role in ROLES:
            old = self.layer(role)
            if old is None or old is adopted:
                continue
            if old.metadata.get("trifocal_adopted"):
                old.visible = False
            else:
                self.viewer.layers.remove(old)
        self.layers.clear()
        self._wanted = dict.fromkeys(ROLES, True)
        if adopted is not None:
            self.layers[CT] = adopted
            adopted.metadata["trifocal_adopted"] = True
            adopted.visible = self._shows(CT)
        vertices = layers[1][0][0]
        self._centre = (vertices.min(0) + vertices.max(0)) / 2
        self._size_mm = np.ptp(vertices, axis=0).astype(float)

    @staticmethod
    def missing(layers: list[Any], adopted: Layer | None = None) -> list[tuple[str, Any]]:
        """Those of a head's layers that are to be shown, with their roles."""
        pairs = list(zip((CT, SKULL), layers, strict=True))
        return pairs if adopted is None else pairs[1:]

    def show(self, layer: Any, role: str = "") -> None:
        """Add a layer, or bring the one of the same role up to date by the cheapest way."""
        data, look, _ = layer
        role = role or look["name"]
        old = self.layer(role)
        if old is None:
            self._add(role, layer)
            return
        if role in VOLUMES:
            self._renew_image(old, data, look)
        else:
            old.data = data

    def show_bowl(self, bowl: Bowl, pose: Pose, problem: str | None, *, dragging: bool = False) -> None:
        """Put the bowl into a pose; another bowl needs `drop(BOWL)` first."""
        old = self.layer(BOWL)
        if old is None:
            self._bowl_at = pose
            self._add(BOWL, bowl_layer(bowl, pose, problem))
            return
        if dragging and self.viewer.dims.ndisplay == 3:
            # In 3-D an affine needs no new slice; without one vispy keeps its shaders, 12 ms less a frame.
            with old.events.set_data.blocker():
                old.affine = pose.matrix @ np.linalg.inv(self._bowl_at.matrix)
        else:  # new vertices: a rotated layer would be drawn wrongly in 2-D
            self._bowl_at = pose
            old.affine = np.eye(4)
            old.vertices = bowl_vertices(bowl, pose)
        colour = bowl_colour(problem)
        if old.colormap.name != colour:
            old.colormap = colour

    def show_target(self, target_mm: NDArray[np.float64]) -> None:
        """Put the target marker somewhere."""
        old = self.layer(TARGET)
        if old is None:
            self._add(TARGET, target_layer(target_mm))
        elif not np.array_equal(old.data[0], target_mm):
            old.data = target_mm[None]

    def drop(self, role: str) -> None:
        """Remove the layer of a role."""
        old = self.layer(role)
        if old is not None:
            self.viewer.layers.remove(old)
        self.layers.pop(role, None)

    def hide(self, role: str, *, hidden: bool) -> None:
        """Hide a layer for a while, such as the cloud while the bowl moves."""
        layer = self.layer(role)
        if layer is not None and layer.visible == hidden:
            layer.visible = not hidden and self._shows(role)

    def put_aside(self, *roles: str) -> None:
        """Hide these layers in every view, and bring back those that were put aside before."""
        before, self._aside = self._aside, set(roles)
        for role in before ^ self._aside:
            layer = self.layer(role)
            if layer is None:
                continue
            if role in self._aside and self._is_at_home(role):
                self._wanted[role] = layer.visible
            layer.visible = self._shows(role)

    def look(self, name: str, at: NDArray[np.float64] | None = None, bowl: Pose | None = None) -> None:
        """Choose a view of `VIEWS`.

        Args:
            name: "3-D": the head upright, seen so that the bowl shows; or one of the slice views.
            at: (3,) the point that slices go through.
            bowl: Where the bowl is.
        """
        view, viewer = VIEWS[name], self.viewer
        if view.ndisplay == 2:
            self._slices = view
        viewer.dims.ndisplay = view.ndisplay
        self._turn(view)
        viewer.dims.axis_labels = ("R", "A", "S")
        viewer.canvas.overlays["axes"].visible = True
        viewer.canvas.overlays["scale_bar"].visible = True
        if at is not None:
            viewer.dims.point = tuple(float(c) for c in at)
        if self._centre is None:
            return
        camera = viewer.scene.camera
        camera.center = tuple(self._centre[list(view.order)])
        camera.zoom = self.zoom_to_fit(viewer.canvas.size)
        if view.ndisplay == 3:
            camera.set_view_direction(self._toward(bowl), (0, 0, 1))

    def zoom_to_fit(self, canvas: tuple[float, float]) -> float:
        """Zoom that shows the whole head and the bowl on a canvas of (height, width)."""
        _, vertical, horizontal = self.viewer.dims.order
        high, wide = self._size_mm[vertical], self._size_mm[horizontal]
        if self.viewer.dims.ndisplay == 3:  # it may be turned
            high, wide = self._size_mm.max(), self._size_mm[:2].max()
        return float(min(canvas[0] / high, canvas[1] / wide) / MARGIN)

    def _toward(self, bowl: Pose | None) -> NDArray[np.float64]:
        """View direction (3,): from about the front, the bowl's back in view and the beam across."""
        azimuth = np.deg2rad(90 + np.arange(-165, 180, 30.0))
        eye = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth + 0.45], axis=-1)
        eye /= np.linalg.norm(eye, axis=1, keepdims=True)
        outward = np.array([0.0, 0.0, 1.0]) if bowl is None else -bowl.direction
        best = np.abs(eye @ outward - 0.45) - 0.15 * eye[:, 1]
        return -eye[int(best.argmin())]

    def _turn(self, view: View) -> None:
        self.viewer.dims.order = view.order
        self.viewer.scene.camera.orientation = view.orientation

    def _add(self, role: str, layer: Any) -> None:
        data, look, kind = layer
        made = Layer.create(data, {**look, "visible": self._shows(role)}, kind)
        below = [r for r in ROLES[: ROLES.index(role)] if self.layer(r) is not None]
        index = self.viewer.layers.index(self.layer(below[-1])) + 1 if below else len(self.viewer.layers)
        selected = self.viewer.layers.selection.active
        self.viewer.layers.insert(index, made)
        if selected is not None and selected in self.viewer.layers:
            self.viewer.layers.selection.active = selected
        self.layers[role] = made

    def _renew_image(self, old: Layer, data: NDArray[np.float32], look: dict[str, Any]) -> None:
        shown, old.visible = old.visible, False  # each setter redraws what is visible
        old.data = data
        old.affine = look["affine"]
        low, high = look["contrast_limits"]
        old.contrast_limits_range = (min(low, 0.0), high)
        old.contrast_limits = low, high
        if "plane" in look:
            old.plane = look["plane"]
        old.visible = shown

    def _is_at_home(self, role: str) -> bool:
        return role not in (ONLY_3D if self.viewer.dims.ndisplay == 2 else ONLY_2D)

    def _shows(self, role: str) -> bool:
        return self._wanted[role] and role not in self._aside and self._is_at_home(role)

    def _connect(self) -> None:
        self.viewer.dims.events.ndisplay.connect(self._on_viewer_ndisplay)
        self.viewer.dims.events.order.connect(self._on_viewer_order)

    def _on_viewer_ndisplay(self) -> None:
        entered, left = (ONLY_3D, ONLY_2D) if self.viewer.dims.ndisplay == 3 else (ONLY_2D, ONLY_3D)
        for role in left:
            layer = self.layer(role)
            if layer is not None:
                if role not in self._aside:
                    self._wanted[role] = layer.visible
                layer.visible = False
        if self.layers:
            self._turn(VIEWS["3-D"] if self.viewer.dims.ndisplay == 3 else self._slices)
        for role in entered:
            layer = self.layer(role)
            if layer is not None:
                layer.visible = self._shows(role)

    def _on_viewer_order(self) -> None:
        view = VIEWS["3-D"]
        if self.layers and self.viewer.dims.ndisplay == 3 and self.viewer.dims.order != view.order:
            self._turn(view)  # napari draws surfaces at the wrong place in any other order
