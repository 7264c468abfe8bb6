"""The mouse in 3-D: drag the bowl over the head, tilt it with Shift, drag the target."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trifocal.focus.placement import hit_skin, nearest_skin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.viewer import Viewer
    from numpy.typing import ArrayLike, NDArray

    from napari_trifocal.focus_scene import FocusScene
    from napari_trifocal.focus_session import FocusSession
    from trifocal.focus.head import Head
    from trifocal.focus.pose import Pose
    from trifocal.focus.transducer import Bowl

FAR_MM = 400.0  # where rays start, before anything on the canvas
BESIDE_MM = 50.0  # up to here the distance to the skin is mapped
TARGET_RADIUS_MM = 5.0
# While dragging, Python's threads change hands this often: a prediction is hundreds of short calls, and would
# wait up to 5 ms at each for the thread that draws.
SWITCH_S = 0.0005


class FocusDrag:
    """A mouse callback of a viewer that moves the bowl and the target of a session."""

    def __init__(self, viewer: Viewer, session: FocusSession, scene: FocusScene) -> None:
        self._viewer = viewer
        self._session = session
        self._scene = scene
        viewer.mouse_drag_callbacks.append(self._on_viewer_press)

    def close(self) -> None:
        """Let go of the mouse."""
        if self._on_viewer_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_viewer_press)

    def _on_viewer_press(self, viewer: Viewer, event: Any) -> Iterator[None]:
        session = self._session
        pressed = event.type == "mouse_press" and event.button == 1
        if not pressed or viewer.dims.ndisplay != 3 or session.head is None:
            return
        if self._scene.viewer is not viewer:  # another widget's turn
            return
        origin, direction = ray(event)
        if sees_bowl(session.head, session.bowl, session.placing.pose, origin, direction):
            mover: Any = BowlMover(session, origin, direction)
        elif passes(session.placing.target_mm, origin, direction, TARGET_RADIUS_MM):
            mover = TargetMover(session, origin)
        else:
            return
        event.handled = True  # keeps the camera still
        session.begin_drag()
        patience = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            yield
            while event.type == "mouse_move":
                event.handled = True
                origin, direction = ray(event)
                mover.move(origin, direction, tilt="Shift" in event.modifiers)
                yield
        finally:
            sys.setswitchinterval(patience)
            session.end_drag()


class BowlMover:
    """Follows the mouse from the point of the bowl that it took hold of."""

    def __init__(
        self, session: FocusSession, origin: NDArray[np.float64], direction: NDArray[np.float64]
    ) -> None:
        self._session = session
        self._tilting = False
        self._grip(origin, direction)

    def move(self, origin: NDArray[np.float64], direction: NDArray[np.float64], *, tilt: bool) -> None:
        """The mouse is on another ray."""
        session = self._session
        if tilt != self._tilting:  # Shift pressed or let go on the way: go on from here
            self._tilting = tilt
            self._grip(origin, direction)
        head, bowl, now = session.head, session.bowl, session.placing
        shift = across(origin - self._pressed, direction)
        if tilt:
            # The bowl swings like a rod of its own radius of curvature about the entry point.
            swung = self._entry - (self._axis * bowl.radius_of_curvature_mm) + shift
            session.drag_to(now.tilted(head, bowl, self._entry, self._entry - swung))
            return
        start = self._entry + shift - FAR_MM * direction
        session.drag_to(now.slid(head, bowl, entry_on(head, start, direction, near=self._near)))

    def _grip(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> None:
        head, placing = self._session.head, self._session.placing
        self._pressed = origin
        self._entry = placing.entry_mm(head)
        self._axis = placing.pose.direction
        # A bowl behind the head is dragged over the far side.
        self._near = bool(head.normal(self._entry) @ direction <= 0)


class TargetMover:
    """Moves the target in the plane of the screen, inside the head."""

    def __init__(self, session: FocusSession, origin: NDArray[np.float64]) -> None:
        self._session = session
        self._pressed = origin
        self._start = session.placing.target_mm

    def move(self, origin: NDArray[np.float64], direction: NDArray[np.float64], *, tilt: bool) -> None:
        """The mouse is on another ray."""
        session = self._session
        target = self._start + across(origin - self._pressed, direction)
        if float(session.head.distance_mm(target)) > 0:
            return
        placing = replace(session.placing, target_mm=target)
        if placing.axis == "target":
            placing = placing.slid(session.head, session.bowl, placing.entry_mm(session.head))
        session.drag_to(placing)


def ray(event: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origin (3,) before the scene and unit direction (3,) of the mouse's ray, in the world."""
    direction = np.asarray(event.view_direction, float)
    direction = direction / np.linalg.norm(direction)
    return np.asarray(event.position, float) - FAR_MM * direction, direction


def across(vector: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a vector (3,) that lies in the plane of the screen."""
    return vector - (vector @ direction) * direction


def sees_bowl(head: Head, bowl: Bowl, pose: Pose, origin: ArrayLike, direction: ArrayLike) -> bool:
    """Whether a ray meets the bowl, and before it meets the head."""
    distance = hit_bowl(bowl, pose, origin, direction)
    if distance is None:
        return False
    skin = hit_skin(head, origin, direction)
    return skin is None or distance <= float(np.linalg.norm(skin - np.asarray(origin))) + 1.0


def hit_bowl(bowl: Bowl, pose: Pose, origin: ArrayLike, direction: ArrayLike) -> float | None:
    """Distance in mm along a ray of unit direction to the spherical cap; None if it does not meet it."""
    start = pose.from_world(origin) - [0, 0, bowl.radius_of_curvature_mm]
    along = np.asarray(direction, float) @ pose.matrix[:3, :3]
    b = float(start @ along)
    root = b * b - float(start @ start) + bowl.radius_of_curvature_mm**2
    if root < 0:
        return None
    for t in (-b - np.sqrt(root), -b + np.sqrt(root)):
        height = start[2] + t * along[2] + bowl.radius_of_curvature_mm  # over the apex
        if t > 0 and height <= bowl.depth_mm:
            return float(t)
    return None


def passes(point_mm: ArrayLike, origin: ArrayLike, direction: ArrayLike, radius_mm: float) -> bool:
    """Whether a ray passes a point within a radius."""
    offset = np.asarray(point_mm, float) - np.asarray(origin, float)
    return bool(np.linalg.norm(across(offset, np.asarray(direction, float))) <= radius_mm)


def entry_on(
    head: Head, origin: NDArray[np.float64], direction: NDArray[np.float64], *, near: bool = True
) -> NDArray[np.float64]:
    """Where a ray enters the head, or leaves it; the point of the skin nearest to a ray that misses it."""
    if not near:
        origin, direction = origin + 2 * FAR_MM * direction, -direction
    hit = hit_skin(head, origin, direction)
    if hit is not None:
        return hit
    points = origin + np.arange(0.0, 2 * FAR_MM, 2.0)[:, None] * direction
    distance = head.distance_mm(points)
    if float(distance.min()) < BESIDE_MM:
        return nearest_skin(head, points[int(distance.argmin())])
    # So far beside the head there is no gradient to follow: go straight toward its middle.
    beside = points[int(np.linalg.norm(points - head.centre_mm, axis=1).argmin())]
    inward = hit_skin(head, beside, head.centre_mm - beside)
    return head.centre_mm if inward is None else inward
