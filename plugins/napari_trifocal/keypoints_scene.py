"""The keypoints engine's layers in a viewer: frames, points, lines, ellipse, heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_trifocal.aside import move_all
from napari_trifocal.keypoints_layers import (
    BORDERS,
    ELLIPSE,
    ELLIPSE_COLOUR,
    FRAMES,
    HEAT,
    LINES,
    NAMES,
    POINTS,
    REEL,
    RULER,
    RULER_COLOUR,
    SYMBOLS,
    heat_layer,
    lines_between,
    lines_layer,
    names_layer,
    names_of,
    outline_of,
    placed,
    points_layer,
)
from napari_trifocal.keypoints_names import NamePlaces
from napari_trifocal.layers import to_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_trifocal.keypoints_marks import Marks
    from napari_trifocal.reel import Reel
    from trifocal.keypoints.ellipse import Ellipse
    from trifocal.keypoints.tasks import Task

ROLES = (FRAMES, HEAT, ELLIPSE, LINES, RULER, POINTS, NAMES)  # as they are drawn
LINE, THIN, POINT, CHOSEN = 2.2, 1.6, 10.0, 15.0  # canvas pixels, whatever the zoom
UPRIGHT = ("towards", "down", "right")


class KeypointsScene:
    """Adds and renews the layers; knows nothing of sessions.

    The points are those of one frame: they are renewed when another one is looked at, so that a missing point
    costs nothing, and a cine of thousands of frames no more than one.

    Args:
        viewer: Where the layers are.
        keys: Bound to the layers and not to the viewer, which other widgets have too.
    """

    def __init__(self, viewer: ViewerModel, keys: Mapping[str, Callable[[], object]]) -> None:
        self.viewer = viewer
        self.layers: dict[str, Layer] = {}
        self._keys = keys
        self._chosen: int | None = None
        self._colours: list[str] = []
        self._names: list[str] = []
        self._places = NamePlaces()
        viewer.scene.camera.events.zoom.connect(self._on_viewer_zoom)

    def close(self) -> None:
        """Let go of the viewer; its layers stay."""
        self.viewer.scene.camera.events.zoom.disconnect(self._on_viewer_zoom)

    def move_to(self, viewer: ViewerModel) -> None:
        """Go on in another viewer, an empty one, with all layers of this one."""
        self.close()
        before, self.viewer = self.viewer, viewer
        move_all(before, viewer)
        viewer.scene.camera.events.zoom.connect(self._on_viewer_zoom)
        self._on_viewer_zoom()

    def layer(self, role: str) -> Layer | None:
        """The layer of a role, if the user has not removed it."""
        found = self.layers.get(role)
        return found if found is not None and found in self.viewer.layers else None

    @property
    def at_home(self) -> bool:
        """Whether the frames are in the viewer, seen in 2-D: else the mouse and the keys are not ours."""
        return self.layer(FRAMES) is not None and self.viewer.dims.ndisplay == 2

    @property
    def step(self) -> int | None:
        """The frame that the viewer's slider stands on; None without frames."""
        frames = self.layer(FRAMES)
        if frames is None:
            return None
        if frames.ndim == 2:
            return 0
        # Other layers may begin elsewhere: the slider's own steps are theirs too.
        step = round(self.viewer.dims.point[self.viewer.dims.ndim - 3])
        return int(np.clip(step, 0, frames.data.shape[0] - 1))

    def show_reel(self, reel: Reel, task: Task) -> None:
        """Show other frames: a layer that the viewer has of them, or a new one."""
        others = [layer for layer in self.viewer.layers if layer.metadata.get(REEL) not in (None, reel)]
        for layer in [*others, *filter(None, map(self.layer, ROLES[1:]))]:
            self.viewer.layers.remove(layer)
        self.layers = {r: x for r, x in self.layers.items() if r == FRAMES and x.metadata.get(REEL) is reel}
        found = [layer for layer in self.viewer.layers if layer.metadata.get(REEL) is reel]
        if found:
            self.layers[FRAMES] = found[0]
            self._bind(found[0])
        else:
            self._add(FRAMES, to_layers(reel)[0])
        self.show_task(task)
        self.look()

    def show_task(self, task: Task) -> None:
        """Make room for the points of a task."""
        for role in (POINTS, LINES, NAMES):
            old = self.layer(role)
            if old is not None:
                self.viewer.layers.remove(old)
        self._add(LINES, lines_layer(LINES, RULER_COLOUR))
        self._colours = []
        self._add(POINTS, points_layer(task))
        self._add(NAMES, names_layer(task))
        self._names, self._places = names_of(task), NamePlaces()
        for role in (POINTS, NAMES):  # the mouse is ours: napari's own tools would not tell the session
            self.layers[role].editable = False

    def show_marks(self, task: Task, marks: Marks, ellipse: Ellipse | None) -> None:
        """Bring points, lines and ellipse up to date by the cheapest way."""
        points, lines = self.layer(POINTS), self.layer(LINES)
        data, there = placed(marks)
        if points is not None:
            kinds = ["edited" if edited else "predicted" for edited in marks.edited]
            symbols = [SYMBOLS[kind] for kind in kinds]
            points.shown = there  # before the data, which draw it
            _renew(points, data)
            if [str(s) for s in points.symbol] != symbols:
                points.symbol = symbols
                points.border_color = [BORDERS[kind] for kind in kinds]
        if lines is not None:
            vectors, colours = lines_between(task, marks)
            _renew(lines, vectors)
            if colours != self._colours:
                self._colours = colours
                lines.edge_color = colours or RULER_COLOUR
        self._show_names()
        self._show_lines(ELLIPSE, None if ellipse is None else outline_of(ellipse), ELLIPSE_COLOUR)

    def show_chosen(self, index: int | None) -> None:
        """Draw one point larger."""
        self._chosen = index
        self._on_viewer_zoom()

    def show_ruler(self, ends: NDArray[np.float64]) -> None:
        """Draw the line of known length: (0 to 2, 2) x, y of its ends."""
        if len(ends) == 0:
            self._show_lines(RULER, None, RULER_COLOUR)
            return
        first, last = ends[0][::-1], ends[-1][::-1]
        self._show_lines(RULER, _ruler(first, last, self.viewer.scene.camera.zoom), RULER_COLOUR)

    def show_heat(self, heat: NDArray[np.float32] | None) -> None:
        """Lay a heat map over the frame, or take it away."""
        old = self.layer(HEAT)
        if heat is None:
            if old is not None:
                self.viewer.layers.remove(old)
        elif old is None or old.data.shape != heat.shape:
            self.show_heat(None)
            self._add(HEAT, heat_layer(heat))
        else:
            old.data = heat

    def look(self) -> None:
        """Look at the frames upright in 2-D, the whole of them on the canvas."""
        viewer = self.viewer
        viewer.dims.ndisplay = 2
        viewer.dims.order = tuple(range(viewer.dims.ndim))
        viewer.scene.camera.orientation = UPRIGHT
        viewer.fit_to_view()

    def go(self, step: int) -> None:
        """Put the viewer's slider on a frame."""
        frames = self.layer(FRAMES)
        if frames is not None and frames.ndim == 3:
            self.viewer.dims.set_point(self.viewer.dims.ndim - 3, step)

    def _show_names(self) -> None:
        """Put each name beside its point, clear of the others at this zoom."""
        points, names, frames = self.layer(POINTS), self.layer(NAMES), self.layer(FRAMES)
        if points is None or names is None or frames is None:
            return
        zoom = self.viewer.scene.camera.zoom
        at = np.where(points.shown[:, None], points.data[:, ::-1], np.nan) * zoom
        rows, columns = frames.data.shape[-3:-1] if frames.rgb else frames.data.shape[-2:]
        drawn = self.layer(LINES)
        lines = None if drawn is None else drawn.data[..., ::-1] * zoom
        bounds = np.array([[0, 0], [columns, rows]]) * zoom
        places = self._places.find(at, self._names, bounds, lines) / zoom
        there = np.isfinite(places).all(axis=1)
        names.shown = there
        _renew(names, np.where(there[:, None], places, 0.0)[:, ::-1])

    def _show_lines(self, role: str, vectors: NDArray[np.float64] | None, colour: str) -> None:
        old = self.layer(role)
        if vectors is None and old is None:
            return
        if old is None:
            self._add(role, lines_layer(role, colour))
        _renew(self.layers[role], np.empty((0, 2, 2)) if vectors is None else vectors)

    def _add(self, role: str, layer: Any) -> None:
        data, look, kind = layer
        made = Layer.create(data, look, kind)
        below = [r for r in ROLES[: ROLES.index(role)] if self.layer(r) is not None]
        layers = self.viewer.layers
        index = layers.index(self.layer(below[-1])) + 1 if below else len(layers)
        selected = layers.selection.active
        layers.insert(index, made)
        frames = self.layer(FRAMES)
        keep = selected if selected is not None and selected in layers else frames
        if keep is not None:
            layers.selection.active = keep
        self.layers[role] = made
        self._bind(made)
        self._on_viewer_zoom()

    def _bind(self, layer: Layer) -> None:
        for key, act in self._keys.items():
            layer.bind_key(key, lambda _, act=act: act() and None, overwrite=True)

    def _on_viewer_zoom(self, _: object = None) -> None:
        """Keep widths and sizes on the canvas what they are."""
        pixel = 1.0 / self.viewer.scene.camera.zoom
        for role, width in ((LINES, LINE), (ELLIPSE, THIN), (RULER, LINE)):
            layer = self.layer(role)
            if layer is not None:
                layer.edge_width = width * pixel
        points = self.layer(POINTS)
        if points is not None:
            size = np.full(len(points.data), POINT * pixel)
            if self._chosen is not None:
                size[self._chosen] = CHOSEN * pixel
            points.size = size
            self._show_names()


def _renew(layer: Layer, data: NDArray[np.float64]) -> None:
    """Change what a layer shows; it lies within the frame, so that napari's sliders stay what they are."""
    with layer.events.data.blocker():
        layer.data = data


def _ruler(first: NDArray[np.float64], last: NDArray[np.float64], zoom: float) -> NDArray[np.float64]:
    """(N, 2, 2) a line (row, column) with a tick across each end."""
    along = last - first
    length = float(np.linalg.norm(along))
    across = np.array([-along[1], along[0]]) / length if length > 0 else np.array([1.0, 0.0])
    tick = across * 6.0 / zoom
    lines = [[first, along], *([end - tick, 2 * tick] for end in (first, last))]
    return np.array(lines)
