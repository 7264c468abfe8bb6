"""The mouse on the frame: drag a point, place the next one, mark a known distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_trifocal.keypoints_scene import KeypointsScene
    from napari_trifocal.keypoints_session import KeypointsSession

GRIP = 12.0  # canvas pixels around a point that take hold of it
STILL = 4.0  # canvas pixels that the mouse may move in a click


class KeypointsMouse:
    """Mouse callbacks of a viewer that move and place the points of a session."""

    def __init__(self, viewer: Viewer, session: KeypointsSession, scene: KeypointsScene) -> None:
        self._viewer, self._session, self._scene = viewer, session, scene
        viewer.mouse_drag_callbacks.append(self._on_viewer_press)
        viewer.mouse_move_callbacks.append(self._on_viewer_move)

    def close(self) -> None:
        """Let go of the mouse."""
        for callbacks, mine in (
            (self._viewer.mouse_drag_callbacks, self._on_viewer_press),
            (self._viewer.mouse_move_callbacks, self._on_viewer_move),
        ):
            if mine in callbacks:
                callbacks.remove(mine)

    def _on_viewer_press(self, _: Viewer, event: Any) -> Iterator[None]:
        session = self._session
        if event.type != "mouse_press" or event.button != 1 or not self._is_ours():
            return
        pressed = _point(event)
        index = None if session.modes.mode == "ruler" else self._point_at(pressed)
        if index is not None:
            yield from self._drag(event, index, pressed)
            return
        farthest = 0.0
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.linalg.norm(_point(event) - pressed)))
            yield
        if farthest * self._viewer.scene.camera.zoom <= STILL:
            self._click(_point(event))

    def _drag(self, event: Any, index: int, pressed: NDArray[np.float64]) -> Iterator[None]:
        session, pixel = self._session, 1 / self._viewer.scene.camera.zoom
        assert session.marks is not None
        grip = session.marks.points[index] - pressed
        event.handled = True  # keeps the camera still
        # A click beside a point may place the next one: two of them may lie that close.
        placing = session.modes.mode == "place" and session.next_to_place is not None
        dragging = not placing
        if dragging:
            session.begin_drag(index)
        try:
            yield
            while event.type == "mouse_move":
                event.handled = True
                if not dragging and np.linalg.norm(_point(event) - pressed) > STILL * pixel:
                    dragging = True
                    session.begin_drag(index)
                if dragging:
                    session.drag_to(index, _point(event) + grip)
                yield
        finally:
            if dragging:
                session.end_drag()
        if not dragging:
            self._click(pressed)

    def _click(self, at: NDArray[np.float64]) -> None:
        modes = self._session.modes
        if modes.mode == "place":
            self._session.place(at)
        elif modes.mode == "ruler":
            modes.measure_from(at)
        else:
            modes.select(None)

    def _on_viewer_move(self, viewer: Viewer, event: Any) -> None:
        if not self._is_ours():
            return
        mode = self._session.modes.mode
        near = None if mode == "ruler" else self._point_at(_point(event))
        style = "pointing" if near is not None else "standard" if mode == "move" else "crosshair"
        if viewer.cursor.style != style:
            viewer.cursor.style = style
        if near is not None:
            viewer.status = self._session.task.points[near]

    def _is_ours(self) -> bool:
        """Whether the frames are looked at, and no tool of another layer has the mouse."""
        active = self._viewer.layers.selection.active
        tool = "pan_zoom" if active is None else str(active.mode)
        mine = self._scene.viewer is self._viewer and self._scene.at_home  # else it is another widget's turn
        return mine and self._session.marks is not None and tool == "pan_zoom"

    def _point_at(self, at: NDArray[np.float64]) -> int | None:
        assert self._session.marks is not None
        far = np.linalg.norm(self._session.marks.points - at, axis=1) * self._viewer.scene.camera.zoom
        if np.isnan(far).all():
            return None
        nearest = int(np.nanargmin(far))
        return nearest if far[nearest] <= GRIP else None


def _point(event: Any) -> NDArray[np.float64]:
    """(x, y) under the mouse: frames lie on the last two axes, a pixel a unit."""
    row, column = event.position[-2:]
    return np.array([column, row], float)
