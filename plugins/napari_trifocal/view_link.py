"""Two viewers that look the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

CAMERA = ("orientation", "angles", "zoom", "center", "perspective")
DIMS = ("ndisplay", "order", "point")


class ViewLink:
    """Keeps cameras, slices and 2-D or 3-D of two viewers of the same world in step, both ways.

    Args:
        first: Says how both look to begin with.
        second: Follows; both hold layers of three axes.
    """

    def __init__(self, first: ViewerModel, second: ViewerModel) -> None:
        self._pair = first, second
        self._following = False
        self._follow(first, second)
        for emitter, slot in self._connections():
            emitter.connect(slot)

    def close(self) -> None:
        """Let go of both."""
        for emitter, slot in self._connections():
            emitter.disconnect(slot)

    def _connections(self) -> list[tuple[Any, Any]]:
        pairs = []
        for viewer, slot in zip(self._pair, (self._on_first, self._on_second), strict=True):
            pairs += [(getattr(viewer.scene.camera.events, name), slot) for name in CAMERA]
            pairs += [(getattr(viewer.dims.events, name), slot) for name in DIMS]
        return pairs

    def _on_first(self, _: object = None) -> None:
        self._follow(*self._pair)

    def _on_second(self, _: object = None) -> None:
        self._follow(*reversed(self._pair))

    def _follow(self, leader: ViewerModel, follower: ViewerModel) -> None:
        """Copy what differs; what the follower does on its own account meanwhile is not copied back."""
        if self._following:
            return
        self._following = True
        try:
            for name in DIMS:
                _copy(leader.dims, follower.dims, name)
            for name in CAMERA:
                _copy(leader.scene.camera, follower.scene.camera, name)
        finally:
            self._following = False


def _copy(source: Any, target: Any, name: str) -> None:
    value = getattr(source, name)
    if getattr(target, name) != value:
        setattr(target, name, value)
