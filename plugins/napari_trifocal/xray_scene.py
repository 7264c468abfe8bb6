"""The X-ray engine's layers in a viewer, and how the viewer looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_trifocal.aside import move_all
from napari_trifocal.xray_layers import (
    BONE,
    ERROR,
    FRONTAL_FILM,
    LATERAL_FILM,
    LUNG,
    NULL_SPACE,
    RAYS,
    RECONSTRUCTION,
    SET_UP,
    SKIN,
    SOURCES,
    STD,
    WINDOWS,
    XRAY_VIEWS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_trifocal.layers import View

TRUTH = "True CT"
"""Role of a CT that X-rays were simulated from; its layer keeps the name that it came with."""
# As they are drawn: what is inside the translucent skin comes before it.
ROLES = (
    *(TRUTH, RECONSTRUCTION, STD, NULL_SPACE, ERROR),
    *(FRONTAL_FILM, LATERAL_FILM, RAYS, SOURCES, BONE, LUNG, SKIN),
)
ONLY_2D = (TRUTH, RECONSTRUCTION, STD, NULL_SPACE, ERROR)
ONLY_3D = tuple(role for role in ROLES if role not in ONLY_2D)
FAR = (FRONTAL_FILM, LATERAL_FILM, RAYS, SOURCES)  # meters away: slices do not go there
ASKED_FOR = (STD, NULL_SPACE, ERROR)  # would cover the CT: hidden until somebody wants to see them
MARGIN = 1.15


class XrayScene:
    """Adds, renews and hides the layers; knows nothing of sessions.

    A CT volume is slow in 3-D and surfaces say nothing in 2-D, so each layer shows only in the view that is
    its own; what the user hides stays hidden when the view comes back.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self.window = "all"
        self._wanted = {role: role not in ASKED_FOR for role in ROLES}
        self._slices = XRAY_VIEWS["coronal"]
        self._box = np.array([[-200.0] * 3, [200.0] * 3])
        self._connect()

    def close(self) -> None:
        """Let go of the viewer; its layers stay."""
        self.viewer.dims.events.ndisplay.disconnect(self._on_viewer_ndisplay)
        self.viewer.dims.events.order.disconnect(self._on_viewer_order)
        self.viewer.dims.events.range.disconnect(self._on_viewer_range)

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

    def adopt(self, role: str, layer: Layer) -> None:
        """Treat a layer of the viewer as that of a role."""
        self.layers[role] = layer
        layer.visible = self._shows(role)

    def show(self, layer: Any, role: str = "") -> None:
        """Add a layer, or bring the one of the same role up to date."""
        data, look, kind = layer
        role = role or look["name"]
        old = self.layer(role)
        if old is not None and kind == "image":
            self._renew_image(old, data, look)
        elif old is not None and "texture" not in look:
            old.data = data
        else:
            self.drop(role)
            self._add(role, layer)

    def keep(self, roles: Iterable[str], among: Iterable[str]) -> None:
        """Of some roles, remove the layers of all others: what they showed is not there any more."""
        for role in set(among) - set(roles):
            self.drop(role)

    def drop(self, role: str) -> None:
        """Remove the layer of a role."""
        old = self.layer(role)
        if old is not None:
            self.viewer.layers.remove(old)
        self.layers.pop(role, None)

    def drop_results(self) -> None:
        """Remove everything but the true CT: it is of other X-rays."""
        for role in ROLES:
            if role != TRUTH:
                self.drop(role)

    def reveal(self, role: str, *, visible: bool) -> None:
        """Show or hide a layer, here or in the view where it is at home."""
        self._wanted[role] = visible
        layer = self.layer(role)
        if layer is not None:
            layer.visible = self._shows(role)

    def set_window(self, name: str) -> None:
        """See the CTs through one of `WINDOWS`."""
        self.window = name
        for role in (RECONSTRUCTION, TRUTH):
            layer = self.layer(role)
            if layer is not None:
                _window(layer, WINDOWS[name])

    def look(self, name: str, at: NDArray[np.float64] | None = None) -> None:
        """Choose a view of `XRAY_VIEWS`; slices go through `at` (3,), by default the box's middle."""
        view, viewer = XRAY_VIEWS[name], self.viewer
        if view.ndisplay == 2:
            self._slices = view
        viewer.dims.ndisplay = view.ndisplay
        self._turn(view)
        viewer.dims.axis_labels = ("R", "A", "S")
        viewer.canvas.overlays["axes"].visible = True
        viewer.canvas.overlays["scale_bar"].visible = True
        if not self.layers:
            return
        self._on_viewer_range()
        viewer.dims.point = tuple(float(c) for c in (self._box.mean(0) if at is None else at))
        if view.ndisplay == 3:
            self._look_at(self._points(sources=name == SET_UP))
            return
        camera, size = viewer.scene.camera, np.ptp(self._box, axis=0)
        camera.center = tuple(self._box.mean(0)[list(view.order)])
        high, wide = viewer.canvas.size
        _, vertical, horizontal = view.order
        camera.zoom = float(min(high / size[vertical], wide / size[horizontal]) / MARGIN)

    def set_box(self, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]) -> None:
        """Say which box (3,) to (3,) is looked at."""
        self._box = np.stack([low_mm, high_mm]).astype(float)

    def _points(self, *, sources: bool) -> NDArray[np.float64]:
        """(n, 3) corners of the box and of the films, and the far sources if they are wanted."""
        points = [np.array(np.meshgrid(*self._box.T, indexing="ij")).reshape(3, -1).T]
        for role in (FRONTAL_FILM, LATERAL_FILM):
            layer = self.layer(role)
            if layer is not None:
                points.append(np.asarray(layer.vertices, float))
        spots = self.layer(SOURCES)
        if sources and spots is not None:
            points.append(np.asarray(spots.data, float))
        return np.concatenate(points)

    def _look_at(self, points: NDArray[np.float64]) -> None:
        """See all these points (n, 3), as large as the canvas allows."""
        ahead = self._toward()
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(right, ahead), ahead])  # on the canvas, and into it
        seen = points @ axes.T
        middle = (seen.min(0) + seen.max(0)) / 2
        wide, high, _ = np.ptp(seen, axis=0)
        camera, canvas = self.viewer.scene.camera, self.viewer.canvas.size
        camera.center = tuple(middle @ axes)
        camera.zoom = float(min(canvas[0] / high, canvas[1] / wide) / MARGIN)
        camera.set_view_direction(tuple(ahead), (0, 0, 1))

    def _toward(self) -> NDArray[np.float64]:
        """View direction (3,): from where both films are seen from the side of the patient."""
        frontal = self.layer(FRONTAL_FILM)
        behind = frontal is None or np.asarray(frontal.vertices)[:, 1].mean() <= self._box[:, 1].mean()
        eye = np.array([0.75, 1.0 if behind else -1.0, 0.45])
        return -eye / np.linalg.norm(eye)

    def _turn(self, view: View) -> None:
        self.viewer.dims.order = view.order
        self.viewer.scene.camera.orientation = view.orientation

    def _add(self, role: str, layer: Any) -> None:
        data, look, kind = layer
        made = Layer.create(data, {**look, "visible": self._shows(role)}, kind)
        if role in (RECONSTRUCTION, TRUTH):
            _window(made, WINDOWS[self.window])
        below = [r for r in ROLES[: ROLES.index(role)] if self.layer(r) is not None]
        index = self.viewer.layers.index(self.layer(below[-1])) + 1 if below else len(self.viewer.layers)
        selected = self.viewer.layers.selection.active
        self.viewer.layers.insert(index, made)
        if role == RECONSTRUCTION:  # whose controls are wanted, and whose keys do not take the windows'
            self.viewer.layers.selection.active = made
        elif selected is not None and selected in self.viewer.layers:
            self.viewer.layers.selection.active = selected
        self.layers[role] = made

    def _renew_image(self, old: Layer, data: NDArray[Any], look: dict[str, Any]) -> None:
        shown, old.visible = old.visible, False  # each setter redraws what is visible
        old.data = data
        old.affine = look["affine"]
        old.metadata = look["metadata"]
        old.visible = shown

    def _shows(self, role: str) -> bool:
        away = ONLY_3D if self.viewer.dims.ndisplay == 2 else ONLY_2D
        return self._wanted[role] and role not in away

    def _connect(self) -> None:
        self.viewer.dims.events.ndisplay.connect(self._on_viewer_ndisplay)
        self.viewer.dims.events.order.connect(self._on_viewer_order)
        self.viewer.dims.events.range.connect(self._on_viewer_range)

    def _on_viewer_ndisplay(self) -> None:
        entered, left = (ONLY_3D, ONLY_2D) if self.viewer.dims.ndisplay == 3 else (ONLY_2D, ONLY_3D)
        for role in left:
            layer = self.layer(role)
            if layer is not None:
                self._wanted[role] = layer.visible
                layer.visible = False
        if self.layers:
            self._turn(XRAY_VIEWS["3-D"] if self.viewer.dims.ndisplay == 3 else self._slices)
        for role in entered:
            layer = self.layer(role)
            if layer is not None:
                layer.visible = self._shows(role)

    def _on_viewer_order(self) -> None:
        view = XRAY_VIEWS["3-D"]
        if self.layers and self.viewer.dims.ndisplay == 3 and self.viewer.dims.order != view.order:
            self._turn(view)  # napari draws surfaces at the wrong place in any other order

    def _on_viewer_range(self) -> None:
        """Let the slider run through what can be sliced, not as far as the sources of the X-rays."""
        dims, far = self.viewer.dims, [self.layer(role) for role in FAR]
        if dims.ndisplay == 3 or dims.ndim != 3 or not any(far):
            return
        near = [x.extent.world for x in self.viewer.layers if x not in far and x.ndim == 3]
        if not near:
            return
        low, high = np.min([e[0] for e in near], axis=0), np.max([e[1] for e in near], axis=0)
        wanted = tuple((float(a), float(b), r.step) for a, b, r in zip(low, high, dims.range, strict=True))
        if any(
            r.start < a - 1e-3 or r.stop > b + 1e-3 for (a, b, _), r in zip(wanted, dims.range, strict=True)
        ):
            dims.range = wanted


def _window(layer: Layer, limits: tuple[float, float]) -> None:
    low, high = layer.contrast_limits_range
    layer.contrast_limits_range = (min(low, limits[0], -1400.0), max(high, limits[1], 3000.0))
    layer.contrast_limits = limits
